"""Label maps as COCO results: compressed run lengths for each class of an image."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from mmsegmentation.files import whole_file


def write_results(
    path: Path,
    label_maps: Iterable[tuple[int | str, np.ndarray]],
    *,
    overwrite: bool = False,
) -> int:
    """Write a COCO results JSON, image by image; return how many rows.

    Args:
        label_maps: What stands for the image in the JSON, and its class ids, (H, W)
            uint8. Read once, so maps may stream.

    Raises:
        InputError: ``path`` exists and ``overwrite`` is false.
    """
    count = 0
    with (
        whole_file(path, overwrite=overwrite) as beside,
        beside.open('w', encoding='utf-8') as file,
    ):
        file.write('[')
        for image, label_map in label_maps:
            for row in results_of(image, label_map):
                file.write(',\n' if count else '\n')
                file.write(json.dumps(row, ensure_ascii=False))
                count += 1
        file.write('\n]\n')
    return count


def results_of(image: int | str, label_map: np.ndarray) -> list[dict[str, Any]]:
    """Return one row for each class of a label map but the background, by class id."""
    from pycocotools import mask as coco_mask

    ids = np.flatnonzero(np.bincount(label_map.ravel()))
    ids = ids[ids > 0]
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
        for number, rle in zip(ids.tolist(), coco_mask.encode(layers), strict=True)
    ]
