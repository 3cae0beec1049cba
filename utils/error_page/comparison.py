"""The difference of two models on the same images, with its interval."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mmsegmentation.intervals import Ratios, estimate_gain
from mmsegmentation.scores import image_ratios, pooled_ratios


def compare(one: np.ndarray, two: np.ndarray, classes: Sequence[str]) -> dict[str, Any]:
    """Return how much better ``two`` scores than ``one``, paired by image.

    Args:
        one: Right pixels and union by image, (images, 2, classes), as
            ``mmsegmentation.scores.areas_of`` returns them.
        two: The same images in the same order.

    Returns:
        ``mIoU``, ``mIoU_image`` and by class in ``IoU``: ``difference``, its 95 %
        ``interval``, both in [-1, 1], and ``better`` and ``worse``: the confidence, in
        [0, 1], that ``two`` is ahead on images of this kind, and that it is behind.
        Null where a class does not occur in both.
    """
    first, second = pooled_ratios(one), pooled_ratios(two)
    return {
        'mIoU': _gain(first, second),
        'mIoU_image': _gain(image_ratios(one), image_ratios(two)),
        'IoU': {
            name: _gain(first.only(i), second.only(i)) for i, name in enumerate(classes)
        },
    }


def _gain(one: Ratios, two: Ratios) -> dict[str, Any] | None:
    gain = estimate_gain(one, two)
    if np.isnan(gain.value):
        return None
    return {
        'difference': gain.value,
        'interval': list(gain.interval),
        'better': gain.above,
        'worse': gain.below,
    }
