"""Class ids to the text of a ``PredictionString``, and back.

A test part is 54 million ids: they are turned by whole rows, for the usual ``' '.join``
and ``split()`` take many seconds. Nearly all ids have one digit, so that an id and its
space are one 16-bit number. Ids from 10 to 13 are written so too, with a stand-in.
"""

import re

import numpy as np

# The digit 0 and a space, the digit first in memory.
_PAIR = np.uint16(ord('0') + (ord(' ') << 8))
_STAND_INS = {i: bytes([ord('0') + i]) for i in range(10, 14)}
_LIMIT = 14
_FLOAT = re.compile(rb'-?\d+\.\d*')
# Each id and its space in four bytes, filled up with zero bytes.
_TOKENS = np.array([f'{i} '.encode() for i in range(256)], 'S4').view(np.uint32)


def format_ids(label_map: np.ndarray) -> bytes:
    """Return class ids, uint8, row by row with one space between.

    >>> format_ids(np.array([[0, 10], [2, 200]], dtype=np.uint8))
    b'0 10 2 200'
    """
    ids = label_map.ravel()
    largest = int(ids.max(initial=0))
    if largest >= _LIMIT:
        return _TOKENS[ids].tobytes().translate(None, b'\0')[:-1]
    text = (ids + _PAIR).astype('<u2', copy=False).tobytes()
    for number in range(10, largest + 1):
        text = text.replace(_STAND_INS[number], b'%d' % number)
    return text[:-1]


def parse_ids(text: bytes, count: int, num_classes: int) -> np.ndarray:
    """Return the class ids of a ``PredictionString``, (count,) uint8.

    Raises:
        ValueError: Anything but ``count`` ids of the class table, one space between.

    >>> parse_ids(b'0 10 2', 3, 11)
    array([ 0, 10,  2], dtype=uint8)
    """
    check_length(text, len(text), count)
    ids = _parse_short(text, count, num_classes)
    return _parse_any(text, count, num_classes) if ids is None else ids


def check_length(beginning: bytes, length: int, count: int) -> None:
    """Refuse a text that is too long for ``count`` class ids.

    Args:
        beginning: The text, or the part of it that was read.
        length: Number of characters of the whole text.
        count: Number of class ids that the text should hold.

    Raises:
        ValueError: The text is too long.
    """
    if length > 4 * count:
        _refuse_floats(beginning)
        raise ValueError(f'PredictionString has {length} characters, too many')


def _refuse_floats(text: bytes) -> None:
    if found := _FLOAT.search(text):
        raise ValueError(
            f'PredictionString holds the float {found[0].decode()}, but class ids are '
            'whole numbers'
        )


def _parse_short(text: bytes, count: int, num_classes: int) -> np.ndarray | None:
    """Return ids if none has more than two digits; None for all that is not right."""
    data = np.frombuffer(text + b' ', np.uint8)
    if len(data) == 2 * count:
        return _parse_pairs(data, min(num_classes, 10))
    digits = data - np.uint8(ord('0'))  # wraps: all but digits end above 9
    is_digit = digits < 10
    if not (is_digit | (data == ord(' '))).all():
        return None
    tens = np.flatnonzero(is_digit[:-1] & is_digit[1:])
    if len(data) - len(tens) != 2 * count or (np.diff(tens) == 1).any():
        return None
    # The ten is put into the character after it, and left out.
    whole, keep = data.copy(), np.ones(len(data), bool)
    whole[tens + 1] += 10 * digits[tens]
    keep[tens] = False
    return _parse_pairs(whole[keep], min(num_classes, 100))


def _parse_pairs(data: np.ndarray, limit: int) -> np.ndarray | None:
    # All but an id and a space ends above the limit.
    ids = data.view('<u2') - _PAIR
    return ids.astype(np.uint8) if ids.max() < limit else None


def _parse_any(text: bytes, count: int, num_classes: int) -> np.ndarray:
    data = np.frombuffer(text, np.uint8)
    digits = data - np.uint8(ord('0'))  # wraps: all but digits end above 9
    spaces = data == ord(' ')
    if (other := data[(digits > 9) & ~spaces]).size:
        _refuse_floats(text)
        raise ValueError(
            f'PredictionString holds {bytes(other[:1])!r}, neither digit nor space'
        )
    ends = np.append(np.flatnonzero(spaces), len(data))
    lengths = np.diff(ends, prepend=-1) - 1
    if lengths.min() < 1:
        raise ValueError('PredictionString has a space too many, or is empty')
    if lengths.max() > 3:
        raise ValueError('PredictionString has a number of more than 3 digits')
    if len(ends) != count:
        raise ValueError(f'PredictionString has {len(ends)} ids, not {count}')
    ids = digits[ends - 1].astype(np.uint16)
    for place, unit in ((2, 10), (3, 100)):
        longer = lengths >= place
        ids[longer] += digits[ends[longer] - place] * np.uint16(unit)
    if ids.max() >= num_classes:
        raise ValueError(
            f'PredictionString holds class id {ids.max()}, but there are only '
            f'{num_classes} classes'
        )
    return ids.astype(np.uint8)
