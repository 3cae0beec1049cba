"""The same numbers as PyTorch's convolution, where the method is used and where not."""

import pytest
import torch
from torch import nn

from mmsegmentation.models import winograd


@pytest.fixture(autouse=True)
def processor(monkeypatch):
    """Have each test run as on a processor with AVX2; return how to have another."""

    def be(name):
        monkeypatch.setattr(torch.backends.cpu, 'get_cpu_capability', lambda: name)

    be('AVX2')
    return be


@pytest.fixture
def free_transforms(monkeypatch):
    """Have the method pay at sizes that are quick to test."""
    for name in ('TILE_IN_COST', 'TILE_OUT_COST', 'KERNEL_COST'):
        monkeypatch.setattr(winograd, name, 0)


@pytest.mark.usefixtures('free_transforms')
def test_conv__with_avx512_is_pytorchs_bit_for_bit(processor):
    x, weight = inputs_of((24, 24), dtype=torch.float32)
    assert not torch.equal(winograd.conv3x3(x, weight), plain(x, weight))
    processor('AVX512')
    assert torch.equal(winograd.conv3x3(x, weight), plain(x, weight))


SIZES = [(24, 24), (25, 31), (27, 40), (66, 24)]


def inputs_of(size, channels=(64, 72), dtype=torch.float64, batch=2):
    torch.manual_seed(0)
    x = torch.randn(batch, channels[0], *size, dtype=dtype)
    return x, torch.randn(channels[1], channels[0], 3, 3, dtype=dtype)


def plain(x, weight):
    return nn.functional.conv2d(x, weight, padding=1)


@pytest.mark.usefixtures('free_transforms')
@pytest.mark.parametrize('memory', [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize('size', SIZES)
def test_conv__equals_pytorch(size, memory):
    x, weight = inputs_of(size)
    assert winograd._pays(x, weight)
    given = winograd.conv3x3(x.to(memory_format=memory), weight)
    assert (given - plain(x, weight)).abs().max() <= 1e-11


@pytest.mark.usefixtures('free_transforms')
def test_conv__rounds_little_in_float32():
    x, weight = inputs_of((32, 32), (512, 64), batch=1)
    exact = plain(x, weight)
    given = winograd.conv3x3(x.float(), weight.float())
    assert (given - exact).abs().max() <= 2e-5 * exact.abs().max()


@pytest.mark.usefixtures('free_transforms')
@pytest.mark.parametrize('size', SIZES[:2])
def test_conv__gradients_equal_pytorchs(size):
    found = []
    for convolve in (winograd.conv3x3, plain):
        tensors = [tensor.requires_grad_() for tensor in inputs_of(size)]
        convolve(*tensors).square().sum().backward()
        found.append([tensor.grad for tensor in tensors])
    for given, wanted in zip(*found, strict=True):
        torch.testing.assert_close(given, wanted, rtol=1e-10, atol=1e-8)


@pytest.mark.usefixtures('free_transforms')
@pytest.mark.parametrize('needs', [(True, False), (False, True)])
def test_conv__gives_the_gradients_that_are_asked_for(needs):
    tensors = inputs_of((24, 24))
    for tensor, need in zip(tensors, needs, strict=True):
        tensor.requires_grad_(need)
    winograd.conv3x3(*tensors).sum().backward()
    assert tuple(tensor.grad is not None for tensor in tensors) == needs


@pytest.mark.usefixtures('free_transforms')
def test_conv__can_be_added_to_in_place():
    x, weight = (tensor.requires_grad_() for tensor in inputs_of((24, 25)))
    given = winograd.conv3x3(x, weight).permute(0, 2, 3, 1).flatten(2)
    given.add_(1).sum().backward()
    assert x.grad is not None


# Maps of UPerHead's levels in an image of 512 x 512, and of 128 x 128.
@pytest.mark.parametrize(
    ('shape', 'channels', 'faster'),
    [
        ((1, 512, 128, 128), 512, True),
        ((1, 512, 64, 64), 512, True),
        ((1, 512, 32, 32), 512, False),
        ((8, 512, 32, 32), 512, True),  # one transform of the kernel for all images
        ((1, 256, 32, 32), 256, False),
        ((1, 128, 64, 64), 128, True),
        ((8, 64, 128, 128), 64, False),
        ((8, 512, 128, 128), 11, False),
        ((99, 512, 1, 1), 512, False),  # whole tiles for one pixel each
    ],
)
def test_conv__is_winograds_where_tiles_and_channels_pay(shape, channels, faster):
    x = torch.empty(shape, device='meta')
    weight = torch.empty((channels, shape[1], 3, 3), device='meta')
    assert winograd._is_faster(x.shape, weight.shape) == faster


@pytest.mark.parametrize(
    ('size', 'channels', 'dtype'),
    [
        ((32, 32), (64, 64), torch.float32),
        ((64, 64), (64, 64), torch.bfloat16),
    ],
)
def test_conv__is_pytorchs_where_it_would_not_pay(size, channels, dtype):
    x, weight = inputs_of(size, channels, dtype)
    assert torch.equal(winograd.conv3x3(x, weight), plain(x, weight))


@pytest.mark.usefixtures('free_transforms')
def test_conv__is_pytorchs_under_autocast():
    x, weight = inputs_of((32, 32), dtype=torch.float32)
    with torch.autocast('cpu', torch.bfloat16):
        assert winograd.conv3x3(x, weight).dtype == torch.bfloat16


@pytest.mark.usefixtures('free_transforms')
@pytest.mark.filterwarnings('ignore:.*torch.jit:DeprecationWarning')
def test_conv__can_be_traced_and_saved(tmp_path):
    x, weight = inputs_of((24, 24))
    with torch.no_grad():
        traced = torch.jit.trace(winograd.conv3x3, (x, weight))
        traced.save(str(tmp_path / 'conv.pt'))
        given = torch.jit.load(tmp_path / 'conv.pt')(2 * x, weight)
    assert (given - plain(2 * x, weight)).abs().max() <= 1e-11


@pytest.mark.usefixtures('free_transforms')
@pytest.mark.parametrize('tiles', [1, 10_000])
def test_conv__strips_of_any_height_give_the_same(tiles, monkeypatch):
    x, weight = inputs_of((33, 29))
    monkeypatch.setattr(winograd, 'TILES', tiles)
    given = winograd.conv3x3(x, weight)
    assert (given - plain(x, weight)).abs().max() <= 1e-11
