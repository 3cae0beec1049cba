"""Which images of a data set a mixing transform takes its partners from."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from mmengine.dataset import ConcatDataset, RepeatDataset

from mmsegmentation.parts import is_pseudo

KINDS = 'all', 'real', 'pseudo'


@dataclass(frozen=True)
class Donors:
    """Images to draw from.

    Attributes:
        indices: Their indices in the data set, (images,) int64.
        ends: Where the share of each ends on the line from 0 to 1, (images,).
    """

    indices: np.ndarray
    ends: np.ndarray

    def draw(self) -> int:
        """Return the index of one, by chance, from NumPy's global generator."""
        place = np.searchsorted(self.ends, np.random.random(), side='right')
        return int(self.indices[place])


# Of each data set by what was asked for. It ends with the data set.
_FOUND: WeakKeyDictionary[Any, dict[tuple[str, float], Donors]] = WeakKeyDictionary()


def find_donors(dataset: Any, kind: str, prefer_rare: float) -> Donors:
    """Return the images of a data set that may give pixels; found once, and kept.

    Args:
        dataset: A ``RecycleDataset``, or several, joined or repeated.
        kind: ``'all'``, ``'real'`` or ``'pseudo'``: whose labels a person drew, or a
            model made.
        prefer_rare: How much rare classes count, in [0, 1]; see :func:`chances`.

    Raises:
        ValueError: There is no such image, or no telling which images there are.
    """
    found = _FOUND.setdefault(dataset, {})
    if (kind, prefer_rare) not in found:
        found[kind, prefer_rare] = _find(dataset, kind, prefer_rare)
    return found[kind, prefer_rare]


def _find(dataset: Any, kind: str, prefer_rare: float) -> Donors:
    parts = [
        (start, leaf)
        for start, leaf in _leaves(dataset)
        if kind == 'all' or (kind == 'pseudo') == _is_pseudo(leaf)
    ]
    if not parts:
        raise ValueError(f'donors={kind!r}, but the data set holds no such image')
    indices = np.concatenate([np.arange(len(leaf)) + start for start, leaf in parts])
    shares = np.full(len(indices), 1 / len(indices))
    if prefer_rare:
        pixels = np.concatenate([_pixels_of(leaf) for _, leaf in parts])
        shares = (1 - prefer_rare) * shares + prefer_rare * chances(pixels)
    ends = np.cumsum(shares)
    return Donors(indices, ends / ends[-1])


def class_pixels(dataset: Any) -> np.ndarray:
    """Return the labelled pixels of each class in each image, (images, classes) int64.

    Args:
        dataset: As of :func:`find_donors`; an image counts once, however often a pass
            has it.

    Raises:
        ValueError: There is no telling which images there are.
    """
    return np.concatenate([_pixels_of(leaf) for _, leaf in _leaves(dataset)])


def _leaves(dataset: Any, start: int = 0, outermost: bool = True) -> Iterator[tuple]:
    """Yield the parts that a data set is made of, and the index of their first image.

    Raises:
        ValueError: A wrapper is unknown, or mixes within another one.
    """
    starts = getattr(dataset, 'image_starts', None)
    if isinstance(dataset, ConcatDataset) and (starts is None or outermost):
        starts = starts or [start, *(start + n for n in dataset.cumulative_sizes[:-1])]
        for first, part in zip(starts, dataset.datasets, strict=True):
            yield from _leaves(part, first, outermost=False)
    elif isinstance(dataset, RepeatDataset):
        yield from _leaves(dataset.dataset, start, outermost=False)
    elif hasattr(dataset, 'datasets') or hasattr(dataset, 'dataset'):
        raise ValueError(
            f'images cannot be told apart in a {type(dataset).__name__}: join the data '
            'sets by a ConcatDataset, or an outermost MixedDataset'
        )
    else:
        yield start, dataset


def _is_pseudo(leaf: Any) -> bool:
    folder = Path((getattr(leaf, 'data_prefix', None) or {}).get('img_path') or '')
    root = Path(getattr(leaf, 'data_root', None) or '')
    inside = folder.relative_to(root) if folder.is_relative_to(root) else folder
    return any(map(is_pseudo, inside.parts[:1]))


def _pixels_of(leaf: Any) -> np.ndarray:
    if not hasattr(leaf, 'class_pixels'):
        raise ValueError(
            'telling rare classes needs a RecycleDataset, which counts the pixels of '
            f'each class in each image, got {type(leaf).__name__}'
        )
    return leaf.class_pixels()


def chances(pixels: np.ndarray) -> np.ndarray:
    """Return the chance of each image: a class is drawn, then an image by its pixels.

    Each class of objects has the same chance, however rare; of the images that hold it,
    each is drawn by its share of the pixels of this class. So image i has the chance
    ``mean over classes c of pixels[i, c] / sum over images of pixels[:, c]``.
    Background (class 0) and classes that do not occur do not count; where there is no
    object at all, all images have the same chance.

    Args:
        pixels: Labelled pixels, (images, classes).

    >>> chances(np.array([[9, 4, 1], [9, 4, 0], [9, 0, 0]])).tolist()
    [0.75, 0.25, 0.0]
    """
    objects = pixels[:, 1:].astype(np.float64)
    objects = objects[:, objects.any(0)]
    if not objects.size:
        return np.full(len(pixels), 1 / max(len(pixels), 1))
    return (objects / objects.sum(0)).mean(1)
