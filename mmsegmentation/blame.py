"""Whose fault it is that a run cannot be made ready: one line for it."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mmsegmentation.command import InputError

if TYPE_CHECKING:
    from mmengine.config import Config


def blame(
    error: Exception, cfg: 'Config', options: Sequence[str], what: str
) -> InputError:
    """Return one line for what stopped a run while it was made ready.

    It blames the options whose key the error names, else the config, or the path that
    cannot be used. An ``InputError`` is one already.

    Args:
        options: The ``key=value`` pairs that changed ``cfg``.
        what: What the config does not do, such as ``'does not build'``.
    """
    if isinstance(error, InputError):
        return error
    if isinstance(error, OSError):
        why = f'cannot be used ({error.strerror or error})'
        return InputError(error.filename or cfg.work_dir, why, 'check the path')
    path, text = cfg.filename, f'{type(error).__name__}: {error}'
    words = re.findall(r'\w+', str(error))
    ways = _loader_options(str(error), cfg)
    named = [o for o in options if split_option(o)[0].rpartition('.')[2] in words]
    if named:
        thing, way_out = '--cfg-options ' + ' '.join(named), f'correct it; see {path}'
    elif options:
        thing = f'{path} with --cfg-options {" ".join(options)}'
        way_out = 'correct the options or the config'
    else:
        thing, way_out = path, 'correct the config'
    if ways:
        way_out = f'set {" ".join(ways)}'
    return InputError(thing, f'{what} ({text})', way_out)


def _loader_options(text: str, cfg: 'Config') -> list[str]:
    """Return the options that end a refusal of PyTorch's data loader.

    It refuses an option of workers where there are none, and names no data loader.
    """
    return [
        f'{key}.{name}={value}'
        for name, value in (('persistent_workers', False), ('prefetch_factor', None))
        if text.startswith(f'{name} option ')
        for key in ('train_dataloader', 'val_dataloader', 'test_dataloader')
        if (loader := cfg.get(key) or {}).get(name) and not loader.get('num_workers')
    ]


def split_option(option: str) -> tuple[str, str]:
    """Return key and value of a ``key=value`` pair.

    Raises:
        InputError: It is none.
    """
    key, sign, value = option.partition('=')
    if not (key and sign):
        raise InputError(f'--cfg-options {option}', 'no key=value pair', 'write k=v')
    return key, value
