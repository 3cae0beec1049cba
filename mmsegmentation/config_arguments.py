"""Arguments in a config that nothing takes: said before anything is built."""

from collections.abc import Callable, Iterator
from difflib import get_close_matches
from functools import lru_cache
from inspect import Parameter, isclass, signature
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mmengine.config import Config

# Whose parts stand where: by the key at the top of a config, and below it.
TOP = {
    'model': 'MODELS',
    'tta_model': 'MODELS',
    'data_preprocessor': 'MODELS',
    'optim_wrapper': 'OPTIM_WRAPPERS',
    'param_scheduler': 'PARAM_SCHEDULERS',
    'train_cfg': 'LOOPS',
    'val_cfg': 'LOOPS',
    'test_cfg': 'LOOPS',
    'val_evaluator': 'METRICS',
    'test_evaluator': 'METRICS',
    'default_hooks': 'HOOKS',
    'custom_hooks': 'HOOKS',
    'tta_pipeline': 'TRANSFORMS',
    'train_dataloader': None,
    'val_dataloader': None,
    'test_dataloader': None,
}
BELOW = {
    'backbone': 'MODELS',
    'neck': 'MODELS',
    'decode_head': 'MODELS',
    'auxiliary_head': 'MODELS',
    'loss_decode': 'MODELS',
    'data_preprocessor': 'MODELS',
    'dataset': 'DATASETS',
    'datasets': 'DATASETS',
    'pipeline': 'TRANSFORMS',
    'transforms': 'TRANSFORMS',
    'sampler': 'DATA_SAMPLERS',
    'optimizer': 'OPTIMIZERS',
}
# Not parts, though they may have a type.
SETTINGS = {'clip_grad', 'paramwise_cfg'}
# Packages whose parts stand where they say.
KNOWN = {'mmengine', 'mmcv', 'mmseg', 'mmsegmentation'}
# What MMEngine takes out of a part's arguments before it is built.
TAKEN = {
    'HOOKS': {'priority'},
    'PARAM_SCHEDULERS': {'convert_to_iter_based', 'epoch_length'},
    'OPTIM_WRAPPERS': {'optimizer', 'constructor', 'paramwise_cfg'},
}
LOADER = {
    'dataset',
    'sampler',
    'batch_sampler',
    'collate_fn',
    'worker_init_fn',
    'num_batch_per_epoch',
    'disable_subprocess_warning',
}
# What MMEngine's and MMSegmentation's own constructors look up, in silence.
PARAMWISE = {
    'custom_keys',
    'bias_lr_mult',
    'bias_decay_mult',
    'norm_decay_mult',
    'flat_decay_mult',
    'dwconv_decay_mult',
    'dcn_offset_lr_mult',
    'bypass_duplicate',
    'num_layers',
    'decay_rate',
    'decay_type',
    'layer_decay_rate',
    'force_default_settings',
}
CONSTRUCTORS = {
    'DefaultOptimWrapperConstructor',
    'LayerDecayOptimizerConstructor',
    'LearningRateDecayOptimizerConstructor',
}
CLIP = {
    'type',
    'max_norm',
    'norm_type',
    'error_if_nonfinite',
    'foreach',
    'clip_value',
}
# Looked up where they are used, after an epoch: of these, only what looks misspelt.
TEST_CFG = {'mode', 'crop_size', 'stride', 'precision', 'windows', 'strip_memory'}
ENV_CFG = {'cudnn_benchmark', 'mp_cfg', 'dist_cfg', 'resource_limit'}
METAINFO = {'classes', 'palette'}
PREFIX = {'img_path', 'seg_map_path'}
NEAR = 0.8


def check_arguments(cfg: 'Config') -> list[str]:
    """Refuse what no part of a config takes, with the nearest right name.

    A class that hands arguments on to somewhere unknown may take any: of these, and of
    loose settings, a name that is very like a right one is said.

    Returns:
        What is to be said, a line each.

    Raises:
        LookupError: A part is of a type that its registry does not know.
        TypeError: A part does not take an argument.
    """
    lines: list[str] = []
    _check_hooks(cfg.get('default_hooks') or {})
    lines += _check_names('env_cfg', cfg.get('env_cfg') or {}, ENV_CFG, '', True)
    for place, part, kind, known in typed_parts(cfg):
        lines += _check_part(place, part, kind)
        if known:
            _check_type(place, part, kind)
    return lines


def typed_parts(cfg: 'Config') -> Iterator[tuple[str, dict, str | None, bool]]:
    """Yield each part of a config with a type, as :func:`_parts` does."""
    ours = cfg.get('default_scope', 'mmseg') in KNOWN
    for key, registry in TOP.items():
        yield from _parts(cfg.get(key), key, registry, ours)


def _check_hooks(hooks: dict) -> None:
    for key, part in hooks.items():
        if isinstance(part, dict) and 'type' not in part:
            known = [name for name, other in hooks.items() if 'type' in (other or {})]
            near = get_close_matches(key, known, 1)
            hint = f'write {near[0]}' if near else 'name its type'
            raise TypeError(f'default_hooks.{key}: a hook without a type, {hint}')


def _parts(part: Any, place: str, kind: str | None, known: bool) -> Iterator[tuple]:
    """Yield each part with its dotted key, and the registry that its type is of.

    And whether all parts around it are of packages whose parts we know: others may
    build what is below them in ways of their own.
    """
    if isinstance(part, list | tuple):
        for number, one in enumerate(part):
            yield from _parts(one, f'{place}.{number}', kind, known)
    elif isinstance(part, dict):
        yield place, part, kind, known
        if _is_foreign(part, kind):
            return
        found = find_class(part.get('type'), kind)
        package = getattr(found, '__module__', '').partition('.')[0]
        known = known and ('type' not in part or package in KNOWN)
        for key, value in part.items():
            # A dictionary of hooks is none itself.
            inner = BELOW.get(key, None if 'type' in part else kind)
            if key in SETTINGS or (key == 'sampler' and not _is_loader(place)):
                inner = None  # a head's sampler is one of pixels
            if isinstance(value, dict | list | tuple) and key != 'init_cfg':
                yield from _parts(value, f'{place}.{key}', inner, known)


def _is_loader(place: str) -> bool:
    return place.endswith('_dataloader')


def _is_foreign(part: dict, kind: str | None) -> bool:
    """Tell whether the parts within are those of albumentations."""
    from mmseg.datasets.transforms import Albu

    found = find_class(part.get('type'), kind)
    return isclass(found) and issubclass(found, Albu)


def _check_part(place: str, part: dict, kind: str | None) -> list[str]:
    from mmengine.hooks import CheckpointHook
    from mmengine.runner import Runner

    lines: list[str] = []
    found = find_class(part.get('type'), kind)
    if kind == 'OPTIM_WRAPPERS' and 'optimizer' in part and not part.get('type'):
        found = find_class('OptimWrapper', kind)
    if found is not None:
        names, is_open = arguments_of(found)
        names = names | TAKEN.get(str(kind), set())
        is_open |= kind == 'MODELS' and _hands_on(found)
        if isclass(found) and issubclass(found, CheckpointHook):
            # To what it hands all others on, at the first checkpoint.
            names = names | arguments_of(Runner.save_checkpoint)[0]
            is_open = False
        lines += _check_names(place, part, names, found.__name__, is_open)
    for name, known, who in _loose(place, part, found):
        if isinstance(part.get(name), dict):
            inner = f'{place}.{name}' if name else place
            lines += _check_names(inner, part[name], known, who, who == '')
    if place.endswith('_dataloader') and '.' not in place:
        from torch.utils.data import DataLoader

        known = arguments_of(DataLoader)[0] | LOADER
        lines += _check_names(place, part, known, 'DataLoader', False)
    return lines


def _check_type(place: str, part: dict, kind: str | None) -> None:
    """Refuse a name that nothing in its registry has, where that can be told."""
    name = part.get('type')
    if not kind or not isinstance(name, str) or '.' in name or '_scope_' in part:
        return
    if kind == 'METRICS' and 'metrics' in part:
        return  # MMEngine's Evaluator, of several
    if find_class(name, kind) is not None:
        return
    from mmseg import registry

    known: set[str] = set()
    level = getattr(registry, kind)
    while level is not None:
        known |= level.module_dict.keys()
        level = level.parent
    near = get_close_matches(name, known, 1)
    hint = f'write {near[0]}, or ' if near else ''
    text = f'there is no {name} among {kind}, {hint}name its module in'
    raise LookupError(f'{place}: {text} custom_imports')


def _hands_on(found: Any) -> bool:
    """Tell whether a stock model may hand arguments to others than its base class."""
    ours = found.__module__.startswith('mmsegmentation.')
    kinds = [p.kind for p in signature(found).parameters.values()]
    return not ours and Parameter.VAR_KEYWORD in kinds


def _loose(place: str, part: dict, found: Any) -> Iterator[tuple[str, set, str]]:
    """Yield dictionaries without a type: their key, their keys, and who reads them.

    Without a reader's name, other keys may be right.
    """
    if place == 'model':
        yield 'test_cfg', TEST_CFG, ''
    if place == 'optim_wrapper':
        yield 'clip_grad', CLIP, 'clip_grad'
        if part.get('constructor', 'DefaultOptimWrapperConstructor') in CONSTRUCTORS:
            yield 'paramwise_cfg', PARAMWISE, 'paramwise_cfg'
    if getattr(found, '__module__', '').startswith('mmsegmentation.datasets.recycle'):
        yield 'data_prefix', PREFIX, 'data_prefix'
        yield 'metainfo', METAINFO, ''


def _check_names(
    place: str, part: dict, names: set[str], who: str, is_open: bool
) -> list[str]:
    lines = []
    for key in part:
        if key in names or key == 'type' or str(key).startswith('_'):
            continue
        near = get_close_matches(str(key), names, 1, NEAR if is_open else 0.6)
        if not is_open:
            hint = f'write {near[0]}' if near else 'if a base has it, add _delete_=True'
            raise TypeError(
                f'{place}: {who} got an unexpected keyword argument {key!r}, {hint}'
            )
        if near:
            lines.append(f'{place}.{key}: may be misspelt; {near[0]} is one it takes')
    return lines


def find_class(name: Any, kind: str | None) -> Any:
    """Return what a type names in a registry of MMSegmentation; None if nothing."""
    if not kind or not isinstance(name, str):
        return name if kind and callable(name) else None
    from mmseg import registry

    try:
        return getattr(registry, kind).get(name)
    except (ImportError, KeyError):
        return None


@lru_cache(1024)
def arguments_of(found: Callable) -> tuple[set[str], bool]:
    """Return the names of arguments, and whether others may be taken as well.

    ``**kwargs`` of a class are the arguments of the class above it.
    """
    owners = (
        [c.__dict__['__init__'] for c in found.__mro__ if '__init__' in c.__dict__]
        if isclass(found)
        else [found]
    )
    names: set[str] = set()
    for owner in owners:
        parameters = signature(owner).parameters.values()
        names |= {p.name for p in parameters if p.kind is not Parameter.VAR_KEYWORD}
        if not any(p.kind is Parameter.VAR_KEYWORD for p in parameters):
            return names - {'self', 'args'}, False
    return names - {'self', 'args'}, True
