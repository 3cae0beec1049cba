from collections.abc import Sequence

import cv2
import numpy as np
from mmcv.transforms.utils import cache_randomness
from mmseg.registry import TRANSFORMS

from mmsegmentation.classes import IGNORE_INDEX
from mmsegmentation.datasets.transforms.mixing import (
    MixTransform,
    check_share,
    random_start,
)


@TRANSFORMS.register_module()
class CopyPaste(MixTransform):
    """Lay the objects of a second, shrunken sample over this one.

    The second sample is shrunk (image bilinear, labels nearest) and laid at a random
    place; where its label is an object, its pixels and labels replace ours. A second
    sample that would be larger than this one even so is shrunk further, in its own
    proportions, until it fits. Without an object nothing changes.
    After Simple Copy-Paste (Ghiasi et al., 2021, https://arxiv.org/abs/2012.07177).

    Reads: ``img`` (H, W, 3) and ``gt_seg_map`` (H, W), both uint8, and
    ``mix_results``: at most one more sample, put there by the wrapping data set.
    Writes: ``img`` and ``gt_seg_map``, as new arrays.

    Args:
        prob: Chance of mixing, in [0, 1].
        mode: ``'all'`` pastes every object, ``'one'`` those of one random class.
            Background (0) and ignored pixels (255) are never pasted.
        patch_scale_ratio: Size of the pasted sample as a share of its own, in (0, 1].
        scale_range: Least and largest such share, drawn anew for each sample; in place
            of ``patch_scale_ratio``.
        flip_prob: Chance that the pasted sample is mirrored, left to right, in [0, 1].
        donors: Which samples give objects, ``'all'``, ``'real'`` or ``'pseudo'``; and
        prefer_rare: how much rare classes count when one is drawn, in [0, 1]; see
            ``MixTransform``.

    Raises:
        ValueError: An argument is out of range, or image and labels differ in size.
    """

    def __init__(
        self,
        prob: float = 1.0,
        mode: str = 'all',
        patch_scale_ratio: float = 0.75,
        scale_range: Sequence[float] | None = None,
        flip_prob: float = 0.0,
        donors: str = 'all',
        prefer_rare: float = 0.0,
    ) -> None:
        super().__init__(prob, donors, prefer_rare)
        if mode not in ('all', 'one'):
            raise ValueError(f"mode must be 'all' or 'one', got {mode!r}")
        if not 0 < patch_scale_ratio <= 1:
            raise ValueError(
                f'patch_scale_ratio must be in (0, 1], got {patch_scale_ratio}'
            )
        if scale_range is not None:
            _check_range(scale_range)
        check_share('flip_prob', flip_prob)
        self.mode = mode
        self.patch_scale_ratio = patch_scale_ratio
        self.scale_range = tuple(scale_range) if scale_range is not None else None
        self.flip_prob = flip_prob

    # Neither draws where nothing is asked for: the other draws stay what they were.
    @cache_randomness
    def _sample_scale(self) -> float:
        if self.scale_range is None:
            return self.patch_scale_ratio
        least, largest = self.scale_range
        return float(np.random.uniform(least, largest))

    @cache_randomness
    def _sample_flip(self) -> bool:
        return self.flip_prob > 0 and np.random.random() < self.flip_prob

    @cache_randomness
    def _sample_class(self, label_map: np.ndarray) -> int | None:
        present = np.flatnonzero(np.bincount(label_map.ravel()))
        present = np.setdiff1d(present, (0, IGNORE_INDEX))
        return int(np.random.choice(present)) if present.size else None

    @cache_randomness
    def _sample_start(self, space: tuple[int, int]) -> tuple[int, int]:
        return random_start(space[0]), random_start(space[1])

    def mix(self, results: dict, partner: dict) -> dict:
        height, width = results['gt_seg_map'].shape
        image, label_map = self._shrink(partner, height, width)
        if self._sample_flip():
            image, label_map = cv2.flip(image, 1), cv2.flip(label_map, 1)
        pasted = (label_map != 0) & (label_map != IGNORE_INDEX)
        if self.mode == 'one':
            pasted &= label_map == self._sample_class(label_map)
        rows, cols = label_map.shape
        top, left = self._sample_start((height - rows, width - cols))
        for key, source in (('img', image), ('gt_seg_map', label_map)):
            mixed = results[key].copy()
            # Indexing by the mask takes a hundred times as long.
            place = mixed[top : top + rows, left : left + cols]
            cv2.copyTo(source, pasted.view(np.uint8), place)
            results[key] = mixed
        return results

    def _shrink(
        self, partner: dict, height: int, width: int
    ) -> tuple[np.ndarray, np.ndarray]:
        rows, cols = partner['gt_seg_map'].shape
        scale = min(self._sample_scale(), height / rows, width / cols)
        # OpenCV counts width first.
        size = max(1, int(cols * scale)), max(1, int(rows * scale))
        image = cv2.resize(partner['img'], size, interpolation=cv2.INTER_LINEAR)
        label_map = cv2.resize(
            partner['gt_seg_map'], size, interpolation=cv2.INTER_NEAREST
        )
        return image, label_map

    def __repr__(self) -> str:
        return (
            f'CopyPaste(prob={self.prob}, mode={self.mode!r}, '
            f'patch_scale_ratio={self.patch_scale_ratio}, '
            f'scale_range={self.scale_range}, flip_prob={self.flip_prob}, '
            f'donors={self.donors!r}, prefer_rare={self.prefer_rare})'
        )


def _check_range(scale_range: Sequence[float]) -> None:
    if len(scale_range) != 2 or not 0 < scale_range[0] <= scale_range[1] <= 1:
        raise ValueError(
            f'scale_range must be (least, largest) in (0, 1], got {scale_range}'
        )
