"""The cache holds what the files hold, and never half of it."""

import copy
import errno
import json
import multiprocessing
import os
import pickle
import shutil
from operator import itemgetter
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmcv.transforms import LoadImageFromFile
from mmseg.datasets.transforms import LoadAnnotations
from mmseg.registry import DATASETS
from PIL import Image
from torch.utils.data import DataLoader

import mmsegmentation.datasets
from mmsegmentation.command import InputError
from mmsegmentation.datasets import RecycleDataset, pixel_cache
from mmsegmentation.files import write_mask

SHAPES = {
    'a/1.jpg': (24, 40),
    'a/2.png': (7, 5),
    'b/1.jpg': (16, 16),
    'b/t.jpg': (9, 6),
}
TURNED, DEEP = 'b/t.jpg', 'b/deep.png'


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Draw images of several sizes, one turned by EXIF and one of 16 bits."""
    rng = np.random.default_rng(0)
    for name, shape in {**SHAPES, DEEP: (5, 8)}.items():
        path = tmp_path / 'root/train/images' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
        exif = Image.Exif()
        exif[0x0112] = 6 if name == TURNED else 1
        if name == DEEP:
            cv2.imwrite(str(path), image.astype(np.uint16) * 257)
        else:
            Image.fromarray(image).save(path, exif=exif)
        mask = (tmp_path / 'root/train/mask' / name).with_suffix('.png')
        seen = shape[::-1] if name == TURNED else shape
        write_mask(mask, rng.choice([0, 3, 10, 255], seen).astype(np.uint8))
    return tmp_path / 'root'


def build(root: Path, **changes) -> RecycleDataset:
    config = {
        'type': 'RecycleDataset',
        'data_root': str(root),
        'data_prefix': dict(img_path='train/images', seg_map_path='train/mask'),
        'pipeline': [dict(type='LoadDecoded', _scope_='mmseg')],
        'cache': True,
    }
    return DATASETS.build({**config, **changes})


def cache_files(root: Path) -> list[str]:
    return sorted(p.suffix for p in (root / '.cache').glob('*') if p.is_file())


def check_same(dataset: RecycleDataset, cached: bool = True) -> None:
    """Compare every sample with what MMSegmentation reads from the files."""
    assert (dataset._pixels is not None) == cached
    for i in range(len(dataset)):
        expected = dataset.get_data_info(i)
        for step in (LoadImageFromFile(), LoadAnnotations()):
            expected = step(expected)
        found = dataset[i]
        assert found.keys() == expected.keys()
        for key in ('img', 'gt_seg_map'):
            np.testing.assert_array_equal(found[key], expected.pop(key))
        assert {k: found[k] for k in expected} == expected


def test_cache__gives_the_files_pixels_and_metadata(root):
    check_same(build(root))
    assert cache_files(root) == ['.bin', '.json', '.lock']
    index = json.loads(next((root / '.cache').glob('*.json')).read_text())
    pixels = sum(4 * h * w for h, w in [*SHAPES.values(), (5, 8)])
    assert index['size'] == pixels


def test_cache__is_made_once(root, monkeypatch):
    build(root)
    forbid_decoding(monkeypatch)
    dataset = build(root)
    assert len([dataset[i] for i in range(len(dataset))]) == 5


def forbid_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args):
        raise AssertionError('a file is decoded')

    monkeypatch.setattr(mmsegmentation.datasets.recycle, 'decode', refuse)
    for loader in (LoadImageFromFile, LoadAnnotations):
        monkeypatch.setattr(loader, 'transform', refuse)


def test_cache__views_are_read_only_and_copies_are_not(root):
    step = dict(type='LoadDecoded', copy=False, _scope_='mmseg')
    view, copied = build(root, pipeline=[step])[0], build(root)[0]
    for key in ('img', 'gt_seg_map'):
        assert not view[key].flags.writeable
        assert copied[key].flags.writeable


@pytest.mark.parametrize('name', ['images/a/2.png', 'mask/a/2.png'])
def test_cache__changed_file_is_read_anew_and_alone(root, name, monkeypatch):
    build(root)
    path = root / 'train' / name
    values = np.full(SHAPES['a/2.png'], 3, np.uint8)
    if 'mask' in name:
        write_mask(path, values)
    else:
        Image.fromarray(np.dstack([values] * 3)).save(path)
    decoded, decode = [], mmsegmentation.datasets.recycle.decode
    monkeypatch.setattr(
        mmsegmentation.datasets.recycle,
        'decode',
        lambda *pair: decoded.append(pair) or decode(*pair),
    )
    check_same(build(root))
    assert len(decoded) == 1
    assert cache_files(root) == ['.bin', '.json', '.lock']


def test_cache__same_size_and_another_time_is_a_change(root):
    build(root)
    path = root / 'train/mask/b/1.png'
    labels = np.asarray(Image.open(path)).copy()
    size = path.stat().st_size
    write_mask(path, np.flip(labels).copy())
    with path.open('ab') as file:
        file.write(b'\0' * max(0, size - path.stat().st_size))
    os.utime(path, ns=(1, 1))
    check_same(build(root))


def test_cache__same_size_and_time_of_another_file_is_a_change(root):
    path = root / 'train/mask/b/1.png'
    write_mask(path, np.full(SHAPES['b/1.jpg'], 3, np.uint8))
    old = path.stat()
    build(root)
    write_mask(path, np.full(SHAPES['b/1.jpg'], 4, np.uint8))
    os.utime(path, ns=(old.st_atime_ns, old.st_mtime_ns))
    assert path.stat().st_size == old.st_size
    check_same(build(root))


def test_cache__line_break_in_a_file_name_is_part_of_it(root, monkeypatch):
    for part, end in (('images', 'jpg'), ('mask', 'png')):
        path = root / f'train/{part}/b/1.{end}'
        path.rename(path.with_name(f'1\n2.{end}'))
    check_same(build(root))
    forbid_decoding(monkeypatch)
    assert build(root)._pixels is not None


@pytest.mark.parametrize('harm', ['shorter', 'gone', 'empty', 'no json', 'no keys'])
def test_cache__torn_one_is_made_anew(root, harm):
    build(root)
    (data,), (index,) = ((root / '.cache').glob(f'*.{end}') for end in ('bin', 'json'))
    content = data.read_bytes()
    if harm == 'gone':
        data.unlink()
    elif harm in ('shorter', 'empty'):
        data.write_bytes(content[:-1] if harm == 'shorter' else b'')
    else:
        index.write_text('{"made' if harm == 'no json' else '{}')
    check_same(build(root))
    assert cache_files(root) == ['.bin', '.json', '.lock']


def test_cache__of_other_decoders_is_made_anew(root, monkeypatch):
    build(root)
    monkeypatch.setattr(pixel_cache, 'MADE_BY', 'another release')
    decoded, decode = [], mmsegmentation.datasets.recycle.decode
    monkeypatch.setattr(
        mmsegmentation.datasets.recycle,
        'decode',
        lambda *pair: decoded.append(pair) or decode(*pair),
    )
    build(root)
    assert len(decoded) == 5


def test_cache__parts_of_a_folder_share_one(root, monkeypatch):
    for name, ids in (('one', ['a/1.jpg', 'b/1.jpg']), ('two', ['a/2.png', 'b/1.jpg'])):
        (root / f'{name}.txt').write_text('\n'.join(ids))
        check_same(build(root, ann_file=f'{name}.txt'))
    forbid_decoding(monkeypatch)
    assert build(root, ann_file='one.txt')[0]['img'].shape == (24, 40, 3)


def test_cache__works_where_its_data_root_was_moved_to(root, monkeypatch):
    build(root)
    moved = root.with_name('moved')
    shutil.move(root, moved)
    forbid_decoding(monkeypatch)
    monkeypatch.chdir(moved.parent)
    for place in (moved, 'moved', './moved/'):
        assert build(place)[0]['img'].shape == (24, 40, 3)


def test_cache__copies_and_pickles_do_not_hold_the_pixels(root):
    dataset = build(root)
    assert len(pickle.dumps(dataset)) < 20_000
    for twin in (pickle.loads(pickle.dumps(dataset)), copy.deepcopy(dataset)):
        check_same(twin)


def test_cache__subset_keeps_its_own_samples(root):
    dataset = build(root)
    dataset.get_subset_([3, 1])
    check_same(dataset)


def test_cache__replaced_file_is_no_error_to_an_older_reader(root):
    dataset = pickle.loads(pickle.dumps(build(root)))
    for data in (root / '.cache').glob('*.bin'):
        data.unlink()
    check_same(dataset)


def _build_in_process(root: Path, queue) -> None:
    count = []
    decode = mmsegmentation.datasets.recycle.decode
    mmsegmentation.datasets.recycle.decode = lambda *pair: (
        count.append(1) or decode(*pair)
    )
    check_same(build(root))
    queue.put(len(count))


def test_cache__three_processes_make_one(root):
    context = multiprocessing.get_context('fork')
    queue = context.Queue()
    processes = [
        context.Process(target=_build_in_process, args=(root, queue)) for _ in range(3)
    ]
    for process in processes:
        process.start()
    counts = sorted(queue.get(timeout=60) for _ in processes)
    for process in processes:
        process.join()
    assert counts == [0, 0, 5]
    assert cache_files(root) == ['.bin', '.json', '.lock']


def warned(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(pixel_cache, 'print_log', lambda line, *_: lines.append(line))
    return lines


def test_cache__full_disk_falls_back_to_the_files(root, monkeypatch):
    lines = warned(monkeypatch)

    def full(*_args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(pixel_cache, '_append', full)
    check_same(build(root), cached=False)
    assert len(lines) == 1
    assert 'No space left on device' in lines[0]
    assert cache_files(root) == ['.lock']


def test_cache__that_would_fill_the_disk_is_not_begun(root, monkeypatch):
    lines = warned(monkeypatch)
    usage = shutil.disk_usage(root)._replace(free=-1)
    monkeypatch.setattr(pixel_cache.shutil, 'disk_usage', lambda _: usage)
    check_same(build(root), cached=False)
    assert 'No space left' in lines[0]
    assert cache_files(root) == ['.lock']


def test_cache__larger_than_allowed_falls_back_to_the_files(root, monkeypatch):
    lines = warned(monkeypatch)
    check_same(build(root, cache_gb=1e-6), cached=False)
    assert 'more than' in lines[0]
    assert cache_files(root) == ['.lock']


def test_cache__data_root_without_write_access_falls_back(root, monkeypatch):
    lines = warned(monkeypatch)
    (root / '.cache').write_text('a file where the folder should be')
    check_same(build(root), cached=False)
    assert 'the files are read' in lines[0]


def test_cache__index_that_cannot_be_written_falls_back(root, monkeypatch):
    build(root)
    (index,) = (root / '.cache').glob('*.json')
    index.unlink()
    index.mkdir()
    lines = warned(monkeypatch)
    check_same(build(root), cached=False)
    assert len(lines) == 1
    assert '(Is a directory); the files are read' in lines[0]
    assert len(list((root / '.cache').glob('*.bin'))) == 1


def test_cache__that_cannot_be_mapped_falls_back(root, monkeypatch):
    lines = warned(monkeypatch)

    def refuse(*_args, **_kwargs):
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    monkeypatch.setattr(pixel_cache.mmap, 'mmap', refuse)
    check_same(build(root), cached=False)
    assert 'cannot be read back' in lines[-1]


def test_cache__unreadable_image_stops_with_its_name(root):
    (root / 'train/images/b/1.jpg').write_bytes(b'no image')
    with pytest.raises(InputError, match=r'b/1\.jpg: cannot be decoded'):
        build(root)
    assert cache_files(root) == []


def test_cache__interrupted_build_leaves_nothing(root, monkeypatch):
    def interrupt(*_args):
        raise KeyboardInterrupt

    monkeypatch.setattr(pixel_cache, '_append', interrupt)
    with pytest.raises(KeyboardInterrupt):
        build(root)
    assert cache_files(root) == ['.lock']


@pytest.mark.parametrize('cache', [True, False])
def test_load__image_of_one_row_keeps_its_labels_flat(tmp_path, cache):
    image = np.zeros((1, 6, 3), np.uint8)
    for part in ('images', 'mask'):
        (tmp_path / 'train' / part).mkdir(parents=True)
    Image.fromarray(image).save(tmp_path / 'train/images/1.png')
    write_mask(tmp_path / 'train/mask/1.png', np.full((1, 6), 255, np.uint8))
    sample = build(tmp_path, cache=cache)[0]
    assert sample['gt_seg_map'].shape == (1, 6)
    assert (sample['gt_seg_map'] == 255).all()


@pytest.mark.parametrize('test_mode', [True, False])
@pytest.mark.parametrize('workers', [0, 1])
def test_load__validation_without_mixing_gives_the_files_samples(
    root, test_mode, workers
):
    steps = (
        [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')],
        [dict(type='LoadDecoded')],
    )
    after = [
        dict(type='Resize', scale=(16, 16), keep_ratio=True),
        dict(type='PackSegInputs', meta_keys=('img_path', 'ori_shape', 'img_shape')),
    ]
    for step in (*steps[0], *steps[1], *after):
        step['_scope_'] = 'mmseg'
    files, cached = (
        build(root, pipeline=[*load, *after], test_mode=test_mode, cache=cache)
        for load, cache in zip(steps, (False, True), strict=True)
    )
    loader = DataLoader(cached, num_workers=workers, collate_fn=itemgetter(0))
    samples = list(loader)
    assert len(samples) == 5
    for sample, expected in zip(samples, files, strict=True):
        assert (sample['inputs'] == expected['inputs']).all()
        found, wanted = sample['data_samples'], expected['data_samples']
        assert (found.gt_sem_seg.data == wanted.gt_sem_seg.data).all()
        assert found.metainfo == wanted.metainfo
