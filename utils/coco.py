"""Reading COCO JSON files, and finding all that is wrong with them."""

import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from mmsegmentation.classes import ALIASES
from mmsegmentation.command import InputError, progress
from mmsegmentation.files import (
    IMAGE_SUFFIXES,
    check_image_id,
    read_json,
)


@dataclass
class Findings:
    """What a check found.

    Attributes:
        errors: Each stops the work: the data cannot be used as it is.
        warnings: Each is dealt with as it says.
    """

    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


class Tally:
    """The number of times that each finding occurs, and its first place."""

    def __init__(self) -> None:
        self._counts: Counter = Counter()
        self._firsts: dict[str, str] = {}

    def add(self, finding: str, image: str, annotation: Mapping | None = None) -> None:
        """Count a finding in an annotation of an image, or in the image itself."""
        self._counts[finding] += 1
        if finding not in self._firsts:
            place = f'annotation {annotation.get("id")} of ' if annotation else ''
            self._firsts[finding] = f'{place}{image}'

    def lines(self) -> Iterator[str]:
        """Yield a line for each finding with its number and its first place."""
        for finding, count in self._counts.items():
            things = finding if count > 1 else finding.replace('s ', ' ', 1)
            first = ' first' * (count > 1)
            yield f'{count} {things} ({self._firsts[finding]}{first})'


@dataclass
class Part:
    """One JSON file.

    Attributes:
        name: ``train``, ``valid`` or ``test``.
        path: The JSON file.
        images: Its images, those that can be used.
        annotations: Its annotations by image id; polygons are arrays there, of
            x, y, x, y, ..., float64.
        labels: Class id of the table by category id.
    """

    name: str
    path: Path
    images: list[dict] = field(default_factory=list)
    annotations: dict[Any, list[dict]] = field(default_factory=dict)
    labels: dict[int, int] = field(default_factory=dict)


def read_part(
    name: str, path: Path, classes: Sequence[str], ids_fixed: bool, found: Findings
) -> Part:
    """Read one JSON file and add what is wrong with it to ``found``.

    Args:
        classes: The class table.
        ids_fixed: Category ids must be those of the table, as in the competition;
            else categories are joined to the table by name alone.
    """
    content = read_json(path)
    part = Part(name, path)
    for key in ('images', 'categories', 'annotations'):
        rows = content.get(key, []) if isinstance(content, dict) else None
        if not isinstance(rows, list) or not all(isinstance(r, dict) for r in rows):
            raise InputError(path, f'{key!r} is no list of objects', 'give COCO JSON')
    if not content.get('images'):
        raise InputError(path, 'names no images', 'give COCO JSON')
    where = path.name
    categories = content.get('categories', [])
    part.labels = _labels(categories, classes, ids_fixed, where, found)
    part.images = _images(content['images'], where, found)
    usable = {row['id'] for row in part.images}
    # Images that were complained of need no second complaint for each of their objects.
    faulty = {repr(row.get('id')) for row in content['images']} - set(map(repr, usable))
    annotations = [
        row
        for row in content.get('annotations', [])
        if repr(row.get('image_id')) not in faulty
    ]
    told = {repr(row.get('id')) for row in categories} - set(map(repr, part.labels))
    _annotations(annotations, part, told, where, found)
    return part


def _labels(
    categories: list[dict],
    classes: Sequence[str],
    ids_fixed: bool,
    where: str,
    found: Findings,
) -> dict[int, int]:
    if ids_fixed and 'UNKNOWN' in (category.get('name') for category in categories):
        found.errors.append(
            f'{where}: the edition of 12 classes with UNKNOWN, whose ids are shifted '
            'by one; use the later edition of 11 classes'
        )
        # Said once: its annotations need no second complaint.
        return {c['id']: 0 for c in categories if isinstance(c.get('id'), int)}
    labels: dict[int, int] = {}
    strangers: list[str] = []
    for category in categories:
        name, number = str(category.get('name')), category.get('id')
        name = ALIASES.get(name, name)
        if name not in classes:
            strangers.append(_describe_stranger(name, number, classes))
        elif not isinstance(number, int) or number in labels:
            found.errors.append(f'{where}: category id {number!r} is not usable')
        elif ids_fixed and number != classes.index(name):
            found.errors.append(
                f'{where}: category {name!r} has id {number}, the table has '
                f'{classes.index(name)}'
            )
        else:
            labels[number] = classes.index(name)
    if strangers:
        way_out = 'pass your own by --classes' if ids_fixed else 'correct --classes'
        found.errors.append(
            f'{where}: unknown category {", ".join(strangers)}; the class table is '
            f'{", ".join(classes)}: {way_out}'
        )
    return labels


def _describe_stranger(name: str, number: Any, classes: Sequence[str]) -> str:
    by_small_letters = {known.lower(): known for known in classes}
    close = get_close_matches(name.lower(), by_small_letters, n=1)
    hint = f', nearest {by_small_letters[close[0]]!r}' if close else ''
    return f'{name!r} (id {number}{hint})'


def _images(rows: list[dict], where: str, found: Findings) -> list[dict]:
    good = []
    ids: Counter = Counter(repr(row.get('id')) for row in rows)
    names = Counter(row['file_name'] for row in rows if not _image_problem(row))
    stems = Counter(name.rsplit('.', 1)[0] for name in names)
    for kind, counts in (('image id', ids), ('file name', names)):
        for value in (v for v, n in counts.items() if n > 1):
            found.errors.append(f'{where}: {kind} {value} comes {counts[value]} times')
    for stem in (s for s, n in stems.items() if n > 1):
        found.errors.append(f'{where}: two images would share the mask {stem}.png')
    for row in rows:
        problem = _image_problem(row)
        if problem:
            found.errors.append(f'{where}: {problem}')
        else:
            good.append(row)
    return good


def _image_problem(row: dict) -> str | None:
    name = row.get('file_name')
    if not isinstance(name, str) or not isinstance(row.get('id'), int | str):
        return f'image {row.get("id")!r} has no usable id and file_name'
    # Control characters and halves of a pair; rare spaces and the like do no harm.
    if any(unicodedata.category(char) in ('Cc', 'Cs') for char in name):
        return f'{name!a}: has characters that cannot be shown'
    try:
        check_image_id(name)
    except InputError as error:
        return str(error)
    if str(PurePosixPath(name)) != name:
        return f'{name}: write it plainly, as {PurePosixPath(name)}'
    if not name.lower().endswith(IMAGE_SUFFIXES):
        return f'{name}: not one of {", ".join(IMAGE_SUFFIXES)}'
    sizes = row.get('width'), row.get('height')
    if not all(type(size) is int and 0 < size <= 1 << 15 for size in sizes):
        return f'{name}: width and height are {sizes}'
    return None


def _annotations(
    rows: list[dict], part: Part, told: set[str], where: str, found: Findings
) -> None:
    # Categories in `told` were complained of: no second complaint.
    images = {row['id']: row for row in part.images}
    part.annotations = {key: [] for key in images}
    bare = dict.fromkeys(images)
    warned, unknown = Tally(), Tally()
    repeated = Counter(repr(row.get('id')) for row in rows if 'id' in row)
    for value in (v for v, n in repeated.items() if n > 1):
        found.errors.append(f'{where}: annotation id {value} comes more than once')
    for row in progress(rows, f'read {where}'):
        key, category = row.get('image_id'), row.get('category_id')
        name = f'{where}: annotation {row.get("id")}'
        if not isinstance(key, int | str) or key not in images:
            found.errors.append(f'{name}: no image with id {key!r}')
            continue
        bare.pop(key, None)
        image = images[key]
        if not isinstance(category, int) or category not in part.labels:
            if repr(category) not in told:
                text = f'annotations with the unknown category id {category!r}'
                unknown.add(text, image['file_name'], row)
            continue
        problem = _read_segmentation(row, image, warned)
        if problem:
            found.errors.append(f'{name}: {problem}')
        else:
            part.annotations[key].append(row)
    for key in bare if part.name != 'test' else ():
        text = 'images without annotation: kept, all background'
        warned.add(text, images[key]['file_name'])
    found.errors += [f'{where}: {line}' for line in unknown.lines()]
    found.warnings += [f'{where}: {line}' for line in warned.lines()]


def _read_segmentation(row: dict, image: Mapping, warned: Tally) -> str | None:
    """Return what is wrong with an annotation; if nothing, make arrays of polygons."""
    shape, area = row.get('segmentation'), row.get('area', 0)
    if not _is_number(area):
        return f'area is {area!r}'
    if isinstance(shape, dict):
        warned.add('objects in run lengths (RLE): painted', image['file_name'], row)
        return _rle_problem(shape, [image['height'], image['width']])
    if not isinstance(shape, list) or not all(isinstance(p, list) for p in shape):
        return 'segmentation is neither polygons nor run lengths'
    if not shape:
        warned.add('objects without an outline: left out', image['file_name'], row)
    outlines = []
    for polygon in shape:
        points = None if len(polygon) % 2 else _numbers(polygon)
        if points is None:
            return 'a polygon is no list of x, y pairs'
        if len(polygon) < 6:
            text = 'polygons of fewer than three points: left out'
            warned.add(text, image['file_name'], row)
        elif _is_outside(points, image):
            text = 'polygons out of bounds: cut at the border'
            warned.add(text, image['file_name'], row)
        outlines.append(points)
    row['segmentation'] = outlines
    return None


def _is_number(value: Any) -> bool:
    # An int of JSON can be too large for a float, which math.isfinite does not bear.
    return type(value) in (int, float) and abs(value) < 1e300


def _numbers(values: list) -> np.ndarray | None:
    """Return ``values`` as float64 if :func:`_is_number` holds for all, else None.

    All at once: a data set's outlines are tens of millions of numbers.
    """
    if not set(map(type, values)) <= {int, float}:
        return None
    try:
        numbers = np.array(values, np.float64)
    except OverflowError:
        return None
    return numbers if np.abs(numbers).max(initial=0) < 1e300 else None


def _is_outside(points: np.ndarray, image: Mapping) -> bool:
    if points.min() >= 0 and points.max() <= min(image['width'], image['height']):
        return False
    xs, ys = points[::2], points[1::2]
    inside = xs.min() >= 0 and xs.max() <= image['width']
    return not (inside and ys.min() >= 0 and ys.max() <= image['height'])


def _rle_problem(rle: dict, size: list[int]) -> str | None:
    counts = rle.get('counts')
    if rle.get('size') != size:
        return f'run lengths of size {rle.get("size")}, the image has {size}'
    if isinstance(counts, list):
        whole = all(type(n) is int and n >= 0 for n in counts)
        if not whole or sum(counts) != size[0] * size[1]:
            return 'run lengths do not add up to the image'
        return None
    return _compressed_problem(counts, size)


def _compressed_problem(counts: Any, size: list[int]) -> str | None:
    if not isinstance(counts, str) or not all('0' <= c <= 'o' for c in counts):
        return 'run lengths are not readable'
    runs = _runs(counts)
    if runs is None:
        return 'run lengths are not readable'
    if min(runs, default=0) < 0 or sum(runs) != size[0] * size[1]:
        return 'run lengths do not add up to the image'
    return None


def _runs(counts: str) -> list[int] | None:
    """Return the run lengths of COCO's compressed form; None if the text breaks off.

    pycocotools trusts them: it would read beyond the text, or write beyond the image.
    """
    runs: list[int] = []
    value = shift = 0
    for char in counts:
        code = ord(char) - 48
        value |= (code & 0x1F) << shift
        shift += 5
        # Seven characters hold the largest image; more overflow pycocotools' integers.
        if shift > 35:
            return None
        if code & 0x20:
            continue
        if code & 0x10:
            value -= 1 << shift
        if len(runs) > 2:
            value += runs[-2]
        runs.append(value)
        value = shift = 0
    return None if shift else runs
