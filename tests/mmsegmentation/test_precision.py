"""Precision by name, and what a device cannot do."""

import pytest
import torch

from mmsegmentation import precision


@pytest.mark.parametrize('name', ['avx512_bf16', 'amx_bf16', 'sve_bf16'])
def test_has_bf16__looks_at_the_processor(name, monkeypatch):
    monkeypatch.setattr(precision, 'get_device', lambda: 'cpu')
    found = {'avx2': True, 'avx512_bf16': False}
    monkeypatch.setattr(torch.cpu, 'get_capabilities', lambda: found)
    assert not precision.has_bf16()
    found[name] = True
    assert precision.has_bf16()


@pytest.mark.parametrize(
    ('device', 'capable', 'name', 'wanted'),
    [
        ('cpu', False, 'fp32', 'fp32'),
        ('cpu', False, 'bf16', 'fp32'),
        ('cpu', True, 'bf16', 'bf16'),
        ('cpu', True, 'fp16', 'fp32'),
        ('cuda', True, 'fp16', 'fp16'),
        ('cuda', True, 'bf16', 'bf16'),
    ],
)
def test_precision_of__is_what_the_device_can_do(
    device, capable, name, wanted, monkeypatch
):
    monkeypatch.setattr(precision, 'get_device', lambda: device)
    monkeypatch.setattr(precision, 'has_bf16', lambda: capable)
    assert precision.precision_of(name) == wanted


def test_precision_of__refuses_other_names():
    with pytest.raises(ValueError, match='must be one of'):
        precision.precision_of('int8')


@pytest.mark.parametrize('name', ['fp32', 'bf16'])
def test_autocast__computes_as_named(name):
    a = torch.ones(2, 2)
    with precision.autocast('cpu', name):
        assert (a @ a).dtype == precision.PRECISIONS[name]
