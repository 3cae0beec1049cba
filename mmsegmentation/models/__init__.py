from mmsegmentation.models.beit import UnilmBEiT
from mmsegmentation.models.convnext import ConvNeXt
from mmsegmentation.models.tta import MeanProbabilityTTA

__all__ = ['ConvNeXt', 'MeanProbabilityTTA', 'UnilmBEiT']
