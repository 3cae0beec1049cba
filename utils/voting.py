"""Votes of several models on the class of each pixel, with an explicit tie rule.

Each vote adds up a weight per class: 1 a model (hard), the model's confidence (soft),
or the accuracy of the class for the model that voted for it (weighted). The class with
the largest sum wins. A tie goes to the class with the highest accuracy; where several
models voted for a tied class, the highest of theirs counts. What is tied still goes to
the earliest model. An unknown accuracy (nan) counts as 0.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

# 11 classes and 5 models: 161,051 rows.
MAX_TABLE = 1 << 18

# Sums of accuracies are compared in steps of 1e-9: a tie is no matter of rounding.
STEPS = 10**9


class Vote(NamedTuple):
    """What the models agreed on.

    Attributes:
        label_map: Class ids, (H, W) uint8.
        tied: Where two or more classes shared the largest sum, (H, W) bool.
    """

    label_map: np.ndarray
    tied: np.ndarray


def hard_vote(label_maps: np.ndarray, accuracy: np.ndarray | None = None) -> Vote:
    """Return the class that most models chose at each pixel.

    Args:
        label_maps: Class ids, (models, H, W) uint8.
        accuracy: Recall in [0, 1] by model and class, (models, classes), nan where
            unknown; without it, a tie goes to the earliest model.

    Raises:
        ValueError: Shape or dtype is another, or an id is outside the class table.

    >>> maps = np.array([[[2, 0]], [[1, 0]], [[1, 3]]], dtype=np.uint8)
    >>> hard_vote(maps).label_map
    array([[1, 0]], dtype=uint8)
    >>> hard_vote(maps[:2], np.array([[0.9, 0.5, 0.3], [0.9, 0.6, 0.5]]))
    Vote(label_map=array([[1, 0]], dtype=uint8), tied=array([[ True, False]]))
    """
    _check(label_maps, accuracy)
    ones = np.ones((len(label_maps), 1, 1), np.uint8)
    return _decide(label_maps, ones, accuracy)


def soft_vote(
    label_maps: np.ndarray,
    confidence: np.ndarray,
    accuracy: np.ndarray | None = None,
) -> Vote:
    """Return the class with the largest sum of its voters' confidence.

    Args:
        label_maps: Class ids, (models, H, W) uint8.
        confidence: 255 x the winner's probability, (models, H, W) uint8.
        accuracy: As for ``hard_vote``; decides ties alone.

    >>> maps = np.array([[[2]], [[1]], [[1]]], dtype=np.uint8)
    >>> soft_vote(maps, np.array([[[250]], [[120]], [[110]]], np.uint8)).label_map
    array([[2]], dtype=uint8)
    """
    _check(label_maps, accuracy)
    if confidence.shape != label_maps.shape or confidence.dtype != np.uint8:
        raise ValueError(
            f'confidence must be uint8 of shape {label_maps.shape}, got '
            f'{confidence.dtype} of shape {confidence.shape}'
        )
    return _decide(label_maps, confidence, accuracy)


def weighted_vote(label_maps: np.ndarray, accuracy: np.ndarray) -> Vote:
    """Return the class with the largest sum of its voters' accuracy for it.

    Args:
        label_maps: Class ids, (models, H, W) uint8.
        accuracy: As for ``hard_vote``; the weights, and what decides ties.

    >>> maps = np.array([[[0]], [[1]], [[1]]], dtype=np.uint8)
    >>> weighted_vote(maps, np.array([[0.9, 0.2], [0.8, 0.3], [0.8, 0.4]])).label_map
    array([[0]], dtype=uint8)
    """
    _check(label_maps, accuracy)
    steps = np.rint(np.nan_to_num(accuracy) * STEPS).astype(np.int64)
    return _decide(label_maps, _of_voters(steps, label_maps), accuracy)


def tabulate(
    vote: Callable[[np.ndarray], Vote], models: int, num_classes: int
) -> Callable[[np.ndarray], Vote]:
    """Return ``vote`` as one look-up a pixel, where the table stays small.

    The ids of the models at a pixel are the digits of a number in base
    ``num_classes``; the table holds the outcome for every such number, so it can hold
    any rule. ``vote`` itself comes back where the table would pass ``MAX_TABLE`` rows.

    Args:
        vote: A vote that looks at class ids alone, such as ``hard_vote``.

    >>> maps = np.array([[[2, 0]], [[1, 0]], [[1, 3]]], dtype=np.uint8)
    >>> tabulate(hard_vote, models=3, num_classes=4)(maps).label_map
    array([[1, 0]], dtype=uint8)
    """
    if num_classes**models > MAX_TABLE:
        return vote
    every = np.indices((num_classes,) * models, np.uint8).reshape(models, 1, -1)
    outcome = vote(every)
    table = outcome.label_map[0] | outcome.tied[0].astype(np.uint16) << 8

    def look_up(label_maps: np.ndarray) -> Vote:
        code = label_maps[0].astype(np.uint32)
        for label_map in label_maps[1:]:
            code *= np.uint32(num_classes)
            code += label_map
        found = table[code]
        return Vote(found.astype(np.uint8), found > 255)

    return look_up


def agreed_confidence(
    label_maps: np.ndarray, confidence: np.ndarray, label_map: np.ndarray
) -> np.ndarray:
    """Return the confidence of the outcome ``label_map``, (H, W) uint8.

    It is the mean confidence of the models that voted for the outcome, times their
    share of all models.

    >>> maps = np.array([[[2]], [[1]], [[1]]], dtype=np.uint8)
    >>> sure = np.array([[[250]], [[200]], [[100]]], dtype=np.uint8)
    >>> agreed_confidence(maps, sure, maps[1])
    array([[100]], dtype=uint8)
    """
    total = np.zeros(label_map.shape, np.uint32)
    for votes, sure in zip(label_maps, confidence, strict=True):
        total += sure * (votes == label_map)
    models = len(label_maps)
    return ((total + models // 2) // models).astype(np.uint8)


def _check(label_maps: np.ndarray, accuracy: np.ndarray | None) -> None:
    if label_maps.ndim != 3 or label_maps.dtype != np.uint8:
        raise ValueError(
            'label_maps must be uint8 of shape (models, H, W), got '
            f'{label_maps.dtype} of shape {label_maps.shape}'
        )
    if accuracy is None:
        return
    if accuracy.ndim != 2 or len(accuracy) != len(label_maps):
        raise ValueError(
            f'accuracy must be of shape ({len(label_maps)} models, classes), got '
            f'{accuracy.shape}'
        )
    if label_maps.size and label_maps.max() >= accuracy.shape[1]:
        raise ValueError(
            f'label_maps holds class id {label_maps.max()}, but accuracy has only '
            f'{accuracy.shape[1]} classes'
        )


def _of_voters(values: np.ndarray, label_maps: np.ndarray) -> np.ndarray:
    """Return each model's value for the class that it voted for, (models, H, W)."""
    return np.stack([row[votes] for row, votes in zip(values, label_maps, strict=True)])


def _decide(
    label_maps: np.ndarray, weights: np.ndarray, accuracy: np.ndarray | None
) -> Vote:
    weights = np.broadcast_to(weights, label_maps.shape)
    sums = np.zeros(label_maps.shape, np.int64)
    for total, votes in zip(sums, label_maps, strict=True):
        for other, weight in zip(label_maps, weights, strict=True):
            total += (votes == other) * weight
    first = sums == sums.max(axis=0)
    if accuracy is None:
        key = first.astype(np.int64)
    else:
        # Ranks of the accuracies, from 1: exact, and 0 is left for the losers.
        ranks = np.unique(np.nan_to_num(accuracy), return_inverse=True)[1]
        key = first * (_of_voters(ranks.reshape(accuracy.shape), label_maps) + 1)
    winner = key.argmax(axis=0)[None]  # first maximum: earliest model
    label_map = np.take_along_axis(label_maps, winner, axis=0)[0]
    return Vote(label_map, (first & (label_maps != label_map)).any(axis=0))
