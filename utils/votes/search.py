"""Members, weights and tie rule of a vote, chosen on the images of some folds.

Each kind of vote has more freedom than the one before it. Weights are found by
coordinate search: one is changed at a time, and the change is kept where it raises the
mIoU. Whether the freedom is worth it shows in images that it was not fitted on.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from mmsegmentation.scores import mean_iou
from utils.votes.choice import Choice
from utils.votes.joint import Candidate
from utils.votes.table import Table, confusion_of, labels_of, measure_members
from utils.voting import MEASURED

# From the least freedom to the most; the last two need more than class ids.
KINDS = 'single', 'members', 'weights', 'class weights', 'confidence', 'soft'
# What is gained by less is chance.
LEAST_GAIN = 1e-4
SWEEPS = 3
# Weights of members in whole steps; those of classes begin at SCALE a step.
LEVELS = range(5)
SCALE = 20
FITTED_TIES = *MEASURED, 'order'


@dataclass(frozen=True)
class Fit:
    """A vote that was chosen.

    Attributes:
        kind: One of ``KINDS``.
        chosen: The members that vote, by their place among all, best first.
        choice: How they vote.
        candidate: The number of the candidate that it is, if it was tried out as one.
    """

    kind: str
    chosen: tuple[int, ...]
    choice: Choice
    candidate: int | None = None

    def confusions(self, table: Table, folds: Iterable[int]) -> np.ndarray:
        """Return its confusion matrices on each image of some folds.

        Returns:
            (images, classes, classes) int64.
        """
        if self.candidate is not None:
            return table.confusions[self.candidate, table.images_of(folds)]
        return table.confusions_of(folds, self.chosen, self.choice)


def plan_candidates(members: int, num_classes: int, kinds: Sequence[str]) -> list:
    """Return the votes that are tried out image by image: of all members, and but one.

    Args:
        kinds: What the members keep: ``confidence``, ``soft``.
    """
    everyone = tuple(range(members))
    sets = [everyone]
    if members > 2:
        sets += [tuple(i for i in everyone if i != left) for left in everyone]
    found = []
    for chosen in sets:
        ones = np.ones((len(chosen), num_classes))
        found += [Candidate(chosen, Choice(kind, ones)) for kind in kinds]
    if 'confidence' in kinds:
        ones = np.ones((members, num_classes))
        found.append(Candidate(everyone, Choice('hard', ones, 'confidence')))
    return found


def fit_votes(table: Table, folds: Iterable[int]) -> dict[str, Fit]:
    """Return the best vote of each kind that can be tried out, on some folds."""
    search = _Search(table, folds)
    shape = table.members, table.num_classes
    alone = np.zeros(shape)
    alone[search.order[0]] = 1
    found = {'single': search.fit_of('single', alone, 'order')}
    rows = [(i, slice(None)) for i in search.order]
    plain = search.climb(np.ones(shape), MEASURED[0], rows, lambda _: range(2))
    found['members'] = search.fit_of('members', *plain)
    weighed = search.climb(*plain, rows, lambda _: LEVELS)
    found['weights'] = search.fit_of('weights', *weighed)
    cells = [(i, c) for i, c in np.argwhere(weighed[0] > 0).tolist()]
    by_class = search.climb(*search.start_classes(*weighed), cells, _near)
    found['class weights'] = search.fit_of('class weights', *by_class)
    return found | search.fit_candidates()


def _near(weight: float) -> list[float]:
    return [max(1.0, np.rint(weight * factor)) for factor in (0.5, 0.75, 1.5, 2)]


class _Search:
    """Votes tried out on the images of some folds."""

    def __init__(self, table: Table, folds: Iterable[int]) -> None:
        self.table = table
        self.folds = sorted(folds)
        pixels = table.pixels_of(self.folds)
        self.rows, self.pixels = table.rows[pixels > 0], pixels[pixels > 0]
        self.measured = measure_members(self.rows, self.pixels, table.num_classes)
        scores = [self._score_labels(said) for said in self.rows.T[1:]]
        self.order = np.argsort(-np.array(scores), kind='stable').tolist()

    def climb(
        self,
        weights: np.ndarray,
        ties: str,
        places: Sequence[tuple],
        levels: Callable[[float], Iterable[float]],
    ) -> tuple[np.ndarray, str]:
        """Return better weights and tie rule: one of them is changed at a time.

        Args:
            weights: To begin with, (members, classes).
            places: What is one weight.
            levels: What a weight may become.
        """
        best = self._score(weights, ties)
        for _ in range(SWEEPS):
            before = best
            for place in places:
                for level in levels(np.max(weights[place])):
                    trial = weights.copy()
                    trial[place] = level
                    score = self._score(trial, ties)
                    if score > best + LEAST_GAIN:
                        best, weights = score, trial
            for rule in FITTED_TIES:
                score = self._score(weights, rule)
                if score > best + LEAST_GAIN:
                    best, ties = score, rule
            if best == before:
                break
        return weights, ties

    def start_classes(self, weights: np.ndarray, ties: str) -> tuple[np.ndarray, str]:
        """Return weights times what each member is worth by class, if that helps."""
        starts = [SCALE * weights]
        for values in self.measured.values():
            starts.append(np.rint(SCALE * weights * np.nan_to_num(values)))
        return max(starts, key=lambda start: self._score(start, ties)), ties

    def fit_of(self, kind: str, weights: np.ndarray, ties: str) -> Fit:
        """Return a vote of the members that have a weight, best first."""
        chosen = [i for i in self.order if weights[i].any()]
        values = self.measured[ties][chosen] if ties in MEASURED else None
        choice = Choice('hard', weights[chosen], ties, values)
        return Fit(kind, tuple(chosen), choice)

    def fit_candidates(self) -> dict[str, Fit]:
        """Return the best of the votes that were tried out image by image, by kind."""
        best: dict[str, float] = {}
        found: dict[str, Fit] = {}
        for number, (chosen, choice) in enumerate(self.table.candidates):
            kind = 'soft' if choice.method == 'soft' else 'confidence'
            fit = Fit(kind, chosen, choice, number)
            score = float(mean_iou(fit.confusions(self.table, self.folds).sum(0)))
            if score > best.get(kind, -1) + LEAST_GAIN:
                best[kind], found[kind] = score, fit
        return found

    def _score(self, weights: np.ndarray, ties: str) -> float:
        if not weights.any():
            return 0.0
        fit = self.fit_of('', weights, ties)
        return self._score_labels(labels_of(self.rows, fit.chosen, fit.choice))

    def _score_labels(self, labels: np.ndarray) -> float:
        counts = confusion_of(
            self.rows[:, 0], labels, self.pixels, self.table.num_classes
        )
        return float(mean_iou(counts))
