from collections.abc import Sequence

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log
from mmseg.registry import METRICS

from mmsegmentation.classes import IGNORE_INDEX
from mmsegmentation.command import InputError
from mmsegmentation.models.on_demand import label_ids
from mmsegmentation.scores import confusion_matrix, score_table, summarise


@METRICS.register_module()
class ExactIoUMetric(BaseMetric):
    """IoU over a confusion matrix in exact integers, in both readings.

    Logged in percent, as MMSegmentation's ``IoUMetric`` does: ``mIoU`` over the pooled
    matrix, ``mIoU_image`` as the mean of the images' own, ``mAcc``, ``aAcc``. All
    scores with their intervals, in [0, 1], stay in ``last_scores``.

    Args:
        ignore_index: Label that is not counted.
        collect_device: Where processes exchange results, ``'cpu'`` or ``'gpu'``.
        prefix: Put before the names of the scores.
    """

    def __init__(
        self,
        ignore_index: int = IGNORE_INDEX,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.ignore_index = ignore_index
        self.last_scores: dict = {}

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Count one batch of predictions against its labels."""
        num_classes = len(self.dataset_meta['classes'])
        for sample in data_samples:
            path = sample.get('img_path', len(self.results))
            if 'gt_sem_seg' not in sample:
                raise InputError(path, 'has no labels', 'score a part with masks')
            maps = map(label_ids, (sample['gt_sem_seg'], sample['pred_sem_seg']))
            truth, prediction = map(_as_uint8, maps)
            try:
                counts = confusion_matrix(
                    truth, prediction, num_classes, self.ignore_index
                )
            except ValueError as error:
                raise InputError(path, str(error), 'correct the labels') from None
            self.results.append((str(path), counts))

    def compute_metrics(self, results: list[tuple[str, np.ndarray]]) -> dict:
        """Return the scores in percent, and print the table per class."""
        try:
            self.last_scores = summarise(dict(results), self.dataset_meta['classes'])
        except ValueError as error:
            raise InputError('scores', str(error), 'score a part with masks') from None
        print_log('\n' + score_table(self.last_scores), logger='current')
        names = ('mIoU', 'mIoU_image', 'mAcc', 'aAcc')
        return {name: round(100 * self.last_scores[name], 2) for name in names}


def _as_uint8(label_map: torch.Tensor) -> np.ndarray:
    return label_map.squeeze(0).cpu().numpy().astype(np.uint8)
