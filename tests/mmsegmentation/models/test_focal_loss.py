"""The focal loss: by hand, against the cross entropy, and in a head."""

import math

import pytest
import torch
import torch.nn.functional as F
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from mmsegmentation.models import SoftmaxFocalLoss


@pytest.fixture
def logits() -> torch.Tensor:
    values = torch.randn(2, 5, 3, 4, generator=torch.Generator().manual_seed(0))
    return (values * 3).requires_grad_()


@pytest.fixture
def label() -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    label = torch.randint(5, (2, 3, 4), generator=generator)
    label[0, :2] = 255
    return label


def test_focal__gamma_0_is_the_cross_entropy(logits, label):
    ours = SoftmaxFocalLoss(gamma=0.0)(logits, label)
    theirs = F.cross_entropy(logits, label, ignore_index=255)
    torch.testing.assert_close(ours, theirs)
    slopes = [torch.autograd.grad(loss, logits)[0] for loss in (ours, theirs)]
    torch.testing.assert_close(*slopes)


def test_focal__two_pixels_by_hand():
    # Probabilities of the true class: 3/4 and 1/2.
    logits = torch.tensor([[3.0, 1.0], [1.0, 1.0]]).log().reshape(1, 2, 1, 2)
    label = torch.tensor([[[0, 1]]])
    wanted = (0.25**2 * -math.log(0.75) + 0.5**2 * -math.log(0.5)) / 2
    loss = SoftmaxFocalLoss(gamma=2.0, loss_weight=0.4)(logits, label)
    assert loss.item() == pytest.approx(0.4 * wanted)
    weight = torch.tensor([[[3.0, 0.0]]])
    loss = SoftmaxFocalLoss(gamma=2.0)(logits, label, weight=weight)
    assert loss.item() == pytest.approx(3 * 0.25**2 * -math.log(0.75) / 2)


@pytest.mark.parametrize('gamma', [0.0, 0.5, 2.0])
def test_focal__ignored_pixels_give_no_gradient(logits, label, gamma):
    SoftmaxFocalLoss(gamma)(logits, label).backward()
    ignored = (label == 255)[:, None].expand_as(logits)
    assert (logits.grad[ignored] == 0).all()
    assert (logits.grad[~ignored] != 0).all()


def test_focal__ignored_pixels_do_not_count_in_the_mean(logits, label):
    loss = SoftmaxFocalLoss()
    alone = loss(logits[:1, :, 2:], label[:1, 2:])
    torch.testing.assert_close(loss(logits[:1], label[:1]), alone)


@pytest.mark.parametrize('gamma', [0.0, 0.5, 2.0])
def test_focal__all_ignored_or_all_certain_is_finite(gamma):
    certain = torch.tensor([200.0, -200.0]).reshape(1, 2, 1, 1).requires_grad_()
    for true in (0, 1, 255):
        loss = SoftmaxFocalLoss(gamma)(certain, torch.tensor([[[true]]]))
        (slope,) = torch.autograd.grad(loss, certain)
        assert loss.item() == (400 if true == 1 else 0)
        assert slope.isfinite().all()


def test_focal__ignore_index_is_the_heads(logits, label):
    loss = SoftmaxFocalLoss()(logits, label.where(label != 255, 0), ignore_index=0)
    kept = label.where(label != 0, 255)
    torch.testing.assert_close(loss, SoftmaxFocalLoss()(logits, kept))


def test_focal__negative_gamma_is_refused():
    with pytest.raises(ValueError, match='gamma must be 0 or more, got -1'):
        SoftmaxFocalLoss(gamma=-1)


def test_focal__trains_a_head_on_the_cpu():
    head = MODELS.build(
        dict(
            type='UPerHead',
            in_channels=[4, 8],
            in_index=[0, 1],
            pool_scales=(1, 2),
            channels=4,
            num_classes=3,
            norm_cfg=dict(type='BN'),
            align_corners=False,
            loss_decode=dict(type='SoftmaxFocalLoss', loss_weight=1.0),
        )
    )
    torch.manual_seed(0)
    maps = [torch.randn(2, 4, 8, 8), torch.randn(2, 8, 4, 4)]
    samples = []
    for _ in maps:
        sample = SegDataSample()
        sample.gt_sem_seg = PixelData(data=torch.randint(3, (1, 16, 16)))
        samples.append(sample)
    losses = head.loss(maps, samples, {})
    losses['loss_focal'].backward()
    slopes = [p.grad for p in head.parameters()]
    assert losses['loss_focal'] > 0
    assert all(slope.isfinite().all() for slope in slopes)
    assert any(slope.any() for slope in slopes)
