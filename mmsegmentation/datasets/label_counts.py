"""The number of labelled pixels of each class in a data set, read from its masks."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mmsegmentation.classes import IGNORE_INDEX
from mmsegmentation.command import InputError
from mmsegmentation.datasets.leaves import home_of, infos_of
from mmsegmentation.datasets.quarantine import reads_plain_images, reads_plain_masks
from mmsegmentation.datasets.sample_facts import (
    image_sizes,
    mask_facts,
    translate_ids,
)

# Largest number of masks that are read from a stock data set. A RecycleDataset reads
# all its masks.
MASKS = 1000


def class_names(leaf: Any, pixels: np.ndarray) -> list[str]:
    """Return the class names of a data set, or ids if it has no names.

    Args:
        leaf: The data set.
        pixels: Pixels by class, (classes,).
    """
    names = (getattr(leaf, 'metainfo', None) or {}).get('classes')
    return list(map(str, names or range(len(pixels))))


def labels_of(leaf: Any) -> np.ndarray | None:
    """Return the number of labelled pixels of each class, (classes,) int64.

    From a stock data set about 1,000 masks are read. If they hold at most one class,
    all masks are read.

    Returns:
        None if the masks cannot be read without the data set's own transforms.

    Raises:
        InputError: A mask holds an id that is not a class, or an image is damaged.
    """
    infos = infos_of(leaf)
    if hasattr(leaf, 'class_pixels'):
        labelled = all('seg_map_path' in info for info in infos)
        return leaf.class_pixels().sum(0) if labelled else None
    if reads_plain_images(leaf):
        image_sizes(home_of(leaf), [info['img_path'] for info in infos])
    classes = (leaf.metainfo or {}).get('classes')
    if not classes or not reads_plain_masks(leaf):
        return None
    total = None
    for step in (max(1, -(-len(infos) // MASKS)), 1):
        total = _sum_masks(leaf, infos[::step], len(classes))
        if total is None or np.count_nonzero(total) > 1:
            break
    return total


def read_masks(
    leaf: Any, infos: list[dict], read: Callable[[Path | None, list[str]], dict]
) -> dict | None:
    """Return the facts of the masks of some samples by path.

    Args:
        leaf: The data set.
        infos: The samples, as its ``get_data_info`` returns them.
        read: The reader, such as :func:`~.sample_facts.mask_facts`.

    Returns:
        None if a mask is missing, or is not an 8-bit mask. The data set's own transform
        may read it.
    """
    masks = [str(info.get('seg_map_path', '')) for info in infos]
    if not all(Path(mask).is_file() for mask in masks):
        return None
    try:
        return read(home_of(leaf), masks)
    except InputError:
        return None


def _sum_masks(leaf: Any, infos: list[dict], count: int) -> np.ndarray | None:
    found = read_masks(leaf, infos, mask_facts)
    if found is None:
        return None
    total = np.zeros(count, np.int64)
    for info in infos:
        mask = str(info['seg_map_path'])
        reduced, label_map = info.get('reduce_zero_label'), info.get('label_map')
        pixels = translate_ids(found[mask][1], bool(reduced), label_map)
        pixels[getattr(leaf, 'ignore_index', IGNORE_INDEX)] = 0
        if outside := np.flatnonzero(pixels[count:]).tolist():
            raise InputError(
                mask,
                f'gives class id {outside[0] + count}, but there are only {count} '
                'classes',
                'correct the mask, the classes, or reduce_zero_label',
            )
        total += pixels[:count]
    return total
