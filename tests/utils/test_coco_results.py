"""Run lengths for contests that want them: back through pycocotools they are equal."""

import json

import numpy as np
import pytest
from pycocotools import mask as coco

from mmsegmentation.files import read_json, write_mask
from utils.coco_results import write_results
from utils.submission import main
from utils.submission_csv import write_rows

# pycocotools' own arrays do not know NumPy 2's copy keyword.
pytestmark = pytest.mark.filterwarnings(
    'ignore:__array__ implementation:DeprecationWarning'
)


def painted(rows: list[dict], shape: tuple[int, int]) -> np.ndarray:
    label_map = np.zeros(shape, np.uint8)
    for row in rows:
        inside = coco.decode(row['segmentation'])
        assert not label_map[inside == 1].any()
        label_map[inside == 1] = row['category_id']
    return label_map


@pytest.mark.parametrize('shape', [(1, 1), (1, 7), (40, 30), (256, 256)])
def test_write_results__decodes_to_the_same_label_map(tmp_path, shape):
    rng = np.random.default_rng(0)
    maps = {name: rng.integers(0, 11, shape, np.uint8) for name in ('a', 'b', '한 c')}
    maps['b'][:] = 0
    path = tmp_path / 'results.json'
    count = write_results(path, maps.items())
    rows = read_json(path)
    assert len(rows) == count
    for name, label_map in maps.items():
        own = [row for row in rows if row['image_id'] == name]
        np.testing.assert_array_equal(painted(own, shape), label_map)
    assert {row['score'] for row in rows} == {1.0}


def test_write_results__of_no_image_is_an_empty_list(tmp_path):
    assert write_results(tmp_path / 'r.json', []) == 0
    assert read_json(tmp_path / 'r.json') == []


@pytest.fixture
def submission(tmp_path):
    maps = {'a/1.jpg': [[0, 1], [2, 2]], 'b/1.jpg': [[10, 10], [10, 10]]}
    path = tmp_path / 's.csv'
    write_rows(path, ((i, np.array(rows, np.uint8)) for i, rows in maps.items()))
    return path


def listing(tmp_path, *names, **size):
    path = tmp_path / 'test.json'
    images = [{'id': 40 + i, 'file_name': name, **size} for i, name in enumerate(names)]
    path.write_text(json.dumps({'images': images}))
    return path


def test_export__names_images_by_id_of_the_json_or_by_file_name(
    run, submission, tmp_path
):
    out = tmp_path / 'r.json'
    export = ('export', submission, '--out', out, '--size', 2, 2)
    code, text, err = run(main, *export)
    assert (code, err) == (0, '')
    assert '3 results written' in text
    rows = [(row['image_id'], row['category_id']) for row in read_json(out)]
    assert rows == [('a/1.jpg', 1), ('a/1.jpg', 2), ('b/1.jpg', 10)]
    names = listing(tmp_path, 'b/1.jpg', 'a/1.jpg')
    assert run(main, *export, '--test-json', names, '--overwrite')[0] == 0
    rows = [(row['image_id'], row['category_id']) for row in read_json(out)]
    assert rows == [(41, 1), (41, 2), (40, 10)]


def test_export__takes_masks_in_their_own_size(run, tmp_path):
    label_map = np.random.default_rng(0).integers(0, 3, (5, 9), np.uint8)
    write_mask(tmp_path / 'masks/a.png', label_map)
    out = tmp_path / 'r.json'
    assert run(main, 'export', tmp_path / 'masks', '--out', out)[0] == 0
    np.testing.assert_array_equal(painted(read_json(out), (5, 9)), label_map)


def test_export__has_the_size_that_the_json_says(run, submission, tmp_path):
    """Other run lengths would score nothing: the nearest pixel is written."""
    names = listing(tmp_path, 'a/1.jpg', 'b/1.jpg', height=4, width=6)
    out = tmp_path / 'r.json'
    more = ('--out', out, '--test-json', names)
    assert run(main, 'export', submission, *more, '--size', 2, 2)[0] == 0
    rows = [row for row in read_json(out) if row['image_id'] == 40]
    wanted = np.repeat(np.repeat([[0, 1], [2, 2]], 3, 1), 2, 0)
    np.testing.assert_array_equal(painted(rows, (4, 6)), wanted)


@pytest.mark.parametrize('size', [(0, 0), (-1, 6), (0, 6)])
def test_export__size_that_is_none_is_as_one_that_the_json_lacks(
    run, submission, tmp_path, size
):
    """Some programs write 0 for what they do not know."""
    names = listing(tmp_path, 'a/1.jpg', 'b/1.jpg', height=size[0], width=size[1])
    more = ('--out', tmp_path / 'r.json', '--test-json', names)
    assert run(main, 'export', submission, *more, '--size', 2, 2)[0] == 0
    sizes = [row['segmentation']['size'] for row in read_json(tmp_path / 'r.json')]
    assert sizes == [[2, 2]] * 3


def test_export__size_is_for_a_csv_and_a_mask_of_neither_size_is_named(
    misuse, tmp_path
):
    for name in ('a/1.png', 'b/1.png'):
        write_mask(tmp_path / 'masks' / name, np.zeros((5, 9), np.uint8))
    export = ('export', tmp_path / 'masks', '--out', tmp_path / 'r.json')
    misuse(main, '--size: is of a CSV, and .*masks is a', *export, '--size', 5, 9)
    names = listing(tmp_path, 'a/1.jpg', 'b/1.jpg', height=10, width=18)
    message = r"'a/1\.jpg': its mask has size \(5, 9\), its photograph \(10, 18\)"
    misuse(main, message, *export, '--test-json', names)


def test_export__misuse_is_one_line_and_leaves_nothing(misuse, submission, tmp_path):
    out = tmp_path / 'r.json'
    export = ('export', submission, '--out', out, '--size', 2, 2, '--test-json')
    misuse(main, r"'b/1\.jpg': is not in", *export, listing(tmp_path, 'a/1.jpg'))
    names = listing(tmp_path, 'a/1.jpg', 'b/1.jpg', 'c.jpg')
    misuse(main, r"'c\.jpg': is in .*test\.json but not in", *export, names)
    misuse(main, 'holds no PNG mask', 'export', tmp_path, '--out', out)
    misuse(main, 'cannot be read', 'export', tmp_path / 'none', '--out', out)
    assert not out.exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == ['s.csv', 'test.json']


@pytest.mark.parametrize('ids', [(7, 7), (7, None), (7, 2.5)])
def test_export__images_without_an_id_of_their_own_are_named(
    misuse, submission, tmp_path, ids
):
    names = zip(('a/1.jpg', 'b/1.jpg'), ids, strict=True)
    images = [{'file_name': name, 'id': number} for name, number in names]
    (tmp_path / 't.json').write_text(json.dumps({'images': images}))
    export = ('export', submission, '--out', tmp_path / 'r.json', '--size', 2, 2)
    message = r"t\.json: 'b/1\.jpg' has no id of its own; give each image another"
    misuse(main, message, *export, '--test-json', tmp_path / 't.json')
    assert not (tmp_path / 'r.json').exists()


def with_categories(tmp_path, **numbers):
    path = listing(tmp_path, 'a/1.jpg', 'b/1.jpg')
    rows = [{'id': n, 'name': name} for name, n in numbers.items()]
    path.write_text(json.dumps({**read_json(path), 'categories': rows}))
    return path


def test_export__names_classes_by_the_category_ids_of_the_json(
    run, submission, tmp_path
):
    """They were ids of the class table: 438 of 438 objects in another class."""
    out = tmp_path / 'r.json'
    numbers = {'Backgroud': 3, 'Paper': 1, 'General trash': 90, 'Clothing': 0}
    names = with_categories(tmp_path, **numbers)
    export = ('export', submission, '--out', out, '--size', 2, 2, '--test-json', names)
    assert run(main, *export)[0] == 0
    rows = [(row['image_id'], row['category_id']) for row in read_json(out)]
    assert rows == [(40, 90), (40, 1), (41, 0)]


def test_export__of_predictions_goes_by_their_own_names(
    run, make_predictions, tmp_path
):
    maps = {'a/1.jpg': [[0, 1]], 'b/1.jpg': [[1, 1]]}
    # Class 0 is no background here.
    pred = make_predictions('pred', maps, classes=('sky', 'road'))
    names = with_categories(tmp_path, road=7, sky=5)
    out = tmp_path / 'r.json'
    assert run(main, 'export', pred, '--out', out, '--test-json', names)[0] == 0
    rows = [(row['image_id'], row['category_id']) for row in read_json(out)]
    assert rows == [(40, 5), (40, 7), (41, 7)]


def test_export__class_without_a_category_is_named(misuse, submission, tmp_path):
    names = with_categories(tmp_path, road=7)
    export = ('export', submission, '--out', tmp_path / 'r.json', '--size', 2, 2)
    message = r'image 40: holds class 1, whose name is not a category .*; pass the'
    misuse(main, message, *export, '--test-json', names)
    (tmp_path / 'c.txt').write_text('Background\nroad\n')
    message = 'holds class id 2, but there are only 2 classes'
    misuse(main, message, *export, '--classes', tmp_path / 'c.txt')
    assert not (tmp_path / 'r.json').exists()


@pytest.mark.parametrize(
    ('rows', 'message'),
    [
        ([{'name': 'Paper'}], r'has categories without name or id \(KeyError'),
        (
            [{'id': 1, 'name': n} for n in ('Paper', 'Glass')],
            'has categories that share',
        ),
        (
            [{'id': i, 'name': 'Paper'} for i in (1, 2)],
            'has categories that share',
        ),
        ([{'id': '1', 'name': 'Paper'}], "category 'Paper' has the id '1'; use whole"),
        ([{'id': 1.5, 'name': 'Paper'}], "category 'Paper' has the id 1.5; use whole"),
    ],
)
def test_export__damaged_categories_are_named(
    misuse, submission, tmp_path, rows, message
):
    names = with_categories(tmp_path)
    names.write_text(json.dumps({**read_json(names), 'categories': rows}))
    export = ('export', submission, '--out', tmp_path / 'r.json', '--size', 2, 2)
    misuse(main, rf'test\.json: {message}', *export, '--test-json', names)
