"""Resizing along one axis as a matrix."""

from collections.abc import Sequence

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
