"""What the mixing transforms share: the dice, and the check of two samples."""

from collections.abc import Sized

import numpy as np
from mmcv.transforms import BaseTransform


class MixTransform(BaseTransform):
    """A transform that may take pixels from one more sample of the data set.

    The dice are thrown once, in ``get_indices``: where they say no, no index comes
    back, and the wrapping ``MultiImageMixDataset`` loads nothing.

    Args:
        prob: Chance of mixing, in [0, 1].
    """

    def __init__(self, prob: float) -> None:
        if not 0 <= prob <= 1:
            raise ValueError(f'prob must be in [0, 1], got {prob}')
        self.prob = prob

    def get_indices(self, dataset: Sized) -> list[int]:
        """Return the index of one partner, or none, by chance ``prob``."""
        if np.random.random() >= self.prob:
            return []
        return [int(np.random.randint(len(dataset)))]

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


def random_start(space: int) -> int:
    """Return a start in [0, space], both ends included."""
    return int(np.random.randint(space + 1))
