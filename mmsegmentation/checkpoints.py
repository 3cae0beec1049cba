"""The reader of checkpoints: they are data, and no code in them is run."""

import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmsegmentation.command import InputError
from mmsegmentation.sealed import damage_of

if TYPE_CHECKING:
    from torch.nn import Module


def check_checkpoint(path: str) -> dict:
    """Return a checkpoint's content, read as data only: no code in it is run.

    Raises:
        InputError: The file is missing, damaged, or holds more than data.
    """
    if not Path(path).is_file():
        raise InputError(path, 'no such checkpoint', 'check the path')
    if Path(path).suffix == '.safetensors':
        raise InputError(
            path,
            'holds weights for other programs',
            'name the .pth that it was exported from',
        )
    with Path(path).open('rb') as file:
        # PyTorch writes ZIP archives, and earlier wrote a bare pickle.
        if not file.read(4).startswith((b'PK\x03\x04', b'\x80')):
            raise InputError(path, 'not a readable checkpoint', 'copy it again')
    damage = damage_of(Path(path))
    if damage:
        raise InputError(
            path,
            f'not a readable checkpoint ({damage})',
            'copy it again, or name the one before',
        )
    try:
        content = read_data(path)
    except pickle.UnpicklingError:
        raise InputError(
            path,
            'holds more than weights and numbers, and is not run',
            'save it again with its state_dict alone',
        ) from None
    except Exception as error:  # damage surfaces anywhere in torch's reader
        raise InputError(
            path, f'not a readable checkpoint ({error})', 'copy it again'
        ) from None
    if not isinstance(content, dict):
        raise InputError(path, 'holds no state_dict', 'name a checkpoint')
    return content


def read_data(path: str, map_location: Any = 'cpu') -> Any:
    """Read a checkpoint with PyTorch's reader of data, which runs nothing.

    Raises:
        pickle.UnpicklingError: It holds more.
    """
    import torch

    _allow_numbers()
    return torch.load(path, map_location=map_location, weights_only=True)


def _allow_numbers() -> None:
    """Let torch's reader of data know the numbers that MMEngine saves with weights."""
    import numpy as np
    from mmengine.logging.history_buffer import HistoryBuffer
    from numpy._core import multiarray
    from torch.serialization import add_safe_globals

    dtypes = [type(np.dtype(name)) for name in ('f8', 'f4', 'i8', 'i4', 'bool')]
    add_safe_globals(
        [
            HistoryBuffer,
            (_history_method, 'builtins.getattr'),
            np.ndarray,
            np.dtype,
            multiarray._reconstruct,
            multiarray.scalar,
            *dtypes,
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


def check_weights(
    model: 'Module', content: dict, path: str, *, new_classes: bool = False
) -> dict[str, Any]:
    """Return the weights of a checkpoint, or stop where they do not fit a model.

    MMEngine would keep the values that the model began with, and note it in the log.
    The auxiliary head, which predicts nothing, may be missing.

    Args:
        content: What :func:`check_checkpoint` returned.
        new_classes: The classifiers, ``conv_seg``, may be missing or of another shape.

    Raises:
        InputError: A weight is missing or of another shape.
    """
    given = content.get('state_dict', content)
    weights = {name.removeprefix('module.'): value for name, value in given.items()}
    own = _inner(model).state_dict()
    wrong = [
        name
        for name, value in own.items()
        if getattr(weights.get(name), 'shape', None) != value.shape
        and not (name.startswith('auxiliary_head.') and name not in weights)
        and not (new_classes and '.conv_seg.' in name)
    ]
    if wrong:
        raise InputError(
            path,
            f'does not fit the model: {len(wrong)} of {len(own)} weights are missing '
            f'or of another shape, {wrong[0]} first',
            'name the config that it was trained with',
        )
    return weights


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
