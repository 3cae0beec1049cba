from mmsegmentation.datasets.mixed_dataset import MixedDataset
from mmsegmentation.datasets.recycle import RecycleDataset
from mmsegmentation.datasets.seeded_mix_dataset import SeededMixDataset
from mmsegmentation.datasets.stacked_collate import stacked_collate
from mmsegmentation.datasets.transforms import CopyPaste, RandomCutMix, SeededAlbu

__all__ = [
    'CopyPaste',
    'MixedDataset',
    'RandomCutMix',
    'RecycleDataset',
    'SeededAlbu',
    'SeededMixDataset',
    'stacked_collate',
]
