"""Shared code of the commands with a model: quiet imports, configs, runners."""

import contextlib
import io
import logging
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from mmsegmentation.blame import blame, split_option
from mmsegmentation.command import InputError, waiting
from mmsegmentation.early import check_is_config
from mmsegmentation.pretrained import read_data_alone

if TYPE_CHECKING:
    from mmengine.config import Config
    from mmengine.runner import Runner

PARTS = [
    f'mmsegmentation.{name}' for name in ('datasets', 'models', 'engine', 'evaluation')
]
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
    """Read a config with :func:`parse_config`, and import its parts.

    Raises:
        InputError: See :func:`parse_config` and :func:`import_parts`.
    """
    cfg = parse_config(path, options, needs, data_root)
    import_parts(cfg)
    return cfg


def parse_config(
    path: str,
    options: Sequence[str] = (),
    needs: Sequence[str] = (),
    data_root: str | None = None,
) -> 'Config':
    """Read a config file and the ``key=value`` pairs that change it.

    This does not import torch, so that mistakes are reported within a second.

    Args:
        needs: Parts without which it is of no use, such as ``train_dataloader``.
        data_root: Where its data are; put into the environment, where configs find it.

    Raises:
        InputError: The file is missing, does not run, lacks a part, or has an unknown
            key; or an option changes nothing.
    """
    check_is_config(path)
    if data_root:
        os.environ['RECYCLE_DATA'] = data_root
    with quiet():
        from mmsegmentation.config import check_top_level_keys, settle_preprocessor

        cfg = _read(path, options)
        check_top_level_keys(cfg)
        settle_preprocessor(cfg)
        if data_root and cfg.get('data_root') != data_root:
            way_out = _way_to_data_root(cfg, needs, data_root)
            raise InputError(path, 'does not read RECYCLE_DATA', way_out)
        for key in needs:
            if not isinstance(cfg.get(key), dict):
                way_out = 'add it, or name the config of a whole run'
                raise InputError(path, f'has no {key}', way_out)
    return cfg


def _way_to_data_root(cfg: 'Config', needs: Sequence[str], data_root: str) -> str:
    """Return how to set the data root of a config that does not read it.

    Args:
        needs: The parts that the command uses; ``val_dataloader`` goes with training.
    """
    if 'train_dataloader' in needs:
        needs = [*needs, 'val_dataloader']
    options = []
    for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        key, part = loader, cfg.get(loader) if loader in needs else None
        while isinstance(part, dict) and isinstance(part.get('dataset'), dict):
            key, part = f'{key}.dataset', part['dataset']
        if key != loader:
            options.append(f'{key}.data_root={data_root}')
    if not options:
        return 'leave out --data-root'
    return f'pass --cfg-options {" ".join(options)} in place of --data-root'


def _read(path: str, options: Sequence[str]) -> 'Config':
    from mmengine.config import Config, DictAction

    from mmsegmentation.config import check_option
    from mmsegmentation.config_bases import name_stock_configs
    from mmsegmentation.config_types import name_types

    name_stock_configs()

    pairs = [split_option(option) for option in options]
    for key, _ in pairs:
        check_option(key)
    try:
        cfg = name_types(Config.fromfile(path, import_custom_modules=False))
        # In MMEngine's own scope the hooks of this project are not found by name.
        cfg.default_scope = cfg.get('default_scope') or 'mmseg'
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


def import_parts(cfg: 'Config') -> None:
    """Import the parts of this project and the ``custom_imports`` of a config.

    Stock configs do not import this project, but the commands add its hooks and
    writers. The import of torch takes seconds.

    Raises:
        InputError: A module is missing or cannot be imported.
    """
    with waiting('importing'), quiet():
        from mmengine.utils import import_modules_from_strings

        import_modules_from_strings(PARTS)
        try:
            import_modules_from_strings(**cfg.get('custom_imports') or {'imports': []})
        except ImportError as error:
            way_out = 'correct custom_imports'
            raise InputError(cfg.filename, str(error), way_out) from None
        read_data_alone()


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
    from mmsegmentation.config_lists import restore_tuples
    from mmsegmentation.engine import QuietRunner, StrategyRunner
    from mmsegmentation.model_check import check_model

    tell(check_arguments(cfg))
    restore_tuples(cfg)
    if get_device() == 'cpu':
        # Photographs to predict may have many sizes; what trains is all of one.
        keep_freed_memory(None if cfg.get('train_cfg') else PREDICTING_KEEPS)
    kind = StrategyRunner if cfg.get('strategy') else QuietRunner
    runner = kind.from_cfg(cfg)
    _check_names(cfg)
    # Read and checked now, before a run replaces anything.
    if cfg.get('train_cfg'):
        _ = runner.train_loop, runner.val_loop
        check_model(runner)
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
