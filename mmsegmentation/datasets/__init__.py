from mmsegmentation.datasets.recycle import RecycleDataset
from mmsegmentation.datasets.transforms import CopyPaste, RandomCutMix, SeededAlbu

__all__ = ['CopyPaste', 'RandomCutMix', 'RecycleDataset', 'SeededAlbu']
