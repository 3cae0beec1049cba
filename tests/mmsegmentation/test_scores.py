"""Scores against counts by hand, a second method, and MMSegmentation's own metric."""

import numpy as np
import pytest
import torch
from mmseg.evaluation import IoUMetric

from mmsegmentation.intervals import estimate_mean
from mmsegmentation.scores import (
    accuracy_of,
    areas_of,
    confusion_matrix,
    confusion_with_outside,
    image_ratios,
    iou_of,
    mean_iou,
    pooled_ratios,
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


def test_summarise__intervals_are_of_both_readings():
    scores = summarise({'a': FIRST, 'b': SECOND, 'c': SECOND}, NAMES)
    areas = areas_of(np.stack([FIRST, SECOND, SECOND]))
    for key, ratios in (('mIoU', pooled_ratios), ('mIoU_image', image_ratios)):
        estimate = estimate_mean(ratios(areas))
        assert scores[key] == estimate.value
        assert scores[f'{key}_interval'] == estimate.interval
        low, high = estimate.interval
        assert 0 < low < scores[key] < high < 1


def test_summarise__interval_holds_the_score_of_a_long_tail():
    """Images drawn with replacement lose rare classes, and leave out the score."""
    # Background is found in every image. Each of 20 other classes is in two images,
    # and found in neither.
    confusions = {}
    for number in range(40):
        counts = np.zeros((21, 21), int)
        counts[0, 0] = 90 + number % 3
        counts[1 + number // 2, 0] = 10
        confusions[str(number)] = counts
    scores = summarise(confusions, [str(i) for i in range(21)])
    low, high = scores['mIoU_interval']
    assert low <= scores['mIoU'] <= high
    turned = summarise(dict(reversed(confusions.items())), scores['classes'])
    assert turned == scores


def test_score_table__shows_each_class_and_both_readings():
    lines = score_table(summarise({'a': 1000 * FIRST}, NAMES)).splitlines()
    assert [line.split() for line in lines[:4]] == [
        ['class', 'IoU', 'Acc', 'pixels'],
        ['Background', '0.750', '0.750', '4,000'],
        ['Paper', '0.500', '1.000', '1,000'],
        ['Metal', '-', '-', '0'],
    ]
    # One image says nothing about others.
    interval = 'mIoU 0.6250  95 % [0.0000, 1.0000]'
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


@pytest.mark.parametrize('dtype', [np.uint8, np.int16, np.int64])
def test_confusion__ids_outside_the_table_are_counted_where_asked(dtype):
    truth = np.array([[0, 0, 1, 7, 7, 255]], dtype)
    guess = np.array([[0, 9, 1, 1, 9, 9]], dtype)
    found = confusion_with_outside(truth, guess, 2)
    assert found.tolist() == [[1, 0, 1], [0, 1, 0], [0, 1, 1]]
    with pytest.raises(ValueError, match=r'label holds class id 7, .* only 2 classes'):
        confusion_matrix(truth, guess, 2)


@pytest.mark.parametrize('count', [255, 256, 257, 300])
def test_confusion__more_classes_than_bytes_hold_are_exact(count):
    rng = np.random.default_rng(0)
    truth, guess = rng.integers(0, count, (2, 60, 80))
    truth[0] = guess[1] = count - 1
    wanted = np.zeros((count, count), int)
    np.add.at(wanted, (truth, guess), 1)
    if count > 255:
        # 255 is a class here.
        found = confusion_matrix(truth, guess, count, ignore_index=-1)
    else:
        found = confusion_matrix(truth, guess, count)
    assert found.tolist() == wanted.tolist()


def test_confusion__of_more_classes_than_an_image_shows_of_them():
    # All its ids fit into bytes, and those of the table do not.
    truth, guess = np.array([[0, 1, 255]]), np.array([[0, 254, 0]])
    found = confusion_matrix(truth, guess, 300)
    assert found.shape == (300, 300)
    assert np.argwhere(found).tolist() == [[0, 0], [1, 254]]


@pytest.mark.parametrize('wrong', [-1, 256, 300])
def test_confusion__ids_that_bytes_would_turn_are_refused(wrong):
    truth, guess = np.array([[0, 1]]), np.array([[0, wrong]])
    with pytest.raises(ValueError, match=f'prediction holds class id {wrong},'):
        confusion_matrix(truth, guess, 2)
    with pytest.raises(ValueError, match=f'label holds class id {wrong},'):
        confusion_matrix(guess, truth, 2)


def test_summary__ids_outside_the_table_are_errors_without_a_score():
    # Two pixels of class 0, one of them predicted as no class; one of no class.
    counts = np.array([[1, 0, 1], [0, 1, 0], [0, 1, 0]])
    found = summarise({'a.jpg': counts}, ('a', 'b'))
    assert found['IoU'] == [1 / 2, 1 / 2]
    assert found['Acc'] == [1 / 2, 1]
    assert found['aAcc'] == 2 / 3
    assert found['confusion'] == [[1, 0], [0, 1]]
    assert found['mIoU_interval'] is not None
