from mmsegmentation.models.classwise_dice_loss import ClasswiseDiceLoss
from mmsegmentation.models.convnext import ConvNeXt
from mmsegmentation.models.data_preprocessor import FastSegDataPreProcessor
from mmsegmentation.models.fast_beit import FastBEiT
from mmsegmentation.models.fast_encoder_decoder import FastEncoderDecoder
from mmsegmentation.models.fast_fcn_head import FastFCNHead
from mmsegmentation.models.fast_uper_head import FastUPerHead
from mmsegmentation.models.focal_loss import SoftmaxFocalLoss
from mmsegmentation.models.tta import MeanProbabilityTTA

__all__ = [
    'ClasswiseDiceLoss',
    'ConvNeXt',
    'FastBEiT',
    'FastEncoderDecoder',
    'FastFCNHead',
    'FastSegDataPreProcessor',
    'FastUPerHead',
    'MeanProbabilityTTA',
    'SoftmaxFocalLoss',
]
