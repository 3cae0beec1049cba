"""The same numbers as MMSegmentation's UPerHead, from the same weights."""

import copy
import io

import pytest
import torch
from mmcv.cnn import fuse_conv_bn
from mmengine.structures import PixelData
from mmseg.models.decode_heads import FCNHead, UPerHead
from mmseg.structures import SegDataSample
from torch import nn
from torch.nn.utils import prune

from mmsegmentation.models import (
    FastFCNHead,
    FastUPerHead,
    fast_uper_head,
    upsampled_conv,
    winograd,
)
from mmsegmentation.models.upsampled_conv import conv3x3_of_upsampled

SIZES = {
    'halving': [(16, 16), (8, 8), (4, 4), (2, 2)],
    'odd': [(17, 13), (9, 7), (5, 4), (3, 2)],
    'one pixel': [(8, 8), (4, 4), (2, 2), (1, 1)],
    'two levels': [(12, 20), (5, 9)],
    'six levels': [(16, 16), (16, 16), (8, 8), (8, 8), (4, 4), (2, 2)],
    'one level': [(9, 9)],
}


def build(head, levels=4, **more):
    torch.manual_seed(0)
    arguments = dict(
        in_channels=[4 + 2 * i for i in range(levels)],
        in_index=list(range(levels)),
        channels=6,
        num_classes=5,
        norm_cfg=dict(type='BN'),
        align_corners=False,
        dropout_ratio=0.0,
    )
    return head(**(arguments | more))


PARTS = 'lateral_convs.0.bn', 'fpn_convs.0.bn', 'fpn_convs.0.activate'


def pair(levels=4, **more):
    """Return the stock head and ours with its weights, in float64."""
    stock, fast = (build(head, levels, **more).double() for head in HEADS)
    fast.load_state_dict(stock.state_dict())
    return stock, fast


HEADS = UPerHead, FastUPerHead


def maps_of(sizes, dtype=torch.float64):
    generator = torch.Generator().manual_seed(1)
    return [
        torch.randn(2, 4 + 2 * i, *size, generator=generator, dtype=dtype)
        for i, size in enumerate(sizes)
    ]


@pytest.mark.filterwarnings('ignore:When align_corners')
@pytest.mark.parametrize('align_corners', [False, True])
@pytest.mark.parametrize('sizes', SIZES.values(), ids=SIZES)
@pytest.mark.parametrize('training', [False, True])
def test_head__equals_stock(sizes, align_corners, training):
    stock, fast = pair(len(sizes), align_corners=align_corners)
    maps = maps_of(sizes)
    wanted, given = (head.train(training)(maps) for head in (stock, fast))
    assert (wanted - given).abs().max() <= 1e-12
    assert torch.equal(wanted.argmax(1), given.argmax(1))


@torch.no_grad()
@pytest.mark.parametrize('affine', [True, False])
@pytest.mark.parametrize('sizes', SIZES.values(), ids=SIZES)
def test_head__in_inference_equals_stock(sizes, affine):
    norm = dict(type='BN', eps=1e-3)
    stock, fast = pair(len(sizes), norm_cfg=norm)
    for module in stock.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
            module.weight.normal_()
            module.bias.normal_()
    fast.load_state_dict(stock.state_dict())
    if not affine:
        for module in (*stock.modules(), *fast.modules()):
            if isinstance(module, nn.BatchNorm2d):
                module.weight = module.bias = None
    maps = maps_of(sizes)
    before = [features.clone() for features in maps]
    wanted, given = (head.eval()(maps) for head in (stock, fast))
    assert (wanted - given).abs().max() <= 1e-12 * wanted.abs().max().clamp_min(1)
    assert torch.equal(wanted.argmax(1), given.argmax(1))
    assert all(map(torch.equal, maps, before))


class NormAndSiLU(nn.BatchNorm2d):
    def forward(self, x):
        return nn.functional.silu(super().forward(x))


@pytest.mark.parametrize(
    'kind', ['plain', 'grad', 'training', 'no statistics', 'own forward', 'few values']
)
def test_head__folds_batch_norms_that_do_nothing_else(kind):
    module = pair()[1].eval().fpn_convs[0]
    if kind == 'training':
        module.norm.train()
    elif kind == 'no statistics':
        module.norm.running_mean = module.norm.running_var = None
    elif kind == 'own forward':
        module.norm.__class__ = NormAndSiLU
    features = torch.ones(1, 6, *((3, 4) if kind == 'few values' else (16, 16)))
    with torch.set_grad_enabled(kind == 'grad'):
        folded = fast_uper_head._fold(module, features)
    assert (folded is not None) == (kind == 'plain')


@torch.no_grad()
def test_head__leaves_nothing_behind_in_an_autocast():
    fast = pair()[1].float().eval()
    with torch.autocast('cpu', torch.bfloat16):
        folded = fast_uper_head._fold(fast.lateral_convs[0], torch.ones(1, 1, 99, 9))
    # Of what wants a gradient and is no result, autocast keeps a copy until its end.
    assert not any(tensor.requires_grad for tensor in folded)


@torch.no_grad()
@pytest.mark.parametrize('part', PARTS)
def test_head__calls_the_hooks_of_its_parts_in_inference(part):
    seen = []
    fast = pair()[1].eval()
    fast.get_submodule(part).register_forward_hook(lambda *_: seen.append(1))
    fast(maps_of(SIZES['halving']))
    assert seen == [1]


def test_head__gradients_equal_stock():
    stock, fast = pair()
    found = []
    for head in (stock, fast):
        maps = [features.requires_grad_() for features in maps_of(SIZES['odd'])]
        head.train()(maps).square().sum().backward()
        tensors = [*maps, *head.parameters()]
        found.append([tensor.grad for tensor in tensors])
    for wanted, given in zip(*found, strict=True):
        torch.testing.assert_close(given, wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    'more',
    [
        dict(norm_cfg=None),
        dict(act_cfg=None),
        dict(conv_cfg=dict(type='Conv2dAdaptivePadding')),
    ],
    ids=str,
)
def test_head__of_other_parts_equals_stock(more):
    stock, fast = pair(**more)
    maps = maps_of(SIZES['halving'])
    torch.testing.assert_close(fast(maps), stock(maps), rtol=0, atol=1e-12)


def test_head__with_norms_fused_into_convolutions_equals_stock():
    stock, fast = (fuse_conv_bn(head.eval()) for head in pair())
    for head in (stock, fast):
        torch.manual_seed(3)
        for convolution in head.modules():
            if isinstance(convolution, nn.Conv2d):
                nn.init.normal_(convolution.bias)
    maps = maps_of(SIZES['halving'])
    torch.testing.assert_close(fast(maps), stock(maps), rtol=0, atol=1e-11)


def test_head__with_pruned_weights_equals_stock():
    stock, fast = pair()
    for head in (stock, fast):
        prune.l1_unstructured(head.fpn_bottleneck.conv, 'weight', amount=0.5)
    maps = maps_of(SIZES['halving'])
    torch.testing.assert_close(fast(maps), stock(maps), rtol=0, atol=1e-12)


def test_head__calls_hooks():
    _, fast = pair()
    seen = []
    fast.fpn_bottleneck.register_forward_hook(lambda *args: seen.append(args))
    fast(maps_of(SIZES['halving']))
    assert len(seen) == 1


def test_head__by_winograds_method_equals_stock(monkeypatch):
    monkeypatch.setattr(winograd, '_pays', lambda x, weight: len(weight) > 5)
    widths = dict(in_channels=[4, 6], channels=64)
    stock, fast = pair(2, **widths)
    found = []
    for head in (stock, fast):
        maps = [m.requires_grad_() for m in maps_of([(24, 28), (12, 14)])]
        logits = head.train()(maps)
        logits.square().mean().backward()
        tensors = [*maps, *head.parameters()]
        found.append([logits, *(tensor.grad for tensor in tensors)])
    for wanted, given in zip(*found, strict=True):
        torch.testing.assert_close(given, wanted, rtol=1e-8, atol=1e-10)


def test_head__channels_last_gives_the_same():
    _, fast = pair()
    maps = maps_of(SIZES['odd'])
    last = [features.to(memory_format=torch.channels_last) for features in maps]
    moved = copy.deepcopy(fast).to(memory_format=torch.channels_last)
    torch.testing.assert_close(moved(last), fast(maps), rtol=0, atol=1e-12)


@pytest.mark.parametrize('levels', [1, 4])
def test_head__under_autocast_stays_near(levels):
    stock, fast = (head.float().eval() for head in pair(levels))
    maps = maps_of(SIZES['halving'][:levels], torch.float32)
    with torch.autocast('cpu', torch.bfloat16):
        given = fast(maps)
    wanted = stock(maps)
    assert given.dtype == torch.bfloat16
    assert (given - wanted).abs().max() < 0.05 * wanted.abs().max()


@pytest.mark.slow
@pytest.mark.parametrize('grad', [True, False])
def test_head__compiles_to_the_same(grad):
    _, fast = pair()
    maps = maps_of(SIZES['halving'])
    with torch.set_grad_enabled(grad):
        wanted = fast.eval()(maps)
        given = torch.compile(fast, backend='eager', fullgraph=True)(maps)
    torch.testing.assert_close(given, wanted, rtol=0, atol=1e-12)


@pytest.mark.filterwarnings('ignore:The given buffer is not writable')
@pytest.mark.parametrize('grad', [True, False])
def test_head__exports_to_the_same(grad):
    _, fast = pair()
    maps = tuple(maps_of(SIZES['halving']))
    sizes = ({0: torch.export.Dim('n', min=2, max=64)},) * len(maps)
    with torch.set_grad_enabled(grad):
        program = torch.export.export(fast.eval(), (maps,), dynamic_shapes=(sizes,))
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    buffer.seek(0)
    again = torch.export.load(buffer).module()
    torch.testing.assert_close(again(maps), fast(maps), rtol=0, atol=1e-12)


@pytest.mark.parametrize('least_saved', [-1000, 1000])
@pytest.mark.parametrize('size', [(2, 3), (7, 3)])
def test_conv__takes_smaller_and_larger_maps(size, least_saved, monkeypatch):
    monkeypatch.setattr(upsampled_conv, 'LEAST_SAVED', least_saved)
    maps = [torch.randn(1, 2, *size).double() for size in ((4, 5), size)]
    weight = torch.randn(3, 4, 3, 3).double()
    resized = nn.functional.interpolate(maps[1], (4, 5), mode='bilinear')
    wanted = nn.functional.conv2d(torch.cat([maps[0], resized], 1), weight, padding=1)
    given = conv3x3_of_upsampled(maps, weight)
    torch.testing.assert_close(given, wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize('image', [64, 128, 256, 512])
def test_conv__resizes_first_where_the_first_map_is_small(image):
    def maps(*sides):
        return [torch.empty(1, 512, side, side, device='meta') for side in sides]

    pooled = maps(image // 32, 1, 2, 3, 6)
    assert upsampled_conv._pays(pooled) == (image == 512)
    levels = maps(*(image // stride for stride in (4, 8, 16, 32)))
    assert upsampled_conv._pays(levels)
    assert upsampled_conv._pays(levels[:1])


def samples_of(labels):
    return [SegDataSample(gt_sem_seg=PixelData(data=label[None])) for label in labels]


@pytest.mark.parametrize('heads', [HEADS, (FCNHead, FastFCNHead)])
@pytest.mark.parametrize(
    'losses',
    [
        dict(type='CrossEntropyLoss', loss_weight=0.4),
        [dict(type='CrossEntropyLoss'), dict(type='DiceLoss')],
        [dict(type='CrossEntropyLoss', loss_weight=w) for w in (0.1, 0.9)],
    ],
)
@pytest.mark.parametrize('ignored', [0.0, 0.3, 1.0])
def test_loss__equals_stock(heads, losses, ignored):
    more = {} if heads == HEADS else dict(in_channels=4, in_index=0)
    stock, fast = (build(head, loss_decode=losses, **more) for head in heads)
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 5, 7, 6, generator=generator)
    labels = torch.randint(0, 5, (2, 28, 24), generator=generator)
    labels[torch.rand(labels.shape, generator=generator) < ignored] = 255
    wanted = stock.loss_by_feat(logits, samples_of(labels))
    given = fast.loss_by_feat(logits, samples_of(labels.to(torch.uint8)))
    assert given.keys() == wanted.keys()
    for name, value in wanted.items():
        torch.testing.assert_close(given[name], value, rtol=0, atol=1e-6)


@pytest.mark.filterwarnings('ignore:.*build_pixel_sampler')
def test_loss__with_a_pixel_sampler_equals_stock():
    sampler = dict(type='OHEMPixelSampler', thresh=0.7, min_kept=20)
    stock, fast = (build(head, sampler=sampler) for head in HEADS)
    logits, labels = torch.randn(2, 5, 7, 6), torch.randint(0, 5, (2, 28, 24))
    wanted = stock.loss_by_feat(logits, samples_of(labels))
    given = fast.loss_by_feat(logits, samples_of(labels.byte()))
    torch.testing.assert_close(given, wanted)
