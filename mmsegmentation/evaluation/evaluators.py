"""What measures a test: the metrics of a config, and ours beside them."""

from collections.abc import Mapping
from typing import Any

from mmseg.evaluation import CityscapesMetric, DepthMetric, IoUMetric
from mmseg.registry import METRICS

from mmsegmentation.evaluation.exact_iou import ExactIoUMetric

# Before the names of our scores where a config has metrics with the same names.
PREFIX = 'exact'
# The scores that metrics.json has anyway.
USUAL = frozenset({'mIoU', 'mIoU_image', 'mAcc', 'aAcc'})


def choose_metrics(given: Any, labelled: bool) -> tuple[list[dict], list[str]]:
    """Return the metrics of a test, and a note for each that is left out.

    Args:
        given: The ``test_evaluator`` of a config: a metric, or several.
        labelled: Whether there are labels. If so, one metric is an ``ExactIoUMetric``;
            if not, those that need labels are left out.
    """
    metrics = _as_list(given)
    if labelled:
        if not any(_is_a(metric, ExactIoUMetric) for metric in metrics):
            ours = {'type': 'ExactIoUMetric'}
            metrics.append({**ours, 'prefix': PREFIX} if metrics else ours)
        return metrics, []
    out = [metric for metric in metrics if _needs_labels(metric)]
    # Ours stands in every config of ours: no news.
    names = [m['type'] for m in out if not _is_a(m, ExactIoUMetric)]
    notes = [
        f'test_evaluator: {name} is left out, there are no labels' for name in names
    ]
    return [metric for metric in metrics if metric not in out], notes


def other_scores(scores: Mapping[str, Any]) -> dict[str, Any]:
    """Return the scores of a config's own metrics, without those that ours has."""
    start = f'{PREFIX}/'
    if any(key.startswith(start) for key in scores):
        return {k: _plain(v) for k, v in scores.items() if not k.startswith(start)}
    return {k: _plain(v) for k, v in scores.items() if k not in USUAL}


def _plain(value: Any) -> float | str:
    """Return a score as JSON has it; NumPy's and torch's numbers it has not."""
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
