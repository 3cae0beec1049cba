"""Label maps in the size of the submission: which pixel of a block is written."""

from collections.abc import Callable

import numpy as np

SIZE = (256, 256)


def _nearest(length: int, out: int) -> np.ndarray:
    # In OpenCV's own floating point steps, so that every size comes out equal.
    places = np.floor(np.arange(out) * (1 / (out / length))).astype(np.intp)
    return np.minimum(places, length - 1)


def _nearest_exact(length: int, out: int) -> np.ndarray:
    return (2 * np.arange(out) + 1) * length // (2 * out)


def _pick(places: Callable[[int, int], np.ndarray]) -> Callable:
    def resize(label_map: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        rows, columns = map(places, label_map.shape, size)
        return label_map[rows[:, None], columns]

    return resize


def _maximum(label_map: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    for axis in (0, 1):
        length, out = label_map.shape[axis], size[axis]
        starts = np.arange(out) * length // out
        label_map = np.maximum.reduceat(label_map, starts, axis=axis)
    return label_map


RESIZERS: dict[str, Callable[[np.ndarray, tuple[int, int]], np.ndarray]] = {
    'nearest': _pick(_nearest),
    'nearest-exact': _pick(_nearest_exact),
    'max': _maximum,
}
# By probabilities instead of labels: see sample_labels.
LOGITS = 'logits'


def resize_labels(
    label_map: np.ndarray, size: tuple[int, int] = SIZE, resize: str = 'nearest'
) -> np.ndarray:
    """Return a label map in another size.

    ``nearest`` is the official one: phase 0, as in OpenCV, albumentations and torch's
    ``nearest``; half the size is ``[::2, ::2]``. The others are there to be compared
    with: ``nearest-exact`` (Pillow, torch) looks at the middle of a block, ``max``
    takes the largest id of a block and so favours the classes at the table's end.

    Args:
        label_map: Class ids, (H, W) uint8.
        size: Height and width that come back, in pixels.
        resize: One of ``RESIZERS``.

    >>> ids = np.arange(16, dtype=np.uint8).reshape(4, 4)
    >>> resize_labels(ids, (2, 2)).tolist()
    [[0, 2], [8, 10]]
    >>> resize_labels(ids, (2, 2), 'max').tolist()
    [[5, 7], [13, 15]]
    """
    if label_map.ndim != 2 or not label_map.size or label_map.dtype != np.uint8:
        raise ValueError(
            f'label_map must be uint8 of shape (H, W), got {label_map.dtype} of shape '
            f'{label_map.shape}'
        )
    return RESIZERS[resize](label_map, size)


def sample_labels(
    probs: np.ndarray, shape: tuple[int, int], size: tuple[int, int] = SIZE
) -> np.ndarray:
    """Return the most probable class of the pixels that ``nearest`` would pick.

    Between the middles of the blocks of pixels that ``probs`` is the mean of, each
    class is interpolated (bilinear). A tie goes to the lower id.

    Args:
        probs: What is proportional to the probability of each class, block by block,
            (classes, h, w).
        shape: Height and width of the whole label map, in pixels.
        size: Height and width that come back, in pixels.

    Returns:
        Class ids, (H, W) uint8.

    Raises:
        ValueError: Square blocks of no size make ``probs`` of such a label map.

    >>> sample_labels(np.array([[[3, 1]], [[1, 2]]]), (1, 2), (1, 2)).tolist()
    [[0, 1]]
    """
    mixed = probs.astype(np.float32)
    for axis, (length, out) in enumerate(zip(shape, size, strict=True), start=1):
        places = _block_places(length, probs.shape[axis], out)
        # Blocks begin and end within the map: at its border there is one alone.
        lower = np.floor(places).clip(0).astype(np.intp)
        upper = np.minimum(lower + 1, probs.shape[axis] - 1)
        share = (places - lower).clip(0).astype(np.float32)
        share = share.reshape(-1, 1) if axis == 1 else share
        low = mixed.take(lower, axis)
        mixed = low + (mixed.take(upper, axis) - low) * share
    best, winner = mixed[0].copy(), np.zeros(mixed.shape[1:], np.uint8)
    for number, layer in enumerate(mixed[1:], start=1):
        np.copyto(winner, np.uint8(number), where=layer > best)
        np.maximum(best, layer, out=best)
    return winner


def _block_places(length: int, blocks: int, out: int) -> np.ndarray:
    """Return where ``nearest`` looks, counted in blocks from the first one's middle."""
    side = -(-length // blocks)
    if -(-length // side) != blocks:
        raise ValueError(f'{blocks} blocks of one size do not make {length} pixels')
    return (_nearest(length, out) + 0.5) / side - 0.5
