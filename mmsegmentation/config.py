"""Checks of a config before anything is built."""

from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmsegmentation.command import InputError

if TYPE_CHECKING:
    from mmengine.config import Config

# What Runner.from_cfg and our commands read.
RUNNER_KEYS = frozenset(
    {
        'model',
        'work_dir',
        'train_dataloader',
        'val_dataloader',
        'test_dataloader',
        'train_cfg',
        'val_cfg',
        'test_cfg',
        'auto_scale_lr',
        'optim_wrapper',
        'param_scheduler',
        'val_evaluator',
        'test_evaluator',
        'default_hooks',
        'custom_hooks',
        'data_preprocessor',
        'load_from',
        'resume',
        'launcher',
        'env_cfg',
        'log_processor',
        'log_level',
        'visualizer',
        'default_scope',
        'model_wrapper_cfg',
        'strategy',
        'sync_bn',
        'find_unused_parameters',
        'activation_checkpointing',
        'efficient_conv_bn_eval',
        'compile',
        'randomness',
        'experiment_name',
        'custom_imports',
        'tta_model',
        'tta_pipeline',
        'fold',
        'folds',
        'pseudo_part',
        'trains_on_validation',
    }
)
# Schedules whose learning rate falls until their end.
FALLING = 'PolyLR', 'CosineAnnealingLR', 'OneCycleLR'
# Names that configs give to parts of themselves: all that MMSegmentation's own use,
# fp16 and runner among them, which nothing has read since 1.0.
HELPER_KEYS = frozenset(
    {
        'albu_train_transforms',
        'backbone_embed_multi',
        'backbone_norm_cfg',
        'backbone_norm_multi',
        'checkpoint',
        'checkpoint_file',
        'class_weight',
        'conv_kernel_size',
        'crop_size',
        'custom_keys',
        'data_root',
        'dataset_aug',
        'dataset_train',
        'dataset_type',
        'depths',
        'embed_multi',
        'fp16',
        'ham_norm_cfg',
        'img_norm_cfg',
        'img_prefix',
        'img_ratios',
        'img_scale',
        'iters',
        'load_pipeline',
        'max_iters',
        'mean_bgr',
        'metainfo',
        'models',
        'norm_cfg',
        'num_classes',
        'num_stages',
        'optimizer',
        'pretrained',
        'pseudo_set',
        'runner',
        'stable_diffusion_cfg',
        'test_img_scale',
        'test_pipeline',
        'total_iters',
        'train_ann',
        'train_img_scale',
        'train_pipeline',
        'train_set',
        'used_labels',
        'val_ann',
        'val_img_scale',
        'val_pipeline',
        'vis_backends',
    }
)


def check_top_level_keys(cfg: 'Config') -> None:
    """Refuse a top-level key that nothing reads. Most often it is misspelt.

    A name that starts with an underscore is accepted, and so is a name that another
    part of the config reads. Imported or defined classes and functions are accepted
    too.

    Raises:
        InputError: A key is unknown. The message names the most similar known key.
    """
    from mmsegmentation.config_types import names_in_use

    known = RUNNER_KEYS | HELPER_KEYS
    unknown = [
        key
        for key, value in cfg.items()
        if not (key in known or key.startswith('_') or callable(value))
    ]
    used = names_in_use(Path(cfg.filename)) if unknown and cfg.filename else set()
    for key in unknown:
        if key not in used:
            near = get_close_matches(key, known, n=1)
            hint = f'write {near[0]}' if near else 'begin its name with an underscore'
            hint = 'write randomness=dict(seed=...)' if key == 'seed' else hint
            raise InputError(
                cfg.filename or 'config', f'unknown top-level key {key!r}', hint
            )


def settle_preprocessor(cfg: 'Config') -> None:
    """Move a top-level ``data_preprocessor`` of ``cfg`` into its model.

    A preprocessor that the model already has is kept. MMEngine would use the top-level
    one for a model without any, and for test-time augmentation in any case.
    """
    named = cfg.pop('data_preprocessor', None)
    if named and isinstance(cfg.get('model'), dict):
        cfg.model.setdefault('data_preprocessor', named)


def view_notes(cfg: 'Config') -> list[str]:
    """Return a note if no view of test-time augmentation has the size of the test.

    This happens if only the test pipeline was changed. Pipelines that scale by a factor
    of the image's size, as in stock configs, are not compared.
    """
    tested = _scales_of(cfg.test_dataloader.dataset.get('pipeline') or [])
    viewed = _scales_of(cfg.tta_pipeline)
    if not tested or not viewed or tested & viewed:
        return []
    views, test = (', '.join(map(str, sorted(each))) for each in (viewed, tested))
    return [
        f'tta_pipeline resizes to {views}, but test_dataloader to {test}; if this is '
        'not intended, set tta_pipeline too'
    ]


def _scales_of(steps: Iterable[Any]) -> set[tuple]:
    scales: set[tuple] = set()
    for step in steps:
        if isinstance(step, list | tuple):
            scales |= _scales_of(step)
        elif 'transforms' in step:
            scales |= _scales_of(step['transforms'])
        elif isinstance(step.get('scale'), list | tuple):
            scales.add(tuple(step['scale']))
    return scales


def check_strategy(cfg: 'Config') -> None:
    """Refuse a ``strategy`` with which a run would not do what its config says.

    Raises:
        InputError: It is not FSDP, there is one process, or a part of the config needs
            the undivided model.
    """
    strategy = cfg.get('strategy')
    if not strategy:
        return
    hooks = [hook.get('type') for hook in cfg.get('custom_hooks') or []]
    if strategy.get('type') != 'FSDPStrategy':
        what, way_out = f'is {strategy.get("type")}', 'name FSDPStrategy, or none'
    elif cfg.optim_wrapper.get('accumulative_counts', 1) > 1:
        what = 'cannot be resumed between two steps, where accumulative_counts gathers'
        way_out = 'leave it out; more processes make a larger batch'
    elif 'EMAHook' in hooks:
        what, way_out = 'has no whole weights for EMAHook to average', 'leave it out'
    elif cfg.launcher == 'none':
        what = 'divides the model among processes, and there is one'
        way_out = 'start it with tools/launch.sh'
    else:
        return
    raise InputError('strategy', what, way_out)


def schedule_notes(cfg: 'Config') -> list[str]:
    """Return a note for each part whose length or start does not fit the run.

    This happens if only ``train_cfg.max_iters`` was changed, because the length is set
    in other places too.
    """
    by_epoch = 'max_epochs' in cfg.train_cfg
    end = cfg.train_cfg.get('max_epochs' if by_epoch else 'max_iters')
    if not end:
        return []
    given = cfg.get('param_scheduler') or []
    parts = given if isinstance(given, list | tuple) else [given]
    notes = []
    for number, part in enumerate(parts):
        if part.get('by_epoch', True) == by_epoch:
            key = f'param_scheduler.{number}' if parts is given else 'param_scheduler'
            what = _schedule_note(part, key, end, is_last=part is parts[-1])
            notes += [f'{key} ({part.type}) {what}'] if what else []
    return notes + _late_notes(cfg, end, by_epoch)


def _schedule_note(part: Any, key: str, end: int, is_last: bool) -> str:
    """Return a note if the length of a schedule does not fit the run, else ''."""
    last = part.get('end') or part.get('total_steps') or 0
    name = 'end' if 'end' in part else 'total_steps'
    falls = part.get('type') in FALLING
    if part.get('begin', 0) >= end:
        way_out = f'set {key}.begin below {end}'
        way_out += f' and {key}.{name}={end}' if last > end else ''
        return f'begins at {part.begin}, and the run ends at {end}: {way_out}'
    if last > end:
        does = 'falls' if falls else 'lasts'
        return f'{does} until {last}, and the run ends at {end}: set {key}.{name}={end}'
    late = [step for step in part.get('milestones') or [] if step >= end]
    if late:
        return f'has a milestone at {late[0]}, and the run ends at {end}: set {key}'
    if falls and last and last < end and is_last:
        return f'is over at {last}, and the rate stays as it is until {end}'
    return ''


def _late_notes(cfg: 'Config', end: int, by_epoch: bool) -> list[str]:
    """Return a note for each part of a run that would begin after the run's end."""
    parts = {f'default_hooks.{k}': v for k, v in cfg.get('default_hooks', {}).items()}
    listed = enumerate(cfg.get('custom_hooks') or [])
    parts |= {f'custom_hooks.{number}': hook for number, hook in listed}
    unit = 'epoch' if by_epoch else 'iter'
    begins = {'train_cfg.val_begin': cfg.train_cfg.get('val_begin')}
    for key, hook in parts.items():
        hook = hook or {}
        names = [f'begin_{unit}', f'switch_{unit}']
        names += ['save_begin'] if hook.get('by_epoch', True) == by_epoch else []
        begins |= {f'{key}.{name}': hook.get(name) for name in names}
    return [
        f'{key} is {begin}, and the run ends at {end}: it never begins'
        for key, begin in begins.items()
        if isinstance(begin, int) and begin > end
    ]


def check_option(key: str) -> None:
    """Refuse to set a name that a config gave to a part of itself.

    The parts that use it were made when the file was read: it would change nothing.

    Raises:
        InputError: ``key`` begins with such a name.
    """
    name = key.partition('.')[0]
    if name == 'data_preprocessor':
        raise InputError(
            f'--cfg-options {key}',
            'does not change the preprocessor of the model',
            f'set model.{key}',
        )
    if name in HELPER_KEYS or name.startswith('_'):
        example = 'name the part that uses it, such as train_cfg.max_iters'
        raise InputError(
            f'--cfg-options {key}',
            f'changes nothing, {name} is only a name within the config',
            'pass --data-root' if name == 'data_root' else example,
        )


def type_name(part: Any) -> str:
    """Return the name of a part's type, without its scope or module.

    Args:
        part: The config of a part. Its type is a name or a class.
    """
    kind = part.get('type')
    return getattr(kind, '__name__', str(kind)).rpartition('.')[2]
