"""The class table of the recycling competition: the one place where it stands."""

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

# The official table's own spelling.
ALIASES = {'Backgroud': 'Background'}


def palette_of(num_classes: int) -> tuple[tuple[int, int, int], ...]:
    """Return one RGB colour per class, 0-255; the recycling colours come first.

    >>> palette_of(2)
    ((0, 0, 0), (192, 0, 128))
    """
    # Channels of unequal period, so that no colour comes twice.
    extra = tuple(
        (i * 67 % 200 + 55, i * 131 % 199 + 55, i * 197 % 200 + 55)
        for i in range(len(PALETTE), num_classes)
    )
    return (PALETTE + extra)[:num_classes]
