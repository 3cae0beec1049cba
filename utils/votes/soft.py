"""The vote of probabilities that the models kept."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from utils.voting import Vote, whole_weights

# Shares of neighbouring cells are told apart to 1 / UNIT: sums are exact in float64.
UNIT = 1024
# Pixels per side of a block, where its number leaves that open.
SIDE = 4


class Cells(NamedTuple):
    """Which cells of a grid each pixel of a line lies between.

    Attributes:
        first: The cell before it, int64.
        shares: The share of the next one, in 1 / ``UNIT``, float64.
    """

    first: np.ndarray
    shares: np.ndarray


class SoftRule:
    """How the probabilities of several models become one class.

    The class with the largest weighted sum of probabilities wins. Between the middles
    of the blocks of pixels that a probability is the mean of, it is interpolated
    (bilinear). A tie goes to the lower id.

    Args:
        weights: Of each model and class, (models, classes), as for ``whole_weights``.

    Raises:
        ValueError: They are out of range.
    """

    def __init__(self, weights: np.ndarray) -> None:
        self.weights = whole_weights(weights)

    def __call__(
        self, probs: Sequence[np.ndarray], sizes: Sequence[tuple[int, int]]
    ) -> Vote:
        """Return the outcome in the size of the first model's label map.

        Args:
            probs: 255 x the probability of each class, (classes, h, w) uint8 of each
                model.
            sizes: Height and width of each model's label map, in pixels.

        Raises:
            ValueError: Square blocks of no size make ``probs`` of such a label map.
        """
        from utils.votes.soft_kernel import decide_soft

        grids = list(self._sum_alike(probs, sizes).items())
        lines = [
            [
                cells_of(own[i], grid.shape[i + 1], sizes[0][i])
                for (own, _), grid in grids
            ]
            for i in (0, 1)
        ]
        places = [np.stack(part) for axis in lines for part in zip(*axis, strict=True)]
        label_map, confidence, tied = np.empty((3, *sizes[0]), np.uint8)
        padded = _padded([grid for _, grid in grids])
        decide_soft(padded, *places, float(UNIT), label_map, confidence, tied)
        return Vote(label_map, tied.view(bool), confidence)

    def _sum_alike(
        self, probs: Sequence[np.ndarray], sizes: Sequence[tuple[int, int]]
    ) -> dict[tuple, np.ndarray]:
        """Return weighted sums by size of label map and of grid: one for most votes."""
        sums: dict[tuple, np.ndarray] = {}
        for own, size, weights in zip(probs, sizes, self.weights, strict=True):
            weighted = own * weights.astype(np.float64)[:, None, None]
            key = tuple(size), own.shape
            sums[key] = sums[key] + weighted if key in sums else weighted
        return sums


def cells_of(length: int, cells: int, out: int) -> Cells:
    """Return the cells that pixels lie between, along one side.

    Args:
        length: Side of the label map that the cells are blocks of, in pixels.
        cells: How many blocks that makes.
        out: Pixels that come back, over the same extent.

    Raises:
        ValueError: Blocks of no size make so many cells.

    >>> cells_of(8, 2, 8).first.tolist(), cells_of(8, 2, 8).shares.tolist()[:4]
    ([0, 0, 0, 0, 0, 0, 1, 1], [0.0, 0.0, 128.0, 384.0])
    """
    side = SIDE
    if -(-length // side) != cells:
        side = -(-length // max(cells, 1))
    if -(-length // side) != cells:
        raise ValueError(f'{cells} blocks of one size do not make {length} pixels')
    places = (np.arange(out) + 0.5) * length / out / side - 0.5
    places = places.clip(0, cells - 1)
    first = np.floor(places)
    return Cells(first.astype(np.int64), np.rint((places - first) * UNIT))


def _padded(grids: Sequence[np.ndarray]) -> np.ndarray:
    """Return grids in one array, the last row and column once more behind them."""
    height, width = np.max([grid.shape[1:] for grid in grids], axis=0)
    out = np.zeros((len(grids), len(grids[0]), height + 1, width + 1))
    for place, grid in zip(out, grids, strict=True):
        _, h, w = grid.shape
        place[:, : h + 1, : w + 1] = np.pad(grid, ((0, 0), (0, 1), (0, 1)), 'edge')
    return out
