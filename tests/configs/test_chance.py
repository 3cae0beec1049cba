"""What no config may hold: a number drawn once, a place of one machine, a leak.

The 2023 system drew one gamma when its config was parsed, applied a probability twice,
named absolute paths, and trained on the images that it scored.
"""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmseg.datasets import MultiImageMixDataset
from mmseg.registry import DATASETS, TRANSFORMS
from mmseg.utils import register_all_modules
from PIL import Image

import mmsegmentation.datasets  # noqa: F401
from mmsegmentation.files import write_mask

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = sorted(path.relative_to(ROOT) for path in ROOT.glob('configs/**/*.py'))
DRAWS = 400
each_config = pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)


@pytest.fixture(scope='module')
def data_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Draw a single image per part, with two classes of object."""
    root = tmp_path_factory.mktemp('chance')
    rng = np.random.default_rng(0)
    for part in ('train', 'valid', 'pseudo'):
        image = root / part / 'images/a/1.png'
        image.parent.mkdir(parents=True)
        Image.fromarray(rng.integers(0, 256, (64, 64, 3), np.uint8)).save(image)
        label_map = np.zeros((64, 64), np.uint8)
        label_map[8:30, 8:50], label_map[40:60, 30:44] = 3, 6
        write_mask(root / part / 'mask/a/1.png', label_map)
        sure = root / part / 'confidence/a/1.png'
        sure.parent.mkdir(parents=True)
        Image.fromarray(np.full((64, 64), 200, np.uint8)).save(sure)
    return root


@pytest.fixture(autouse=True)
def at_data_root(data_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    register_all_modules(init_default_scope=True)
    monkeypatch.setenv('RECYCLE_DATA', str(data_root))
    seed(0)


def seed(number: int) -> None:
    random.seed(number)
    np.random.seed(number)
    torch.manual_seed(number)


def read(path: Path) -> Config:
    return Config.fromfile(ROOT / path, import_custom_modules=False)


def values_of(node: Any) -> Iterator[Any]:
    """Yield all that stands in a config, at any depth."""
    if isinstance(node, dict | list | tuple):
        for child in node.values() if isinstance(node, dict) else node:
            yield from values_of(child)
    else:
        yield node


def prefixes_of(node: Any) -> Iterator[dict]:
    """Yield the ``data_prefix`` of every data set in a loader."""
    if isinstance(node, dict):
        if 'data_prefix' in node:
            yield node['data_prefix']
        for child in node.values():
            yield from prefixes_of(child)
    elif isinstance(node, list | tuple):
        for child in node:
            yield from prefixes_of(child)


def test_configs__are_found() -> None:
    assert len(CONFIGS) >= 30


@each_config
def test_config__is_the_same_however_the_dice_fall(path: Path) -> None:
    seed(1)
    first = read(path)
    seed(2)
    assert read(path).to_dict() == first.to_dict()


@each_config
def test_config__two_samples_of_one_image_differ(path: Path) -> None:
    dataset = DATASETS.build(read(path).train_dataloader.dataset)
    one, other = dataset[0]['inputs'], dataset[0]['inputs']
    assert one.shape == other.shape
    assert (one != other).float().mean() > 0.2


@each_config
def test_config__draws_nothing_from_a_generator_that_all_workers_share(
    path: Path,
) -> None:
    pipeline = read(path).train_dataloader.dataset.pipeline
    assert 'Albu' not in [step.type for step in pipeline]


@each_config
def test_config__names_no_place_of_one_machine(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv('RECYCLE_DATA')
    texts = [value for value in values_of(read(path).to_dict()) if type(value) is str]
    assert 'input/data' in texts
    assert [text for text in texts if text.startswith(('/', '~'))] == []


@each_config
def test_config__trains_on_nothing_that_it_is_scored_on(path: Path) -> None:
    cfg = read(path)
    trained = [prefix.img_path for prefix in prefixes_of(cfg.train_dataloader)]
    scored = [prefix.img_path for prefix in prefixes_of(cfg.val_dataloader)]
    assert trained
    if cfg.get('trains_on_validation'):  # says so, and is not scored
        assert trained == ['train/images', 'valid/images']
        assert scored == []
        return
    assert set(trained) <= {'train/images', 'pseudo/images'}
    assert scored == ['valid/images']


@pytest.mark.parametrize('name', ['RandomCutMix', 'CopyPaste'])
def test_mixing__probability_is_applied_once_in_the_wrapper(
    name: str, data_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mixed = []
    cls = TRANSFORMS.get(name)
    mix = cls.mix
    monkeypatch.setattr(cls, 'mix', lambda *args: mixed.append(1) or mix(*args))
    source = dict(
        type='RecycleDataset',
        data_root=str(data_root),
        data_prefix=dict(img_path='train/images', seg_map_path='train/mask'),
        pipeline=[dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')],
    )
    dataset = MultiImageMixDataset(source, [dict(type=name, prob=0.5)])
    for _ in range(DRAWS):
        dataset[0]
    assert 0.42 < len(mixed) / DRAWS < 0.58


@pytest.mark.parametrize('name', ['transpose', 'clahe'])
def test_albumentations__probability_is_applied_once(name: str) -> None:
    (path,) = (p for p in CONFIGS if f'-{name}-' in p.stem)
    pipeline = read(path).train_dataloader.dataset.pipeline
    (step,) = (step for step in pipeline if step.type == 'SeededAlbu')
    assert step.transforms[0].p == 0.5
    transform = TRANSFORMS.build(step)
    image = np.random.randint(0, 60, (16, 16, 3), np.uint8)
    label_map = np.zeros((16, 16), np.uint8)
    changed = 0
    for _ in range(DRAWS):
        sample = {'img': image.copy(), 'gt_seg_map': label_map, 'seg_fields': []}
        changed += (transform(sample)['img'] != image).any()
    assert 0.42 < changed / DRAWS < 0.58
