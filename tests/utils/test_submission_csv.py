"""The CSV against pandas and OpenCV, and against everything that can be broken."""

import json
import random
from pathlib import Path

import albumentations
import cv2
import numpy as np
import pandas
import pytest
from PIL import Image
from pycocotools.coco import COCO

from mmsegmentation.command import InputError
from mmsegmentation.scores import confusion_matrix, mean_iou
from utils.submission_csv import (
    HEADER,
    find_problems,
    format_ids,
    parse_ids,
    read_rows,
    read_test_ids,
    resize_labels,
    write_rows,
)

SAMPLE = Path(__file__).resolve().parents[2] / '../shared/data/recycle_trash_sample'
SIZE = (2, 2)
GOOD = f'{HEADER}\na/1.jpg,0 1 2 10\nb/1.jpg,0 0 0 0\n'.encode()
IDS = ['a/1.jpg', 'b/1.jpg']


def problems_of(tmp_path, content: bytes, ids=IDS) -> list[str]:
    path = tmp_path / 'submission.csv'
    path.write_bytes(content)
    return find_problems(path, ids, SIZE)


def test_resize_labels__nearest_equals_opencv_for_any_size():
    rng = np.random.default_rng(0)
    for height, width in rng.integers(1, 700, (150, 2)):
        label_map = rng.integers(0, 11, (height, width), np.uint8)
        size = tuple(map(int, rng.integers(1, 300, 2)))
        wanted = cv2.resize(label_map, size[::-1], interpolation=cv2.INTER_NEAREST)
        np.testing.assert_array_equal(resize_labels(label_map, size), wanted)


def test_resize_labels__nearest_equals_albumentations():
    label_map = np.random.default_rng(0).integers(0, 11, (480, 640), np.uint8)
    resize = albumentations.Resize(256, 256)
    image = np.zeros((480, 640, 3), np.uint8)
    wanted = resize(image=image, mask=label_map)['mask']
    np.testing.assert_array_equal(resize_labels(label_map), wanted)


def test_resize_labels__nearest_has_phase_0():
    label_map = np.random.default_rng(0).integers(0, 11, (512, 512), np.uint8)
    np.testing.assert_array_equal(resize_labels(label_map), label_map[::2, ::2])


def test_resize_labels__nearest_exact_equals_pillow():
    label_map = np.random.default_rng(0).integers(0, 11, (512, 300), np.uint8)
    wanted = Image.fromarray(label_map).resize((100, 256), Image.Resampling.NEAREST)
    found = resize_labels(label_map, (256, 100), 'nearest-exact')
    np.testing.assert_array_equal(found, np.asarray(wanted))


def test_resize_labels__is_not_the_maximum_of_2x2():
    label_map = np.array([[0, 9], [8, 7]], np.uint8)
    assert resize_labels(label_map, (1, 1)).tolist() == [[0]]
    assert resize_labels(label_map, (1, 1), 'max').tolist() == [[9]]


def test_resize_labels__max_takes_each_block():
    label_map = np.random.default_rng(0).integers(0, 11, (6, 8), np.uint8)
    wanted = label_map.reshape(3, 2, 4, 2).max((1, 3))
    np.testing.assert_array_equal(resize_labels(label_map, (3, 4), 'max'), wanted)


def test_resize_labels__refuses_colours():
    with pytest.raises(ValueError, match=r'of shape \(H, W\), got uint8 of shape'):
        resize_labels(np.zeros((4, 4, 3), np.uint8))


def test_format_ids__equals_join():
    ids = np.random.default_rng(0).integers(0, 256, (40, 30), np.uint8)
    assert format_ids(ids) == ' '.join(map(str, ids.ravel())).encode()


def test_parse_ids__is_the_way_back():
    ids = np.random.default_rng(0).integers(0, 256, 1000, np.uint8)
    np.testing.assert_array_equal(parse_ids(format_ids(ids), 1000, 256), ids)


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
        (b'0 1 2 1.0', r"holds b'\.'"),
        (b'0\t1 2 3', r"holds b'\\t'"),
        (b'0 1 2 \xff', r"holds b'\\xff'"),
        (b'0' * 17, 'has 17 characters, too many'),
    ],
)
def test_parse_ids__names_what_is_wrong(text, message):
    with pytest.raises(ValueError, match=message):
        parse_ids(text, 4, 11)


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
        "image 'b/1.jpg' is missing",
        "image 'a/1.jpg' has 2 rows",
        "image 'c.jpg' is not in the test part",
    ]


@pytest.mark.parametrize(
    ('line', 'message'),
    [
        (b'', 'has no comma'),
        (b'\0\0\0', 'has no comma'),
        (b',0 0 0 0', 'has no image id'),
        (b'a,b,0 0 0 0', 'more than two columns'),
        (b'"a/1.jpg,0 0 0 0', 'quote that is not closed'),
        (b'"a"/1.jpg",0 0 0 0', 'quote that is not closed'),
        (b'",0 0 0 0', 'quote that is not closed'),
        (b'\xff\xfe.jpg,0 0 0 0', 'not UTF-8'),
        (b'c.jpg,"0 0 0 0', "holds b'\"'"),
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
        "line 1: the header is b'', not 'image_id,PredictionString'",
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
        if not find_problems(path, IDS, SIZE):
            assert [i for i, _ in read_rows(path, SIZE)] == IDS


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


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ('{', 'not readable as JSON'),
        ([], 'has no images with file names'),
        ({'images': [{'id': 1}]}, 'has no images with file names'),
        ({'images': [{'file_name': 3}]}, 'has no images with file names'),
        ({'images': []}, 'names no image'),
        ({'images': [{'file_name': '../a.jpg'}]}, 'must stay inside its folder'),
        ({'images': [{'file_name': 'a.jpg'}] * 2}, "has 'a.jpg' twice"),
    ],
)
def test_read_test_ids__names_what_is_wrong(tmp_path, content, message):
    path = tmp_path / 'test.json'
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(InputError, match=message):
        read_test_ids(path)


def test_read_test_ids__keeps_the_order(tmp_path):
    path = tmp_path / 'test.json'
    path.write_text(json.dumps({'images': [{'file_name': f'{i}.jpg'} for i in 'cab']}))
    assert read_test_ids(path) == ['c.jpg', 'a.jpg', 'b.jpg']


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
