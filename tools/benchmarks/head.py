"""UPerHead at the sizes of ConvNeXt-T beside MMSegmentation's, with equal weights."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from mmsegmentation.precision import has_bf16
from tools.benchmarks.case import Case, LeftOut, Options
from tools.benchmarks.networks import build_pair, gradients_of, largest_difference

PEER = 'MMSegmentation'
STRIDES = 4, 8, 16, 32
SIZES = 128, 256, 512


def cases(options: Options) -> Iterator[Case | LeftOut]:
    """Run the head forward, and forward and backward, on one image's features.

    Several sizes are measured, because a method that is faster on large maps may be
    slower on small ones.
    """
    ours, stock = build_pair('convnext', SIZES[-1], options.device)
    heads = ours.decode_head.eval(), stock.decode_head.eval()
    for size in SIZES:
        yield from _cases_of(heads, size, options.device)


def _cases_of(
    heads: tuple[Any, Any], size: int, device: str
) -> Iterator[Case | LeftOut]:
    torch.manual_seed(0)
    maps = [
        torch.randn(1, channels, size // stride, size // stride, device=device)
        for channels, stride in zip(heads[0].in_channels, STRIDES, strict=True)
    ]
    name = f'{size} x {size}, fp32, '
    forwards = [partial(_forward, head, maps) for head in heads]
    unit = 'of the largest logit'
    yield Case(name + 'forward', PEER, forwards, _logit_difference, 1e-4, unit)
    steps = [partial(_step, head, maps) for head in heads]
    name += 'forward + backward'
    unit = 'of a gradient'
    yield Case(name, PEER, steps, _gradient_difference, 0.01, unit)
    bf16 = f'{size} x {size}, bf16 beside fp32, forward'
    if has_bf16():
        autocast = torch.autocast(device, torch.bfloat16)
        forwards[0] = partial(_forward, heads[0], maps, autocast)
        yield Case(bf16, PEER, forwards, _label_difference, 0.05, 'of the labels')
    else:
        yield LeftOut(bf16, PEER, 'this CPU has no bfloat16 arithmetic')


def _forward(
    head: nn.Module, maps: list[Tensor], precision: AbstractContextManager | None = None
) -> Tensor:
    with torch.no_grad(), precision or nullcontext():
        return head(maps)


def _step(head: nn.Module, maps: list[Tensor]) -> list[Tensor]:
    """Return the gradients of the features and of all weights."""
    inputs = [features.clone().requires_grad_() for features in maps]
    head.zero_grad(set_to_none=True)
    head(inputs).square().mean().backward()
    return gradients_of((*inputs, *head.parameters()))


def _logit_difference(ours: Tensor, theirs: Tensor) -> float:
    return largest_difference(ours, theirs)


def _label_difference(ours: Tensor, theirs: Tensor) -> float:
    return float((ours.argmax(1) != theirs.argmax(1)).float().mean())


def _gradient_difference(ours: list[Tensor], theirs: list[Tensor]) -> float:
    """Return the largest distance as a share of the peer's length.

    Not of single values: where an activation is within the rounding of 0, its gradient
    is there or not.
    """
    pairs = zip(ours, theirs, strict=True)
    # A maximum of tensors keeps nan; Python's would drop it.
    return float(
        torch.stack(
            [(a - b).norm() / b.norm().clamp_min(1e-30) for a, b in pairs]
        ).max()
    )
