import sys
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import torch
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

# Iterations after which a first line shows that the run is under way, and its pace.
EARLY = 10
# Scores that MMEngine gets in percent, in the order of the screen. The screen shows
# fractions, as in metrics.json.
PERCENT = 'mIoU', 'mIoU_image', 'mAcc', 'aAcc'


@HOOKS.register_module()
class ScreenHook(Hook):
    """Show a run on one readable screen.

    In training a line after the first ten and then every ``interval`` iterations (loss,
    learning rate, time left), and one per validation; on a terminal a bar runs below
    them. The whole log goes to the log files of the work folder.

    Args:
        interval: Iterations from one line to the next.
    """

    priority = 'VERY_LOW'

    def __init__(self, interval: int = 50) -> None:
        self.interval = interval
        self._console = Console(file=sys.stderr, highlight=False, soft_wrap=True)
        self._bar: Progress | None = None
        self._task = TaskID(0)
        self._best = float('-inf')

    def before_train(self, runner: Runner) -> None:
        """Open the bar."""
        self._start, self._first = time.monotonic(), runner.iter
        self._best = runner.message_hub.runtime_info.get('best_score', self._best)
        self._open('train', runner.max_iters, runner.iter)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch=None, outputs=None
    ) -> None:
        """Show the loss every ``interval`` iterations."""
        self._advance()
        done, total = runner.iter + 1, runner.max_iters
        early = done - self._first == min(EARLY, self.interval)
        if done % self.interval and done != total and not early:
            return
        scalars = runner.message_hub.log_scalars
        loss = scalars['train/loss'].mean(min(self.interval, done - self._first))
        # The groups of parameters may differ in rate: the largest is the head's.
        rate = max(group['lr'] for group in _param_groups(runner))
        pace = (time.monotonic() - self._start) / (done - self._first)
        left = timedelta(seconds=round(pace * (total - done)))
        self._print(
            f'{done:>6}/{total}  loss {loss:.4f}  lr {rate:.2e}  '
            f'{pace:.2f} s/it  left {left}'
        )

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        """Show the validation's scores, and whether they are the best so far."""
        if not metrics:
            return
        # The terms of a validation loss have names with a dot; their sum is shown.
        known = [key for key in PERCENT if key in metrics]
        shown = known + [key for key in metrics if '.' not in key and key not in known]
        text = '  '.join(f'{key} {_value(key, metrics[key])}' for key in shown)
        score = metrics.get('mIoU', float('nan'))
        mark = '  (best)' if score > self._best else ''
        self._best = max(self._best, score)  # in this order, nan is never kept
        self._print(f'  valid  {text}{mark}')

    def after_train(self, runner: Runner) -> None:
        """Close the bar."""
        self._close()

    def before_test(self, runner: Runner) -> None:
        """Open the bar."""
        self._open('predict', len(runner.test_dataloader), 0)

    def after_test_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch=None,
        outputs: Sequence | None = None,
    ) -> None:
        """Advance the bar."""
        self._advance()

    def after_test(self, runner: Runner) -> None:
        """Close the bar."""
        self._close()

    def _open(self, name: str, total: int, done: int) -> None:
        if not (is_main_process() and self._console.is_terminal):
            return
        columns = BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
        self._bar = Progress(TextColumn(name), *columns, console=self._console)
        self._task = self._bar.add_task(name, total=total, completed=done)
        self._bar.start()

    def _advance(self) -> None:
        if self._bar:
            self._bar.advance(self._task)

    def _close(self) -> None:
        if self._bar:
            self._bar.stop()
            self._bar = None

    def _print(self, text: str) -> None:
        if is_main_process():
            (self._bar.console if self._bar else self._console).print(text)


def _value(name: str, value: Any) -> str:
    if name in PERCENT:
        return f'{value / 100:.4f}'
    return f'{value:.4f}' if isinstance(value, float) else str(value)


def _param_groups(runner: Runner) -> list[dict]:
    optimizer: torch.optim.Optimizer = runner.optim_wrapper.optimizer
    return optimizer.param_groups
