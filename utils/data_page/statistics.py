"""Numbers of a data root's parts, from what was measured on each image."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from utils.data_page.images import CELLS, ImageFacts, list_problem

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
# Objects are counted as the JSON has them, or as connected pieces of the masks.
ANNOTATIONS, COMPONENTS = 'annotations', 'components'
# Parts with labels that people drew; pseudo has a model's.
DRAWN = ('train', 'valid', 'test')


@dataclass
class PartStatistics:
    """Sums over the images of one part, or of several joined.

    Attributes:
        name: The part.
        num_classes: Length of the class table.
        images: How many images were read.
        labelled: How many of them have a usable mask.
        pixels: Pixels per class id, (classes,) int64.
        ignored: Pixels of 255.
        images_by_class: Images that hold at least one pixel of the class.
        together: Images that hold both classes, (classes, classes) int64.
        objects: Class id and area of each connected piece.
        objects_by_image: Pieces in each labelled image.
        classes_by_image: Classes but the background in each labelled image.
        annotated: Objects per class id as in the source JSON; None if unknown.
        sizes: Images by (width, height).
        brightness: Mean luma of each image.
        sums: Sums of the channels and of their squares, RGB, (2, 3).
        area: Pixels of all images.
        places: Sum over images of the share of each cell that a class covers.
    """

    name: str
    num_classes: int
    images: int = 0
    labelled: int = 0
    ignored: int = 0
    area: int = 0
    annotated: np.ndarray | None = None
    pixels: np.ndarray = field(init=False)
    images_by_class: np.ndarray = field(init=False)
    together: np.ndarray = field(init=False)
    places: np.ndarray = field(init=False)
    objects: list[np.ndarray] = field(default_factory=list)
    objects_by_image: list[int] = field(default_factory=list)
    classes_by_image: list[int] = field(default_factory=list)
    sizes: Counter = field(default_factory=Counter)
    brightness: list[float] = field(default_factory=list)
    sums: np.ndarray = field(default_factory=lambda: np.zeros((2, 3)))

    def __post_init__(self) -> None:
        count = self.num_classes
        self.pixels = np.zeros(count, np.int64)
        self.images_by_class = np.zeros(count, np.int64)
        self.together = np.zeros((count, count), np.int64)
        self.places = np.zeros((count, CELLS, CELLS))

    def add(self, facts: ImageFacts) -> None:
        """Add one image."""
        self.images += 1
        self.sizes[facts.size] += 1
        self.brightness.append(facts.brightness)
        self.sums += facts.sums
        self.area += facts.size[0] * facts.size[1]
        labels = facts.labels
        if labels is None:
            return
        self.labelled += 1
        self.pixels += labels.pixels
        self.ignored += labels.ignored
        self.objects.append(labels.objects)
        self.objects_by_image.append(len(labels.objects))
        held = labels.pixels > 0
        self.classes_by_image.append(int(held[1:].sum()))
        self.images_by_class += held
        self.together += np.outer(held, held)
        self.places[labels.ids] += labels.places

    @property
    def object_table(self) -> np.ndarray:
        """Class id and area of each connected piece, (pieces, 2) int64."""
        return np.concatenate([np.empty((0, 2), np.int64), *self.objects])

    @property
    def components(self) -> np.ndarray:
        """Connected pieces per class id, (classes,) int64."""
        return np.bincount(self.object_table[:, 0], minlength=self.num_classes)

    @property
    def object_counts(self) -> np.ndarray:
        """Objects per class id, as ``counted`` says."""
        return self.components if self.annotated is None else self.annotated

    @property
    def counted(self) -> str:
        """What an object is: ``ANNOTATIONS`` or ``COMPONENTS``."""
        return COMPONENTS if self.annotated is None else ANNOTATIONS

    @property
    def channels(self) -> dict[str, list[float]]:
        """Mean and standard deviation of each channel over all pixels, RGB, 0-255."""
        mean, square = self.sums / max(self.area, 1)
        std = np.sqrt((square - mean**2).clip(0))
        return {
            'mean': mean.round(3).tolist(),
            'std': std.round(3).tolist(),
        }

    def shares(self, values: np.ndarray) -> np.ndarray:
        """Return ``values`` per class as shares of their sum, in [0, 1]."""
        return values / max(values.sum(), 1)


def join(
    name: str, parts: Iterable[PartStatistics], num_classes: int
) -> PartStatistics:
    """Return the sums over several parts.

    Objects are annotations if that is what every part with labels counts.
    """
    joined = PartStatistics(name, num_classes)
    known: list[np.ndarray | None] = []
    for part in parts:
        for key in ('images', 'labelled', 'ignored', 'area', 'pixels', 'sums'):
            setattr(joined, key, getattr(joined, key) + getattr(part, key))
        for key in ('images_by_class', 'together', 'places'):
            setattr(joined, key, getattr(joined, key) + getattr(part, key))
        for key in ('objects', 'objects_by_image', 'classes_by_image', 'brightness'):
            getattr(joined, key).extend(getattr(part, key))
        joined.sizes.update(part.sizes)
        if part.labelled:
            known.append(part.annotated)
    annotated = [counts for counts in known if counts is not None]
    if annotated and len(annotated) == len(known):
        joined.annotated = np.sum(annotated, axis=0)
    return joined


def use_annotations(
    part: PartStatistics, dataset: Mapping, classes: Sequence[str]
) -> list[str]:
    """Take the objects that ``dataset.json`` counted, if it speaks of these masks.

    Returns:
        What is wrong: its pixels are not those of the masks.
    """
    try:
        described = dataset['parts'][part.name]
        pixels = [described['pixels_by_class'][name] for name in classes]
        objects = np.array([described['objects_by_class'][name] for name in classes])
    except (KeyError, TypeError):
        return []
    if not part.labelled:
        return []
    differing = [
        name
        for name, told, found in zip(classes, pixels, part.pixels, strict=True)
        if told != found
    ]
    if not differing:
        part.annotated = objects.astype(np.int64)
        return []
    what = (
        'classes whose pixels in the masks are not those of dataset.json, so objects '
        'are counted in the masks'
    )
    return list_problem(part.name, what, differing)


def describe_part(part: PartStatistics, classes: Sequence[str]) -> dict[str, Any]:
    """Return what ``eda.json`` says of a part."""
    described: dict[str, Any] = {
        'images': part.images,
        'labelled': part.labelled,
        'pixels': int(part.pixels.sum()),
        'ignored': part.ignored,
        'objects_counted': part.counted if part.labelled else None,
        'classes': describe_classes(part, classes),
        'sizes': [
            {'width': width, 'height': height, 'images': count}
            for (width, height), count in part.sizes.most_common()
        ],
        'channels': part.channels if part.images else None,
        'brightness': quantiles(part.brightness),
        'objects_per_image': quantiles(part.objects_by_image),
        'classes_per_image': quantiles(part.classes_by_image),
    }
    if part.labelled:
        described['images_with_both_classes'] = part.together.tolist()
    return described


def describe_classes(part: PartStatistics, classes: Sequence[str]) -> list[dict]:
    """Return one row per class; none where nothing is labelled."""
    if not part.labelled:
        return []
    areas = part.object_table
    foreground = part.pixels.copy()
    foreground[0] = 0
    shares, without = part.shares(part.pixels), part.shares(foreground)
    components, objects = part.components, part.object_counts
    return [
        {
            'id': number,
            'name': name,
            'images': int(part.images_by_class[number]),
            'objects': int(objects[number]),
            'components': int(components[number]),
            'pixels': int(part.pixels[number]),
            'share': float(shares[number]),
            'share_without_background': float(without[number]) if number else None,
            'component_area': quantiles(areas[areas[:, 0] == number, 1]),
        }
        for number, name in enumerate(classes)
    ]


def quantiles(values: Sequence[float] | np.ndarray) -> dict[str, float] | None:
    """Return mean, least, greatest and some quantiles; None of nothing.

    >>> quantiles([1, 2, 3])['q50']
    2.0
    """
    numbers = np.asarray(values, np.float64)
    if not numbers.size:
        return None
    between = np.quantile(numbers, QUANTILES).tolist()
    found = {
        f'q{round(100 * q):02}': v for q, v in zip(QUANTILES, between, strict=True)
    }
    return {
        'mean': float(numbers.mean()),
        'min': float(numbers.min()),
        'max': float(numbers.max()),
        **found,
    }


def position_maps(part: PartStatistics) -> np.ndarray:
    """Return where each class lies: the mean share of a cell that it covers.

    Returns:
        Over the images that hold the class, in [0, 1], (classes, CELLS, CELLS); nan
        for a class that occurs nowhere.
    """
    count = part.images_by_class[:, None, None].astype(np.float64)
    empty = np.full(part.places.shape, np.nan)
    return np.divide(part.places, count, out=empty, where=count > 0)


def rarest(part: PartStatistics, most: int = 4) -> list[int]:
    """Return the ids of the rarest classes that occur, fewest pixels first.

    The background is none of them. At most half of the classes are rare.
    """
    held = [i for i in range(1, part.num_classes) if part.pixels[i]]
    held.sort(key=lambda i: part.pixels[i])
    return held[: min(most, (len(held) + 1) // 2)]


def find_gaps(parts: Mapping[str, PartStatistics], classes: Sequence[str]) -> list[str]:
    """Return what the split of the classes over the parts makes impossible."""
    train, valid = parts.get('train'), parts.get('valid')
    known = [part for part in (train, valid) if part and part.labelled]
    absent: dict[str, list[str]] = {}
    for number, name in enumerate(classes):
        held = [part.name for part in known if part.pixels[number]]
        if known and not held:
            absent.setdefault('no labelled pixel', []).append(name)
        elif len(known) == 2 and held == ['train']:
            absent.setdefault('not in valid: no IoU there', []).append(name)
        elif len(known) == 2 and held == ['valid']:
            absent.setdefault('not in train: cannot be learned', []).append(name)
    return [f'{", ".join(names)}: {what}' for what, names in absent.items()]
