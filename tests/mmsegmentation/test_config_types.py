import pytest

from mmsegmentation.command import InputError
from mmsegmentation.config_types import names_in_use
from mmsegmentation.runtime import parse_config, read_config

BASE = """
import math

import torch
from mmcv.transforms import LoadAnnotations as PlainLabels
from mmengine.hooks import LoggerHook
from mmengine.optim import AmpOptimWrapper
from mmseg.datasets.transforms import LoadAnnotations
from mmseg.models.backbones import ResNetV1c
from torch.nn import BatchNorm2d

width = int(math.sqrt(64))
model = dict(
    backbone=dict(type=ResNetV1c, base_channels=width, norm_cfg=dict(type=BatchNorm2d))
)
tta_pipeline = [dict(type=LoadAnnotations), dict(type=PlainLabels)]
default_hooks = dict(logger=dict(type=LoggerHook, interval=9))
optim_wrapper = dict(type=AmpOptimWrapper, dtype=torch.float16)
"""


@pytest.fixture
def read(tmp_path):
    def call(child=''):
        (tmp_path / 'base.py').write_text(BASE)
        path = tmp_path / 'child.py'
        path.write_text(f"""
from mmengine.config import read_base

with read_base():
    from .base import *
{child}""")
        return read_config(str(path))

    return call


def test_classes__are_named_as_mmsegmentation_finds_them(read):
    cfg = read()
    assert cfg.model.backbone == dict(
        type='ResNetV1c', base_channels=8, norm_cfg=dict(type='BN')
    )
    assert cfg.default_hooks == dict(logger=dict(type='LoggerHook', interval=9))
    assert cfg.optim_wrapper.type == 'AmpOptimWrapper'


def test_classes__hidden_by_one_of_the_same_name_are_named_by_their_module(read):
    ours, plain = read().tta_pipeline
    assert ours.type == 'LoadAnnotations'
    assert plain.type == 'mmcv.transforms.loading.LoadAnnotations'


def test_imports__are_no_part_of_the_config(read):
    cfg = read()
    assert 'LoggerHook' not in cfg
    assert 'math' not in cfg


def test_values__other_than_types_stay_objects(read):
    import torch

    assert read().optim_wrapper.dtype is torch.float16


def test_scope__is_ours_where_none_is_set(read):
    assert read().default_scope == 'mmseg'
    assert read('default_scope = None\n').default_scope == 'mmseg'
    assert read("default_scope = 'mmpretrain'\n").default_scope == 'mmpretrain'


def test_name__that_nothing_reads_is_refused(read):
    assert read('half = 2\nmodel.update(width=half)\n').half == 2
    with pytest.raises(InputError, match="unknown top-level key 'modle'; write model"):
        read('modle = dict()\n')


def test_name__that_a_child_or_a_part_reads_is_in_use(tmp_path):
    (tmp_path / 'base.py').write_text('rate = 1\nwidth = 2\nother = 3\n')
    child = tmp_path / 'child.py'
    child.write_text("_base_ = './base.py'\nmodel = dict(other=_base_.rate)\n")
    assert names_in_use(child) >= {'rate'}
    assert not names_in_use(child) & {'width', 'other'}


def test_name__that_a_file_reads_in_another_way_is_in_use(tmp_path):
    (tmp_path / 'base.py').write_text('rate = 2\nmodel = dict()\n')
    child = tmp_path / 'child.py'
    for value in ("_base_['rate']", "_base_.get('rate')", '{{_base_.rate}}'):
        child.write_text(f"_base_ = './base.py'\nmodel = dict(width={value})\n")
        assert parse_config(str(child)).model.width == 2
    child = tmp_path / 'child.json'
    child.write_text('{"_base_": "./base.py", "model": {"width": {{ _base_.rate }}}}')
    assert parse_config(str(child)).model.width == 2


def test_name__of_a_loop_or_an_import_is_no_misspelt_key(tmp_path):
    path = tmp_path / 'c.py'
    path.write_text("""
from functools import partial
from pathlib import Path

class Own:
    pass

def twice(x):
    return 2 * x

steps = []
for number, _ in [(0, 1), (1, 2)]:
    steps.append(dict(type='Resize'))
test_dataloader = dict(dataset=dict(pipeline=steps))
""")
    assert len(parse_config(str(path)).test_dataloader.dataset.pipeline) == 2
    path.write_text('for unused in [1]:\n    batch = 2\n')
    with pytest.raises(InputError, match="unknown top-level key 'batch'"):
        parse_config(str(path))
