import os
from pathlib import Path

import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS

from mmsegmentation.classes import IGNORE_INDEX
from mmsegmentation.command import InputError
from mmsegmentation.files import read_mask


@TRANSFORMS.register_module()
class KeepByConfidence(BaseTransform):
    """Let each pseudo-labelled pixel take part with the chance of its confidence.

    Drawn anew each time, so on average every pixel counts by its confidence: the
    expected loss, and its gradient, are those of a loss weighted by it, where the loss
    is a mean over all pixels, as MMSegmentation's is. Nothing else has to know: a pixel
    that does not take part is an ignored one.

    In the pipeline of a pseudo-labelled data set, after labels are loaded and before
    anything moves them. ``utils/pseudo_label.py --soft`` writes what it reads.

    Reads: ``img_path``, ``seg_map_path`` and ``gt_seg_map`` (H, W) uint8; and
    ``confidence`` beside the folder of the masks.
    Writes: ``gt_seg_map``, as a new array, with 255 where a pixel does not take part.

    Raises:
        InputError: The confidence is missing, unreadable, or of another size.
    """

    def transform(self, results: dict) -> dict:
        labels = results['gt_seg_map']
        path = confidence_path(results['img_path'], results['seg_map_path'])
        if not path.is_file():
            way_out = 'make the labels with utils/pseudo_label.py --soft'
            raise InputError(path, 'no such file', way_out)
        confidence = read_mask(path)
        if confidence.shape != labels.shape:
            raise InputError(
                path,
                f'has size {confidence.shape}, its labels {labels.shape}',
                'name this step right after the labels are loaded',
            )
        # One of 255 numbers: below a confidence c lie c of them.
        draw = np.random.randint(0, 255, labels.shape, np.uint8)
        results['gt_seg_map'] = np.where(
            draw < confidence, labels, np.uint8(IGNORE_INDEX)
        )
        return results

    def __repr__(self) -> str:
        return 'KeepByConfidence()'


def confidence_path(img_path: str, seg_map_path: str) -> Path:
    """Return where the confidence of an image stands.

    >>> confidence_path('r/pseudo/images/a/1.jpg', 'r/pseudo/mask/a/1.png').as_posix()
    'r/pseudo/confidence/a/1.png'
    """
    part = Path(os.path.commonpath((img_path, seg_map_path)))
    return Path(part, 'confidence', *Path(seg_map_path).relative_to(part).parts[1:])
