"""The vote of probabilities, against all of them at once at full size."""

import numpy as np
import pytest

from utils.votes.soft import SoftRule, cells_of


def draw(*sizes, classes=4, stride=4, seed=0):
    rng = np.random.default_rng(seed)
    grids = [tuple(-(-side // stride) for side in size) for size in sizes]
    return [rng.integers(0, 256, (classes, *grid), np.uint8) for grid in grids]


def at_full_size(probs, sizes, weights):
    """Every pixel of every class of every model, then the sum and its maximum."""
    height, width = sizes[0]
    total = 0
    for own, size, row in zip(probs, sizes, weights, strict=True):
        full = own.astype(np.float64)
        for axis, out in ((1, height), (2, width)):
            length, cells = size[axis - 1], own.shape[axis]
            places = (np.arange(out) + 0.5) * length / out / 4 - 0.5
            places = np.round(places.clip(0, cells - 1) * 1024) / 1024
            first = np.floor(places).astype(int)
            share = (places - first).reshape(-1, *[1] * (2 - axis))
            after = full.take(np.minimum(first + 1, cells - 1), axis)
            full = full.take(first, axis) * (1 - share) + after * share
        total = total + full * np.asarray(row, float)[:, None, None]
    best = np.sort(total, axis=0)
    share = best[-1] / total.sum(0)
    return total.argmax(0), best[-1] == best[-2], np.floor(255 * share + 0.5)


@pytest.mark.parametrize('size', [(16, 24), (13, 7), (1, 1), (3, 30)])
@pytest.mark.parametrize('models', [1, 2, 3])
def test_soft__equals_all_at_full_size(size, models):
    sizes = [size] * models
    probs = draw(*sizes, seed=models)
    ones = np.ones((models, 4))
    vote = SoftRule(ones)(probs, sizes)
    labels, tied, sure = at_full_size(probs, sizes, ones)
    np.testing.assert_array_equal(vote.label_map, labels)
    np.testing.assert_array_equal(vote.tied, tied)
    np.testing.assert_array_equal(vote.confidence, sure)
    assert vote.label_map.dtype == vote.confidence.dtype == np.uint8


def test_soft__brings_other_sizes_to_that_of_the_first():
    sizes = [(16, 20), (24, 30), (16, 20), (5, 6)]
    probs = draw(*sizes)
    weights = np.array([[2, 1, 0, 3], [1, 1, 1, 1], [0, 2, 1, 1], [4, 1, 1, 2]])
    vote = SoftRule(weights)(probs, sizes)
    labels, _, sure = at_full_size(probs, sizes, weights)
    assert vote.label_map.shape == (16, 20)
    np.testing.assert_array_equal(vote.label_map, labels)
    np.testing.assert_array_equal(vote.confidence, sure)


def test_soft__equal_sums_go_to_the_lower_id_and_are_ties():
    one = np.array([[[100]], [[155]], [[0]]], np.uint8)
    two = np.array([[[155]], [[100]], [[0]]], np.uint8)
    vote = SoftRule(np.ones((2, 3)))([one, two], [(2, 2)] * 2)
    assert vote.label_map.tolist() == [[0, 0], [0, 0]]
    assert vote.tied.all()
    assert vote.confidence.tolist() == [[128, 128], [128, 128]]


def test_soft__without_any_probability_is_background_of_no_confidence():
    none = np.zeros((3, 1, 1), np.uint8)
    vote = SoftRule(np.ones((1, 3)))([none], [(1, 2)])
    assert (vote.label_map.tolist(), vote.confidence.tolist()) == ([[0, 0]], [[0, 0]])


def test_cells__refuse_blocks_of_no_size():
    with pytest.raises(ValueError, match='7 blocks of one size do not make 16 pixels'):
        cells_of(16, 7, 16)
    with pytest.raises(ValueError, match='0 blocks'):
        cells_of(16, 0, 16)
    assert cells_of(13, 4, 13).first.max() == 2
