"""Votes of several models on the class of each pixel, with an explicit tie rule.

Each model adds its weight for the class that it chose, once or times its confidence.
The class with the largest sum wins. A tie goes to the class whose voter has the highest
accuracy or IoU for it, or is the most confident; where several models voted for a tied
class, the highest of theirs counts. What is tied still goes to the earliest model.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from utils.votes.buffers import buffer

# Of each model, one after the other or in one array.
Maps = Sequence[np.ndarray] | np.ndarray

TIES = 'accuracy', 'iou', 'confidence', 'order'
# What ties go by that is known of each model and class beforehand.
MEASURED = 'accuracy', 'iou'

# Weights are told apart to 1 / STEPS: equal sums are equal, in whatever order.
STEPS = 10_000
MOST = 100_000
LARGEST = (1 << 32) - 1


class Contested(NamedTuple):
    """Where not all models chose the same class.

    Attributes:
        words: Groups of eight pixels, counted row by row, that hold such a pixel,
            sorted, int32; None stands for all, where these are most.
        label_maps: What the models chose there, and in the pixels behind the last whole
            group, (models, pixels) uint8.
    """

    words: np.ndarray | None
    label_maps: np.ndarray


class Vote(NamedTuple):
    """What the models agreed on.

    Attributes:
        label_map: Class ids, (H, W) uint8.
        tied: Where two or more classes shared the largest sum, (H, W) bool.
        confidence: 255 x the share of the outcome, (H, W) uint8, where it is known.
        contested: Where not all models chose the same class, where that is known.
    """

    label_map: np.ndarray
    tied: np.ndarray
    confidence: np.ndarray | None = None
    contested: Contested | None = None


def whole_weights(weights: np.ndarray) -> np.ndarray:
    """Return weights as whole numbers of the same proportions, int64.

    Args:
        weights: By model and class, (models, classes), told apart to 0.0001. An unknown
            one (nan) counts as 0.

    Raises:
        ValueError: One is negative or not finite, all are 0, or the sum of all models'
            is too large.

    >>> whole_weights(np.array([[0.1, 0.3], [0.2, np.nan]]))
    array([[1, 3],
           [2, 0]])
    """
    known = np.where(np.isnan(weights), 0.0, weights)
    if known.ndim != 2 or (known < 0).any() or (known > MOST).any():
        raise ValueError(f'weights must be numbers from 0 to {MOST:,}')
    steps = np.rint(known * STEPS).astype(np.int64)
    if not steps.any():
        raise ValueError('all weights are below 0.0001')
    steps //= np.gcd.reduce(steps, axis=None)
    if steps.max(axis=1).sum() * 255 > LARGEST:
        raise ValueError(
            'weights add up to too much: give fewer digits, or smaller weights'
        )
    return steps


class VoteRule:
    """How the classes that several models chose become one.

    Args:
        weights: Of each model and class, (models, classes), as for ``whole_weights``.
        ties: What decides a tie, one of ``TIES``.
        values: Of each model and class, (models, classes) in [0, 1], what ties go by
            that are decided by accuracy or IoU. An unknown one (nan) counts as 0.
        by_confidence: A vote weighs the model's confidence, too.

    Raises:
        ValueError: Weights are out of range, or shapes differ.

    >>> maps = np.array([[[2, 0]], [[1, 0]], [[1, 3]]], dtype=np.uint8)
    >>> VoteRule(np.ones((3, 4)))(maps).label_map
    array([[1, 0]], dtype=uint8)
    """

    def __init__(
        self,
        weights: np.ndarray,
        ties: str = 'order',
        values: np.ndarray | None = None,
        *,
        by_confidence: bool = False,
    ) -> None:
        if ties not in TIES:
            raise ValueError(f'ties must be one of {", ".join(TIES)}, got {ties!r}')
        self.weights = whole_weights(weights)
        self.ties = ties
        self.by_confidence = by_confidence
        shape = self.weights.shape
        if ties not in MEASURED:
            values = np.zeros(shape)
        if values is None or values.shape != shape:
            found = None if values is None else values.shape
            raise ValueError(f'values must be of shape {shape}, got {found}')
        ranks = rank_voters(values)
        # Above all ranks, so that models are told apart where confidence is equal.
        self._spread = int(ranks.max()) + 1 if ties == 'confidence' else 0
        sums = int(self.weights.max(axis=1).sum()) * (255 if by_confidence else 1)
        largest = max(sums, int(ranks.max()) + 255 * self._spread)
        kind = np.min_scalar_type(largest)
        self._weights, self._ranks = self.weights.astype(kind), ranks.astype(kind)

    @property
    def needs_confidence(self) -> bool:
        """Whether the outcome depends on the models' confidence."""
        return self.by_confidence or self.ties == 'confidence'

    def __call__(
        self,
        label_maps: Maps,
        confidence: Maps | None = None,
    ) -> Vote:
        """Return the outcome.

        Args:
            label_maps: Class ids, (models, H, W) uint8.
            confidence: 255 x the winner's probability, (models, H, W) uint8.

        Raises:
            ValueError: A shape or type is another, an id is outside the class table, or
                confidence is needed and not given.
        """
        maps = self._rows(label_maps, 'label_maps')
        sure = None
        if self.needs_confidence:
            if confidence is None:
                raise ValueError('this vote needs confidence')
            sure = self._rows(confidence, 'confidence')
            if sure[0].shape != maps[0].shape:
                raise ValueError('confidence must have the size of label_maps')
        few = contested(maps, self.weights.shape[1])
        few_sure = None if sure is None else gather_all(sure, few.words)
        out = self._decide(few.label_maps, few_sure)
        if few.words is not None:
            out = scatter_all(out, few.words, maps[0])
        label_map, tied = out.reshape(2, *np.shape(label_maps[0]))
        return Vote(label_map, tied.view(bool), None, few)

    def _decide(self, maps: np.ndarray, sure: np.ndarray | None) -> np.ndarray:
        from utils.votes.kernel import decide

        out = np.empty((2, maps.shape[1]), np.uint8)
        how = self._weights, self._ranks, self.by_confidence, self._spread
        decide(maps, sure, *how, out[0], out[1])
        return out

    def confidence_of(
        self,
        label_maps: Maps,
        confidence: Maps,
        label_map: np.ndarray,
    ) -> np.ndarray:
        """Return the confidence of an outcome, (H, W) uint8.

        It is the mean confidence of the models that voted for the outcome, times their
        share of all models; with weights, of all weight for that class.

        >>> maps = np.array([[[2]], [[1]], [[1]]], dtype=np.uint8)
        >>> sure = np.array([[[250]], [[200]], [[100]]], dtype=np.uint8)
        >>> VoteRule(np.ones((3, 3))).confidence_of(maps, sure, maps[1])
        array([[100]], dtype=uint8)
        """
        from utils.votes.kernel import add_agreeing, divide

        maps = self._rows(label_maps, 'label_maps')
        sure = self._rows(confidence, 'confidence')
        outcome = np.ascontiguousarray(label_map).reshape(-1)
        sums = buffer('sums', outcome.size, np.uint32)
        sums[:] = 0
        weights = self.weights.astype(np.uint32)
        for votes, own, row in zip(maps, sure, weights, strict=True):
            add_agreeing(votes, own, outcome, row, sums)
        out = np.empty(outcome.size, np.uint8)
        divide(sums, outcome, np.maximum(self.weights.sum(axis=0), 1.0), out)
        return out.reshape(label_map.shape)

    def _rows(self, maps: Maps, name: str) -> Maps:
        """Return each model's map as one row, (H x W,)."""
        size = np.shape(maps[0])
        for found in maps:
            if found.shape != size or len(size) != 2 or found.dtype != np.uint8:
                raise ValueError(
                    f'{name} must be uint8 of shape (models, H, W), got {found.dtype} '
                    f'of shape {found.shape}'
                )
        if len(maps) != len(self.weights):
            raise ValueError(
                f'{name} has {len(maps)} models, the weights {len(self.weights)}'
            )
        if isinstance(maps, np.ndarray):
            return np.ascontiguousarray(maps).reshape(len(maps), -1)
        return [np.ascontiguousarray(found).reshape(-1) for found in maps]


def contested(maps: Maps, num_classes: int) -> Contested:
    """Return where maps are not all alike, and what they say there.

    Args:
        maps: Class ids, (N,) uint8 each.

    Raises:
        ValueError: A class id is outside the class table.
    """
    from utils.votes.kernel import WORD, find, mark

    whole = maps[0].size // WORD * WORD
    found = buffer('found', maps[0].size, np.uint8)
    found[:] = 0
    largest = max(mark(maps[0], label_map, found) for label_map in maps)
    if largest >= num_classes:
        raise ValueError(
            f'label_maps holds class id {largest}, but there are only {num_classes} '
            'classes'
        )
    words = buffer('words', whole // WORD + 1, np.int32)
    # Where most are contested, gathering them costs more than it saves.
    most = whole // WORD // 2
    count = find(found[:whole], most, words)
    few = words[:count].copy() if count <= most else None
    return Contested(few, gather_all(maps, few))


def gather_all(maps: Maps, words: np.ndarray | None) -> np.ndarray:
    """Return what maps, (N,) uint8 each, have in some words; see ``Contested``."""
    from utils.votes.kernel import WORD, gather

    if words is None:
        return maps if isinstance(maps, np.ndarray) else np.stack(maps)
    few = np.empty((len(maps), WORD * len(words) + maps[0].size % WORD), np.uint8)
    for values, chosen in zip(maps, few, strict=True):
        gather(values, words, chosen)
    return few


def scatter_all(
    few: np.ndarray, words: np.ndarray, label_map: np.ndarray
) -> np.ndarray:
    """Return class ids and ties of all pixels, (2, N), from those of some words."""
    from utils.votes.kernel import scatter

    out = np.empty((2, label_map.size), np.uint8)
    out[0], out[1] = label_map, 0
    for chosen, values in zip(few, out, strict=True):
        scatter(chosen, words, values)
    return out


def rank_voters(values: np.ndarray) -> np.ndarray:
    """Return whole numbers in the order of values, then of models, the last lowest.

    >>> rank_voters(np.array([[0.5, 0.9], [0.5, 0.1]]))
    array([[3, 4],
           [2, 1]])
    """
    order = np.arange(len(values))[::-1, None] + np.zeros_like(values)
    pairs = np.stack([np.nan_to_num(values), order], axis=-1).reshape(-1, 2)
    ranks = np.unique(pairs, axis=0, return_inverse=True)[1]
    return ranks.reshape(values.shape) + 1
