"""One cache beside another, and one run beside another."""

import errno
import os
import pickle
from operator import itemgetter
from pathlib import Path

import numpy as np
import pytest
from mmseg.registry import DATASETS
from PIL import Image
from torch.utils.data import DataLoader

from mmsegmentation.datasets import RecycleDataset, pixel_cache
from mmsegmentation.datasets.transforms.load_decoded import decode
from mmsegmentation.files import write_mask

COUNT, SHAPE = 5, (4, 6)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Draw images that differ; their labels are of class 3."""
    rng = np.random.default_rng(0)
    (tmp_path / 'train/images').mkdir(parents=True)
    for i in range(COUNT):
        image = Image.fromarray(rng.integers(0, 256, (*SHAPE, 3), dtype=np.uint8))
        image.save(tmp_path / f'train/images/{i}.png')
    draw_masks(tmp_path, 'train/mask', 3)
    return tmp_path


def draw_masks(root: Path, folder: str, value: int) -> None:
    for i in range(COUNT):
        write_mask(root / folder / f'{i}.png', np.full(SHAPE, value, np.uint8))


def build(root: Path, masks: str = 'train/mask') -> RecycleDataset:
    dataset = DATASETS.build(
        dict(
            type='RecycleDataset',
            data_root=str(root),
            data_prefix=dict(img_path='train/images', seg_map_path=masks),
            pipeline=[dict(type='LoadDecoded', _scope_='mmseg')],
            cache=True,
        )
    )
    assert dataset._pixels is not None
    return dataset


def cached_files(root: Path) -> list[Path]:
    return list((root / '.cache').glob('*.bin'))


def test_cache__mask_folders_of_like_names_keep_their_own_labels(root):
    values = {'train/mask': 3, 'train/mask-v2': 4, 'train/mask/v2': 5}
    for folder, value in values.items():
        draw_masks(root, folder, value)
    for _ in range(2):
        for folder, value in values.items():
            assert (build(root, folder)[0]['gt_seg_map'] == value).all()
    assert len(cached_files(root)) == 3


def open_cache(root: Path, name: str, *pairs: tuple[str, str]):
    return pixel_cache.open_cache(root / '.cache', name, pairs, decode, 1e9)


def test_cache__one_image_with_two_masks_gives_the_labels_asked_for(root):
    draw_masks(root, 'other', 10)
    image, *masks = (
        str(root / f'{k}/0.png') for k in ('train/images', 'train/mask', 'other')
    )
    cache = open_cache(root, 'both', *((image, mask) for mask in masks))
    for mask, value in zip(masks, (3, 10), strict=True):
        _, labels = cache.get(image, mask)
        assert (labels == value).all()


def test_cache__build_removes_no_file_of_a_longer_name(root):
    pair = tuple(str(root / f'train/{part}/0.png') for part in ('images', 'mask'))
    for name in ('a-b', 'a-0123abcd', 'a'):
        assert open_cache(root, name, pair)
    assert len(cached_files(root)) == 3


def renew(root: Path) -> None:
    """Change a file and open the cache, as another run would."""
    write_mask(root / f'train/mask/{COUNT - 1}.png', np.full(SHAPE, 7, np.uint8))
    assert (build(root)[COUNT - 1]['gt_seg_map'] == 7).all()


def test_cache__file_that_is_mapped_stays_until_the_next_build(root):
    reader = build(root)
    (data,) = cached_files(root)
    expected = reader[0]['img']
    renew(root)
    assert data.exists()
    np.testing.assert_array_equal(reader[0]['img'], expected)
    view = reader._pixels.get(*(reader[0][k] for k in ('img_path', 'seg_map_path')))
    del reader
    renew(root)
    assert data.exists(), 'a view keeps the map, and so its lock'
    del view
    renew(root)
    (left,) = cached_files(root)
    assert left != data


@pytest.mark.parametrize(
    'method', ['fork', pytest.param('spawn', marks=pytest.mark.slow)]
)
def test_cache__worker_holds_the_file_after_its_parent_let_go(root, method):
    dataset = build(root)
    (data,) = cached_files(root)
    loader = DataLoader(
        dataset,
        num_workers=1,
        collate_fn=itemgetter(0),
        multiprocessing_context=method,
        timeout=120,
    )
    samples = iter(loader)
    found = [next(samples)]
    dataset._pixels = None
    renew(root)
    assert data.exists()
    found += samples  # the worker ends after the last
    for i, sample in enumerate(found):
        np.testing.assert_array_equal(sample['img'], dataset[i]['img'])
    renew(root)
    (left,) = cached_files(root)
    assert left != data


def test_cache__file_removed_before_it_is_locked_is_not_mapped(root, monkeypatch):
    dataset = pickle.loads(pickle.dumps(build(root)))
    (data,) = cached_files(root)
    monkeypatch.setattr(pixel_cache, '_flock', lambda _: data.unlink())
    info = dataset.get_data_info(0)
    assert dataset._pixels.get(info['img_path'], info['seg_map_path']) is None


def test_cache__is_read_where_locks_are_not_supported(root, monkeypatch):
    build(root)
    (data,) = cached_files(root)

    def refuse(*_args):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr('fcntl.flock', refuse)
    assert build(root)._pixels.path == data
