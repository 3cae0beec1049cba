"""COCO annotations to label maps."""

from collections.abc import Mapping, Sequence
from typing import Any

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
    order of the file), each object's ``annToMask`` painted over the earlier ones. But
    objects are painted by their run lengths, so that each costs its own pixels alone.

    Args:
        annotations: COCO annotations of one image.
        labels: Class id of the table by category id of the file.
        order: ``'area'``, or ``'points'``: fewest polygon points first.
    """
    from utils.run_lengths import paint_runs

    layers = [(a, to_runs(a['segmentation'], height, width)) for a in annotations]
    if order == 'area':
        layers.sort(key=lambda layer: -_area(*layer))
    else:
        layers.sort(key=lambda layer: _points(layer[0]['segmentation']))
    canvas = np.zeros(height * width, np.uint8)
    for annotation, parts in layers:
        label = labels[annotation['category_id']]
        # Parts of one object may overlap: one after the other, they are their union.
        for part in parts:
            paint_runs(np.frombuffer(part['counts'], np.uint8), label, canvas)
    return np.ascontiguousarray(canvas.reshape(width, height).T)


def to_runs(
    segmentation: list | Mapping, height: int, width: int
) -> list[dict[str, Any]]:
    """Return COCO's compressed run lengths of the parts of one object.

    Polygons of fewer than three points are left out; points outside the image are
    moved to its border.
    """
    from pycocotools import mask as coco_mask

    if isinstance(segmentation, Mapping):
        rle = {'size': [height, width], 'counts': segmentation['counts']}
        if isinstance(rle['counts'], list):
            return [coco_mask.frPyObjects(rle, height, width)]
        return [{**rle, 'counts': rle['counts'].encode('ascii')}]
    polygons = [clip(p, height, width) for p in segmentation if len(p) >= 6]
    return coco_mask.frPyObjects(polygons, height, width) if polygons else []


def to_rle(
    segmentation: list | Mapping, height: int, width: int
) -> Mapping[str, Any] | None:
    """Return one object as :func:`to_runs`, in one piece; None if nothing is left."""
    from pycocotools import mask as coco_mask

    parts = to_runs(segmentation, height, width)
    return coco_mask.merge(parts) if parts else None


def clip(polygon: Sequence[float], height: int, width: int) -> np.ndarray:
    """Return ``x, y, x, y, ...`` as float64, with each point moved into the image."""
    points = np.array(polygon, np.float64)
    for values, end in ((points[::2], width), (points[1::2], height)):
        if values.min() < 0 or values.max() > end:
            values.clip(0, end, out=values)
    return points


def _area(annotation: Mapping, parts: Sequence[Mapping]) -> float:
    from pycocotools import mask as coco_mask

    if 'area' in annotation:
        return float(annotation['area'])
    return float(coco_mask.area(coco_mask.merge(parts))) if parts else 0.0


def _points(segmentation: list | Mapping) -> int:
    if isinstance(segmentation, Mapping):
        return 0
    return sum(len(polygon) // 2 for polygon in segmentation)
