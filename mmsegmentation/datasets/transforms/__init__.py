from mmsegmentation.datasets.transforms.copy_paste import CopyPaste
from mmsegmentation.datasets.transforms.cut_mix import RandomCutMix
from mmsegmentation.datasets.transforms.seeded_albu import SeededAlbu

__all__ = ['CopyPaste', 'RandomCutMix', 'SeededAlbu']
