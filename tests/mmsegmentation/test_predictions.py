"""The prediction folder: written, opened, refused where damaged, and scored."""

import json

import numpy as np
import pytest
from PIL import Image

from mmsegmentation.command import InputError
from mmsegmentation.files import read_json, write_json, write_mask
from mmsegmentation.predictions import (
    finish_predictions,
    open_predictions,
    score_predictions,
    write_prediction,
    write_probs,
)

CLASSES = ('Background', 'Paper', 'Metal')
MAPS = {'b_2/0.jpg': [[0, 1], [2, 2]], 'b_1/0.jpg': [[0, 0], [0, 1]]}


def ids(rows):
    return np.array(rows, np.uint8)


@pytest.fixture
def make(tmp_path):
    def call(label_maps, confidence=None, **origin):
        folder = tmp_path / 'pred'
        for image_id, rows in label_maps.items():
            write_prediction(folder, image_id, ids(rows), confidence)
        finish_predictions(folder, CLASSES, list(label_maps), origin)
        return folder

    return call


@pytest.fixture
def make_truth(tmp_path):
    def call(label_maps):
        for name, rows in label_maps.items():
            write_mask(tmp_path / 'mask' / name, ids(rows))
        return tmp_path / 'mask'

    return call


def test_folder__gives_back_what_was_written(make):
    sure = ids([[255, 128], [0, 1]])
    folder = make(MAPS, sure, checkpoint='a.pth', tta=True)
    found = open_predictions(folder)
    assert found.folder == folder
    assert found.classes == CLASSES
    assert found.image_ids == ('b_2/0.jpg', 'b_1/0.jpg')  # in the order predicted
    assert (found.origin['checkpoint'], found.origin['tta']) == ('a.pth', True)
    for image_id, rows in MAPS.items():
        assert found.mask(image_id).tolist() == rows
        assert found.confidence(image_id).tolist() == sure.tolist()
    assert found.metrics() is None
    write_json(folder / 'metrics.json', {'mIoU': 0.5})
    assert found.metrics() == {'mIoU': 0.5}


def test_folder__confidence_is_grey_and_may_be_absent(make):
    folder = make(MAPS, ids([[7, 8], [9, 10]]))
    with Image.open(folder / 'confidence/b_1/0.png') as image:
        assert (image.format, image.mode) == ('PNG', 'L')
    (folder / 'confidence/b_1/0.png').unlink()
    with pytest.raises(InputError, match=r'confidence/b_1/0\.png: no such file'):
        open_predictions(folder).confidence('b_1/0.jpg')


def test_write_probs__is_a_numpy_file_named_like_the_mask(tmp_path):
    probs = np.arange(24, dtype=np.uint8).reshape(4, 2, 3)
    write_probs(tmp_path, 'b_1/0.v2.jpg', probs)
    found = np.load(tmp_path / 'probs/b_1/0.v2.npy', allow_pickle=False)
    assert found.tolist() == probs.tolist()
    assert found.dtype == np.uint8


NUMPY = "{'descr': '|u1', 'fortran_order': False, 'shape': (3, %s, 2), }\n"


@pytest.mark.parametrize(
    'header',
    ['', NUMPY % 10**11, NUMPY % 10**30, NUMPY % -1, NUMPY % '"a"', NUMPY[:20], '[]\n'],
    ids=['empty', 'large', 'larger', 'negative', 'text', 'cut', 'list'],
)
def test_probs__of_a_damaged_file_are_named_whatever_it_asks_for(make, header):
    folder = make(MAPS)
    write_probs(folder, 'b_1/0.jpg', np.zeros((3, 1, 1), np.uint8))
    predictions = open_predictions(folder)
    assert predictions.probs('b_1/0.jpg').tolist() == [[[0]]] * 3
    path = folder / 'probs/b_1/0.npy'
    start = b'\x93NUMPY\x01\x00' + len(header).to_bytes(2, 'little')
    path.write_bytes(start + header.encode())
    with pytest.raises(InputError, match=r'b_1/0\.npy: not readable'):
        predictions.probs('b_1/0.jpg')
    with path.open('wb') as file:
        np.savez(file, np.zeros(3))
    with pytest.raises(InputError, match=r'b_1/0\.npy: not readable'):
        predictions.probs('b_1/0.jpg')


def test_write_prediction__id_stays_inside_the_folder(tmp_path):
    with pytest.raises(InputError, match='must stay inside its folder'):
        write_prediction(tmp_path / 'pred', '../a.jpg', ids([[0]]), None)
    assert not list(tmp_path.rglob('*.png'))


def test_finish_predictions__classes_and_images_are_not_overruled(make):
    folder = make(MAPS, classes=['x'], images=['y'])
    assert read_json(folder / 'predictions.json') == {
        'classes': list(CLASSES),
        'images': list(MAPS),
    }


def test_mask__missing_or_with_an_unknown_id_is_named(make):
    folder = make({**MAPS, 'odd.jpg': [[3, 0]]})
    found = open_predictions(folder)
    with pytest.raises(InputError, match=r'odd\.png: holds class id 3, .* 3 classes'):
        found.mask('odd.jpg')
    with pytest.raises(InputError, match=r'masks/none\.png: no such file'):
        found.mask('none.jpg')


def test_open__folder_of_another_kind_is_refused(tmp_path):
    with pytest.raises(InputError, match=r'no prediction folder .*tools/test\.py'):
        open_predictions(tmp_path)
    with pytest.raises(InputError, match=r'no such folder; run tools/test\.py first'):
        open_predictions(tmp_path / 'none')


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ('{"classes": ', 'not readable as JSON'),
        ('[1, 2]', 'damaged'),
        ('{"classes": ["a"]}', "damaged .*'images'"),
        ('{"images": ["a.jpg"]}', "damaged .*'classes'"),
        ('{"classes": null, "images": []}', 'damaged'),
        ('{"classes": ["a"], "images": "a.jpg"}', 'damaged'),
        ('{"classes": "abc", "images": []}', 'damaged'),
        ('{"classes": ["a"], "images": ["../a.jpg"]}', 'inside its folder'),
        ('{"classes": ["a"], "images": ["a.jpg", "a.jpg"]}', 'names an image twice'),
        ('{"classes": ["a"], "images": ["a.jpg", "a.png"]}', 'names an image twice'),
    ],
)
def test_open__damaged_description_is_refused(tmp_path, content, message):
    (tmp_path / 'predictions.json').write_text(content)
    with pytest.raises(InputError, match=message):
        open_predictions(tmp_path)


def test_score__joins_masks_by_name(make, make_truth):
    truth = {'b_1/0.png': [[0, 0], [0, 1]], 'b_2/0.png': [[0, 1], [2, 255]]}
    folder = make(MAPS)
    scores = score_predictions(folder, make_truth({**truth, 'more.png': [[0]]}))
    assert scores['confusion'] == [[4, 0, 0], [0, 2, 0], [0, 0, 1]]
    assert (scores['mIoU'], scores['images']) == (1.0, 2)
    assert scores['classes'] == list(CLASSES)


def test_score__is_written_as_it_is_returned(make, make_truth):
    truth = {'b_1/0.png': [[0, 0], [0, 0]], 'b_2/0.png': [[0, 0], [0, 0]]}
    folder = make(MAPS)
    scores = score_predictions(folder, make_truth(truth))
    assert scores['IoU'] == [4 / 8, 0, 0]
    assert scores['Acc'] == [4 / 8, None, None]
    written = (folder / 'metrics.json').read_text()
    assert json.loads(written) == json.loads(json.dumps(scores))
    assert 'NaN' not in written


@pytest.mark.parametrize(
    ('rows', 'message'),
    [
        (None, r'mask/b_1/0\.png: no such file'),
        ([[0, 0, 0]], r'mask/b_1/0\.png: sizes differ: labels \(1, 3\), .*\(2, 2\)'),
        ([[0, 0], [0, 3]], r'mask/b_1/0\.png: label holds class id 3'),
    ],
    ids=['missing', 'size', 'id'],
)
def test_score__unusable_truth_is_named_and_nothing_written(
    make, make_truth, rows, message
):
    truth = {'b_2/0.png': MAPS['b_2/0.jpg']}
    if rows is not None:
        truth['b_1/0.png'] = rows
    folder = make(MAPS)
    with pytest.raises(InputError, match=message):
        score_predictions(folder, make_truth(truth))
    assert not (folder / 'metrics.json').exists()


def test_score__nothing_to_score_is_named(make, make_truth, tmp_path):
    with pytest.raises(InputError, match='mask: no image to score'):
        score_predictions(make({}), tmp_path / 'mask')
    masks = make_truth({'a.png': [[255]]})
    with pytest.raises(InputError, match='mask: no labelled pixel to score'):
        score_predictions(make({'a.jpg': [[0]]}), masks)
