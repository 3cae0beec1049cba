"""The mean of probabilities, brought to full size row by row, in machine code."""

import numpy as np

from mmsegmentation.compiled import compiled


@compiled
def decide_soft(
    grids: np.ndarray,
    rows: np.ndarray,
    row_shares: np.ndarray,
    columns: np.ndarray,
    column_shares: np.ndarray,
    unit: float,
    label_map: np.ndarray,
    confidence: np.ndarray,
    tied: np.ndarray,
) -> None:
    """Write the class with the largest sum, its share of all sums, and ties.

    All numbers are whole, and none passes 2 ** 53, so every sum is exact.

    Args:
        grids: Weighted sums of probabilities, (grids, classes, h, w) float64, with one
            row and one column more than are there, alike the last.
        rows: The cell above each pixel row, (grids, H) int64.
        row_shares: The share of the next cell, in 1 / ``unit``, (grids, H) float64.
        columns: As ``rows``, (grids, W).
        column_shares: As ``row_shares``, (grids, W).
        label_map: Written, (H, W) uint8.
        confidence: Written, 255 x the winner's share, (H, W) uint8.
        tied: Written, (H, W) uint8: 0 or 1.
    """
    count, classes, _, narrow = grids.shape
    height, width = label_map.shape
    line = np.empty((classes, width))
    cells = np.empty(narrow)
    for y in range(height):
        line[:] = 0
        for grid in range(count):
            top, low = rows[grid, y], row_shares[grid, y]
            for label in range(classes):
                upper, lower = grids[grid, label, top], grids[grid, label, top + 1]
                for i in range(narrow):
                    cells[i] = upper[i] * (unit - low) + lower[i] * low
                for x in range(width):
                    left, right = columns[grid, x], column_shares[grid, x]
                    line[label, x] += (
                        cells[left] * (unit - right) + cells[left + 1] * right
                    )
        _settle_row(line, label_map[y], confidence[y], tied[y])


@compiled
def _settle_row(
    line: np.ndarray, label_map: np.ndarray, confidence: np.ndarray, tied: np.ndarray
) -> None:
    for x in range(line.shape[1]):
        best, total, winner, even = line[0, x], line[0, x], 0, 0
        for label in range(1, len(line)):
            value = line[label, x]
            total += value
            even = 0 if value > best else (1 if value == best else even)
            winner = label if value > best else winner
            best = value if value > best else best
        label_map[x] = winner
        tied[x] = even
        confidence[x] = np.floor(255 * best / total + 0.5) if total > 0 else 0
