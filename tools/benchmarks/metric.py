"""The confusion matrix of one 512 x 512 image beside MMSegmentation's and others."""

from collections.abc import Iterator

import numpy as np
import torch

from mmsegmentation.classes import CLASSES, IGNORE_INDEX
from mmsegmentation.scores import confusion_matrix
from tools.benchmarks.case import Case, LeftOut, Options, missing

SIZE = 512


def cases(options: Options) -> Iterator[Case | LeftOut]:
    """Count a prediction against its labels, both uint8 (H, W)."""
    from mmseg.evaluation import IoUMetric

    rng = np.random.default_rng(0)
    classes = len(CLASSES)
    truth = rng.integers(0, classes, (SIZE, SIZE), dtype=np.uint8)
    truth[: SIZE // 20] = IGNORE_INDEX
    prediction = rng.integers(0, classes, (SIZE, SIZE), dtype=np.uint8)
    # The peers are given what they are given in a test: int64 on the same device.
    truth_long = torch.from_numpy(truth).long()
    prediction_long = torch.from_numpy(prediction).long()

    def ours() -> np.ndarray:
        return confusion_matrix(truth, prediction, classes)

    def areas() -> tuple[torch.Tensor, ...]:
        return IoUMetric.intersect_and_union(
            prediction_long, truth_long, classes, IGNORE_INDEX
        )

    name = f'one image, {SIZE} x {SIZE}, {classes} classes'
    yield Case(name, 'MMSegmentation', (ours, areas), _area_difference, 0, 'pixels')
    if why := missing('torchmetrics'):
        yield LeftOut(name, 'TorchMetrics', why)
        return
    from torchmetrics.functional.classification import multiclass_confusion_matrix

    def matrix() -> torch.Tensor:
        return multiclass_confusion_matrix(
            prediction_long, truth_long, classes, ignore_index=IGNORE_INDEX
        )

    yield Case(name, 'TorchMetrics', (ours, matrix), _matrix_difference, 0, 'pixels')


def _area_difference(confusion: np.ndarray, areas: tuple[torch.Tensor, ...]) -> float:
    intersect, union, prediction, truth = (area.numpy() for area in areas)
    hits = np.diagonal(confusion)
    rows, columns = confusion.sum(1), confusion.sum(0)
    pairs = [(hits, intersect), (rows, truth), (columns, prediction)]
    pairs.append((rows + columns - hits, union))
    return float(max(np.abs(a - b).max() for a, b in pairs))


def _matrix_difference(confusion: np.ndarray, matrix: torch.Tensor) -> float:
    return float(np.abs(confusion - matrix.numpy()).max())
