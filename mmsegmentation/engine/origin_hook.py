from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS


@HOOKS.register_module()
class OriginHook(Hook):
    """Note in each checkpoint, under ``meta``, what it was trained on.

    ``fold`` is the fold that was left out: ``tools/test.py --fold`` reads it, and
    predicts no image that the model was trained on. ``pseudo`` lists the pseudo labels:
    ``utils/pseudo_label.py`` finds the earlier rounds by it. ``knows_validation`` says
    that the validation part was trained on: no command takes it for a judge then.

    Args:
        fold: What :meth:`mmsegmentation.folds.Fold.record` says; None without folds.
        pseudo: What :func:`mmsegmentation.pseudo_config.join_records` returns.
        knows_validation: Whether the validation part is among them.
    """

    def __init__(
        self,
        fold: dict[str, Any] | None,
        pseudo: list[dict[str, Any]],
        knows_validation: bool = False,
    ) -> None:
        self.fold = fold
        self.pseudo = pseudo
        self.knows_validation = knows_validation

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Add the notes."""
        if self.fold:
            checkpoint['meta']['fold'] = dict(self.fold)
        if self.pseudo:
            checkpoint['meta']['pseudo'] = [dict(record) for record in self.pseudo]
        if self.knows_validation:
            checkpoint['meta']['knows_validation'] = True
