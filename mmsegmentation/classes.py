"""The class table of the recycling competition: the one place where it stands."""

from functools import cache

CLASSES = (
    'Background',
    'General trash',
    'Paper',
    'Paper pack',
    'Metal',
    'Glass',
    'Plastic',
    'Styrofoam',
    'Plastic bag',
    'Battery',
    'Clothing',
)

# RGB, in the order of CLASSES.
PALETTE = (
    (0, 0, 0),
    (192, 0, 128),
    (0, 128, 192),
    (0, 128, 64),
    (128, 0, 0),
    (64, 0, 128),
    (64, 0, 192),
    (192, 128, 64),
    (192, 192, 128),
    (64, 64, 128),
    (128, 0, 192),
)

IGNORE_INDEX = 255
# The colour of ignored pixels.
WHITE = (255, 255, 255)

# The official table's own spelling.
ALIASES = {'Backgroud': 'Background'}


def palette_of(num_classes: int) -> tuple[tuple[int, int, int], ...]:
    """Return one RGB colour per class, 0-255; the recycling colours come first.

    Args:
        num_classes: Number of classes, 1 to 255.

    >>> palette_of(2)
    ((0, 0, 0), (192, 0, 128))
    """
    further = _further_colours() if num_classes > len(PALETTE) else ()
    return (PALETTE + further)[:num_classes]


@cache
def _further_colours() -> tuple[tuple[int, int, int], ...]:
    """Return the colours of classes 11 to 254, RGB, 0-255.

    Each colour is the one that lies farthest from all earlier colours and from white,
    which marks ignored pixels. Colours that are nearly black are not used.
    """
    import numpy as np

    # The eye sees a step in green best, and the same step in red least.
    weights = np.array([2, 4, 3])

    def squares(colour: tuple[int, int, int]) -> np.ndarray:
        return ((colours - np.array(colour)) ** 2 * weights).sum(1)

    levels = np.arange(0, 256, 28)
    colours = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(-1, 3)
    colours = colours[squares((0, 0, 0)) >= weights.sum() * 50**2]
    nearest = np.min([squares(colour) for colour in (*PALETTE, WHITE)], axis=0)
    chosen = []
    for _ in range(len(PALETTE), IGNORE_INDEX):
        red, green, blue = colours[nearest.argmax()].tolist()
        chosen.append((red, green, blue))
        nearest = np.minimum(nearest, squares(chosen[-1]))
    return tuple(chosen)
