"""Does confidence mean what it says: reliability and expected calibration error."""

from typing import Any

import numpy as np

from mmsegmentation.classes import IGNORE_INDEX

BINS = 15
LEVELS = 256


def count_confidence(
    gt_seg_map: np.ndarray | None,
    pred_seg_map: np.ndarray,
    confidence: np.ndarray,
    num_classes: int,
) -> np.ndarray:
    """Count pixels by predicted class and confidence, and how many of them are right.

    Args:
        gt_seg_map: True class ids, (H, W) uint8, 255 is left out; None counts all
            pixels, and none of them as right.
        pred_seg_map: Predicted class ids, (H, W) uint8.
        confidence: 255 x the winner's probability, (H, W) uint8.

    Returns:
        (2, num_classes, LEVELS) int64: all pixels, then the right ones.

    Raises:
        ValueError: The sizes differ.
    """
    if pred_seg_map.shape != confidence.shape:
        raise ValueError(
            f'sizes differ: prediction {pred_seg_map.shape}, confidence '
            f'{confidence.shape} (height, width)'
        )
    right = None if gt_seg_map is None else gt_seg_map == pred_seg_map
    known = None if gt_seg_map is None else gt_seg_map != IGNORE_INDEX
    every = _count_pairs(pred_seg_map, confidence, known, num_classes)
    if right is None:
        return np.stack([every, np.zeros_like(every)])
    return np.stack([every, _count_pairs(pred_seg_map, confidence, right, num_classes)])


def _count_pairs(
    ids: np.ndarray, levels: np.ndarray, chosen: np.ndarray | None, num_classes: int
) -> np.ndarray:
    """Count the chosen pixels by id and level, (num_classes, LEVELS) int64."""
    import cv2

    # OpenCV counts in float32: exact below 2 ** 24. NumPy is several times slower.
    if 0 < ids.size < 1 << 24:
        mask = None if chosen is None else chosen.view(np.uint8)
        shape, ends = [num_classes, LEVELS], [0, num_classes, 0, LEVELS]
        counts = cv2.calcHist([ids, levels], [0, 1], mask, shape, ends)
        return counts.astype(np.int64)
    codes = ids.astype(np.uint16) << 8 | levels
    picked = codes.ravel() if chosen is None else codes[chosen]
    length = num_classes * LEVELS
    return np.bincount(picked, minlength=length).reshape(num_classes, LEVELS)


def reliability(counts: np.ndarray, bins: int = BINS) -> dict[str, Any]:
    """Return confidence against the share of right pixels, in equal-width bins.

    Bin m holds (m / bins, (m + 1) / bins], as in Guo et al., 2017,
    https://arxiv.org/abs/1706.04599; 0 is in the first.

    Args:
        counts: All pixels and the right ones by confidence, (2, LEVELS).

    Returns:
        ``pixels``, ``confidence`` (mean, in [0, 1]) and ``accuracy`` by bin, null where
        a bin is empty; ``ece``, the mean of |accuracy - confidence| over all pixels;
        ``mean_confidence``. Both are null where there is no pixel.

    >>> counts = np.zeros((2, 256), int)
    >>> counts[:, 255] = 10, 5
    >>> reliability(counts)['ece']
    0.5
    """
    level = np.arange(LEVELS)
    # Whole numbers: 255 / 15 is 17, and a float would put 17 / 255 on either side.
    place = np.maximum(level * bins - 1, 0) // (LEVELS - 1)
    pixels, right, total = (
        np.bincount(place, weights, minlength=bins)
        for weights in (counts[0], counts[1], counts[0] * (level / (LEVELS - 1)))
    )
    filled = pixels > 0
    gaps = np.abs(right - total)
    every = pixels.sum()
    return {
        'pixels': pixels.astype(int).tolist(),
        'confidence': _shares(total, pixels, filled),
        'accuracy': _shares(right, pixels, filled),
        'ece': float(gaps.sum() / every) if every else None,
        'mean_confidence': float(total.sum() / every) if every else None,
    }


def _shares(part: np.ndarray, whole: np.ndarray, known: np.ndarray) -> list:
    shares = np.divide(part, whole, out=np.zeros(part.shape), where=known)
    return [s if k else None for s, k in zip(shares.tolist(), known, strict=True)]
