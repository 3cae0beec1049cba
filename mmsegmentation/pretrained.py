"""Weights that a config names: where they are, and how they come here."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmsegmentation.command import InputError

if TYPE_CHECKING:
    from mmengine.config import Config

PRETRAINED = Path('pretrained')


def find_pretrained(cfg: 'Config') -> list[str]:
    """Replace addresses of pretrained weights in ``cfg`` by files, and return these.

    A file is looked for in ``pretrained/`` and in torch's cache; else it is fetched to
    ``pretrained/``, on each machine by its first process alone.

    Raises:
        InputError: It is nowhere, and cannot be fetched.
    """
    from mmengine.dist import barrier

    first = os.environ.get('LOCAL_RANK', '0') == '0'
    if not first:
        barrier()
    files = []
    for owner in _pretrained_owners(cfg.model):
        files.append(_local_file(owner['init_cfg']['checkpoint']))
        owner['init_cfg']['checkpoint'] = files[-1]
    if cfg.get('load_from'):
        cfg.load_from = _local_file(cfg.load_from)
        files.append(cfg.load_from)
    if first:
        barrier()
    return files


def start_from_scratch(cfg: 'Config') -> None:
    """Drop pretrained weights from ``cfg``."""
    for owner in _pretrained_owners(cfg.model):
        owner.pop('init_cfg')
    cfg.load_from = None


def _pretrained_owners(model: Any) -> Iterator[dict]:
    """Yield each part of a model whose ``init_cfg`` names a file."""
    children = list(model.values()) if isinstance(model, dict) else model
    if isinstance(model, dict):
        init_cfg = model.get('init_cfg')
        if (
            isinstance(init_cfg, dict)
            and init_cfg.get('type') == 'Pretrained'
            and isinstance(init_cfg.get('checkpoint'), str)
        ):
            yield model
    for child in children:
        if isinstance(child, dict | list | tuple):
            yield from _pretrained_owners(child)


def _local_file(address: str) -> str:
    if '://' not in address:
        path = Path(address)
        if path.is_file():
            return str(path)
        raise InputError(
            path, 'no such checkpoint', 'correct the path, or pass --from-scratch'
        )
    import torch

    name = address.rsplit('/', 1)[-1].partition('?')[0]
    target = PRETRAINED / name
    cache = Path(torch.hub.get_dir()) / 'checkpoints' / name
    for path in (target, cache):
        if path.is_file():
            return str(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        # Fetched beside the target, and renamed once whole.
        torch.hub.download_url_to_file(address, str(target))
    except OSError as error:
        raise InputError(
            name,
            f'pretrained weights are not here and cannot be fetched ({error})',
            f'download {address} to {target}, or pass --from-scratch',
        ) from None
    return str(target)
