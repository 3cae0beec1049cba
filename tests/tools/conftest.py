"""A data root of a few small scenes, and a model trained on it for a moment."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from mmsegmentation.files import write_mask
from tools import jobs, train

ROOT = Path(__file__).resolve().parents[2]
PARTS = {'train': 4, 'valid': 3, 'test': 2}
TINY = """
_base_ = {base!r}
train_dataloader = dict(batch_size=2, num_workers=0, persistent_workers=False)
val_dataloader = dict(num_workers=0, persistent_workers=False)
test_dataloader = dict(num_workers=0, persistent_workers=False)
train_cfg = dict(max_iters=4, val_interval=2)
default_hooks = dict(checkpoint=dict(interval=2))
"""
CONVNEXT = 'upernet_convnext-mini_1xb8-cutmix-360it_drawn-128x128.py'
BEIT = 'upernet_beit-mini_1xb8-copypaste-360it_drawn-128x128.py'


def draw(folder: Path, count: int, masks: bool) -> None:
    """Draw squares of classes 1 to 3, their colour told by the class."""
    rng = np.random.default_rng(count)
    for number in range(count):
        label_map = np.zeros((96, 128), np.uint8)
        for class_id in (1, 2, 3):
            top, left = rng.integers(0, 60, 2)
            label_map[top : top + 32, left : left + 32] = class_id
        image = np.stack([label_map * 60 + number] * 3, -1)
        path = folder / 'images' / f'batch_{number % 2}' / f'{number // 2}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
        if masks:
            write_mask(folder / 'mask' / path.relative_to(folder / 'images'), label_map)


@pytest.fixture(scope='session')
def shared_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a data root that no test may change."""
    root = tmp_path_factory.mktemp('tools') / 'data'
    for part, count in PARTS.items():
        draw(root / part, count, masks=part != 'test')
    return root


@pytest.fixture
def data_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a data root of the test's own, found by ``RECYCLE_DATA``."""
    for part, count in PARTS.items():
        draw(tmp_path / 'data' / part, count, masks=part != 'test')
    monkeypatch.setenv('RECYCLE_DATA', str(tmp_path / 'data'))
    return tmp_path / 'data'


@pytest.fixture
def own_names(data_root: Path) -> Path:
    """Return a data root in which no two parts have an image id in common."""
    for part in ('valid', 'test'):
        for kind in ('images', 'mask'):
            for folder in sorted((data_root / part / kind).glob('batch_?')):
                folder.rename(folder.with_name(f'{folder.name}_{part}'))
    return data_root


@pytest.fixture
def shared_data(shared_root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv('RECYCLE_DATA', str(shared_root))
    return shared_root


@pytest.fixture(scope='session')
def write_config(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """Write a child of a demonstration config: four steps, small batches."""
    folder = tmp_path_factory.mktemp('configs')

    def write(base: str = CONVNEXT, more: str = '', name: str = 'tiny') -> str:
        path = folder / f'{name}.py'
        path.write_text(TINY.format(base=str(ROOT / 'configs/demo' / base)) + more)
        return str(path)

    return write


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Write a command into a repository of its own, from which it is run."""
    monkeypatch.setattr(jobs, 'HOME', tmp_path / 'home')

    def write(name: str, text: str) -> str:
        path = tmp_path / 'home' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return name

    return write


@pytest.fixture(autouse=True)
def undisturbed() -> Iterator[None]:
    """Give back what MMEngine and the benchmark set for the whole process.

    Sums by other threads are taken in another order: no two trainings would be alike.
    """
    of_cv2, of_torch = cv2.getNumThreads(), torch.get_num_threads()
    environment = dict(os.environ)
    yield
    cv2.setNumThreads(of_cv2)
    torch.set_num_threads(of_torch)
    os.environ.clear()
    os.environ.update(environment)


def _train_once(
    base: str, name: str, shared_root: Path, write_config: Callable[..., str]
) -> tuple[str, Path]:
    earlier = os.environ.get('RECYCLE_DATA')
    os.environ['RECYCLE_DATA'] = str(shared_root)
    try:
        config = write_config(base, name=name)
        work_dir = shared_root.parent / name
        train.main([config, '--work-dir', str(work_dir)])
    finally:
        os.environ.pop('RECYCLE_DATA')
        if earlier is not None:
            os.environ['RECYCLE_DATA'] = earlier
    return config, work_dir


@pytest.fixture(scope='session')
def trained(shared_root: Path, write_config: Callable[..., str]) -> tuple[str, Path]:
    """Return a config and the work folder of its run, which no test may change."""
    return _train_once(CONVNEXT, 'convnext', shared_root, write_config)


@pytest.fixture(scope='session')
def trained_beit(
    shared_root: Path, write_config: Callable[..., str]
) -> tuple[str, Path]:
    """Return the same for the BEiT."""
    return _train_once(BEIT, 'beit', shared_root, write_config)


@pytest.fixture
def own_run(trained: tuple[str, Path], tmp_path: Path) -> tuple[str, Path]:
    """Return the config and a copy of the run, for a test to change."""
    import shutil

    shutil.copytree(trained[1], tmp_path / 'run')
    return trained[0], tmp_path / 'run'


class Smuggler:
    """Runs a command when it is unpickled by a reader that trusts its file."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> tuple:
        return (os.system, (f'touch {self.witness}',))


@pytest.fixture
def smuggled(trained: tuple[str, Path], tmp_path: Path) -> Iterator[Path]:
    """Write a checkpoint that holds a command; the command must never have run."""
    import torch

    content = torch.load(trained[1] / 'iter_4.pth', weights_only=False)
    witness = tmp_path / 'witness'
    path = tmp_path / 'smuggled.pth'
    torch.save({**content, 'meta': Smuggler(witness)}, path)
    yield path
    assert not witness.exists()
