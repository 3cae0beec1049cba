"""Near-duplicates: images of the same content, within and across parts."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from utils.data_page.images import ImageFacts
from utils.duplicates import near_duplicates

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
    exact = len({facts[i].look.content for i in members}) == 1
    return Group(exact, members, [p for p in APART if p in parts], low)


def _joined(facts: Sequence[ImageFacts]) -> Iterator[tuple[list[int], float]]:
    """Yield the places of images that look alike, and their lowest correlation."""
    owner, lowest = near_duplicates([image.look for image in facts])
    for number in np.flatnonzero(np.bincount(owner) > 1).tolist():
        yield np.flatnonzero(owner == number).tolist(), float(lowest[number])
