"""Linear layers by oneDNN: the numbers of PyTorch's, where they pay."""

import pytest
import torch
from mmcv.cnn import Linear
from torch import nn
from torch.nn import functional

from mmsegmentation.models import fast_linear
from mmsegmentation.models.fast_linear import FastLinear, linear, use_fast_linear


@pytest.fixture
def convolved(monkeypatch):
    """Return the shapes of what was convolved."""
    conv2d, shapes = functional.conv2d, []

    def spy(x, *args):
        shapes.append(tuple(x.shape))
        return conv2d(x, *args)

    monkeypatch.setattr(functional, 'conv2d', spy)
    return shapes


def draw(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def run(function, *tensors):
    """Return the result, and the gradient of each tensor."""
    leaves = [tensor.clone().requires_grad_() for tensor in tensors]
    result = function(*leaves)
    result.backward(draw(*result.shape).to(result.dtype))
    return [result.detach(), *(leaf.grad for leaf in leaves)]


def assert_as_precise(function, exact, *tensors):
    """Each result and gradient is as close to float64's as PyTorch's own float32."""
    wanted = run(exact, *(tensor.double() for tensor in tensors))
    found, usual = run(function, *tensors), run(exact, *tensors)
    for own, other, true in zip(found, usual, wanted, strict=True):
        assert own.dtype == torch.float32
        off, usually_off = (own - true).norm(), (other - true).norm()
        assert off <= 2 * usually_off + 1e-7 * true.norm()


SHAPES = [((1601, 64), 96), ((2, 30, 40, 48), 192), ((3, 7001, 16), 40)]


@pytest.mark.parametrize(('shape', 'channels'), SHAPES)
@pytest.mark.parametrize('biased', [True, False])
def test_linear__result_and_gradients(convolved, shape, channels, biased):
    tensors = [draw(*shape), draw(channels, shape[-1])]
    tensors += [draw(channels)] if biased else []
    assert_as_precise(linear, functional.linear, *tensors)
    assert convolved


def test_linear__of_values_that_lie_otherwise_in_memory(convolved):
    x, weight = draw(64, 1200, 2).permute(2, 1, 0), draw(64, 100).T
    assert_as_precise(linear, functional.linear, x, weight)
    assert convolved == [(1, 64, 1, 2400)]


def test_linear__elsewhere_is_pytorchs_own_bit_for_bit(convolved):
    x, weight = draw(1200, 64), draw(96, 64)
    assert torch.equal(linear(x[:3], weight), functional.linear(x[:3], weight))
    double = x.double(), weight.double()
    assert torch.equal(linear(*double), functional.linear(*double))
    with torch.autocast('cpu', torch.bfloat16):
        assert torch.equal(linear(x, weight), functional.linear(x, weight))
    assert not convolved
    assert linear(x[:0], weight).shape == (0, 96)


def test_use_fast_linear__keeps_names_and_weights(convolved, monkeypatch):
    class Own(nn.Linear):
        pass

    monkeypatch.setattr(fast_linear, 'LEAST_WORK', 0)
    plain = nn.Sequential(
        nn.Linear(8, 4), nn.Sequential(Linear(4, 6, bias=False)), Own(6, 2)
    )
    wanted, names = plain(draw(5, 8)), list(plain.state_dict())
    parameters = list(plain.parameters())
    state = torch.random.get_rng_state()
    use_fast_linear(plain)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert [type(plain[0]), type(plain[1][0]), type(plain[2])] == [
        FastLinear,
        FastLinear,
        Own,
    ]
    assert list(plain.state_dict()) == names
    assert all(a is b for a, b in zip(parameters, plain.parameters(), strict=True))
    assert torch.allclose(plain(draw(5, 8)), wanted, atol=1e-6)
    assert len(convolved) == 2
