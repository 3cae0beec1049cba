from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS

from mmsegmentation.trained_steps import KEY as STEPS


@HOOKS.register_module()
class OriginHook(Hook):
    """Note in each checkpoint, under ``meta``, what it was trained on.

    ``fold`` is the fold that was left out: ``tools/test.py --fold`` reads it, and
    predicts no image that the model was trained on. ``pseudo`` lists the pseudo labels:
    ``utils/pseudo_label.py`` finds the earlier rounds by it. ``knows_validation`` says
    that the validation part was trained on: no command takes it for a judge then.
    ``steps`` is the number of training steps, including those of the initial weights.
    ``utils/gate.py`` warns if two models differ in it.

    Args:
        fold: What :meth:`mmsegmentation.folds.Fold.record` says; None without folds.
        pseudo: What :func:`mmsegmentation.pseudo_config.join_records` returns.
        knows_validation: Whether the validation part is among them.
        steps_before: Training steps of the initial weights, from
            :func:`mmsegmentation.trained_steps.steps_before`.
    """

    def __init__(
        self,
        fold: dict[str, Any] | None,
        pseudo: list[dict[str, Any]],
        knows_validation: bool = False,
        steps_before: int | None = None,
    ) -> None:
        self.fold = fold
        self.pseudo = pseudo
        self.knows_validation = knows_validation
        self.steps_before = steps_before

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Add the notes."""
        if self.fold:
            checkpoint['meta']['fold'] = dict(self.fold)
        if self.pseudo:
            checkpoint['meta']['pseudo'] = [dict(record) for record in self.pseudo]
        if self.knows_validation:
            checkpoint['meta']['knows_validation'] = True
        if self.steps_before is not None:
            own = checkpoint['meta']['iter']
            checkpoint['meta'][STEPS] = self.steps_before + own
