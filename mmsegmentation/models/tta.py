from collections.abc import Sequence
from typing import Any

from mmengine.model import BaseTTAModel
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from mmsegmentation.models.fast_encoder_decoder import FastEncoderDecoder, put_decision
from mmsegmentation.models.logit_map import MeanOfViews, logit_map_of
from mmsegmentation.models.on_demand import OnDemand


@MODELS.register_module()
class MeanProbabilityTTA(BaseTTAModel):
    """Average the class probabilities of all views of an image.

    The labels are those of MMSegmentation's ``SegTTAModel``, and a confidence is added.
    The merged ``seg_logits`` are the logarithm of the mean probabilities. They are
    computed when they are first read. With one output channel they are the mean
    probabilities of class 1. In that case the sigmoid is applied once to each view;
    ``SegTTAModel`` applies it twice.
    """

    def test_step(self, data: Any) -> list[SegDataSample]:
        """Predict all views of a batch and merge them."""
        if not isinstance(self.module, FastEncoderDecoder):
            return super().test_step(data)
        with self.module.undecided():  # labels are decided after the views are merged
            return super().test_step(data)

    def merge_preds(
        self, data_samples_list: Sequence[Sequence[SegDataSample]]
    ) -> list[SegDataSample]:
        """Merge the views, one list of samples per image, into one sample each."""
        return [self._merge(views) for views in data_samples_list]

    def _merge(self, views: Sequence[SegDataSample]) -> SegDataSample:
        # As MMSegmentation's: what the last view has, and path and labels of the first.
        path = {'img_path': views[0].img_path}
        merged = SegDataSample(metainfo={**views[-1].metainfo, **path})
        merged.set_data(dict(views[-1].items()))
        if 'gt_sem_seg' in views[0]:
            merged.gt_sem_seg = views[0].gt_sem_seg
        one = self.module.out_channels == 1
        threshold = self.module.decode_head.threshold if one else None
        mean = MeanOfViews([logit_map_of(view.seg_logits) for view in views], threshold)
        merged.seg_logits = OnDemand(mean)
        put_decision(merged, mean)
        return merged
