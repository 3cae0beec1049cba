"""Passes over the data in which images of rare classes come more often."""

from collections import Counter
from typing import Any

import numpy as np
from mmseg.datasets import MultiImageMixDataset

from mmsegmentation.datasets import MixedDataset
from mmsegmentation.datasets.draw import Draw
from mmsegmentation.datasets.transforms.donors import Donors, find_donors


def find_images(dataset: Any, prefer_rare: float) -> Donors:
    """Return the images of a data set and their chances.

    Args:
        dataset: A ``RecycleDataset``, or several, joined, repeated or mixed.
        prefer_rare: As of :func:`mmsegmentation.datasets.transforms.donors.chances`,
            the part that goes by it; the rest is the same for all images.

    Raises:
        ValueError: ``prefer_rare`` is outside [0, 1], or the images cannot be told.
    """
    if not 0 <= prefer_rare <= 1:
        raise ValueError(f'prefer_rare must be in [0, 1], got {prefer_rare}')
    if isinstance(dataset, MultiImageMixDataset):
        dataset = dataset.dataset
    if isinstance(dataset, MixedDataset):
        raise ValueError(
            'a MixedDataset draws by its own ratio: join the data sets by a '
            'ConcatDataset, or leave out the sampler of rare classes'
        )
    return find_donors(dataset, 'all', prefer_rare)


def draw_pass(
    images: Donors, size: int, turn: int, seed: int, shuffle: bool
) -> list[Draw]:
    """Return a pass of ``size`` draws, which follows from ``turn`` and ``seed``.

    An image with the chance p comes ``p * size`` times, rounded up or down: the places
    lie at equal distances on the line of all chances, from a random start on (Madow,
    1949). One that comes again in the same pass gets a chance of its own.
    """
    rng = np.random.default_rng((seed, turn))
    places = (np.arange(size) + rng.random()) / size
    order = images.indices[np.searchsorted(images.ends, places, side='right')]
    if shuffle:
        rng.shuffle(order)
    seen: Counter[int] = Counter()
    draws = []
    for index in order.tolist():
        draws.append(Draw(index, turn * size + seen[index], seed))
        seen[index] += 1
    return draws
