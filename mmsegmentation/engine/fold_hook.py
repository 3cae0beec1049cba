from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS


@HOOKS.register_module()
class FoldHook(Hook):
    """Note in each checkpoint which fold it was trained without, as ``meta['fold']``.

    ``tools/test.py --fold`` reads it, and predicts no image that the model was
    trained on.

    Args:
        record: What :meth:`mmsegmentation.folds.Folds.record` returns.
    """

    def __init__(self, record: dict[str, Any]) -> None:
        self.record = record

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Add the note."""
        checkpoint['meta']['fold'] = dict(self.record)
