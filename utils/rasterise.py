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
    import cv2

    from utils.run_lengths import paint_runs

    parts = to_runs([a['segmentation'] for a in annotations], height, width)
    layers = list(zip(annotations, parts, strict=True))
    if order == 'area':
        layers.sort(key=lambda layer: -_area(layer[0], layer[1], height, width))
    else:
        layers.sort(key=lambda layer: _points(layer[0]['segmentation']))
    # As the runs go: column by column.
    canvas = np.zeros((width, height), np.uint8)
    for annotation, parts_of_one in layers:
        label = labels[annotation['category_id']]
        # Parts of one object may overlap: one after the other, they are their union.
        for counts in parts_of_one:
            paint_runs(np.frombuffer(counts, np.uint8), label, canvas.reshape(-1))
    return cv2.transpose(canvas)


def to_runs(
    segmentations: Sequence[list | Mapping], height: int, width: int
) -> list[list[bytes]]:
    """Return COCO's compressed run lengths of the parts of each object.

    Polygons of fewer than three points are left out; points outside the image are
    moved to its border.
    """
    from pycocotools import mask as coco_mask

    outlines = [
        []
        if isinstance(shape, Mapping)
        else [clip(p, height, width) for p in shape if len(p) >= 6]
        for shape in segmentations
    ]
    polygons = [p for parts in outlines for p in parts]
    found = coco_mask.frPyObjects(polygons, height, width) if polygons else []
    encoded = iter(found)
    return [
        [_counts(shape, height, width)]
        if isinstance(shape, Mapping)
        else [next(encoded)['counts'] for _ in parts]
        for shape, parts in zip(segmentations, outlines, strict=True)
    ]


def _counts(rle: Mapping, height: int, width: int) -> bytes:
    from pycocotools import mask as coco_mask

    counts = rle['counts']
    if isinstance(counts, list):
        plain = {'size': [height, width], 'counts': counts}
        return coco_mask.frPyObjects(plain, height, width)['counts']
    return counts.encode('ascii')


def to_rle(
    segmentation: list | Mapping, height: int, width: int
) -> Mapping[str, Any] | None:
    """Return one object as :func:`to_runs`, in one piece; None if nothing is left."""
    return _merge(to_runs([segmentation], height, width)[0], height, width)


def _merge(parts: Sequence[bytes], height: int, width: int) -> Mapping[str, Any] | None:
    from pycocotools import mask as coco_mask

    if not parts:
        return None
    return coco_mask.merge([{'size': [height, width], 'counts': c} for c in parts])


def clip(polygon: Sequence[float], height: int, width: int) -> np.ndarray:
    """Return ``x, y, x, y, ...`` as float64, with each point moved into the image."""
    points = np.asarray(polygon, np.float64)
    if points.min() >= 0 and points.max() <= min(height, width):
        return points
    return points.reshape(-1, 2).clip(0, (width, height)).ravel()


def _area(
    annotation: Mapping, parts: Sequence[bytes], height: int, width: int
) -> float:
    from pycocotools import mask as coco_mask

    if 'area' in annotation:
        return float(annotation['area'])
    merged = _merge(parts, height, width)
    return 0.0 if merged is None else float(coco_mask.area(merged))


def _points(segmentation: list | Mapping) -> int:
    if isinstance(segmentation, Mapping):
        return 0
    return sum(len(polygon) // 2 for polygon in segmentation)
