"""Votes against slow and foreign versions of the same rule."""

from functools import partial

import numpy as np
import pytest
import SimpleITK as sitk
from scipy import stats

from utils.voting import (
    MAX_TABLE,
    agreed_confidence,
    hard_vote,
    soft_vote,
    tabulate,
    weighted_vote,
)


def draw(models: int, classes: int, seed: int = 0) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    maps = rng.integers(0, classes, (models, 9, 7), np.uint8)
    confidence = rng.integers(0, 256, maps.shape, np.uint8)
    # Coarse values, so that accuracies are equal now and then.
    accuracy = rng.integers(0, 4, (models, classes)) / 4
    return maps, confidence, accuracy


def by_loop(maps, weights, accuracy):
    """The rule as its sentences say it, one pixel at a time."""
    labels = np.zeros(maps.shape[1:], np.uint8)
    tied = np.zeros(labels.shape, bool)
    for at in np.ndindex(labels.shape):
        votes = [int(m[at]) for m in maps]
        sums = dict.fromkeys(votes, 0.0)
        for model, c in enumerate(votes):
            sums[c] += weights[(model, *at)]
        best = [c for c in sums if abs(sums[c] - max(sums.values())) < 1e-6]
        tied[at] = len(best) > 1
        highest = {
            c: max(accuracy[k, c] for k, v in enumerate(votes) if v == c) for c in best
        }
        left = [c for c in best if highest[c] == max(highest.values())]
        for model, c in enumerate(votes):
            if c in left and accuracy[model, c] == highest[c]:
                labels[at] = c
                break
    return labels, tied


@pytest.mark.parametrize('models', [1, 2, 3, 4, 6])
def test_hard_vote__equals_a_loop_over_pixels(models):
    maps, _, accuracy = draw(models, classes=3, seed=models)
    labels, tied = by_loop(maps, np.ones(maps.shape), accuracy)
    vote = hard_vote(maps, accuracy)
    np.testing.assert_array_equal(vote.label_map, labels)
    np.testing.assert_array_equal(vote.tied, tied)


@pytest.mark.parametrize('models', [2, 3, 5])
def test_soft_vote__equals_a_loop_over_pixels(models):
    maps, confidence, accuracy = draw(models, classes=3, seed=models)
    confidence //= 64  # few levels: ties happen
    labels, tied = by_loop(maps, confidence, accuracy)
    vote = soft_vote(maps, confidence, accuracy)
    np.testing.assert_array_equal(vote.label_map, labels)
    np.testing.assert_array_equal(vote.tied, tied)
    assert tied.any()


@pytest.mark.parametrize('models', [2, 3, 5])
def test_weighted_vote__equals_a_loop_over_pixels(models):
    maps, _, accuracy = draw(models, classes=3, seed=models)
    weights = np.stack([accuracy[k][maps[k]] for k in range(models)])
    labels, tied = by_loop(maps, weights, accuracy)
    vote = weighted_vote(maps, accuracy)
    np.testing.assert_array_equal(vote.label_map, labels)
    np.testing.assert_array_equal(vote.tied, tied)
    assert tied.any()


def test_hard_vote__equals_scipy_where_nothing_is_tied():
    maps, _, _ = draw(5, classes=4)
    vote = hard_vote(maps)
    mode = stats.mode(maps, axis=0).mode
    assert (~vote.tied).sum() > 20
    np.testing.assert_array_equal(vote.label_map[~vote.tied], mode[~vote.tied])


def test_hard_vote__equals_simpleitk_with_its_undecided_pixels():
    maps, _, _ = draw(5, classes=4)
    voting = sitk.LabelVotingImageFilter()
    voting.SetLabelForUndecidedPixels(255)
    found = sitk.GetArrayFromImage(
        voting.Execute([sitk.GetImageFromArray(m) for m in maps])
    )
    vote = hard_vote(maps)
    np.testing.assert_array_equal(np.where(vote.tied, 255, vote.label_map), found)


def test_hard_vote__tie_goes_to_the_class_with_higher_accuracy():
    maps = np.array([[[0, 1]], [[1, 0]]], np.uint8)
    accuracy = np.array([[0.9, 0.2], [0.8, 0.3]])
    vote = hard_vote(maps, accuracy)
    # Left: .9 (model 0, class 0) over .3. Right: .8 (model 1, class 0) over .2.
    assert vote.label_map.tolist() == [[0, 0]]
    assert vote.tied.all()


def test_hard_vote__tied_class_has_the_highest_accuracy_of_its_voters():
    maps = np.array([[[0]], [[0]], [[1]], [[1]]], np.uint8)
    accuracy = np.array([[0.1, 0], [0.9, 0], [0, 0.8], [0, 0.8]])
    assert hard_vote(maps, accuracy).label_map.tolist() == [[0]]


def test_hard_vote__equal_accuracy_goes_to_the_first_model():
    maps = np.array([[[1]], [[0]]], np.uint8)
    assert hard_vote(maps, np.full((2, 2), 0.5)).label_map.tolist() == [[1]]
    assert hard_vote(maps).label_map.tolist() == [[1]]


def test_hard_vote__majority_beats_any_accuracy():
    maps = np.array([[[1]], [[0]], [[0]]], np.uint8)
    accuracy = np.array([[0, 1.0], [0, 0], [0, 0]])
    vote = hard_vote(maps, accuracy)
    assert vote.label_map.tolist() == [[0]]
    assert not vote.tied.any()


def test_hard_vote__unknown_accuracy_counts_as_zero():
    maps = np.array([[[0]], [[1]]], np.uint8)
    accuracy = np.array([[np.nan, 0.5], [0.5, 0.1]])
    assert hard_vote(maps, accuracy).label_map.tolist() == [[1]]


def test_weighted_vote__equal_sums_in_another_order_are_tied():
    # 0.1 + 0.2 and 0.3 differ in the last bit of a float.
    maps = np.array([[[0]], [[0]], [[1]]], np.uint8)
    accuracy = np.array([[0.1, 0], [0.2, 0], [0, 0.3]])
    vote = weighted_vote(maps, accuracy)
    assert vote.tied.all()
    assert vote.label_map.tolist() == [[1]]


@pytest.mark.parametrize('vote', [hard_vote, weighted_vote])
def test_tabulate__changes_nothing(vote):
    maps, _, accuracy = draw(3, classes=11)
    rule = partial(vote, accuracy=accuracy)
    table = tabulate(rule, models=3, num_classes=11)
    assert table is not rule
    for found, wanted in zip(table(maps), rule(maps), strict=True):
        assert found.dtype == wanted.dtype
        np.testing.assert_array_equal(found, wanted)


def test_tabulate__large_table_is_left_out():
    assert MAX_TABLE < 11**6
    assert tabulate(hard_vote, models=6, num_classes=11) is hard_vote


def test_agreed_confidence__is_mean_of_voters_times_share():
    maps, confidence, _ = draw(4, classes=3)
    outcome = hard_vote(maps).label_map
    agree = maps == outcome
    mean = (confidence * agree).sum(0) / agree.sum(0)
    found = agreed_confidence(maps, confidence, outcome)
    assert np.abs(found - mean * agree.mean(0)).max() <= 0.5
    assert found.dtype == np.uint8


def test_agreed_confidence__all_sure_stays_255():
    maps = np.zeros((3, 1, 1), np.uint8)
    sure = np.full_like(maps, 255)
    assert agreed_confidence(maps, sure, maps[0]).tolist() == [[255]]


def test_votes__refuse_what_is_no_label_map():
    maps, confidence, accuracy = draw(2, classes=3)
    with pytest.raises(ValueError, match=r'uint8 of shape \(models, H, W\), got int64'):
        hard_vote(maps.astype(np.int64))
    with pytest.raises(ValueError, match=r'\(2 models, classes\), got \(1, 3\)'):
        hard_vote(maps, accuracy[:1])
    with pytest.raises(ValueError, match='class id 2, but accuracy has only 2 classes'):
        weighted_vote(maps, accuracy[:, :2])
    with pytest.raises(ValueError, match='confidence must be uint8 of shape'):
        soft_vote(maps, confidence[:1])
