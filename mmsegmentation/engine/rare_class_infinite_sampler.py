from collections.abc import Iterator
from typing import Any

from mmseg.registry import DATA_SAMPLERS

from mmsegmentation.engine.rare_draws import draw_pass, find_images
from mmsegmentation.engine.seeded_infinite_sampler import SeededInfiniteSampler


@DATA_SAMPLERS.register_module()
class RareClassInfiniteSampler(SeededInfiniteSampler):
    """The same as ``RareClassSampler`` for ``IterBasedTrainLoop``.

    Args:
        dataset: Of ``RecycleDataset``, which counts its pixels.
        prefer_rare: How much rare classes count, in [0, 1].
        **kwargs: As MMEngine's ``InfiniteSampler``.

    Raises:
        ValueError: ``prefer_rare`` is outside [0, 1], or the images cannot be told.
    """

    def __init__(self, dataset: Any, prefer_rare: float = 0.5, **kwargs: Any) -> None:
        self.images = find_images(dataset, prefer_rare)
        super().__init__(dataset, **kwargs)

    def _draws(self, first: int) -> Iterator[int]:
        turn, place = divmod(first, self.size)
        while True:
            # A repeated data set is longer than its images.
            draws = draw_pass(self.images, self.size, turn, self.seed, self.shuffle)
            yield from draws[place:]
            turn, place = turn + 1, 0
