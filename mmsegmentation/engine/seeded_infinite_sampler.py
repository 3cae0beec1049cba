from collections.abc import Iterator
from itertools import islice

import torch
from mmengine.dataset import InfiniteSampler
from mmseg.registry import DATA_SAMPLERS

from mmsegmentation.datasets.draw import Draw


@DATA_SAMPLERS.register_module()
class SeededInfiniteSampler(InfiniteSampler):
    """MMEngine's sampler for iterations; each index says in which pass it comes.

    The order is MMEngine's, also after ``skip``, with which a resumed run starts. With
    it ``SeededMixDataset`` seeds every sample.

    For ``IterBasedTrainLoop``. It counts the passes itself, over all processes: no hook
    is needed, and ``set_epoch``, which MMEngine's loop and hook call, does nothing. An
    epoch of ``EpochBasedTrainLoop`` would never end: that wants ``SeededSampler``.

    Args: as MMEngine's ``InfiniteSampler``.
    """

    def skip(self, num_samples: int) -> None:
        """Start at a place of the whole run, which takes no longer the later it is.

        Passes that are over are shuffled, which moves the generator on, and not read.

        Args:
            num_samples: How many samples this process has seen.
        """
        first = self.rank + num_samples * self.world_size
        self.indices = islice(self._draws(first), 0, None, self.world_size)

    def _infinite_indices(self) -> Iterator[int]:
        return self._draws(0)

    def _draws(self, first: int) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed)
        turn, place = divmod(first, self.size)
        if self.shuffle:
            for _ in range(turn):
                torch.randperm(self.size, generator=generator)
        while True:
            order = torch.arange(self.size)
            if self.shuffle:
                order = torch.randperm(self.size, generator=generator)
            for index in order[place:].tolist():
                yield Draw(index, turn, self.seed)
            turn, place = turn + 1, 0
