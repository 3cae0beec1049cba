from typing import Any

import torch
from mmengine.dist import get_rank, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS
from torch.utils.data import DataLoader

from mmsegmentation.datasets.seeded_mix_dataset import SeededMixDataset
from mmsegmentation.engine import run_state, schedule
from mmsegmentation.engine.long_epoch_sampler import LongEpochSampler
from mmsegmentation.engine.seeded_infinite_sampler import SeededInfiniteSampler
from mmsegmentation.engine.seeded_sampler import SeededSampler


@HOOKS.register_module()
class ResumeHook(Hook):
    """Make a resumed run end as the one that was never stopped, bit for bit.

    Under ``resume`` a checkpoint gets what MMEngine leaves out of it: the generators'
    states, gradients between two steps of the optimiser, whether the validation that
    was due is done, how long the logs were, and the schedule. A hook that has
    ``state_dict`` and ``load_state_dict`` has its state kept too.

    On resume all this is put back, what was logged after the checkpoint is cut off, a
    validation that was due is made up for, and where the config's schedule is another
    one, rates and counters become those of a run that had it from the start.
    ``QuietRunner`` registers it.
    """

    priority = 'LOWEST'

    def __init__(self) -> None:
        self.validated = -1
        self._before_val: run_state.State | None = None
        self._saved: run_state.State | None = None
        self._given: list[dict[str, Any]] = []
        self._state: run_state.State = {}

    def before_run(self, runner: Runner) -> None:
        """Let data loaders take nothing from the model's random numbers.

        Or each start of their workers would, and a resumed run starts them once more.
        """
        for loop in (runner._train_loop, runner._val_loop):
            loader = getattr(loop, 'dataloader', None)
            if loader is not None and loader.generator is None:
                loader.generator = torch.Generator().manual_seed(runner.seed)

    def before_val(self, runner: Runner) -> None:
        """Note the state: a validation that is broken off is done again from here."""
        self._before_val = run_state.random_state()

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        """Note that this validation is done, and all its scores are kept."""
        self.validated, self._before_val = runner.iter, None

    def before_checkpoint(self, runner: Runner, step: int) -> None:
        """Gather what goes into the checkpoint, in every process.

        Args:
            step: How many steps were made.
        """
        random = run_state.of_all_processes(
            self._before_val or run_state.random_state()
        )
        self._state = {
            'random': random,
            'validated': self.validated == step,
            'schedule': schedule.describe(runner),
            'hooks': {
                type(hook).__name__: hook.state_dict()
                for hook in runner.hooks
                if hasattr(hook, 'state_dict')
            },
        }
        if step % getattr(runner.optim_wrapper, '_accumulative_counts', 1):
            self._state['gradients'] = run_state.gradients(runner.model)
        if is_main_process():
            self._state['logs'] = run_state.log_sizes(runner)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Add it, to a checkpoint that a run can go on from."""
        if 'optimizer' in checkpoint and self._state:
            checkpoint['resume'] = self._state

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Note what was saved, and what the config says before that is overwritten."""
        if runner._resume:
            self._saved = checkpoint.get('resume')
            self._given = schedule.settings(runner)

    def after_resume(self, runner: Runner) -> None:
        """Let the config's schedule take over; say so where it is another one."""
        resumed = runner._resume and is_main_process()
        if resumed and _draws_anew(runner.train_dataloader):
            way = 'SeededMixDataset and SeededSampler go on exactly, or num_workers=0'
            print(f'augmentation in workers is drawn anew: {way}', flush=True)
        if self._saved:
            line = schedule.follow(runner, self._saved['schedule'], self._given)
            if line and is_main_process():
                print(line, flush=True)

    def before_train(self, runner: Runner) -> None:
        """Put all back, and make up for a validation."""
        done, end = _place(runner.train_loop)
        if done >= end and is_main_process():
            unit = 'epoch' if schedule.is_by_epoch(runner.train_loop) else 'step'
            print(f'already at {unit} {done} of {end}: none is left', flush=True)
        saved, self._saved = self._saved, None
        if saved is None:  # a new run, or a checkpoint of plain MMEngine
            return
        run_state.restore_gradients(runner.model, saved.get('gradients', {}))
        for hook in runner.hooks:
            state = saved['hooks'].get(type(hook).__name__)
            if state is not None and hasattr(hook, 'load_state_dict'):
                hook.load_state_dict(state)
        states = saved['random']
        if get_rank() < len(states):
            run_state.restore_random_state(states[get_rank()])
        if is_main_process() and run_state.in_own_folder(runner):
            run_state.cut_logs(runner, saved['logs'])
        if not saved['validated'] and _validation_is_due(runner):
            runner.val_loop.run()


def _draws_anew(loader: DataLoader) -> bool:
    """Tell whether chance in its workers follows from nothing that a run knows."""
    sampler = loader.sampler
    if isinstance(sampler, LongEpochSampler):
        sampler = sampler.sampler
    exact = isinstance(loader.dataset, SeededMixDataset) and isinstance(
        sampler, SeededSampler | SeededInfiniteSampler
    )
    return loader.num_workers > 0 and not exact


def _place(loop: Any) -> tuple[int, int]:
    """Return how far a train loop has come, and its end, in epochs or iterations."""
    if schedule.is_by_epoch(loop):
        return loop.epoch, loop.max_epochs
    return loop.iter, loop.max_iters


def _validation_is_due(runner: Runner) -> bool:
    """Tell whether MMEngine's loop would validate before its next step."""
    loop = runner.train_loop
    if runner.val_loop is None:
        return False
    loop._decide_current_val_interval()
    done, end = _place(loop)
    if schedule.is_by_epoch(loop) and loop.iter != loop.epoch * len(loop.dataloader):
        return False
    return done >= max(1, loop.val_begin) and (
        done % loop.val_interval == 0 or done == end
    )
