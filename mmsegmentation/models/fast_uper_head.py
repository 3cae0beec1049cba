from collections.abc import Sequence
from typing import Any

import torch
from mmcv.cnn import ConvModule
from mmseg.models.decode_heads import UPerHead
from mmseg.models.utils import resize
from mmseg.registry import MODELS
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from mmsegmentation.models.cpu_sync_batch_norm import CPUSyncBatchNorm
from mmsegmentation.models.fast_loss import FastLossHead
from mmsegmentation.models.upsampled_conv import conv3x3_of_upsampled

# Of batch norms that do nothing else.
FORWARDS = _BatchNorm.forward, nn.SyncBatchNorm.forward, CPUSyncBatchNorm.forward


@MODELS.register_module()
class FastUPerHead(FastLossHead, UPerHead):
    """MMSegmentation's UPerHead, with the same numbers at half the arithmetic.

    Its two 3x3 convolutions over concatenated maps work on each map at its own size,
    see :func:`conv3x3_of_upsampled`. In inference a batch norm goes into the weights of
    its convolution, where that is less work. Arguments, weights and checkpoints are
    UPerHead's. A convolution that is not plain, or that somebody's hook watches, runs
    as it is.
    """

    def psp_forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Return the smallest map together with its averages over 1 to 36 fields."""
        smallest = inputs[-1]
        pooled = [pool(smallest) for pool in self.psp_modules]
        return self._convolve(self.bottleneck, [smallest, *pooled])

    def _forward_feature(self, inputs: Sequence[Tensor]) -> Tensor:
        inputs = self._transform_inputs(inputs)
        if inputs[0].device.type == 'cpu':
            # What works on channels next to each other copies nothing in between.
            inputs = [x.contiguous(memory_format=torch.channels_last) for x in inputs]
        maps = [
            self._convolve(lateral, [features])
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
        folded = _fold(module, maps[0])
        weight, bias = folded or (module.conv.weight, module.conv.bias)
        if weight.shape[2:] == (3, 3):
            features = conv3x3_of_upsampled(maps, weight, bias, self.align_corners)
        else:
            features = functional.conv2d(maps[0], weight, bias)
        if module.with_norm and not folded:
            features = module.norm(features)
        if not module.with_activation:
            return features
        if not torch.is_grad_enabled() and type(module.activate) is nn.ReLU:
            return functional.relu_(features)
        return module.activate(features)


def _is_plain(module: ConvModule) -> bool:
    """Whether a module is a convolution, a norm and an activation, seen by nobody.

    Pruning and weight norms work by hooks, or by another class.
    """
    conv = module.conv
    hooks = [
        found
        for part in (module, *module.children())
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


def _fold(module: ConvModule, features: Tensor) -> tuple[Tensor, Tensor] | None:
    """Return weight and bias of a convolution with its batch norm.

    In inference alone, and where there are fewer weights than values to normalise.
    """
    norm: Any = module.norm if module.with_norm else None
    if torch.is_grad_enabled() or getattr(type(norm), 'forward', None) not in FORWARDS:
        return None
    if torch.compiler.is_compiling() or torch.onnx.is_in_onnx_export():
        return None  # whoever compiles folds as well
    if norm.training or norm.running_mean is None:
        return None
    conv = module.conv
    if conv.weight[0].numel() >= features[:, 0].numel():
        return None
    scale = (norm.running_var + norm.eps).rsqrt()
    if norm.weight is not None:
        scale = scale * norm.weight
    mean = norm.running_mean if conv.bias is None else norm.running_mean - conv.bias
    shift = -mean * scale if norm.bias is None else norm.bias - mean * scale
    return conv.weight * scale[:, None, None, None], shift
