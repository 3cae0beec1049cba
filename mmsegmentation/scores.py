"""Scores from confusion matrices in exact integers."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmsegmentation.classes import IGNORE_INDEX


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


def iou_of(confusion: np.ndarray) -> np.ndarray:
    """Return IoU per class in [0, 1]; nan where truth and prediction lack it.

    Args:
        confusion: Counts, (…, classes, classes), true classes in rows.
    """
    hits = np.diagonal(confusion, axis1=-2, axis2=-1)
    union = confusion.sum(-1) + confusion.sum(-2) - hits
    return np.divide(hits, union, out=np.full(hits.shape, np.nan), where=union > 0)


def accuracy_of(confusion: np.ndarray) -> np.ndarray:
    """Return recall per class in [0, 1]; nan where the truth lacks it."""
    hits = np.diagonal(confusion, axis1=-2, axis2=-1)
    true = confusion.sum(-1)
    return np.divide(hits, true, out=np.full(hits.shape, np.nan), where=true > 0)


def mean_iou(confusion: np.ndarray) -> np.ndarray:
    """Return the mean IoU over the classes that occur, background included."""
    return _nanmean(iou_of(confusion))


def _nanmean(values: np.ndarray) -> np.ndarray:
    known = ~np.isnan(values)
    count = known.sum(-1)
    total = np.where(known, values, 0).sum(-1)
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)


def bootstrap(
    confusions: np.ndarray, rounds: int = 1000, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """Return 95 % intervals of both mIoU readings, images drawn with replacement.

    Args:
        confusions: Counts per image, (images, classes, classes), none of them empty.

    Returns:
        ``dataset`` and ``image``: lower and upper end, percentile method.
    """
    count, classes = confusions.shape[:2]
    draws = np.random.default_rng(seed).multinomial(
        count, np.full(count, 1 / count), size=rounds
    )
    flat = confusions.reshape(count, -1).astype(np.float64)
    pooled = (draws @ flat).reshape(rounds, classes, classes)
    single = draws @ mean_iou(confusions) / count
    readings = {'dataset': mean_iou(pooled), 'image': single}
    return {
        name: (float(np.quantile(v, 0.025)), float(np.quantile(v, 0.975)))
        for name, v in readings.items()
    }


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
    intervals = bootstrap(stacked)
    metrics: dict[str, Any] = {
        'images': len(stacked),
        'mIoU': float(mean_iou(pooled)),
        'mIoU_interval': intervals['dataset'],
        'mIoU_image': float(mean_iou(stacked).mean()),
        'mIoU_image_interval': intervals['image'],
        'mAcc': float(_nanmean(accuracy_of(pooled))),
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
