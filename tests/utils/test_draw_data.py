"""Drawn data: its layout, its traps, and that the same seed draws the same."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco

from mmsegmentation.classes import CLASSES
from mmsegmentation.files import list_images, read_image, read_json, sha256_of
from utils import prepare_data
from utils.draw_data import main

# pycocotools' own arrays do not know NumPy 2's copy keyword.
pytestmark = pytest.mark.filterwarnings(
    'ignore:__array__ implementation:DeprecationWarning'
)
SIZE = 96
PARTS = ('train', 'val', 'test')
COUNTS = ('--train', 16, '--valid', 6, '--test', 4, '--size', SIZE)


@pytest.fixture(scope='module')
def raw(tmp_path_factory):
    folder = tmp_path_factory.mktemp('drawn') / 'raw'
    main([str(folder), *map(str, COUNTS)])
    return folder


@pytest.fixture(scope='module')
def parts(raw):
    return {part: read_json(raw / f'{part}.json') for part in PARTS}


def file_names(part: dict) -> list[str]:
    return [image['file_name'] for image in part['images']]


def run_lengths(annotation: dict) -> dict:
    outline = annotation['segmentation']
    if isinstance(outline, dict):
        return outline
    return coco.merge(coco.frPyObjects(outline, SIZE, SIZE))


def test_layout__every_listed_image_is_there_and_no_other(raw, parts):
    listed = [name for part in PARTS for name in file_names(parts[part])]
    assert sorted(listed) == list_images(raw)
    assert len(listed) == 26
    assert read_image(raw / listed[0]).shape == (SIZE, SIZE, 3)


def test_layout__file_names_repeat_across_batches(raw):
    stems = Counter(Path(name).name for name in list_images(raw))
    assert max(stems.values()) == 3
    assert {Path(name).parent.name for name in list_images(raw)} == {
        'batch_01_vt',
        'batch_02_vt',
        'batch_03_vt',
    }


def test_layout__official_class_table_with_its_spelling(parts):
    for part in parts.values():
        names = [category['name'] for category in part['categories']]
        assert names == ['Backgroud', *CLASSES[1:]]
        assert [category['id'] for category in part['categories']] == list(range(11))


def test_test_part__has_no_annotations_but_hidden_ones(raw, parts):
    hidden = read_json(raw / 'hidden/test.json')
    assert parts['test']['annotations'] == []
    assert hidden['images'] == parts['test']['images']
    assert hidden['annotations']


@pytest.mark.parametrize('part', ['train', 'val'])
def test_labels__hold_every_class(parts, part):
    found = {a['category_id'] for a in parts[part]['annotations']}
    assert found == set(range(1, 11))


@pytest.mark.parametrize('kind', ['images', 'annotations'])
def test_ids__are_unique_and_have_gaps(parts, kind):
    ids = [entry['id'] for entry in parts['train'][kind]]
    assert len(set(ids)) == len(ids)
    assert sorted(ids) != list(range(min(ids), min(ids) + len(ids)))


def test_ids__of_images_are_unique_over_all_parts(parts):
    ids = [image['id'] for part in parts.values() for image in part['images']]
    assert len(set(ids)) == 26


def test_train__one_image_is_bare(parts):
    train = parts['train']
    labelled = {a['image_id'] for a in train['annotations']}
    assert len(train['images']) - len(labelled) == 1


def test_annotations__polygons_lie_inside_and_run_lengths_occur(raw, parts):
    annotations = [a for part in parts.values() for a in part['annotations']]
    annotations += read_json(raw / 'hidden/test.json')['annotations']
    polygons = [
        points
        for a in annotations
        if isinstance(a['segmentation'], list)
        for points in a['segmentation']
    ]
    assert min(map(len, polygons)) >= 6
    assert all(min(p) >= 0 and max(p) <= SIZE - 1 for p in polygons)
    assert 0 < sum(isinstance(a['segmentation'], dict) for a in annotations) < 40
    assert max(len(a['segmentation']) for a in annotations) > 1


def test_annotations__area_and_box_are_those_of_the_pixels(parts):
    for annotation in parts['train']['annotations']:
        rows, columns = np.nonzero(coco.decode(run_lengths(annotation)))
        left, top, width, height = annotation['bbox']
        assert annotation['area'] == len(rows) > 0
        assert (left, top) == (columns.min(), rows.min())
        assert (width, height) == (np.ptp(columns) + 1, np.ptp(rows) + 1)
        assert annotation['iscrowd'] == 0


def test_objects__overlap_and_some_are_small(parts):
    annotations = parts['train']['annotations']
    areas = [a['area'] for a in annotations]
    assert min(areas) < 0.01 * SIZE**2 < max(areas)
    covered = Counter()
    for annotation in annotations:
        covered[annotation['image_id']] += coco.decode(run_lengths(annotation))
    assert max(layers.max() for layers in covered.values()) >= 2


def test_objects__differ_in_colour_from_what_surrounds_them(raw, parts):
    names = {image['id']: image['file_name'] for image in parts['train']['images']}
    for annotation in parts['train']['annotations'][:5]:
        image = read_image(raw / names[annotation['image_id']]).astype(int)
        mask = coco.decode(run_lengths(annotation)) > 0
        inside, outside = image[mask].mean(0), image[~mask].mean(0)
        assert np.abs(inside - outside).max() > 8


def test_seed__same_draws_same_and_other_draws_other(raw, tmp_path):
    for seed in (0, 1):
        main([str(tmp_path / str(seed)), *map(str, COUNTS), '--seed', str(seed)])
    names = [p.relative_to(raw) for p in raw.rglob('*') if p.is_file()]
    assert len(names) == 26 + 4
    for name in names:
        first, same, other = (
            sha256_of(folder / name) for folder in (raw, tmp_path / '0', tmp_path / '1')
        )
        assert first == same != other


def test_misuse__one_line_and_nothing_written(misuse, tmp_path):
    out = tmp_path / 'raw'
    misuse(main, 'at least 2', out, '--valid', 1)
    misuse(main, r'--size: 8 is not in \[64, 4096\]', out, '--size', 8)
    misuse(main, '--seed: -1 is negative', out, '--seed', -1)
    assert not out.exists()


def test_existing_folder__stays_without_overwrite(misuse, tmp_path):
    (tmp_path / 'mine.txt').write_text('mine')
    misuse(main, 'is not replaced', tmp_path, *COUNTS)
    misuse(main, 'is not replaced', tmp_path, *COUNTS, '--overwrite')
    assert [p.name for p in tmp_path.iterdir()] == ['mine.txt']


def test_prepare_data__finds_no_problem(raw, run, tmp_path):
    code, _, err = run(prepare_data.main, raw, '--out', tmp_path / 'root')
    assert (code, err) == (0, '')
    root = tmp_path / 'root'
    assert len(list_images(root / 'train/images')) == 16
    assert len(list_images(root / 'valid/mask')) == 6
    assert not (root / 'test/mask').exists()
