"""Hooks that every training has, whatever its config."""

from typing import TYPE_CHECKING

from mmsegmentation.config import type_name

if TYPE_CHECKING:
    from mmengine.config import Config

# Types of the hooks by their keys in default_hooks. The value None turns a hook off.
HOOKS = {
    'sample_check': 'SampleCheckHook',
    'quarantine': 'QuarantineHook',
    'finite_loss': 'FiniteLossHook',
    'best_metrics': 'BestMetricsHook',
    'screen': 'ScreenHook',
}


def add_hooks(cfg: 'Config') -> None:
    """Add the hooks of this project to a config, and keep the best checkpoint.

    MMSegmentation's own configs name none of these hooks. A hook that ``cfg`` names is
    not changed, and neither is a ``save_best``.
    """
    hooks = dict(cfg.get('default_hooks') or {})
    named = [*hooks.values(), *(cfg.get('custom_hooks') or [])]
    types = {type_name(hook) for hook in named if isinstance(hook, dict)}
    for key, name in HOOKS.items():
        if hooks.get(key, {}) is None:
            del hooks[key]  # MMEngine accepts None only for its own hooks
        elif name not in types:
            hooks[key] = {'type': name, **hooks.get(key, {})}
    cfg.default_hooks = hooks
    _keep_best(cfg)


def _keep_best(cfg: 'Config') -> None:
    keeper = cfg.default_hooks.get('checkpoint')
    if not isinstance(keeper, dict) or not cfg.get('val_dataloader'):
        return
    evaluators = cfg.get('val_evaluator') or []
    if isinstance(evaluators, dict):
        evaluators = [evaluators]
    if 'save_best' not in keeper and any(map(_gives_miou, evaluators)):
        keeper.update(save_best='mIoU', rule='greater')


def _gives_miou(metric: dict) -> bool:
    """Return whether a metric is one of those that report ``mIoU`` by this name."""
    kinds = 'IoUMetric', 'ExactIoUMetric'
    wanted = metric.get('iou_metrics') or ['mIoU']
    return type_name(metric) in kinds and 'mIoU' in wanted and not metric.get('prefix')
