"""The same numbers as MMSegmentation's attention, whatever became of the weights."""

import pytest
import torch
from mmseg.models.backbones.beit import BEiTAttention
from torch.nn import functional

from mmsegmentation.models.biased_attention import BiasedAttention

KINDS = BEiTAttention, BiasedAttention


def pair(bias='qv_bias', window=(4, 3), **more):
    torch.manual_seed(0)
    stock, fused = (
        kind(embed_dims=8, num_heads=2, window_size=window, bias=bias, **own).double()
        for kind, own in zip(KINDS, (_stock(more), more), strict=True)
    )
    with torch.no_grad():
        for parameter in stock.parameters():
            parameter.copy_(torch.randn_like(parameter))
    fused.load_state_dict(stock.state_dict())
    return stock, fused


def _stock(arguments):
    return {key: value for key, value in arguments.items() if key != 'keeps_bias'}


@pytest.mark.parametrize('training', [False, True])
@pytest.mark.parametrize('grad', [False, True])
@pytest.mark.parametrize('bias', ['qv_bias', True, False])
def test_attention__equals_stock(bias, grad, training):
    stock, fused = (attention.train(training) for attention in pair(bias))
    x = torch.randn(2, 13, 8).double()
    with torch.set_grad_enabled(grad):
        assert (fused(x) - stock(x)).abs().max() <= 1e-12


def test_attention__gradients_equal_stock():
    stock, fused = pair()
    found = []
    for attention in (stock, fused):
        x = torch.linspace(-1, 1, 2 * 13 * 8).double().view(2, 13, 8).requires_grad_()
        attention(x).square().sum().backward()
        found.append([x.grad, *(p.grad for p in attention.parameters())])
    for wanted, given in zip(*found, strict=True):
        torch.testing.assert_close(given, wanted, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize('learns', [True, False])
def test_attention__is_fused_where_the_bias_does_not_learn(learns, monkeypatch):
    fused, calls = functional.scaled_dot_product_attention, []

    def spy(*args, **kwargs):
        calls.append(kwargs)
        return fused(*args, **kwargs)

    monkeypatch.setattr(functional, 'scaled_dot_product_attention', spy)
    stock, ours = pair()
    for attention in (stock, ours):
        attention.relative_position_bias_table.requires_grad_(learns)
    x = torch.randn(2, 13, 8).double()
    torch.testing.assert_close(ours(x), stock(x))
    assert len(calls) == (not learns)


def test_attention__drops_out_in_training_alone():
    stock, fused = pair(attn_drop_rate=0.5)
    x = torch.randn(1, 13, 8).double()
    assert not torch.equal(fused.train()(x), fused(x))
    torch.testing.assert_close(fused.eval()(x), stock.eval()(x))


def fused_arguments(attention, monkeypatch):
    """Return what the fused kernel is called with in training."""
    calls = []

    def spy(query, *args, **kwargs):
        calls.append(kwargs)
        return torch.zeros_like(query)

    monkeypatch.setattr(functional, 'scaled_dot_product_attention', spy)
    attention.relative_position_bias_table.requires_grad_(False)
    attention(torch.randn(1, 13, 8).double())
    return calls[0]


def test_attention__fused_drops_out_in_training_alone(monkeypatch):
    _, fused = pair(attn_drop_rate=0.3)
    assert fused_arguments(fused.train(), monkeypatch)['dropout_p'] == 0.3
    assert fused_arguments(fused.eval(), monkeypatch)['dropout_p'] == 0


def test_attention__fused_dropout_drops_that_share_of_the_weights():
    _, fused = pair(attn_drop_rate=0.75)
    with torch.no_grad():  # each token sums up as many ones as were kept
        for parameter in fused.parameters():
            parameter.zero_()
        fused.v_bias.fill_(1)
        fused.proj.weight.copy_(torch.eye(8))
        torch.manual_seed(0)
        kept = fused.train()(torch.zeros(500, 13, 8).double()) * 13 * 0.25
    torch.testing.assert_close(kept, kept.round())
    assert kept.mean() == pytest.approx(13 * 0.25, rel=0.02)


@pytest.mark.parametrize('learns', [True, False])
@pytest.mark.parametrize('scale', [None, 0.1, 3.0])
def test_attention__scales_scores_as_stock(scale, learns):
    stock, fused = pair(qk_scale=scale)
    for attention in (stock, fused):
        attention.relative_position_bias_table.requires_grad_(learns)
    x = torch.randn(2, 13, 8).double()
    torch.testing.assert_close(fused(x), stock(x), rtol=0, atol=1e-12)


@torch.no_grad()
def test_attention__keeps_the_bias_between_passes():
    _, fused = pair()
    fused.eval()(torch.randn(1, 13, 8).double())
    kept = fused._kept[1]
    fused.eval()(torch.randn(1, 13, 8).double())
    assert fused._kept[1] is kept
    fused.train()
    assert fused._kept is None


@torch.no_grad()
def test_attention__without_keeping_gives_the_same():
    (_, keeping), (_, building) = pair(), pair(keeps_bias=False)
    x = torch.randn(2, 13, 8).double()
    assert torch.equal(building.eval()(x), keeping.eval()(x))
    assert building._kept is None
    assert building.bias_bytes == 4 * keeping._kept[1].numel()


@pytest.mark.parametrize('through', ['data', 'copy', 'load', 'half'])
@torch.no_grad()
def test_attention__notices_that_weights_changed(through):
    stock, fused = (attention.eval() for attention in pair())
    x = torch.randn(1, 13, 8).double()
    fused(x)
    table = torch.randn_like(fused.relative_position_bias_table)
    if through == 'half':
        stock, fused, x = stock.float(), fused.float(), x.float()
    for attention in (stock, fused):
        if through == 'data':  # as EMA swaps weights: no version counter tells
            attention.relative_position_bias_table.data.copy_(table)
        elif through == 'copy':
            attention.relative_position_bias_table.copy_(table)
        elif through == 'load':
            weights = attention.state_dict() | {'relative_position_bias_table': table}
            attention.load_state_dict(weights)
    torch.testing.assert_close(fused(x), stock(x))


@torch.no_grad()
def test_attention__under_autocast_stays_near():
    stock, fused = (attention.float().eval() for attention in pair())
    x = torch.randn(1, 13, 8)
    fused(x)
    with torch.autocast('cpu', torch.bfloat16):
        given = fused(x)
    assert given.dtype == torch.bfloat16
    wanted = stock(x)
    assert (given - wanted).abs().max() < 0.05 * wanted.abs().max()


@torch.no_grad()
def test_attention__compiles_to_the_same():
    _, fused = pair()
    x = torch.randn(1, 13, 8).double()
    compiled = torch.compile(fused.eval(), backend='eager', fullgraph=True)
    torch.testing.assert_close(compiled(x), fused(x), rtol=0, atol=1e-12)


def test_attention__sums_the_tables_gradient_in_float32():
    gradients = []
    for attention in (kind.float() for kind in pair(window=(16, 16))):
        x = torch.linspace(-1, 1, 257 * 8).view(1, 257, 8)
        with torch.autocast('cpu', torch.bfloat16):
            attention(x).float().square().sum().backward()
        gradients.append(attention.relative_position_bias_table.grad)
    wanted, given = gradients
    assert given.dtype == torch.float32
    assert (given - wanted).norm() < 0.02 * wanted.norm()
