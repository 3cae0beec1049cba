from mmcv.transforms.utils import cache_randomness
from mmseg.registry import TRANSFORMS

from mmsegmentation.datasets.transforms.mixing import MixTransform, random_start


@TRANSFORMS.register_module()
class RandomCutMix(MixTransform):
    """Replace a random rectangle by the same place of a second sample.

    Pixels and labels move together, so labels are cut, never blended. Where the two
    differ in size, the rectangle lies in the area that both have, counted from the
    upper left corner; a rectangle larger than that is cut down to it.
    After CutMix (Yun et al., 2019, https://arxiv.org/abs/1905.04899).

    Reads: ``img`` (H, W, 3) and ``gt_seg_map`` (H, W), both uint8, and
    ``mix_results``: at most one more sample, put there by the wrapping data set.
    Writes: ``img`` and ``gt_seg_map``, as new arrays.

    Args:
        prob: Chance of mixing, in [0, 1].
        patch_scale: Height and width of the rectangle, in pixels.
        donors: Which samples give pixels, ``'all'``, ``'real'`` or ``'pseudo'``; and
        prefer_rare: how much rare classes count when one is drawn, in [0, 1]; see
            ``MixTransform``.

    Raises:
        ValueError: An argument is out of range, or image and labels differ in size.
    """

    def __init__(
        self,
        prob: float = 1.0,
        patch_scale: tuple[int, int] = (256, 256),
        donors: str = 'all',
        prefer_rare: float = 0.0,
    ) -> None:
        super().__init__(prob, donors, prefer_rare)
        if len(patch_scale) != 2 or min(patch_scale) < 1:
            raise ValueError(
                f'patch_scale must be (height, width) >= 1, got {patch_scale}'
            )
        self.patch_scale = tuple(patch_scale)

    @cache_randomness
    def _sample_box(self, height: int, width: int) -> tuple[slice, slice]:
        rows, cols = min(self.patch_scale[0], height), min(self.patch_scale[1], width)
        top, left = random_start(height - rows), random_start(width - cols)
        return slice(top, top + rows), slice(left, left + cols)

    def mix(self, results: dict, partner: dict) -> dict:
        shapes = results['gt_seg_map'].shape, partner['gt_seg_map'].shape
        box = self._sample_box(*map(min, *shapes))
        for key in ('img', 'gt_seg_map'):
            mixed = results[key].copy()
            mixed[box] = partner[key][box]
            results[key] = mixed
        return results

    def __repr__(self) -> str:
        return (
            f'RandomCutMix(prob={self.prob}, patch_scale={self.patch_scale}, '
            f'donors={self.donors!r}, prefer_rare={self.prefer_rare})'
        )
