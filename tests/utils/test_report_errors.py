"""Borders, objects and kinds of errors, against slow and plain references."""

import numpy as np
import pytest
from scipy import ndimage

from utils.error_page.errors import (
    FARTHEST,
    border_distance,
    count_by_distance,
    find_objects,
    judge_objects,
    kinds_of,
    outcome_of,
)
from utils.error_page.measure import error_map


def rows(*lines):
    return np.array([list(map(int, line.split())) for line in lines], np.uint8)


@pytest.fixture
def maps():
    """Return a truth of blots with ignored pixels, and a prediction beside it."""
    rng = np.random.default_rng(3)
    blots = ndimage.gaussian_filter(rng.normal(size=(30, 40)), 2)
    truth = np.digitize(blots, np.quantile(blots, [0.5, 0.7, 0.9])).astype(np.uint8)
    predicted = np.roll(truth, (1, 2), (0, 1))
    truth[:4, :15] = 255
    return truth, predicted


def plain_distance(truth):
    """Return distances by comparing every pixel with every border pixel."""
    height, width = truth.shape
    border = []
    for y in range(height):
        for x in range(width):
            for v, u in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
                if 0 <= v < height and 0 <= u < width:
                    pair = {truth[y, x], truth[v, u]}
                    if len(pair) == 2 and 255 not in pair:
                        border.append((y, x))
    grid = np.stack(np.mgrid[:height, :width], -1).reshape(-1, 1, 2)
    gaps = np.sqrt(((grid - np.array(border)) ** 2).sum(-1)).min(1)
    return gaps.reshape(truth.shape)


def test_border_distance__is_that_of_a_plain_search(maps):
    truth, _ = maps
    np.testing.assert_allclose(border_distance(truth), plain_distance(truth), atol=1e-4)


def test_border_distance__edges_and_ignored_regions_are_no_border():
    assert np.isinf(border_distance(rows('1 1 255', '1 1 255'))).all()
    assert border_distance(rows('1 1 255 2 3')).tolist() == [[3, 2, 1, 0, 0]]


def test_boundary_share__is_that_of_a_plain_count(maps):
    truth, predicted = maps
    known = truth != 255
    wrong = known & (truth != predicted)
    distance = plain_distance(truth)
    counts = count_by_distance(border_distance(truth), wrong)
    assert counts.sum() == wrong.sum() > 0
    for near in (1, 3, 5):
        assert counts[:near].sum() == (wrong & (distance < near)).sum()


def test_count_by_distance__what_is_far_or_without_border_is_last():
    distance = np.array([[0, 0.9, 1, 2.5, FARTHEST, 1e4, np.inf]], np.float32)
    counts = count_by_distance(distance, np.ones((1, 7), bool))
    assert (counts[0], counts[1], counts[2], counts[-1]) == (2, 1, 1, 3)
    assert len(counts) == FARTHEST + 1


def test_objects__are_the_regions_that_scipy_labels(maps):
    truth, predicted = maps
    found = find_objects(truth)
    judged = judge_objects(found, predicted)
    expected = []
    for class_id in (1, 2, 3):
        pieces, count = ndimage.label(truth == class_id, np.ones((3, 3)))
        for number in range(1, count + 1):
            inside = predicted[pieces == number]
            counts = (inside == class_id).sum(), (inside == 0).sum()
            expected.append((class_id, inside.size, *map(int, counts)))
    got = np.column_stack([found.classes, found.areas, judged]).tolist()
    assert sorted(map(tuple, got)) == sorted(expected)
    assert len(expected) > 5


def test_objects__boxes_and_an_image_without_any():
    found = find_objects(rows('0 0 0 0', '0 2 2 255', '0 0 2 0'))
    assert (found.classes.tolist(), found.areas.tolist()) == ([2], [3])
    assert found.boxes.tolist() == [[1, 1, 2, 2]]
    none = find_objects(rows('0 255'))
    assert len(none.areas) == 0
    assert judge_objects(none, rows('1 1')).shape == (0, 2)


def test_outcome__half_is_found_and_background_wins_a_tie():
    areas = np.array([2, 3, 3, 4])
    judged = np.array([[1, 0], [1, 1], [1, 0], [0, 1]])
    assert outcome_of(areas, judged).tolist() == [0, 1, 2, 2]


def test_error_map__agrees_with_the_kinds_of_the_confusion_matrix(maps):
    truth, predicted = maps
    confusion = np.zeros((4, 4), int)
    for true, other in zip(truth.ravel(), predicted.ravel(), strict=True):
        if true != 255:
            confusion[true, other] += 1
    counts = np.bincount(error_map(truth, predicted).ravel(), minlength=256)
    assert counts[1:4].tolist() == kinds_of(confusion).tolist()
    assert counts[255] == (truth == 255).sum()
