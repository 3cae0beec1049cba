"""The evaluation of images of 512 x 512 beside MMSegmentation's and others.

Each metric gets what it gets in a test: labels and predictions as its own pipeline and
segmentor leave them, int64 of MMSegmentation's and uint8 of ours.
"""

from collections.abc import Callable, Iterator

import numpy as np
import torch

from mmsegmentation.classes import CLASSES, IGNORE_INDEX
from tools.benchmarks.case import Case, LeftOut, Options, missing

SIZE = 512
COUNT = 16
Pairs = list[tuple[torch.Tensor, torch.Tensor]]


def cases(options: Options) -> Iterator[Case | LeftOut]:
    """Count predictions against their labels, image by image."""
    from mmseg.evaluation import IoUMetric

    from mmsegmentation.evaluation import ExactIoUMetric

    rng = np.random.default_rng(0)
    pairs = [_draw(rng) for _ in range(COUNT)]
    small = [(t.to(torch.uint8), p.to(torch.uint8)) for t, p in pairs]
    ours = _process(ExactIoUMetric(), small)
    stock = _process(IoUMetric(), pairs)
    name = f'{COUNT} images, {SIZE} x {SIZE}, {len(CLASSES)} classes'
    yield Case(name, 'MMSegmentation', (ours, stock), _area_difference, 0, 'pixels')
    if why := missing('torchmetrics'):
        yield LeftOut(name, 'TorchMetrics', why)
        return
    from torchmetrics.functional.classification import multiclass_confusion_matrix

    def matrices() -> list[torch.Tensor]:
        return [
            multiclass_confusion_matrix(
                prediction, truth, len(CLASSES), ignore_index=IGNORE_INDEX
            )
            for truth, prediction in pairs
        ]

    yield Case(name, 'TorchMetrics', (ours, matrices), _matrix_difference, 0, 'pixels')


def _draw(rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Return labels, three quarters background, and a prediction of them, int64."""
    truth = rng.integers(0, len(CLASSES), (16, 16))
    truth[rng.random(truth.shape) < 0.75] = 0
    truth = truth.repeat(SIZE // 16, 0).repeat(SIZE // 16, 1)
    wrong = rng.integers(0, len(CLASSES), truth.shape)
    prediction = np.where(rng.random(truth.shape) < 0.2, wrong, truth)
    truth[: SIZE // 20] = IGNORE_INDEX
    return torch.from_numpy(truth), torch.from_numpy(prediction)


def _process(metric, pairs: Pairs) -> Callable[[], list]:
    metric.dataset_meta = {'classes': CLASSES}
    samples = [
        {'gt_sem_seg': {'data': truth[None]}, 'pred_sem_seg': {'data': predicted[None]}}
        for truth, predicted in pairs
    ]

    def work() -> list:
        metric.results = []
        for sample in samples:
            metric.process({}, [sample])
        return metric.results

    return work


def _area_difference(
    ours: list[tuple[str, np.ndarray]], theirs: list[tuple[torch.Tensor, ...]]
) -> float:
    return max(map(_one_difference, ours, theirs))


def _one_difference(
    ours: tuple[str, np.ndarray], areas: tuple[torch.Tensor, ...]
) -> float:
    intersect, union, prediction, truth = (area.numpy() for area in areas)
    confusion = ours[1]
    hits = np.diagonal(confusion)
    rows, columns = confusion.sum(1), confusion.sum(0)
    pairs = [(hits, intersect), (rows, truth), (columns, prediction)]
    pairs.append((rows + columns - hits, union))
    return float(max(np.abs(a - b).max() for a, b in pairs))


def _matrix_difference(
    ours: list[tuple[str, np.ndarray]], theirs: list[torch.Tensor]
) -> float:
    pairs = zip(ours, theirs, strict=True)
    return float(max(np.abs(a[1] - b.numpy()).max() for a, b in pairs))
