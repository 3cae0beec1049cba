"""Losses of distributed training that equal those of one process."""

from collections.abc import Iterable
from typing import Any

import torch
from mmengine.dist import all_gather, all_reduce, get_rank, get_world_size
from mmseg.models.losses import CrossEntropyLoss, LovaszLoss
from torch import Tensor, nn
from torch.nn import functional


def share_losses(losses: Iterable[nn.Module]) -> None:
    """Make losses in distributed training depend on the images of all processes.

    The mean of the processes' losses, and of their gradients, then equals that of one
    process with the whole batch:

    - ``CrossEntropyLoss`` of MMSegmentation with ``class_weight`` or
      ``avg_non_ignore`` divides by the mean of the processes' divisors;
    - ``LovaszLoss`` of MMSegmentation sorts the pixels of all processes in each one.

    In half precision the divisor of ``CrossEntropyLoss`` is counted in float32, in one
    process too: MMSegmentation's own overflows in float16 with a ``class_weight``, and
    the loss is 0.

    The losses of this project do this themselves. A mean over images, or over all
    pixels of batches of one size, needs no change. Any other loss depends only on the
    images of its own process.
    """
    for loss in losses:
        if type(loss) is CrossEntropyLoss:
            loss.register_forward_pre_hook(_share_average, with_kwargs=True)
        elif get_world_size() == 1:
            continue
        elif type(loss) is LovaszLoss and not loss.per_image:
            loss.register_forward_pre_hook(_share_pixels, with_kwargs=True)


def sum_of_all(own: Tensor) -> Tensor:
    """Return the sum of a tensor over all processes.

    MMEngine's wrappers average the gradients of the processes. Each process therefore
    multiplies its own share of the gradient by the number of processes.
    """
    total = own.detach().clone()
    all_reduce(total)
    return total + (own - own.detach()) * get_world_size()


def _share_average(loss: CrossEntropyLoss, args: tuple, kwargs: dict) -> Any:
    """Add ``avg_factor`` to the arguments of a cross entropy if it needs one."""
    weighs = loss.class_weight is not None and not loss.use_sigmoid
    reduction = kwargs.get('reduction_override') or loss.reduction
    if (
        not (weighs or loss.avg_non_ignore)
        or loss.use_mask
        or reduction != 'mean'
        or not loss.training
        or kwargs.get('avg_factor') is not None
    ):
        return None
    scores, label, *_ = args
    # Half precision could not count the pixels.
    dtype = torch.promote_types(scores.dtype, torch.float32)
    if get_world_size() == 1 and scores.dtype == dtype:
        return None  # MMSegmentation's own divisor is right
    counted = label != kwargs.get('ignore_index', -100)
    if weighs:
        weights = torch.tensor(loss.class_weight, dtype=dtype, device=scores.device)
        total = (weights[label.where(counted, 0)] * counted).sum()
    else:
        total = counted.sum().to(dtype)
        if loss.use_sigmoid and scores.dim() != label.dim() and scores.shape[1] > 1:
            total *= scores.shape[1]  # each pixel counts once for each class
    all_reduce(total, 'mean')
    return args, {**kwargs, 'avg_factor': total}


def _share_pixels(loss: LovaszLoss, args: tuple, kwargs: dict) -> Any:
    """Replace the process's logits and labels with those of all processes."""
    if not loss.training:
        return None
    scores, label, *more = args
    ignored = kwargs.get('ignore_index', 255)
    if ignored is None:
        raise ValueError('LovaszLoss in several processes needs an ignore_index')
    flat = scores.movedim(1, 0).flatten(1)
    sizes = all_gather(torch.tensor([flat.shape[1]], device=scores.device))
    padding = (0, int(max(sizes)) - flat.shape[1])
    parts = all_gather(functional.pad(flat.detach(), padding))
    labels = all_gather(functional.pad(label.flatten(), padding, value=ignored))
    own = functional.pad(flat, padding)
    # Each process has the gradient of its own pixels only, and the processes'
    # gradients are averaged later.
    parts[get_rank()] = own.detach() + (own - own.detach()) * get_world_size()
    whole = torch.cat(parts, 1)[None, ..., None]
    return (whole, torch.cat(labels)[None, :, None], *more), kwargs
