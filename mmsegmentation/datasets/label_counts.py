"""The number of labelled pixels of each class in a data set, read from its masks."""

from pathlib import Path
from typing import Any

import numpy as np

from mmsegmentation.classes import IGNORE_INDEX
from mmsegmentation.command import InputError
from mmsegmentation.datasets.leaves import infos_of
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
    root = Path(leaf.data_root) if getattr(leaf, 'data_root', None) else None
    if reads_plain_images(leaf):
        image_sizes(root, [info['img_path'] for info in infos])
    classes = (leaf.metainfo or {}).get('classes')
    if not classes or not reads_plain_masks(leaf):
        return None
    total = None
    for step in (max(1, -(-len(infos) // MASKS)), 1):
        total = _sum_masks(leaf, root, infos[::step], len(classes))
        if total is None or np.count_nonzero(total) > 1:
            break
    return total


def _sum_masks(
    leaf: Any, root: Path | None, infos: list[dict], count: int
) -> np.ndarray | None:
    masks = [str(info.get('seg_map_path', '')) for info in infos]
    if not all(Path(mask).is_file() for mask in masks):
        return None
    try:
        found = mask_facts(root, masks)
    except InputError:
        return None  # not 8-bit masks; the data set's own transform may read them
    total = np.zeros(count, np.int64)
    for info, mask in zip(infos, masks, strict=True):
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
