"""What a config takes over from its bases without meaning to."""

import ast
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from mmsegmentation.command import InputError
from mmsegmentation.config import RUNNER_KEYS
from mmsegmentation.config_arguments import BELOW, TOP, arguments_of, find_class

# Where arguments of another type are taken over in silence, and change results. Parts
# of models are exchanged for their like all the time.
SILENT = 'OPTIMIZERS', 'OPTIM_WRAPPERS', 'HOOKS', 'METRICS', 'LOOPS', 'DATA_SAMPLERS'


def check_bases(path: Path) -> list[str]:
    """Look for two traps of MMEngine's bases in a config file and in those under it.

    A part of another type keeps the arguments of the one that it replaces, unless it
    says ``_delete_=True``. And a name that a base gave to a pipeline, such as
    ``val_pipeline``, was used when the base was read: set anew, it changes nothing.

    Args:
        path: The config file.

    Returns:
        What may be meant, a line each.

    Raises:
        InputError: What cannot be: an argument that the new type does not take, or a
            pipeline that nothing uses.
    """
    _read.cache_clear()  # a file may read the environment
    lines: list[str] = []
    for child, bases in dict(_chain(path)).items():
        base: dict[str, Any] = {}
        for one in bases:
            base.update(_read(one))
        lines += _check_types(child, base)
        _check_preprocessor(child, _read(child), base)
        lines += _check_names(child, _read(child), base)
    return lines


def name_stock_configs() -> None:
    """Make MMEngine find the configs that ``_base_ = 'mmseg::...'`` names.

    MMEngine's table maps ``mmseg`` to ``mmsegmentation``, the original distribution.
    The maintained line has another name, and this project's package has that name.
    """
    from mmengine.config.utils import MODULE2PACKAGE

    MODULE2PACKAGE['mmseg'] = 'mmseg'


@lru_cache(32)
def _read(path: Path) -> dict[str, Any]:
    from mmengine.config import Config

    return _unscoped(Config.fromfile(path, import_custom_modules=False).to_dict())


def _unscoped(part: Any) -> Any:
    """Remove the ``_scope_`` that MMEngine adds to each part of a package's config."""
    if isinstance(part, dict):
        return {k: _unscoped(v) for k, v in part.items() if k != '_scope_'}
    if isinstance(part, list | tuple):
        return type(part)(map(_unscoped, part))
    return part


def _chain(path: Path) -> Iterator[tuple[Path, list[Path]]]:
    """Yield each config with its bases, the deepest first."""
    bases = base_files(path)
    for base in bases:
        yield from _chain(base)
    if bases:
        yield path, bases


def base_files(path: Path) -> list[Path]:
    """Return the files of a config's bases. They may be in other packages."""
    from mmengine.config import Config

    places = [Config._get_cfg_path(name, str(path))[0] for name in _bases(path)]
    return [Path(place).resolve() for place in places]


def _assignments(path: Path) -> Iterator[tuple[str, ast.expr]]:
    if path.suffix != '.py':
        return
    for node in ast.parse(path.read_text(encoding='utf-8')).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            yield node.targets[0].id, node.value


def _bases(path: Path) -> list[str]:
    value = dict(_assignments(path)).get('_base_')
    try:
        names = ast.literal_eval(value) if value else []
    except ValueError:
        return []
    return [names] if isinstance(names, str) else list(names)


def _check_types(path: Path, base: dict[str, Any]) -> list[str]:
    lines: list[str] = []
    for name, value in _assignments(path):
        if name in TOP and name in base:
            for found in _replaced(value, base[name], name, TOP[name]):
                lines += _check_kept(path, *found)
    return lines


def _replaced(
    node: ast.expr, old: Any, place: str, kind: str | None
) -> Iterator[tuple]:
    """Yield each part whose type another one takes, with what it keeps."""
    own = _items(node)
    if own is None or not isinstance(old, dict) or '_delete_' in own:
        return
    given = own.get('type')
    if isinstance(given, ast.Constant) and old.get('type') not in (None, given.value):
        kept = {k: v for k, v in old.items() if k != 'type' and k not in own}
        if kept and kind:
            yield place, kind, old['type'], given.value, kept
    for key, value in own.items():
        inner = BELOW.get(key, None if 'type' in old else kind)
        yield from _replaced(value, old.get(key), f'{place}.{key}', inner)


def _items(node: ast.expr) -> dict[str, ast.expr] | None:
    """Return the items of a dictionary in a config's text; None if it is none."""
    if isinstance(node, ast.Call) and getattr(node.func, 'id', '') == 'dict':
        pairs = [(word.arg, word.value) for word in node.keywords]
    elif isinstance(node, ast.Dict):
        keys = [getattr(key, 'value', None) for key in node.keys]
        pairs = list(zip(keys, node.values, strict=True))
    else:
        return None
    if any(key is None for key, _ in pairs):  # what **part holds is not written here
        return None
    return {str(key): value for key, value in pairs}


def _check_kept(
    path: Path, place: str, kind: str, old: str, new: str, kept: dict[str, Any]
) -> list[str]:
    found = find_class(new, kind)
    if found is None:
        return []  # an unknown type is told when it is built
    names, is_open = arguments_of(found)
    parts = {'optimizer', 'constructor', 'paramwise_cfg', 'priority'}
    kept = {key: value for key, value in kept.items() if key not in parts}
    wrong = [key for key in kept if key not in names and not is_open]
    if wrong:
        raise InputError(
            path,
            f'{place}: {new} does not take {", ".join(wrong)}, which it keeps of the '
            f'{old} that it replaces',
            f'write {place.rpartition(".")[2]}=dict(_delete_=True, type={new!r}, ...)',
        )
    if kind not in SILENT or not kept or _are_related(old, new, kind):
        return []
    shown = ', '.join(f'{key}={value}' for key, value in kept.items())
    return [
        f'{path}: {place}: {new} keeps {shown} of the {old} that it replaces; '
        'if that is not meant, add _delete_=True'
    ]


def _are_related(old: str, new: str, kind: str) -> bool:
    first, second = find_class(old, kind), find_class(new, kind)
    if not (isinstance(first, type) and isinstance(second, type)):
        return False
    return issubclass(first, second) or issubclass(second, first)


def _check_preprocessor(path: Path, cfg: dict[str, Any], base: dict[str, Any]) -> None:
    """Refuse a config that sets ``data_preprocessor`` without effect on its model.

    MMSegmentation's own configs are accepted, because one of them does so.

    Raises:
        InputError: The model keeps the preprocessor of its base.
    """
    name = 'data_preprocessor'
    own, old = ((part.get('model') or {}).get(name) for part in (cfg, base))
    assigned = name in dict(_assignments(path)) and '.mim' not in path.parts
    if assigned and own and own == old and cfg[name] != base.get(name, own):
        raise InputError(
            path,
            f'sets {name}, which changes nothing: model.{name} keeps that of its base',
            f'add model = dict({name}={name})',
        )


def _check_names(path: Path, cfg: dict[str, Any], base: dict[str, Any]) -> list[str]:
    lines: list[str] = []
    for name, old in base.items():
        if name in RUNNER_KEYS or not isinstance(old, list | tuple | dict | str):
            continue
        if not old or name not in cfg or cfg[name] == old:
            continue
        stale = [
            place
            for place, value in _values(base)
            if value == old and _at(cfg, place) == old
        ]
        if not stale:
            continue
        place = '.'.join(map(str, stale[0]))
        followed = any(value == cfg[name] for _, value in _values(cfg))
        if name.endswith('pipeline') and not followed:
            raise InputError(
                path,
                f'sets {name}, which changes nothing: {place} keeps that of its base',
                f'add {_restated(stale[0], name)}',
            )
        lines.append(f'{path}: sets {name}, but {place} keeps that of its base')
    return lines


def _values(cfg: Any) -> Iterator[tuple[tuple, Any]]:
    """Yield place and value of all entries in the parts that are read, in fixed order.

    The part ``model`` comes first.
    """
    for key in ('model', *sorted(RUNNER_KEYS - {'model'})):
        if key in cfg:
            yield from _inside(cfg[key], (key,))


def _inside(part: Any, place: tuple) -> Iterator[tuple[tuple, Any]]:
    yield place, part
    if isinstance(part, dict):
        for key, value in part.items():
            yield from _inside(value, (*place, key))
    elif isinstance(part, list | tuple):
        for number, value in enumerate(part):
            yield from _inside(value, (*place, number))


def _at(cfg: Any, place: tuple) -> Any:
    for key in place:
        try:
            cfg = cfg[key]
        except (LookupError, TypeError):
            return None
    return cfg


def _restated(place: tuple, name: str) -> str:
    text = name
    for key in reversed(place[1:]):
        text = f'dict({key}={text})'
    return f'{place[0]} = {text}'
