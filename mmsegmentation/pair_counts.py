import numpy as np

from mmsegmentation.compiled import compiled


def count_pairs(truth: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """Return how often each pair of ids occurs, (16, 16) int64, truth in rows.

    Of each id its lower four bits count: an ignored 255 is 15.

    Args:
        truth: Ids, (N,) uint8.
        prediction: Ids, (N,) uint8, all below 16.

    >>> ids = np.array([0, 2, 255], np.uint8)
    >>> np.argwhere(count_pairs(ids, np.array([1, 1, 0], np.uint8))).tolist()
    [[0, 1], [2, 1], [15, 0]]
    """
    pairs = np.empty(len(truth), np.uint8)
    _join(truth, prediction, pairs)
    # A count waits for its neighbour's where both are of one pair, as most pixels are:
    # eight neighbours count in tables of their own.
    tables = np.zeros((8, 256), np.int64)
    whole = len(pairs) // 8 * 8
    _count(pairs[:whole].view(np.uint64), tables)
    counts = tables.sum(0) + np.bincount(pairs[whole:], minlength=256)
    return counts.reshape(16, 16)


@compiled
def _join(truth: np.ndarray, prediction: np.ndarray, pairs: np.ndarray) -> None:
    for i in range(len(pairs)):
        # What is above eight bits falls off.
        pairs[i] = (truth[i] << 4) | prediction[i]


@compiled
def _count(words: np.ndarray, tables: np.ndarray) -> None:
    for word in words:
        for lane in range(8):
            # By an unsigned index: a signed one is first asked whether it is negative.
            tables[lane, np.uint8(word >> np.uint64(8 * lane))] += 1
