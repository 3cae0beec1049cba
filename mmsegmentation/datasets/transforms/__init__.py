from mmsegmentation.datasets.transforms.copy_paste import CopyPaste
from mmsegmentation.datasets.transforms.cut_mix import RandomCutMix

__all__ = ['CopyPaste', 'RandomCutMix']
