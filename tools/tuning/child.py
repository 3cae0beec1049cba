"""A config file that starts from another one and changes some of its values."""

import os
from collections.abc import Mapping, Sequence
from keyword import iskeyword
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmsegmentation.files import whole_file

if TYPE_CHECKING:
    from mmengine.config import Config

WIDTH = 88


def write_child(
    path: Path,
    parent: str,
    base: 'Config',
    cfg: 'Config',
    keys: Sequence[str],
    say: str,
) -> None:
    """Write a config file that reads as ``cfg``; replaced if it is there.

    A list takes the place of the parent's whole list, so one of which an item changes
    stands in the file in full.

    Args:
        parent: The config file that it starts from.
        base: What that file reads as.
        cfg: The same with the values of ``keys`` changed.
        keys: Dotted keys, as of ``--cfg-options``.
        say: Its docstring.
    """
    say = say.replace('\\', '/').replace('"', "'")  # it stands between quotes
    end = '\n' if '\n' in say else ''
    lines = [f'"""{say}{end}"""', '', f'_base_ = {parent_of(path, parent)!r}']
    changed = changed_parts(base.to_dict(), cfg.to_dict(), keys)
    for name, value in changed.items():
        lines.append(f'{name} = {as_source(value, used=len(name) + 3)}')
    with whole_file(path, overwrite=True) as beside:
        beside.write_text('\n'.join(lines) + '\n', encoding='utf-8')


def parent_of(path: Path, parent: str) -> str:
    """Return the parent's path as a file at ``path`` has to name it.

    MMEngine takes ``..`` out of paths by their text, which leads astray below a link.
    """
    folder = path.parent.absolute()
    if folder.resolve() != Path(os.path.normpath(folder)):
        return Path(parent).resolve().as_posix()
    return Path(os.path.relpath(Path(parent).resolve(), folder)).as_posix()


def changed_parts(base: Mapping, cfg: Mapping, keys: Sequence[str]) -> dict[str, Any]:
    """Return what a child of ``base`` has to say to read as ``cfg``.

    >>> base = {'a': {'b': [{'c': 1}, 2], 'd': 3}}
    >>> changed_parts(base, {'a': {'b': [{'c': 5}, 2], 'd': 3}}, ['a.b.0.c'])
    {'a': {'b': [{'c': 5}, 2]}}
    """
    found: dict[str, Any] = {}
    for key in keys:
        parts = key.split('.')
        old: Any = base
        new: Any = cfg
        place = found
        for number, part in enumerate(parts):
            old = old.get(part) if isinstance(old, Mapping) else None
            new = new[part]
            if isinstance(new, Mapping) and number < len(parts) - 1:
                place = place.setdefault(part, {})
                continue
            place[part] = new
            if isinstance(new, Mapping) and isinstance(old, Mapping):
                place[part] = {'_delete_': True, **new}
            break
    return found


def as_source(value: Any, indent: int = 0, used: int = 0) -> str:
    """Return a part of a config as one writes it, in lines of 88 columns.

    Args:
        indent: Of the line that it begins in.
        used: Columns of that line that are taken.

    >>> print(as_source({'type': 'Pad', 'size': (64, 64)}))
    dict(type='Pad', size=(64, 64))
    """
    named = isinstance(value, dict) and all(map(_is_name, value))
    if named:
        pairs = value.items()
        parts = [(f'{name}=', part) for name, part in pairs]
    elif isinstance(value, list):
        parts = [('', part) for part in value]
    else:
        return repr(value)
    first, last = ('dict(', ')') if named else ('[', ']')
    line = ', '.join(name + as_source(part, indent) for name, part in parts)
    if '\n' not in line and indent + used + len(first + line + last) < WIDTH:
        return first + line + last
    space = ' ' * (indent + 4)
    lines = [
        f'{space}{name}{as_source(part, indent + 4, len(name))},'
        for name, part in parts
    ]
    return '\n'.join([first, *lines, ' ' * indent + last])


def _is_name(key: Any) -> bool:
    return isinstance(key, str) and key.isidentifier() and not iskeyword(key)
