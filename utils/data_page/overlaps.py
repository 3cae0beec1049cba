"""What only the source JSON can tell: overlaps, their order, and vertices."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmsegmentation.command import InputError
from mmsegmentation.files import mask_name, read_mask, sha256_of
from utils.coco import Findings, Part, read_part
from utils.parallel import Workers
from utils.rasterise import ORDERS, paint, to_rle


@dataclass
class SourceFacts:
    """What the source JSON of one part says, class by class.

    Attributes:
        order: The order that the masks were painted in.
        other: The order that they are compared with.
        images: Images compared.
        pixels: Pixels per class id as painted in ``order``, (classes,) int64.
        changed: Pixels by class in ``order`` (rows) and in ``other`` (columns),
            diagonal left out, (classes, classes) int64.
        images_changed: Images with at least one changed pixel.
        overlapping: Pixels that objects cover more than once, counted once for each
            further object.
        objects: Objects per class id, (classes,) int64.
        vertices: Polygon points per class id, (classes,) int64.
        run_lengths: Objects in run lengths per class id, which have no vertices.
        differing: Images whose mask is not what ``order`` paints.
    """

    order: str
    other: str
    images: int
    pixels: np.ndarray
    changed: np.ndarray
    images_changed: int
    overlapping: int
    objects: np.ndarray
    vertices: np.ndarray
    run_lengths: np.ndarray
    differing: list[str]


def open_sources(
    raw: Path, dataset: Mapping[str, Any], classes: Sequence[str]
) -> list[Part]:
    """Read the JSON files that a data root was made of: of train and valid.

    Args:
        dataset: Its ``dataset.json``.

    Raises:
        InputError: One is missing, is another file than it was, or cannot be used.
    """
    parts = []
    for name in ('train', 'valid'):
        described = dataset.get('parts', {}).get(name)
        if not described:
            continue
        path = raw / str(described.get('source'))
        if not path.is_file():
            raise InputError(path, 'no such file', 'name the folder of the JSON files')
        if sha256_of(path) != described.get('sha256'):
            raise InputError(
                path,
                'is not the file that the data root was made of',
                'name the right folder, or prepare the data again',
            )
        found = Findings()
        parts.append(read_part(name, path, classes, False, found))
        if found.errors:
            raise InputError(path, found.errors[0], 'prepare the data again')
    if not parts:
        raise InputError('--raw', 'needs a dataset.json', 'prepare the data again')
    return parts


def compare_orders(
    part: Part, root: Path, order: str, num_classes: int, workers: Workers
) -> SourceFacts:
    """Paint each mask of a part in both orders, and count what changes.

    Args:
        root: The data root, whose masks must be what ``order`` paints.
        order: The order of its ``dataset.json``.
        workers: Who does the work.
    """
    other = next(name for name in ORDERS if name != order)
    results = _compare_all(part, root, (order, other), num_classes, workers)
    images_changed = overlapping = 0
    pairs = np.zeros((num_classes, num_classes), np.int64)
    differing = []
    for row, (counts, covered, same) in zip(part.images, results, strict=True):
        pairs += counts
        overlapping += covered
        images_changed += int(counts.sum() > np.trace(counts))
        differing += [] if same else [row['file_name']]
    changed = pairs - np.diag(np.diagonal(pairs))
    return SourceFacts(
        order,
        other,
        len(part.images),
        pairs.sum(1),
        changed,
        images_changed,
        overlapping,
        *_count_outlines(part, num_classes),
        differing,
    )


def _compare_all(
    part: Part, root: Path, orders: Sequence[str], num_classes: int, workers: Workers
) -> Iterator[tuple[np.ndarray, int, bool]]:
    tasks = [
        (
            row,
            part.annotations[row['id']],
            part.labels,
            root / part.name / 'mask' / mask_name(row['file_name']),
            orders,
            num_classes,
        )
        for row in part.images
    ]
    return workers.map(_compare, tasks, f'orders, {part.name}')


def _compare(
    row: Mapping,
    annotations: list[dict],
    labels: Mapping[int, int],
    mask: Path,
    orders: Sequence[str],
    num_classes: int,
) -> tuple[np.ndarray, int, bool]:
    """Return pixels by class in both orders, pixels covered again, and as painted."""
    from pycocotools import mask as coco_mask

    height, width = row['height'], row['width']
    one, two = (paint(annotations, height, width, labels, name) for name in orders)
    codes = one.astype(np.int64) * num_classes + two
    counts = np.bincount(codes.ravel(), minlength=num_classes**2)
    layers = [to_rle(a['segmentation'], height, width) for a in annotations]
    layers = [layer for layer in layers if layer is not None]
    covered = 0
    if layers:
        union = coco_mask.area(coco_mask.merge(layers))
        covered = int(coco_mask.area(layers).sum()) - int(union)
    try:
        same = np.array_equal(read_mask(mask), one)
    except InputError:
        same = False
    return counts.reshape(num_classes, num_classes), covered, same


def _count_outlines(
    part: Part, num_classes: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return objects, polygon points, and objects in run lengths, per class id."""
    counts = np.zeros((3, num_classes), np.int64)
    for rows in part.annotations.values():
        for row in rows:
            shape, number = row['segmentation'], part.labels[row['category_id']]
            points = 0
            if isinstance(shape, list):
                points = sum(len(polygon) // 2 for polygon in shape)
            counts[:, number] += 1, points, isinstance(shape, dict)
    return counts[0], counts[1], counts[2]


def join_sources(found: Mapping[str, SourceFacts]) -> SourceFacts:
    """Return the sums over parts, whose order is one."""
    facts = list(found.values())
    sums = {
        key: sum(getattr(one, key) for one in facts[1:]) + getattr(facts[0], key)
        for key in (
            'images',
            'pixels',
            'changed',
            'images_changed',
            'overlapping',
            'objects',
            'vertices',
            'run_lengths',
        )
    }
    differing = [f'{part}/{name}' for part, f in found.items() for name in f.differing]
    return SourceFacts(facts[0].order, facts[0].other, differing=differing, **sums)


def describe_sources(
    facts: SourceFacts, classes: Sequence[str]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return what ``eda.json`` says of overlaps, and of vertices against pixels."""
    lost, gained = facts.changed.sum(1), facts.changed.sum(0)
    overlaps = {
        'order': facts.order,
        'other_order': facts.other,
        'images': facts.images,
        'images_changed': facts.images_changed,
        'pixels': int(facts.pixels.sum()),
        'pixels_changed': int(facts.changed.sum()),
        'pixels_covered_again': facts.overlapping,
        'images_painted_otherwise': len(facts.differing),
        'classes': [
            {
                'id': number,
                'name': name,
                'pixels': int(facts.pixels[number]),
                'lost': int(lost[number]),
                'gained': int(gained[number]),
            }
            for number, name in enumerate(classes)
        ],
    }
    return overlaps, _vertex_rows(facts, classes)


def _vertex_rows(facts: SourceFacts, classes: Sequence[str]) -> list[dict[str, Any]]:
    pixels = facts.pixels.copy()
    pixels[0] = 0  # The background has neither vertices nor objects.
    shares = {
        f'{key}_share': values / max(values.sum(), 1)
        for key, values in (
            ('vertices', facts.vertices),
            ('objects', facts.objects),
            ('pixels', pixels),
        )
    }
    return [
        {
            'id': number,
            'name': classes[number],
            'vertices': int(facts.vertices[number]),
            'objects': int(facts.objects[number]),
            'objects_in_run_lengths': int(facts.run_lengths[number]),
            'pixels': int(pixels[number]),
            **{key: float(values[number]) for key, values in shares.items()},
        }
        for number in range(1, len(classes))
    ]
