"""The reader of checkpoints: they are data, and no code in them is run."""

import json
import math
import pickle
from collections.abc import Iterable, Mapping
from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmsegmentation.command import InputError
from mmsegmentation.sealed import damage_of

if TYPE_CHECKING:
    from torch.nn import Module

# Under this name tools/export.py writes what a checkpoint says of itself, as JSON.
META = 'meta'
# By this key PyTorch Lightning's checkpoints are known.
LIGHTNING = 'pytorch-lightning_version'
# What others put before the names of the parts that they wrap.
WRAPPERS = '_orig_mod.', '_fsdp_wrapped_module.', '_checkpoint_wrapped_module.'
# Of weights that do not fit, so many are named one by one.
SHOWN = 6
# What a model makes by itself, or counts; a checkpoint may lack it.
COMPUTED = 'relative_position_index', 'num_batches_tracked'


def check_checkpoint(path: str) -> dict:
    """Return a checkpoint's content, read as data only: no code in it is run.

    Its weights are under plain names, see :func:`read_checkpoint`.

    Raises:
        InputError: The file is missing, damaged, or holds more than data, or a weight
            is nan or infinite.
    """
    if not Path(path).is_file():
        raise InputError(path, 'no such checkpoint', 'check the path')
    damage = damage_of(Path(path))
    if damage:
        raise InputError(
            path,
            f'not a readable checkpoint ({damage})',
            'copy it again, or name the one before',
        )
    content = read_checkpoint(path)
    weights = content.get('state_dict', content) if isinstance(content, dict) else None
    if not (isinstance(weights, dict) and all(isinstance(n, str) for n in weights)):
        raise InputError(path, 'holds no state_dict', 'name a checkpoint')
    try:
        name = first_not_finite(weights)
    except RuntimeError as error:  # weights without values, or of a rare kind
        raise _unreadable(path, error) from None
    if name:
        raise InputError(
            path, f'its weight {name} is not finite', 'name a checkpoint before it'
        )
    return content


def read_checkpoint(path: str, map_location: Any = 'cpu') -> Any:
    """Read a checkpoint as data only: PyTorch's files, or safetensors by their suffix.

    What torch.compile, several processes, FSDP, activation checkpointing and Lightning
    put before the names of weights is stripped, see ``WRAPPERS``; and ``module.``,
    ``model.``. Safetensors come as ``state_dict``, and as ``meta`` what
    :mod:`tools.export` wrote with them.

    Raises:
        InputError: The file is damaged, or holds more than data.
    """
    is_plain = Path(path).suffix == '.safetensors'
    try:
        content = _read_safetensors(path) if is_plain else _read(path, map_location)
    except pickle.UnpicklingError:
        raise InputError(
            path,
            'holds more than weights and numbers, and is not run',
            'save it again with its state_dict alone',
        ) from None
    except Exception as error:  # damage surfaces anywhere in the readers
        raise _unreadable(path, error) from None
    return _with_plain_names(content)


def _unreadable(path: str, error: Exception) -> InputError:
    return InputError(path, f'not a readable checkpoint ({error})', 'copy it again')


def _read(path: str, map_location: Any) -> Any:
    import torch

    with Path(path).open('rb') as file:
        # PyTorch writes ZIP archives, and earlier wrote a bare pickle.
        if not file.read(4).startswith((b'PK\x03\x04', b'\x80')):
            raise ValueError('it is no file of PyTorch')
    allow_numbers()
    return torch.load(path, map_location=map_location or 'cpu', weights_only=True)


def _read_safetensors(path: str) -> dict[str, Any]:
    from safetensors import safe_open

    with safe_open(path, 'pt') as file:
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        metadata = file.metadata() or {}
    try:
        meta = json.loads(metadata.get(META, '{}'))
    except ValueError:  # another program's
        meta = {}
    return {'state_dict': weights, 'meta': meta if isinstance(meta, dict) else {}}


def _with_plain_names(content: Any) -> Any:
    if not isinstance(content, dict):
        return content
    weights = content.get('state_dict', content)
    if not isinstance(weights, dict):
        return content
    names = {name: _unwrapped(name) for name in weights}
    bare = not content.get('meta') and 'message_hub' not in content
    if LIGHTNING in content or (bare and all(map(_of_lightning, names.values()))):
        names = {
            name: plain.removeprefix('model.') if _of_lightning(plain) else plain
            for name, plain in names.items()
        }
    if all(name == plain for name, plain in names.items()):
        return content
    if len(set(names.values())) < len(names):  # one would replace another
        return content
    # Of its own kind: layers are told their version by an attribute.
    plain = copy(weights)
    plain.clear()
    plain.update((names[name], value) for name, value in weights.items())
    return {**content, 'state_dict': plain} if 'state_dict' in content else plain


def _unwrapped(name: Any) -> Any:
    if not isinstance(name, str):
        return name
    for wrapper in WRAPPERS:
        name = name.replace(wrapper, '')
    return name.removeprefix('module.')


def _of_lightning(name: Any) -> bool:
    return isinstance(name, str) and name.startswith('model.')


def first_not_finite(weights: Mapping[str, Any]) -> str | None:
    """Return the first name of a weight that is nan or infinite, None if there is none.

    A mask of attention may be infinite.
    """
    import torch

    for name, value in weights.items():
        if not (isinstance(value, torch.Tensor) and value.is_floating_point()):
            continue
        if str(name).endswith('mask'):
            continue
        value = value.detach()
        if value.dtype not in (torch.float32, torch.float64):
            value = value.float()
        # A sum reads memory once; it is infinite for large numbers, too.
        if not math.isfinite(float(value.sum())) and not bool(value.isfinite().all()):
            return name
    return None


def allow_numbers() -> None:
    """Let torch's reader of data know what is saved with weights, and is data.

    That is numbers of NumPy, MMEngine's loss history, and arguments of a command.
    """
    from argparse import Namespace

    import numpy as np
    from mmengine.logging.history_buffer import HistoryBuffer
    from numpy._core import multiarray
    from torch.serialization import add_safe_globals

    codes = np.typecodes
    kinds = {type(np.dtype(c)) for c in '?' + codes['AllInteger'] + codes['AllFloat']}
    add_safe_globals(
        [
            HistoryBuffer,
            (_history_method, 'builtins.getattr'),
            Namespace,
            np.ndarray,
            np.dtype,
            multiarray._reconstruct,
            multiarray.scalar,
            # The names of NumPy 1.
            (multiarray._reconstruct, 'numpy.core.multiarray._reconstruct'),
            (multiarray.scalar, 'numpy.core.multiarray.scalar'),
            *kinds,
        ]
    )


def load_weights(model: 'Module', content: dict, path: str) -> None:
    """Load a checkpoint into a model, or stop where it does not fit.

    Args:
        content: What :func:`check_checkpoint` returned.

    Raises:
        InputError: A weight is missing or of another shape.
    """
    weights = check_weights(model, content, path)
    _inner(model).load_state_dict(weights, strict=False)


def check_weights(model: 'Module', content: dict, path: str) -> dict[str, Any]:
    """Return the weights of a checkpoint, or stop where they do not fit a model.

    MMEngine would keep the values that the model began with, and note it in the log.
    The auxiliary head, which predicts nothing, may be missing.

    Args:
        content: What :func:`check_checkpoint` returned.

    Raises:
        InputError: A weight is missing or of another shape.
    """
    weights = content.get('state_dict', content)
    own = _inner(model).state_dict()
    wrong = [
        name
        for name, value in own.items()
        if getattr(weights.get(name), 'shape', None) != value.shape
        and not (name.startswith('auxiliary_head.') and name not in weights)
    ]
    if wrong:
        raise InputError(
            path,
            f'does not fit the model: {len(wrong)} of {len(own)} weights are missing '
            f'or of another shape, {wrong[0]} first',
            'name the config that it was trained with',
        )
    return weights


def describe_start(model: 'Module', content: dict, path: str) -> list[str]:
    """Return lines on what a model that starts from a checkpoint does not take of it.

    MMEngine loads what fits by name and shape, and notes the rest in the log.

    Args:
        content: What :func:`check_checkpoint` returned.

    Returns:
        No line where all fits.

    Raises:
        InputError: Nothing fits.
    """
    given, own = content.get('state_dict', content), _inner(model).state_dict()
    count, wrong = compare_shapes(own, given)
    if not count:
        raise InputError(
            path,
            f'none of its weights fits the model, {next(iter(given), "none")} first',
            'name the weights of a bare backbone in model.backbone.init_cfg, or those '
            'of another project to tools/convert_checkpoint.py',
        )
    names = [name for name in own if not name.endswith(COMPUTED)]
    missing = [name for name in names if name not in given]
    unused = [name for name in given if name not in own]
    lines = []
    if wrong:
        lines.append(shown_shapes(wrong))
    if missing:
        lines.append(f'not in it, left as they start: {shown_modules(missing)}')
    if unused:
        lines.append(f'not taken, no such part here: {shown_modules(unused)}')
    taken = f"{path}: {count} of the model's {len(names)} weights start from it"
    return [taken, *lines] if lines else []


def compare_shapes(
    own: Mapping[str, Any], given: Mapping[str, Any]
) -> tuple[int, dict[str, tuple[tuple, tuple]]]:
    """Return how many of a model's weights fit, and those that have another shape.

    Args:
        own: The model's, by name.
        given: A checkpoint's.

    Returns:
        The count, and for each name the checkpoint's shape and the model's.
    """
    shapes = {
        name: (tuple(getattr(given[name], 'shape', ())), tuple(value.shape))
        for name, value in own.items()
        if name in given and not name.endswith(COMPUTED)
    }
    wrong = {name: pair for name, pair in shapes.items() if pair[0] != pair[1]}
    return len(shapes) - len(wrong), wrong


def shown_shapes(wrong: Mapping[str, tuple[tuple, tuple]]) -> str:
    """Return a line on weights of another shape, the first ones by name."""
    shown = [f'{name} {there}, here {here}' for name, (there, here) in wrong.items()]
    more = [f'and {len(shown) - SHOWN} more'] if len(shown) > SHOWN else []
    return f'not taken, of another shape: {", ".join([*shown[:SHOWN], *more])}'


def shown_modules(names: Iterable[str]) -> str:
    """Name the modules that own these weights; where they are many, what holds them."""
    modules = dict.fromkeys(name.rpartition('.')[0] or name for name in names)
    holders: dict[str, list[str]] = {}
    for module in modules:
        holders.setdefault(module.split('.')[0], []).append(module)
    shown = [
        ', '.join(inside) if len(inside) <= SHOWN else f'{top} ({len(inside)} modules)'
        for top, inside in holders.items()
    ]
    return ', '.join(shown)


def _inner(model: Any) -> 'Module':
    while hasattr(model, 'module'):  # of test-time augmentation, or of many processes
        model = model.module
    return model


def _history_method(owner: type, name: str) -> Any:
    """Stand for ``getattr`` in checkpoints: MMEngine's loss history names its methods.

    Nothing else may be looked up.
    """
    from mmengine.logging.history_buffer import HistoryBuffer

    if owner is not HistoryBuffer or name not in ('min', 'max', 'current', 'mean'):
        raise pickle.UnpicklingError(f'{owner}.{name} is no method of a loss history')
    return getattr(owner, name)
