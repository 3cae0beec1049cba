from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from mmseg.registry import METRICS
from torch.nn import functional

from mmsegmentation.command import InputError
from mmsegmentation.files import id_below
from mmsegmentation.models.logit_map import LogitMap, logit_map_of
from mmsegmentation.models.on_demand import label_ids
from mmsegmentation.predictions import write_prediction, write_probs

# Pixels per side of one cell of the kept probabilities.
STRIDE = 4


@METRICS.register_module()
class PredictionWriter(BaseMetric):
    """Write each image's class ids and confidence as it is predicted.

    An image's id is its path below the folder of images that it is in. Confidence is
    255 x the probability of the pixel's class. For a head with one output channel,
    ``probs`` has two planes, class 0 and class 1.

    Args:
        out_dir: The prediction folder.
        images: The folder of the images that are predicted, or several.
        probs: Keep the probabilities of all classes too, at a quarter of the size.
        collect_device: Where processes exchange results, ``'cpu'`` or ``'gpu'``.
    """

    def __init__(
        self,
        out_dir: str,
        images: str | Sequence[str],
        probs: bool = False,
        collect_device: str = 'cpu',
    ) -> None:
        super().__init__(collect_device=collect_device)
        self.out_dir = Path(out_dir)
        folders = [images] if isinstance(images, str) else images
        self.images = [Path(folder) for folder in folders]
        self.probs = probs

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Write one batch."""
        for sample in data_samples:
            image_id = id_below(self.images, Path(sample['img_path']))
            label_map = _label_map(sample)
            write_prediction(self.out_dir, image_id, label_map, _confidence(sample))
            if self.probs:
                probs = _probs(logit_map_of(sample['seg_logits']))
                write_probs(self.out_dir, image_id, probs)
            self.results.append(image_id)

    def compute_metrics(self, results: list[str]) -> dict:
        """Nothing to score."""
        return {}


def _label_map(sample: dict) -> np.ndarray:
    labels = label_ids(sample['pred_sem_seg'])
    if labels.dtype != torch.uint8:
        if (highest := int(labels.max())) > 255:
            raise InputError(
                sample['img_path'],
                f'class id {highest} does not fit into a mask of 8 bits',
                'predict at most 256 classes',
            )
        labels = labels.to(torch.uint8)
    return labels.squeeze(0).cpu().numpy()


def _confidence(sample: dict) -> np.ndarray:
    if 'confidence' in sample:  # of FastEncoderDecoder
        confidence = sample['confidence']['data']
    else:
        logit_map = logit_map_of(sample['seg_logits'])
        if logit_map.shape[0] > 1:
            confidence = logit_map.decide()[1]
        else:
            chances = logit_map.full()
            labels = sample['pred_sem_seg']['data'].bool()
            confidence = _as_bytes(torch.where(labels, chances, 1 - chances))
    return confidence.squeeze(0).cpu().numpy()


def _probs(logit_map: LogitMap) -> np.ndarray:
    # The models decide at a stride of 4: the mean of 4 x 4 pixels loses little.
    strips = []
    for rows in logit_map.strips(STRIDE):
        chances = logit_map.probabilities(rows)
        if len(chances) == 1:  # of class 1
            chances = torch.cat([1 - chances, chances])
        mean = functional.avg_pool2d(chances[None], STRIDE, ceil_mode=True)[0]
        strips.append(_as_bytes(mean).cpu())
    return torch.cat(strips, dim=1).numpy()


def _as_bytes(chances: torch.Tensor) -> torch.Tensor:
    return (chances * 255).round().to(torch.uint8)
