"""Scores of several models on the same images, drawn with replacement together.

What decides all of them is three numbers by image and class: pixels that are right,
true, and predicted. They add up over images, as a confusion matrix does.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

ROUNDS = 1000


def statistics(confusion: np.ndarray) -> np.ndarray:
    """Return right, true and predicted pixels by class, (3, classes).

    Args:
        confusion: Counts, (classes, classes), true classes in rows.

    >>> statistics(np.array([[5, 1], [0, 2]]))
    array([[5, 2],
           [6, 2],
           [5, 3]])
    """
    return np.stack([np.diagonal(confusion), confusion.sum(1), confusion.sum(0)])


def iou(stats: np.ndarray) -> np.ndarray:
    """Return IoU in [0, 1]; nan where truth and prediction lack the class.

    Args:
        stats: From ``statistics``, (…, 3, classes).
    """
    hits = stats[..., 0, :]
    union = stats[..., 1, :] + stats[..., 2, :] - hits
    return np.divide(hits, union, out=np.full(hits.shape, np.nan), where=union > 0)


def mean(values: np.ndarray) -> np.ndarray:
    """Return the mean over the last axis without nan; nan where all are."""
    known = ~np.isnan(values)
    count = known.sum(-1)
    total = np.where(known, values, 0).sum(-1)
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)


@dataclass(frozen=True)
class Readings:
    """The scores of one model on the same draws of images as the others.

    Attributes:
        dataset: mIoU over the pooled pixels of each draw, (rounds,).
        image: Mean over the drawn images of their own mIoU, (rounds,).
        classes: IoU over the pooled pixels, (rounds, classes).
    """

    dataset: np.ndarray
    image: np.ndarray
    classes: np.ndarray


def draw_images(count: int, rounds: int = ROUNDS, seed: int = 0) -> np.ndarray:
    """Return how often each image is drawn, (rounds, count).

    The draws are those of ``mmsegmentation.scores.bootstrap``: equal intervals.
    """
    draw = np.random.default_rng(seed).multinomial
    return draw(count, np.full(count, 1 / count), size=rounds)


def read_draws(stats: np.ndarray, draws: np.ndarray) -> Readings:
    """Return the scores of every draw.

    Args:
        stats: By image, (images, 3, classes), each with a labelled pixel.
        draws: From ``draw_images``, (rounds, images).
    """
    pooled = draws @ stats.reshape(len(stats), -1).astype(np.float64)
    by_class = iou(pooled.reshape(len(draws), 3, -1))
    image = draws @ mean(iou(stats)) / len(stats)
    return Readings(mean(by_class), image, by_class)


def interval(values: np.ndarray) -> list[float] | None:
    """Return the 95 % percentile interval of ``values``; None where none is known."""
    known = values[~np.isnan(values)]
    if not len(known):
        return None
    return [float(np.quantile(known, q)) for q in (0.025, 0.975)]


def compare(
    one: np.ndarray, two: np.ndarray, draws: np.ndarray, classes: Sequence[str]
) -> dict[str, Any]:
    """Return how much better ``two`` scores than ``one``, paired by image.

    Args:
        one: By image, (images, 3, classes).
        two: The same images in the same order.
        draws: From ``draw_images``, (rounds, images).

    Returns:
        ``mIoU``, ``mIoU_image`` and by class in ``IoU``: ``difference``, its 95 %
        ``interval``, both in [-1, 1], and ``better`` and ``worse``: the share of draws
        in which ``two`` is ahead, and behind. Null where a class occurs in neither.
    """
    first, second = read_draws(one, draws), read_draws(two, draws)
    at_once = np.ones((1, len(one)))
    told, other = read_draws(one, at_once), read_draws(two, at_once)

    def gain(name: str, column: int | None = None) -> dict[str, Any] | None:
        values = [getattr(r, name) for r in (told, other, first, second)]
        if column is not None:
            values = [v[:, column] for v in values]
        change = values[3] - values[2]
        known = change[~np.isnan(change)]
        if not len(known):
            return None
        difference = float(values[1][0] - values[0][0])
        return {
            'difference': None if np.isnan(difference) else difference,
            'interval': interval(known),
            'better': float((known > 0).mean()),
            'worse': float((known < 0).mean()),
        }

    return {
        'mIoU': gain('dataset'),
        'mIoU_image': gain('image'),
        'IoU': {name: gain('classes', i) for i, name in enumerate(classes)},
    }
