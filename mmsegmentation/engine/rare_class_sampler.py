from collections.abc import Iterator
from typing import Any

from mmseg.registry import DATA_SAMPLERS

from mmsegmentation.engine.rare_draws import draw_pass, find_images
from mmsegmentation.engine.seeded_sampler import SeededSampler


@DATA_SAMPLERS.register_module()
class RareClassSampler(SeededSampler):
    """Images of rare classes come more often in an epoch, others not in each.

    An epoch is as long as before, and follows from seed and epoch alone.

    Args:
        dataset: Of ``RecycleDataset``, which counts its pixels.
        prefer_rare: How much rare classes count, in [0, 1]: with 0 each image comes
            once, with 1 each class of objects is sought as often as another.
        **kwargs: As MMEngine's ``DefaultSampler``.

    Raises:
        ValueError: ``prefer_rare`` is outside [0, 1], or the images cannot be told.
    """

    def __init__(self, dataset: Any, prefer_rare: float = 0.5, **kwargs: Any) -> None:
        super().__init__(dataset, **kwargs)
        self.images = find_images(dataset, prefer_rare)

    def __iter__(self) -> Iterator[int]:
        size = len(self.dataset)
        draws = draw_pass(self.images, size, self.epoch, self.seed, self.shuffle)
        if self.round_up:
            draws = (draws * (self.total_size // len(draws) + 1))[: self.total_size]
        return iter(draws[self.rank : self.total_size : self.world_size])
