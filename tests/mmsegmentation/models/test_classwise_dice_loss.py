"""Dice by class: by hand, against MMSegmentation's, and without unlabelled pixels."""

import pytest
import torch
from mmseg.models.losses import DiceLoss

from mmsegmentation.models import ClasswiseDiceLoss


@pytest.fixture
def logits() -> torch.Tensor:
    values = torch.randn(2, 5, 3, 4, generator=torch.Generator().manual_seed(0))
    return (values * 3).requires_grad_()


@pytest.fixture
def label() -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    label = torch.randint(4, (2, 3, 4), generator=generator)  # 4 does not occur
    label[0, :2] = 255
    return label


def test_dice__two_pixels_by_hand():
    # Probabilities of class 0: 3/4 where it is true, 1/2 where class 1 is.
    logits = torch.tensor([[3.0, 1.0], [1.0, 1.0]]).log().reshape(1, 2, 1, 2)
    label = torch.tensor([[[0, 1]]])
    zero = 2 * 0.75 / (0.75**2 + 0.5**2 + 1)
    one = 2 * 0.5 / (0.25**2 + 0.5**2 + 1)
    loss = ClasswiseDiceLoss(eps=0, loss_weight=0.4)(logits, label)
    assert loss.item() == pytest.approx(0.4 * (2 - zero - one) / 2)


@pytest.mark.parametrize('naive', [False, True])
def test_dice__counts_in_float32_under_autocast(naive):
    loss = ClasswiseDiceLoss(naive_dice=naive)
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(1, 2, 40, 40, generator=generator).bfloat16()
    label = torch.zeros(1, 40, 40, dtype=torch.int64)
    label[0, 0] = 1
    wanted = loss(logits.float(), label)
    with torch.autocast('cpu', torch.bfloat16):
        torch.testing.assert_close(loss(logits, label), wanted)


@pytest.mark.parametrize('naive', [False, True])
def test_dice__of_one_class_is_mmsegmentations(logits, naive):
    label = torch.ones(2, 3, 4, dtype=torch.int64)
    ours = ClasswiseDiceLoss(naive_dice=naive)(logits, label)
    probs = logits.softmax(1)[:, 1].reshape(1, 1, 4, -1)
    theirs = DiceLoss(activate=False, naive_dice=naive)(probs, torch.ones_like(probs))
    torch.testing.assert_close(ours, theirs)


def test_dice__pixels_without_a_label_change_nothing(logits, label):
    loss = ClasswiseDiceLoss()
    value = loss(logits, label)
    (slope,) = torch.autograd.grad(value, logits)
    unlabelled = (label == 255)[:, None].expand_as(logits)
    assert (slope[unlabelled] == 0).all()
    assert (slope[~unlabelled] != 0).all()
    other = logits.where(~unlabelled, torch.tensor(9.0))
    torch.testing.assert_close(loss(other, label), value)
    stock = DiceLoss(use_sigmoid=False)(logits, label)
    (slope,) = torch.autograd.grad(stock, logits)
    assert (slope[unlabelled] != 0).all()  # what ours is for


def test_dice__rare_class_counts_as_much_as_background():
    label = torch.zeros(1, 1, 100, dtype=torch.int64)
    label[..., 0] = 1
    logits = torch.tensor([9.0, -9.0]).reshape(1, 2, 1, 1).expand(1, 2, 1, 100)
    assert ClasswiseDiceLoss()(logits, label).item() == pytest.approx(0.5, abs=0.01)
    assert DiceLoss(use_sigmoid=False)(logits, label).item() < 0.02


def test_dice__ignore_index_and_pixel_weights(logits, label):
    loss = ClasswiseDiceLoss()
    kept = label.where(label != 0, 255)
    zero = loss(logits, label.where(label != 255, 0), ignore_index=0)
    torch.testing.assert_close(zero, loss(logits, kept))
    weight = (label != 0).float()
    torch.testing.assert_close(loss(logits, label, weight=weight), loss(logits, kept))


def test_dice__without_a_label_is_zero(logits):
    value = ClasswiseDiceLoss()(logits, torch.full((2, 3, 4), 255))
    value.backward()
    assert value == 0
    assert (logits.grad == 0).all()
