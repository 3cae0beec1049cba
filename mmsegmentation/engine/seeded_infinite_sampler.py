from collections.abc import Iterator

from mmengine.dataset import InfiniteSampler
from mmseg.registry import DATA_SAMPLERS

from mmsegmentation.datasets.draw import Draw


@DATA_SAMPLERS.register_module()
class SeededInfiniteSampler(InfiniteSampler):
    """MMEngine's sampler for iterations; each index says in which pass it comes.

    The order is MMEngine's, also after its ``skip``, with which a resumed run starts.
    With it ``SeededMixDataset`` seeds every sample.

    For ``IterBasedTrainLoop``. It counts the passes itself, over all processes: no hook
    is needed, and ``set_epoch``, which MMEngine's loop and hook call, does nothing. An
    epoch of ``EpochBasedTrainLoop`` would never end: that wants ``SeededSampler``.

    Args: as MMEngine's ``InfiniteSampler``.
    """

    def _infinite_indices(self) -> Iterator[int]:
        for position, index in enumerate(super()._infinite_indices()):
            yield Draw(index, position // self.size, self.seed)
