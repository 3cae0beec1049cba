from collections.abc import Iterator
from itertools import islice
from typing import Any

from mmengine.dist import get_world_size
from mmseg.registry import DATA_SAMPLERS, DATASETS
from torch.utils.data import Sampler


@DATA_SAMPLERS.register_module()
class LongEpochSampler(Sampler):
    """Sampler whose epochs are as long as those of another data set.

    A run without pseudo labels uses it to make as many steps in an epoch as the run
    with them. It passes over the data again and again. A pass may begin in one epoch
    and end in the next one.

    It is made for ``EpochBasedTrainLoop``. The samples depend on seed and epoch only.

    Args:
        dataset: The data set.
        sampler: Config of the sampler of one pass, such as ``SeededSampler``.
        like: Config of the data set whose number of samples is the length of an epoch.
            Its samples are never read.
        seed: Seed of ``sampler``.

    Raises:
        ValueError: A pass has no sample.
    """

    def __init__(
        self,
        dataset: Any,
        sampler: dict[str, Any],
        like: dict[str, Any],
        seed: int | None = None,
    ) -> None:
        own = {'dataset': dataset, 'seed': seed}
        self.sampler = DATA_SAMPLERS.build(sampler, default_args=own)
        if not len(self.sampler):
            raise ValueError('a pass of the sampler has no sample for this process')
        samples, processes = len(DATASETS.build(like)), get_world_size()
        # MMEngine's DefaultSampler counts in the same way.
        more = processes - 1 if getattr(self.sampler, 'round_up', True) else 0
        self.num_samples = (samples + more) // processes
        self.epoch = 0

    def __len__(self) -> int:
        return self.num_samples

    def __iter__(self) -> Iterator[Any]:
        turn, place = divmod(self.epoch * self.num_samples, len(self.sampler))
        left = self.num_samples
        while left:
            self.sampler.set_epoch(turn)
            indices = [*islice(self.sampler, place, place + left)]
            yield from indices
            turn, place, left = turn + 1, 0, left - len(indices)

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch that is sampled next; ``DistSamplerSeedHook`` calls this."""
        self.epoch = epoch
