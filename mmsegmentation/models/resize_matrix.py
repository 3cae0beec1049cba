"""Resizing along one axis as a matrix."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


def interpolation_matrix(
    size: int, target: int, like: Tensor, align_corners: bool
) -> Tensor:
    """Return what resizes ``size`` values linearly to ``target``, (target, size).

    The weights are PyTorch's own, in float32, or float64 where ``like`` has it.
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
    """Return what leads logits back to their image along one axis: resize, cut, resize.

    Args:
        steps: Sizes of the logits, of the network's input, and of the image.
        padding: Rows or columns of the input to cut off, before and after.
        flip: Turn round before the last resizing.

    Returns:
        (size of the image, size of the logits).
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
        size: Of the input, padding included.
        starts: Where the windows begin.
        window: Their size.
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
    """Return what leads the logits of each window to the image along one axis.

    Where windows overlap, each has its share of the mean.

    Args:
        logits: Size of the logits of a window.
        original: Size of the image.
        padding: As of ``way_back_matrix``, and so the others.

    Returns:
        For each window, (size of the image, size of its logits).
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
