"""Which group of images goes to which fold: greedy by rarest class, then a search."""

from dataclasses import dataclass

import numpy as np

from mmsegmentation.command import progress

# Exchanges tried for one group, at most; with many classes fewer.
TRIED = 300
# Groups looked at in all. Small sets are searched several times: they end in worse
# places, each time in others.
LOOKS = 10_000
# No gain in balance is worth a fold of the wrong size.
SIZE_COST = 1e6


@dataclass(frozen=True)
class Groups:
    """Images that must stay together, counted.

    Attributes:
        pixels: Labelled pixels by group and class, (groups, classes) int64.
        images: Images that show a class, (groups, classes) int64.
        sizes: Images, (groups,) int64.
    """

    pixels: np.ndarray
    images: np.ndarray
    sizes: np.ndarray


def deviations(pixels: np.ndarray, folds: np.ndarray, count: int) -> np.ndarray:
    """Return by how much each class's share of a fold's pixels differs from the whole.

    Args:
        pixels: Pixels by image (or group) and class, (N, classes).
        folds: Fold of each, (N,), in [0, count).

    Returns:
        Share in the fold less share in the whole, (count, classes) float64, in
        [-1, 1]. A fold without a labelled pixel has shares of 0.

    >>> pixels = np.array([[3, 1], [2, 2], [4, 0]])
    >>> deviations(pixels, np.array([0, 0, 1]), 2).round(3)
    array([[-0.125,  0.125],
           [ 0.25 , -0.25 ]])
    """
    sums = np.stack([pixels[folds == fold].sum(0) for fold in range(count)])
    total = pixels.sum(0)
    return sums / np.maximum(sums.sum(1, keepdims=True), 1) - total / total.sum()


def random_folds(sizes: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Return a random fold for each group, (groups,) int64.

    In a random order, each goes to the fold with the fewest images.
    """
    folds = np.zeros(len(sizes), np.int64)
    filled = rng.random(count) / 2  # a random one of the folds that are equally full
    for group in rng.permutation(len(sizes)):
        folds[group] = filled.argmin()
        filled[folds[group]] += sizes[group]
    return folds


def search_folds(groups: Groups, count: int, seed: int) -> np.ndarray:
    """Return the fold of each group, (groups,) int64 in [0, count).

    Balanced are, in every fold, each class's share of the pixels and the number of
    images that show it. The number of images differs from a ``count``-th by at most
    that of a usual (median) group, unless larger groups allow no such folds. No fold
    is empty.

    Args:
        count: Folds, at most as many as groups.
        seed: The same seed gives the same folds.
    """
    rng = np.random.default_rng(seed)
    rounds = max(1, LOOKS // len(groups.sizes))
    descents = min(8, -(-rounds // 10))
    rounds = min(10, rounds // descents)
    best, lowest = np.zeros(len(groups.sizes), np.int64), np.inf
    turns = [turn for _ in range(descents) for turn in range(rounds)]
    for turn in progress(turns, 'balance'):
        if turn == 0:
            search, moved = _Search(groups, count, rng), True
        moved = moved and search.improve()
        if search.cost < lowest:
            best, lowest = search.folds, search.cost
    return best


def _greedy_folds(groups: Groups, count: int, rng: np.random.Generator) -> np.ndarray:
    """Give each group, rarest class first, to the fold that lacks that class most."""
    rarity = np.maximum((groups.images > 0).sum(0), 1)
    rarest = np.where(groups.images > 0, rarity, rarity.max() + 1).argmin(1)
    pixels = groups.pixels[np.arange(len(rarest)), rarest]
    # Largest first: a large group finds no room late.
    order = np.lexsort(
        (rng.random(len(rarest)), -pixels, rarity[rarest], -groups.sizes)
    )
    folds = np.zeros(len(rarest), np.int64)
    have = np.zeros((count, groups.pixels.shape[1]))
    filled = np.zeros(count)
    room = -(-groups.sizes.sum() // count)
    for group in order:
        full = filled + groups.sizes[group] > room
        if full.all():
            full = filled > filled.min()
        fold = np.lexsort((filled, np.where(full, np.inf, have[:, rarest[group]])))[0]
        folds[group] = fold
        filled[fold] += groups.sizes[group]
        have[fold] += groups.pixels[group]
    return folds


class _Search:
    """Exchanges groups between folds while that balances them better.

    Attributes:
        cost: Of the present folds.
    """

    def __init__(self, groups: Groups, count: int, rng: np.random.Generator) -> None:
        self.rng = rng
        self.rows = len(groups.sizes)
        # One empty group a fold: an exchange for it moves a group.
        counts = _counts(groups)
        self.counts = np.hstack([counts, np.zeros((len(counts), count))])
        folds = _greedy_folds(groups, count, rng)
        self.where = np.concatenate([folds, np.arange(count)])
        self.sums = _sum_by_fold(counts, folds, count)
        self.measure = _Measure(groups, count, rng)
        self.cost = self.measure.total(self.sums)

    @property
    def folds(self) -> np.ndarray:
        return self.where[: self.rows].copy()

    def improve(self) -> bool:
        """Make, for each group once, the exchange that lowers the cost most.

        Returns:
            Whether there was one.
        """
        before = self.cost
        for group in self.rng.permutation(self.rows):
            self._exchange(group)
        return self.cost < before

    def _exchange(self, group: int) -> None:
        home = self.where[group]
        others = np.flatnonzero(self.where != home)
        if np.count_nonzero(self.where[: self.rows] == home) == 1:
            # Alone in its fold it is only exchanged: a fold must not become empty.
            others = others[others < self.rows]
        tried = max(50, TRIED * 25 // len(self.counts))
        if len(others) > tried:
            others = self.rng.choice(others, tried, replace=False)
        change = self.counts[:, others] - self.counts[:, group, None]
        costs = self.measure.exchanged(self.sums, home, self.where[others], change)
        best = costs.argmin()
        # A gain of rounding alone would go round in circles.
        if not costs[best] < self.cost * (1 - 1e-9):
            return
        other, away = others[best], self.where[others[best]]
        self.sums[:, home] += change[:, best]
        self.sums[:, away] -= change[:, best]
        self.where[group] = away
        if other < self.rows:
            self.where[other] = home
        self.cost = float(costs[best])


def _counts(groups: Groups) -> np.ndarray:
    """Return pixels by class, images by class, and size, (counts, groups) float64."""
    rows = np.hstack([groups.pixels, groups.images, groups.sizes[:, None]])
    return np.ascontiguousarray(rows.T, np.float64)


def _sum_by_fold(counts: np.ndarray, folds: np.ndarray, count: int) -> np.ndarray:
    return np.stack([counts[:, folds == fold].sum(1) for fold in range(count)], 1)


class _Measure:
    """The cost of folds: how unlike the whole they are.

    Six parts, each in units of its mean over random folds: of the classes' pixel
    shares the largest absolute deviation, the largest relative one of classes with
    an image for each fold, that of all classes, and the sum of their squares; of the
    images by class the sum of squares; and the images by which a fold is too large
    or too small.
    """

    def __init__(self, groups: Groups, count: int, rng: np.random.Generator) -> None:
        total = groups.pixels.sum(0)
        self.pixels = np.flatnonzero(total)
        self.images = self.pixels + len(total)
        self.share = (total[self.pixels] / total.sum())[:, None]
        self.expected = groups.images.sum(0)[self.pixels, None] / count
        # One image cannot be in all folds.
        images = (groups.images > 0).sum(0)[self.pixels, None]
        self.common = images >= min(count, images.max())
        self.size = groups.sizes.sum() / count
        self.slack = np.median(groups.sizes)
        counts = _counts(groups)
        found = []
        for _ in range(20):
            folds = random_folds(groups.sizes, count, rng)
            found.append(_join(self._by_fold(_sum_by_fold(counts, folds, count))))
        self.unit = np.stack(found).mean(0)
        self.unit[self.unit == 0] = 1
        self.unit[-1] = 1 / SIZE_COST

    def total(self, sums: np.ndarray) -> float:
        """Return the cost of folds with these counts, (counts, folds)."""
        return float((_join(self._by_fold(sums)) / self.unit).sum())

    def exchanged(
        self, sums: np.ndarray, home: int, away: np.ndarray, change: np.ndarray
    ) -> np.ndarray:
        """Return the cost after each of many exchanges, (exchanges,).

        Args:
            sums: Counts by fold, (counts, folds).
            home: The fold that every exchange changes.
            away: The other fold of each, (exchanges,).
            change: What ``home`` gains and ``away`` loses, (counts, exchanges).
        """
        now = self._by_fold(sums)
        rest = np.zeros_like(now)
        for fold in set(range(now.shape[1])) - {home}:
            others = np.delete(now, [home, fold], axis=1)
            if others.size:
                rest[:, fold] = _join(others)
        new_home = self._by_fold(sums[:, home, None] + change)
        new_away = self._by_fold(sums[:, away] - change)
        parts = _join(np.stack([rest[:, away], new_home, new_away], 1))
        return (parts / self.unit[:, None]).sum(0)

    def _by_fold(self, sums: np.ndarray) -> np.ndarray:
        """Return the six parts of each column of counts, (6, columns)."""
        pixels = sums[self.pixels]
        share = pixels / np.maximum(pixels.sum(0), 1)
        off = np.abs(share - self.share)
        relative = off / self.share
        images = sums[self.images] / self.expected - 1
        return np.stack(
            [
                off.max(0),
                (relative * self.common).max(0),
                relative.max(0),
                (relative**2).sum(0),
                (images**2).sum(0),
                np.maximum(np.abs(sums[-1] - self.size) - self.slack, 0),
            ]
        )


def _join(parts: np.ndarray) -> np.ndarray:
    """Join folds, the second axis: three maxima, then three sums."""
    return np.concatenate([parts[:3].max(1), parts[3:].sum(1)])
