"""The labelled images of a data root: which there are, and what they hold."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mmsegmentation.classes import IGNORE_INDEX
from mmsegmentation.command import InputError
from mmsegmentation.files import (
    list_images,
    mask_name,
    read_image,
    read_mask,
    require_folder,
)
from mmsegmentation.parts import is_pseudo
from utils.duplicates import Look, look_at
from utils.parallel import Workers

LABELLED = 'train', 'valid'


def list_labelled(root: Path, parts: Sequence[str] | None) -> list[tuple[str, str]]:
    """Return part and image id of all images that have labels, sorted.

    Args:
        parts: Those of ``LABELLED`` that are there, if not given.

    Raises:
        InputError: A part has no labels or no images, or two images share an id.
    """
    require_folder(root, 'name a data root')
    if parts is None:
        parts = [part for part in LABELLED if (root / part / 'mask').is_dir()]
        if not parts:
            raise InputError(
                root, 'holds no labels', 'make it with utils/prepare_data.py'
            )
    images: list[tuple[str, str]] = []
    for part in parts:
        _check_part(root, part, parts)
        images += [(part, image_id) for image_id in list_images(root / part / 'images')]
    _check_ids(images)
    return images


def _check_part(root: Path, part: str, parts: Sequence[str]) -> None:
    if list(parts).count(part) > 1:
        raise InputError('--parts', f'{part} is named twice', 'name it once')
    if is_pseudo(part):
        raise InputError(
            f'--parts {part}', 'its labels are predictions', 'leave it out of the folds'
        )
    if not part or '/' in part or part.startswith('.'):
        raise InputError(f'--parts {part}', 'is no part', 'name a folder of ROOT')
    for name in ('images', 'mask'):
        require_folder(root / part / name, 'name parts that have labels')
    if not list_images(root / part / 'images'):
        raise InputError(root / part / 'images', 'holds no image', 'leave it out')


def _check_ids(images: Sequence[tuple[str, str]]) -> None:
    seen: dict[str, tuple[str, str]] = {}
    for part, image_id in images:
        if image_id.splitlines() != [image_id.strip()]:
            raise InputError(
                repr(image_id), 'cannot stand in a list, one a line', 'rename it'
            )
        # Predictions of both would be one file.
        first = seen.setdefault(mask_name(image_id), (part, image_id))
        if first != (part, image_id):
            raise InputError(
                repr(image_id),
                f'in {part}, and {first[1]!r} in {first[0]} have one name',
                'rename one of them, or name --parts',
            )


def count_pixels(
    root: Path,
    images: Sequence[tuple[str, str]],
    num_classes: int,
    by_content: bool,
    workers: Workers,
) -> tuple[np.ndarray, list[Look]]:
    """Return pixels by image and class, and what photographs are recognised by.

    Args:
        by_content: Look at the photographs too; else there are no looks.

    Returns:
        (images, classes) int64, and a look of each image.

    Raises:
        InputError: A file is missing or damaged, a mask has an id outside the class
            table, or no pixel at all is labelled.
    """
    tasks = [(root / part, i, num_classes, by_content) for part, i in images]
    rows = list(workers.map(_read_one, tasks, 'read'))
    pixels = np.stack([counts for counts, _ in rows])
    if not pixels.any():
        raise InputError(root, 'no pixel is labelled', 'check its masks')
    return pixels, [look for _, look in rows if look]


def _read_one(
    part: Path, image_id: str, num_classes: int, by_content: bool
) -> tuple[np.ndarray, Look | None]:
    path = part / 'mask' / mask_name(image_id)
    counts = np.bincount(read_mask(path).ravel(), minlength=256)
    counts[IGNORE_INDEX] = 0
    if outside := np.flatnonzero(counts[num_classes:]).tolist():
        raise InputError(
            path,
            f'holds class id {outside[0] + num_classes}, but there are only '
            f'{num_classes} classes',
            'correct the mask or the class table',
        )
    look = look_at(read_image(part / 'images' / image_id)) if by_content else None
    return counts[:num_classes], look
