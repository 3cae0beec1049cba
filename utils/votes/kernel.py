"""Votes counted in machine code.

Where all models agree there is nothing to count, so the other pixels are gathered
first, by words of eight. They are counted in blocks, a class at a time, so that the
sums of a block stay in the first-level cache and one instruction counts many pixels.
"""

import numpy as np

from mmsegmentation.compiled import compiled

BLOCK = 2048
# Bytes that are looked at together.
WORD = 8
ONES = np.uint64(0x0101010101010101)
# No class has this id: it marks the end of a search.
NONE = 255


@compiled
def mark(one: np.ndarray, two: np.ndarray, found: np.ndarray) -> int:
    """Make ``found`` other than 0 where two maps differ; return the second's largest.

    All are (N,) uint8.
    """
    largest = np.uint8(0)
    for i in range(len(one)):
        label = two[i]
        found[i] = np.uint8(found[i] | (one[i] ^ label))
        largest = max(largest, label)
    return largest


@compiled
def find(found: np.ndarray, most: int, words: np.ndarray) -> int:
    """List the words of ``found`` that are not 0; return how many that are.

    Args:
        found: (N,) uint8, N a multiple of ``WORD``.
        most: The search ends after more.
        words: Written, (N / ``WORD`` + 1,) int32.
    """
    count = 0
    looks = found.view(np.uint64)
    for word in range(len(looks)):
        words[count] = word
        count += looks[word] != 0
        if count > most:
            break
    return count


@compiled
def gather(values: np.ndarray, words: np.ndarray, chosen: np.ndarray) -> None:
    """Write some words of ``values``, and what is no whole word at their end.

    Args:
        values: (N,) uint8.
        words: Which words, int32.
        chosen: Written, (``WORD`` x words + N % ``WORD``,) uint8.
    """
    whole = len(values) // WORD * WORD
    source = values[:whole].view(np.uint64)
    target = chosen[: WORD * len(words)].view(np.uint64)
    for i in range(len(words)):
        target[i] = source[words[i]]
    for i in range(len(values) - whole):
        chosen[WORD * len(words) + i] = values[whole + i]


@compiled
def scatter(chosen: np.ndarray, words: np.ndarray, values: np.ndarray) -> None:
    """Put back what ``gather`` took, or what was made of it."""
    whole = len(values) // WORD * WORD
    source = chosen[: WORD * len(words)].view(np.uint64)
    target = values[:whole].view(np.uint64)
    for i in range(len(words)):
        target[words[i]] = source[i]
    for i in range(len(values) - whole):
        values[whole + i] = chosen[WORD * len(words) + i]


@compiled
def decide(
    maps: np.ndarray,
    confidence: np.ndarray | None,
    weights: np.ndarray,
    ranks: np.ndarray,
    by_confidence: bool,
    spread: int,
    label_map: np.ndarray,
    tied: np.ndarray,
) -> None:
    """Write the class with the largest sum of weights, and where several had it.

    Args:
        maps: Class ids, (models, N) uint8.
        confidence: Of each model in its class, (models, N) uint8, or None.
        weights: By model and class, (models, classes), an unsigned type that holds all
            sums and ranks.
        ranks: What decides a tie, the largest wins, (models, classes) of the same type,
            at least 1. No two models share one.
        by_confidence: A weight is multiplied with the confidence.
        spread: The confidence times this is added to a rank.
        label_map: Written, (N,) uint8.
        tied: Written, (N,) uint8: 0 or 1.
    """
    models, pixels = maps.shape
    work = np.empty((4, BLOCK), weights.dtype)
    for start in range(0, pixels, BLOCK):
        stop = min(start + BLOCK, pixels)
        out, even = label_map[start:stop], tied[start:stop]
        sums, keys = work[0, : stop - start], work[1, : stop - start]
        most, best = work[2, : stop - start], work[3, : stop - start]
        most[:] = 0
        best[:] = 0
        even[:] = 0
        label = np.uint8(0)
        while True:
            label = _lowest(maps, start, stop, label)
            if label == NONE:
                break
            sums[:] = 0
            keys[:] = 0
            for model in range(models):
                votes = maps[model, start:stop]
                weight, rank = weights[model, label], ranks[model, label]
                if confidence is None:
                    _count(votes, label, weight, rank, sums, keys)
                else:
                    sure = confidence[model, start:stop]
                    how = by_confidence, spread
                    _count_sure(votes, sure, label, weight, rank, *how, sums, keys)
            _settle(label, sums, keys, most, best, even, out)
            label = np.uint8(label + 1)


@compiled
def _lowest(maps: np.ndarray, start: int, stop: int, least: int) -> int:
    """Return the lowest id in a block from ``least`` on; ``NONE`` if there is none."""
    found = np.uint8(NONE)
    for model in range(len(maps)):
        votes = maps[model, start:stop]
        for i in range(len(votes)):
            label = votes[i]
            found = min(found, label if label >= least else np.uint8(NONE))
    return found


@compiled
def _count(
    votes: np.ndarray,
    label: int,
    weight: int,
    rank: int,
    sums: np.ndarray,
    keys: np.ndarray,
) -> None:
    nothing = sums.dtype.type(0)
    for i in range(len(votes)):
        hit = votes[i] == label
        sums[i] += weight if hit else nothing
        keys[i] = max(keys[i], rank if hit else nothing)


@compiled
def _count_sure(
    votes: np.ndarray,
    sure: np.ndarray,
    label: int,
    weight: int,
    rank: int,
    by_confidence: bool,
    spread: int,
    sums: np.ndarray,
    keys: np.ndarray,
) -> None:
    kind = sums.dtype.type
    for i in range(len(votes)):
        hit = votes[i] == label
        amount = kind(weight * sure[i]) if by_confidence else weight
        sums[i] += amount if hit else kind(0)
        key = kind(kind(sure[i] * spread) + rank)
        keys[i] = max(keys[i], key if hit else kind(0))


@compiled
def _settle(
    label: int,
    sums: np.ndarray,
    keys: np.ndarray,
    most: np.ndarray,
    best: np.ndarray,
    even: np.ndarray,
    out: np.ndarray,
) -> None:
    """Let a class take the pixels where its sum, or in a tie its key, is larger.

    A key is 0 where nobody voted for the class, so that a sum of 0 may win as well.
    """
    for i in range(len(sums)):
        total, key = sums[i], keys[i]
        old_total, old_key, old_label, tied = most[i], best[i], out[i], even[i]
        more = total > old_total
        equal = (total == old_total) & (key > 0)
        wins = more | (equal & (key > old_key))
        tied = np.uint8(1) if equal & (old_key > 0) else tied
        even[i] = np.uint8(0) if more else tied
        out[i] = label if wins else old_label
        most[i] = total if more else old_total
        best[i] = key if wins else old_key


@compiled
def add_agreeing(
    votes: np.ndarray,
    sure: np.ndarray,
    label_map: np.ndarray,
    weights: np.ndarray,
    sums: np.ndarray,
) -> None:
    """Add a model's confidence, times its weight, where it voted for the outcome.

    Args:
        votes: Its class ids, (N,) uint8.
        sure: Its confidence, (N,) uint8.
        label_map: The outcome, (N,) uint8.
        weights: By class, (classes,) uint32.
        sums: Added to, (N,) uint32.
    """
    weight = weights[0]
    if (weights == weight).all():
        # Without a look-up many pixels are added by one instruction.
        for i in range(len(votes)):
            amount = np.uint32(weight * sure[i])
            sums[i] += amount if votes[i] == label_map[i] else np.uint32(0)
        return
    for i in range(len(votes)):
        if votes[i] == label_map[i]:
            sums[i] += weights[votes[i]] * sure[i]


@compiled
def divide(
    sums: np.ndarray, label_map: np.ndarray, totals: np.ndarray, out: np.ndarray
) -> None:
    """Write sums divided by the total of their class, rounded, (N,) uint8."""
    for i in range(len(sums)):
        total = totals[label_map[i]]
        # Exact: numbers of 32 bits are far from where float64 would round.
        out[i] = np.uint8((sums[i] + np.floor(total / 2)) / total)


@compiled
def count_changed(votes: np.ndarray, label_map: np.ndarray) -> int:
    """Return at how many pixels two maps, (N,) uint8, differ."""
    count = 0
    for start in range(0, len(votes), BLOCK):
        found = np.uint16(0)
        for i in range(start, min(start + BLOCK, len(votes))):
            found = np.uint16(found + np.uint16(votes[i] != label_map[i]))
        count += found
    return count


@compiled
def count_classes(label_map: np.ndarray, counts: np.ndarray) -> None:
    """Add the pixels of each class, (N,) uint8, to (classes,) int64."""
    whole = len(label_map) // WORD * WORD
    words = label_map[:whole].view(np.uint64)
    for place in range(len(words)):
        # Neighbours are mostly of one class.
        label = label_map[WORD * place]
        if words[place] == label * ONES:
            counts[label] += WORD
        else:
            for i in range(WORD * place, WORD * (place + 1)):
                counts[label_map[i]] += 1
    for i in range(whole, len(label_map)):
        counts[label_map[i]] += 1
