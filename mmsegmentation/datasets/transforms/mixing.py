"""What the mixing transforms share: the dice, and the check of two samples."""

from collections.abc import Sized

import numpy as np
from mmcv.transforms import BaseTransform

from mmsegmentation.datasets.transforms.donors import KINDS, find_donors


class MixTransform(BaseTransform):
    """A transform that may take pixels from one more sample of the data set.

    The dice are thrown once, in ``get_indices``: where they say no, no index comes
    back, and the wrapping ``MultiImageMixDataset`` loads nothing.

    Args:
        prob: Chance of mixing, in [0, 1].
        donors: Which samples give pixels: ``'real'``, whose labels a person drew,
            ``'pseudo'``, whose labels a model made, or ``'all'``, as the data set
            mixes them.
        prefer_rare: How much rare classes count when the giver is drawn, in [0, 1]: at
            0 all images have the same chance; at 1 a class of objects is drawn, then
            an image by its share of the pixels of that class.
    """

    def __init__(
        self, prob: float, donors: str = 'all', prefer_rare: float = 0.0
    ) -> None:
        check_share('prob', prob)
        check_share('prefer_rare', prefer_rare)
        if donors not in KINDS:
            raise ValueError(f'donors must be one of {KINDS}, got {donors!r}')
        self.prob = prob
        self.donors = donors
        self.prefer_rare = float(prefer_rare)

    def prepare(self, dataset: Sized) -> None:
        """Find the images that give pixels, before processes share the work.

        Raises:
            ValueError: There are none, or no telling.
        """
        if self.donors != 'all' or self.prefer_rare:
            find_donors(dataset, self.donors, self.prefer_rare)

    def get_indices(self, dataset: Sized) -> list[int]:
        """Return the index of one partner, or none, by chance ``prob``."""
        if np.random.random() >= self.prob:
            return []
        if self.donors == 'all' and not self.prefer_rare:
            return [int(np.random.randint(len(dataset)))]
        return [find_donors(dataset, self.donors, self.prefer_rare).draw()]

    def transform(self, results: dict) -> dict:
        """Mix with the partner in ``mix_results``; unchanged without one."""
        if 'mix_results' not in results:
            raise ValueError(
                f'{type(self).__name__} found no mix_results: name it in the pipeline '
                'of a MultiImageMixDataset, not in that of the data set itself'
            )
        if not results['mix_results']:
            return results
        partner = results['mix_results'][0]
        for sample in (results, partner):
            if sample['img'].shape[:2] != sample['gt_seg_map'].shape:
                raise ValueError(
                    f'{sample.get("img_path", "image")}: image '
                    f'{sample["img"].shape[:2]} and labels '
                    f'{sample["gt_seg_map"].shape} differ in size'
                )
        return self.mix(results, partner)

    def mix(self, results: dict, partner: dict) -> dict:
        """Return ``results`` with pixels and labels of ``partner``."""
        raise NotImplementedError


def check_share(name: str, value: float) -> None:
    """Refuse what is no number in [0, 1].

    Raises:
        ValueError: It is none.
    """
    if not 0 <= value <= 1:
        raise ValueError(f'{name} must be in [0, 1], got {value}')


def random_start(space: int) -> int:
    """Return a start in [0, space], both ends included."""
    return int(np.random.randint(space + 1))
