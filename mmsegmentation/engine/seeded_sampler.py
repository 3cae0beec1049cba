from collections.abc import Iterator, Sized

from mmengine.dataset import DefaultSampler
from mmseg.registry import DATA_SAMPLERS

from mmsegmentation.datasets.draw import Draw


@DATA_SAMPLERS.register_module()
class SeededSampler(DefaultSampler):
    """MMEngine's sampler for epochs; each index says in which epoch it comes.

    The order is MMEngine's. With it ``SeededMixDataset`` seeds every sample.

    The epoch is what ``set_epoch`` was last told. In ``EpochBasedTrainLoop``
    ``DistSamplerSeedHook`` tells it, which is among MMEngine's default hooks; where
    ``default_hooks=dict(sampler_seed=None)`` takes it away, each epoch is the first
    once more: the same order, and the same random draws. ``IterBasedTrainLoop`` counts
    the passes and tells it without a hook, but starts the workers anew at each, and has
    them read again what a resumed run has seen: ``SeededInfiniteSampler`` does neither.
    A validation tells nothing, and so always draws the same.

    Args: as MMEngine's ``DefaultSampler``. Without ``round_up`` each process gets as
        many, and the last few of an epoch are left out: with ``drop_last``, the steps
        of one process that has all. MMEngine's gives some one more, and the others wait
        for them for ever.
    """

    def __init__(
        self,
        dataset: Sized,
        shuffle: bool = True,
        seed: int | None = None,
        round_up: bool = True,
    ) -> None:
        super().__init__(dataset, shuffle, seed, round_up)
        if not round_up:
            self.num_samples = len(dataset) // self.world_size
            self.total_size = self.num_samples * self.world_size

    def __iter__(self) -> Iterator[int]:
        for index in super().__iter__():
            yield Draw(index, self.epoch, self.seed)
