"""What our runners have in common, whichever of MMEngine's they extend."""

import contextlib
import io
import os
import signal
from collections.abc import Callable
from functools import partial
from threading import Thread
from typing import TYPE_CHECKING, Any

import torch
from mmengine.dist import get_world_size
from mmengine.hooks import CheckpointHook, EarlyStoppingHook, Hook
from mmengine.model import convert_sync_batchnorm, revert_sync_batchnorm
from mmengine.runner import BaseLoop, Runner
from torch import nn
from torch.utils.data import DataLoader

from mmsegmentation.engine.class_weight_hook import losses_of
from mmsegmentation.engine.mean_loss_hook import MeanLossHook
from mmsegmentation.engine.one_size_hook import OneSizeHook
from mmsegmentation.engine.resume_hook import ResumeHook
from mmsegmentation.models.cpu_sync_batch_norm import sync_on_cpu
from mmsegmentation.models.shared_dropout import share_dropout
from mmsegmentation.models.shared_loss import share_losses
from mmsegmentation.pretrained import read_data_alone

if TYPE_CHECKING:
    from mmengine.runner import Runner as Base
else:
    Base = object

OURS: dict[Any, str] = {
    'CheckpointHook': 'WholeCheckpointHook',
    CheckpointHook: 'WholeCheckpointHook',
    'EarlyStoppingHook': 'ExactEarlyStoppingHook',
    EarlyStoppingHook: 'ExactEarlyStoppingHook',
}


class Quiet(Base):
    """A runner that loses no work and speaks to its log alone.

    Whatever config it gets, checkpoints are written whole, and a resumed run ends as
    one that was never stopped: it takes our hooks and loop in the place of MMEngine's
    ``CheckpointHook``, ``EarlyStoppingHook`` and ``EpochBasedTrainLoop``, and adds
    ``ResumeHook``. Several processes make the steps that one would make with all their
    images.
    """

    def register_hook(self, hook: Any, priority: Any = None) -> None:
        """Register a hook, ours in the place of MMEngine's."""
        if isinstance(hook, dict) and hook.get('type') in OURS:
            hook = {**hook, 'type': OURS[hook['type']]}
        super().register_hook(hook, priority)

    def register_hooks(
        self,
        default_hooks: dict[str, Hook | dict] | None = None,
        custom_hooks: list[Hook | dict] | None = None,
    ) -> None:
        """Register the hooks of the config, and those of every run."""
        super().register_hooks(default_hooks, custom_hooks)
        self.register_hook(ResumeHook())
        self.register_hook(MeanLossHook())
        self.register_hook(OneSizeHook())

    @staticmethod
    def build_dataloader(
        dataloader: DataLoader | dict,
        seed: int | None = None,
        diff_rank_seed: bool = False,
    ) -> DataLoader:
        """Build a data loader, whose workers end with the run and not before it."""
        loader = Runner.build_dataloader(dataloader, seed, diff_rank_seed)
        if isinstance(dataloader, dict):
            loader.worker_init_fn = partial(_start_worker, loader.worker_init_fn)
        return loader

    def build_train_loop(self, loop: BaseLoop | dict) -> BaseLoop:
        """Build the train loop, ours in the place of MMEngine's."""
        if isinstance(loop, dict):
            if 'type' not in loop and loop.get('by_epoch'):
                loop = {k: v for k, v in loop.items() if k != 'by_epoch'}
                loop['type'] = 'EpochBasedTrainLoop'
            if loop.get('type') == 'EpochBasedTrainLoop':
                loop = {**loop, 'type': 'ExactEpochLoop'}
        return super().build_train_loop(loop)

    def load_or_resume(self) -> None:
        """Load or resume without printing, and read checkpoints as data only.

        The notice of the file is printed, by every process, where all else goes to the
        log.
        """
        read_data_alone()
        with contextlib.redirect_stdout(io.StringIO()):
            super().load_or_resume()
        self.call_hook('after_resume')


def _start_worker(start: Callable[[int], None] | None, number: int) -> None:
    """Start a worker that leaves SIGTERM to its run, which needs it for one step more.

    A whole process group is told by ``timeout`` and by those who end jobs. Its run
    ends a worker by SIGTERM too, and that it obeys.
    """
    if hasattr(signal, 'sigwaitinfo'):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        Thread(target=_obey, args=(os.getppid(),), daemon=True).start()
    if start:
        start(number)


def _obey(run: int) -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != run:
        pass
    os._exit(0)


def share_batch(model: nn.Module, sync_bn: str | None) -> None:
    """Let a model of one of several processes work as if it had all their images.

    By itself, where a launcher started one alone, it is as without a launcher.

    Args:
        sync_bn: What a config says: synchronise each batch norm, and by whose layer on
            GPUs, ``'torch'`` or ``'mmcv'``; or None.
    """
    share_losses(losses_of(model))
    if get_world_size() == 1:
        revert_sync_batchnorm(model)  # PyTorch's refuses the CPU all the same
        return
    share_dropout(model)
    if not torch.cuda.is_available():
        sync_on_cpu(model, every=sync_bn is not None)
    elif sync_bn:
        convert_sync_batchnorm(model, sync_bn)  # its layers, in place
