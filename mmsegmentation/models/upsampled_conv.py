"""A 3x3 convolution over maps of several sizes, without enlarging them first."""

from collections.abc import Sequence

import torch
from mmseg.models.utils import resize
from torch import Tensor
from torch.nn import functional

from mmsegmentation.models.fast_linear import linear
from mmsegmentation.models.resize_matrix import interpolation_matrix
from mmsegmentation.models.winograd import conv3x3

# Smallest number of pixels that a map must save against the first map, on average over
# the channels. With fewer, copying its part of the kernel takes longer than computing
# the pixels. Measured with UPerHead on CPUs with AVX2 and AVX-512.
LEAST_SAVED = 128


def conv3x3_of_upsampled(
    maps: Sequence[Tensor],
    weight: Tensor,
    bias: Tensor | None = None,
    align_corners: bool = False,
) -> Tensor:
    """Convolve the first map together with the others, resized to its size.

    Equal to ``conv2d(cat([maps[0], resize(maps[1]), ...], 1), weight, bias, 1, 1)``
    with ``resize`` bilinear. Resizing and the shifts of the kernel are linear, and work
    on rows and columns apart: so the channels are mixed at each map's own size, and the
    result is resized and shifted by one matrix for its columns and one for its rows.
    The concatenation is only built if the first map is so small that this is faster.

    Args:
        maps: Features, (N, C_i, H_i, W_i).
        weight: Kernel, (C_out, sum of C_i, 3, 3).
        bias: (C_out,), if any.
        align_corners: As ``torch.nn.functional.interpolate``.

    Returns:
        (N, C_out, H_0, W_0).
    """
    if not _pays(maps):
        size = maps[0].shape[2:]
        resized = [resize(m, size, None, 'bilinear', align_corners) for m in maps[1:]]
        return conv3x3(torch.cat([maps[0], *resized], dim=1), weight, bias)
    channels = [features.shape[1] for features in maps]
    first, *others = torch.split(weight, channels, dim=1)
    top = conv3x3(maps[0], first, bias)
    n, c_out, height, width = top.shape
    total = top.permute(0, 2, 3, 1).reshape(n, height, width * c_out)
    for features, kernel in zip(maps[1:], others, strict=True):
        rows, columns = (
            _shifts(size, target, features, align_corners)
            for size, target in zip(features.shape[2:], (height, width), strict=True)
        )
        total = _add_resized(total, features, kernel, rows, columns)
    return total.reshape(n, height, width, c_out).permute(0, 3, 1, 2)


def _pays(maps: Sequence[Tensor]) -> bool:
    """Return whether convolving the other maps at their own size is faster."""
    target = maps[0][0, 0].numel()
    saved = [m.shape[1] * (target - m[0, 0].numel()) for m in maps[1:]]
    return sum(saved) >= LEAST_SAVED * sum(m.shape[1] for m in maps[1:])


def _add_resized(
    total: Tensor, features: Tensor, kernel: Tensor, rows: Tensor, columns: Tensor
) -> Tensor:
    """Add one map's share to ``total``, (N, H, W * C_out).

    Args:
        rows: (3, H, H_i), as :func:`_shifts` returns them.
        columns: The same for the width.
    """
    n, _, height, width = features.shape
    c_out = kernel.shape[0]
    pixels = features.permute(0, 2, 3, 1).flatten(1, 2)
    across = columns.permute(1, 2, 0).flatten(1)
    wide = []
    for row in kernel.permute(2, 3, 0, 1).flatten(1, 2):
        # The three places of the kernel's row side by side, as more channels.
        mixed = linear(pixels, row).reshape(-1, width * 3, c_out)
        wide.append((across @ mixed).reshape(n, height, -1))
    down = rows.permute(1, 0, 2).flatten(1).expand(n, -1, -1)
    # Autocast leaves what works in place alone.
    return total.baddbmm_(down.to(total.dtype), torch.cat(wide, 1).to(total.dtype))


def _shifts(size: int, target: int, like: Tensor, align_corners: bool) -> Tensor:
    """Return the matrices that resize ``size`` values and shift them by -1, 0 and 1.

    What is shifted in from outside is zero, as a convolution pads.

    Returns:
        (3, target, size), of the dtype and on the device of ``like``.
    """
    resized = interpolation_matrix(size, target, like, align_corners)
    padded = functional.pad(resized, (0, 0, 1, 1))
    shifted = [padded[start : start + target] for start in range(3)]
    return torch.stack(shifted).to(like.dtype)
