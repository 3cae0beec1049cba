import numpy as np
from mmcv.transforms import BaseTransform, LoadImageFromFile
from mmseg.datasets.transforms import LoadAnnotations
from mmseg.registry import TRANSFORMS


@TRANSFORMS.register_module()
class LoadDecoded(BaseTransform):
    """Take image and labels out of the data set's cache, or else read their files.

    In place of ``LoadImageFromFile`` and ``LoadAnnotations``, whose pixels and metadata
    it gives. The cache is filled where the data set is told to, see ``RecycleDataset``.

    Reads: ``decoded``, put there by the data set, or ``img_path`` and ``seg_map_path``.
    Writes: ``img`` (H, W, 3) and ``gt_seg_map`` (H, W), both uint8.

    Args:
        copy: Give arrays that may be changed in place. Without it, those out of the
            cache are read-only views of the file; ``SeededMixDataset`` copies them
            where it has to.
    """

    def __init__(self, copy: bool = True) -> None:
        self.copy = copy
        self.load_image = LoadImageFromFile()
        self.load_labels = LoadAnnotations()

    def transform(self, results: dict) -> dict:
        decoded = results.pop('decoded', None)
        if decoded is None:
            results = self.load_labels(self.load_image(results))
            results['gt_seg_map'] = _flat(results['gt_seg_map'], results['img_shape'])
            return results
        img, labels = (part.copy() for part in decoded) if self.copy else decoded
        results['img'], results['gt_seg_map'] = img, labels
        results['img_shape'] = results['ori_shape'] = img.shape[:2]
        results['seg_fields'].append('gt_seg_map')
        return results

    def __repr__(self) -> str:
        return f'LoadDecoded(copy={self.copy})'


def decode(img_path: str, seg_map_path: str) -> tuple[np.ndarray, np.ndarray]:
    """Return image and labels as ``LoadDecoded`` reads them from their files."""
    results = LoadDecoded()(
        {
            'img_path': img_path,
            'seg_map_path': seg_map_path,
            'reduce_zero_label': False,
            'label_map': None,
            'seg_fields': [],
        }
    )
    return results['img'], results['gt_seg_map']


def _flat(labels: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    # MMSegmentation squeezes away the side of an image that is one pixel wide.
    return labels.reshape(shape) if labels.ndim < 2 else labels
