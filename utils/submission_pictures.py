"""Submissions as colour pictures, for the eye."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from utils.resize import resize_labels

# What the folder of pictures tells their colours by.
LEGEND = 'legend.png'
# Height of a line of text, in pixels.
LINE = 16


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
    pair: Sequence[np.ndarray], names: Sequence[str], colours: np.ndarray, gap: int = 8
) -> np.ndarray:
    """Return two label maps and where they differ, from left to right, under titles.

    The third picture is the second one, darkened where both agree.

    Args:
        pair: Class ids, (H, W) uint8 each.
        names: What to call the two.
        colours: RGB by class, (classes, 3) uint8.
        gap: White columns between, in pixels.

    Returns:
        RGB, (LINE + H, 3 W + 2 gaps, 3) uint8.
    """
    one, two = (colours[label_map] for label_map in pair)
    agree = (pair[0] == pair[1])[..., None]
    # Some grey, so that what became background shows too.
    other = np.where(agree, two >> 2, np.maximum(two, 96))
    between = np.full((LINE + len(one), gap, 3), 255, np.uint8)
    titles = *names, f'{names[1]} where they differ'
    first, second, third = (
        np.concatenate([write_text([title], picture.shape[1]), picture])
        for title, picture in zip(titles, (one, two, other), strict=True)
    )
    return np.concatenate([first, between, second, between, third], axis=1)


def draw_legend(classes: Sequence[str], colours: np.ndarray) -> np.ndarray:
    """Return the colour and the name of each class, one a line, RGB uint8.

    Args:
        classes: Names by class id.
        colours: RGB by class id, (classes, 3) uint8.
    """
    draw = ImageDraw.Draw(Image.new('L', (1, 1)))
    width = 12 + round(max(map(draw.textlength, classes)))
    patches = np.repeat(colours[: len(classes), None], 2 * LINE, 1).repeat(LINE, 0)
    # A line between: neighbours may look alike.
    patches[::LINE] = 255
    return np.concatenate([patches, write_text(classes, width)], axis=1)


def write_text(lines: Sequence[str], width: int) -> np.ndarray:
    """Return lines of text, black on white, cut off at a width.

    Returns:
        RGB, (LINE x lines, width, 3) uint8.
    """
    picture = Image.new('RGB', (width, LINE * len(lines)), 'white')
    draw = ImageDraw.Draw(picture)
    for number, text in enumerate(lines):
        draw.text((4, LINE * number + 2), text, fill='black')
    return np.asarray(picture)


def save_picture(path: Path, picture: np.ndarray) -> None:
    """Write RGB, (H, W, 3) uint8, as PNG; folders are made as needed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path, compress_level=1)
