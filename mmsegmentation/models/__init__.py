from mmsegmentation.models.beit import UnilmBEiT
from mmsegmentation.models.convnext import ConvNeXt
from mmsegmentation.models.focal_loss import SoftmaxFocalLoss
from mmsegmentation.models.tta import MeanProbabilityTTA

__all__ = ['ConvNeXt', 'MeanProbabilityTTA', 'SoftmaxFocalLoss', 'UnilmBEiT']
