from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import BaseTTAModel
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from mmsegmentation.models.fast_encoder_decoder import FastEncoderDecoder


@MODELS.register_module()
class MeanProbabilityTTA(BaseTTAModel):
    """Average the class probabilities of all views of an image.

    The same labels as MMSegmentation's ``SegTTAModel``; the merged probabilities are
    kept as well (as their logarithm, in ``seg_logits``), so that a confidence can be
    written.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if isinstance(self.module, FastEncoderDecoder):
            self.module.keep_seg_logits = True  # they are averaged here

    def merge_preds(
        self, data_samples_list: Sequence[Sequence[SegDataSample]]
    ) -> list[SegDataSample]:
        """Merge the views, one list of samples per image, into one sample each."""
        return [self._merge(views) for views in data_samples_list]

    def _merge(self, views: Sequence[SegDataSample]) -> SegDataSample:
        mean = torch.stack([v.seg_logits.data.softmax(0) for v in views]).mean(0)
        merged = SegDataSample(metainfo={'img_path': views[0].img_path})
        merged.seg_logits = PixelData(data=mean.log())
        merged.pred_sem_seg = PixelData(data=mean.argmax(0, keepdim=True))
        if 'gt_sem_seg' in views[0]:
            merged.gt_sem_seg = views[0].gt_sem_seg
        return merged
