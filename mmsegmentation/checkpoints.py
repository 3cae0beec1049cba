"""The reader of checkpoints. It reads data only and runs no code from a file."""

import json
import math
import pickle
import pickletools
from collections.abc import Iterable, Mapping
from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmsegmentation.command import InputError
from mmsegmentation.early import check_is_file
from mmsegmentation.sealed import damage_of

if TYPE_CHECKING:
    from torch.nn import Module

# The number at the start of a pickle that PyTorch wrote, as bytes of the pickle.
MAGIC = b'\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19'
# The key under which tools/export.py stores a checkpoint's meta data, as JSON.
META = 'meta'
# Only PyTorch Lightning's checkpoints have this key.
LIGHTNING = 'pytorch-lightning_version'
# Prefixes that torch.compile, FSDP and activation checkpointing add to weight names.
WRAPPERS = '_orig_mod.', '_fsdp_wrapped_module.', '_checkpoint_wrapped_module.'
# A message names at most this many weights one by one.
SHOWN = 6
# Suffixes of values that a model computes itself. A checkpoint may lack them.
COMPUTED = 'relative_position_index', 'num_batches_tracked'


def check_checkpoint(path: str) -> dict:
    """Return the content of a checkpoint after checking it.

    The file is read as data only, and the weights get plain names; see
    :func:`read_checkpoint`.

    Raises:
        InputError: The file is missing or damaged, holds more than data, or has a
            weight that is nan or infinite.
    """
    check_is_file(path, 'checkpoint')
    damage = damage_of(Path(path))
    if damage:
        raise InputError(
            path,
            f'not a readable checkpoint ({damage})',
            'copy it again, or use the previous checkpoint',
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
            path, f'its weight {name} is not finite', 'use an earlier checkpoint'
        )
    return content


def read_checkpoint(path: str, map_location: Any = 'cpu') -> Any:
    """Read a checkpoint as data only.

    A file with the suffix ``.safetensors`` is read as such: its weights become
    ``state_dict``, and the meta data of :mod:`tools.export` become ``meta``. Any other
    file is read with PyTorch.

    Prefixes that wrappers add to weight names are removed: those in ``WRAPPERS``,
    ``module.`` of distributed training, and ``model.`` of Lightning.

    Args:
        map_location: Device of the weights, as in ``torch.load``. Safetensors are
            always read to the CPU.

    Raises:
        InputError: The file is damaged, or holds more than data.
    """
    is_plain = Path(path).suffix == '.safetensors'
    try:
        content = _read_safetensors(path) if is_plain else _read(path, map_location)
    except InputError:
        raise
    except pickle.UnpicklingError:
        raise InputError(
            path,
            'holds more than weights and numbers, and is not run',
            'save only its state_dict and use that file',
        ) from None
    except Exception as error:  # damage surfaces anywhere in the readers
        raise _unreadable(path, error) from None
    return _with_plain_names(content)


def _unreadable(path: str, error: Exception) -> InputError:
    return InputError(path, f'not a readable checkpoint ({error})', 'copy it again')


def _read(path: str, map_location: Any) -> Any:
    import torch

    with Path(path).open('rb') as file:
        # PyTorch writes ZIP archives. Before version 1.6 it wrote a bare pickle.
        if not file.read(4).startswith((b'PK\x03\x04', b'\x80')):
            raise ValueError('not a file that PyTorch wrote')
    _refuse_other_pickle(path)
    allow_numbers()
    return torch.load(path, map_location=map_location or 'cpu', weights_only=True)


def _refuse_other_pickle(path: str) -> None:
    """Refuse a pickle that PyTorch did not write, without running it.

    Raises:
        InputError: It holds numbers and texts alone.
        UnpicklingError: It names objects to make.
    """
    with Path(path).open('rb') as file:
        head = file.read(32)
        if head.startswith(b'PK') or MAGIC in head:
            return
        file.seek(0)
        try:
            objects = any(
                op.name.endswith('GLOBAL') for op, *_ in pickletools.genops(file)
            )
        except ValueError:  # damaged
            objects = False
    if objects:
        raise pickle.UnpicklingError('it names objects')
    what = 'not a checkpoint of PyTorch'
    raise InputError(path, what, 'name one that torch.save wrote')


def _read_safetensors(path: str) -> dict[str, Any]:
    from safetensors import safe_open

    with safe_open(path, 'pt') as file:
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        metadata = file.metadata() or {}
    try:
        meta = json.loads(metadata.get(META, '{}'))
    except ValueError:  # written by another program
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
    if len(set(names.values())) < len(names):  # two weights would get the same name
        return content
    # A copy keeps the attribute _metadata, from which layers read their version.
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
    """Return the name of the first weight with nan or infinity, or None.

    Attention masks are skipped, because they may be infinite.
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
        # The sum is a fast first test: it reads memory once. It may overflow although
        # all values are finite, so that the exact test follows.
        if not math.isfinite(float(value.sum())) and not bool(value.isfinite().all()):
            return name
    return None


def allow_numbers() -> None:
    """Allow the harmless types that checkpoints often hold in PyTorch's safe reader.

    They are NumPy's numbers and arrays, MMEngine's loss history, and ``Namespace``,
    the arguments of a command.
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
            # NumPy 1 has these functions under other names.
            (multiarray._reconstruct, 'numpy.core.multiarray._reconstruct'),
            (multiarray.scalar, 'numpy.core.multiarray.scalar'),
            *kinds,
        ]
    )


def load_weights(model: 'Module', content: dict, path: str) -> None:
    """Load a checkpoint into a model that it must fit.

    Args:
        content: The result of :func:`check_checkpoint`.
        path: Name of the checkpoint for messages.

    Raises:
        InputError: A weight is missing or has another shape.
    """
    weights = check_weights(model, content, path)
    _inner(model).load_state_dict(weights, strict=False)


def check_weights(model: 'Module', content: dict, path: str) -> dict[str, Any]:
    """Return the weights of a checkpoint after checking that they fit a model.

    MMEngine would leave a missing weight at its initial value and only write this to
    the log. The auxiliary head may be missing, because it takes no part in prediction.

    Args:
        content: The result of :func:`check_checkpoint`.
        path: Name of the checkpoint for messages.

    Raises:
        InputError: A weight is missing or has another shape.
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
            'use the config that it was trained with',
        )
    return weights


def describe_start(model: 'Module', content: dict, path: str) -> list[str]:
    """Return lines about the weights that a model does not take from a checkpoint.

    MMEngine loads the weights that fit by name and shape, and reports the rest in the
    log only.

    Args:
        content: The result of :func:`check_checkpoint`.
        path: Name of the checkpoint for messages.

    Returns:
        No line if all weights fit.

    Raises:
        InputError: No weight fits.
    """
    given, own = content.get('state_dict', content), _inner(model).state_dict()
    count, wrong = compare_shapes(own, given)
    if not count:
        raise InputError(
            path,
            f'none of its weights fits the model, {next(iter(given), "none")} first',
            'for weights of a backbone alone set model.backbone.init_cfg; convert '
            'weights of another project with tools/convert_checkpoint.py',
        )
    names = [name for name in own if not name.endswith(COMPUTED)]
    missing = [name for name in names if name not in given]
    unused = [name for name in given if name not in own]
    lines = []
    if wrong:
        lines.append(shown_shapes(wrong))
    if missing:
        lines.append(
            'missing in the checkpoint, these parts keep their initial weights: '
            f'{shown_modules(missing)}'
        )
    if unused:
        lines.append(
            f'not loaded, the model has no such parts: {shown_modules(unused)}'
        )
    taken = f"{path}: {count} of the model's {len(names)} weights are loaded"
    return [taken, *lines] if lines else []


def compare_shapes(
    own: Mapping[str, Any], given: Mapping[str, Any]
) -> tuple[int, dict[str, tuple[tuple, tuple]]]:
    """Compare the weights of a model with those of a checkpoint by their shapes.

    Args:
        own: The model's weights by name.
        given: The checkpoint's weights by name.

    Returns:
        The number of weights that fit. For each weight of another shape, its shape in
        the checkpoint and in the model, by name.
    """
    shapes = {
        name: (tuple(getattr(given[name], 'shape', ())), tuple(value.shape))
        for name, value in own.items()
        if name in given and not name.endswith(COMPUTED)
    }
    wrong = {name: pair for name, pair in shapes.items() if pair[0] != pair[1]}
    return len(shapes) - len(wrong), wrong


def shown_shapes(wrong: Mapping[str, tuple[tuple, tuple]]) -> str:
    """Return a line that names the first weights of another shape.

    Args:
        wrong: Shapes in the checkpoint and in the model by name, as
            :func:`compare_shapes` returns them.
    """
    shown = [
        f'{name} {there} instead of {here}' for name, (there, here) in wrong.items()
    ]
    more = [f'and {len(shown) - SHOWN} more'] if len(shown) > SHOWN else []
    return f'not loaded, another shape: {", ".join([*shown[:SHOWN], *more])}'


def shown_modules(names: Iterable[str]) -> str:
    """Return the names of the modules that own these weights.

    If a top-level module has more than ``SHOWN`` of them, it is named with their count.
    """
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
    while hasattr(model, 'module'):  # test-time augmentation or distributed training
        model = model.module
    return model


def _history_method(owner: type, name: str) -> Any:
    """Replace ``getattr`` in checkpoints, which MMEngine's loss history calls.

    Only the four methods of a loss history can be looked up.
    """
    from mmengine.logging.history_buffer import HistoryBuffer

    if owner is not HistoryBuffer or name not in ('min', 'max', 'current', 'mean'):
        raise pickle.UnpicklingError(f'{owner}.{name} is not a loss history method')
    return getattr(owner, name)
