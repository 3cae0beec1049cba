"""The class table, written a second time, and colours for tables of any length."""

import numpy as np
import pytest

from mmsegmentation.classes import CLASSES, PALETTE, palette_of

# The competition's own table: id, name, red, green, blue.
OFFICIAL = """
0 Background 0 0 0
1 General trash 192 0 128
2 Paper 0 128 192
3 Paper pack 0 128 64
4 Metal 128 0 0
5 Glass 64 0 128
6 Plastic 64 0 192
7 Styrofoam 192 128 64
8 Plastic bag 192 192 128
9 Battery 64 64 128
10 Clothing 128 0 192
"""


def test_table__is_the_official_one():
    lines = OFFICIAL.strip().splitlines()
    ours = [
        f'{number} {name} {" ".join(map(str, colour))}'
        for number, (name, colour) in enumerate(zip(CLASSES, PALETTE, strict=True))
    ]
    assert ours == lines


def test_palette_of__begins_with_the_recycling_colours():
    assert palette_of(11) == PALETTE
    assert palette_of(12)[:11] == PALETTE
    assert [len(palette_of(count)) for count in (1, 10, 12, 255)] == [1, 10, 12, 255]


def test_palette_of__colours_are_distinct_and_none_is_the_white_of_255():
    colours = palette_of(255)
    assert len({*colours, (255, 255, 255)}) == 256
    assert np.array(colours).min() >= 0
    assert np.array(colours).max() <= 255


@pytest.mark.parametrize(('num_classes', 'least'), [(60, 30), (255, 20)])
def test_palette_of__colours_can_be_told_apart(num_classes, least):
    """Two of the first thirty were 6 apart; those of recycling are 30 and more."""
    colours = np.array([*palette_of(num_classes), (255, 255, 255)])
    steps = (colours[:, None] - colours[None]) ** 2 @ np.array([2, 4, 3]) / 9
    np.fill_diagonal(steps, np.inf)
    assert np.sqrt(steps.min()) > least
    # None but the background's is nearly black.
    assert np.sqrt(steps[0, 1:].min()) > 45
