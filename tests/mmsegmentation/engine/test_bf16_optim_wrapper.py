import torch
from mmengine.optim import OptimWrapper
from torch import nn

from mmsegmentation.engine import Bf16OptimWrapper, bf16_optim_wrapper


def step(wrapper_type, monkeypatch, capable=True):
    """Train a layer one step; return the dtype of its result and its new weight."""
    monkeypatch.setattr(bf16_optim_wrapper, 'has_bf16', lambda: capable)
    torch.manual_seed(0)
    layer = nn.Linear(8, 1)
    wrapper = wrapper_type(optimizer=torch.optim.SGD(layer.parameters(), lr=0.1))
    with wrapper.optim_context(layer):
        result = layer(torch.linspace(0, 1, 8))
    wrapper.update_params(result.float().sum())
    return result.dtype, layer.weight.detach()


def test_wrapper__computes_in_bfloat16_and_keeps_weights_in_float32(monkeypatch):
    dtype, weight = step(Bf16OptimWrapper, monkeypatch)
    assert (dtype, weight.dtype) == (torch.bfloat16, torch.float32)


def test_wrapper__without_bf16_arithmetic_is_the_plain_one(monkeypatch):
    dtype, weight = step(Bf16OptimWrapper, monkeypatch, capable=False)
    assert dtype == torch.float32
    assert torch.equal(weight, step(OptimWrapper, monkeypatch)[1])
