"""A 3x3 convolution on a CPU with a quarter of the multiplications."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.grad import conv2d_weight

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
# Below, the transforms cost more than they save.
LEAST_SIZE, LEAST_CHANNELS = 24, 64
# Tiles that are worked on together: their three forms stay in the cache.
TILES = 256


def conv3x3(x: Tensor, weight: Tensor) -> Tensor:
    """Return ``conv2d(x, weight, padding=1)``, on a CPU by Winograd's method.

    It rounds differently: 3e-6 of the largest value in float32 at 512 channels, three
    times PyTorch's own rounding. In float16 or bfloat16, where that would be too much,
    on a GPU, which has its own, and where it does not pay, it is ``conv2d``.

    Args:
        x: (N, C, H, W).
        weight: (C_out, C, 3, 3).
    """
    if _pays(x, weight):
        height, width = x.shape[2:]
        result = _Winograd.apply(x, weight)
        return result[:, :height, :width].permute(0, 3, 1, 2)
    return functional.conv2d(x, weight, padding=1)


def _pays(x: Tensor, weight: Tensor) -> bool:
    return (
        x.device.type == 'cpu'
        and x.dtype in (torch.float32, torch.float64)
        and min(x.shape[2:]) >= LEAST_SIZE
        and min(weight.shape[:2]) >= LEAST_CHANNELS
        and not torch.is_autocast_enabled('cpu')
        and not torch.compiler.is_compiling()
        and not torch.onnx.is_in_onnx_export()
    )


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
        grad = grad[:, :height, :width].permute(0, 3, 1, 2)
        grad_x = grad_weight = None
        if ctx.needs_input_grad[0]:
            tiles = _convolve(grad, weight.flip(2, 3).transpose(0, 1))
            grad_x = tiles[:, :height, :width].permute(0, 3, 1, 2)
        if ctx.needs_input_grad[1]:
            grad_weight = conv2d_weight(x, weight.shape, grad, padding=1)
        return grad_x, grad_weight


def _convolve(x: Tensor, weight: Tensor) -> Tensor:
    n, c_in, height, width = x.shape
    c_out = weight.shape[0]
    rows, columns = -(-height // OUT), -(-width // OUT)
    padding = (0, 0, 1, columns * OUT + 1 - width, 1, rows * OUT + 1 - height)
    padded = functional.pad(x.permute(0, 2, 3, 1), padding)
    from_input, from_kernel, to_output = (
        _both_axes(matrix, x) for matrix in (FROM_INPUT, FROM_KERNEL, TO_OUTPUT)
    )
    kernel = (from_kernel @ weight.permute(2, 3, 1, 0).reshape(9, -1)).view(
        TILE * TILE, c_in, c_out
    )
    result = x.new_empty((n, rows * OUT, columns * OUT, c_out))
    places = result.view(n, rows, OUT, columns, OUT, c_out)
    step = max(1, TILES // columns)
    for image in range(n):
        for start in range(0, rows, step):
            stop = min(start + step, rows)
            strip = padded[image, start * OUT : stop * OUT + 2]
            tiles = strip.unfold(0, TILE, OUT).unfold(1, TILE, OUT)
            tiles = tiles.permute(3, 4, 0, 1, 2).reshape(TILE * TILE, -1)
            mixed = torch.bmm((from_input @ tiles).view(TILE * TILE, -1, c_in), kernel)
            values = (to_output @ mixed.view(TILE * TILE, -1)).view(
                OUT, OUT, stop - start, columns, c_out
            )
            places[image, start:stop] = values.permute(2, 0, 3, 1, 4)
    return result


def _both_axes(matrix: tuple, like: Tensor) -> Tensor:
    """Return the matrix that does to a flat tile what ``matrix`` does to each axis."""
    one = torch.tensor(matrix, dtype=torch.float64)
    return torch.kron(one, one).to(like)
