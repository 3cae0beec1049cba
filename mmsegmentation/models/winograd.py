"""A 3x3 convolution on a CPU with a quarter of the multiplications."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

# Lavin and Gray, Fast Algorithms for Convolutional Neural Networks (2016,
# https://arxiv.org/abs/1509.09308), F(4x4, 3x3): what makes 4 values of a row from 6.
TILE, OUT = 6, 4
FROM_INPUT = (
    (4, 0, -5, 0, 1, 0),
    (0, -4, -4, 1, 1, 0),
    (0, 4, -4, -1, 1, 0),
    (0, -2, -1, 2, 1, 0),
    (0, 2, -1, -2, 1, 0),
    (0, 4, 0, -5, 0, 1),
)
FROM_KERNEL = (
    (1 / 4, 0, 0),
    (-1 / 6, -1 / 6, -1 / 6),
    (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6),
    (1 / 24, -1 / 12, 1 / 6),
    (0, 0, 1),
)
TO_OUTPUT = (
    (1, 1, 1, 1, 1, 0),
    (0, 1, -1, 2, -2, 0),
    (0, 1, 1, 4, 4, 0),
    (0, 1, -1, 8, -8, 1),
)
# Cost of Winograd's steps for each pair of input and output channels. The unit is one
# multiplication of PyTorch's convolution, which needs 9 for a pixel. Measured with AVX2
# at 64 to 512 channels and 8 x 8 to 64 x 64 pixels. Other work ran on the machine at
# the same time. It slows the transform of the kernel most, which is bound by memory.
TILE_COST, TILE_IN_COST, TILE_OUT_COST, KERNEL_COST = 45, 3888, 1728, 6900
# The method is used only if it needs at most this share of PyTorch's time. A smaller
# gain is within the noise.
TIME_SHARE = 0.86
# Tiles that are worked on together: their three forms stay in the cache.
TILES = 256


def conv3x3(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return ``conv2d(x, weight, bias, padding=1)``, on a CPU by Winograd's method.

    Winograd's F(4x4, 3x3) is used where all of this holds; else it is PyTorch's
    ``conv2d``, bit for bit:

    - on a CPU: GPUs have their own;
    - float32 or float64, and no autocast: in float16 and bfloat16 the transforms, whose
      factors reach 8 and 1/24, would lose too many digits;
    - enough tiles of 4 x 4 pixels to make up for the transform of the kernel, and
      enough channels to make up for the transforms of the tiles: at least 102 tiles in
      the batch with 512 channels, 198 with 128 channels, and never below 72 channels;
    - no AVX-512, by which PyTorch's own convolution is as fast;
    - not while the model is compiled, traced, or exported to ONNX.

    Stride, dilation and groups are 1, and the padding 1 zero, always.

    In float32 it rounds differently: at 512 channels of normally distributed values no
    result was further off than 1e-5 of the largest one, three to four times PyTorch's
    own rounding (2e-5 is tested); the gradients, by the same method, no further. There
    is no second derivative. NaN and infinity fill whole tiles of 4 x 4 results.

    Args:
        x: (N, C, H, W).
        weight: (C_out, C, 3, 3).
        bias: (C_out,), if any.

    Returns:
        (N, C_out, H, W), in channels-last memory where Winograd's method is used.
    """
    if _pays(x, weight):
        height, width = x.shape[2:]
        result = _Winograd.apply(x, weight)
        if bias is not None:
            result = result + bias
        return result[:, :height, :width].permute(0, 3, 1, 2)
    return functional.conv2d(x, weight, bias, padding=1)


def _pays(x: Tensor, weight: Tensor) -> bool:
    return (
        x.device.type == 'cpu'
        and x.dtype in (torch.float32, torch.float64)
        and not torch.is_autocast_enabled('cpu')
        and not torch.compiler.is_compiling()
        and not torch.onnx.is_in_onnx_export()
        and not torch.jit.is_tracing()
        # After the check for the compiler, which cannot trace a string.
        and torch.backends.cpu.get_cpu_capability() != 'AVX512'
        and _is_faster(x.shape, weight.shape)
    )


def _is_faster(size: Sequence[int], kernel: Sequence[int]) -> bool:
    """Return whether the method is faster than PyTorch's convolution.

    Args:
        size: Shape of the input, (N, C, H, W).
        kernel: Shape of the weight, (C_out, C, 3, 3).
    """
    n, c_in, height, width = size
    tile_cost = TILE_COST + TILE_IN_COST / kernel[0] + TILE_OUT_COST / c_in
    tiles = n * -(-height // OUT) * -(-width // OUT)
    cost = tiles * tile_cost + KERNEL_COST
    return cost <= TIME_SHARE * 9 * n * height * width


class _Winograd(torch.autograd.Function):
    """The convolution with its result as whole tiles, (N, 4 rows, 4 columns, C_out).

    No view leaves it: PyTorch could not add to that in place.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _convolve(x, weight)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        height, width = x.shape[2:]
        grad_x = grad_weight = None
        if ctx.needs_input_grad[0]:
            inside = grad[:, :height, :width].permute(0, 3, 1, 2)
            tiles = _convolve(inside, weight.flip(2, 3).transpose(0, 1))
            grad_x = tiles[:, :height, :width].permute(0, 3, 1, 2)
        if ctx.needs_input_grad[1]:
            grad_weight = _weight_gradient(x, grad)
        return grad_x, grad_weight


def _convolve(x: Tensor, weight: Tensor) -> Tensor:
    c_out, c_in = weight.shape[:2]
    kernel = _both_axes(FROM_KERNEL, x) @ weight.permute(2, 3, 1, 0).reshape(9, -1)
    kernel = kernel.view(-1, c_in, c_out)
    to_output = _both_axes(TO_OUTPUT, x)
    n, rows, columns = len(x), *_counts(x)
    result = x.new_empty((n, rows * OUT, columns * OUT, c_out))
    places = result.view(n, rows, OUT, columns, OUT, c_out)
    for image, strip, tiles in _strips(x):
        mixed = torch.bmm(tiles, kernel).view(TILE * TILE, -1)
        values = (to_output @ mixed).view(OUT, OUT, -1, columns, c_out)
        places[image, strip] = values.permute(2, 0, 3, 1, 4)
    return result


def _weight_gradient(x: Tensor, grad: Tensor) -> Tensor:
    """Return the gradient of the kernel, (C_out, C, 3, 3).

    Args:
        grad: Gradient of the result in whole tiles, zero outside of the image.
    """
    n, c_in, c_out = len(x), x.shape[1], grad.shape[-1]
    rows, columns = _counts(x)
    places = grad.reshape(n, rows, OUT, columns, OUT, c_out)
    from_output = _both_axes(TO_OUTPUT, x).T
    total = x.new_zeros((TILE * TILE, c_in, c_out))
    for image, strip, tiles in _strips(x):
        part = places[image, strip].permute(1, 3, 0, 2, 4).reshape(OUT * OUT, -1)
        mixed = (from_output @ part).view(TILE * TILE, -1, c_out)
        total.baddbmm_(tiles.transpose(1, 2), mixed)
    kernel = _both_axes(FROM_KERNEL, x).T @ total.view(TILE * TILE, -1)
    return kernel.view(3, 3, c_in, c_out).permute(3, 2, 0, 1)


def _strips(x: Tensor) -> Iterator[tuple[int, slice, Tensor]]:
    """Yield an image, a range of its rows of tiles, and these as products need them.

    The tiles are (36, tiles, C).
    """
    n, channels, height, width = x.shape
    rows, columns = _counts(x)
    padding = (0, 0, 1, columns * OUT + 1 - width, 1, rows * OUT + 1 - height)
    padded = functional.pad(x.permute(0, 2, 3, 1), padding)
    from_input = _both_axes(FROM_INPUT, x)
    step = max(1, TILES // columns)
    for image in range(n):
        for start in range(0, rows, step):
            stop = min(start + step, rows)
            part = padded[image, start * OUT : stop * OUT + 2]
            tiles = part.unfold(0, TILE, OUT).unfold(1, TILE, OUT)
            tiles = tiles.permute(3, 4, 0, 1, 2).reshape(TILE * TILE, -1)
            mixed = (from_input @ tiles).view(TILE * TILE, -1, channels)
            yield image, slice(start, stop), mixed


def _counts(x: Tensor) -> tuple[int, int]:
    """Return how many tiles cover the height and the width of (N, C, H, W)."""
    return -(-x.shape[2] // OUT), -(-x.shape[3] // OUT)


def _both_axes(matrix: tuple, like: Tensor) -> Tensor:
    """Return the matrix that does to a flat tile what ``matrix`` does to each axis."""
    one = torch.tensor(matrix, dtype=torch.float64)
    return torch.kron(one, one).to(like)
