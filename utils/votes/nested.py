"""What a vote is worth on images that it was not chosen on.

Each fold of images is scored by a vote that was chosen on the others: the kind of vote
by the folds among these that it was not fitted on, and then its weights by all of
these. So nothing of a fold has a part in the vote that it is scored by.

A search on more images may stop at a worse vote than a search on fewer images. So the
search on a set of folds also tries the votes found on this set without one fold.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mmsegmentation.command import progress
from mmsegmentation.scores import mean_iou
from utils.votes.search import KINDS, LEAST_GAIN, Fit, fit_votes
from utils.votes.table import Table


@dataclass(frozen=True)
class Nested:
    """A vote, and what it is worth.

    Attributes:
        fit: Chosen on all images.
        kinds: The kind of vote that each fold was scored by.
        confusions: Of each image, by the vote of its fold, (images, classes, classes)
            int64.
        scores: mIoU of each kind on images that it was not fitted on, in [0, 1]; by
            these the kind of ``fit`` was chosen.
    """

    fit: Fit
    kinds: list[str]
    confusions: np.ndarray
    scores: Mapping[str, float]


def fit_nested(table: Table) -> Nested:
    """Choose a vote on 3 folds or more, and score the way in which it was chosen."""
    everything = frozenset(range(len(table.folds)))
    pairs = [everything - {f, g} for f in everything for g in everything if g >= f]
    fits: dict[frozenset[int], dict[str, Fit]] = {}
    order = sorted({*pairs, everything}, key=lambda folds: (len(folds), sorted(folds)))
    for folds in progress(order, 'fit'):
        fits[folds] = {
            kind: _best_of(table, folds, [fit, *_smaller(fits, folds, kind)])
            for kind, fit in fit_votes(table, folds).items()
        }
    confusions = np.zeros((len(table.fold_of), *[table.num_classes] * 2), np.int64)
    kinds = []
    for fold in sorted(everything):
        rest = everything - {fold}
        kind = best_kind(score_kinds(table, fits, rest))
        confusions[table.fold_of == fold] = fits[rest][kind].confusions(table, [fold])
        kinds.append(kind)
    scores = score_kinds(table, fits, everything)
    return Nested(fits[everything][best_kind(scores)], kinds, confusions, scores)


def _smaller(
    fits: Mapping[frozenset[int], Mapping[str, Fit]], folds: frozenset[int], kind: str
) -> list[Fit]:
    """Return the votes of a kind that were found on the folds without one of them."""
    parts = [fits.get(folds - {fold}, {}) for fold in sorted(folds)]
    return [part[kind] for part in parts if kind in part]


def _best_of(table: Table, folds: Iterable[int], fits: Sequence[Fit]) -> Fit:
    """Return the vote with the highest mIoU on some folds; the first one of a tie."""
    return max(fits, key=lambda fit: mean_iou(fit.confusions(table, folds).sum(axis=0)))


def score_kinds(
    table: Table,
    fits: Mapping[frozenset[int], Mapping[str, Fit]],
    folds: Iterable[int],
) -> dict[str, float]:
    """Return the mIoU of each kind of vote, each fold scored by a fit on the others."""
    everything = frozenset(folds)
    pooled: dict[str, np.ndarray] = {}
    for fold in sorted(everything):
        for kind, fit in fits[everything - {fold}].items():
            found = fit.confusions(table, [fold]).sum(axis=0)
            pooled[kind] = pooled.get(kind, 0) + found
    return {kind: float(mean_iou(counts)) for kind, counts in pooled.items()}


def best_kind(scores: Mapping[str, float]) -> str:
    """Return the kind with the highest score; more freedom must gain something.

    >>> best_kind({'single': 0.7, 'members': 0.72, 'weights': 0.72001})
    'members'
    """
    best = KINDS[0]
    for kind in KINDS:
        if kind in scores and scores[kind] > scores[best] + LEAST_GAIN:
            best = kind
    return best
