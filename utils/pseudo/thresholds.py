"""Thresholds of confidence by class: given, or fitted to a precision on true labels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmsegmentation.classes import ALIASES, IGNORE_INDEX
from mmsegmentation.command import InputError
from mmsegmentation.parts import read_truth
from mmsegmentation.predictions import Predictions
from utils.parallel import Workers

# Confidence is a byte: there is nothing between two of its values.
LEVELS = 256


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


@dataclass(frozen=True)
class Fit:
    """What a fit found, by class.

    Attributes:
        thresholds: In [0, 1], infinite where the precision is never reached.
        precision: Share of the kept pixels that is right; of all, where none is kept,
            at the best threshold; nan where the class is never predicted.
        kept: Share of the predicted pixels that is kept; nan likewise.
        counts: Pixels by class, confidence and wrong or right, (classes, 256, 2).
    """

    thresholds: np.ndarray
    precision: np.ndarray
    kept: np.ndarray
    counts: np.ndarray


def fit_thresholds(counts: np.ndarray, precision: float) -> Fit:
    """Return by class the lowest threshold whose kept pixels are precise enough.

    Args:
        counts: Pixels by predicted class, confidence and wrong or right, (classes,
            256, 2) int64.
        precision: Share of the kept pixels that must be right, in [0, 1].
    """
    kept = counts[:, ::-1].cumsum(1)[:, ::-1].sum(2)
    right = counts[:, ::-1, 1].cumsum(1)[:, ::-1]
    reached = np.divide(right, kept, out=np.full(kept.shape, np.nan), where=kept > 0)
    enough = reached >= precision  # nan is not
    lowest = enough.argmax(1)
    fitted = enough.any(1)
    rows = np.arange(len(counts))
    best = np.array([np.nanmax(r) if (~np.isnan(r)).any() else np.nan for r in reached])
    total = kept[:, 0]
    share = np.divide(
        kept[rows, lowest] * fitted,
        total,
        out=np.full(len(counts), np.nan),
        where=total > 0,
    )
    return Fit(
        np.where(fitted, lowest / 255, np.inf),
        np.where(fitted, reached[rows, lowest], best),
        share,
        counts,
    )


def count_right(
    predictions: Predictions,
    image_ids: Sequence[str],
    masks: Mapping[str, Path],
    workers: Workers,
) -> np.ndarray:
    """Count pixels by predicted class, confidence, and whether they are right.

    Pixels without a true label are left out.

    Args:
        masks: The true mask of each image.

    Returns:
        Counts, (classes, 256, 2) int64: wrong, then right.

    Raises:
        InputError: A file is missing or damaged, sizes differ, a class id is unknown,
            or no pixel has a label.
    """
    counts = np.zeros((len(predictions.classes), LEVELS, 2), np.int64)
    tasks = [(predictions, image_id, masks[image_id]) for image_id in image_ids]
    for found in workers.map(_count_image, tasks, 'fit'):
        counts += found
    if not counts.any():
        raise InputError(
            predictions.folder, 'no pixel of it has a true label', 'fit on others'
        )
    return counts


def _count_image(predictions: Predictions, image_id: str, path: Path) -> np.ndarray:
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
    return found.reshape(count, LEVELS, 2)
