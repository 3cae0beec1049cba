"""Lists of a JSON or YAML config that stand for tuples."""

from inspect import isclass, signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmsegmentation.config_arguments import find_class, typed_parts

if TYPE_CHECKING:
    from mmengine.config import Config

# Arguments of transforms that are lists of choices, also in Python configs. For all
# other transforms two factors are those of width and height.
CHOICES = {'prob', 'scales'}
VIEWS = 'MultiScaleFlipAug', 'scale_factor'


def restore_tuples(cfg: 'Config') -> None:
    """Turn lists of numbers in ``cfg`` into tuples if a part expects a tuple.

    JSON and YAML have no tuples, and MMCV accepts ``scale=(128, 128)`` but no list. All
    sizes and ranges of transforms become tuples. So do arguments whose default is a
    tuple. Python configs are not changed.
    """
    if Path(cfg.filename or '').suffix not in ('.json', '.yaml', '.yml'):
        return
    for _, part, kind, _ in typed_parts(cfg):
        found = find_class(part.get('type'), kind)
        defaults = _defaults(found)
        for key, value in part.items():
            if (getattr(found, '__name__', ''), key) == VIEWS:
                continue
            if kind == 'TRANSFORMS' and key not in CHOICES:
                part[key] = _as_tuple(value)
            elif kind == 'TRANSFORMS' and isinstance(value, list):
                part[key] = [_as_tuple(one) for one in value]
            elif isinstance(defaults.get(key), tuple):
                part[key] = _as_tuple(value)


def _as_tuple(value: Any) -> Any:
    """Return a list of numbers as a tuple, also inside another list."""
    if not isinstance(value, list):
        return value
    if value and all(isinstance(one, int | float) for one in value):
        return tuple(value)
    return [_as_tuple(one) for one in value]


def _defaults(found: Any) -> dict[str, Any]:
    if not isclass(found):
        return {}
    parameters = signature(found).parameters.values()
    return {parameter.name: parameter.default for parameter in parameters}
