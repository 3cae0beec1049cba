"""Competition JSON to a data root: what is accepted is made right."""

import json
from collections import Counter
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco

from mmsegmentation.classes import CLASSES, PALETTE
from mmsegmentation.files import list_images, mask_name, read_json, read_mask
from utils import prepare_data
from utils.prepare_data import main

# pycocotools' own arrays do not know NumPy 2's copy keyword.
pytestmark = pytest.mark.filterwarnings(
    'ignore:__array__ implementation:DeprecationWarning'
)
SAMPLE = Path(__file__).resolve().parents[2] / '../shared/data/recycle_trash_sample'
HEIGHT, WIDTH = 6, 8
PARTS = {'train': 'train.json', 'valid': 'val.json', 'test': 'test.json'}


def mask_of_box(category: int) -> np.ndarray:
    label_map = np.zeros((HEIGHT, WIDTH), np.uint8)
    label_map[1:4, 1:5] = category
    return label_map


def test_warned__leak_that_is_kept(raw, accepted):
    raw.draw('a/3.jpg', 0)
    report = accepted('--leaks', 'keep')
    assert report['problems'] == ['the same picture: train/a/1.jpg, test/a/3.jpg']
    assert (raw.out / 'test/images/a/3.jpg').is_file()


def test_warned__polygon_of_fewer_than_three_points_is_left_out(raw, accepted):
    raw.spoil_outline([[1, 1, 5, 4], raw.box(1, 1, 5, 4)])
    assert accepted()['problems'] == [
        'train.json: 1 polygon of fewer than three points: left out '
        '(annotation 70 of b/1.jpg)'
    ]
    np.testing.assert_array_equal(raw.made('train/mask/b/1.png'), mask_of_box(2))


def test_warned__object_without_an_outline_is_left_out(raw, accepted):
    raw.spoil_outline([])
    assert accepted()['problems'] == [
        'train.json: 1 object without an outline: left out (annotation 70 of b/1.jpg)'
    ]
    assert not raw.made('train/mask/b/1.png').any()


@pytest.mark.parametrize('far', [20, 1e9])
def test_warned__polygon_out_of_bounds_is_cut(raw, accepted, far):
    raw.spoil_outline([raw.box(1, -far, far, far)])
    assert accepted()['problems'] == [
        'train.json: 1 polygon out of bounds: cut at the border '
        '(annotation 70 of b/1.jpg)'
    ]
    label_map = np.zeros((HEIGHT, WIDTH), np.uint8)
    label_map[:, 1:] = 2
    np.testing.assert_array_equal(raw.made('train/mask/b/1.png'), label_map)


def test_warned__run_lengths_of_both_kinds_are_painted(raw, accepted):
    counts = coco.encode(np.asfortranarray(mask_of_box(1)))['counts'].decode()
    raw.spoil_outline({'size': [HEIGHT, WIDTH], 'counts': counts})
    plain = [7, 3, 3, 3, 3, 3, 3, 3, 20]
    raw.json['train']['annotations'][1]['segmentation'] = {
        'size': [HEIGHT, WIDTH],
        'counts': plain,
    }
    assert accepted()['problems'] == [
        'train.json: 2 objects in run lengths (RLE): painted '
        '(annotation 70 of b/1.jpg first)'
    ]
    np.testing.assert_array_equal(raw.made('train/mask/b/1.png'), mask_of_box(2))
    np.testing.assert_array_equal(raw.made('train/mask/a/1.png'), mask_of_box(5))


def test_warned__image_without_annotation_is_all_background(raw, accepted):
    raw.json['valid']['annotations'].clear()
    assert accepted()['problems'] == [
        'val.json: 1 image without annotation: kept, all background (a/2.jpg)'
    ]
    assert not raw.made('valid/mask/a/2.png').any()


def test_made__images_and_masks_of_each_part_and_no_mask_of_test(raw, accepted):
    assert accepted()['problems'] == []
    files = {
        path.relative_to(raw.out).as_posix()
        for path in raw.out.rglob('*')
        if path.is_file()
    }
    assert files == {
        'dataset.json',
        'train/images/a/1.jpg',
        'train/images/b/1.jpg',
        'train/mask/a/1.png',
        'train/mask/b/1.png',
        'valid/images/a/2.jpg',
        'valid/mask/a/2.png',
        'test/images/a/3.jpg',
    }
    assert [path.name for path in raw.out.parent.iterdir()] == ['root']


def test_made__same_name_in_two_batches_and_joined_by_id_not_position(raw, accepted):
    accepted()
    np.testing.assert_array_equal(raw.made('train/mask/a/1.png'), mask_of_box(5))
    np.testing.assert_array_equal(raw.made('train/mask/b/1.png'), mask_of_box(2))


def test_made__order_of_the_file_does_not_matter(raw, accepted):
    accepted()
    before = {name: raw.made(f'train/mask/{name}') for name in ('a/1.png', 'b/1.png')}
    for key in ('images', 'annotations', 'categories'):
        raw.json['train'][key].reverse()
    accepted('--overwrite')
    for name, label_map in before.items():
        np.testing.assert_array_equal(raw.made(f'train/mask/{name}'), label_map)


def test_made__order_of_overlaps_is_chosen_and_told(raw, accepted):
    content = raw.json['train']
    above = deepcopy(content['annotations'][0])
    above.update(id=71, category_id=6, area=4.0)
    above['segmentation'] = [[1, 1, 5, 1, 5, 4]]
    content['annotations'].append(above)
    assert accepted()['order'] == 'area'
    assert set(np.unique(raw.made('train/mask/b/1.png'))) == {0, 2, 6}
    assert accepted('--order', 'points', '--overwrite')['order'] == 'points'
    np.testing.assert_array_equal(raw.made('train/mask/b/1.png'), mask_of_box(2))


def test_made__masks_open_as_palette_png(raw, accepted):
    accepted()
    image = Image.open(raw.out / 'train/mask/b/1.png')
    assert (image.format, image.mode) == ('PNG', 'P')
    assert image.convert('RGB').getpixel((2, 2)) == PALETTE[2]


def test_made__images_are_hard_links(raw, accepted):
    accepted()
    assert (raw.out / 'train/images/a/1.jpg').samefile(raw.folder / 'a/1.jpg')
    assert not (raw.out / 'train/images/a/1.jpg').is_symlink()


def test_made__pixel_counts_are_of_pixels_not_of_polygon_vertices(raw, accepted):
    report = accepted()
    for name in ('train', 'valid'):
        pixels: Counter = Counter()
        for path in (raw.out / name / 'mask').rglob('*.png'):
            pixels.update(read_mask(path).ravel().tolist())
        counted = report['parts'][name]['pixels_by_class']
        assert counted == {n: pixels[i] for i, n in enumerate(CLASSES)}
    train = report['parts']['train']
    assert train['pixels_by_class']['Paper'] == 12
    assert train['objects_by_class']['Paper'] == train['images_by_class']['Paper'] == 1
    assert train['images'] == 2


@pytest.mark.parametrize('spelling', ['Backgroud', 'Background'])
def test_made__background_among_the_categories_in_either_spelling(
    raw, accepted, spelling
):
    raw.json['train']['categories'].insert(0, {'id': 0, 'name': spelling})
    assert accepted()['classes'] == list(CLASSES)


@pytest.mark.parametrize('suffix', ['.txt', '.json'])
@pytest.mark.parametrize('encoding', ['utf-8', 'utf-8-sig'])
def test_made__own_classes_are_joined_by_name(
    raw, accepted, tmp_path, suffix, encoding
):
    names = ['Background', 'Wood', 'Stone']
    table = tmp_path / f'classes{suffix}'
    text = json.dumps(names) if suffix == '.json' else '\n'.join(names)
    table.write_text(text, encoding=encoding)
    for content in raw.json.values():
        content['categories'] = [
            {'id': 90, 'name': 'Wood'},
            {'id': 40, 'name': 'Stone'},
        ]
        for annotation in content['annotations']:
            annotation['category_id'] = 40
    assert accepted('--classes', table)['classes'] == names
    np.testing.assert_array_equal(raw.made('train/mask/b/1.png'), mask_of_box(2))


def test_made__two_processes_make_the_same(raw, accepted):
    alone = accepted()
    masks = {path: read_mask(path) for path in raw.out.rglob('*.png')}
    assert accepted('--overwrite', '--jobs', 2) == alone
    for path, label_map in masks.items():
        np.testing.assert_array_equal(read_mask(path), label_map)


def test_interrupted__nothing_is_left(raw, run, monkeypatch):
    whole, done = prepare_data.write_image, []

    def write_one_then_stop(*job: Any) -> dict[int, int]:
        if done:
            raise KeyboardInterrupt
        done.append(job)
        return whole(*job)

    monkeypatch.setattr(prepare_data, 'write_image', write_one_then_stop)
    code, _, err = run(main, *raw.argv)
    assert (code, err) == (130, 'interrupted\n')
    assert done
    assert not list(raw.out.parent.iterdir())


@pytest.mark.skipif(not SAMPLE.is_dir(), reason='needs the sample of the data set')
def test_sample__masks_equal_the_official_loop_pixel_for_pixel(tmp_path, run):
    root = tmp_path / 'root'
    code, _, err = run(main, SAMPLE, '--out', root, '--jobs', 1)
    assert (code, err) == (0, '')
    compared = 0
    for name in ('train', 'valid'):
        content = read_json(SAMPLE / PARTS[name])
        for row in content['images']:
            label_map = np.zeros((row['height'], row['width']), np.uint8)
            rows = [a for a in content['annotations'] if a['image_id'] == row['id']]
            for annotation in sorted(rows, key=lambda a: a['area'], reverse=True):
                outline = coco.frPyObjects(annotation['segmentation'], *label_map.shape)
                label_map[coco.decode(coco.merge(outline)) == 1] = annotation[
                    'category_id'
                ]
            made = read_mask(root / name / 'mask' / mask_name(row['file_name']))
            np.testing.assert_array_equal(made, label_map, row['file_name'])
            compared += 1
        assert len(list_images(root / name / 'images')) == len(content['images'])
    assert compared == 60
