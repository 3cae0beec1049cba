import os
from pathlib import Path

import numpy as np
import pytest
from mmseg.datasets import MultiImageMixDataset
from mmseg.registry import DATASETS
from PIL import Image

from mmsegmentation.command import InputError
from mmsegmentation.datasets import RecycleDataset
from mmsegmentation.files import write_json, write_mask

NAMES = ('batch_01_vt/0002.jpg', 'batch_02_vt/0002.jpg', 'batch_02_vt/0003.jpg')


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for i, name in enumerate(NAMES):
        path = tmp_path / 'train/images' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new('RGB', (6, 4), (40 * i, 0, 0)).save(path, quality=100)
        mask = (tmp_path / 'train/mask' / name).with_suffix('.png')
        write_mask(mask, np.full((4, 6), i, np.uint8))
    return tmp_path


def config(root: Path, **changes) -> dict:
    prefix = dict(img_path='train/images', seg_map_path='train/mask')
    return {
        'type': 'RecycleDataset',
        'data_root': str(root),
        'data_prefix': prefix,
        'pipeline': [
            dict(type='LoadImageFromFile', _scope_='mmseg'),
            dict(type='LoadAnnotations', _scope_='mmseg'),
        ],
        **changes,
    }


def build(root: Path, **changes) -> RecycleDataset:
    return DATASETS.build(config(root, **changes))


def test_dataset__same_names_in_two_folders_keep_their_own_masks(root):
    dataset = build(root)
    assert len(dataset) == 3
    for i, name in enumerate(NAMES):
        assert dataset[i]['img_path'].endswith(name)
        assert (dataset[i]['gt_seg_map'] == i).all()


def test_dataset__lists_its_folder_once_and_not_for_every_sample(root, monkeypatch):
    """The 2023 system searched the folder anew for each sample."""
    dataset = build(root)

    def refuse(*_args, **_kwargs):
        raise AssertionError('a folder is listed')

    for name in ('scandir', 'listdir', 'walk'):
        monkeypatch.setattr(os, name, refuse)
    for name in ('glob', 'rglob', 'iterdir'):
        monkeypatch.setattr(Path, name, refuse)
    assert [dataset[i]['gt_seg_map'].max() for i in range(3)] == [0, 1, 2]


def test_dataset__works_where_its_data_root_was_moved_to(root):
    """The 2023 system held absolute paths."""
    (root / 'fold.txt').write_text(f'{NAMES[1]}\n')
    moved = root.parent / 'moved'
    root.rename(moved)
    (sample,) = build(moved, ann_file='fold.txt')
    assert sample['img_path'] == str(moved / 'train/images' / NAMES[1])
    assert (sample['gt_seg_map'] == 1).all()


def test_dataset__ann_file_chooses_images(root):
    (root / 'fold.txt').write_text(f'{NAMES[2]}\n')
    dataset = build(root, ann_file='fold.txt')
    assert [Path(d['img_path']).name for d in dataset] == ['0003.jpg']


def test_dataset__byte_order_mark_of_windows_is_no_part_of_a_name(root):
    (root / 'fold.txt').write_text(f'{NAMES[2]}\n', encoding='utf-8-sig')
    assert len(build(root, ann_file='fold.txt')) == 1


def test_dataset__id_outside_the_table_stops_with_file_and_id(root):
    write_mask(root / 'train/mask/batch_02_vt/0003.png', np.full((4, 6), 11, np.uint8))
    with pytest.raises(InputError, match=r'0003\.png: holds class id 11'):
        build(root)


def test_dataset__without_zero_label_takes_one_off_each_id(root):
    """Ids 1 and 2 of two classes are right: 0 counts for nothing then."""
    names = dict(metainfo=dict(classes=('Paper', 'Metal')), reduce_zero_label=True)
    write_json(root / 'dataset.json', {'classes': ['Background', 'Paper', 'Metal']})
    dataset = build(root, **names)
    assert [np.unique(s['gt_seg_map']).tolist() for s in dataset] == [[255], [0], [1]]
    assert dataset.class_pixels().tolist() == [[0, 0], [24, 0], [0, 24]]
    write_mask(root / 'train/mask/batch_02_vt/0003.png', np.full((4, 6), 3, np.uint8))
    message = r'0003\.png: gives class id 2 after reduce_zero_label, but .* only 2 cl'
    with pytest.raises(InputError, match=message):
        build(root, **names)


def test_dataset__ignored_pixels_are_no_unknown_class(root):
    write_mask(root / 'train/mask/batch_02_vt/0003.png', np.full((4, 6), 255, np.uint8))
    assert len(build(root)) == 3


def test_dataset__missing_mask_stops_with_its_name(root):
    (root / 'train/mask/batch_01_vt/0002.png').unlink()
    with pytest.raises(InputError, match=r'batch_01_vt/0002\.png: no such file'):
        build(root)


def test_dataset__missing_folder_says_how_to_make_it(tmp_path):
    with pytest.raises(InputError, match='prepare_data'):
        build(tmp_path / 'nowhere')


def test_dataset__missing_pseudo_labels_say_how_to_make_them(root):
    prefix = dict(img_path='pseudo/images', seg_map_path='pseudo/mask')
    message = r'pseudo/images: no such folder; make it with utils/pseudo_label\.py'
    with pytest.raises(InputError, match=message):
        build(root, data_prefix=prefix)


def test_dataset__own_classes_need_no_code(root):
    dataset = build(root, metainfo=dict(classes=('floor', 'can', 'jar')))
    assert dataset.metainfo['classes'] == ('floor', 'can', 'jar')
    assert len(dataset.metainfo['palette']) == 3


def test_dataset__classes_other_than_the_data_roots_are_refused(root):
    write_json(root / 'dataset.json', {'classes': ['floor', 'can']})
    with pytest.raises(InputError, match='classes'):
        build(root)


@pytest.mark.parametrize('name', ['RandomCutMix', 'CopyPaste'])
def test_mixing__works_in_the_stock_wrapper_and_loads_no_partner_in_vain(
    root, name, monkeypatch
):
    loads = []
    original = RecycleDataset.__getitem__
    monkeypatch.setattr(
        RecycleDataset,
        '__getitem__',
        lambda self, i: loads.append(i) or original(self, i),
    )
    counts = {}
    for prob in (0.0, 1.0):
        loads.clear()
        step = dict(type=name, prob=prob, _scope_='mmseg')
        dataset = MultiImageMixDataset(dataset=config(root), pipeline=[step])
        assert dataset[0]['gt_seg_map'].shape == (4, 6)
        counts[prob] = len(loads)
    assert counts == {0.0: 1, 1.0: 2}
