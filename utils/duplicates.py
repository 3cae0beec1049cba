"""Photographs that look alike: taken twice, saved anew, or two frames of one film."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from mmsegmentation.command import progress
from utils.folds.groups import join_groups

# Pixels along each side of the small grey image that is compared.
GREY = 32
# Of 64 bits of the perceptual hash, so many may differ, if the grey images also agree
# this well (Pearson's correlation), and have some structure to agree on (standard
# deviation, of 255): all plain surfaces have one hash.
MAX_DISTANCE = 10
MIN_CORRELATION = 0.97
MIN_CONTRAST = 4.0


@dataclass(frozen=True)
class Look:
    """What a photograph is recognised by.

    Attributes:
        content: SHA-256 of size and pixels.
        phash: Perceptual hash, 64 bits.
        grey: The photograph in grey, (GREY, GREY) float32, 0-255.
    """

    content: str
    phash: int
    grey: np.ndarray


def look_at(pixels: np.ndarray) -> Look:
    """Return what a photograph, (H, W, 3) uint8, is recognised by."""
    import cv2
    from imagehash import phash
    from PIL import Image

    shrunk = cv2.resize(pixels, (2 * GREY, 2 * GREY), interpolation=cv2.INTER_AREA)
    small = Image.fromarray(shrunk).convert('L')
    return Look(
        content_of(pixels),
        int(str(phash(small)), 16),
        np.asarray(small, np.float32).reshape(GREY, 2, GREY, 2).mean((1, 3)),
    )


def content_of(pixels: np.ndarray) -> str:
    """Return the SHA-256 of an image's size and pixels, however it was saved."""
    return hashlib.sha256(f'{pixels.shape}'.encode() + pixels.tobytes()).hexdigest()


def near_duplicates(looks: Sequence[Look]) -> tuple[np.ndarray, np.ndarray]:
    """Return groups of photographs that look alike or are the same.

    A chain of look-alikes is one group. Cropped, mirrored or turned ones are other
    photographs. Of equal ones, each is compared with the first. Where a camera stands
    still all may look alike: pairs are joined as they are found, and none is kept.

    Returns:
        The group of each, (looks,) int, from 0 on; and of each group the lowest
        Pearson's correlation in grey of two that were compared, (groups,), 1 for
        equal ones and for one alone.
    """
    groups = np.arange(len(looks))
    lowest = np.ones(len(looks))
    for found in chain([_equal_pairs(looks)], _near_pairs(looks)):
        pairs = groups[found[:, :2].astype(np.int64)]
        joined = join_groups(len(lowest), pairs)
        before, lowest = lowest, np.ones(int(joined.max(initial=-1)) + 1)
        np.minimum.at(lowest, joined, before)
        np.minimum.at(lowest, joined[pairs[:, 0]], found[:, 2])
        groups = joined[groups]
    return groups, lowest


def _equal_pairs(looks: Sequence[Look]) -> np.ndarray:
    first: dict[str, int] = {}
    pairs = [
        (first[look.content], place, 1.0)
        for place, look in enumerate(looks)
        if first.setdefault(look.content, place) != place
    ]
    return np.array(pairs, np.float64).reshape(-1, 3)


def first_alike(
    looks: Sequence[Look], among: Sequence[Look], min_correlation: float
) -> list[int | None]:
    """Return for each photograph the first of ``among`` that is the same or alike.

    Args:
        min_correlation: Least Pearson's correlation in grey of two that are alike.
    """
    equal = {look.content: place for place, look in reversed([*enumerate(among)])}
    found = [equal.get(look.content) for look in looks]
    ours, theirs = _Compared.of(looks), _Compared.of(among)
    for first, second, _ in ours.near(theirs, min_correlation):
        for place, other in zip(first.tolist(), second.tolist(), strict=True):
            if found[place] is None:
                found[place] = other
    return found


def _near_pairs(looks: Sequence[Look]) -> Iterator[np.ndarray]:
    """Yield rows (first, second, correlation) whose hash and grey image agree."""
    compared = _Compared.of(looks)
    for first, second, correlation in compared.near(compared, MIN_CORRELATION):
        once = first < second
        yield np.stack([first, second, correlation], axis=1)[once]


@dataclass(frozen=True)
class _Compared:
    """Photographs, ready to be compared.

    Attributes:
        hashes: Perceptual hashes, (looks,) uint64.
        grey: Grey images of mean 0 and length 1, (looks, GREY * GREY) float32.
        structured: Whether each has anything to agree on, (looks,) bool.
    """

    hashes: np.ndarray
    grey: np.ndarray
    structured: np.ndarray

    @classmethod
    def of(cls, looks: Sequence[Look]) -> '_Compared':
        hashes = np.array([look.phash for look in looks], np.uint64)
        grey = np.array([look.grey.ravel() for look in looks]).reshape(-1, GREY * GREY)
        grey = grey - grey.mean(1, keepdims=True)
        structured = grey.std(1) >= MIN_CONTRAST
        grey /= np.linalg.norm(grey, axis=1, keepdims=True).clip(1e-6)
        return cls(hashes, grey, structured)

    def near(
        self, others: '_Compared', min_correlation: float, rows: int = 128
    ) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Yield ours, theirs and correlation of those that agree, by blocks."""
        for start in progress(range(0, len(self.hashes), rows), 'compare'):
            block = slice(start, start + rows)
            distance = np.bitwise_count(self.hashes[block, None] ^ others.hashes[None])
            correlation = self.grey[block] @ others.grey.T
            near = (distance <= MAX_DISTANCE) & (correlation >= min_correlation)
            near &= self.structured[block, None] & others.structured
            first, second = np.nonzero(near)
            yield first + start, second, correlation[first, second]
