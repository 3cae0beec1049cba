"""Conversion of pure-Python configs, with classes as types, to configs with names."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from mmsegmentation.config_bases import base_files

if TYPE_CHECKING:
    from mmengine.config import Config


def name_types(cfg: 'Config') -> 'Config':
    """Return a pure-Python config in which names replace the classes of its types.

    Imported names are left out. A class that no registry of MMSegmentation holds gets
    the name of its module as a prefix. Other configs are returned unchanged.
    """
    from mmengine.config import Config

    if not cfg._imported_names:
        return cfg
    names = _registered_names()
    parts = {
        key: _named(value, names)
        for key, value in cfg.items()
        if key not in cfg._imported_names and not isinstance(value, ModuleType)
    }
    return Config(parts, cfg_text=cfg.text, filename=cfg.filename)


def _named(part: Any, names: dict[Any, str]) -> Any:
    if isinstance(part, dict):
        return {
            key: _name_of(value, names) if key == 'type' else _named(value, names)
            for key, value in part.items()
        }
    if type(part) in (list, tuple):
        return type(part)(_named(one, names) for one in part)
    return part


def _name_of(kind: Any, names: dict[Any, str]) -> Any:
    if not callable(kind):
        return kind
    return names.get(kind) or f'{kind.__module__}.{kind.__qualname__}'


def _registered_names() -> dict[Any, str]:
    """Return the name by which MMSegmentation finds each class.

    The name of the class itself is preferred to an alias.
    """
    from mmengine.registry import Registry
    from mmseg import registry

    names: dict[Any, str] = {}
    for first in vars(registry).values():
        level = first if isinstance(first, Registry) else None
        seen: set[str] = set()  # a class hides the same name in parent registries
        while level is not None:
            level.import_from_location()
            for name, kind in level.module_dict.items():
                is_first = kind not in names or name == kind.__name__
                if name not in seen and is_first:
                    names[kind] = name
            seen |= level.module_dict.keys()
            level = level.parent
    return names


def names_in_use(path: Path) -> set[str]:
    """Return the names that a config file and its bases read.

    A name may be read as ``a``, ``_base_.a``, ``_base_['a']`` or ``{{_base_.a}}``, or
    in a loop. Such a top-level name is a helper variable of the config, and not
    misspelt.
    """
    text = path.read_text(encoding='utf-8')
    found = set(re.findall(r'{{\s*_base_\.(\w+)', text))
    if path.suffix != '.py':
        return found
    tree = ast.parse(text)
    for node in ast.walk(tree):
        found |= _names_read(node)
    for base in (*base_files(path), *_read_bases(tree, path)):
        found |= names_in_use(base)
    return found


def _names_read(node: ast.AST) -> set[str]:
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
        return {node.id}
    if isinstance(node, ast.Attribute):
        return {node.attr}
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return {node.value}
    if isinstance(node, ast.For):
        return {one.id for one in ast.walk(node.target) if isinstance(one, ast.Name)}
    return set()


def _read_bases(tree: ast.Module, path: Path) -> Iterator[Path]:
    """Yield the files of ``from .a import *`` in a config."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level and node.module:
            folder = path.parents[node.level - 1]
            base = folder.joinpath(*node.module.split('.')).with_suffix('.py')
            if base.is_file():
                yield base
