"""Write a ranking of doubtful labels as tables, and as COCO JSON for a labelling tool.

CVAT imports the JSON as *COCO 1.0* into a task that holds the images and the class
names; FiftyOne opens it as ``COCODetectionDataset``. Both find an image by its
``file_name``; what they show beside an outline stands in ``attributes`` and ``score``.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from utils.noise.objects import Shape
from utils.noise.ranking import Finding, Ranking
from utils.tables import write_csv

OBJECT_COLUMNS = (
    'rank', 'score', 'image', 'kind', 'given', 'suggested',
    'left', 'top', 'width', 'height', 'pixels', 'annotation_id',
)  # fmt: skip
IMAGE_COLUMNS = ('rank', 'score', 'image', 'findings')


def write_tables(folder: Path, ranking: Ranking) -> None:
    """Write ``objects.csv`` and ``images.csv``, the most doubtful first.

    Classes are written by name, boxes in pixels.
    """
    names = ranking.classes
    objects = (
        (
            number, f'{f.score:.4f}', f.image_id, f.kind, names[f.given],
            names[f.suggested], *f.bbox, f.pixels,
            '' if f.annotation_id is None else f.annotation_id,
        )
        for number, f in enumerate(ranking.findings, start=1)
    )  # fmt: skip
    images = (
        (number, f'{i.score:.4f}', i.image_id, i.findings)
        for number, i in enumerate(ranking.images, start=1)
    )
    write_csv(folder / 'objects.csv', (OBJECT_COLUMNS, *objects))
    write_csv(folder / 'images.csv', (IMAGE_COLUMNS, *images))


def write_coco(path: Path, ranking: Ranking) -> None:
    """Write the findings as COCO JSON, their outlines as polygons.

    An object keeps the class it is labelled with, for a person to change; a missing
    object has the class that is suggested.
    """
    sizes = {f.image_id: f.size for f in ranking.findings}
    numbers = {image_id: n for n, image_id in enumerate(sizes, start=1)}
    content = {
        'info': {'description': 'Labels to look at', **ranking.origin},
        'licenses': [],
        'images': [
            {'id': numbers[i], 'file_name': i, 'height': height, 'width': width}
            for i, (height, width) in sizes.items()
        ],
        'categories': [
            {'id': number, 'name': name, 'supercategory': ''}
            for number, name in enumerate(ranking.classes)
            if number
        ],
        'annotations': [
            _annotation(number, finding, numbers[finding.image_id], ranking.classes)
            for number, finding in enumerate(ranking.findings, start=1)
        ],
    }
    # In one line: outlines are long, and no person reads them.
    path.write_text(json.dumps(content, ensure_ascii=False), encoding='utf-8')


def _annotation(
    number: int, finding: Finding, image: int, classes: Sequence[str]
) -> dict[str, Any]:
    # Strings and numbers only: no labelling tool knows more.
    attributes: dict[str, str | int] = {
        'rank': number,
        'kind': finding.kind,
        'given': classes[finding.given],
        'suggested': classes[finding.suggested],
    }
    if finding.annotation_id is not None:
        attributes['annotation_id'] = finding.annotation_id
    category = finding.suggested if finding.kind == 'missing' else finding.given
    return {
        'id': number,
        'image_id': image,
        'category_id': category,
        'bbox': list(finding.bbox),
        'area': finding.pixels,
        'segmentation': polygons(finding.shape),
        'iscrowd': 0,
        'score': round(finding.score, 4),
        'attributes': attributes,
    }


def polygons(shape: Shape) -> list[list[int]]:
    """Return the outer outlines of a shape, ``x, y, x, y, ...`` each, holes filled.

    They run along the borders of the pixels, so that what they enclose is the shape.
    """
    left, top, _, _ = shape.bbox
    # Twice as fine, for contours join the centres of pixels and not their borders.
    fine = np.kron(np.pad(shape.inside(), 1), np.ones((2, 2), np.uint8))
    contours, _ = cv2.findContours(fine, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    return [
        # The frame of one pixel is two fine ones.
        ((contour.reshape(-1, 2) - 1) // 2 + (left, top)).ravel().tolist()
        for contour in contours
    ]
