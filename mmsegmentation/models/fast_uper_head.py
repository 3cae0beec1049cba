from collections.abc import Sequence

import torch
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
    A convolution that is not plain, or that somebody's hook watches, runs as it is.
    """

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
        if not _is_plain(module):
            size = maps[0].shape[2:]
            resized = [
                resize(m, size=size, mode='bilinear', align_corners=self.align_corners)
                for m in maps[1:]
            ]
            return module(torch.cat([maps[0], *resized], dim=1))
        conv = module.conv
        features = conv3x3_of_upsampled(maps, conv.weight, self.align_corners)
        if conv.bias is not None:
            features = features + conv.bias[:, None, None]
        if module.with_norm:
            features = module.norm(features)
        return module.activate(features) if module.with_activation else features


def _is_plain(module: ConvModule) -> bool:
    """Whether a module is a convolution, a norm and an activation, seen by nobody.

    Pruning and weight norms work by hooks, or by another class.
    """
    conv = module.conv
    hooks = [
        found
        for part in (module, conv)
        for name, found in vars(part).items()
        if name.endswith('_hooks') and 'state_dict' not in name
    ]
    return (
        type(conv) is nn.Conv2d
        and conv.padding_mode == 'zeros'
        and module.order == ('conv', 'norm', 'act')
        and not module.with_explicit_padding
        and not any(hooks)
    )
