from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import torch
from mmcv.cnn import build_activation_layer, build_norm_layer
from mmcv.cnn.bricks import DropPath
from mmengine.model import BaseModule, ModuleList, Sequential
from mmseg.registry import MODELS
from torch import nn
from torch.utils.checkpoint import checkpoint

from mmsegmentation.models.fast_linear import FastLinear

# Name: blocks and channels of the four stages.
ARCHITECTURES = {
    'atto': ((2, 2, 6, 2), (40, 80, 160, 320)),
    'femto': ((2, 2, 6, 2), (48, 96, 192, 384)),
    'pico': ((2, 2, 6, 2), (64, 128, 256, 512)),
    'nano': ((2, 2, 8, 2), (80, 160, 320, 640)),
    'tiny': ((3, 3, 9, 3), (96, 192, 384, 768)),
    'small': ((3, 3, 27, 3), (96, 192, 384, 768)),
    'base': ((3, 3, 27, 3), (128, 256, 512, 1024)),
    'large': ((3, 3, 27, 3), (192, 384, 768, 1536)),
    'xlarge': ((3, 3, 27, 3), (256, 512, 1024, 2048)),
    'huge': ((3, 3, 27, 3), (352, 704, 1408, 2816)),
}

LAYER_NORM = dict(type='LN2d', eps=1e-6)


def _channels_last(x: torch.Tensor) -> torch.Tensor:
    """View (N, C, H, W) as (N, H, W, C)."""
    return x.permute(0, 2, 3, 1)


def _channels_first(x: torch.Tensor) -> torch.Tensor:
    """View (N, H, W, C) as (N, C, H, W)."""
    return x.permute(0, 3, 1, 2)


class LayerNorm2d(nn.LayerNorm):
    """Layer norm over the channels of (N, C, H, W)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return _channels_first(super().forward(_channels_last(x)))


def _build_norm(norm_cfg: dict, channels: int) -> nn.Module:
    if norm_cfg['type'] in ('LN', 'LN2d'):
        return LayerNorm2d(channels, eps=norm_cfg.get('eps', 1e-5))
    return build_norm_layer(norm_cfg, channels)[1]


class GRN(nn.Module):
    """Global response normalisation of (N, H, W, C).

    From ConvNeXt V2 (Woo et al., 2023, https://arxiv.org/abs/2301.00808).
    """

    def __init__(self, channels: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.eps = eps
        self.gamma = nn.Parameter(torch.zeros(channels))
        self.beta = nn.Parameter(torch.zeros(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        strength = torch.linalg.vector_norm(x, dim=(1, 2), keepdim=True)
        share = strength / (strength.mean(dim=-1, keepdim=True) + self.eps)
        return x + self.gamma * (x * share) + self.beta


class ConvNeXtBlock(BaseModule):
    """Depthwise 7x7 convolution, norm and two pointwise layers, with a residual.

    Args:
        channels: Channels in and out.
        norm_cfg: Norm after the depthwise convolution.
        act_cfg: Activation between the pointwise layers.
        linear_pw_conv: Pointwise layers as ``Linear``, else as 1x1 convolutions.
        use_grn: Global response normalisation between the pointwise layers.
        drop_path_rate: Chance of leaving the block out in training, in [0, 1).
        layer_scale_init_value: Start of ``gamma``; 0 for none.
        with_cp: Save memory by computing the block again in the backward pass.
    """

    def __init__(
        self,
        channels: int,
        norm_cfg: dict,
        act_cfg: dict,
        linear_pw_conv: bool,
        use_grn: bool,
        drop_path_rate: float,
        layer_scale_init_value: float,
        with_cp: bool,
    ) -> None:
        super().__init__()
        self.linear_pw_conv = linear_pw_conv
        self.with_cp = with_cp
        self.depthwise_conv = nn.Conv2d(
            channels, channels, 7, padding=3, groups=channels
        )
        self.norm = _build_norm(norm_cfg, channels)
        self.pointwise_conv1 = self._pointwise(channels, 4 * channels)
        self.pointwise_conv2 = self._pointwise(4 * channels, channels)
        self.act = build_activation_layer(act_cfg)
        self.grn = GRN(4 * channels) if use_grn else None
        scale = torch.full((channels,), float(layer_scale_init_value))
        self.gamma = nn.Parameter(scale) if layer_scale_init_value > 0 else None
        self.drop_path = DropPath(drop_path_rate) if drop_path_rate else nn.Identity()

    def _pointwise(self, channels_in: int, channels_out: int) -> nn.Module:
        if self.linear_pw_conv:
            return FastLinear(channels_in, channels_out)
        return nn.Conv2d(channels_in, channels_out, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return features of the same shape, (N, C, H, W)."""
        if self.with_cp and x.requires_grad:
            return checkpoint(self._forward, x, use_reentrant=False)
        return self._forward(x)

    def _forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm(self.depthwise_conv(x))
        if self.linear_pw_conv:
            # The norm's result lies channels last already: both permutes are views.
            y = _channels_first(self._mlp(_channels_last(y)))
        else:
            y = self._mlp(y)
        if self.gamma is not None:
            y = y * self.gamma[:, None, None]
        return x + self.drop_path(y)

    def _mlp(self, y: torch.Tensor) -> torch.Tensor:
        y = self.act(self.pointwise_conv1(y))
        if self.grn is not None:
            y = self.grn(y) if self.linear_pw_conv else self._grn_channels_first(y)
        return self.pointwise_conv2(y)

    def _grn_channels_first(self, y: torch.Tensor) -> torch.Tensor:
        assert self.grn is not None
        return _channels_first(self.grn(_channels_last(y)))


@MODELS.register_module()
class ConvNeXt(BaseModule):
    """ConvNeXt backbone with mmpretrain's arguments, defaults and parameter names.

    Checkpoints of mmpretrain and MMSegmentation load as they are, and ours load there.
    For a segmentor set ``out_indices`` and ``gap_before_final_norm=False``.

    A ConvNet for the 2020s (Liu et al., 2022, https://arxiv.org/abs/2201.03545).

    Args:
        arch: A name of ``ARCHITECTURES``, or a dict of ``depths`` and ``channels``, a
            number per stage.
        in_channels: Channels of the image.
        stem_patch_size: Size and stride of the first convolution, in pixels.
        norm_cfg: ``LN2d`` is the layer norm over channels; else any norm of mmcv.
        act_cfg: Activation of mmcv.
        linear_pw_conv: Pointwise layers as ``Linear`` (faster), else 1x1 convolutions.
        use_grn: The block of ConvNeXt V2; goes with ``layer_scale_init_value=0``.
        drop_path_rate: Rate at the last block, growing linearly from 0.
        layer_scale_init_value: Start of the layer scale; 0 for none.
        out_indices: Stages that are returned; negative ones count from the end.
        frozen_stages: How many stages, from the stem on, are not trained.
        gap_before_final_norm: Return averages, (N, C), instead of maps.
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
        norm_cfg: dict = LAYER_NORM,
        act_cfg: dict = dict(type='GELU'),  # noqa: B006
        linear_pw_conv: bool = True,
        use_grn: bool = False,
        drop_path_rate: float = 0.0,
        layer_scale_init_value: float = 1e-6,
        out_indices: int | Sequence[int] = -1,
        frozen_stages: int = 0,
        gap_before_final_norm: bool = True,
        with_cp: bool = False,
        init_cfg: Any = None,
    ) -> None:
        default_init = [
            dict(type='TruncNormal', layer=['Conv2d', 'Linear'], std=0.02, bias=0.0),
            dict(type='Constant', layer=['LayerNorm'], val=1.0, bias=0.0),
        ]
        super().__init__(init_cfg=default_init if init_cfg is None else init_cfg)
        self.depths, self.channels = _shape_of(arch)
        self.out_indices = _indices_of(out_indices, len(self.depths))
        if not 0 <= frozen_stages <= len(self.depths):
            raise ValueError(
                f'frozen_stages must be in [0, {len(self.depths)}], got {frozen_stages}'
            )
        self.frozen_stages = frozen_stages
        self.gap_before_final_norm = gap_before_final_norm
        self.downsample_layers = self._downsampling(
            in_channels, stem_patch_size, norm_cfg
        )
        block = dict(
            norm_cfg=norm_cfg,
            act_cfg=act_cfg,
            linear_pw_conv=linear_pw_conv,
            use_grn=use_grn,
            layer_scale_init_value=layer_scale_init_value,
            with_cp=with_cp,
        )
        self.stages = self._stages(drop_path_rate, block)
        for i in self.out_indices:
            self.add_module(f'norm{i}', _build_norm(norm_cfg, self.channels[i]))
        self._freeze()

    def _downsampling(self, in_channels: int, size: int, norm_cfg: dict) -> ModuleList:
        width = self.channels[0]
        stem = nn.Conv2d(in_channels, width, size, stride=size)
        layers = ModuleList([Sequential(stem, _build_norm(norm_cfg, width))])
        for before, after in zip(self.channels, self.channels[1:], strict=False):
            halve = nn.Conv2d(before, after, 2, stride=2)
            layers.append(Sequential(_build_norm(norm_cfg, before), halve))
        return layers

    def _stages(self, drop_path_rate: float, block: dict) -> ModuleList:
        # On the CPU even where the model is built on the meta device.
        grid = torch.linspace(0, drop_path_rate, sum(self.depths), device='cpu')
        rates = grid.tolist()
        stages = ModuleList()
        ends = accumulate(self.depths)
        for width, depth, end in zip(self.channels, self.depths, ends, strict=True):
            blocks = [
                ConvNeXtBlock(width, drop_path_rate=rate, **block)
                for rate in rates[end - depth : end]
            ]
            stages.append(Sequential(*blocks))
        return stages

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return a map per stage of ``out_indices``, (N, C, H / 4, W / 4) first.

        Faster on the CPU with ``x`` in channels-last memory; the values are the same.
        """
        maps = []
        stages = zip(self.downsample_layers, self.stages, strict=True)
        for i, (down, stage) in enumerate(stages):
            x = stage(down(x))
            if i in self.out_indices:
                norm = getattr(self, f'norm{i}')
                if self.gap_before_final_norm:
                    maps.append(norm(x.mean((2, 3), keepdim=True)).flatten(1))
                else:
                    maps.append(norm(x))
        return tuple(maps)

    def _freeze(self) -> None:
        for i in range(self.frozen_stages):
            for module in (self.downsample_layers[i], self.stages[i]):
                module.eval()
                module.requires_grad_(False)

    def train(self, mode: bool = True) -> 'ConvNeXt':
        """Switch between training and evaluation; frozen stages stay frozen."""
        super().train(mode)
        self._freeze()
        return self


def _shape_of(arch: str | dict) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return blocks and channels per stage."""
    if isinstance(arch, str):
        if arch not in ARCHITECTURES:
            raise ValueError(f'arch must be one of {list(ARCHITECTURES)}, got {arch!r}')
        return ARCHITECTURES[arch]
    if not {'depths', 'channels'} <= set(arch):
        raise ValueError(f'arch must hold depths and channels, got {arch}')
    depths, channels = tuple(arch['depths']), tuple(arch['channels'])
    if len(depths) != len(channels) or not depths:
        raise ValueError(f'arch must have a depth and channels per stage, got {arch}')
    return depths, channels


def _indices_of(out_indices: int | Sequence[int], stages: int) -> tuple[int, ...]:
    """Return the stages to return, counted from 0."""
    asked = [out_indices] if isinstance(out_indices, int) else list(out_indices)
    if any(not -stages <= i < stages for i in asked):
        raise ValueError(
            f'out_indices must be in [{-stages}, {stages - 1}], got {out_indices}'
        )
    return tuple(sorted({i % stages for i in asked}))
