from collections.abc import Iterator

from mmengine.dataset import DefaultSampler
from mmseg.registry import DATA_SAMPLERS

from mmsegmentation.datasets.draw import Draw


@DATA_SAMPLERS.register_module()
class SeededSampler(DefaultSampler):
    """MMEngine's sampler for epochs; each index says in which epoch it comes.

    The order is MMEngine's. With it ``SeededMixDataset`` seeds every sample.

    Args: as MMEngine's ``DefaultSampler``.
    """

    def __iter__(self) -> Iterator[int]:
        for index in super().__iter__():
            yield Draw(index, self.epoch, self.seed)
