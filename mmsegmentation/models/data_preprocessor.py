from copy import copy
from typing import Any

import torch
from mmseg.models import SegDataPreProcessor
from mmseg.registry import MODELS
from torch import Tensor

# Smallest side in pixels: the last feature map of a backbone has a stride of 32.
LEAST_SIDE = 32


@MODELS.register_module()
class FastSegDataPreProcessor(SegDataPreProcessor):
    """MMSegmentation's preprocessor for a batch of bytes, normalised all at once.

    Images and labels come to the device as uint8. There the images are stacked, their
    channels are turned, and the whole batch is normalised; in training, labels become
    int64, which the losses ask for. Bit for bit MMSegmentation's values: the padding is
    laid after the normalisation, with ``pad_val`` itself. Images of another kind, and
    batches that its fast way does not know, take MMSegmentation's way.

    In prediction, an image with a side below 32 pixels is padded to 32, as with
    ``test_cfg=dict(size=(32, 32))``. The largest stride of the backbones is 32, so that
    MMSegmentation fails on such an image.

    Args: as MMSegmentation's ``SegDataPreProcessor``.
    """

    def forward(self, data: dict, training: bool = False) -> dict[str, Any]:
        """Return ``inputs``, (N, C, H, W) float32, and ``data_samples``."""
        data = self.cast_data(data)
        samples = data.get('data_samples')
        for sample in (samples or []) if training else []:
            if 'gt_sem_seg' in sample:
                label = sample.gt_sem_seg
                label.set_data({'data': label.data.long()})
        images = data['inputs']
        if not training and self._is_too_small(images, samples):
            padding = copy(self)
            padding.test_cfg = dict(size=(LEAST_SIDE, LEAST_SIDE))
            return SegDataPreProcessor.forward(padding, data)
        if not self._is_plain(images, samples, training):
            return super().forward(data, training)
        stacked = images if isinstance(images, Tensor) else torch.stack(images)
        batch = self._normalise(stacked)
        if training and samples:
            for image, sample in zip(images, samples, strict=True):
                shape = image.shape[-2:]
                padded = sample.gt_sem_seg.shape if 'gt_sem_seg' in sample else None
                sample.set_metainfo(
                    dict(img_shape=shape, pad_shape=padded, padding_size=(0, 0, 0, 0))
                )
        return {'inputs': batch, 'data_samples': samples}

    def _is_too_small(self, images: Any, samples: Any) -> bool:
        """Return whether an image is smaller than the largest stride."""
        if self.test_cfg or not samples:
            return False
        return any(min(image.shape[-2:]) < LEAST_SIDE for image in images)

    def _is_plain(self, images: Any, samples: Any, training: bool) -> bool:
        """Whether all images are bytes of one size that needs no padding."""
        shapes = {(i.dtype, i.shape) for i in images if isinstance(i, Tensor)}
        if len(shapes) != 1 or not all(isinstance(i, Tensor) for i in images):
            return False
        ((dtype, shape),) = shapes
        if dtype != torch.uint8 or len(shape) != 3 or not self._enable_normalize:
            return False
        if not training:
            return not self.test_cfg
        if not samples or self.batch_augments is not None:
            return False
        if (self.size is None) == (self.size_divisor is None):
            return False
        if any(not {'gt_sem_seg'} >= set(sample.keys()) for sample in samples):
            return False
        if self.size is not None:
            return shape[-2] >= self.size[-2] and shape[-1] >= self.size[-1]
        return not any(side % self.size_divisor for side in shape[-2:])

    def _normalise(self, batch: Tensor) -> Tensor:
        if self._channel_conversion and batch.shape[1] == 3:
            batch = batch.flip(1)
        # Whole numbers in a config make an integer mean.
        return torch.sub(batch, self.mean.float()).div_(self.std)
