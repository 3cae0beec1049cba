from pathlib import Path

import mmseg
import pytest

import mmsegmentation.engine  # noqa: F401
from mmsegmentation.command import InputError
from mmsegmentation.config_bases import check_bases
from mmsegmentation.runtime import read_config

ROOT = Path(__file__).resolve().parents[2]
STOCK = Path(mmseg.__file__).parent / '.mim/configs'
BASE = """
crop_size = (512, 512)
val_pipeline = [dict(type='LoadImageFromFile'), dict(type='PackSegInputs')]
val_dataloader = dict(batch_size=1, dataset=dict(pipeline=val_pipeline))
test_dataloader = val_dataloader
model = dict(data_preprocessor=dict(size=crop_size))
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.1, weight_decay=5e-4))
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=3)
default_hooks = dict(logger=dict(type='LoggerHook', interval=50))
"""


@pytest.fixture
def check(tmp_path):
    (tmp_path / 'base.py').write_text(BASE)

    def call(child, grandchild=None):
        (tmp_path / 'child.py').write_text("_base_ = './base.py'\n" + child)
        if grandchild is None:
            return check_bases(tmp_path / 'child.py')
        (tmp_path / 'own.py').write_text("_base_ = ['./child.py']\n" + grandchild)
        return check_bases(tmp_path / 'own.py')

    return call


NEW = "val_pipeline = [dict(type='LoadImageFromFile')]\n"


def test_pipeline__that_no_loader_follows_is_refused(check):
    message = (
        r'child\.py: sets val_pipeline, which changes nothing: '
        r'(val|test)_dataloader\.dataset\.pipeline keeps that of its base; add '
        r'(val|test)_dataloader = dict\(dataset=dict\(pipeline=val_pipeline\)\)'
    )
    with pytest.raises(InputError, match=message):
        check(NEW)
    with pytest.raises(InputError, match=message):
        check(NEW, 'work_dir = "w"')


def test_pipeline__that_one_loader_follows_is_said(check):
    both = (
        'val_dataloader = dict(dataset=dict(pipeline=val_pipeline))\n'
        'test_dataloader = dict(dataset=dict(pipeline=val_pipeline))\n'
    )
    (line,) = check(NEW + both.splitlines()[0])
    assert line.endswith(
        'sets val_pipeline, but test_dataloader.dataset.pipeline keeps that of its base'
    )
    assert check(NEW + both) == []


def test_name__that_a_part_does_not_follow_is_said(check):
    (line,) = check('crop_size = (256, 256)')
    assert line.endswith(
        'sets crop_size, but model.data_preprocessor.size keeps that of its base'
    )


def test_preprocessor__whose_name_alone_is_set_is_refused(check):
    name = 'data_preprocessor = dict(size=(64, 64))\n'
    message = (
        r'child\.py: sets data_preprocessor, which changes nothing: '
        r'model\.data_preprocessor keeps that of its base; add '
        r'model = dict\(data_preprocessor=data_preprocessor\)'
    )
    with pytest.raises(InputError, match=message):
        check(name)
    check(name + 'model = dict(data_preprocessor=data_preprocessor)')
    check('model = dict(data_preprocessor=dict(size=(64, 64)))')


def test_type__replaced_without_delete_says_what_it_keeps(check):
    adam = "optim_wrapper = dict(optimizer=dict(type='AdamW', lr=1e-4{}))"
    (line,) = check(adam.format(''))
    assert (
        'optim_wrapper.optimizer: AdamW keeps weight_decay=0.0005 of the SGD that it '
        'replaces; if that is not meant, add _delete_=True'
    ) in line
    assert check(adam.format(', weight_decay=5e-4')) == []
    assert check(adam.format(', _delete_=True')) == []


def test_type__replaced_that_cannot_take_what_it_keeps_is_refused(check):
    loop = "train_cfg = dict(type='IterBasedTrainLoop', max_iters=9{})"
    message = (
        r'train_cfg: IterBasedTrainLoop does not take max_epochs, which it keeps of '
        r'the EpochBasedTrainLoop .*; write train_cfg=dict\(_delete_=True, '
    )
    with pytest.raises(InputError, match=message):
        check(loop.format(''))
    assert check(loop.format(', _delete_=True')) == []
    momentum = "optim_wrapper = {'optimizer': {'momentum': 0.9}}\n"
    adam = "optim_wrapper = dict(optimizer=dict(type='AdamW', weight_decay=0, lr=1))"
    with pytest.raises(InputError, match=r'own\.py: .*AdamW does not take momentum'):
        check(momentum, adam)


def test_hook__replaced_keeps_nothing_in_silence(check):
    hook = "default_hooks = dict(logger=dict(type='ScreenHook'))"
    (line,) = check(hook)
    assert (
        'default_hooks.logger: ScreenHook keeps interval=50 of the LoggerHook' in line
    )


CONFIGS = [*sorted((ROOT / 'configs').rglob('*.py'))[::8]]
SHIPPED = sorted((STOCK / 'segformer').glob('*.py'))[:2]


@pytest.mark.parametrize('path', CONFIGS + SHIPPED, ids=lambda path: path.stem)
def test_config__of_ours_and_of_stock_has_no_trap(path):
    assert path.is_file()
    assert check_bases(path) == []


SEGFORMER = 'mmseg::segformer/segformer_mit-b0_8xb2-160k_ade20k-512x512.py'


def test_base__of_stock_is_found_by_its_package(tmp_path):
    path = tmp_path / 'c.py'
    path.write_text(f'_base_ = {SEGFORMER!r}\ncrop_size = (64, 64)\n')
    cfg = read_config(str(path))
    assert cfg.model.backbone.type == 'MixVisionTransformer'
    (line,) = check_bases(path)
    assert 'sets crop_size, but model.data_preprocessor.size keeps' in line


def test_stock_config__that_sets_a_preprocessor_in_vain_trains_as_in_stock():
    name = 'bisenetv2/bisenetv2_fcn_4xb4-ohem-160k_cityscapes-1024x1024.py'
    assert check_bases(STOCK / name) == []
