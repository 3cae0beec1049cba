import mmcv
from mmseg.datasets.transforms import Resize
from mmseg.registry import TRANSFORMS


@TRANSFORMS.register_module()
class FastResize(Resize):
    """MMSegmentation's resize that leaves alone what has the right size already.

    Then ``img`` and the label maps stay the arrays that they are, uncopied; the
    metadata are written all the same.

    Args: as MMSegmentation's ``Resize``.
    """

    def transform(self, results: dict) -> dict:
        if not self._fits(results):
            return super().transform(results)
        results['scale'] = self.scale
        results['img_shape'] = results['img'].shape[:2]
        results['scale_factor'] = (1.0, 1.0)
        results['keep_ratio'] = self.keep_ratio
        return results

    def _fits(self, results: dict) -> bool:
        if not self.scale or {'gt_bboxes', 'gt_keypoints'} & results.keys():
            return False
        size = results['img'].shape[1::-1]
        wanted = mmcv.rescale_size(size, self.scale) if self.keep_ratio else self.scale
        fields = results.get('seg_fields', [])
        sizes = [results[key].shape[1::-1] for key in fields if key in results]
        return all(tuple(wanted) == found for found in [size, *sizes])
