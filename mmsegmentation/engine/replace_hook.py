from collections.abc import Iterable
from pathlib import Path

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS

from mmsegmentation.processes import BEGUN, note


@HOOKS.register_module()
class ReplaceHook(Hook):
    """Remove the files of an earlier run once the new one has made its first step.

    A run that fails before, at its first batch too, leaves them where they are.

    Args:
        files: What to remove; what is not there is passed over.
    """

    # Before the checkpoint hook writes files of the same names.
    priority = 'VERY_HIGH'

    def __init__(self, files: Iterable[str | Path] = ()) -> None:
        self.files = [Path(path) for path in files]
        self.begun = self.replaced = False

    def before_train_epoch(self, runner: Runner) -> None:
        """Note that all is built, loaded and ready: the first batch comes next."""
        self.begun = True

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch=None, outputs=None
    ) -> None:
        """Remove the files, once."""
        if is_main_process() and not self.replaced:
            note(BEGUN)
            for path in self.files:
                path.unlink(missing_ok=True)
        self.replaced = True
