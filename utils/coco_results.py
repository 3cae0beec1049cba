"""Label maps as COCO results: compressed run lengths for each class of an image."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mmsegmentation.command import InputError
from mmsegmentation.files import whole_file


def write_results(
    path: Path,
    label_maps: Iterable[tuple[int | str, np.ndarray]],
    categories: Mapping[int, int] | None = None,
    *,
    overwrite: bool = False,
) -> int:
    """Write a COCO results JSON, image by image; return how many rows.

    Args:
        label_maps: The id of each image in the JSON, and its class ids, (H, W) uint8.
            The maps are read once, so that an iterator can yield them one by one.
        categories: Category id by class id. If None, category ids equal class ids, and
            class 0 is the background.
        overwrite: Replace an existing file.

    Returns:
        The number of results.

    Raises:
        InputError: ``path`` exists and ``overwrite`` is false, or a class other than
            0 has no category.
    """
    count = 0
    with (
        whole_file(path, overwrite=overwrite) as beside,
        beside.open('w', encoding='utf-8') as file,
    ):
        file.write('[')
        for image, label_map in label_maps:
            for row in results_of(image, label_map, categories):
                file.write(',\n' if count else '\n')
                file.write(json.dumps(row, ensure_ascii=False))
                count += 1
        file.write('\n]\n')
    return count


def results_of(
    image: int | str, label_map: np.ndarray, categories: Mapping[int, int] | None
) -> list[dict[str, Any]]:
    """Return one row for each class of a label map in the order of class ids.

    The background gets a row only if ``categories`` has one for it.

    Raises:
        InputError: A class other than 0 has no category.
    """
    from pycocotools import mask as coco_mask

    ids = np.flatnonzero(np.bincount(label_map.ravel()))
    if categories is None or 0 not in categories:
        ids = ids[ids > 0]
    numbers = [_category(number, image, categories) for number in ids.tolist()]
    layers = np.asfortranarray(label_map[..., None] == ids, np.uint8)
    return [
        {
            'image_id': image,
            'category_id': number,
            'segmentation': {
                'size': list(label_map.shape),
                'counts': rle['counts'].decode('ascii'),
            },
            'score': 1.0,
        }
        for number, rle in zip(numbers, coco_mask.encode(layers), strict=True)
    ]


def _category(
    number: int, image: int | str, categories: Mapping[int, int] | None
) -> int:
    if categories is None:
        return number
    if number not in categories:
        raise InputError(
            f'image {image!r}',
            f'holds class {number}, whose name is not a category of the JSON',
            'pass the class names by --classes',
        )
    return categories[number]
