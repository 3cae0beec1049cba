"""Near-duplicates: images of the same content, within and across parts."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from utils.eda_images import ImageFacts

# Of 64 bits of the perceptual hash, so many may differ ...
MAX_DISTANCE = 10
# ... if the small grey images also agree this well (Pearson's correlation) ...
MIN_CORRELATION = 0.97
# ... and have some structure to agree on (standard deviation, of 255): what is as good
# as plain has the same hash as any other plain image.
MIN_CONTRAST = 4.0
# The parts of a data root that must not share an image; pseudo is test's by design.
APART = ('train', 'valid', 'test')


@dataclass(frozen=True)
class Group:
    """Images of the same content.

    Attributes:
        exact: All pixels are equal; else nearly all looks the same.
        members: Places of the images in the list that was searched, ascending.
        parts: Their parts, each once, in the order of ``APART``.
        correlation: Lowest correlation of a pair that was found, in [-1, 1].
    """

    exact: bool
    members: list[int]
    parts: list[str]
    correlation: float

    @property
    def leak(self) -> bool:
        """Whether parts that must be apart share this content."""
        return len(self.parts) > 1


def find_groups(facts: Sequence[ImageFacts]) -> list[Group]:
    """Return groups of images of the same content: leaks first, then by size.

    Images that are cropped, mirrored or turned are other images here.

    Args:
        facts: Images; those of parts outside ``APART`` are left out.
    """
    searched = [i for i, image in enumerate(facts) if image.part in APART]
    groups = [
        _group(facts, [searched[i] for i in members], low)
        for members, low in _joined([facts[i] for i in searched])
    ]
    return sorted(groups, key=lambda g: (not g.leak, -len(g.members), g.members))


def _group(facts: Sequence[ImageFacts], members: list[int], low: float) -> Group:
    parts = {facts[i].part for i in members}
    exact = len({facts[i].content for i in members}) == 1
    return Group(exact, members, [p for p in APART if p in parts], low)


def _joined(facts: Sequence[ImageFacts]) -> Iterator[tuple[list[int], float]]:
    """Yield the places of images that pairs join, and their lowest correlation."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    pairs = np.concatenate([_equal_pairs(facts), _near_pairs(facts)])
    if not len(pairs):
        return
    first, second = pairs[:, :2].astype(int).T
    graph = coo_array((np.ones(len(pairs)), (first, second)), (len(facts),) * 2)
    owner = connected_components(graph, directed=False)[1]
    lowest = np.ones(len(facts))
    np.minimum.at(lowest, owner[first], pairs[:, 2])
    for number in np.unique(owner[first]).tolist():
        yield np.flatnonzero(owner == number).tolist(), float(lowest[number])


def _equal_pairs(facts: Sequence[ImageFacts]) -> np.ndarray:
    first: dict[str, int] = {}
    pairs = [
        (first[image.content], place, 1.0)
        for place, image in enumerate(facts)
        if first.setdefault(image.content, place) != place
    ]
    return np.array(pairs, np.float64).reshape(-1, 3)


def _near_pairs(facts: Sequence[ImageFacts], rows: int = 512) -> np.ndarray:
    """Return pairs (first, second, correlation) whose hash and grey image agree."""
    if not facts:
        return np.empty((0, 3))
    hashes = np.array([image.phash for image in facts], np.uint64)
    grey = np.stack([image.grey.ravel() for image in facts])
    grey = grey - grey.mean(1, keepdims=True)
    contrast = grey.std(1)
    grey /= np.linalg.norm(grey, axis=1, keepdims=True).clip(1e-6)
    structured = contrast >= MIN_CONTRAST
    found = []
    for start in range(0, len(facts), rows):
        block = slice(start, start + rows)
        distance = np.bitwise_count(hashes[block, None] ^ hashes[None])
        correlation = grey[block] @ grey.T
        near = (distance <= MAX_DISTANCE) & (correlation >= MIN_CORRELATION)
        near &= structured[block, None] & structured
        first, second = np.nonzero(np.triu(near, start + 1))
        found.append(
            np.stack([first + start, second, correlation[first, second]], axis=1)
        )
    return np.concatenate(found)
