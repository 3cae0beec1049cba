from mmseg.models.decode_heads import FCNHead
from mmseg.registry import MODELS

from mmsegmentation.models.fast_loss import FastLossHead


@MODELS.register_module()
class FastFCNHead(FastLossHead, FCNHead):
    """MMSegmentation's FCNHead; its accuracy costs a tenth."""
