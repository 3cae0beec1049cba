"""Class ids as text: equal to join and split, and nothing else is read."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from utils.class_ids import format_ids, parse_ids

# Tables of one digit, with stand-ins, and beyond them.
TABLES = (2, 9, 10, 11, 13, 14, 15, 100, 256)


def joined(ids: np.ndarray) -> bytes:
    return ' '.join(map(str, ids.ravel().tolist())).encode()


def plainly_parsed(text: bytes, count: int, num_classes: int) -> list[int] | None:
    """Return the ids that a PredictionString holds, None where it is not right."""
    tokens = text.split(b' ')
    if len(tokens) != count or not all(0 < len(t) <= 3 for t in tokens):
        return None
    if not all(t.isdigit() for t in tokens):
        return None
    ids = [int(t) for t in tokens]
    return ids if max(ids) < num_classes else None


@pytest.mark.parametrize('num_classes', TABLES)
def test_format_ids__equals_join_and_parse_ids_is_the_way_back(num_classes):
    ids = np.random.default_rng(0).integers(0, num_classes, (40, 30), np.uint8)
    assert format_ids(ids) == joined(ids)
    back = parse_ids(joined(ids), 1200, num_classes)
    np.testing.assert_array_equal(back, ids.ravel())
    assert back.dtype == np.uint8


def test_format_ids__takes_any_strides():
    ids = np.random.default_rng(0).integers(0, 11, (40, 30), np.uint8)
    assert format_ids(ids[::2, ::3].T) == joined(ids[::2, ::3].T)


@given(arrays(np.uint8, st.integers(1, 40)))
def test_format_ids__any_ids_come_back(ids):
    assert format_ids(ids) == joined(ids)
    np.testing.assert_array_equal(parse_ids(joined(ids), len(ids), 256), ids)


@given(
    st.lists(st.sampled_from(list(b'0123456789 :;<=-a\0\xff')), max_size=24).map(bytes),
    st.integers(1, 8),
    st.sampled_from(TABLES),
)
def test_parse_ids__reads_what_is_right_and_nothing_else(text, count, num_classes):
    wanted = plainly_parsed(text, count, num_classes)
    try:
        found = parse_ids(text, count, num_classes).tolist()
    except ValueError:
        found = None
    assert found == wanted


@given(
    st.lists(st.sampled_from([b'0', b'3', b'9', b'10', b'11', b'13', b'14', b'007']))
    .map(b' '.join)
    .filter(bool),
    st.sampled_from(TABLES),
)
def test_parse_ids__reads_ids_of_all_lengths(text, num_classes):
    count = text.count(b' ') + 1
    wanted = plainly_parsed(text, count, num_classes)
    if wanted is None:
        with pytest.raises(ValueError, match='holds class id'):
            parse_ids(text, count, num_classes)
    else:
        assert parse_ids(text, count, num_classes).tolist() == wanted


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        (b'', 'space too many, or is empty'),
        (b'0 1 2', 'has 3 ids, not 4'),
        (b'0 1 2 3 4', 'has 5 ids, not 4'),
        (b'0 1 2 11', 'holds class id 11'),
        (b'0 1 2 999', 'holds class id 999'),
        (b'0 1 2 256', 'holds class id 256'),
        (b'0 1 2 1024', 'number of more than 3 digits'),
        (b'0  1 2 3', 'space too many'),
        (b' 0 1 2 3', 'space too many'),
        (b'0 1 2 3 ', 'space too many'),
        (b'0 1 2 -1', "holds b'-'"),
        (b'0 1 2 1.0', 'holds the float 1.0'),
        (b'0 1 2 :', "holds b':'"),
        (b'0\t1 2 3', r"holds b'\\t'"),
        (b'0 1 2 \xff', r"holds b'\\xff'"),
        (b'0' * 17, 'has 17 characters, too many'),
    ],
)
def test_parse_ids__names_what_is_wrong(text, message):
    with pytest.raises(ValueError, match=message):
        parse_ids(text, 4, 11)


def test_parse_ids__one_digit_beyond_a_small_table_is_named():
    with pytest.raises(ValueError, match='holds class id 7, but there are only 5'):
        parse_ids(b'0 7 2 3', 4, 5)
