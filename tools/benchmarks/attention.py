"""One layer of BEiT-B at 640 x 640 beside MMSegmentation's, with equal weights."""

from collections.abc import Iterator
from functools import partial

import torch
from mmseg.models.backbones.beit import BEiTAttention
from torch import Tensor, nn

from mmsegmentation.models.biased_attention import BiasedAttention
from tools.benchmarks.case import Case, LeftOut, Options
from tools.benchmarks.networks import gradients_of

PEER = 'MMSegmentation'
CHANNELS, HEADS, PATCH = 768, 12, 16


def cases(options: Options) -> Iterator[Case | LeftOut]:
    """Attend as in prediction, and forward and backward as in training."""
    size = 160 if options.quick else 640
    window = (size // PATCH, size // PATCH)
    torch.manual_seed(0)
    ours, stock = (
        kind(embed_dims=CHANNELS, num_heads=HEADS, window_size=window)
        for kind in (BiasedAttention, BEiTAttention)
    )
    nn.init.normal_(stock.relative_position_bias_table)
    ours.load_state_dict(stock.state_dict())
    layers = [layer.to(options.device) for layer in (ours, stock)]
    tokens = torch.randn(1, window[0] * window[1] + 1, CHANNELS, device=options.device)
    name = f'BEiT-B layer, {size} x {size}, fp32, '
    forwards = [partial(_forward, layer, tokens) for layer in layers]
    yield Case(name + 'forward', PEER, forwards, _difference, 1e-5, 'at most')
    steps = [partial(_step, layer, tokens) for layer in layers]
    name += 'forward + backward'
    unit = 'of a gradient'
    yield Case(name, PEER, steps, _gradient_difference, 1e-4, unit)


def _forward(layer: nn.Module, tokens: Tensor) -> Tensor:
    if layer.training:  # once: our layer gives up its bias each time
        layer.eval()
    with torch.no_grad():
        return layer(tokens)


def _step(layer: nn.Module, tokens: Tensor) -> list[Tensor]:
    layer.train()
    layer.zero_grad(set_to_none=True)
    inputs = tokens.clone().requires_grad_()
    layer(inputs).square().mean().backward()
    return gradients_of((inputs, *layer.parameters()))


def _difference(ours: Tensor, theirs: Tensor) -> float:
    return float((ours - theirs).abs().max())


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
