"""The number of training steps of a model, including those of its initial weights."""

from collections.abc import Mapping
from typing import Any

KEY = 'steps'


def noted_steps(content: Mapping[str, Any]) -> int | None:
    """Return the total training steps of a checkpoint, or None if it has no record.

    Args:
        content: The content of the checkpoint, or only ``{'meta': ...}``.
    """
    meta = content.get('meta')
    steps = meta.get(KEY) if isinstance(meta, dict) else None
    return steps if isinstance(steps, int) else None


def steps_before(content: Mapping[str, Any], resumed: bool) -> int | None:
    """Return the number of steps that a run's initial weights were trained.

    Only steps on a data root count. For weights from other data, such as ImageNet, the
    number is 0.

    Args:
        content: The checkpoint that the run starts from; empty if there is none.
        resumed: Whether the run resumes the training of the checkpoint.

    Returns:
        None if the weights were trained on a data root but have no record of steps.
    """
    steps, meta = noted_steps(content), content.get('meta')
    meta = meta if isinstance(meta, dict) else {}
    if resumed:
        return None if steps is None else steps - int(meta['iter'])
    if steps is None and 'RecycleDataset' not in str(meta.get('cfg')):
        return 0
    return steps
