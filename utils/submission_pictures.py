"""Submissions as colour pictures, for the eye."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from utils.resize import resize_labels


def blend(image: np.ndarray, label_map: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """Return a photograph half covered by its classes; background stays as it is.

    Args:
        image: RGB, (H, W, 3) uint8; the label map is brought to its size.
        label_map: Class ids, (h, w) uint8.
        colours: RGB by class, (classes, 3) uint8.
    """
    label_map = resize_labels(label_map, image.shape[:2])
    mixed = (image >> 1) + (colours >> 1)[label_map]
    return np.where(label_map[..., None] > 0, mixed, image)


def set_beside(
    pair: Sequence[np.ndarray], colours: np.ndarray, gap: int = 8
) -> np.ndarray:
    """Return two label maps and where they differ, from left to right.

    The third picture is the second one, darkened where both agree.

    Args:
        pair: Class ids, (H, W) uint8 each.
        colours: RGB by class, (classes, 3) uint8.
        gap: White columns between, in pixels.

    Returns:
        RGB, (H, 3 W + 2 gaps, 3) uint8.
    """
    one, two = (colours[label_map] for label_map in pair)
    agree = (pair[0] == pair[1])[..., None]
    # Some grey, so that what became background shows too.
    other = np.where(agree, two >> 2, np.maximum(two, 96))
    between = np.full((len(one), gap, 3), 255, np.uint8)
    return np.concatenate([one, between, two, between, other], axis=1)


def save_picture(path: Path, picture: np.ndarray) -> None:
    """Write RGB, (H, W, 3) uint8, as PNG; folders are made as needed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path, compress_level=1)
