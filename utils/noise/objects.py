"""What a prediction says of each labelled object, and what it shows beside them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as coco_mask
from scipy.ndimage import find_objects

from mmsegmentation.classes import IGNORE_INDEX
from utils.rasterise import paint


@dataclass(frozen=True)
class Shape:
    """Pixels of one image.

    Attributes:
        bbox: Left, top, width and height, in pixels.
        pixels: How many they are.
        rle: They themselves within the box, as COCO's compressed run lengths.
    """

    bbox: tuple[int, int, int, int]
    pixels: int
    rle: Mapping[str, Any]

    def inside(self) -> np.ndarray:
        """Return which pixels of the box are its own, (height, width) uint8."""
        return coco_mask.decode(self.rle)


@dataclass(frozen=True)
class LabelledObject:
    """An object of the labels, as far as it lies on top.

    Attributes:
        given: Its class id.
        shape: Its pixels in sight.
        support: Mean confidence in each class over its pixels, (classes,) float64:
            about 1 in sum if all probabilities are known, else less.
        agreed: The share of its pixels that are predicted as its class.
        annotation_id: Its id in the COCO JSON, or None.
    """

    given: int
    shape: Shape
    support: np.ndarray
    agreed: float
    annotation_id: int | str | None


@dataclass(frozen=True)
class Region:
    """A connected region that is predicted as a class but labelled otherwise.

    Attributes:
        predicted: The class id predicted.
        given: The class id that most of it is labelled with.
        shape: Its pixels.
        support: Confidence, summed over its pixels and divided by the number of pixels
            of all that is predicted as one with it: near 0 for the hem of an object
            that is labelled, near 1 for an object without a label.
        beside: Place of the labelled object of that class that it touches, or None.
    """

    predicted: int
    given: int
    shape: Shape
    support: float
    beside: int | None


@dataclass(frozen=True)
class Evidence:
    """All that is known of one image.

    Attributes:
        image_id: The image.
        size: Its height and width, in pixels.
        objects: Its labelled objects, those with a pixel in sight.
        regions: Where the prediction shows what the labels lack.
        confidence: Summed confidence by label (rows) and prediction (columns),
            (classes, classes) float64, in pixels.
        counts: Pixels by label (rows) and prediction (columns), (classes, classes)
            int64.
    """

    image_id: str
    size: tuple[int, int]
    objects: list[LabelledObject]
    regions: list[Region]
    confidence: np.ndarray
    counts: np.ndarray


@dataclass(frozen=True)
class Outlines:
    """The labelled objects of one image, from a COCO JSON.

    Attributes:
        annotations: COCO annotations.
        labels: Class id by category id.
        order: What lies on top, one of ``utils.rasterise.ORDERS``.
    """

    annotations: Sequence[Mapping[str, Any]]
    labels: Mapping[int, int]
    order: str = 'area'


def weigh(
    image_id: str,
    label_map: np.ndarray,
    predicted: np.ndarray,
    confidence: np.ndarray,
    num_classes: int,
    outlines: Outlines | None = None,
    probs: np.ndarray | None = None,
) -> Evidence:
    """Compare one image's labels with its prediction.

    Args:
        label_map: Labelled class ids, (H, W) uint8; 255 is left out.
        predicted: Predicted class ids, (H, W) uint8.
        confidence: 255 x the winner's probability, (H, W) uint8.
        outlines: The labelled objects; without it, each connected region of a class is
            one.
        probs: 255 x the probability of each class, (classes, h, w) uint8, any size.
            Without it, a pixel supports no class but the winner.
    """
    sure = confidence / 255.0
    numbers, known = number_objects(label_map, num_classes, outlines)
    support = _support(numbers, len(known), predicted, sure, num_classes, probs)
    objects, places = _objects(numbers, known, predicted, support)
    # What is ignored counts beyond the table, and is cut off.
    cells = (label_map.astype(np.int32) * num_classes + predicted).ravel()
    table = num_classes, num_classes
    by_class = np.bincount(cells, sure.ravel(), num_classes**2)[: num_classes**2]
    counts = np.bincount(cells, minlength=num_classes**2)[: num_classes**2]
    return Evidence(
        image_id,
        (label_map.shape[0], label_map.shape[1]),
        objects,
        _regions(label_map, predicted, sure, places, objects),
        by_class.reshape(table),
        counts.reshape(table),
    )


def number_objects(
    label_map: np.ndarray, num_classes: int, outlines: Outlines | None
) -> tuple[np.ndarray, list[tuple[int, Any]]]:
    """Return which object each pixel belongs to, and what these are.

    Returns:
        Object numbers, (H, W) int32, from 1, 0 where there is none; class id and
        annotation id of each object, in order.

    >>> label_map = np.array([[1, 0, 1], [1, 2, 0]], np.uint8)
    >>> numbers, known = number_objects(label_map, 3, None)
    >>> numbers.tolist(), known
    ([[1, 0, 2], [1, 3, 0]], [(1, None), (1, None), (2, None)])
    """
    if outlines is None:
        return _number_regions(label_map, num_classes)
    return _number_outlines(label_map, outlines)


def _number_regions(
    label_map: np.ndarray, num_classes: int
) -> tuple[np.ndarray, list[tuple[int, Any]]]:
    numbers = np.zeros(label_map.shape, np.int32)
    known: list[tuple[int, Any]] = []
    for given in np.unique(label_map[label_map < num_classes]).tolist():
        if given:
            # In fours: the corner of one object may meet the next one's.
            inside = (label_map == given).view(np.uint8)
            count, parts = cv2.connectedComponents(inside, connectivity=4)
            numbers += np.where(parts > 0, parts + len(known), 0)
            known += [(given, None)] * (count - 1)
    return numbers, known


def _number_outlines(
    label_map: np.ndarray, outlines: Outlines
) -> tuple[np.ndarray, list[tuple[int, Any]]]:
    numbers = np.zeros(label_map.shape, np.int32)
    rows = [
        {**row, 'category_id': number}
        for number, row in enumerate(outlines.annotations, start=1)
    ]
    height, width = label_map.shape
    # Painted as masks are, a byte of the numbers at a time.
    for byte in range(2 if len(rows) > 255 else 1):
        digits = {number: number >> 8 * byte & 255 for number in range(len(rows) + 1)}
        painted = paint(rows, height, width, digits, outlines.order)
        numbers += painted.astype(np.int32) << 8 * byte
    known = [
        (outlines.labels[row['category_id']], row.get('id'))
        for row in outlines.annotations
    ]
    # Where the mask says otherwise it was changed since: the mask counts.
    classes = np.array([IGNORE_INDEX] + [given for given, _ in known])
    numbers[classes[numbers] != label_map] = 0
    return numbers, known


def _support(
    numbers: np.ndarray,
    count: int,
    predicted: np.ndarray,
    sure: np.ndarray,
    num_classes: int,
    probs: np.ndarray | None,
) -> np.ndarray:
    """Return mean confidence by object number and class, (count + 1, classes)."""
    shape = count + 1, num_classes
    pixels = np.bincount(numbers.ravel(), minlength=count + 1)
    if probs is None:
        cells = (numbers * num_classes + predicted).ravel()
        total = np.bincount(cells, sure.ravel(), shape[0] * shape[1]).reshape(shape)
        return total / np.maximum(pixels, 1)[:, None]
    height, width = numbers.shape
    sums = []
    for plane in probs:
        wide = cv2.resize(plane, (width, height), interpolation=cv2.INTER_LINEAR)
        sums.append(np.bincount(numbers.ravel(), wide.ravel() / 255, count + 1))
    return np.stack(sums, axis=1) / np.maximum(pixels, 1)[:, None]


def _objects(
    numbers: np.ndarray,
    known: list[tuple[int, Any]],
    predicted: np.ndarray,
    support: np.ndarray,
) -> tuple[list[LabelledObject], np.ndarray]:
    """Return the objects in sight, and their place in that list by pixel, else -1."""
    renumbered = np.full(len(known) + 1, -1, np.int32)
    objects: list[LabelledObject] = []
    boxes = find_objects(numbers, max_label=len(known))
    for number, (given, annotation_id) in enumerate(known, start=1):
        box = boxes[number - 1]
        if box is None:
            continue
        renumbered[number] = len(objects)
        inside = numbers[box] == number
        objects.append(
            LabelledObject(
                given,
                shape_of(inside, box),
                support[number],
                float((predicted[box][inside] == given).mean()),
                annotation_id,
            )
        )
    return objects, renumbered[numbers]


def shape_of(inside: np.ndarray, box: tuple[slice, ...]) -> Shape:
    """Return a shape from its mask within ``box``, bool."""
    filled = inside.astype(np.uint8)
    left, top, width, height = cv2.boundingRect(filled)
    rows, columns = box
    bbox = (int(columns.start) + left, int(rows.start) + top, width, height)
    tight = np.asfortranarray(filled[top : top + height, left : left + width])
    return Shape(bbox, int(inside.sum()), coco_mask.encode(tight))


def _regions(
    label_map: np.ndarray,
    predicted: np.ndarray,
    sure: np.ndarray,
    places: np.ndarray,
    objects: Sequence[LabelledObject],
) -> list[Region]:
    differs = (predicted != label_map) & (label_map != IGNORE_INDEX)
    radius = max(round(min(label_map.shape) / 256), 1)
    regions = []
    for predicted_class in np.unique(predicted[differs & (predicted > 0)]).tolist():
        whole = predicted == predicted_class
        for box, inside, body in _parts(whole, differs, radius):
            if _is_object(inside, predicted_class, places[box], objects):
                continue
            ids, found = np.unique(label_map[box][inside], return_counts=True)
            regions.append(
                Region(
                    predicted_class,
                    int(ids[found.argmax()]),
                    shape_of(inside, box),
                    float(sure[box][inside].sum() / body),
                    _beside(inside, predicted_class, radius, places[box], objects),
                )
            )
    return regions


def _parts(
    whole: np.ndarray, differs: np.ndarray, radius: int
) -> Iterator[tuple[tuple[slice, slice], np.ndarray, int]]:
    """Yield the connected parts of ``whole`` that differ.

    What an opening removes is left out: the hem along an outline is doubt, no object.

    Yields:
        A box around the part with a margin, its mask within, and how many pixels the
        part of ``whole`` has that it belongs to.
    """
    # Most classes fill a small part of an image: work there.
    left, top, width, height = cv2.boundingRect(whole.view(np.uint8))
    frame = slice(top, top + height), slice(left, left + width)
    brush = np.ones((2 * radius + 1,) * 2, np.uint8)
    opened = cv2.morphologyEx(
        (whole & differs)[frame].astype(np.uint8), cv2.MORPH_OPEN, brush, borderValue=0
    )
    if not opened.any():
        return
    bodies, parts = np.zeros((2, *whole.shape), np.int32)
    _, bodies[frame], sizes, _ = cv2.connectedComponentsWithStats(
        whole[frame].astype(np.uint8)
    )
    _, parts[frame] = cv2.connectedComponents(opened)
    for number, found in enumerate(find_objects(parts[frame]), start=1):
        starts = (top + found[0].start, left + found[1].start)
        stops = (top + found[0].stop, left + found[1].stop)
        box = (
            slice(max(starts[0] - 2 * radius, 0), stops[0] + 2 * radius),
            slice(max(starts[1] - 2 * radius, 0), stops[1] + 2 * radius),
        )
        inside = parts[box] == number
        body = sizes[bodies[box][inside][0], cv2.CC_STAT_AREA]
        yield box, inside, int(body)


def _count(places: np.ndarray, objects: Sequence[LabelledObject]) -> np.ndarray:
    return np.bincount(places[places >= 0], minlength=len(objects))


def _is_object(
    inside: np.ndarray,
    predicted: int,
    places: np.ndarray,
    objects: Sequence[LabelledObject],
) -> bool:
    """Return whether a region is most of an object that has another label.

    Then it is that object's label which is in question, and no object is missing.
    """
    covered = _count(places[inside], objects)
    return any(
        covered[place] > labelled.shape.pixels / 2
        for place, labelled in enumerate(objects)
        if labelled.given != predicted
    )


def _beside(
    inside: np.ndarray,
    predicted: int,
    radius: int,
    places: np.ndarray,
    objects: Sequence[LabelledObject],
) -> int | None:
    """Return the place of the object of that class with the longest common border."""
    brush = np.ones((4 * radius + 1,) * 2, np.uint8)
    around = cv2.dilate(inside.view(np.uint8), brush) > 0
    touched = _count(places[around], objects)
    touched = touched * [labelled.given == predicted for labelled in objects]
    return int(touched.argmax()) if touched.any() else None
