"""Thresholds of confidence by class: given, or fitted to a precision on true labels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mmsegmentation.classes import ALIASES, IGNORE_INDEX
from mmsegmentation.command import InputError
from mmsegmentation.intervals import Ratios, estimate_mean
from mmsegmentation.parts import read_truth
from mmsegmentation.predictions import Predictions
from utils.parallel import Workers

# Confidence is a byte: there is nothing between two of its values.
LEVELS = 256
# Smallest number of images that can prove a precision. If all pixels of a few images
# happen to be right, the interval has no width. On drawn sets of 12 images, one fit in
# eight chose a threshold that was too low with 5 here, and none with 10.
LEAST_IMAGES = 10


def given_thresholds(
    threshold: float | np.ndarray, pairs: Sequence[str], classes: Sequence[str]
) -> np.ndarray:
    """Return one threshold by class, in [0, 1], infinite where nothing is kept.

    Args:
        threshold: One for all classes, or one each.
        pairs: ``NAME=VALUE`` for the classes that have another.

    Raises:
        InputError: A class is unknown or named twice, or a value is out of range.

    >>> given_thresholds(0.9, ['Paper=0.5'], ['Background', 'Paper'])
    array([0.9, 0.5])
    """
    values = np.broadcast_to(threshold, len(classes)).astype(np.float64)
    seen = set()
    for pair in pairs:
        name, _, value = pair.rpartition('=')
        name = ALIASES.get(name, name)
        if name not in classes or name in seen:
            raise InputError(
                f'--class-threshold {pair}',
                'names no class' if name not in classes else 'names its class again',
                f'give NAME=VALUE once for a class of: {", ".join(classes)}',
            )
        seen.add(name)
        values[[*classes].index(name)] = fraction(f'--class-threshold {pair}', value)
    return values


def fraction(thing: str, text: str | float) -> float:
    """Return a number in [0, 1].

    Raises:
        InputError: It is none.
    """
    try:
        value = float(text)
    except ValueError:
        value = np.nan
    if not 0 <= value <= 1:
        raise InputError(thing, f'{text} is not in [0, 1]', 'give a probability')
    return value


def least_confidence(thresholds: np.ndarray) -> np.ndarray:
    """Return the least byte of confidence that is kept, 256 where none is.

    >>> least_confidence(np.array([0, 0.9, 200 / 255, 1, np.inf]))
    array([  0, 230, 200, 255, 256])
    """
    # 255 x (k / 255) may be a little more than k.
    least = np.ceil(255 * thresholds - 1e-9)
    return np.minimum(least, LEVELS).astype(np.int64)


class RightCounts(NamedTuple):
    """Pixels of each image by predicted class, confidence, and right or wrong.

    Attributes:
        image: Index of the image of each entry, (entries,) int64.
        code: Class, confidence and 1 for right pixels of each entry, as ``class << 9 |
            confidence << 1 | right``, (entries,) int64.
        pixels: Number of pixels of each entry, (entries,) int64.
        num_classes: Size of the class table.
    """

    image: np.ndarray
    code: np.ndarray
    pixels: np.ndarray
    num_classes: int

    def of_class(self, class_id: int) -> np.ndarray:
        """Return right pixels and all pixels at each confidence or above, by image.

        Returns:
            Counts, (2, images, 256) float64. Images without a pixel of the class are
            left out.
        """
        own = self.code >> 9 == class_id
        images, place = np.unique(self.image[own], return_inverse=True)
        counts = np.zeros((2, len(images), LEVELS))
        code, pixels = self.code[own], self.pixels[own]
        np.add.at(counts, (code & 1, place, code >> 1 & 255), pixels)
        wrong, right = counts[:, :, ::-1].cumsum(2)[:, :, ::-1]
        return np.stack([right, wrong + right])


@dataclass(frozen=True)
class Fit:
    """Fitted thresholds and their quality by class, each (classes,) float64.

    Attributes:
        thresholds: In [0, 1]. Infinite if no threshold reliably has the precision.
        precision: Share of the kept pixels that are right. If no pixel is kept, the
            share at the best threshold. nan if the class is never predicted.
        least: Lower end of the 95 % interval of ``precision`` over images. nan if no
            pixel is kept.
        kept: Share of the predicted pixels that are kept. nan if the class is never
            predicted.
    """

    thresholds: np.ndarray
    precision: np.ndarray
    least: np.ndarray
    kept: np.ndarray


def fit_thresholds(counts: RightCounts, precision: float) -> Fit:
    """Return for each class the lowest threshold that reliably has the precision.

    At this threshold, the lower end of the 95 % interval over images reaches the
    precision, and the kept pixels are spread over at least ``LEAST_IMAGES`` images.
    The interval is over images, because pixels of the same image are often right or
    wrong together.

    Args:
        counts: Pixels on images with true labels, from :func:`count_right`.
        precision: Share of the kept pixels that must be right, in [0, 1].
    """
    found = [
        _fit_class(counts.of_class(class_id), precision)
        for class_id in range(counts.num_classes)
    ]
    return Fit(*np.array(found).T)


def _fit_class(
    counts: np.ndarray, precision: float
) -> tuple[float, float, float, float]:
    """Return threshold, precision, its lower end, and the kept share of a class.

    Args:
        counts: From ``RightCounts.of_class``.
    """
    right, kept = counts
    hits, total = counts.sum(1)
    used = np.flatnonzero(total)
    if not len(used):
        return np.inf, np.nan, np.nan, np.nan
    reached = hits[used] / total[used]
    for level in used[reached >= precision]:
        least = least_precision(right[:, level], kept[:, level])
        if least >= precision:
            share = total[level] / total[0]
            return level / 255, hits[level] / total[level], least, share
    return np.inf, reached.max(), np.nan, 0.0


def least_precision(right: np.ndarray, kept: np.ndarray) -> float:
    """Return the lower end of the 95 % interval of a precision over images.

    Args:
        right: Right pixels of each image, (images,).
        kept: Kept pixels of each image, (images,). Their sum is above 0.

    Returns:
        The lower end in [0, 1]. It is 0 if the pixels are spread over fewer than
        ``LEAST_IMAGES`` images by Kish's effective sample size, which is lower than the
        number of images if some hold more pixels than others.

    >>> least_precision(np.full(9, 100), np.full(9, 100))
    0.0
    >>> least_precision(np.full(10, 100), np.full(10, 100))
    1.0
    """
    if kept.sum() ** 2 < LEAST_IMAGES * (kept**2).sum():
        return 0.0
    ratio = Ratios(*(values[:, None].astype(np.float64) for values in (right, kept)))
    return estimate_mean(ratio).interval[0]


def count_right(
    predictions: Predictions,
    image_ids: Sequence[str],
    masks: Mapping[str, Path],
    workers: Workers,
) -> RightCounts:
    """Count the pixels of each image by predicted class, confidence and right or wrong.

    Pixels without a true label are left out.

    Args:
        masks: The true mask of each image.

    Raises:
        InputError: A file is missing or damaged, sizes differ, a class id is unknown,
            or no pixel has a label.
    """
    tasks = [(predictions, image_id, masks[image_id]) for image_id in image_ids]
    found = list(workers.map(_count_image, tasks, 'fit'))
    image = np.repeat(np.arange(len(found)), [len(code) for code, _ in found])
    if not len(image):
        raise InputError(
            predictions.folder, 'no pixel of it has a true label', 'fit on others'
        )
    code, pixels = (np.concatenate(column) for column in zip(*found, strict=True))
    return RightCounts(image, code, pixels, len(predictions.classes))


def _count_image(
    predictions: Predictions, image_id: str, path: Path
) -> tuple[np.ndarray, np.ndarray]:
    count = len(predictions.classes)
    truth, label_map = read_truth(path, count), predictions.mask(image_id)
    confidence = predictions.confidence(image_id)
    if not truth.shape == label_map.shape == confidence.shape:
        raise InputError(
            repr(image_id),
            f'label {truth.shape}, prediction {label_map.shape} and confidence '
            f'{confidence.shape} differ in size',
            'predict it again',
        )
    codes = label_map.astype(np.int64) << 9 | confidence.astype(np.int64) << 1
    codes |= truth == label_map
    found = np.bincount(codes[truth != IGNORE_INDEX], minlength=count << 9)
    code = np.flatnonzero(found)
    return code, found[code]
