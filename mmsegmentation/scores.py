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
        gt_seg_map: True class ids, (H, W) integers. Pixels with ``ignore_index`` are
            not counted.
        pred_seg_map: Predicted class ids, (H, W) integers. uint8 is fastest.

    Returns:
        Counts, (num_classes, num_classes) int64.

    Raises:
        ValueError: The sizes differ, or an id is outside the class table.

    >>> truth = np.array([[0, 1, 255]], dtype=np.uint8)
    >>> confusion_matrix(truth, np.array([[0, 0, 0]], dtype=np.uint8), 2)
    array([[1, 0],
           [1, 0]])
    """
    counts = confusion_with_outside(gt_seg_map, pred_seg_map, num_classes, ignore_index)
    if len(counts) == num_classes:
        return counts
    kept = gt_seg_map != ignore_index
    name, wrong = next(
        (name, class_id)
        for name, ids in (('label', gt_seg_map), ('prediction', pred_seg_map))
        for class_id in np.unique(ids[kept])
        if not 0 <= class_id < num_classes
    )
    raise ValueError(
        f'{name} holds class id {wrong}, but there are only {num_classes} classes'
    )


def confusion_with_outside(
    gt_seg_map: np.ndarray,
    pred_seg_map: np.ndarray,
    num_classes: int,
    ignore_index: int = IGNORE_INDEX,
) -> np.ndarray:
    """Count like ``confusion_matrix``, and accept ids outside the class table.

    Returns:
        Counts, (num_classes, num_classes) int64. If a map has ids outside the table,
        the matrix has one more row and column at the end, which count their pixels.

    Raises:
        ValueError: The sizes differ.

    >>> truth = np.array([[0, 7, 7]], dtype=np.uint8)
    >>> confusion_with_outside(truth, np.array([[0, 1, 9]], dtype=np.uint8), 2)
    array([[1, 0, 0],
           [0, 0, 0],
           [0, 1, 1]])
    """
    if gt_seg_map.shape != pred_seg_map.shape:
        raise ValueError(
            f'sizes differ: labels {gt_seg_map.shape}, '
            f'prediction {pred_seg_map.shape} (height, width)'
        )
    truth, prediction = map(_as_bytes, (gt_seg_map, pred_seg_map))
    if truth is None or prediction is None:
        kept = gt_seg_map != ignore_index
        maps = gt_seg_map[kept], pred_seg_map[kept]
        counts = _count_any(*maps, num_classes)
    else:
        if num_classes <= 15 and ignore_index == IGNORE_INDEX:
            few = _count_few(truth, prediction, num_classes)
            if few is not None:
                return few
        counts = _fold(_count_bytes(truth, prediction, ignore_index), num_classes)
    if counts[-1].any() or counts[:, -1].any():
        return counts
    return counts[:-1, :-1]


def _as_bytes(label_map: np.ndarray) -> np.ndarray | None:
    """Return ids as uint8, or None if they do not fit."""
    if label_map.dtype == np.uint8:
        return label_map
    if label_map.size and not 0 <= label_map.min() <= label_map.max() <= 255:
        return None
    return label_map.astype(np.uint8)


def _count_bytes(
    truth: np.ndarray, prediction: np.ndarray, ignore_index: int
) -> np.ndarray:
    """Count all pairs of uint8 ids, (256, 256) int64."""
    # One pair of ids is one 16-bit code: a single bincount over all pixels.
    pairs = truth.astype(np.uint16) << 8
    pairs |= prediction
    counts = np.bincount(pairs.ravel(), minlength=1 << 16).reshape(256, 256)
    return counts * (np.arange(256) != ignore_index)[:, None]


def _fold(counts: np.ndarray, num_classes: int) -> np.ndarray:
    """Sum the counts outside the class table in one more row and column."""
    inside, outside = slice(num_classes), slice(num_classes, None)
    # A table may have more classes than there are bytes.
    known = slice(min(num_classes, len(counts)))
    folded = np.zeros((num_classes + 1, num_classes + 1), np.int64)
    folded[known, known] = counts[inside, inside]
    folded[known, -1] = counts[inside, outside].sum(1)
    folded[-1, known] = counts[outside, inside].sum(0)
    folded[-1, -1] = counts[outside, outside].sum()
    return folded


def _count_any(
    truth: np.ndarray, prediction: np.ndarray, num_classes: int
) -> np.ndarray:
    """Count pairs of any ids; the last row and column hold those outside the table."""
    size = num_classes + 1
    rows, columns = (
        np.where((ids >= 0) & (ids < num_classes), ids, num_classes).astype(np.int64)
        for ids in (truth, prediction)
    )
    codes = rows * size + columns
    return np.bincount(codes, minlength=size * size).reshape(size, size)


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
    """Return the areas that IoU needs: correct pixels and union of each class.

    The areas of several images can be added.

    Args:
        confusion: Counts, (…, classes, classes), true classes in rows.

    Returns:
        Correct pixels and union, (…, 2, classes) int64.

    >>> areas_of(np.array([[5, 1], [0, 2]]))
    array([[5, 2],
           [6, 3]])
    """
    hits = np.diagonal(confusion, axis1=-2, axis2=-1)
    return np.stack([hits, confusion.sum(-1) + confusion.sum(-2) - hits], axis=-2)


def iou_of_areas(areas: np.ndarray) -> np.ndarray:
    """Return IoU per class in [0, 1] from ``areas_of``; nan where the union is 0."""
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
    """Return the mean over the last axis without nan; nan if all values are nan."""
    known = ~np.isnan(values)
    count = known.sum(-1)
    total = np.where(known, values, 0).sum(-1)
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)


def pooled_ratios(areas: np.ndarray) -> Ratios:
    """Return the IoU of each class over the pooled pixels, for intervals.

    Args:
        areas: Correct pixels and union by image, (images, 2, classes).
    """
    return Ratios(*np.moveaxis(areas.astype(np.float64), 1, 0))


def image_ratios(areas: np.ndarray) -> Ratios:
    """Return the mIoU of each image as one ratio, for intervals of their mean.

    Args:
        areas: Correct pixels and union by image, (images, 2, classes). Each image has a
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
        confusions: Counts by image id, (classes, classes) int64 each. They may have one
            more row and column, as ``confusion_with_outside`` returns them. A label
            there belongs to no class, and a prediction there is wrong.

    Raises:
        ValueError: There is no image, or no labelled pixel.
    """
    if not confusions:
        raise ValueError('no image to score')
    table = slice(len(classes))
    stacked = np.stack(list(confusions.values()))
    areas = areas_of(stacked)[..., table]
    scored = areas.any((1, 2))
    stacked, areas = stacked[scored], areas[scored]
    pooled = stacked.sum(0)
    if not pooled[table].any():
        raise ValueError('no labelled pixel to score')
    iou, accuracy = iou_of(pooled)[table], accuracy_of(pooled)[table]
    over_pixels = estimate_mean(pooled_ratios(areas))
    over_images = estimate_mean(image_ratios(areas))
    metrics: dict[str, Any] = {
        'images': len(stacked),
        'mIoU': over_pixels.value,
        'mIoU_interval': over_pixels.interval,
        'mIoU_image': over_images.value,
        'mIoU_image_interval': over_images.interval,
        'mAcc': float(mean_known(accuracy)),
        'aAcc': float(np.trace(pooled[table, table]) / pooled[table].sum()),
        'classes': list(classes),
        'IoU': [_known(value) for value in iou],
        'Acc': [_known(value) for value in accuracy],
        'confusion': pooled[table, table].tolist(),
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
