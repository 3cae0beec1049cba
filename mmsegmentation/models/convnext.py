from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import torch
from mmcv.cnn.bricks import DropPath
from mmengine.model import BaseModule, ModuleList, Sequential
from mmseg.registry import MODELS
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

ARCHITECTURES: dict[str, dict[str, list[int]]] = {
    'atto': {'depths': [2, 2, 6, 2], 'channels': [40, 80, 160, 320]},
    'femto': {'depths': [2, 2, 6, 2], 'channels': [48, 96, 192, 384]},
    'pico': {'depths': [2, 2, 6, 2], 'channels': [64, 128, 256, 512]},
    'nano': {'depths': [2, 2, 8, 2], 'channels': [80, 160, 320, 640]},
    'tiny': {'depths': [3, 3, 9, 3], 'channels': [96, 192, 384, 768]},
    'small': {'depths': [3, 3, 27, 3], 'channels': [96, 192, 384, 768]},
    'base': {'depths': [3, 3, 27, 3], 'channels': [128, 256, 512, 1024]},
    'large': {'depths': [3, 3, 27, 3], 'channels': [192, 384, 768, 1536]},
    'xlarge': {'depths': [3, 3, 27, 3], 'channels': [256, 512, 1024, 2048]},
}


class LayerNorm2d(nn.LayerNorm):
    """Layer norm over the channels of (N, C, H, W)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.permute(0, 2, 3, 1)
        return super().forward(x).permute(0, 3, 1, 2)


class ConvNeXtBlock(BaseModule):
    """Depthwise 7x7 convolution, norm, and two pointwise layers, with a residual.

    Args:
        channels: Channels in and out.
        drop_path_rate: Chance of leaving the block out in training, in [0, 1).
        layer_scale_init_value: Start of ``gamma``; 0 for none.
        with_cp: Save memory by computing the block again in the backward pass.
    """

    def __init__(
        self,
        channels: int,
        drop_path_rate: float,
        layer_scale_init_value: float,
        with_cp: bool,
    ) -> None:
        super().__init__()
        self.with_cp = with_cp
        self.depthwise_conv = nn.Conv2d(
            channels, channels, kernel_size=7, padding=3, groups=channels
        )
        self.norm = LayerNorm2d(channels, eps=1e-6)
        self.pointwise_conv1 = nn.Linear(channels, 4 * channels)
        self.pointwise_conv2 = nn.Linear(4 * channels, channels)
        scale = torch.full((channels,), float(layer_scale_init_value))
        self.gamma = nn.Parameter(scale) if layer_scale_init_value > 0 else None
        self.drop_path = DropPath(drop_path_rate) if drop_path_rate else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (N, C, H, W) features of the same size."""
        if self.with_cp and x.requires_grad:
            return checkpoint(self._forward, x, use_reentrant=False)
        return self._forward(x)

    def _forward(self, x: torch.Tensor) -> torch.Tensor:
        # Channels last from the norm to the last product: one permute each way.
        y = self.depthwise_conv(x).permute(0, 2, 3, 1)
        y = F.layer_norm(
            y, self.norm.normalized_shape, self.norm.weight, self.norm.bias, 1e-6
        )
        y = self.pointwise_conv2(F.gelu(self.pointwise_conv1(y)))
        if self.gamma is not None:
            y = y * self.gamma
        return x + self.drop_path(y.permute(0, 3, 1, 2))


@MODELS.register_module()
class ConvNeXt(BaseModule):
    """ConvNeXt backbone with mmpretrain's arguments and parameter names.

    Checkpoints of mmpretrain and MMSegmentation load as they are.
    A ConvNet for the 2020s (Liu et al., 2022, https://arxiv.org/abs/2201.03545).

    Args:
        arch: A name of ``ARCHITECTURES``, or a dict of ``depths`` and ``channels``,
            four numbers each.
        in_channels: Channels of the image.
        stem_patch_size: Stride of the first layer, in pixels.
        drop_path_rate: Rate at the last block, growing linearly from 0.
        layer_scale_init_value: Start of the layer scale; 0 for none.
        out_indices: Stages that are returned; negative counts from the end.
        frozen_stages: Stages that are not trained, counted from the stem.
        gap_before_final_norm: Pool before the norm: for classifiers, so only false
            is accepted here; it stands for configs that name it.
        with_cp: Trade time for memory in training.
        init_cfg: As every MMEngine module.

    Raises:
        ValueError: An argument is out of range.
    """

    def __init__(
        self,
        arch: str | dict = 'tiny',
        in_channels: int = 3,
        stem_patch_size: int = 4,
        drop_path_rate: float = 0.0,
        layer_scale_init_value: float = 1e-6,
        out_indices: int | Sequence[int] = (0, 1, 2, 3),
        frozen_stages: int = 0,
        gap_before_final_norm: bool = False,
        with_cp: bool = False,
        init_cfg: Any = None,
    ) -> None:
        default_init = [
            dict(type='TruncNormal', layer=['Conv2d', 'Linear'], std=0.02, bias=0.0),
            dict(type='Constant', layer=['LayerNorm'], val=1.0, bias=0.0),
        ]
        super().__init__(init_cfg=init_cfg or default_init)
        if gap_before_final_norm:
            raise ValueError('gap_before_final_norm must be False: it gives no map')
        if isinstance(arch, str) and arch not in ARCHITECTURES:
            raise ValueError(f'arch must be one of {list(ARCHITECTURES)}, got {arch!r}')
        shape = ARCHITECTURES[arch] if isinstance(arch, str) else arch
        self.depths, self.channels = list(shape['depths']), list(shape['channels'])
        if len(self.depths) != 4 or len(self.channels) != 4:
            raise ValueError(f'arch must have four depths and channels, got {shape}')
        indices = [out_indices] if isinstance(out_indices, int) else out_indices
        if any(not -4 <= i < 4 for i in indices):
            raise ValueError(f'out_indices must be in [-4, 3], got {out_indices}')
        self.out_indices = sorted(i % 4 for i in indices)
        self.frozen_stages = frozen_stages
        self.downsample_layers = ModuleList(
            [self._stem(in_channels, stem_patch_size)]
            + [self._downsample(i) for i in range(3)]
        )
        rates = torch.linspace(0, drop_path_rate, sum(self.depths)).tolist()
        ends = list(accumulate(self.depths))
        self.stages = ModuleList(
            Sequential(
                *(
                    ConvNeXtBlock(channels, rate, layer_scale_init_value, with_cp)
                    for rate in rates[end - depth : end]
                )
            )
            for channels, depth, end in zip(
                self.channels, self.depths, ends, strict=True
            )
        )
        for i in self.out_indices:
            self.add_module(f'norm{i}', LayerNorm2d(self.channels[i], eps=1e-6))
        self._freeze()

    def _stem(self, in_channels: int, size: int) -> nn.Module:
        width = self.channels[0]
        conv = nn.Conv2d(in_channels, width, kernel_size=size, stride=size)
        return Sequential(conv, LayerNorm2d(width, eps=1e-6))

    def _downsample(self, i: int) -> nn.Module:
        norm = LayerNorm2d(self.channels[i], eps=1e-6)
        conv = nn.Conv2d(self.channels[i], self.channels[i + 1], 2, stride=2)
        return Sequential(norm, conv)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return one map per stage of ``out_indices``, (N, C, H / 4, W / 4) first."""
        maps = []
        for i, (down, stage) in enumerate(
            zip(self.downsample_layers, self.stages, strict=True)
        ):
            x = stage(down(x))
            if i in self.out_indices:
                maps.append(getattr(self, f'norm{i}')(x))
        return tuple(maps)

    def _freeze(self) -> None:
        for part in range(self.frozen_stages):
            for module in (self.downsample_layers[part], self.stages[part]):
                module.eval()
                module.requires_grad_(False)

    def train(self, mode: bool = True) -> 'ConvNeXt':
        """Switch to training; frozen stages stay as they are."""
        super().train(mode)
        self._freeze()
        return self
