from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np
from mmengine.dataset import ConcatDataset, force_full_init
from mmseg.registry import DATASETS

from mmsegmentation.datasets.draw import chance_of


@DATASETS.register_module()
class MixedDataset(ConcatDataset):
    """Data sets joined at a set ratio, however many images each of them has.

    A pass goes through the first one once, and takes from each other as many samples
    as the ratio asks for, each a random image of it. Where the sampler yields a
    ``Draw``, a sample follows from seed, pass and index alone.

    An index below ``len`` is one of a pass. Those from ``len`` on are the images
    themselves, of one data set after the other, so that a mixing transform can name
    one.

    Args:
        datasets: Data sets or their configs, such as the real and the pseudo-labelled
            part.
        ratio: How many samples come of each, in relation to each other, all above 0.
        lazy_init: As MMEngine's ``ConcatDataset``.

    Raises:
        ValueError: The ratio is not one positive number for each data set.
    """

    def __init__(
        self,
        datasets: Sequence[Any],
        ratio: Sequence[float],
        lazy_init: bool = False,
    ) -> None:
        if len(ratio) != len(datasets) or not all(0 < r < np.inf for r in ratio):
            raise ValueError(
                f'ratio must be a positive number for each of {len(datasets)} data '
                f'sets, got {ratio}'
            )
        self.ratio = tuple(ratio)
        self.image_starts: list[int] = []
        super().__init__(datasets, lazy_init)

    def full_init(self) -> None:
        """Count the images, and the samples of a pass."""
        if self._fully_initialized:
            return
        super().full_init()
        images = [len(dataset) for dataset in self.datasets]
        samples = [max(1, round(images[0] * r / self.ratio[0])) for r in self.ratio]
        self.cumulative_sizes = list(accumulate(samples))
        total = self.cumulative_sizes[-1]
        self.image_starts = list(accumulate(images[:-1], initial=total))

    @force_full_init
    def get_data_info(self, idx: int) -> dict:
        """Return what is known of a sample; a drawn one stands for those of its set."""
        number, place = self._locate(idx)
        dataset = self.datasets[number]
        return dataset.get_data_info(place % len(dataset))

    def __getitem__(self, idx: int) -> Any:
        self.full_init()
        with chance_of(idx):
            number, place = self._locate(int(idx))
            dataset = self.datasets[number]
            if number and idx < len(self):
                place = int(np.random.randint(len(dataset)))
            return dataset[place]

    def _locate(self, idx: int) -> tuple[int, int]:
        """Return data set and index in it, which for a drawn sample may be too high."""
        if idx < len(self):
            return self._get_ori_dataset_idx(idx)
        number = int(np.searchsorted(self.image_starts, idx, side='right')) - 1
        return number, idx - self.image_starts[number]
