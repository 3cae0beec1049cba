from collections.abc import Sequence

from mmcv.cnn import ConvModule
from mmseg.models.decode_heads import UPerHead
from mmseg.models.utils import resize
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmsegmentation.models.fast_loss import FastLossHead
from mmsegmentation.models.upsampled_conv import conv3x3_of_upsampled


@MODELS.register_module()
class FastUPerHead(FastLossHead, UPerHead):
    """MMSegmentation's UPerHead, with the same numbers at half the arithmetic.

    Its two 3x3 convolutions over concatenated maps work on each map at its own size,
    see :func:`conv3x3_of_upsampled`. Arguments, weights and checkpoints are UPerHead's.

    Raises:
        ValueError: ``conv_cfg`` names another convolution than ``Conv2d``.
    """

    def __init__(self, **kwargs) -> None:
        super().__init__(**kwargs)
        for module in (self.bottleneck, self.fpn_bottleneck, *self.fpn_convs):
            if type(module.conv) is not nn.Conv2d or module.conv.bias is not None:
                raise ValueError(
                    f'FastUPerHead needs norm_cfg and a plain Conv2d, got {module}; '
                    'use UPerHead'
                )

    def psp_forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Return the smallest map together with its averages over 1 to 36 fields."""
        smallest = inputs[-1]
        pooled = [pool(smallest) for pool in self.psp_modules]
        return self._convolve(self.bottleneck, [smallest, *pooled])

    def _forward_feature(self, inputs: Sequence[Tensor]) -> Tensor:
        inputs = self._transform_inputs(inputs)
        maps = [
            lateral(features)
            for lateral, features in zip(self.lateral_convs, inputs, strict=False)
        ]
        maps.append(self.psp_forward(inputs))
        for i in range(len(maps) - 1, 0, -1):
            maps[i - 1] = maps[i - 1] + resize(
                maps[i],
                size=maps[i - 1].shape[2:],
                mode='bilinear',
                align_corners=self.align_corners,
            )
        outputs = [
            self._convolve(conv, [features])
            for conv, features in zip(self.fpn_convs, maps, strict=False)
        ]
        return self._convolve(self.fpn_bottleneck, [*outputs, maps[-1]])

    def _convolve(self, module: ConvModule, maps: Sequence[Tensor]) -> Tensor:
        weight = module.conv.weight
        features = conv3x3_of_upsampled(maps, weight, self.align_corners)
        if module.with_norm:
            features = module.norm(features)
        return module.activate(features) if module.with_activation else features
