"""What the commands that need a model share: quiet imports, configs, checkpoints."""

import contextlib
import io
import logging
import os
import pickle
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmsegmentation.blame import blame, split_option
from mmsegmentation.command import InputError
from mmsegmentation.sealed import damage_of

if TYPE_CHECKING:
    from mmengine.config import Config
    from mmengine.runner import Runner
    from torch.nn import Module

PRETRAINED = Path('pretrained')
# Bytes of freed memory that a process which only predicts keeps, see allocator.py.
PREDICTING_KEEPS = 1 << 30
# What the libraries raise at a wrong argument; MMSegmentation mostly asserts.
MISUSES = AssertionError, AttributeError, LookupError, TypeError, ValueError


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the libraries' own notices off the screen."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter('ignore')
        yield


def silence() -> None:
    """Keep warnings of libraries that concern no user off the screen, for good."""
    warnings.filterwarnings('ignore')
    logging.captureWarnings(False)
    # albumentations asks the network for a newer version of itself when imported.
    os.environ.setdefault('NO_ALBUMENTATIONS_UPDATE', '1')


def read_config(
    path: str,
    options: Sequence[str] = (),
    needs: Sequence[str] = (),
    data_root: str | None = None,
) -> 'Config':
    """Read a config file and the ``key=value`` pairs that change it.

    Args:
        needs: Parts without which it is of no use, such as ``train_dataloader``.
        data_root: Where its data are; put into the environment, where configs find it.

    Raises:
        InputError: The file is missing, does not run, lacks a part, or has an unknown
            key; or an option changes nothing.
    """
    if not Path(path).is_file():
        raise InputError(path, 'no such config', 'see the folder configs/')
    if data_root:
        os.environ['RECYCLE_DATA'] = data_root
    with quiet():
        from mmsegmentation.config import check_top_level_keys

        cfg = _read(path, options)
        check_top_level_keys(cfg)
        if data_root and cfg.get('data_root') != data_root:
            raise InputError(
                path, 'does not read RECYCLE_DATA', 'leave out --data-root'
            )
        for key in needs:
            if not isinstance(cfg.get(key), dict):
                raise InputError(path, f'has no {key}', 'name a file of configs/')
        _import_modules(cfg, path)
    return cfg


def _read(path: str, options: Sequence[str]) -> 'Config':
    from mmengine.config import Config, DictAction

    from mmsegmentation.config import check_option

    pairs = [split_option(option) for option in options]
    for key, _ in pairs:
        check_option(key)
    try:
        cfg = Config.fromfile(path, import_custom_modules=False)
        # Or its text would be laid out by yapf, for seconds, at each checkpoint; the
        # argument of that name does not arrive.
        object.__setattr__(cfg, '_format_python_code', False)
        cfg.merge_from_dict(
            {key: DictAction._parse_iterable(value) for key, value in pairs}
        )
    except Exception as error:
        raise InputError(
            path, f'does not work ({type(error).__name__}: {error})', 'correct it'
        ) from None
    return cfg


def _import_modules(cfg: 'Config', path: str) -> None:
    from mmengine.utils import import_modules_from_strings

    try:
        import_modules_from_strings(**cfg.get('custom_imports') or {'imports': []})
    except ImportError as error:
        raise InputError(path, str(error), 'correct custom_imports') from None


def build_runner(cfg: 'Config', options: Sequence[str] = ()) -> 'Runner':
    """Build a runner, its data included; its log goes to files, errors to the screen.

    Batch norm that is synchronised between processes becomes the plain one where there
    is one process.

    Args:
        options: The ``key=value`` pairs that changed ``cfg``, for the message.

    Raises:
        InputError: The config names a part that does not exist, or misuses one, or the
            data cannot be used.
    """
    screen = sys.stderr
    with quiet():
        try:
            runner = _build(cfg)
        except Exception as error:  # what a config names may raise anything
            raise blame(error, cfg, options, 'does not build') from error
    for handler in runner.logger.handlers:
        if type(handler) is logging.StreamHandler:
            handler.stream = screen  # setStream would flush the one before
            handler.setLevel(logging.ERROR)
    return runner


def tell(lines: Sequence[str]) -> None:
    """Print notes on standard error, by the first process of a run alone."""
    if os.environ.get('RANK', '0') == '0':
        for line in lines:
            print(line, file=sys.stderr)


def _build(cfg: 'Config') -> 'Runner':
    from mmengine.device import get_device

    from mmsegmentation.allocator import keep_freed_memory
    from mmsegmentation.config_arguments import check_arguments
    from mmsegmentation.engine import QuietRunner, StrategyRunner

    tell(check_arguments(cfg))
    if get_device() == 'cpu':
        # Photographs to predict may have many sizes; what trains is all of one.
        keep_freed_memory(None if cfg.get('train_cfg') else PREDICTING_KEEPS)
    kind = StrategyRunner if cfg.get('strategy') else QuietRunner
    runner = kind.from_cfg(cfg)
    _check_names(cfg)
    # Read and checked now, before a run replaces anything.
    if cfg.get('train_cfg'):
        _ = runner.train_loop, runner.val_loop
        runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    else:
        _ = runner.test_loop
    return runner


def _check_names(cfg: 'Config') -> None:
    """Refuse an unknown name where MMEngine would only find that None cannot be called.

    Raises:
        KeyError: No optimizer, or no function that collates, has this name.
    """
    from mmengine.registry import FUNCTIONS, OPTIMIZERS

    def refuse_unknown(part: Any, registry: Any) -> None:
        name = part.get('type') if isinstance(part, dict) else None
        if isinstance(name, str) and registry.get(name) is None:
            raise KeyError(f'{name} is not in the {registry.name} registry')

    with OPTIMIZERS.switch_scope_and_registry(None) as registry:
        refuse_unknown((cfg.get('optim_wrapper') or {}).get('optimizer'), registry)
    for key in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        refuse_unknown((cfg.get(key) or {}).get('collate_fn'), FUNCTIONS)


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
