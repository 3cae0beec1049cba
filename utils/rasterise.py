"""COCO annotations to label maps."""

from collections.abc import Mapping, Sequence

import numpy as np

# What lies on top where objects overlap. ``area`` is the official order: largest first,
# so small objects stay visible. ``points`` is the other one in circulation.
ORDERS = ('area', 'points')


def paint(
    annotations: Sequence[Mapping],
    height: int,
    width: int,
    labels: Mapping[int, int],
    order: str = 'area',
) -> np.ndarray:
    """Return class ids, (height, width) uint8; 0 where no object lies.

    Equals the official loop: sorted by ``area``, largest first (equal areas in the
    order of the file), each object's ``annToMask`` painted over the earlier ones.

    Args:
        annotations: COCO annotations of one image.
        labels: Class id of the table by category id of the file.
        order: ``'area'``, or ``'points'``: fewest polygon points first.
    """
    from pycocotools import mask as coco_mask

    label_map = np.zeros((height, width), np.uint8)
    layers = [(a, to_rle(a['segmentation'], height, width)) for a in annotations]
    if order == 'area':
        layers.sort(key=lambda layer: -_area(*layer))
    else:
        layers.sort(key=lambda layer: _points(layer[0]['segmentation']))
    for annotation, rle in layers:
        if rle is not None:
            label_map[coco_mask.decode(rle) == 1] = labels[annotation['category_id']]
    return label_map


def to_rle(
    segmentation: list | Mapping, height: int, width: int
) -> Mapping[str, object] | None:
    """Return COCO's compressed run lengths of one object; None if nothing is left.

    Polygons of fewer than three points are left out; points outside the image are
    moved to its border.
    """
    from pycocotools import mask as coco_mask

    if isinstance(segmentation, Mapping):
        rle = {'size': [height, width], 'counts': segmentation['counts']}
        if isinstance(rle['counts'], list):
            return coco_mask.frPyObjects(rle, height, width)
        return rle
    polygons = [clip(p, height, width) for p in segmentation if len(p) >= 6]
    if not polygons:
        return None
    return coco_mask.merge(coco_mask.frPyObjects(polygons, height, width))


def clip(polygon: Sequence[float], height: int, width: int) -> list[float]:
    """Return ``x, y, x, y, ...`` with each point moved into the image."""
    points = np.asarray(polygon, np.float64).reshape(-1, 2)
    return points.clip(0, (width, height)).ravel().tolist()


def _area(annotation: Mapping, rle: Mapping | None) -> float:
    from pycocotools import mask as coco_mask

    if 'area' in annotation:
        return float(annotation['area'])
    return 0.0 if rle is None else float(coco_mask.area(rle))


def _points(segmentation: list | Mapping) -> int:
    if isinstance(segmentation, Mapping):
        return 0
    return sum(len(polygon) // 2 for polygon in segmentation)
