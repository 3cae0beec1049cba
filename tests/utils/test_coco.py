"""What a COCO JSON may hold: names in any script, and run lengths that are whole."""

from time import process_time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from pycocotools import mask as coco

from utils.coco import _compressed_problem, _numbers, _runs

# pycocotools' own arrays do not know NumPy 2's copy keyword.
pytestmark = pytest.mark.filterwarnings(
    'ignore:__array__ implementation:DeprecationWarning'
)
masks = arrays(
    np.uint8, array_shapes(min_dims=2, max_dims=2), elements=st.integers(0, 1)
)


def counts_of(mask: np.ndarray) -> str:
    return coco.encode(np.asfortranarray(mask))['counts'].decode()


def runs_of(mask: np.ndarray) -> list[int]:
    flat = mask.ravel(order='F').astype(int)
    changes = np.flatnonzero(np.diff(flat, prepend=0))
    return np.diff(changes, prepend=0, append=flat.size).tolist()


@given(masks)
def test_runs__are_those_of_the_mask(mask):
    assert _runs(counts_of(mask)) == runs_of(mask)
    assert _compressed_problem(counts_of(mask), list(mask.shape)) is None


@given(masks, st.data())
def test_compressed_problem__broken_text_is_never_of_another_mask(mask, data):
    """Characters changed, cut out or put in: refused, or as many pixels again."""
    text = counts_of(mask)
    place = data.draw(st.integers(0, len(text)))
    more = data.draw(st.text(st.characters(min_codepoint=46, max_codepoint=113)))
    length = data.draw(st.integers(0, 3))
    text = text[:place] + more + text[place + length :]
    if _compressed_problem(text, list(mask.shape)) is None:
        rle = {'size': list(mask.shape), 'counts': text.encode('ascii')}
        assert coco.decode(rle).shape == mask.shape


@given(st.text())
def test_compressed_problem__any_text_is_refused_or_covers_the_image(text):
    if _compressed_problem(text, [3, 4]) is None:
        assert sum(_runs(text) or ()) == 12


@pytest.mark.parametrize(('length', 'found'), [(7, [12]), (8, None), (1000, None)])
def test_runs__number_of_more_than_seven_characters_is_refused(length, found):
    """Zeros keep its value, but pycocotools would shift beyond its integers."""
    text = chr(48 + 12 + 32) + chr(48 + 32) * (length - 2) + chr(48)
    assert _runs(text) == found


def test_runs__text_that_never_ends_a_number_takes_no_time():
    before = process_time()
    assert _runs(chr(48 + 63) * 1_000_000) is None
    assert process_time() - before < 1


json_values = st.one_of(
    st.integers(),
    st.floats(),
    st.booleans(),
    st.none(),
    st.text(max_size=2),
    st.just(10**400),
)


@given(st.lists(st.one_of(st.integers(-9, 9), st.floats(0, 9)) | json_values))
def test_numbers__are_finite_floats_or_nothing(values):
    right = all(type(v) in (int, float) and abs(v) < 1e300 for v in values)
    found = _numbers(values)
    if right:
        assert found is not None
        assert found.tolist() == [float(v) for v in values]
    else:
        assert found is None


@pytest.mark.parametrize(
    'name',
    ['a\u202fb.jpg', 'with space.jpg', '한글/사진 1.jpg', 'é\u200b.jpg', '🗑.jpg'],
)
def test_accepted__names_in_any_script_and_with_rare_spaces(raw, accepted, name):
    path = raw.folder / name
    path.parent.mkdir(exist_ok=True)
    (raw.folder / 'a/1.jpg').rename(path)
    raw.spoil_image(file_name=name)
    assert accepted()['problems'] == []
    assert (raw.out / 'train/images' / name).is_file()
    assert (raw.out / 'train/mask' / name).with_suffix('.png').is_file()


@pytest.mark.parametrize('name', ['a\x07.jpg', 'a\n.jpg', 'a\x9b.jpg', '\udc80.jpg'])
def test_refused__control_characters_and_halves_of_a_pair(raw, refused, name):
    raw.spoil_image(file_name=name)
    refused('has characters that cannot be shown')


@pytest.mark.parametrize('encoding', ['utf-8-sig', 'utf-8'])
def test_accepted__byte_order_mark_and_windows_line_ends(raw, run, encoding):
    from utils.prepare_data import main

    for name in ('train', 'val', 'test'):
        path = raw.folder / f'{name}.json'
        text = path.read_text().replace('{', '{\r\n')
        path.write_bytes(text.encode(encoding))
    code, _, err = run(main, *raw.argv)
    assert (code, err) == (0, '')
