"""Two processes with half a batch each compute what one does with all of it."""

import copy
from pathlib import Path

import pytest
import torch
from mmcv.cnn.bricks import DropPath
from mmengine.config import Config
from mmengine.model import MMDistributedDataParallel, revert_sync_batchnorm
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import nn

from mmsegmentation.engine.quiet import share_batch
from mmsegmentation.models import SoftmaxFocalLoss
from mmsegmentation.models.cpu_sync_batch_norm import CPUSyncBatchNorm
from mmsegmentation.models.shared_dropout import SharedDropout
from mmsegmentation.models.shared_loss import share_losses
from tests.forked import run_two

CONFIG = 'configs/demo/upernet_convnext-mini_1xb8-cutmix-360it_drawn-128x128.py'
STEPS = 2
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope='module')
def model() -> nn.Module:
    """Return a UPerNet-ConvNeXt that drops features, paths and averages."""
    init_default_scope('mmseg')
    cfg = Config.fromfile(ROOT / CONFIG, import_custom_modules=False).model
    cfg.backbone.drop_path_rate = 0.3
    cfg.decode_head.norm_cfg = cfg.auxiliary_head.norm_cfg = dict(type='SyncBN')
    cfg.decode_head.loss_decode = [
        dict(type='CrossEntropyLoss', avg_non_ignore=True),
        dict(type='ClasswiseDiceLoss'),
    ]
    torch.manual_seed(0)
    model = MODELS.build(cfg)
    model.init_weights()
    return model.double()


def train(model: nn.Module, rank: int, world_size: int) -> tuple[list, dict]:
    """Return the losses of the process's own images, and what was learnt."""
    generator = torch.Generator().manual_seed(1)
    torch.manual_seed(2)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    losses = []
    for _ in range(STEPS):
        images = torch.randn(4, 3, 64, 64, generator=generator).double()
        labels = torch.randint(0, 11, (4, 1, 64, 64), generator=generator)
        labels[:, :, :9] = labels[0, :, :30] = 255
        samples = [
            SegDataSample(gt_sem_seg=PixelData(data=label))
            for label in labels[rank::world_size]
        ]
        found = model(images[rank::world_size], samples, mode='loss')
        loss = sum(value for name, value in found.items() if 'loss' in name)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return losses, {k.removeprefix('module.'): v for k, v in model.state_dict().items()}


def test_share_batch__two_processes_make_the_steps_of_one(model, tmp_path):
    def half(rank):
        own = copy.deepcopy(model)
        share_batch(own, sync_bn=None)
        wrapped = MMDistributedDataParallel(own, broadcast_buffers=False)
        return train(wrapped.train(), rank, 2)

    wanted, weights = train(revert_sync_batchnorm(copy.deepcopy(model)).train(), 0, 1)
    (first, one), (second, two) = run_two(tmp_path, half)
    # Their labels, and with them the losses, pass through float32.
    for mine, others, whole in zip(first, second, wanted, strict=True):
        torch.testing.assert_close((mine + others) / 2, whole, rtol=0, atol=1e-7)
    assert abs(wanted[1] - wanted[0]) > 1e-4
    for found in (one, two):
        torch.testing.assert_close(found, weights, rtol=0, atol=1e-9)


@pytest.mark.parametrize('affine', [True, False])
@pytest.mark.parametrize('momentum', [0.3, None])
def test_cpu_sync_batch_norm__is_batch_norm_of_all(tmp_path, affine, momentum):
    norm = nn.BatchNorm2d(3, momentum=momentum, affine=affine).double()
    if affine:
        nn.init.normal_(norm.weight)
    # Far from zero: sums of squares would lose the variance.
    batches = 1e6 + torch.randn(2, 5, 3, 4, 6).double()
    parts = slice(0, 4), slice(4, 5)

    def pass_through(layer, part):
        found = []
        for batch in batches:
            x = batch[part].clone().requires_grad_()
            y = layer(x)
            (y**3).sum().backward()
            found += [y.detach(), x.grad]
        weights = [w.grad for w in layer.parameters()]
        return found, weights, layer.state_dict()

    def half(rank):
        return pass_through(CPUSyncBatchNorm.in_place_of(norm), parts[rank])

    halves = run_two(tmp_path, half)
    found, weights, state = pass_through(norm, slice(None))
    for i, whole in enumerate(found):
        joined = torch.cat([own[i] for own, _, _ in halves])
        torch.testing.assert_close(joined, whole, rtol=1e-6, atol=1e-6)
    for i, whole in enumerate(weights):
        together = sum(own[i] for _, own, _ in halves)
        torch.testing.assert_close(together, whole, rtol=1e-6, atol=1e-6)
    for _, _, own in halves:
        torch.testing.assert_close(own, state)


def test_sync_on_cpu__plain_norms_only_if_asked(tmp_path):
    def kinds(_):
        found = []
        for sync_bn in (None, 'torch'):
            norms = nn.BatchNorm2d(2), nn.SyncBatchNorm(2), nn.LayerNorm(2)
            parts = nn.Sequential(*norms)
            share_batch(parts, sync_bn=sync_bn)
            found.append([type(part).__name__ for part in parts])
        return found

    ours, layer = 'CPUSyncBatchNorm', 'LayerNorm'
    wanted = [['BatchNorm2d', ours, layer], [ours, ours, layer]]
    assert run_two(tmp_path, kinds) == [wanted] * 2


def test_share_batch__of_one_process_needs_no_other():
    parts = nn.Sequential(nn.SyncBatchNorm(2), nn.Dropout(0.5))
    share_batch(parts, sync_bn='torch')
    assert not isinstance(parts[0], nn.SyncBatchNorm)
    assert parts.train()(torch.randn(2, 2, 3, 3)).shape == (2, 2, 3, 3)
    assert isinstance(parts[1], nn.Dropout)


DROPS = nn.Dropout(0.4), nn.Dropout2d(0.4), DropPath(0.4)


@pytest.mark.parametrize('drop', DROPS, ids=lambda drop: type(drop).__name__)
def test_shared_dropout__masks_are_those_of_one_process(tmp_path, drop):
    x = torch.randn(6, 5, 2, 3)

    def half(rank):
        torch.manual_seed(0)
        return [SharedDropout(drop)(x[rank::2]) for _ in range(2)]

    halves = run_two(tmp_path, half)
    torch.manual_seed(0)
    for step in range(2):
        whole = drop(x)
        for rank in range(2):
            torch.testing.assert_close(halves[rank][step], whole[rank::2])
    assert (whole == 0).any()


def test_shared_dropout__drops_nothing_in_evaluation():
    x = torch.ones(2, 3)
    assert (SharedDropout(nn.Dropout(0.9)).eval()(x) == x).all()


WEIGHTS = [0.5, 2.0, 1.0]
LOSSES = {
    'focal': dict(type='SoftmaxFocalLoss'),
    'dice by class': dict(type='ClasswiseDiceLoss', loss_weight=0.3),
    'naive dice by class': dict(type='ClasswiseDiceLoss', naive_dice=True),
    'dice by image': dict(type='DiceLoss', use_sigmoid=False),
    'lovasz': dict(type='LovaszLoss', reduction='none'),
    'weighted lovasz': dict(type='LovaszLoss', reduction='none', class_weight=WEIGHTS),
    'lovasz by image': dict(type='LovaszLoss', per_image=True),
    'ce': dict(type='CrossEntropyLoss'),
    'ce of labelled': dict(type='CrossEntropyLoss', avg_non_ignore=True),
    'weighted ce': dict(type='CrossEntropyLoss', class_weight=WEIGHTS),
    'sigmoid of labelled': dict(
        type='CrossEntropyLoss', use_sigmoid=True, avg_non_ignore=True
    ),
}


def loss_and_slope(loss, logits, label):
    own = logits.clone().requires_grad_()
    value = loss(own, label, ignore_index=255)
    (slope,) = torch.autograd.grad(value.sum(), own)
    return value.detach(), slope


@pytest.mark.filterwarnings('ignore:Default ``avg_non_ignore``')
@pytest.mark.parametrize('cfg', LOSSES.values(), ids=LOSSES)
def test_losses__of_two_processes_are_that_of_one(tmp_path, cfg):
    init_default_scope('mmseg')
    loss = MODELS.build(cfg)
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(4, 3, 4, 5, generator=generator)
    label = torch.randint(0, 3, (4, 4, 5), generator=generator)
    label[0, :3] = label[2, 0] = 255  # the first process has fewer labels
    label[1::2][label[1::2] == 2] = 0  # and the second one class less

    def half(rank):
        share_losses([loss])
        return loss_and_slope(loss, logits[rank::2], label[rank::2])

    halves = run_two(tmp_path, half)
    value, slope = loss_and_slope(loss, logits, label)
    torch.testing.assert_close(
        sum(own for own, _ in halves) / 2, value, rtol=1e-6, atol=0
    )
    for rank, (_, own) in enumerate(halves):
        torch.testing.assert_close(own / 2, slope[rank::2], rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
@pytest.mark.parametrize('name', ['ce of labelled', 'weighted ce'])
def test_cross_entropy__divides_by_more_than_its_half_precision_holds(dtype, name):
    # In MMSegmentation's own, weighted, the loss of one process is 0 in float16.
    init_default_scope('mmseg')
    cfg = dict(type='FCNHead', in_channels=3, channels=3, num_classes=3, num_convs=0)
    head = MODELS.build(
        dict(cfg, concat_input=False, align_corners=False, loss_decode=LOSSES[name])
    )
    loss = head.loss_decode
    # More labelled pixels than float16 can count, and bfloat16 rounds by far.
    logits = torch.randn(1, 3, 257, 257, generator=torch.Generator().manual_seed(0))
    label = logits.argmax(1).roll(1)
    label[0, :9] = 255
    logits = logits.to(dtype)
    wanted = loss(logits.float(), label, ignore_index=255)
    share_batch(head, sync_bn=None)
    with torch.autocast('cpu', torch.bfloat16):  # cross entropy itself is in float32
        found = loss(logits, label, ignore_index=255)
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize('name', ['lovasz', 'dice by class', 'ce of labelled'])
def test_losses__of_an_evaluation_are_of_the_own_images(tmp_path, name):
    init_default_scope('mmseg')
    loss = MODELS.build(LOSSES[name]).eval()
    logits, label = torch.randn(2, 3, 4, 4), torch.randint(0, 3, (2, 4, 4))
    label[0, :3] = 255

    def half(rank):
        share_losses([loss])
        return loss_and_slope(loss, logits[rank::2], label[rank::2])

    halves = run_two(tmp_path, half)
    for rank, found in enumerate(halves):
        wanted = loss_and_slope(loss, logits[rank::2], label[rank::2])
        torch.testing.assert_close(found, wanted)


def test_losses__of_pictures_of_two_sizes_are_that_of_one(tmp_path):
    loss = MODELS.build(LOSSES['lovasz'])
    logits, label = torch.randn(1, 3, 4, 9), torch.randint(0, 3, (1, 4, 9))
    parts = slice(0, 3), slice(3, 9)

    def part(rank):
        share_losses([loss])
        own = logits[..., parts[rank]], label[..., parts[rank]]
        return loss_and_slope(loss, *own)

    found = run_two(tmp_path, part)
    value, slope = loss_and_slope(loss, logits, label)
    torch.testing.assert_close((found[0][0] + found[1][0]) / 2, value)
    together = torch.cat([own for _, own in found], -1) / 2
    torch.testing.assert_close(together, slope)


def test_focal_loss__of_a_validation_is_of_the_own_image(tmp_path):
    loss = SoftmaxFocalLoss().eval()
    logits, label = torch.randn(2, 3, 4, 4), torch.randint(0, 3, (2, 4, 4))
    label[0, :3] = 255
    halves = run_two(tmp_path, lambda rank: loss(logits[rank::2], label[rank::2]))
    for rank, found in enumerate(halves):
        torch.testing.assert_close(found, loss(logits[rank::2], label[rank::2]))
