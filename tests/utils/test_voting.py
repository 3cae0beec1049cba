"""Votes against slow and foreign versions of the same rule."""

from fractions import Fraction

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from utils.votes.kernel import BLOCK
from utils.voting import MEASURED, TIES, VoteRule, whole_weights


def draw(models: int, classes: int, size=(9, 7), seed: int = 0) -> tuple:
    rng = np.random.default_rng(seed)
    maps = rng.integers(0, classes, (models, *size), np.uint8)
    confidence = rng.integers(0, 4, maps.shape, np.uint8) * np.uint8(85)
    # Coarse values, so that they are equal now and then.
    values = rng.integers(0, 4, (models, classes)) / 4
    return maps, confidence, values


def by_loop(maps, weights, ties='order', values=None, confidence=None, by_sure=False):
    """The rule as its sentences say it, one pixel at a time, in exact numbers."""
    labels = np.zeros(maps.shape[1:], np.uint8)
    tied = np.zeros(labels.shape, bool)
    for at in np.ndindex(labels.shape):
        votes = [int(m[at]) for m in maps]
        sums = dict.fromkeys(votes, Fraction(0))
        for model, c in enumerate(votes):
            sure = int(confidence[model][at]) if by_sure else 1
            sums[c] += Fraction(str(weights[model, c])) * sure
        best = [c for c in sums if sums[c] == max(sums.values())]
        tied[at] = len(best) > 1
        keys = []
        for model, c in enumerate(votes):
            key = 0.0 if values is None else values[model, c]
            if ties == 'confidence':
                key = confidence[model][at]
            # The last part: of equals, the earliest model.
            keys.append((c in best, 0 if ties == 'order' else key, -model))
        labels[at] = votes[keys.index(max(keys))]
    return labels, tied


def same(vote, expected):
    np.testing.assert_array_equal(vote.label_map, expected[0])
    np.testing.assert_array_equal(vote.tied, expected[1])
    assert (vote.label_map.dtype, vote.tied.dtype) == (np.uint8, bool)


@pytest.mark.parametrize('ties', TIES)
@pytest.mark.parametrize('models', range(1, 10))
def test_vote__equals_a_loop_over_pixels(models, ties):
    maps, sure, values = draw(models, classes=4, seed=models)
    ones = np.ones((models, 4))
    vote = VoteRule(ones, ties, values if ties in MEASURED else None)(maps, sure)
    same(vote, by_loop(maps, ones, ties, values, sure))
    assert vote.tied.any() == (models > 1)


@pytest.mark.parametrize('ties', TIES)
@pytest.mark.parametrize('models', [2, 3, 5])
def test_vote__with_weights_equals_a_loop_over_pixels(models, ties):
    maps, sure, values = draw(models, classes=3, seed=models)
    weights = np.random.default_rng(1).integers(0, 4, (models, 3)) / 10
    vote = VoteRule(weights, ties, values)(maps, sure)
    same(vote, by_loop(maps, weights, ties, values, sure))
    assert vote.tied.any()


@pytest.mark.parametrize('ties', TIES)
@pytest.mark.parametrize('weights', [np.ones((4, 3)), np.arange(12).reshape(4, 3) / 7])
def test_vote__by_confidence_equals_a_loop_over_pixels(ties, weights):
    maps, sure, values = draw(4, classes=3)
    weights = weights.round(4)
    vote = VoteRule(weights, ties, values, by_confidence=True)(maps, sure)
    same(vote, by_loop(maps, weights, ties, values, sure, by_sure=True))
    assert vote.tied.any()


@st.composite
def votes(draw):
    models, classes = draw(st.integers(1, 6)), draw(st.integers(2, 5))
    size = draw(st.integers(1, 3)), draw(st.integers(1, 9))
    few = st.integers(0, 3)
    table = (models, classes)
    return {
        'maps': draw(
            arrays(np.uint8, (models, *size), elements=st.integers(0, classes - 1))
        ),
        'confidence': draw(arrays(np.uint8, (models, *size), elements=few)),
        'weights': draw(arrays(np.int64, table, elements=few).filter(np.any)),
        'values': draw(arrays(np.int64, table, elements=few)) / 3,
        'ties': draw(st.sampled_from(TIES)),
        'by_sure': draw(st.booleans()),
    }


@settings(deadline=None, max_examples=200)
@given(votes())
def test_vote__of_anything_equals_a_loop_over_pixels(drawn):
    maps, sure = drawn['maps'], drawn['confidence']
    weights, ties, values = drawn['weights'], drawn['ties'], drawn['values']
    rule = VoteRule(weights, ties, values, by_confidence=drawn['by_sure'])
    same(rule(maps, sure), by_loop(maps, weights, ties, values, sure, drawn['by_sure']))


def test_vote__of_many_classes_and_models():
    maps, _, values = draw(9, classes=255, size=(5, 61))
    maps[:, 0] = 254
    maps[3:, 1] = maps[3, 1]
    weights = np.full((9, 255), 0.3)
    same(VoteRule(weights, 'iou', values)(maps), by_loop(maps, weights, 'iou', values))


def test_vote__of_more_models_than_a_byte_counts():
    maps, _, values = draw(300, classes=2, size=(3, 5))
    ones = np.ones((300, 2))
    same(
        VoteRule(ones, 'accuracy', values)(maps),
        by_loop(maps, ones, 'accuracy', values),
    )


@pytest.mark.parametrize('count', [1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 3])
def test_vote__across_blocks_some_of_which_agree(count):
    maps, _, values = draw(3, classes=5, size=(1, count))
    maps[1:, :, : BLOCK + 1] = maps[0, :, : BLOCK + 1]
    vote = VoteRule(np.ones((3, 5)), 'accuracy', values)(maps)
    assert not vote.tied[:, : BLOCK + 1].any()
    same(vote, by_loop(maps, np.ones((3, 5)), 'accuracy', values))


def test_vote__takes_arrays_however_they_lie_in_memory():
    maps, sure, _ = draw(3, classes=4, size=(8, 6))
    rule = VoteRule(np.ones((3, 4)), 'confidence')
    expected = rule(maps, sure)
    turned = np.asfortranarray(maps), np.asfortranarray(sure)
    sparse = np.repeat(maps, 2, axis=2)[:, :, ::2], sure[:, ::-1][:, ::-1]
    frozen = [list(maps), list(sure)]
    for label_map in frozen[0]:
        label_map.flags.writeable = False
    for given_maps, given_sure in (turned, sparse, frozen):
        same(rule(given_maps, given_sure), expected[:2])


def test_vote__of_no_pixel():
    vote = VoteRule(np.ones((2, 3)))(np.empty((2, 0, 4), np.uint8))
    assert (vote.label_map.shape, vote.tied.shape) == ((0, 4), (0, 4))


def test_vote__equals_scipy_where_nothing_is_tied():
    maps, _, _ = draw(5, classes=4)
    vote = VoteRule(np.ones((5, 4)))(maps)
    mode = stats.mode(maps, axis=0).mode
    assert (~vote.tied).sum() > 20
    np.testing.assert_array_equal(vote.label_map[~vote.tied], mode[~vote.tied])


def test_vote__equals_simpleitk_with_its_undecided_pixels():
    maps, _, _ = draw(5, classes=4)
    voting = sitk.LabelVotingImageFilter()
    voting.SetLabelForUndecidedPixels(255)
    found = sitk.GetArrayFromImage(
        voting.Execute([sitk.GetImageFromArray(m) for m in maps])
    )
    vote = VoteRule(np.ones((5, 4)))(maps)
    np.testing.assert_array_equal(np.where(vote.tied, 255, vote.label_map), found)


def test_tie__goes_to_the_class_with_higher_accuracy():
    maps = np.array([[[0, 1]], [[1, 0]]], np.uint8)
    accuracy = np.array([[0.9, 0.2], [0.8, 0.3]])
    vote = VoteRule(np.ones((2, 2)), 'accuracy', accuracy)(maps)
    # Left: .9 (model 0, class 0) over .3. Right: .8 (model 1, class 0) over .2.
    assert vote.label_map.tolist() == [[0, 0]]
    assert vote.tied.all()


def test_tie__of_a_class_has_the_highest_accuracy_of_its_voters():
    maps = np.array([[[0]], [[0]], [[1]], [[1]]], np.uint8)
    accuracy = np.array([[0.1, 0], [0.9, 0], [0, 0.8], [0, 0.8]])
    vote = VoteRule(np.ones((4, 2)), 'accuracy', accuracy)(maps)
    assert vote.label_map.tolist() == [[0]]


def test_tie__goes_to_the_most_confident_model_and_then_to_the_earliest():
    maps = np.array([[[1, 1]], [[0, 0]]], np.uint8)
    sure = np.array([[[7, 7]], [[9, 7]]], np.uint8)
    vote = VoteRule(np.ones((2, 2)), 'confidence')(maps, sure)
    assert vote.label_map.tolist() == [[0, 1]]


def test_tie__of_equal_accuracy_goes_to_the_first_model():
    maps = np.array([[[1]], [[0]]], np.uint8)
    equal = VoteRule(np.ones((2, 2)), 'accuracy', np.full((2, 2), 0.5))
    assert equal(maps).label_map.tolist() == [[1]]
    assert VoteRule(np.ones((2, 2)))(maps).label_map.tolist() == [[1]]


def test_tie__unknown_accuracy_counts_as_zero():
    maps = np.array([[[0]], [[1]]], np.uint8)
    accuracy = np.array([[np.nan, 0.5], [0.5, 0.1]])
    vote = VoteRule(np.ones((2, 2)), 'accuracy', accuracy)(maps)
    assert vote.label_map.tolist() == [[1]]


def test_vote__majority_beats_any_accuracy():
    maps = np.array([[[1]], [[0]], [[0]]], np.uint8)
    accuracy = np.array([[0, 1.0], [0, 0], [0, 0]])
    vote = VoteRule(np.ones((3, 2)), 'accuracy', accuracy)(maps)
    assert vote.label_map.tolist() == [[0]]
    assert not vote.tied.any()


def test_weights__equal_sums_in_another_order_are_tied():
    # 0.1 + 0.2 and 0.3 differ in the last bit of a float.
    maps = np.array([[[0]], [[0]], [[1]]], np.uint8)
    accuracy = np.array([[0.1, 0], [0.2, 0], [0, 0.3]])
    vote = VoteRule(accuracy, 'accuracy', accuracy)(maps)
    assert vote.tied.all()
    assert vote.label_map.tolist() == [[1]]


def test_weights__of_zero_alone_still_decide_by_ties():
    maps = np.array([[[2]], [[1]]], np.uint8)
    weights = np.array([[1, 0, 0], [1, 0, 0]])
    vote = VoteRule(weights)(maps)
    assert (vote.label_map.tolist(), vote.tied.tolist()) == ([[2]], [[True]])


def test_confidence_of__is_mean_of_voters_times_share():
    maps, confidence, _ = draw(4, classes=3)
    rule = VoteRule(np.ones((4, 3)))
    outcome = rule(maps).label_map
    agree = maps == outcome
    mean = (confidence * agree).sum(0) / agree.sum(0)
    found = rule.confidence_of(maps, confidence, outcome)
    assert np.abs(found - mean * agree.mean(0)).max() <= 0.5
    assert found.dtype == np.uint8


def test_confidence_of__all_sure_stays_255():
    maps = np.zeros((3, 1, 1), np.uint8)
    sure = np.full_like(maps, 255)
    rule = VoteRule(np.ones((3, 1)))
    assert rule.confidence_of(maps, sure, maps[0]).tolist() == [[255]]


def test_confidence_of__counts_weights_of_the_class():
    maps = np.array([[[0]], [[1]], [[0]]], np.uint8)
    sure = np.array([[[200]], [[255]], [[100]]], np.uint8)
    rule = VoteRule(np.array([[3, 1], [2, 9], [1, 1]]))
    # (3 x 200 + 1 x 100) / 6.
    assert rule.confidence_of(maps, sure, maps[0]).tolist() == [[117]]


@pytest.mark.parametrize(
    ('weights', 'message'),
    [
        ([[1], [-0.5]], 'from 0 to'),
        ([[np.inf]], 'from 0 to'),
        ([[1e6]], 'from 0 to'),
        ([[0], [0.00001]], 'all weights are below'),
        ([[np.nan]], 'all weights are below'),
        ([[3001.0001], [3001.0002]], 'add up to too much'),
    ],
)
def test_whole_weights__refuse_what_is_no_weight(weights, message):
    with pytest.raises(ValueError, match=message):
        whole_weights(np.array(weights))


def test_whole_weights__are_the_smallest_of_their_proportions():
    assert whole_weights(np.array([[40.0], [30], [30]])).tolist() == [[4], [3], [3]]
    assert whole_weights(np.full((2, 2), 0.7)).tolist() == [[1, 1], [1, 1]]


def test_rule__refuses_what_is_no_label_map():
    maps, confidence, values = draw(2, classes=3)
    rule = VoteRule(np.ones((2, 3)))
    with pytest.raises(ValueError, match=r'uint8 of shape \(models, H, W\), got int64'):
        rule(maps.astype(np.int64))
    with pytest.raises(ValueError, match='label_maps has 1 models, the weights 2'):
        rule(maps[:1])
    with pytest.raises(ValueError, match='class id 2, but there are only 2 classes'):
        VoteRule(np.ones((2, 2)))(maps)
    with pytest.raises(ValueError, match=r'of shape \(2, 3\), got \(1, 3\)'):
        VoteRule(np.ones((2, 3)), 'iou', values[:1])
    with pytest.raises(ValueError, match='one of accuracy, iou'):
        VoteRule(np.ones((2, 3)), 'chance')
    sure = VoteRule(np.ones((2, 3)), by_confidence=True)
    with pytest.raises(ValueError, match='needs confidence'):
        sure(maps)
    with pytest.raises(ValueError, match='confidence must have the size'):
        sure(maps, confidence[:, :4])
