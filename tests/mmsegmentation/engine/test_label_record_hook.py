"""Labels that changed between a checkpoint and the run that resumes from it."""

import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from mmseg.registry import DATASETS
from PIL import Image

from mmsegmentation.engine import LabelRecordHook
from mmsegmentation.files import write_mask

LABEL_MAP = np.arange(6, dtype=np.uint8).reshape(2, 3) % 3


@pytest.fixture(params=['RecycleDataset', 'BaseSegDataset'])
def kind(request):
    return request.param


@pytest.fixture
def root(tmp_path):
    for number in range(3):
        path = tmp_path / f'data/train/images/{number}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new('RGB', (3, 2), (number, 0, 0)).save(path)
        write_mask(tmp_path / f'data/train/mask/{number}.png', LABEL_MAP)
    return tmp_path / 'data'


def begin(root, kind):
    """Return the hook of a run at its start."""
    dataset = DATASETS.build(
        dict(
            type=kind,
            data_root=str(root),
            data_prefix=dict(img_path='train/images', seg_map_path='train/mask'),
            metainfo=dict(classes=('a', 'b', 'c'), palette=[[0] * 3] * 3),
            pipeline=[dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')],
            _scope_='mmseg',
            **({} if kind == 'RecycleDataset' else {'img_suffix': '.png'}),
        )
    )
    hook = LabelRecordHook()
    hook.before_train(
        SimpleNamespace(train_dataloader=SimpleNamespace(dataset=dataset))
    )
    return hook


def test_same__labels_say_nothing_wherever_they_lie(root, kind, capsys):
    state = begin(root, kind).state_dict()
    assert sorted(state['masks']) == [f'train/mask/{number}.png' for number in range(3)]
    moved = shutil.copytree(root, root.parent / 'elsewhere')
    begin(moved, kind).load_state_dict(state)
    assert capsys.readouterr().out == ''


def test_changed__labels_are_counted_and_the_first_is_named(root, kind, capsys):
    state = begin(root, kind).state_dict()
    write_mask(root / 'train/mask/1.png', LABEL_MAP[:, ::-1])
    begin(root, kind).load_state_dict(state)
    told = '1 changed, 0 new, 0 gone, train/mask/1.png first; the run continues with'
    assert told in capsys.readouterr().out


def test_changed__images_that_came_and_went_are_counted(root, kind, capsys):
    state = begin(root, kind).state_dict()
    for folder in ('images', 'mask'):
        (root / 'train' / folder / '2.png').rename(root / 'train' / folder / '7.png')
    begin(root, kind).load_state_dict(state)
    assert '0 changed, 1 new, 1 gone, train/mask/7.png first' in capsys.readouterr().out


def test_unknown__labels_say_nothing(root, kind, capsys):
    begin(root, kind).load_state_dict({'masks': {}})
    assert capsys.readouterr().out == ''
