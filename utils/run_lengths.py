"""Loops over COCO's compressed run lengths, compiled.

A run is the number of pixels, column by column, until the mask changes; the first is
outside. From the fourth on, the difference to the run two before it is stored: five
bits a character, the lowest first.
"""

import numpy as np

from mmsegmentation.compiled import compiled


@compiled
def paint_runs(counts: np.ndarray, label: int, canvas: np.ndarray) -> None:
    """Set the pixels of one mask to ``label``.

    Args:
        counts: Compressed run lengths, (characters,) uint8; text that breaks off or
            leads out of the canvas is painted as far as it goes.
        label: Class id, 0-255.
        canvas: Class ids column by column, (width * height,) uint8; changed in place.
    """
    at = last = before = 0
    place = number = 0
    while place < len(counts):
        run = shift = 0
        more = True
        while more and place < len(counts):
            code = np.int64(counts[place]) - 48
            place += 1
            run |= (code & 31) << shift
            shift += 5
            more = code & 32 != 0
            if not more and code & 16:
                run -= 1 << shift
        if number > 2:
            run += before
        end = min(max(at + run, at), len(canvas))
        if number % 2:
            canvas[at:end] = label
        at = end
        before, last = last, run
        number += 1


@compiled
def count_ids(label_map: np.ndarray) -> np.ndarray:
    """Return how many pixels have each class id, (256,) int64.

    Args:
        label_map: Class ids, (H, W) uint8.
    """
    # Four counters take turns: in one, a run of equal ids would wait for itself.
    counts = np.zeros((4, 256), np.int64)
    flat = label_map.ravel()
    for i in range(len(flat)):
        counts[i & 3, flat[i]] += 1
    return counts.sum(0)
