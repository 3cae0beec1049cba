from collections.abc import Iterator
from itertools import islice
from typing import Any

from mmengine.dist import get_world_size
from mmseg.registry import DATA_SAMPLERS, DATASETS
from torch.utils.data import Sampler


@DATA_SAMPLERS.register_module()
class LongEpochSampler(Sampler):
    """Passes over the data, one after the other, in epochs as long as of other data.

    A run without the pseudo labels takes as many steps an epoch with it as the run with
    them: what an epoch has no room for, or room left for, is for the next one.

    For ``EpochBasedTrainLoop``. What it yields follows from seed and epoch alone.

    Args:
        dataset: The data that are gone through.
        sampler: Config of the sampler of one pass, such as ``SeededSampler``.
        like: Config of the data whose number of samples is the length of an epoch. They
            are never read.
        seed: Of ``sampler``.

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
        # As MMEngine's DefaultSampler counts.
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
        """Go on with an epoch; ``DistSamplerSeedHook`` calls it."""
        self.epoch = epoch
