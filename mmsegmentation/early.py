"""Checks of paths without torch, so that a mistake is reported within two seconds."""

import errno
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mmsegmentation.command import InputError
from mmsegmentation.config import type_name
from mmsegmentation.files import refuse_file, require_folder
from mmsegmentation.fold_config import leaves_of
from mmsegmentation.parts import check_images

if TYPE_CHECKING:
    from mmengine.config import Config

CHECKPOINT_SUFFIXES = '.pth', '.pt', '.bin', '.ckpt', '.safetensors'
CONFIG_SUFFIXES = '.py', '.json', '.yaml', '.yml'


def check_data(cfg: 'Config', keys: Iterable[str]) -> None:
    """Refuse data loaders whose folders are missing.

    For data sets other than ``RecycleDataset``, only the ``data_root`` is checked, and
    only if it is a path of this machine.

    Args:
        cfg: The config.
        keys: Names of the data loaders, such as ``'train_dataloader'``.

    Raises:
        InputError: A folder is missing.
    """
    for key in keys:
        for leaf in leaves_of((cfg.get(key) or {}).get('dataset') or {}):
            if is_ours(leaf):
                prefix = (leaf.get('data_prefix') or {}).get('img_path') or ''
                check_images(Path(leaf.get('data_root') or '', prefix))
            elif is_local(leaf):
                way_out = f'correct the data_root of {key}'
                require_folder(Path(leaf['data_root']), way_out)


def is_ours(leaf: dict) -> bool:
    """Return whether a data set's config names a ``RecycleDataset``."""
    return type_name(leaf) == 'RecycleDataset'


def is_local(leaf: dict) -> bool:
    """Return whether a data set's config names a ``data_root`` of this machine."""
    root = leaf.get('data_root')
    remote = leaf.get('backend_args') or (isinstance(root, str) and ':' in root)
    return isinstance(root, str) and bool(root) and not remote


def check_is_config(path: str) -> None:
    """Refuse a path that is not a config file.

    Raises:
        InputError: The file is missing, a folder, or a checkpoint.
    """
    if Path(path).suffix in CHECKPOINT_SUFFIXES:
        raise InputError(
            path,
            'is a checkpoint, where a config is expected',
            'name the config first, then the checkpoint',
        )
    check_is_file(path, 'config')


def check_are_checkpoints(paths: Sequence[str | Path]) -> None:
    """Refuse paths that are not checkpoints.

    Raises:
        InputError: A file is missing, a folder, or a config.
    """
    for path in paths:
        if Path(path).suffix in CONFIG_SUFFIXES:
            raise InputError(
                path,
                'is a config, where a checkpoint is expected',
                'name the config first, then the checkpoint',
            )
        check_is_file(path, 'checkpoint')


def check_is_file(path: str | Path, kind: str) -> None:
    """Refuse a path that is not a file.

    Args:
        path: The path.
        kind: Noun for the message, such as ``'checkpoint'``.

    Raises:
        InputError: The file is missing, or is a folder.
    """
    if Path(path).is_dir():
        raise InputError(path, 'is a folder', f'name a {kind} file')
    if not Path(path).is_file():
        raise InputError(path, f'no such {kind}', 'check the path')


def check_writable(path: Path) -> None:
    """Refuse a file or folder that cannot be created.

    Raises:
        InputError: A parent is not a folder, or this user may not write to it.
    """
    place = next(parent for parent in _upwards(path) if os.path.lexists(parent))
    number = 0
    if place != path.absolute() and not place.is_dir():
        number = errno.ENOTDIR
    elif place.is_dir() and not os.access(place, os.W_OK | os.X_OK):
        number = errno.EACCES
    if number:
        what = f'cannot be made ({os.strerror(number)}: {place})'
        raise InputError(path, what, 'choose another place')


def check_folder(path: Path) -> None:
    """Refuse a path at which no folder can be created.

    Raises:
        InputError: The path is a file, or see :func:`check_writable`.
    """
    refuse_file(path)
    check_writable(path)


def _upwards(path: Path) -> Iterator[Path]:
    yield path.absolute()
    yield from path.absolute().parents
