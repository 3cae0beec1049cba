import logging
from typing import Any

import numpy as np
import torch
from mmengine.logging import print_log
from mmseg.models.backbones import BEiT
from mmseg.registry import MODELS
from scipy.interpolate import RectBivariateSpline
from scipy.optimize import brentq

from mmsegmentation.command import InputError
from mmsegmentation.models.biased_attention import BiasedAttention
from mmsegmentation.models.fast_linear import use_fast_linear
from mmsegmentation.models.translate import TABLE, translate, unwrap


@MODELS.register_module()
class FastBEiT(BEiT):
    """MMSegmentation's BEiT, faster, which also loads Microsoft's files as they are.

    Attention is PyTorch's fused one where it has one (:class:`BiasedAttention`), linear
    layers are oneDNN's (:class:`FastLinear`), with the same numbers and weights. In
    evaluation on a CPU each layer keeps its bias by relative position, 4 bytes x heads
    x N^2 for N tokens: at 640 x 640 1.5 GB for all of BEiT-B and 3.9 GB for BEiT-L.

    With ``init_cfg=dict(type='Pretrained', checkpoint=...)`` it takes a checkpoint of
    https://github.com/microsoft/unilm/tree/master/beit or of MMSegmentation, for any
    window size. MMSegmentation's own class wants Microsoft's names translated first,
    else loads nothing and says nothing, and its resizing calls a function that SciPy
    1.14 removed.

    Args:
        *args: As MMSegmentation's ``BEiT``.
        kept_bias_bytes: As many of the first layers as this allows together keep their
            bias; the others build it in each pass: less memory, the same numbers, a
            third more time in their attention. 0 keeps none, None all.
        **kwargs: As MMSegmentation's ``BEiT``.

    Raises:
        ValueError: The checkpoint lacks a parameter, or has one of another shape; or
            ``kept_bias_bytes`` is negative.
    """

    init_cfg: dict | None

    def __init__(
        self, *args: Any, kept_bias_bytes: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        if kept_bias_bytes is None:
            return
        if kept_bias_bytes < 0:
            raise ValueError(f'kept_bias_bytes must be >= 0, got {kept_bias_bytes}')
        left = kept_bias_bytes
        for layer in self.layers:
            left -= layer.attn.bias_bytes
            layer.attn.keeps_bias = left >= 0

    def _build_layers(self) -> None:
        super()._build_layers()
        for layer in self.layers:
            layer.attn = BiasedAttention.in_place_of(layer.attn)
            use_fast_linear(layer.ffn)

    def forward(self, inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the features of each layer in ``out_indices``, (N, C, H / 16, W / 16).

        Args:
            inputs: Normalised images, (N, 3, H, W), with the size ``img_size``.

        Raises:
            InputError: The images have another size than ``img_size``. The model has
                position weights for that size only.
        """
        size = tuple(inputs.shape[2:])
        if tuple(side // self.patch_size for side in size) != self.patch_shape:
            wanted = tuple(self.img_size)
            raise InputError(
                'FastBEiT',
                f'has position weights for images of {wanted}, but got {size}',
                f'set model.backbone.img_size={size}, or scale and pad the images to '
                f'{wanted}, or predict in windows of that size with '
                "model.test_cfg.mode='slide'",
            )
        return super().forward(inputs)

    def resize_rel_pos_embed(self, checkpoint: dict) -> dict[str, torch.Tensor]:
        """Return the weights of a checkpoint for ``init_weights`` to load.

        MMSegmentation's ``init_weights`` calls this method. Therefore both models draw
        the same random numbers.
        """
        path = (self.init_cfg or {}).get('checkpoint')
        weights = self.translate(checkpoint)
        own = self.state_dict()
        wrong = [
            name
            for name, value in own.items()
            if not name.endswith('relative_position_index')
            and (name not in weights or weights[name].shape != value.shape)
        ]
        if wrong:
            raise ValueError(
                f'{path} does not fit this BEiT: {len(wrong)} of {len(own)} parameters '
                f'are missing or of another shape, {wrong[0]} first'
            )
        print_log(f'BEiT starts from {path}', 'current', logging.INFO)
        return weights

    def translate(self, checkpoint: dict) -> dict[str, torch.Tensor]:
        """Return a checkpoint's weights under our names and at our window size."""
        weights = translate(unwrap(checkpoint)).weights
        return {
            name.removeprefix('backbone.'): resize_table(value, self.patch_shape)
            if name.endswith(TABLE)
            else value
            for name, value in weights.items()
            if name.startswith('backbone.')
        }


def resize_table(table: torch.Tensor, window: tuple[int, int]) -> torch.Tensor:
    """Fit a table of relative positions, (distances, heads), to a window of patches.

    The last three rows stand for the class token.

    Raises:
        ValueError: The table is of a window that is neither square nor as long.
    """
    height, width = (2 * side - 1 for side in window)
    side = round((len(table) - 3) ** 0.5)
    if (height, width) == (side, side):
        return table
    if side * side != len(table) - 3:
        if len(table) == height * width + 3:
            return table
        raise ValueError(
            f'a table of {len(table)} positions is of no square window, and not of '
            f'{window[0]} x {window[1]} patches'
        )
    maps = table[:-3].T.reshape(-1, side, side).double().numpy()
    rows, columns = _places(side, height), _places(side, width)
    new_rows, new_columns = _centred(height), _centred(width)
    resized = np.stack(
        [RectBivariateSpline(rows, columns, m)(new_rows, new_columns) for m in maps]
    )
    flat = torch.from_numpy(resized.reshape(len(maps), -1).T).to(table)
    return torch.cat([flat, table[-3:]])


def _centred(size: int) -> np.ndarray:
    return np.arange(size) - (size - 1) / 2


def _places(old: int, new: int) -> np.ndarray:
    """Return where the old distances lie among the new, both centred at 0.

    Their steps grow geometrically outwards from 1, so that near distances keep their
    meaning, and the farthest old one lies on the farthest new one.
    """
    count, reach = old // 2, new // 2

    def excess(ratio: float) -> float:
        return float(np.power(ratio, np.arange(count)).sum() - reach)

    if old == new:
        return _centred(old)
    ratio = brentq(excess, 1e-6, 10.0)
    half = np.cumsum(np.power(ratio, np.arange(count)))
    return np.concatenate([-half[::-1], [0.0], half])
