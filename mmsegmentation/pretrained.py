"""Pretrained weights that a config names: search, download and checks."""

import os
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from mmsegmentation.checkpoints import (
    allow_numbers,
    compare_shapes,
    read_checkpoint,
    shown_shapes,
)
from mmsegmentation.command import InputError
from mmsegmentation.config import type_name
from mmsegmentation.early import CHECKPOINT_SUFFIXES
from mmsegmentation.files import whole_file

if TYPE_CHECKING:
    from mmengine.config import Config
    from torch.nn import Module

PRETRAINED = Path('pretrained')
# Scheme of MMClassification's weights. Only the backbone is loaded, and the prefix
# "backbone." is removed from its names.
CLASSIFIER = 'mmcls://'
# Values of `type` with which an `init_cfg` loads a file.
LOADING = 'Pretrained', 'Pretrained_Part', 'PretrainedInit'
# Suffix of the small file beside a download that holds its address.
NOTE = '.from'
# A download may take longer than the timeout of a collective operation.
PATIENCE = timedelta(days=7)
_fetches = count()


def read_data_alone() -> None:
    """Make this process read every checkpoint as data only.

    The reader of :mod:`mmsegmentation.checkpoints` replaces MMEngine's loaders for all
    kinds of addresses. An environment variable makes ``torch.load`` safe for other
    callers too, such as timm. The commands and runners of this project call this
    function. Importing the project's modules into another program changes nothing.
    """
    from mmengine.runner import CheckpointLoader

    os.environ.pop('TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD', None)
    os.environ['TORCH_FORCE_WEIGHTS_ONLY_LOAD'] = '1'
    allow_numbers()
    for scheme, loader in list(CheckpointLoader._schemes.items()):
        if loader.__module__.startswith('mmengine.'):
            load = _load_backbone if scheme == CLASSIFIER else load_from_anywhere
            CheckpointLoader.register_scheme(scheme, load, force=True)


def load_from_anywhere(filename: str, map_location: Any = None) -> Any:
    """Return the content of a checkpoint, read as data only.

    Args:
        filename: A path or an address, see :func:`local_file`.
        map_location: Device of the weights, as in ``torch.load``.

    Raises:
        InputError: The file is missing or damaged, or holds more than data.
    """
    return read_checkpoint(local_file(filename), map_location)


def _load_backbone(filename: str, map_location: Any = None) -> Any:
    content = load_from_anywhere(filename, map_location)
    start, weights = 'backbone.', content.get('state_dict', content)
    names = [name for name in weights if name.startswith(start)]
    return {'state_dict': {name.removeprefix(start): weights[name] for name in names}}


def find_pretrained(cfg: 'Config') -> list[str]:
    """Replace addresses of pretrained weights in ``cfg`` with paths of local files.

    Each file is searched in ``pretrained/`` and in PyTorch's cache. If it is in
    neither, it is downloaded to ``pretrained/``. On each machine only the first process
    downloads.

    Returns:
        The paths of the files.

    Raises:
        InputError: A file is missing and cannot be downloaded.
    """
    from mmengine.dist import get_world_size

    find = partial(_find_all, cfg)
    return _after_first(find) if get_world_size() > 1 else find()


def _find_all(cfg: 'Config') -> list[str]:
    places = list(_places(cfg.model))
    if cfg.get('load_from'):
        places.append((cfg, 'load_from'))
    files = []
    for holder, key in places:
        files.append(local_file(holder[key]))
        if not holder[key].startswith(CLASSIFIER):
            holder[key] = files[-1]
    return files


def _after_first(find: Callable[[], list[str]]) -> list[str]:
    """Return the files after the first process of each machine has fetched them."""
    from mmengine.dist import all_gather_object
    from torch.distributed.distributed_c10d import _get_default_store

    first = os.environ.get('LOCAL_RANK', '0') == '0'
    store, name = _get_default_store(), f'fetched_{next(_fetches)}'
    machines = sum(all_gather_object(first))
    try:
        files = find() if first else []
    except InputError:
        store.set(name, 'by none')  # otherwise the other processes wait for days
        raise
    if first and store.add(f'{name}_count', 1) == machines:
        store.set(name, 'by all')
    store.wait([name], PATIENCE)
    return files if first else find()


def describe_pretrained(model: 'Module') -> list[str]:
    """Return a line for each part of a model that leaves out weights of another shape.

    Only parts that load a file in MMEngine's way are examined. MMEngine reports such
    weights in its log only.

    Raises:
        InputError: No weight of a file fits its part. The part would silently start
            from scratch.
    """
    lines = []
    for name, part, init_cfg in _loading_parts(model):
        path, start = init_cfg['checkpoint'], init_cfg.get('prefix') or ''
        start += '.' if start and not start.endswith('.') else ''
        content = load_from_anywhere(path)
        given = content.get('state_dict', content)
        names = [each for each in given if each.startswith(start)]
        inside = {each.removeprefix(start): given[each] for each in names}
        count, wrong = compare_shapes(part.state_dict(), inside)
        if not count:
            raise _unfit(path, name, next(iter(given), 'none'))
        lines += [f'{path}: {shown_shapes(wrong)}'] if wrong else []
    return lines


def _loading_parts(model: 'Module') -> Iterator[tuple[str, 'Module', dict[str, Any]]]:
    """Yield each part that loads a file by weight names: name, module, init_cfg."""
    from mmengine.model import BaseModule

    for name, part in model.named_modules():
        own = getattr(type(part), 'init_weights', None)
        if own is BaseModule.init_weights and not part._load_state_dict_pre_hooks:
            found = part.init_cfg
            for init_cfg in found if isinstance(found, list) else [found]:
                if _loads(init_cfg):
                    yield name, part, init_cfg


def _unfit(path: str, name: str, first: str) -> InputError:
    return InputError(
        path,
        f'none of its weights fits {name or "the model"}, {first} first',
        "set init_cfg.prefix, such as prefix='backbone.', or use other weights",
    )


def start_from_scratch(cfg: 'Config') -> None:
    """Remove all pretrained weights from ``cfg``, in place."""
    cfg.load_from = None
    _drop_weights(cfg.model)


def _drop_weights(part: Any) -> None:
    if isinstance(part, dict):
        if _loads(part.get('init_cfg')):
            part.pop('init_cfg')
        elif isinstance(part.get('init_cfg'), list):
            part['init_cfg'] = [each for each in part['init_cfg'] if not _loads(each)]
        if isinstance(part.get('pretrained'), str):
            part.pop('pretrained')
        # TIMMBackbone downloads weights by default.
        if part.get('pretrained') or type_name(part) == 'TIMMBackbone':
            part['pretrained'] = False
            part.pop('checkpoint_path', None)
    for child in _children(part):
        _drop_weights(child)


def _places(part: Any) -> Iterator[tuple[dict, str]]:
    """Yield each dictionary of a model's config that names weights, and the key."""
    if isinstance(part, dict):
        if _is_address(part.get('pretrained')):
            yield part, 'pretrained'
        if _loads(part):
            yield part, 'checkpoint'
    for child in _children(part):
        yield from _places(child)


def _is_address(name: Any) -> bool:
    """Return whether a name is a path or an address.

    Any other name is known only to the part itself.
    """
    return isinstance(name, str) and (
        '://' in name
        or Path(name).suffix in CHECKPOINT_SUFFIXES
        or Path(name).is_file()
    )


def _children(part: Any) -> list:
    children = list(part.values()) if isinstance(part, dict) else part
    return [child for child in children if isinstance(child, dict | list | tuple)]


def _loads(init_cfg: Any) -> bool:
    """Return whether this is an ``init_cfg`` that names a file of weights."""
    return (
        isinstance(init_cfg, dict)
        and type_name(init_cfg) in LOADING
        and isinstance(init_cfg.get('checkpoint'), str)
    )


def local_file(address: str) -> str:
    """Return the path of a local file for an address; download it if it is missing.

    Args:
        address: A path, a URL, or a name such as ``torchvision://resnet50``.

    Raises:
        InputError: The file is missing and cannot be downloaded.
    """
    address = _resolved(address)
    if address.startswith('file://'):
        address = url2pathname(urlsplit(address).path)
    if '://' not in address:
        path = Path(address).expanduser()
        if path.is_file():
            return str(path)
        raise InputError(
            path, 'no such checkpoint', 'correct the path, or pass --from-scratch'
        )
    import torch

    name = _file_name(address)
    target = PRETRAINED / name
    cache = Path(torch.hub.get_dir()) / 'checkpoints' / name
    for path in (target, cache):
        if path.is_file():
            _check_source(path, address)
            return str(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        _fetch(address, target)
    except (OSError, ImportError) as error:
        raise InputError(
            name,
            f'pretrained weights are missing and cannot be fetched ({error})',
            f'download {address} to {target}, or pass --from-scratch',
        ) from None
    _note_of(target).write_text(_bare(address), 'utf-8')
    return str(target)


def _check_source(path: Path, address: str) -> None:
    """Refuse a file of the same name that was downloaded from another address.

    A file without a note of its address is accepted.

    Raises:
        InputError: The note beside the file holds another address.
    """
    note = _note_of(path)
    source = note.read_text('utf-8') if note.is_file() else _bare(address)
    if source != _bare(address):
        raise InputError(
            path,
            f'was fetched from {source}, not from {_bare(address)}',
            'rename or delete it',
        )


def _note_of(path: Path) -> Path:
    return path.with_name(path.name + NOTE)


def _bare(address: str) -> str:
    """Return an address without its query, which may hold a signature that expires."""
    return address.partition('?')[0]


def _resolved(address: str) -> str:
    """Return the address or path behind one of MMEngine's names for weights."""
    scheme, sign, name = address.partition('://')
    tables = {
        'torchvision': 'get_torchvision_models',
        'modelzoo': 'get_torchvision_models',
        'open-mmlab': 'get_external_models',
        'openmmlab': 'get_external_models',
        'mmcls': 'get_mmcls_models',
    }
    if not sign or scheme not in tables:
        return address
    from mmengine.runner import checkpoint

    if tables[scheme] == 'get_external_models':
        name = checkpoint.get_deprecated_model_names().get(name, name)
    table = getattr(checkpoint, tables[scheme])()
    if name not in table:
        raise InputError(
            address, 'unknown weights', 'correct the name, or pass --from-scratch'
        )
    found = table[name]
    home = checkpoint._get_mmengine_home()
    return found if '://' in found else str(Path(home) / found)


def _file_name(address: str) -> str:
    """Return the file name for an address in ``pretrained/``.

    Many repositories on Hugging Face use the same few file names. Such a name gets the
    name of its repository as a prefix.
    """
    path, sign, inside = _bare(address).partition('/resolve/')
    name = (inside or path).rsplit('/', 1)[-1]
    return '--'.join([*path.split('/')[-2:], name]) if sign else name


def _fetch(address: str, target: Path) -> None:
    """Download a file beside its target, and rename it when it is complete."""
    import torch
    from mmengine import fileio

    if address.partition('://')[0].rpartition(':')[2] in ('s3', 'petrel'):
        content = fileio.get(address, {'backend': 'petrel'})
        with whole_file(target, overwrite=True) as beside:
            beside.write_bytes(content)
    else:
        torch.hub.download_url_to_file(address, str(target))
