"""Intervals of one model and differences of two, against plain resampling."""

import numpy as np
import pytest

from mmsegmentation.scores import summarise
from utils.error_page.comparison import (
    compare,
    draw_images,
    interval,
    iou,
    read_draws,
    statistics,
)

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


def plain_miou(confusion):
    scores = []
    for c in range(3):
        union = confusion[c].sum() + confusion[:, c].sum() - confusion[c, c]
        if union:
            scores.append(confusion[c, c] / union)
    return np.mean(scores)


def stats_of(confusions):
    return np.stack([statistics(c) for c in confusions])


def test_intervals__are_those_of_metrics_json(models):
    told = summarise({str(i): c for i, c in enumerate(models[0])}, NAMES)
    readings = read_draws(stats_of(models[0]), draw_images(12))
    assert interval(readings.dataset) == pytest.approx(told['mIoU_interval'])
    assert interval(readings.image) == pytest.approx(told['mIoU_image_interval'])
    np.testing.assert_allclose(iou(stats_of(models[0]).sum(0)), told['IoU'])


def test_compare__is_a_plain_paired_bootstrap(models):
    one, two = models
    draws = draw_images(12, rounds=200, seed=4)
    gains, image_gains = [], []
    for times in draws:
        drawn = np.repeat(np.arange(12), times)
        gains.append(plain_miou(two[drawn].sum(0)) - plain_miou(one[drawn].sum(0)))
        pairs = [plain_miou(two[i]) - plain_miou(one[i]) for i in drawn]
        image_gains.append(np.mean(pairs))
    told = compare(stats_of(one), stats_of(two), draws, NAMES)
    for key, values in (('mIoU', gains), ('mIoU_image', image_gains)):
        ends = np.percentile(values, [2.5, 97.5])
        assert told[key]['interval'] == pytest.approx(ends.tolist())
        assert told[key]['better'] == pytest.approx(np.mean(np.array(values) > 0))
    difference = plain_miou(two.sum(0)) - plain_miou(one.sum(0))
    assert told['mIoU']['difference'] == pytest.approx(difference)


def test_compare__is_narrower_than_both_intervals_when_models_are_alike(models):
    one = models[0]
    two = one.copy()
    two[:, 0, 0] += 1
    draws = draw_images(12)
    told = compare(stats_of(one), stats_of(two), draws, NAMES)['mIoU']
    low, high = told['interval']
    apart = interval(read_draws(stats_of(one), draws).dataset)
    assert high - low < (apart[1] - apart[0]) / 10
    assert told['better'] == 1


def test_compare__a_class_in_neither_is_unknown(models):
    one, two = (m.copy() for m in models)
    for confusions in (one, two):
        confusions[:, 2] = confusions[:, :, 2] = 0
    told = compare(stats_of(one), stats_of(two), draw_images(12), NAMES)
    assert told['IoU']['Metal'] is None
    assert told['IoU']['Paper'] is not None
