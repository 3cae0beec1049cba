"""The processes that a launcher starts for one run."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

from mmsegmentation.command import InputError
from mmsegmentation.runtime import MISUSES

if TYPE_CHECKING:
    from mmengine.config import Config


@contextmanager
def processes(cfg: 'Config') -> Iterator[None]:
    """Join the processes that ``cfg.launcher`` started, for the time of a run.

    GPUs exchange over what ``env_cfg.dist_cfg`` says, CPUs over gloo. A process that
    torchrun ends, because another one failed, leaves by an exception: it tidies up.

    Raises:
        InputError: No launcher started this process.
    """
    if cfg.launcher == 'none':
        yield
        return
    import torch

    before = signal.signal(signal.SIGTERM, _leave)
    try:
        _join(cfg)
        yield
        # Neither after a failure: the others may never come to the end. While this one
        # waits, gloo's threads let go of its last tensors: once the interpreter ends,
        # they cannot, and abort the process.
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()
    finally:
        signal.signal(signal.SIGTERM, before)


def _join(cfg: 'Config') -> None:
    import torch
    from mmengine.dist import init_dist

    try:
        if torch.cuda.is_available():
            init_dist(cfg.launcher, **cfg.get('env_cfg', {}).get('dist_cfg', {}))
        else:
            # MMEngine's launchers are for GPUs alone, and so is its wrapper's default.
            torch.distributed.init_process_group('gloo')
            cfg.model_wrapper_cfg = {
                'broadcast_buffers': False,
                'find_unused_parameters': cfg.get('find_unused_parameters', False),
                **(cfg.get('model_wrapper_cfg') or {}),
                'device_ids': None,
            }
    except MISUSES as error:
        raise InputError(
            f'--launcher {cfg.launcher}', str(error), 'start it with torchrun'
        ) from None


def _leave(number: int, frame: Any) -> NoReturn:
    raise SystemExit(128 + number)
