from mmsegmentation.datasets.transforms.copy_paste import CopyPaste
from mmsegmentation.datasets.transforms.cut_mix import RandomCutMix
from mmsegmentation.datasets.transforms.fast_pack_seg_inputs import FastPackSegInputs
from mmsegmentation.datasets.transforms.fast_photo_metric_distortion import (
    FastPhotoMetricDistortion,
)
from mmsegmentation.datasets.transforms.fast_resize import FastResize
from mmsegmentation.datasets.transforms.flip_rotate_resize import FlipRotateResize
from mmsegmentation.datasets.transforms.keep_by_confidence import KeepByConfidence
from mmsegmentation.datasets.transforms.load_decoded import LoadDecoded
from mmsegmentation.datasets.transforms.seeded_albu import SeededAlbu

__all__ = [
    'CopyPaste',
    'FastPackSegInputs',
    'FastPhotoMetricDistortion',
    'FastResize',
    'FlipRotateResize',
    'KeepByConfidence',
    'LoadDecoded',
    'RandomCutMix',
    'SeededAlbu',
]
