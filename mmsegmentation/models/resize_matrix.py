"""Resizing along one axis as a matrix."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


def interpolation_matrix(
    size: int, target: int, like: Tensor, align_corners: bool
) -> Tensor:
    """Return the matrix of a linear resize, (target, size).

    The weights are those of PyTorch's ``interpolate``. They are float64 if ``like`` is
    float64, and float32 otherwise.
    """
    dtype = torch.float64 if like.dtype == torch.float64 else torch.float32
    each = torch.eye(size, dtype=dtype, device=like.device)
    return functional.interpolate(
        each[None], size=target, mode='linear', align_corners=align_corners
    )[0].T


def way_back_matrix(
    steps: Sequence[int],
    padding: Sequence[int],
    flip: bool,
    like: Tensor,
    align_corners: bool,
) -> Tensor:
    """Return the matrix that maps logits back to their image along one axis.

    It resizes the logits to the network's input, removes the padding, undoes the flip,
    and resizes to the image.

    Args:
        steps: Sizes of the logits, of the network's input, and of the image, in pixels.
        padding: Rows or columns of the input to remove at the start and at the end.
        flip: Whether the input was flipped along this axis.
        like: Tensor whose device and precision the matrix gets.
        align_corners: As in ``torch.nn.functional.interpolate``.

    Returns:
        A matrix, (size of the image, size of the logits).
    """
    logits, padded, original = steps
    matrix = interpolation_matrix(logits, padded, like, align_corners)
    matrix = matrix[padding[0] : padded - padding[1]]
    if flip:
        matrix = matrix.flip(0)
    if len(matrix) == original:
        return matrix
    return interpolation_matrix(len(matrix), original, like, align_corners) @ matrix


@dataclass(frozen=True)
class Axis:
    """The windows of a network along one axis of its input.

    Attributes:
        size: Size of the input in pixels, padding included.
        starts: First pixel of each window.
        window: Size of a window in pixels.
    """

    size: int
    starts: list[int]
    window: int


def window_matrices(
    axis: Axis,
    logits: int,
    original: int,
    padding: Sequence[int],
    flip: bool,
    like: Tensor,
    align_corners: bool,
) -> list[Tensor]:
    """Return the matrices that map the logits of each window to the image.

    They work along one axis. Where windows overlap, their sum is the mean.

    Args:
        axis: The windows along the axis.
        logits: Size of the logits of a window in pixels.
        original: Size of the image in pixels.
        padding: As in ``way_back_matrix``, like the arguments that follow.

    Returns:
        A matrix for each window, (size of the image, size of the window's logits).
    """
    way = padding, flip, like, align_corners
    if axis.window == axis.size:
        return [way_back_matrix((logits, axis.size, original), *way)]
    back = way_back_matrix((axis.size, axis.size, original), *way)
    places = [slice(start, start + axis.window) for start in axis.starts]
    count = back.new_zeros(axis.size)
    for place in places:
        count[place] += 1
    resize = interpolation_matrix(logits, axis.window, like, align_corners)
    return [(back[:, place] / count[place]) @ resize for place in places]
