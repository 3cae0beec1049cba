from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from mmseg.registry import METRICS
from torch.nn import functional

from mmsegmentation.files import id_below
from mmsegmentation.predictions import write_prediction, write_probs

# Pixels per side of one cell of the kept probabilities.
STRIDE = 4


@METRICS.register_module()
class PredictionWriter(BaseMetric):
    """Write each image's class ids and confidence as it is predicted.

    An image's id is its path below the folder of images that it is in. Confidence is
    255 x the winner's probability.

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
            label_map = sample['pred_sem_seg']['data'].squeeze(0).to(torch.uint8)
            write_prediction(
                self.out_dir,
                image_id,
                label_map.cpu().numpy(),
                _confidence(sample),
            )
            if self.probs:
                probs = _probs(sample['seg_logits']['data'])
                write_probs(self.out_dir, image_id, probs)
            self.results.append(image_id)

    def compute_metrics(self, results: list[str]) -> dict:
        """Nothing to score."""
        return {}


def _confidence(sample: dict) -> np.ndarray:
    if 'confidence' in sample:  # of FastEncoderDecoder
        return sample['confidence']['data'].squeeze(0).cpu().numpy()
    # The winner's softmax is exp(max - logsumexp): one map instead of one per class.
    logits = sample['seg_logits']['data'].float()
    winner = (logits.amax(0) - logits.logsumexp(0)).exp()
    return (winner * 255).round().to(torch.uint8).cpu().numpy()


def _probs(seg_logits: torch.Tensor) -> np.ndarray:
    # The models decide at a stride of 4: the mean of 4 x 4 pixels loses little.
    mean = functional.avg_pool2d(
        seg_logits.float().softmax(0)[None], STRIDE, ceil_mode=True
    )[0]
    return (mean * 255).round().to(torch.uint8).cpu().numpy()
