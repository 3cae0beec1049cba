"""COCO annotations to label maps."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

# What lies on top where objects overlap. ``area`` is the official order: largest first,
# so small objects stay visible. ``points`` is the other one in circulation.
ORDERS = ('area', 'points')
# Longest outline in pixels that is passed to pycocotools, which needs 80 bytes for each
# pixel of it.
LONGEST = 1 << 20


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
    An outline that leaves the image and is longer than ``LONGEST`` pixels is first cut
    at the border of the image. Pixels on such an outline may differ.

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

    Polygons with fewer than three points are left out. Polygons may extend beyond the
    image.
    """
    from pycocotools import mask as coco_mask

    outlines = [
        [] if isinstance(shape, Mapping) else _outlines(shape, height, width)
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


def _outlines(
    shape: Sequence[Sequence[float]], height: int, width: int
) -> list[np.ndarray]:
    """Return the polygons that can be drawn, each ``x, y, x, y, ...`` as float64."""
    outlines = []
    for polygon in shape:
        points = np.asarray(polygon, np.float64)
        if len(points) >= 6 and _is_too_long(points, height, width):
            points = cut(points.reshape(-1, 2), height, width).ravel()
        if len(points) >= 6:
            outlines.append(points)
    return outlines


def _is_too_long(points: np.ndarray, height: int, width: int) -> bool:
    if points.min() >= 0 and points.max() <= max(height, width):
        return False
    corners = points.reshape(-1, 2)
    steps = np.abs(corners - np.roll(corners, 1, axis=0)).max(axis=1)
    return bool(steps.sum() > LONGEST)


def cut(corners: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return the part of a polygon inside the image and a frame of one pixel around it.

    The algorithm is that of Sutherland and Hodgman
    (https://doi.org/10.1145/360767.360802). If a polygon falls into several pieces,
    they stay connected along the frame, outside the image.

    Args:
        corners: x and y in pixels, (corners, 2) float64.
        height: Height of the image in pixels.
        width: Width of the image in pixels.

    Returns:
        x and y in pixels, (corners, 2) float64. There are no corners if the polygon
        lies outside.
    """
    for axis, side in enumerate((width, height)):
        corners = _cut_above(corners, axis, side + 1)
        corners = -_cut_above(-corners, axis, 1)
    return corners


def _cut_above(corners: np.ndarray, axis: int, limit: float) -> np.ndarray:
    """Return the part of a polygon whose coordinate ``axis`` is at most ``limit``."""
    ends = np.roll(corners, -1, axis=0)
    inside = corners[:, axis] <= limit
    crosses = inside != np.roll(inside, -1)
    start, step = corners[crosses], ends[crosses] - corners[crosses]
    share = (limit - start[:, axis]) / step[:, axis]
    borders = corners.copy()
    borders[crosses] = start + share[:, None] * step
    borders[:, axis] = limit
    # Each corner is followed by the point where its edge meets the limit, if any.
    points = np.stack([corners, borders], axis=1)
    return points[np.stack([inside, crosses], axis=1)]


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
