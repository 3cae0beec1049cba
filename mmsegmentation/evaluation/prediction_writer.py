from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from mmseg.registry import METRICS

from mmsegmentation.predictions import write_prediction


@METRICS.register_module()
class PredictionWriter(BaseMetric):
    """Write each image's class ids and confidence as it is predicted.

    An image's id is its path below ``images``. Confidence is 255 x the winner's
    probability.

    Args:
        out_dir: The prediction folder.
        images: The folder of the images that are predicted.
        collect_device: Where processes exchange results, ``'cpu'`` or ``'gpu'``.
    """

    def __init__(self, out_dir: str, images: str, collect_device: str = 'cpu') -> None:
        super().__init__(collect_device=collect_device)
        self.out_dir = Path(out_dir)
        self.images = Path(images)

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Write one batch."""
        for sample in data_samples:
            image_id = Path(sample['img_path']).relative_to(self.images).as_posix()
            label_map = sample['pred_sem_seg']['data'].squeeze(0).to(torch.uint8)
            write_prediction(
                self.out_dir,
                image_id,
                label_map.cpu().numpy(),
                _confidence(sample['seg_logits']['data']),
            )
            self.results.append(image_id)

    def compute_metrics(self, results: list[str]) -> dict:
        """Nothing to score."""
        return {}


def _confidence(seg_logits: torch.Tensor) -> np.ndarray:
    # The winner's softmax is exp(max - logsumexp): one map instead of one per class.
    logits = seg_logits.float()
    winner = (logits.amax(0) - logits.logsumexp(0)).exp()
    return (winner * 255).round().to(torch.uint8).cpu().numpy()
