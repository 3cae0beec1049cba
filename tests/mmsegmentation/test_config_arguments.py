import pytest
from mmengine.config import Config
from mmseg.registry import MODELS

import mmsegmentation.datasets
import mmsegmentation.engine
import mmsegmentation.evaluation
import mmsegmentation.models  # noqa: F401
from mmsegmentation.config_arguments import arguments_of, check_arguments
from mmsegmentation.datasets import RecycleDataset


def check(**parts):
    return check_arguments(Config(parts))


def loader(**dataset):
    return dict(dataset=dict(type='RecycleDataset', **dataset))


MISSPELT = {
    'transform': (
        dict(train_dataloader=loader(pipeline=[dict(type='CopyPaste', prb=1)])),
        r'train_dataloader\.dataset\.pipeline\.0: CopyPaste .* \'prb\', write prob',
    ),
    'data set': (
        dict(val_dataloader=loader(data_rot='x')),
        r"val_dataloader\.dataset: RecycleDataset .* 'data_rot', write data_root",
    ),
    'data set of the class above': (
        dict(val_dataloader=loader(ignore_idx=255)),
        r"'ignore_idx', write ignore_index",
    ),
    'folder': (
        dict(train_dataloader=loader(data_prefix=dict(img_pth='a'))),
        r"dataset\.data_prefix: data_prefix .* 'img_pth', write img_path",
    ),
    'data loader': (
        dict(train_dataloader=dict(batch_sze=2)),
        r"train_dataloader: DataLoader .* 'batch_sze', write batch_size",
    ),
    'hook': (
        dict(custom_hooks=[dict(type='ScreenHook', intervall=5)]),
        r"custom_hooks\.0: ScreenHook .* 'intervall', write interval",
    ),
    'named hook': (
        dict(default_hooks=dict(logger=dict(type='LoggerHook', intervl=5))),
        r"default_hooks\.logger: LoggerHook .* 'intervl', write interval",
    ),
    'hook that hands on': (
        dict(default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval_=5))),
        r"default_hooks\.checkpoint: CheckpointHook .* 'interval_', write interval",
    ),
    'name of a hook': (
        dict(
            default_hooks=dict(
                chekpoint=dict(interval=5), checkpoint=dict(type='CheckpointHook')
            )
        ),
        r'default_hooks\.chekpoint: a hook without a type, write checkpoint',
    ),
    'metric that swallows it': (
        dict(val_evaluator=dict(type='IoUMetric', iou_metric=['mIoU'])),
        r"val_evaluator: IoUMetric .* 'iou_metric', write iou_metrics",
    ),
    'optimiser': (
        dict(optim_wrapper=dict(optimizer=dict(type='AdamW', weight_decy=1))),
        r"optim_wrapper\.optimizer: AdamW .* 'weight_decy', write weight_decay",
    ),
    'argument of another optimiser': (
        dict(optim_wrapper=dict(optimizer=dict(type='AdamW', momentum=0.9))),
        r"'momentum', if a base has it, add _delete_=True",
    ),
    'setting that is looked up in silence': (
        dict(optim_wrapper=dict(paramwise_cfg=dict(norm_decay_mul=0))),
        r"paramwise_cfg .* 'norm_decay_mul', write norm_decay_mult",
    ),
    'scheduler': (
        dict(param_scheduler=[dict(type='PolyLR', powr=1)]),
        r"param_scheduler\.0: PolyLR .* 'powr', write power",
    ),
    'model': (
        dict(model=dict(backbone=dict(type='ConvNeXt', drop_path_rat=0.1))),
        r"model\.backbone: ConvNeXt .* 'drop_path_rat', write drop_path_rate",
    ),
}


@pytest.mark.parametrize(('parts', 'message'), MISSPELT.values(), ids=MISSPELT)
def test_argument__that_nothing_takes_is_refused_with_the_nearest(parts, message):
    with pytest.raises(TypeError, match=message):
        check(**parts)


@pytest.mark.parametrize(
    ('parts', 'message'),
    [
        (
            dict(custom_hooks=[dict(type='ScreenHook'), dict(type='EMAHok')]),
            'custom_hooks.1: there is no EMAHok among HOOKS, write EMAHook, or name '
            'its module in custom_imports',
        ),
        (
            dict(train_dataloader=loader(pipeline=[dict(type='CopyPast')])),
            'pipeline.0: there is no CopyPast among TRANSFORMS, write CopyPaste',
        ),
        (
            dict(train_dataloader=dict(sampler=dict(type='Quite-another'))),
            'train_dataloader.sampler: there is no Quite-another among DATA_SAMPLERS, '
            'name its module in custom_imports',
        ),
    ],
    ids=['hook', 'transform', 'sampler'],
)
def test_type__that_nothing_has_is_refused_with_the_nearest(parts, message):
    with pytest.raises(LookupError, match=message):
        check(**parts)


UNKNOWN_LET_THROUGH = {
    'sampler of pixels': dict(
        model=dict(decode_head=dict(type='FCNHead', sampler=dict(type='OHEM')))
    ),
    'part of another package': dict(custom_hooks=[dict(type='mmdet.AnotherHook')]),
    'part of another scope': dict(custom_hooks=[dict(type='X', _scope_='mmdet')]),
    'config of another scope': dict(default_scope='x', custom_hooks=[dict(type='X')]),
    'way of clipping': dict(
        optim_wrapper=dict(
            optimizer=dict(type='AdamW'), clip_grad=dict(type='norm', max_norm=1.0)
        )
    ),
    'evaluator of several metrics': dict(
        val_evaluator=dict(type='Evaluator', metrics=[dict(type='IoUMetric')])
    ),
    'below a transform of others': dict(
        train_dataloader=loader(
            pipeline=[dict(type='mmdet.Albu', transforms=[dict(type='HorizontalFlip')])]
        )
    ),
}


@pytest.mark.parametrize('parts', UNKNOWN_LET_THROUGH.values(), ids=UNKNOWN_LET_THROUGH)
def test_type__that_cannot_be_told_is_let_through(parts):
    assert check(**parts) == []


def test_type__below_a_model_of_others_is_let_through():
    @MODELS.register_module(force=True)
    class Own:
        def __init__(self, backbone):
            """Build a backbone by other names."""

    assert check(model=dict(type='Own', backbone=dict(type='resnet34'))) == []


def test_argument__that_is_handed_on_is_said_where_it_looks_misspelt():
    hook = dict(type='EMAHook', begin_itr=2, something_else=1)
    (line,) = check(custom_hooks=[hook])
    assert line.startswith('custom_hooks.0.begin_itr: may be misspelt; begin_iter')
    (line,) = check(env_cfg=dict(cudnn_benchmarkk=True))
    assert line.startswith(
        'env_cfg.cudnn_benchmarkk: may be misspelt; cudnn_benchmark '
    )
    (line,) = check(model=dict(type='EncoderDecoder', test_cfg=dict(crop_sze=1)))
    assert line.startswith('model.test_cfg.crop_sze: may be misspelt; crop_size')


def test_arguments__of_parts_of_others_are_theirs():
    steps = [dict(type='Resize', height=3, width=3), dict(type='RandomCrop', p=1)]
    pipeline = [dict(type='SeededAlbu', transforms=steps)]
    hooks = [dict(type='EMAHook', momentum=0.1, priority='LOW', _scope_='mmseg')]
    assert check(train_dataloader=loader(pipeline=pipeline), custom_hooks=hooks) == []


def test_optim_wrapper__without_a_type_is_mmengines_own():
    optimizer = dict(type='AdamW', lr=1e-4)
    one = dict(
        optimizer=optimizer,
        clip_grad=dict(max_norm=1.0),
        paramwise_cfg=dict(custom_keys=dict(head=dict(lr_mult=10.0))),
    )
    assert check(optim_wrapper=one) == []
    several = dict(constructor='Own', body=one, head=dict(optimizer=optimizer))
    assert check(optim_wrapper=several) == []
    with pytest.raises(TypeError, match=r"OptimWrapper .* 'clip_grd', write clip_grad"):
        check(optim_wrapper=dict(optimizer=optimizer, clip_grd={}))


def test_arguments__of_a_class_are_also_those_of_the_class_above():
    names, is_open = arguments_of(RecycleDataset)
    assert not is_open
    assert {'cache', 'check_labels', 'data_root', 'reduce_zero_label'} <= names
    assert not {'self', 'kwargs'} & names
