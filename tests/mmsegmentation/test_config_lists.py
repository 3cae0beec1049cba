import json
from pathlib import Path

import pytest
from mmengine.config import Config

import mmsegmentation.datasets  # noqa: F401
from mmsegmentation.config_lists import restore_tuples

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = sorted((ROOT / 'configs').rglob('*.py'))
LOADERS = 'train_dataloader', 'test_dataloader', 'tta_pipeline'


def test_configs__are_found():
    assert len(CONFIGS) > 50


@pytest.mark.parametrize('path', CONFIGS[::4], ids=lambda path: path.stem)
def test_json__has_the_tuples_of_the_python_config(path, tmp_path):
    cfg = Config.fromfile(path, import_custom_modules=False)
    cfg.dump(tmp_path / 'c.json')
    found = Config.fromfile(tmp_path / 'c.json', import_custom_modules=False)
    restore_tuples(found)
    for key in LOADERS:
        assert found[key] == cfg[key]


def restored(tmp_path, name, **parts):
    path = tmp_path / name
    path.write_text(json.dumps(parts))  # which is YAML as well
    cfg = Config.fromfile(path, import_custom_modules=False)
    restore_tuples(cfg)
    return cfg


@pytest.mark.parametrize('name', ['c.json', 'c.yaml', 'c.yml'])
def test_lists__of_choices_stay_lists_and_sizes_become_tuples(tmp_path, name):
    steps = [
        dict(type='RandomResize', scale=[[64, 32], [128, 64]], keep_ratio=True),
        dict(type='RandomChoiceResize', scales=[32, 64]),
        dict(type='RandomChoiceResize', scales=[[32, 64], [64, 32]]),
        dict(type='RandomFlip', prob=[0.25, 0.25], direction=['vertical', 'diagonal']),
    ]
    cfg = restored(tmp_path, name, tta_pipeline=steps)
    found = [list(step.values())[1] for step in cfg.tta_pipeline]
    assert found == [
        [(64, 32), (128, 64)],
        [32, 64],
        [(32, 64), (64, 32)],
        [0.25, 0.25],
    ]
    assert cfg.tta_pipeline[3].direction == ['vertical', 'diagonal']


def test_lists__of_factors_are_views_to_one_transform_and_a_pair_to_another(tmp_path):
    steps = [
        dict(type='MultiScaleFlipAug', transforms=[], scale_factor=[0.5, 1.0]),
        dict(type='Resize', scale_factor=[0.5, 1.0]),
    ]
    views, pair = restored(tmp_path, 'c.json', tta_pipeline=steps).tta_pipeline
    assert views.scale_factor == [0.5, 1.0]
    assert pair.scale_factor == (0.5, 1.0)


def test_lists__of_models_become_tuples_by_their_default(tmp_path):
    neck = dict(type='JPU', in_channels=[8, 16, 32], mid_channels=8)
    fpn = dict(type='FPN', in_channels=[8, 16], out_channels=8, num_outs=2)
    cfg = restored(tmp_path, 'c.json', model=dict(neck=[neck, fpn]))
    assert cfg.model.neck[0].in_channels == (8, 16, 32)
    assert cfg.model.neck[1].in_channels == [8, 16]


def test_python_config__is_left_as_it_is(tmp_path):
    path = tmp_path / 'c.py'
    path.write_text("tta_pipeline = [dict(type='Resize', scale=[64, 32])]")
    cfg = Config.fromfile(path)
    restore_tuples(cfg)
    assert cfg.tta_pipeline[0].scale == [64, 32]
