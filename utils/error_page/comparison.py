"""The difference of two models on the same images, with its interval."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mmsegmentation.intervals import Ratios, estimate_gain
from mmsegmentation.scores import image_ratios, pooled_ratios


def compare(one: np.ndarray, two: np.ndarray, classes: Sequence[str]) -> dict[str, Any]:
    """Return the scores of ``two`` minus those of ``one``, paired by image.

    Args:
        one: Correct pixels and union by image, (images, 2, classes), as
            ``mmsegmentation.scores.areas_of`` returns them.
        two: The same images in the same order.
        classes: Class names in the order of their ids.

    Returns:
        A record for ``mIoU``, for ``mIoU_image``, and for each class in ``IoU``. It
        holds ``difference`` and its 95 % ``interval``, both in [-1, 1]. ``better`` is
        the confidence in [0, 1] that ``two`` is better on images of this kind.
        ``worse`` is the confidence that it is worse. A record is null unless the class
        occurs for both.
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
