"""Scores against counts by hand, a second method, and MMSegmentation's own metric."""

import math

import numpy as np
import pytest
import torch
from mmseg.evaluation import IoUMetric

from mmsegmentation.scores import (
    accuracy_of,
    bootstrap,
    confusion_matrix,
    iou_of,
    mean_iou,
    score_table,
    summarise,
)

NAMES = ('Background', 'Paper', 'Metal')
# Two images: IoU 3/4 and 1/2 in the first; 1/2 and 0 in the second.
FIRST = np.array([[3, 1, 0], [0, 1, 0], [0, 0, 0]])
SECOND = np.array([[3, 0, 0], [3, 0, 0], [0, 0, 0]])


def ids(*rows):
    return np.array(rows, np.uint8)


def random_maps(classes, size=(40, 50), seed=0):
    rng = np.random.default_rng(seed)
    truth, guess = (rng.integers(0, classes, size, np.uint8) for _ in range(2))
    truth[rng.random(size) < 0.1] = 255
    return truth, np.where(rng.random(size) < 0.5, guess, truth % classes)


def test_confusion_matrix__truth_in_rows_and_255_left_out():
    truth = ids([0, 0, 1], [1, 2, 255])
    found = confusion_matrix(truth, ids([0, 1, 1], [1, 0, 2]), 3)
    assert found.tolist() == [[1, 1, 0], [0, 2, 0], [1, 0, 0]]
    assert found.dtype == np.int64


@pytest.mark.parametrize('classes', [2, 11, 255])
def test_confusion_matrix__is_a_count_pixel_by_pixel(classes):
    truth, guess = random_maps(classes)
    wanted = np.zeros((classes, classes), int)
    for t, g in zip(truth.ravel().tolist(), guess.ravel().tolist(), strict=True):
        if t != 255:
            wanted[t, g] += 1
    assert confusion_matrix(truth, guess, classes).tolist() == wanted.tolist()


def test_confusion_matrix__another_label_may_be_ignored():
    found = confusion_matrix(ids([0, 1, 1]), ids([1, 1, 0]), 2, ignore_index=0)
    assert found.tolist() == [[0, 0], [1, 1]]


def test_confusion_matrix__reads_maps_that_are_views():
    truth, guess = random_maps(3)
    found = confusion_matrix(truth[::2, ::-1].T, guess[::2, ::-1].T, 3)
    copies = truth[::2, ::-1].copy(), guess[::2, ::-1].copy()
    assert found.tolist() == confusion_matrix(*copies, 3).tolist()


def test_confusion_matrix__wrong_ids_and_sizes_are_named():
    with pytest.raises(ValueError, match=r'labels \(1, 2\), prediction \(2, 1\)'):
        confusion_matrix(ids([0, 1]), ids([0], [1]), 2)
    with pytest.raises(ValueError, match=r'label holds class id 2, .* only 2 classes'):
        confusion_matrix(ids([2]), ids([0]), 2)
    with pytest.raises(ValueError, match=r'prediction holds class id 4, .* only 2'):
        confusion_matrix(ids([0]), ids([4]), 2)
    with pytest.raises(ValueError, match='prediction holds class id 255'):
        confusion_matrix(ids([0]), ids([255]), 2)


def test_confusion_matrix__prediction_under_an_ignored_label_may_be_anything():
    assert confusion_matrix(ids([255, 0]), ids([9, 0]), 1).tolist() == [[1]]


def test_iou_and_accuracy__are_shares_counted_by_hand():
    confusion = np.array([[3, 1, 0], [1, 1, 0], [0, 1, 1]])
    assert iou_of(confusion).tolist() == [3 / 5, 1 / 4, 1 / 2]
    assert accuracy_of(confusion).tolist() == [3 / 4, 1 / 2, 1 / 2]


def test_absent_class__is_left_out_and_a_false_one_counts_as_zero():
    np.testing.assert_array_equal(iou_of(FIRST), [3 / 4, 1 / 2, np.nan])
    assert mean_iou(FIRST) == 5 / 8
    wrong = np.array([[3, 0, 1], [0, 0, 0], [0, 0, 0]])
    np.testing.assert_array_equal(iou_of(wrong), [3 / 4, np.nan, 0])
    np.testing.assert_array_equal(accuracy_of(wrong), [3 / 4, np.nan, np.nan])
    assert mean_iou(wrong) == 3 / 8


def test_mean_iou__of_a_stack_is_that_of_each():
    assert mean_iou(np.stack([FIRST, SECOND])).tolist() == [5 / 8, 1 / 4]


def test_summarise__reads_miou_over_the_pool_and_over_images():
    scores = summarise({'a.jpg': FIRST, 'b.jpg': SECOND}, NAMES)
    assert scores['confusion'] == [[6, 1, 0], [3, 1, 0], [0, 0, 0]]
    assert scores['IoU'] == [6 / 10, 1 / 5, None]
    assert scores['Acc'] == [6 / 7, 1 / 4, None]
    assert scores['mIoU'] == pytest.approx((6 / 10 + 1 / 5) / 2)
    assert scores['mIoU_image'] == ((3 / 4 + 1 / 2) / 2 + (1 / 2 + 0) / 2) / 2
    assert scores['mAcc'] == pytest.approx((6 / 7 + 1 / 4) / 2)
    assert scores['aAcc'] == 7 / 11
    assert (scores['images'], scores['classes']) == (2, list(NAMES))


def test_summarise__image_without_a_labelled_pixel_is_left_out():
    both = {'a': FIRST, 'b': SECOND}
    scores = summarise({'empty': np.zeros_like(FIRST), **both}, NAMES)
    assert scores == summarise(both, NAMES)
    with pytest.raises(ValueError, match='no labelled pixel to score'):
        summarise({'empty': np.zeros_like(FIRST)}, NAMES)
    with pytest.raises(ValueError, match='no image to score'):
        summarise({}, NAMES)


def test_summarise__equals_mmsegmentations_metric():
    maps = [random_maps(11, seed=seed) for seed in range(3)]
    stock = IoUMetric(iou_metrics=['mIoU'])
    stock.dataset_meta = {'classes': [str(i) for i in range(11)]}
    samples = [
        {
            'gt_sem_seg': {'data': torch.from_numpy(truth)[None]},
            'pred_sem_seg': {'data': torch.from_numpy(guess)[None]},
        }
        for truth, guess in maps
    ]
    stock.process({}, samples)
    areas = [sum(parts).double() for parts in zip(*stock.results, strict=True)]
    intersect, union, _, label = areas
    counts = {str(i): confusion_matrix(*pair, 11) for i, pair in enumerate(maps)}
    ours = summarise(counts, range(11))
    assert ours['IoU'] == pytest.approx((intersect / union).tolist(), rel=1e-12)
    assert ours['Acc'] == pytest.approx((intersect / label).tolist(), rel=1e-12)
    theirs = stock.evaluate(3)
    for name in ('mIoU', 'mAcc', 'aAcc'):
        assert round(100 * ours[name], 2) == pytest.approx(theirs[name], abs=0.0101)


def test_counts__stay_exact_where_float32_does_not():
    # 2 ** 24 + 1 is the first integer that float32 lacks.
    pixels = 2**24
    assert np.float32(pixels) + np.float32(1) == pixels
    truth = np.zeros((4096, 4096), np.uint8)
    large = confusion_matrix(truth, truth, 2)
    scores = summarise({'a': large, 'b': np.array([[1, 0], [0, 0]])}, NAMES[:2])
    assert scores['confusion'] == [[pixels + 1, 0], [0, 0]]


def noisy(count, seed=0):
    rng = np.random.default_rng(seed)
    return np.stack(
        [
            confusion_matrix(truth, np.where(rng.random() < 0.5, guess, truth % 3), 3)
            for truth, guess in (random_maps(3, (6, 6), seed=i) for i in range(count))
        ]
    )


def test_bootstrap__is_reproducible_and_contains_the_estimate():
    confusions = noisy(40)
    found = bootstrap(confusions)
    assert found == bootstrap(confusions)
    assert found != bootstrap(confusions, seed=1)
    readings = {
        'dataset': mean_iou(confusions.sum(0)),
        'image': mean_iou(confusions).mean(),
    }
    for name, value in readings.items():
        low, high = found[name]
        assert low < value < high


def test_bootstrap__interval_is_that_of_drawing_images_one_by_one():
    confusions = noisy(12)
    rng = np.random.default_rng(5)
    draws = [confusions[rng.integers(0, 12, 12)] for _ in range(4000)]
    slow = {
        'dataset': [mean_iou(drawn.sum(0)) for drawn in draws],
        'image': [mean_iou(drawn).mean() for drawn in draws],
    }
    fast = bootstrap(confusions, rounds=4000)
    for name, values in slow.items():
        wanted = np.quantile(values, [0.025, 0.975])
        assert fast[name] == pytest.approx(wanted, abs=0.05 * np.ptp(wanted))


def test_bootstrap__shrinks_with_the_root_of_the_number_of_images():
    few, many = bootstrap(noisy(30)), bootstrap(np.tile(noisy(30), (16, 1, 1)))
    for name in ('dataset', 'image'):
        ratio = np.ptp(few[name]) / np.ptp(many[name])
        assert ratio == pytest.approx(4, rel=0.15)


def test_bootstrap__has_no_width_where_images_agree():
    for low, high in bootstrap(np.stack([FIRST] * 5)).values():
        assert math.isclose(low, 5 / 8)
        assert math.isclose(high, 5 / 8)


def test_score_table__shows_each_class_and_both_readings():
    lines = score_table(summarise({'a': 1000 * FIRST}, NAMES)).splitlines()
    assert [line.split() for line in lines[:4]] == [
        ['class', 'IoU', 'Acc', 'pixels'],
        ['Background', '0.750', '0.750', '4,000'],
        ['Paper', '0.500', '1.000', '1,000'],
        ['Metal', '-', '-', '0'],
    ]
    interval = 'mIoU 0.6250  95 % [0.6250, 0.6250]'
    assert lines[4:] == [
        f'{interval}  (pooled, 1 images)',
        f'{interval}  (mean over images, 1 images)',
    ]


@pytest.mark.parametrize('classes', [3, 15, 16])
@pytest.mark.parametrize('size', [(1, 1), (7, 13)])
def test_confusion_matrix__few_classes_are_counted_as_many(classes, size):
    truth, guess = random_maps(classes, size)
    wide = confusion_matrix(truth, guess, 40)
    assert confusion_matrix(truth, guess, classes).tolist() == (
        wide[:classes, :classes].tolist()
    )


@pytest.mark.parametrize('wrong', [3, 14, 15, 16, 32, 240, 254])
def test_confusion_matrix__any_id_outside_a_small_table_is_named(wrong):
    inside, outside = ids([0, 2, 255]), ids([0, 2, wrong])
    with pytest.raises(ValueError, match=f'label holds class id {wrong},'):
        confusion_matrix(outside, ids([0, 1, 2]), 3)
    with pytest.raises(ValueError, match=f'prediction holds class id {wrong},'):
        confusion_matrix(ids([0, 1, 2]), outside, 3)
    # Under a label that is ignored, nothing is asked of a prediction.
    assert confusion_matrix(inside, outside, 3).trace() == 2
