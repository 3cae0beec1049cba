import mmcv
from mmseg.datasets.transforms import Resize
from mmseg.registry import TRANSFORMS


@TRANSFORMS.register_module()
class FastResize(Resize):
    """MMSegmentation's resize that leaves alone what has the right size already.

    In that case ``img`` and the label maps are not copied, and the metadata are written
    as usual. If ``keep_ratio`` would round a side to 0, as for an image of 1 x 2000
    pixels, the side becomes 1.

    Args: as MMSegmentation's ``Resize``.
    """

    def transform(self, results: dict) -> dict:
        if not self._fits(results):
            return self._thin(results) or super().transform(results)
        results['scale'] = self.scale
        results['img_shape'] = results['img'].shape[:2]
        results['scale_factor'] = (1.0, 1.0)
        results['keep_ratio'] = self.keep_ratio
        return results

    def _thin(self, results: dict) -> dict | None:
        """Resize an image whose short side would round to 0; None for other images."""
        if not (self.scale and self.keep_ratio):
            return None
        size = mmcv.rescale_size(results['img'].shape[1::-1], self.scale)
        if 0 not in size:
            return None
        exact = Resize(tuple(max(1, side) for side in size), keep_ratio=False)
        exact.interpolation, exact.backend = self.interpolation, self.backend
        results = exact.transform(results)
        results['keep_ratio'] = True
        return results

    def _fits(self, results: dict) -> bool:
        if not self.scale or {'gt_bboxes', 'gt_keypoints'} & results.keys():
            return False
        size = results['img'].shape[1::-1]
        wanted = mmcv.rescale_size(size, self.scale) if self.keep_ratio else self.scale
        fields = results.get('seg_fields', [])
        sizes = [results[key].shape[1::-1] for key in fields if key in results]
        return all(tuple(wanted) == found for found in [size, *sizes])
