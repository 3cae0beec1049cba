"""Confidence against the share of right pixels, against scikit-learn and NumPy."""

import numpy as np
import pytest

from utils.error_page.calibration import BINS, count_confidence, reliability


@pytest.fixture
def pixels():
    """Return truth, prediction and confidence of a model that is too sure."""
    rng = np.random.default_rng(5)
    # Below 10, and not a multiple of 17: those lie on an edge of a bin.
    sure = rng.choice([v for v in range(10, 255) if v % 17], (90, 70)).astype(np.uint8)
    predicted = rng.integers(0, 3, sure.shape, np.uint8)
    right = rng.random(sure.shape) < (sure / 255) ** 2
    truth = np.where(right, predicted, (predicted + 1) % 3).astype(np.uint8)
    truth[:9] = 255
    return truth, predicted, sure


def test_reliability__is_that_of_scikit_learn(pixels):
    calibration = pytest.importorskip('sklearn.calibration')
    truth, predicted, sure = pixels
    known = truth != 255
    right = (truth == predicted)[known]
    share, mean = calibration.calibration_curve(right, (sure / 255)[known], n_bins=BINS)
    curve = reliability(count_confidence(truth, predicted, sure, 3).sum(1))
    assert len(share) == BINS
    np.testing.assert_allclose(curve['accuracy'], share)
    np.testing.assert_allclose(curve['confidence'], mean)
    assert sum(curve['pixels']) == known.sum()


def test_ece__is_the_mean_gap_over_pixels(pixels):
    truth, predicted, sure = pixels
    known = truth != 255
    right, confidence = (truth == predicted)[known], (sure / 255)[known]
    ece = 0.0
    for low in np.arange(10) / 10:
        inside = (confidence > low) & (confidence <= low + 0.1)
        if inside.any():
            gap = abs(right[inside].mean() - confidence[inside].mean())
            ece += inside.mean() * gap
    curve = reliability(count_confidence(truth, predicted, sure, 3).sum(1), bins=10)
    assert curve['ece'] == pytest.approx(ece)
    assert curve['mean_confidence'] == pytest.approx(confidence.mean())
    assert ece > 0.1


def test_reliability__a_value_on_an_edge_is_in_the_bin_below():
    counts = np.zeros((2, 256), int)
    counts[0, [0, 17, 18, 255]] = 1, 2, 4, 8
    expected = [0] * BINS
    expected[0], expected[1], expected[-1] = 3, 4, 8
    assert reliability(counts)['pixels'] == expected


def test_reliability__of_nothing_is_unknown():
    curve = reliability(np.zeros((2, 256), int))
    assert (curve['ece'], curve['mean_confidence']) == (None, None)
    assert curve['accuracy'] == [None] * BINS


def test_count__by_predicted_class_without_ignored_pixels():
    truth = np.array([[0, 1, 1, 255]], np.uint8)
    predicted = np.array([[0, 0, 1, 1]], np.uint8)
    sure = np.array([[9, 9, 200, 7]], np.uint8)
    counts = count_confidence(truth, predicted, sure, 2)
    assert counts[:, 0, 9].tolist() == [2, 1]
    assert counts[:, 1, 200].tolist() == [1, 1]
    assert counts.sum((1, 2)).tolist() == [3, 2]
    unlabelled = count_confidence(None, predicted, sure, 2)
    assert unlabelled.sum((1, 2)).tolist() == [4, 0]


def test_count__sizes_must_be_equal():
    one, two = np.zeros((2, 3), np.uint8), np.zeros((3, 2), np.uint8)
    with pytest.raises(ValueError, match=r'prediction \(2, 3\), confidence \(3, 2\)'):
        count_confidence(None, one, two, 2)


def test_count__both_ways_of_counting_agree(pixels, monkeypatch):
    truth, predicted, sure = pixels
    quick = count_confidence(truth, predicted, sure, 3)
    monkeypatch.setattr('cv2.calcHist', None)  # would fail if it were called
    tall = (np.zeros((1 << 12, 1 << 12), np.uint8) for _ in range(3))
    large = [
        np.pad(a, ((0, b.shape[0] - a.shape[0]), (0, b.shape[1] - a.shape[1])))
        for a, b in zip(pixels, tall, strict=True)
    ]
    slow = count_confidence(*large, 3)
    slow[:, 0, 0] = quick[:, 0, 0]
    np.testing.assert_array_equal(slow, quick)
