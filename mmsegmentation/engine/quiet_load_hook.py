import contextlib
import io

from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS


@HOOKS.register_module()
class QuietLoadHook(Hook):
    """Keep MMEngine's notice of the file it starts from off the screen.

    It is printed, by every process, where all else goes to the log.
    """

    # Others may have something to say before the run.
    priority = 'LOWEST'

    def __init__(self) -> None:
        self._silence = contextlib.ExitStack()

    def before_run(self, runner: Runner) -> None:
        """Fall silent where a checkpoint is loaded next."""
        if runner._load_from is not None or runner._resume:
            silence = contextlib.redirect_stdout(io.StringIO())
            self._silence.enter_context(silence)

    def before_train(self, runner: Runner) -> None:
        """Speak again."""
        self._silence.close()
