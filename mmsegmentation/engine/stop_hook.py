import os
import signal
import time
from typing import Any, NoReturn

import torch
from mmengine.dist import all_reduce, get_world_size
from mmengine.hooks import EMAHook, Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS
from torch.utils.data import get_worker_info

from mmsegmentation.engine.whole_checkpoint_hook import WholeCheckpointHook

# Of several processes one may wait for another that is gone: seconds until it leaves.
PATIENCE = 20
# Seconds within which a second signal is the first one again: who ends a job tells all
# its processes, and some of them pass it on.
ECHO = 1.0


# By Ctrl-C, by who ends a job, and by a terminal that is closed.
SIGNALS = [signal.SIGINT, signal.SIGTERM]
if hasattr(signal, 'SIGHUP'):
    SIGNALS.append(signal.SIGHUP)


class Stopped(SystemExit):
    """A run was told to stop, and has saved what it had.

    Args:
        code: 128 and the number of the signal, as of a process that a signal ends.
        step: How many steps were made.
    """

    def __init__(self, code: int, step: int) -> None:
        super().__init__(code)
        self.step = step


@HOOKS.register_module()
class StopHook(Hook):
    """At Ctrl-C, SIGTERM and SIGHUP finish the step, save, and leave by ``Stopped``.

    A validation is broken off; a resumed run makes up for it. A second signal ends the
    run at once. All processes of a run stop at the same step.
    """

    # After all that writes or counts.
    priority = 'LOWEST'

    def __init__(self) -> None:
        self.signal = 0
        self._since = 0.0
        self._process = os.getpid()
        self._before: dict[int, Any] = {}

    def before_run(self, runner: Runner) -> None:
        """Listen, from before the first worker is forked."""
        for number in SIGNALS:
            if number != signal.SIGINT and signal.getsignal(number) is signal.SIG_IGN:
                continue  # as under nohup
            self._before[number] = signal.signal(number, self._note)

    def after_run(self, runner: Runner) -> None:
        """Listen no more."""
        self.restore()

    def restore(self) -> None:
        """Give the signals back to who had them."""
        while self._before:
            signal.signal(*self._before.popitem())

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch=None, outputs=None
    ) -> None:
        """Leave if told to."""
        if self._told():
            self._leave(runner, runner.iter + 1)

    def after_val_iter(
        self, runner: Runner, batch_idx: int, data_batch=None, outputs=None
    ) -> None:
        """Leave if told to, with the weights of training."""
        if not self._told():
            return
        for hook in runner.hooks:
            if isinstance(hook, EMAHook):
                hook.after_val_epoch(runner)  # swaps them back
        self._leave(runner, runner.iter)

    def _note(self, number: int, frame: Any) -> None:
        if os.getpid() != self._process:
            # A worker of a data loader goes on until its run lets it go.
            if get_worker_info() is None:
                signal.signal(number, signal.SIG_DFL)
                os.kill(os.getpid(), number)
            return
        late = number == getattr(signal, 'SIGALRM', None)
        if self.signal and not late and time.monotonic() - self._since < ECHO:
            return
        if self.signal or late:
            self.restore()
            number = self.signal if late else number
            raise (
                KeyboardInterrupt
                if number == signal.SIGINT
                else SystemExit(128 + number)
            )
        self.signal, self._since = number, time.monotonic()
        if get_world_size() > 1 and hasattr(signal, 'alarm'):
            self._before[signal.SIGALRM] = signal.signal(signal.SIGALRM, self._note)
            signal.alarm(PATIENCE)

    def _told(self) -> bool:
        """Tell whether any process was told to stop."""
        if get_world_size() == 1:
            return bool(self.signal)
        told = torch.tensor(self.signal)
        if torch.cuda.is_available():
            told = told.cuda()
        all_reduce(told, 'max')
        self.signal = int(told)
        return bool(self.signal)

    def _leave(self, runner: Runner, step: int) -> NoReturn:
        if hasattr(signal, 'alarm'):
            signal.alarm(0)  # nobody is gone, and a large checkpoint takes its time
        for hook in runner.hooks:
            if isinstance(hook, WholeCheckpointHook):
                hook.save_now(runner, runner.epoch, step)
        raise Stopped(128 + self.signal, step)
