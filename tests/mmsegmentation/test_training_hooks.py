import pytest
from mmengine.config import Config

from mmsegmentation.training_hooks import HOOKS, add_hooks

IOU = dict(type='IoUMetric', iou_metrics=['mIoU', 'mDice'])


def with_hooks(**parts):
    cfg = Config(parts)
    add_hooks(cfg)
    return cfg.default_hooks


def test_hooks__are_added_to_a_config_that_names_none():
    assert with_hooks() == {key: {'type': name} for key, name in HOOKS.items()}


def test_hooks__that_the_config_names_stay_and_are_not_doubled():
    screen = dict(type='ScreenHook', interval=7)
    hooks = with_hooks(
        custom_hooks=[screen],
        default_hooks=dict(guard=dict(type='FiniteLossHook', max_skips=2)),
    )
    assert 'screen' not in hooks
    assert 'finite_loss' not in hooks
    assert hooks['guard'] == dict(type='FiniteLossHook', max_skips=2)


def test_hooks__named_with_a_scope_or_by_their_module_are_not_doubled():
    named = [
        dict(type='mmseg.ScreenHook', interval=7),
        dict(type='mmsegmentation.engine.finite_loss_hook.FiniteLossHook'),
    ]
    hooks = with_hooks(custom_hooks=named)
    assert hooks.keys() == HOOKS.keys() - {'screen', 'finite_loss'}


def test_hooks__take_arguments_and_none_turns_one_off():
    given = dict(sample_check=dict(leaks='say'), quarantine=None)
    hooks = with_hooks(default_hooks=given)
    assert hooks['sample_check'] == dict(type='SampleCheckHook', leaks='say')
    assert 'quarantine' not in hooks  # MMEngine refuses None but for hooks of its own
    assert with_hooks(default_hooks=dict(timer=None))['timer'] is None


@pytest.mark.parametrize(
    ('evaluator', 'kept'),
    [
        (IOU, 'mIoU'),
        ([dict(type='CityscapesMetric'), IOU], 'mIoU'),
        (dict(type='ExactIoUMetric'), 'mIoU'),
        (dict(type='mmseg.IoUMetric'), 'mIoU'),
        (dict(IOU, prefix='val'), None),
        (dict(type='IoUMetric', iou_metrics=['mDice']), None),
        (None, None),
    ],
)
def test_best_checkpoint__is_kept_where_validation_gives_miou(evaluator, kept):
    keeper = dict(type='CheckpointHook')
    parts = dict(val_dataloader=dict(batch_size=1), val_evaluator=evaluator)
    hooks = with_hooks(default_hooks=dict(checkpoint=keeper), **parts)
    assert hooks['checkpoint'].get('save_best') == kept
    own = dict(keeper, save_best=None)
    hooks = with_hooks(default_hooks=dict(checkpoint=own), **parts)
    assert hooks['checkpoint'] == own
