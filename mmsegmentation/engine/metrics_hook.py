from pathlib import Path

from mmengine.dist import master_only
from mmengine.hooks import CheckpointHook, Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS

from mmsegmentation.evaluation import ExactIoUMetric
from mmsegmentation.files import write_json


@HOOKS.register_module()
class BestMetricsHook(Hook):
    """Keep all scores of the best checkpoint as ``metrics.json`` in the work folder."""

    # After the checkpoint hook has decided which is the best.
    priority = 'LOWEST'

    def before_train(self, runner: Runner) -> None:
        """Look for the earlier best checkpoint here, wherever the run was before.

        A checkpoint names it by its full path, and CheckpointHook deletes it once there
        is a better one: a copied run would lose its original's.
        """
        keeper = _keeper(runner)
        best = getattr(keeper, 'best_ckpt_path', None)
        if keeper and best:
            keeper.best_ckpt_path = str(Path(keeper.out_dir) / Path(best).name)

    @master_only
    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        """Write the scores if this validation gave the best checkpoint."""
        best = getattr(_keeper(runner), 'best_ckpt_path', None)
        if best is None or not _is_of_now(Path(best), runner):
            return
        for metric in runner.val_evaluator.metrics:
            if isinstance(metric, ExactIoUMetric) and metric.last_scores:
                scores = {'checkpoint': Path(best).name, **metric.last_scores}
                write_json(Path(runner.work_dir) / 'metrics.json', scores)


def _keeper(runner: Runner) -> CheckpointHook | None:
    return next((h for h in runner.hooks if isinstance(h, CheckpointHook)), None)


def _is_of_now(best: Path, runner: Runner) -> bool:
    # CheckpointHook names the file after the epoch or iteration just reached.
    return best.stem.endswith((f'_epoch_{runner.epoch}', f'_iter_{runner.iter}'))
