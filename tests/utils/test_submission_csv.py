"""The CSV against pandas, and against everything that can be broken."""

import bz2
import csv
import gzip
import io
import lzma
import random
import zipfile
from pathlib import Path

import numpy as np
import pandas
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools.coco import COCO

from mmsegmentation.command import InputError
from mmsegmentation.scores import confusion_matrix, mean_iou
from utils.resize import resize_labels
from utils.submission_csv import (
    HEADER,
    Columns,
    find_problems,
    parse_header,
    parse_row,
    read_rows,
    split_cells,
    write_rows,
)

SAMPLE = Path(__file__).resolve().parents[2] / '../shared/data/recycle_trash_sample'
SIZE = (2, 2)
GOOD = f'{HEADER}\na/1.jpg,0 1 2 10\nb/1.jpg,0 0 0 0\n'.encode()
IDS = ['a/1.jpg', 'b/1.jpg']
ROWS = {'a/1.jpg': [0, 1, 2, 10], 'b/1.jpg': [0, 0, 0, 0]}


def problems_of(tmp_path, content: bytes, ids=IDS) -> list[str]:
    path = tmp_path / 'submission.csv'
    path.write_bytes(content)
    return list(find_problems(path, ids, SIZE))


def test_write_rows__equals_pandas(tmp_path):
    rng = np.random.default_rng(0)
    names = [
        'a/1.jpg',
        'with, comma.jpg',
        'with "quote".jpg',
        'with space.jpg',
        '한.jpg',
    ]
    rows = {name: rng.integers(0, 11, (16, 16), np.uint8) for name in names}
    path = tmp_path / 'ours.csv'
    assert write_rows(path, rows.items()) == 5
    strings = [' '.join(map(str, ids.ravel().tolist())) for ids in rows.values()]
    table = pandas.DataFrame({'image_id': names, 'PredictionString': strings})
    table.to_csv(tmp_path / 'pandas.csv', index=False)
    assert path.read_bytes() == (tmp_path / 'pandas.csv').read_bytes()
    back = dict(read_rows(path, (16, 16)))
    assert list(back) == names
    for name in names:
        np.testing.assert_array_equal(back[name], rows[name])


def test_write_rows__name_that_says_packed_is_packed(tmp_path):
    def rows():
        return [('a.jpg', np.zeros((2, 2), np.uint8))]

    made = []
    for name in ('one.csv.gz', 'two.csv.GZ', 'three.csv'):
        assert write_rows(tmp_path / name, rows()) == 1
        made.append((tmp_path / name).read_bytes())
    assert made[0] == made[1]
    assert made[0][4:8] == bytes(4)  # the time
    assert gzip.decompress(made[0]) == made[2]
    assert [i for i, _ in read_rows(tmp_path / 'one.csv.gz', (2, 2))] == ['a.jpg']
    message = r'is not written as \.zip; name it \.csv or \.csv\.gz'
    with pytest.raises(InputError, match=message):
        write_rows(tmp_path / 'four.csv.zip', rows())


def test_write_rows__failure_leaves_nothing(tmp_path):
    row = np.zeros(SIZE, np.uint8)
    path = tmp_path / 'submission.csv'
    with pytest.raises(InputError, match='comes twice'):
        write_rows(path, [('a.jpg', row), ('a.jpg', row)])
    with pytest.raises(InputError, match='line break'):
        write_rows(path, [('a\n.jpg', row)])
    assert list(tmp_path.iterdir()) == []


def test_write_rows__asks_before_it_replaces(tmp_path):
    path = tmp_path / 'submission.csv'
    path.write_text('mine')
    with pytest.raises(InputError, match='exists; pass --overwrite'):
        write_rows(path, [])
    assert path.read_text() == 'mine'
    write_rows(path, [], overwrite=True)
    assert path.read_text() == HEADER + '\n'


@pytest.mark.parametrize(
    'content',
    [
        GOOD,
        GOOD[:-1],
        GOOD.replace(b'\n', b'\r\n'),
        GOOD.replace(b'a/1.jpg,0 1 2 10', b'"a/1.jpg","0 1 2 10"'),
        b'"image_id","PredictionString"' + GOOD[len(HEADER) :],
        f'{HEADER}\nb/1.jpg,0 0 0 0\na/1.jpg,0 1 2 10\n'.encode(),
    ],
)
def test_find_problems__accepts_what_is_right(tmp_path, content):
    assert problems_of(tmp_path, content) == []


def test_find_problems__lists_all_at_once(tmp_path):
    content = b'id,ids\na/1.jpg,0 1 2\nc.jpg,0 0 0 77\na/1.jpg,0 0 0 0\n'
    assert problems_of(tmp_path, content) == [
        "line 1: the header is b'id,ids', not 'image_id,PredictionString'",
        "line 2 ('a/1.jpg'): PredictionString has 3 ids, not 4",
        "line 3 ('c.jpg'): PredictionString holds class id 77, but there are only 11 "
        'classes',
        "line 3 ('c.jpg'): is not in the test part",
        "line 4 ('a/1.jpg'): has a row already, line 2",
        "image 'b/1.jpg' is missing",
    ]


@pytest.mark.parametrize(
    ('line', 'message'),
    [
        (b'', 'is empty'),
        (b'\0\0\0', 'has no comma'),
        (b',0 0 0 0', 'has no image id'),
        (b'a,b,0 0 0 0', 'has 3 columns, not 2'),
        (b'"a/1.jpg,0 0 0 0', 'quote that is not closed'),
        (b'"a"/1.jpg",0 0 0 0', 'quote that is not closed'),
        (b'",0 0 0 0', 'quote that is not closed'),
        (b'\xff\xfe.jpg,0 0 0 0', 'not UTF-8'),
        (b'c.jpg,"0 0 0 0', 'quote that is not closed'),
        (b'c.jpg,0 "0 0 0', "holds b'\"'"),
        (b'c.jpg,0 1.0 2.0 0', 'holds the float 1.0, but class ids are whole numbers'),
        (b'c.jpg,0.0 1.0 2.0 3.5', 'holds the float 0.0, but'),
        (b'c.jpg,10.0 -1.0 2.0 3.0', 'holds the float 10.0, but'),
        (b'c.jpg,' + b'0.0 ' * 3_000, 'holds the float 0.0, but'),
        (b'c.jpg,' + b'0 ' * 3_000_000, 'has 6000000 characters, too many'),
    ],
)
def test_find_problems__broken_row_is_named_by_its_line(tmp_path, line, message):
    found = problems_of(tmp_path, GOOD + line + b'\n')
    assert found[0].startswith('line 4')
    assert message in found[0]


def test_find_problems__empty_file(tmp_path):
    found = problems_of(tmp_path, b'')
    assert found == [
        "line 1: is empty: the header is missing, 'image_id,PredictionString'",
        "image 'a/1.jpg' is missing",
        "image 'b/1.jpg' is missing",
    ]


def test_find_problems__any_damage_is_a_problem_and_never_a_crash(tmp_path):
    """Bytes changed, cut out, or put in: found, or the very same content."""
    draw = random.Random(0)
    path = tmp_path / 'submission.csv'
    for _ in range(400):
        content = bytearray(GOOD)
        at = draw.randrange(len(content))
        match draw.randrange(3):
            case 0:
                content[at] = draw.randrange(256)
            case 1:
                del content[at : at + draw.randrange(1, 20)]
            case _:
                content[at:at] = draw.randbytes(draw.randrange(1, 5))
        path.write_bytes(content)
        if not list(find_problems(path, IDS, SIZE)):
            assert [i for i, _ in read_rows(path, SIZE)] == IDS


def test_find_problems__without_a_header_reads_the_first_row(tmp_path):
    content = GOOD[len(HEADER) + 1 :]
    assert problems_of(tmp_path, content) == [
        "line 1: the header is b'a/1.jpg,0 1 2 10', not 'image_id,PredictionString'"
    ]


def zipped(content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, 'w', zipfile.ZIP_DEFLATED) as archive:
        archive.writestr('submission.csv', content)
    return file.getvalue()


def pandas_form(**options: object) -> bytes:
    columns = {'image_id': IDS, 'PredictionString': ['0 1 2 10', '0 0 0 0']}
    return pandas.DataFrame(columns).to_csv(**options).encode()


TURNED = ['PredictionString', 'image_id']


PACKED = {
    'gzip': gzip.compress(GOOD),
    'bzip2': bz2.compress(GOOD),
    'xz': lzma.compress(GOOD),
    'zip': zipped(GOOD),
}
# What a strict reader may not take: check names it.
UNUSUAL = {
    'byte order mark': b'\xef\xbb\xbf' + GOOD,
    'columns turned': pandas_form(
        index=False, columns=['PredictionString', 'image_id']
    ),
    'a column of row numbers': pandas_form(),
    'all at once': gzip.compress(
        b'\xef\xbb\xbf'
        + pandas_form(
            columns=TURNED,
            quoting=csv.QUOTE_ALL,
            lineterminator='\r\n',
        )
    ),
}


@pytest.mark.parametrize('form', PACKED)
def test_packed__is_read_and_checked_as_it_is(tmp_path, form):
    assert problems_of(tmp_path, PACKED[form]) == []
    rows = dict(read_rows(tmp_path / 'submission.csv', SIZE))
    assert {i: m.ravel().tolist() for i, m in rows.items()} == ROWS


@pytest.mark.parametrize('form', UNUSUAL)
def test_unusual__is_read_but_named_by_check(tmp_path, form):
    found = [problem[:22] for problem in problems_of(tmp_path, UNUSUAL[form])]
    mark, header = 'line 1: begins with a ', 'line 1: the header is '
    told = {'byte order mark': [mark], 'all at once': [mark, header]}
    assert found == told.get(form, [header])
    rows = dict(read_rows(tmp_path / 'submission.csv', SIZE))
    assert {i: m.ravel().tolist() for i, m in rows.items()} == ROWS


def test_unusual__empty_lines_are_passed_over(tmp_path):
    found = problems_of(tmp_path, GOOD.replace(b'\n', b'\n\n'))
    assert found == [f'line {i}: is empty' for i in (2, 4, 6)]
    assert [i for i, _ in read_rows(tmp_path / 'submission.csv', SIZE)] == IDS


def test_packed__breaking_off_is_one_line(tmp_path):
    path = tmp_path / 'submission.csv'
    for content in PACKED.values():
        path.write_bytes(content[:-9])
        with pytest.raises(InputError, match=r'cannot be (read to its end|unpacked)'):
            list(read_rows(path, SIZE))


@given(
    st.lists(st.text(st.characters(codec='utf-8', exclude_characters='\r\n\0'))),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
)
def test_split_cells__takes_apart_what_csv_put_together(cells, quoting):
    cells = ['', *cells]
    text = io.StringIO()
    csv.writer(text, quoting=quoting, lineterminator='').writerow(cells)
    found = split_cells(text.getvalue().encode())
    assert [cell.decode() for cell in found] == cells


@given(st.text('a", ', min_size=1))
def test_split_cells__agrees_with_csv_on_any_quotes(text):
    try:
        (wanted,) = csv.reader([text], strict=True)
    except csv.Error:
        with pytest.raises(ValueError, match='quote that is not closed'):
            split_cells(text.encode())
    else:
        assert [cell.decode() for cell in split_cells(text.encode())] == wanted


@given(st.binary(), st.sampled_from([Columns(), Columns(1, 0), Columns(2, 1, 3)]))
def test_parse_row__any_bytes_are_a_row_or_a_fault(line, columns):
    try:
        image_id, text = parse_row(line, columns)
    except ValueError as error:
        assert str(error).startswith(('has ', 'is empty'))
    else:
        assert image_id.encode() in line.replace(b'""', b'"')
        assert text in line.replace(b'""', b'"')


@given(st.binary())
def test_parse_header__any_bytes_are_columns_or_none(header):
    assert parse_header(header) is None or b'PredictionString' in header


def test_read_rows__stops_at_the_first_problem(tmp_path):
    path = tmp_path / 'submission.csv'
    path.write_bytes(GOOD + b'c.jpg,0 0 0\n')
    with pytest.raises(InputError, match=r"line 4 \('c.jpg'\): PredictionString has 3"):
        list(read_rows(path, SIZE))
    path.write_bytes(GOOD + b'a/1.png,0 0 0 0\n')
    with pytest.raises(InputError, match=r"has 'a/1\.png' twice"):
        list(read_rows(path, SIZE))
    path.write_bytes(GOOD + b'../x.jpg,0 0 0 0\n')
    with pytest.raises(InputError, match='must stay inside its folder'):
        list(read_rows(path, SIZE))
    path.write_bytes(HEADER.encode())
    with pytest.raises(InputError, match='has no rows'):
        list(read_rows(path, SIZE))


# pycocotools' own arrays do not know NumPy 2's copy keyword.
@pytest.mark.filterwarnings('ignore:__array__ implementation:DeprecationWarning')
@pytest.mark.skipif(not SAMPLE.is_dir(), reason='real photographs are not here')
@pytest.mark.parametrize(
    ('down_sampler', 'wanted'),
    [('nearest', 1.0), ('max', 0.9786), ('nearest-exact', 0.9657)],
)
def test_real_masks__maximum_costs_two_points(truths, down_sampler, wanted):
    """A perfect prediction, brought to 256 x 256 in the official way and in others."""
    pooled = sum(
        confusion_matrix(
            label_map[::2, ::2], resize_labels(label_map, (256, 256), down_sampler), 11
        )
        for label_map in truths
    )
    assert mean_iou(pooled) == pytest.approx(wanted, abs=5e-5)


@pytest.fixture(scope='module')
def truths() -> list[np.ndarray]:
    label_maps = []
    for part in ('train', 'val'):
        data = COCO(SAMPLE / f'{part}.json')
        for image in data.loadImgs(data.getImgIds()):
            label_map = np.zeros((image['height'], image['width']), np.uint8)
            objects = data.loadAnns(data.getAnnIds(image['id']))
            for item in sorted(objects, key=lambda item: -item['area']):
                label_map[data.annToMask(item) == 1] = item['category_id']
            label_maps.append(label_map)
    return label_maps
