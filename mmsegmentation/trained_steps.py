"""How many steps a model was trained, those of the weights it began with included."""

from collections.abc import Mapping
from typing import Any

KEY = 'steps'


def noted_steps(content: Mapping[str, Any]) -> int | None:
    """Return the steps of a checkpoint in all; None where it does not say.

    Args:
        content: The checkpoint; or ``{'meta': ...}``.
    """
    meta = content.get('meta')
    steps = meta.get(KEY) if isinstance(meta, dict) else None
    return steps if isinstance(steps, int) else None


def steps_before(content: Mapping[str, Any], resumed: bool) -> int | None:
    """Return the steps that a run's weights had been trained before its own first one.

    Weights that were trained on no data root, such as ImageNet's, count as none.

    Args:
        content: The checkpoint that the run starts from; empty if there is none.
        resumed: Whether the run goes on, rather than begins, there.

    Returns:
        None where they are of a data root, and do not say.
    """
    steps, meta = noted_steps(content), content.get('meta')
    meta = meta if isinstance(meta, dict) else {}
    if resumed:
        return None if steps is None else steps - int(meta['iter'])
    if steps is None and 'RecycleDataset' not in str(meta.get('cfg')):
        return 0
    return steps
