"""Differences of two models, against a paired t test and plain scores."""

import numpy as np
import pytest
from scipy import stats

from mmsegmentation.scores import areas_of, mean_iou
from utils.error_page.comparison import compare

NAMES = ('Background', 'Paper', 'Metal')


@pytest.fixture
def models():
    """Return the confusion matrices of two models by image, (2, 12, 3, 3)."""
    rng = np.random.default_rng(2)
    one, two = rng.integers(0, 9, (2, 12, 3, 3)) + 20 * np.eye(3, dtype=int)
    # The third class is in a few images only, as rare classes are.
    one[3:, 2] = two[3:, 2] = 0
    one[3:, :, 2] = two[3:, :, 2] = 0
    return one, two


def compared(one, two):
    return compare(areas_of(one), areas_of(two), NAMES)


def test_compare__is_the_difference_of_the_scores(models):
    one, two = models
    told = compared(one, two)
    difference = mean_iou(two.sum(0)) - mean_iou(one.sum(0))
    assert told['mIoU']['difference'] == pytest.approx(difference)
    by_image = mean_iou(two) - mean_iou(one)
    assert told['mIoU_image']['difference'] == pytest.approx(by_image.mean())
    assert told['IoU'].keys() == {*NAMES}


def test_compare__over_images_is_a_paired_t_test(models):
    one, two = models
    told = compared(one, two)['mIoU_image']
    test = stats.ttest_rel(mean_iou(two), mean_iou(one), alternative='greater')
    assert told['worse'] == pytest.approx(test.pvalue)
    assert told['better'] == pytest.approx(1 - test.pvalue)
    plain = stats.ttest_rel(mean_iou(two), mean_iou(one)).confidence_interval(0.95)
    assert told['interval'] == pytest.approx([*plain], abs=1e-3)


def test_compare__turned_round_is_the_same_with_another_sign(models):
    one, two = models
    there, back = compared(one, two)['mIoU'], compared(two, one)['mIoU']
    assert there['difference'] == -back['difference']
    low, high = back['interval']
    assert there['interval'] == pytest.approx([-high, -low])
    assert (there['better'], there['worse']) == pytest.approx(
        (back['worse'], back['better'])
    )


def test_compare__is_narrower_than_one_score_when_models_are_alike(models):
    one = models[0]
    two = one.copy()
    two[:, 0, 0] += 1
    told = compared(one, two)['mIoU']
    low, high = told['interval']
    # Against models that are not of the same images.
    apart = compared(one, two[::-1])['mIoU']['interval']
    assert high - low < np.ptp(apart) / 10
    assert told['better'] > 0.999


def test_compare__a_class_that_is_not_in_both_is_unknown(models):
    one, two = (m.copy() for m in models)
    one[:, 2] = one[:, :, 2] = 0
    assert compared(one, two)['IoU']['Metal'] is None
    assert compared(two, one)['IoU']['Metal'] is None
    assert compared(one, one)['IoU']['Metal'] is None
    assert compared(one, two)['IoU']['Paper'] is not None
