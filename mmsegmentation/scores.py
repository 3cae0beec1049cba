"""Scores from confusion matrices in exact integers."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmsegmentation.classes import IGNORE_INDEX
from mmsegmentation.intervals import Ratios, estimate_mean


def confusion_matrix(
    gt_seg_map: np.ndarray,
    pred_seg_map: np.ndarray,
    num_classes: int,
    ignore_index: int = IGNORE_INDEX,
) -> np.ndarray:
    """Count pixels by true class (rows) and predicted class (columns).

    Args:
        gt_seg_map: True class ids, (H, W) uint8; ``ignore_index`` is left out.
        pred_seg_map: Predicted class ids, (H, W) uint8.

    Returns:
        Counts, (num_classes, num_classes) int64.

    Raises:
        ValueError: The sizes differ, or an id is outside the class table.

    >>> truth = np.array([[0, 1, 255]], dtype=np.uint8)
    >>> confusion_matrix(truth, np.array([[0, 0, 0]], dtype=np.uint8), 2)
    array([[1, 0],
           [1, 0]])
    """
    if gt_seg_map.shape != pred_seg_map.shape:
        raise ValueError(
            f'sizes differ: labels {gt_seg_map.shape}, '
            f'prediction {pred_seg_map.shape} (height, width)'
        )
    if num_classes <= 15 and ignore_index == IGNORE_INDEX:
        few = _count_few(gt_seg_map, pred_seg_map, num_classes)
        if few is not None:
            return few
    # One pair of ids is one 16-bit code: a single bincount over all pixels.
    pairs = gt_seg_map.astype(np.uint16) << 8
    pairs |= pred_seg_map
    counts = np.bincount(pairs.ravel(), minlength=1 << 16).reshape(256, 256)
    rows = np.arange(256) != ignore_index
    counts = counts * rows[:, None]
    for name, sums in (('label', counts.sum(1)), ('prediction', counts.sum(0))):
        if outside := np.flatnonzero(sums[num_classes:]).tolist():
            raise ValueError(
                f'{name} holds class id {outside[0] + num_classes}, but there are '
                f'only {num_classes} classes'
            )
    return counts[:num_classes, :num_classes]


def _count_few(
    gt_seg_map: np.ndarray, pred_seg_map: np.ndarray, num_classes: int
) -> np.ndarray | None:
    """Count up to 15 classes by codes of 8 bits, several times faster.

    None where that would not be exact, or an id is outside the class table.
    """
    # One more than the label: 255 becomes 0, within the table. Its code is 15.
    if not gt_seg_map.size or pred_seg_map.max() > 15:
        return None
    if (gt_seg_map + np.uint8(1)).max() > num_classes:
        return None
    from mmsegmentation.pair_counts import count_pairs

    counts = count_pairs(gt_seg_map.ravel(), pred_seg_map.ravel())
    if counts[:15, num_classes:].any():
        return None
    return counts[:num_classes, :num_classes].copy()


def areas_of(confusion: np.ndarray) -> np.ndarray:
    """Return right pixels and union by class: all that IoU needs, and they add up.

    Args:
        confusion: Counts, (…, classes, classes), true classes in rows.

    Returns:
        (…, 2, classes) int64.

    >>> areas_of(np.array([[5, 1], [0, 2]]))
    array([[5, 2],
           [6, 3]])
    """
    hits = np.diagonal(confusion, axis1=-2, axis2=-1)
    return np.stack([hits, confusion.sum(-1) + confusion.sum(-2) - hits], axis=-2)


def iou_of_areas(areas: np.ndarray) -> np.ndarray:
    """Return IoU per class in [0, 1] from ``areas_of``; nan without a union."""
    hits, union = areas[..., 0, :], areas[..., 1, :]
    return np.divide(hits, union, out=np.full(hits.shape, np.nan), where=union > 0)


def iou_of(confusion: np.ndarray) -> np.ndarray:
    """Return IoU per class in [0, 1]; nan where truth and prediction lack it.

    Args:
        confusion: Counts, (…, classes, classes), true classes in rows.
    """
    return iou_of_areas(areas_of(confusion))


def accuracy_of(confusion: np.ndarray) -> np.ndarray:
    """Return recall per class in [0, 1]; nan where the truth lacks it."""
    hits = np.diagonal(confusion, axis1=-2, axis2=-1)
    true = confusion.sum(-1)
    return np.divide(hits, true, out=np.full(hits.shape, np.nan), where=true > 0)


def mean_iou(confusion: np.ndarray) -> np.ndarray:
    """Return the mean IoU over the classes that occur, background included."""
    return mean_known(iou_of(confusion))


def mean_known(values: np.ndarray) -> np.ndarray:
    """Return the mean over the last axis without nan; nan where all are."""
    known = ~np.isnan(values)
    count = known.sum(-1)
    total = np.where(known, values, 0).sum(-1)
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)


def pooled_ratios(areas: np.ndarray) -> Ratios:
    """Return the IoU of each class over the pooled pixels, for intervals.

    Args:
        areas: Right pixels and union by image, (images, 2, classes).
    """
    return Ratios(*np.moveaxis(areas.astype(np.float64), 1, 0))


def image_ratios(areas: np.ndarray) -> Ratios:
    """Return the mean over images of their own mIoU, for intervals.

    Args:
        areas: Right pixels and union by image, (images, 2, classes), each image with a
            labelled pixel.
    """
    values = mean_known(iou_of_areas(areas))[:, None]
    return Ratios(values, np.ones_like(values))


def summarise(confusions: Mapping[str, np.ndarray], classes: Sequence[str]) -> dict:
    """Return all scores of a set of images, ready for ``metrics.json``.

    mIoU is read twice: ``dataset`` over the pooled confusion matrix (the official
    helper), ``image`` as the mean of the images' own mIoU. Scores are in [0, 1]; null
    where a class does not occur. An image without a labelled pixel is left out.

    Args:
        confusions: Counts by image id, (classes, classes) int64 each.

    Raises:
        ValueError: There is no image, or no labelled pixel.
    """
    if not confusions:
        raise ValueError('no image to score')
    stacked = np.stack(list(confusions.values()))
    stacked = stacked[stacked.any((1, 2))]
    if not len(stacked):
        raise ValueError('no labelled pixel to score')
    pooled = stacked.sum(0)
    areas = areas_of(stacked)
    over_pixels = estimate_mean(pooled_ratios(areas))
    over_images = estimate_mean(image_ratios(areas))
    metrics: dict[str, Any] = {
        'images': len(stacked),
        'mIoU': over_pixels.value,
        'mIoU_interval': over_pixels.interval,
        'mIoU_image': over_images.value,
        'mIoU_image_interval': over_images.interval,
        'mAcc': float(mean_known(accuracy_of(pooled))),
        'aAcc': float(np.trace(pooled) / max(pooled.sum(), 1)),
        'classes': list(classes),
        'IoU': [_known(value) for value in iou_of(pooled)],
        'Acc': [_known(value) for value in accuracy_of(pooled)],
        'confusion': pooled.tolist(),
    }
    return metrics


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def score_table(metrics: Mapping) -> str:
    """Return the scores as text: one line per class, then both readings."""
    lines = [f'{"class":<16}{"IoU":>7}{"Acc":>7}{"pixels":>12}']
    pixels = np.sum(metrics['confusion'], axis=1)
    rows = zip(metrics['classes'], metrics['IoU'], metrics['Acc'], pixels, strict=True)
    for name, iou, accuracy, count in rows:
        lines.append(f'{name:<16}{_cell(iou)}{_cell(accuracy)}{count:>12,}')
    for key, label in (('mIoU', 'pooled'), ('mIoU_image', 'mean over images')):
        low, high = metrics[f'{key}_interval']
        lines.append(
            f'mIoU {metrics[key]:.4f}  95 % [{low:.4f}, {high:.4f}]  ({label}, '
            f'{metrics["images"]} images)'
        )
    return '\n'.join(lines)


def _cell(value: float | None) -> str:
    return f'{"-":>7}' if value is None else f'{value:>7.3f}'
