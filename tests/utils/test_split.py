"""Folds of a data root: lists that data sets take, and what cannot be split."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmsegmentation.files import mask_name, read_json, write_mask
from utils.split import main

NAMES = ('Background', 'can', 'jar')
HOSTILE = '한 글/<script>"x",\'y\' & z.jpg'


@pytest.fixture
def root(tmp_path):
    """Return a data root of 12 images to train on and 6 to validate on."""
    root = tmp_path / 'root'
    rng = np.random.default_rng(0)
    for part, count in (('train', 12), ('valid', 6)):
        for number in range(count):
            add_image(root, part, f'b_{number % 2}/{part}{number}.jpg', rng)
    (root / 'dataset.json').write_text(json.dumps({'classes': NAMES}))
    return root


def add_image(root, part, image_id, rng, label_map=None):
    path = root / part / 'images' / image_id
    path.parent.mkdir(parents=True, exist_ok=True)
    image = rng.integers(0, 256, (8, 8, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    Image.fromarray(image).save(path)
    if label_map is None:
        label_map = rng.integers(0, 3, (8, 8)).astype(np.uint8)
    write_mask(root / part / 'mask' / mask_name(image_id), label_map)


@pytest.fixture
def split(run, root):
    """Split the data root; return what was printed and ``folds.json``."""

    def call(*options, folds=3, out=None):
        where = ('--out', out) if out else ()
        argv = (root, '--folds', folds, '--jobs', 1, *where, *options)
        code, printed, err = run(main, *argv)
        assert (code, err) == (0, '')
        return printed, read_json((out or root / 'folds') / 'folds.json')

    return call


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob('*'))
        if path.is_file()
    }


def listed(root, fold, role):
    folder = root / 'folds' / f'fold{fold}' / role
    return {
        (path.stem, line)
        for path in folder.iterdir()
        for line in path.read_text().splitlines()
    }


def test_lists__each_image_is_left_out_once_and_trained_on_else(split, root):
    split()
    images = {
        (part, path.relative_to(root / part / 'images').as_posix())
        for part in ('train', 'valid')
        for path in (root / part / 'images').rglob('*.jpg')
    }
    assert len(images) == 18
    left_out = [listed(root, fold, 'valid') for fold in range(3)]
    assert sorted(i for fold in left_out for i in fold) == sorted(images)
    for fold in range(3):
        assert listed(root, fold, 'train') == images - left_out[fold]
        assert len(left_out[fold]) == 6


def test_lists__data_are_neither_copied_nor_changed(split, root):
    before = files_of(root)
    split()
    after = files_of(root)
    assert {name: after[name] for name in before} == before
    new = set(after) - set(before)
    assert {Path(name).suffix for name in new} == {'.txt', '.json'}
    assert all(name.startswith('folds/') for name in new)


def test_lists__seed_decides(split, tmp_path):
    outs = [tmp_path / name for name in ('a', 'b', 'c')]
    for out, seed in zip(outs, (0, 0, 1), strict=True):
        split('--seed', seed, out=out)
    assert files_of(outs[0]) == files_of(outs[1])
    assert files_of(outs[0]) != files_of(outs[2])


def test_lists__hold_hostile_names(split, root):
    add_image(root, 'train', HOSTILE, np.random.default_rng(9))
    printed, content = split()
    fold = content['images']['train'][HOSTILE]
    assert ('train', HOSTILE) in listed(root, fold, 'valid')
    assert 'written to' in printed


def test_parts__only_those_named_are_split(split, root):
    _, content = split('--parts', 'train')
    assert list(content['images']) == ['train']
    assert {part for part, _ in listed(root, 0, 'train')} == {'train'}


def test_report__counts_are_those_of_the_masks(split, root):
    rng = np.random.default_rng(5)
    ignored = np.full((8, 8), 255, np.uint8)
    ignored[0, 0] = 2
    add_image(root, 'train', 'ignored.jpg', rng, ignored)
    printed, content = split()
    masks = [
        np.asarray(Image.open(root / part / 'mask' / mask_name(image_id)))
        for part, images in content['images'].items()
        for image_id in images
    ]
    pixels = [sum(int((mask == i).sum()) for mask in masks) for i in range(3)]
    assert sum(pixels) == 18 * 64 + 1
    rows = content['balance']['classes']
    assert [row['name'] for row in rows] == list(NAMES)
    assert [row['share'] for row in rows] == pytest.approx(
        [count / sum(pixels) for count in pixels]
    )
    assert rows[2]['images'] == 19
    assert sum(rows[2]['images_by_fold']) == 19
    assert (
        content['balance']['absolute']
        <= content['balance']['random']['absolute']['best']
    )
    assert '100 random splits: best' in printed
    assert sorted(content['balance']['images']) == [6, 6, 7]


def test_report__rare_and_absent_classes_are_one_line(split, root):
    rng = np.random.default_rng(5)
    for path in (root / 'train/mask').rglob('*.png'):
        write_mask(path, np.zeros((8, 8), np.uint8))
    for path in (root / 'valid/mask').rglob('*.png'):
        write_mask(path, np.zeros((8, 8), np.uint8))
    add_image(root, 'train', 'jar.jpg', rng, np.full((8, 8), 2, np.uint8))
    printed, _ = split()
    named = [line.split()[0] for line in printed.splitlines() if line[:1] != ' ']
    assert 'jar' in named
    assert 'can' not in named
    line = (
        'fewer images than folds: jar 1; some folds are validated without them; '
        'in no image: can'
    )
    assert line in printed.splitlines()


def test_classes__are_numbered_where_no_table_is_known(split, root, tmp_path):
    """Three classes of other data were the first three of recycling's eleven."""
    (root / 'dataset.json').unlink()
    printed, content = split()
    assert content['classes'] == ['class 0', 'class 1', 'class 2']
    assert f'{root}: no dataset.json, so the classes are numbered' in printed
    (tmp_path / 'names.txt').write_text('sky\nroad\ncar\n')
    _, content = split('--classes', tmp_path / 'names.txt', '--overwrite')
    assert content['classes'] == ['sky', 'road', 'car']


def test_out__is_only_replaced_when_asked(split, misuse, root):
    split()
    before = files_of(root)
    misuse(main, 'folds: exists; pass --overwrite', root, '--folds', 2)
    assert files_of(root) == before
    split('--overwrite', folds=2)
    assert not (root / 'folds/fold2').exists()


def test_out__other_folders_are_left_alone(misuse, root):
    before = files_of(root)
    argv = (root, '--folds', 2, '--jobs', 1, '--overwrite', '--out', root / 'train')
    misuse(main, 'train: holds no folds.json, so it is not replaced', *argv)
    assert files_of(root) == before


@pytest.mark.parametrize(
    ('message', 'options'),
    [
        ('--folds: is 1; give 2 or more', ['--folds', 1]),
        ('--folds 19: 18 images form 18 groups', ['--folds', 19]),
        (
            '--folds 3: 18 images form 2 groups, each kept',
            ['--folds', 3, '--group-by', 'folder'],
        ),
        ('--seed: is -1', ['--seed', -1]),
        ('--jobs: is 0', ['--jobs', 0]),
        ('--group-by: nothing comes alone', ['--group-by', 'nothing', 'folder']),
        ('invalid choice', ['--group-by', 'colour']),
        ('--parts pseudo: its labels are predictions', ['--parts', 'pseudo']),
        ('--parts: train is named twice', ['--parts', 'train', 'train']),
        ('test/images: no such folder', ['--parts', 'train', 'test']),
        ('--parts ../x: is no part', ['--parts', '../x']),
        ('no.csv: no such file; check', ['--groups', 'no.csv']),
    ],
)
def test_misuse__is_named(misuse, root, message, options):
    misuse(main, message, root, '--folds', 2, '--jobs', 1, *options)
    assert not (root / 'folds').exists()


def test_misuse__no_data_root(misuse, tmp_path):
    misuse(main, 'none: no such folder', tmp_path / 'none', '--folds', 2)
    misuse(main, 'holds no labels', tmp_path, '--folds', 2)


@pytest.mark.parametrize(
    ('image_id', 'message'),
    [
        ('b_0/train0.jpg', "'b_0/train0.jpg': in valid, and 'b_0/train0.jpg' in train"),
        ('b_0/train0.jpeg', "'b_0/train0.jpeg': in valid, and 'b_0/train0.jpg' in"),
        (' x.jpg', "' x.jpg': cannot stand in a list"),
        ('x\ny.jpg', 'cannot stand in a list'),
        ('x\u2028y.jpg', 'cannot stand in a list'),
    ],
)
def test_misuse__image_ids(misuse, root, image_id, message):
    add_image(root, 'valid', image_id, np.random.default_rng(1))
    misuse(main, message, root, '--folds', 2, '--jobs', 1)


@pytest.mark.parametrize(
    ('fault', 'message'),
    [
        ('id', 'train0.png: holds class id 3, but there are only 3 classes'),
        ('mask', 'train0.png: no such file'),
        ('image', 'train0.jpg: not a readable image'),
        ('empty', 'valid/images: holds no image'),
        ('ignored', 'no pixel is labelled'),
        ('classes', 'dataset.json: has no list of classes'),
        ('single', 'dataset.json: has 1 classes, not 2 to 255'),
        ('many', 'dataset.json: has 256 classes, not 2 to 255'),
    ],
)
def test_misuse__data(misuse, root, fault, message):
    mask = root / 'train/mask/b_0/train0.png'
    if fault == 'id':
        write_mask(mask, np.full((8, 8), 3, np.uint8))
    elif fault == 'mask':
        mask.unlink()
    elif fault == 'image':
        (root / 'train/images/b_0/train0.jpg').write_bytes(b'no image')
    elif fault == 'empty':
        for path in (root / 'valid/images').rglob('*.jpg'):
            path.unlink()
    elif fault == 'ignored':
        for path in root.rglob('*.png'):
            write_mask(path, np.full((8, 8), 255, np.uint8))
    else:
        names = {
            'classes': 'can',
            'single': ['can'],
            'many': [f'{i}' for i in range(256)],
        }
        (root / 'dataset.json').write_text(json.dumps({'classes': names[fault]}))
    misuse(main, message, root, '--folds', 2, '--jobs', 1)
    assert not (root / 'folds').exists()
