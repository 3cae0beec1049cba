import math
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import (
    all_gather_object,
    all_reduce,
    get_world_size,
    is_main_process,
)
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmsegmentation.checkpoints import first_not_finite
from mmsegmentation.command import InputError
from mmsegmentation.engine.unwrap import unwrapped
from mmsegmentation.engine.whole_checkpoint_hook import WholeCheckpointHook
from mmsegmentation.files import write_json

RECORD = 'not_finite.json'
# Prefix of the names of weights that FSDP divides.
DIVIDED = '_fsdp_wrapped_module.'
SHOWN = 4


@HOOKS.register_module()
class FiniteLossHook(Hook):
    """Keep a loss or gradient that is not finite out of the weights.

    The optimiser makes no such step: weights, its own state and the statistics of batch
    norm do not change. A loss with several values counts with their mean, as in the
    log. Up to ``max_skips`` steps of a run are left out. At the next one the run stops,
    after a checkpoint of the state before that step. The work folder's
    ``not_finite.json`` names the images of each such batch, and its losses. Gradients
    are checked only by their norm, if ``clip_grad`` computes it. A checkpoint whose
    weights are not finite is never written.

    A GPU does not wait: the loss is on its way from the forward pass while the backward
    pass is queued, and read when that is done.

    Args:
        max_skips: How many steps a run may leave out, resumed ones included.

    Raises:
        InputError: There was one more.
        ValueError: ``max_skips`` is negative.
    """

    # Before the schedulers step, after the loss was logged.
    priority = 'NORMAL'

    def __init__(self, max_skips: int = 0) -> None:
        if max_skips < 0:
            raise ValueError(f'max_skips must be >= 0, got {max_skips}')
        self.max_skips = max_skips
        self.skipped = 0
        self._records: list[dict[str, Any]] = []
        self._losses: dict[str, Tensor] = {}
        self._reading: Callable[[], float] | None = None
        self._spoilt = False

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run has to know."""
        return {'skipped': self.skipped, 'records': list(self._records)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on counting."""
        self.skipped, self._records = state['skipped'], list(state['records'])

    def before_train(self, runner: Runner) -> None:
        """Listen to the model's losses and to the optimiser's steps."""
        self._runner = runner
        if is_main_process() and not runner._resume:
            (Path(runner.work_dir) / RECORD).unlink(missing_ok=True)
        model = unwrapped(runner.model)
        note = self._note_losses
        if runner.cfg.get('compile'):
            note = torch.compiler.disable(note)
        self._handles: list[Any] = [model.register_forward_hook(note)]
        for optimizer in _optimizers(runner.optim_wrapper):
            step = optimizer.register_step_pre_hook(self._before_step)
            self._handles.append(step)
        norms = [m for m in model.modules() if isinstance(m, _BatchNorm)]
        self._live = [buffer for norm in norms for buffer in norm.buffers()]
        self._kept = [torch.empty_like(buffer) for buffer in self._live]

    def after_train(self, runner: Runner) -> None:
        """Listen no more."""
        for handle in self._handles:
            handle.remove()

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None
    ) -> None:
        """Keep what the forward pass changes: a few thousand numbers."""
        self._batch = data_batch
        if self._live:
            torch._foreach_copy_(self._kept, self._live)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch=None, outputs=None
    ) -> None:
        """Look at losses of which the optimiser made no step, as in accumulation."""
        self._look()
        if getattr(runner.optim_wrapper, 'should_update', lambda: True)():
            self._spoilt = False
        self._batch, self._losses = None, {}

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Write no weights that are spoilt.

        Raises:
            InputError: They are, by gradients whose loss was finite.
        """
        name = first_not_finite(checkpoint['state_dict'])
        if name:
            raise self._spoilt_weights(name)

    def _note_losses(self, model: nn.Module, inputs: tuple, output: Any) -> None:
        if not (isinstance(output, dict) and torch.is_grad_enabled()):
            return
        self._losses = {
            key: torch.stack([part.detach().float().mean() for part in _parts(value)])
            for key, value in output.items()
            if 'loss' in key and len(_parts(value))
        }
        if self._losses:
            total = torch.cat(list(self._losses.values())).sum()
            if get_world_size() > 1:
                all_reduce(total)
            self._reading = _send(total)

    def _before_step(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        self._look()
        overflown = getattr(optimizer, 'found_inf', None)
        if overflown is not None and overflown:  # the scaler of a fused one leaves out
            return
        norm = self._gradient_norm()
        if norm is not None and not self._spoilt and not math.isfinite(norm):
            self._refuse(gradient_norm=norm)
        if self._spoilt:
            # A parameter without gradient is passed over, its state too.
            for group in optimizer.param_groups:
                for parameter in group['params']:
                    parameter.grad = None

    def _look(self) -> None:
        reading, self._reading = self._reading, None
        if reading is not None and not math.isfinite(reading()):
            self._refuse()

    def _gradient_norm(self) -> float | None:
        """Return the norm that MMEngine has just clipped, and read, if it does."""
        wrapper = self._runner.optim_wrapper
        clipped = getattr(wrapper, 'clip_grad_kwargs', None)
        if not clipped or getattr(wrapper, 'grad_name', None) != 'grad_norm':
            return None
        return self._runner.message_hub.get_scalar('train/grad_norm').current()

    def _refuse(self, **more: float) -> None:
        runner = self._runner
        self._spoilt = True
        if self._live:
            torch._foreach_copy_(self._live, self._kept)
        # Under FSDP each process holds a part of the weights.
        own = first_not_finite(dict(unwrapped(runner.model).named_parameters()))
        spoilt = next(filter(None, all_gather_object(own)), None)
        if spoilt:
            raise self._spoilt_weights(spoilt.replace(DIVIDED, ''))
        losses = {key: float(value.sum()) for key, value in self._losses.items()}
        images = [name for one in all_gather_object(self._images()) for name in one]
        record = dict(
            step=runner.iter + 1,
            losses={key: str(value) for key, value in {**losses, **more}.items()},
            images=images,
        )
        # A run that stopped at a step and goes on comes to that step again.
        earlier = [r for r in self._records if r['step'] < record['step']]
        self._records = [*earlier, record]
        wrong = {**losses, **more}
        what = ', '.join(f'{k} {v}' for k, v in wrong.items() if not math.isfinite(v))
        what = what or 'that of another process'
        if self.skipped >= self.max_skips:
            self._stop(record, what)
        self.skipped += 1
        self._write_records()
        if is_main_process():
            print(
                f'step {record["step"]}: not finite ({what}), left out '
                f'({self.skipped} of {self.max_skips}); its images: '
                f'{Path(runner.work_dir) / RECORD}',
                file=sys.stderr,
            )

    def _stop(self, record: dict[str, Any], what: str) -> None:
        runner = self._runner
        runner.optim_wrapper.zero_grad()
        for hook in runner.hooks:
            if isinstance(hook, WholeCheckpointHook) and runner.iter:
                hook.save_now(runner, runner.epoch, runner.iter)
        self._write_records()
        shown = ', '.join(record['images'][:SHOWN])
        more = len(record['images']) - SHOWN
        kind = type(runner.optim_wrapper).__name__
        reduced = 'leave out --amp, ' if 'Amp' in kind or 'Bf16' in kind else ''
        raise InputError(
            f'step {record["step"]}',
            f'the loss is not finite ({what}) on {shown or "its batch"}'
            + (f' and {more} more' if more > 0 else ''),
            f'the state before it is {_last_checkpoint(runner)}, all images are in '
            f'{Path(runner.work_dir) / RECORD}; lower the rate, {reduced}or '
            'skip such steps: default_hooks.finite_loss.max_skips',
        )

    def _spoilt_weights(self, name: str) -> InputError:
        runner = self._runner
        return InputError(
            f'step {runner.iter + 1}',
            f'the weights are no longer finite ({name} first), by a gradient of a step '
            'before',
            f'go on from {_last_checkpoint(runner)} with a lower rate, or with '
            'optim_wrapper.clip_grad',
        )

    def _images(self) -> list[str]:
        batch = self._batch if isinstance(self._batch, dict) else {}
        samples = batch.get('data_samples') or []
        return [str(getattr(sample, 'img_path', '?')) for sample in samples]

    def _write_records(self) -> None:
        if is_main_process():
            write_json(Path(self._runner.work_dir) / RECORD, self._records)


def _optimizers(wrapper: Any) -> Iterable[torch.optim.Optimizer]:
    wrappers = getattr(wrapper, 'optim_wrappers', None)
    parts = wrappers.values() if wrappers else [wrapper]
    return [part.optimizer for part in parts]


def _parts(value: Any) -> Sequence[Tensor]:
    return [value] if isinstance(value, Tensor) else value


def _send(total: Tensor) -> Callable[[], float]:
    """Return what reads a number; its copy from the GPU waits for no later work."""
    if not total.is_cuda:
        return total.item
    here = torch.empty((), dtype=total.dtype, pin_memory=True)
    here.copy_(total, non_blocking=True)
    sent = torch.cuda.Event()
    sent.record()

    def read() -> float:
        sent.synchronize()
        return here.item()

    return read


def _last_checkpoint(runner: Runner) -> str:
    path = runner.message_hub.get_info('last_ckpt', '')
    return str(path or 'none, as none was written yet')
