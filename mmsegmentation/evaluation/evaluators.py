"""The metrics of a test: those of the config, and ``ExactIoUMetric`` beside them."""

from collections.abc import Mapping
from typing import Any

from mmseg.evaluation import CityscapesMetric, DepthMetric, IoUMetric
from mmseg.registry import METRICS

from mmsegmentation.evaluation.exact_iou import ExactIoUMetric

# Prefix of the scores of ExactIoUMetric if the config has metrics of its own.
PREFIX = 'exact'
# Scores that metrics.json always holds.
USUAL = frozenset({'mIoU', 'mIoU_image', 'mAcc', 'aAcc'})


def choose_metrics(given: Any, labelled: bool) -> tuple[list[dict], list[str]]:
    """Return the metrics of a test, and a note for each metric that is left out.

    With labels an ``ExactIoUMetric`` is added if the config has none. Without labels
    the metrics that need them are left out.

    Args:
        given: The ``test_evaluator`` of a config, one metric or several.
        labelled: Whether the images have labels.
    """
    metrics = _as_list(given)
    if labelled:
        if not any(
            _is_a(metric, ExactIoUMetric) and not metric.get('format_only')
            for metric in metrics
        ):
            ours = {'type': 'ExactIoUMetric'}
            metrics.append({**ours, 'prefix': PREFIX} if metrics else ours)
        return metrics, []
    out = [metric for metric in metrics if _needs_labels(metric)]
    # Every config of this project has ExactIoUMetric, so no note is needed for it.
    names = [m['type'] for m in out if not _is_a(m, ExactIoUMetric)]
    notes = [
        f'test_evaluator: {name} is left out because there are no labels'
        for name in names
    ]
    return [metric for metric in metrics if metric not in out], notes


def other_scores(scores: Mapping[str, Any]) -> dict[str, Any]:
    """Return the scores of a config's own metrics, without those of ExactIoUMetric."""
    start = f'{PREFIX}/'
    if any(key.startswith(start) for key in scores):
        return {k: _plain(v) for k, v in scores.items() if not k.startswith(start)}
    return {k: _plain(v) for k, v in scores.items() if k not in USUAL}


def _plain(value: Any) -> float | str:
    """Return a score as a number or a string that JSON can hold."""
    try:
        return round(float(value), 4)
    except (TypeError, ValueError):
        return str(value)


def _as_list(given: Any) -> list[dict]:
    if not given:
        return []
    if isinstance(given, list | tuple):
        return list(given)
    return _as_list(given['metrics']) if 'metrics' in given else [given]


def _is_a(metric: dict, kinds: Any) -> bool:
    kind = metric.get('type')
    found = METRICS.get(kind) if isinstance(kind, str) else kind
    return isinstance(found, type) and issubclass(found, kinds)


def _needs_labels(metric: dict) -> bool:
    scoring = _is_a(metric, (IoUMetric, CityscapesMetric, DepthMetric))
    return scoring and not metric.get('format_only')
