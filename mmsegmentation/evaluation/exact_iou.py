import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from mmengine.dist import get_rank, get_world_size
from mmengine.logging import print_log
from mmseg.evaluation import IoUMetric
from mmseg.registry import METRICS
from PIL import Image

from mmsegmentation.classes import IGNORE_INDEX
from mmsegmentation.command import InputError
from mmsegmentation.models.on_demand import label_ids
from mmsegmentation.scores import confusion_with_outside, score_table, summarise

SETS = 'mIoU', 'mDice', 'mFscore'


@METRICS.register_module()
class ExactIoUMetric(IoUMetric):
    """MMSegmentation's ``IoUMetric`` over a confusion matrix of exact integers.

    Scores are logged in percent under the names of ``IoUMetric``. ``mIoU`` is computed
    from the pooled matrix. ``mIoU_image``, the mean of the mIoU of each image, is
    logged too. ``last_scores`` keeps all scores in [0, 1] with their intervals.

    Ids outside the class table count as in ``IoUMetric``: a label outside belongs to no
    class, and the prediction at its pixel counts as wrong. A warning names the first
    image with such ids.

    Args:
        ignore_index: Label of pixels that are not counted.
        iou_metrics: Scores to log, one or several of ``'mIoU'``, ``'mDice'`` and
            ``'mFscore'``.
        nan_to_num: Score of a class that does not occur. If None, the means leave the
            class out.
        beta: Weight of the recall in ``'mFscore'``.
        collect_device: Where processes exchange results, ``'cpu'`` or ``'gpu'``.
        output_dir: Folder for predictions, written as 8-bit PNGs with the stem of the
            image's name.
        format_only: Write predictions without scoring them. No labels are needed.
        prefix: Prefix of the names of the scores.

    Raises:
        ValueError: ``iou_metrics`` holds another name, or ``format_only`` is set
            without ``output_dir``.
    """

    def __init__(
        self,
        ignore_index: int = IGNORE_INDEX,
        iou_metrics: Sequence[str] | str = ('mIoU',),
        nan_to_num: float | None = None,
        beta: float = 1,
        collect_device: str = 'cpu',
        output_dir: str | None = None,
        format_only: bool = False,
        prefix: str | None = None,
    ) -> None:
        names = [iou_metrics] if isinstance(iou_metrics, str) else list(iou_metrics)
        if wrong := [name for name in names if name not in SETS]:
            raise ValueError(f'iou_metrics must be from {SETS}, got {wrong[0]!r}')
        if format_only and not output_dir:
            raise ValueError('format_only=True needs an output_dir')
        super().__init__(
            ignore_index,
            names,
            nan_to_num,
            beta,
            collect_device,
            output_dir,
            format_only,
            prefix,
        )
        self.last_scores: dict = {}

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Count one batch of predictions against its labels, write it, or do both."""
        for sample in data_samples:
            prediction = _as_numpy(label_ids(sample['pred_sem_seg']))
            if not self.format_only:
                self._count(sample, prediction)
            if self.output_dir is not None:
                self._write(sample, prediction)

    def _count(self, sample: dict, prediction: np.ndarray) -> None:
        # Without a path, its place in the data, of which each process has every n-th.
        place = len(self.results) * get_world_size() + get_rank()
        path = sample.get('img_path', f'image {place}')
        if 'gt_sem_seg' not in sample:
            raise InputError(path, 'has no labels', 'score a part with masks')
        truth = _as_numpy(label_ids(sample['gt_sem_seg']))
        num_classes = len(self.dataset_meta['classes'])
        try:
            counts = confusion_with_outside(
                truth, prediction, num_classes, self.ignore_index
            )
        except ValueError as error:
            raise InputError(path, str(error), 'correct the labels') from None
        self.results.append((str(path), counts))

    def _write(self, sample: dict, prediction: np.ndarray) -> None:
        path = Path(sample['img_path'])
        # With reduce_zero_label the class ids in the files begin with 1.
        ids = prediction.astype(np.int64) + bool(sample.get('reduce_zero_label'))
        if ids.max(initial=0) > 255:
            raise InputError(
                path,
                f'class id {ids.max()} does not fit into a PNG of 8 bits',
                'remove output_dir',
            )
        image = Image.fromarray(ids.astype(np.uint8))
        image.save(Path(str(self.output_dir), f'{path.stem}.png'))

    def compute_metrics(self, results: list[tuple[str, np.ndarray]]) -> dict:
        """Return the scores in percent, and print the tables per class."""
        if self.format_only:
            print_log(f'predictions: {self.output_dir}', logger='current')
            return {}
        classes = self.dataset_meta['classes']
        confusions = _same_size(dict(results), len(classes))
        try:
            self.last_scores = summarise(confusions, classes)
        except ValueError as error:
            raise InputError('scores', str(error), 'score a part with masks') from None
        print_log('\n' + score_table(self.last_scores), logger='current')
        values = self._by_class(np.sum(list(confusions.values()), axis=0))
        if set(self.metrics) != {'mIoU'}:
            print_log('\n' + _class_table(values, classes), logger='current')
        return self._logged(values)

    def _by_class(self, pooled: np.ndarray) -> dict[str, np.ndarray]:
        """Return the scores of ``iou_metrics`` by class, as ``IoUMetric`` does."""
        inside = slice(len(self.dataset_meta['classes']))
        rows, columns, hits = pooled.sum(1), pooled.sum(0), np.diagonal(pooled)
        areas = (hits, rows + columns - hits, columns, rows)
        return self.total_area_to_metrics(
            *(torch.from_numpy(area[inside].astype(np.float64)) for area in areas),
            self.metrics,
            self.nan_to_num,
            self.beta,
        )

    def _logged(self, values: dict[str, np.ndarray]) -> dict[str, float]:
        """Return the means over the classes, in percent."""
        means = {
            name if name == 'aAcc' else f'm{name}': float(np.nanmean(value))
            for name, value in values.items()
        }
        if 'mIoU' in self.metrics:
            means['mIoU_image'] = self.last_scores['mIoU_image']
        return {name: round(100 * mean, 2) for name, mean in means.items()}


def _as_numpy(label_map: torch.Tensor) -> np.ndarray:
    return label_map.squeeze(0).cpu().numpy()


def _same_size(confusions: dict[str, np.ndarray], classes: int) -> dict:
    """Return matrices of one size, and report ids outside the class table."""
    outside = [path for path, counts in confusions.items() if len(counts) > classes]
    if not outside:
        return confusions
    print_log(
        f'{outside[0]}: label or prediction holds ids outside the {classes} classes '
        f'({len(outside)} such images)',
        logger='current',
        level=logging.WARNING,
    )
    return {
        path: np.pad(counts, (0, classes + 1 - len(counts)))
        for path, counts in confusions.items()
    }


def _class_table(values: dict[str, np.ndarray], classes: Sequence[str]) -> str:
    columns = [name for name in values if name != 'aAcc']
    lines = [f'{"class":<16}' + ''.join(f'{name:>11}' for name in columns)]
    for i, name in enumerate(classes):
        cells = (f'{100 * values[column][i]:>11.2f}' for column in columns)
        lines.append(f'{name:<16}' + ''.join(cells))
    return '\n'.join(lines)
