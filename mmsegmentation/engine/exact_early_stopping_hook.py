from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import EarlyStoppingHook
from mmengine.runner import Runner
from mmseg.registry import HOOKS


@HOOKS.register_module()
class ExactEarlyStoppingHook(EarlyStoppingHook):
    """MMEngine's hook, which goes on counting after a resume, and says that it stops.

    MMEngine's begins anew at each start: a run that is resumed again and again would
    never stop, and one that had stopped would go on. ``QuietRunner`` takes this in the
    place of every ``EarlyStoppingHook``. A run that had stopped goes on where
    ``patience`` is more than it was, else it says why it does not.

    Args: as MMEngine's ``EarlyStoppingHook``. ``min_delta`` is in the unit of the
        score: our mIoU has 0 to 100.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._loop: Any = None
        self._reason = ''

    def before_run(self, runner: Runner) -> None:
        """Note whom to stop."""
        super().before_run(runner)
        self._loop = runner.train_loop

    def after_val_epoch(self, runner: Runner, metrics: dict) -> None:
        """Decide whether to stop, and say so."""
        super().after_val_epoch(runner, metrics)
        if self._loop.stop_training and is_main_process():
            print(f'stopped early at step {runner.iter}: {self._reason}', flush=True)

    def _check_stop_condition(self, current_score: float) -> tuple[bool, str]:
        stops, self._reason = super()._check_stop_condition(current_score)
        return stops, self._reason

    def state_dict(self) -> dict[str, Any]:
        """Return the count, for a checkpoint."""
        stopped = bool(self._loop and self._loop.stop_training)
        return {
            'wait': self.wait_count,
            'best': self.best_score,
            'stopped': stopped,
            'patience': self.patience,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a count."""
        self.wait_count, self.best_score = state['wait'], state['best']
        had = state.get('patience', self.patience)
        self._loop.stop_training = state['stopped'] and self.patience <= had
        if self._loop.stop_training and is_main_process():
            way = f"EarlyStoppingHook's patience above {had} lets it go on"
            print(f'the run had stopped early; {way}', flush=True)
