"""Where two submissions disagree: class by class, and image by image."""

import heapq
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mmsegmentation.command import InputError
from mmsegmentation.files import mask_name, sha256_of, write_json
from mmsegmentation.scores import confusion_matrix, iou_of
from utils.submission_csv import read_rows
from utils.submission_pictures import LEGEND, draw_legend, save_picture, set_beside
from utils.tables import write_csv

MARKER = 'diff.json'


@dataclass
class Difference:
    """How far two submissions are apart.

    Attributes:
        counts: Pixels by class in the first (rows) and in the second (columns),
            (classes, classes) int64.
        images_by_pair: Images in which such pixels are, (classes, classes) int64.
        images: Pixels that differ, by image id.
        worst: The images drawn: pixels that differ, how many images came before, the
            image id, and both label maps.
    """

    counts: np.ndarray
    images_by_pair: np.ndarray
    images: dict[str, int] = field(default_factory=dict)
    worst: list[tuple[int, int, str, tuple[np.ndarray, np.ndarray]]] = field(
        default_factory=list
    )

    @property
    def pixels(self) -> int:
        """Return how many pixels one of the two has."""
        return int(self.counts.sum())

    @property
    def differing(self) -> int:
        """Return how many pixels differ."""
        return self.pixels - int(np.trace(self.counts))

    def pairs(self) -> list[tuple[int, int]]:
        """Return the pairs of classes that were exchanged, the most pixels first."""
        changed = self.counts - np.diag(np.diagonal(self.counts))
        order = np.argsort(-changed, axis=None, kind='stable')
        places = zip(*np.unravel_index(order, changed.shape), strict=True)
        return [(int(i), int(j)) for i, j in places if changed[i, j]]

    def worst_first(self) -> list[tuple[str, int]]:
        """Return image ids and pixels that differ, the most first."""
        return sorted(self.images.items(), key=lambda item: -item[1])


def pair_rows(
    first: Path, second: Path, spool: Path, size: tuple[int, int], num_classes: int
) -> Iterator[tuple[str, tuple[np.ndarray, np.ndarray]]]:
    """Yield image ids and both label maps, (H, W) uint8, in the order of ``first``.

    The rows of ``second`` may have any order: they wait on disk, not in memory.

    Args:
        spool: Folder of the file that they wait in, which nobody else sees.

    Raises:
        InputError: A file cannot be read, or holds an image that the other lacks.
    """
    with tempfile.TemporaryFile(dir=spool) as file:
        places: dict[str, int] = {}
        for image_id, label_map in read_rows(second, size, num_classes):
            places[mask_name(image_id)] = len(places)
            file.write(label_map.tobytes())
        length = size[0] * size[1]
        for image_id, label_map in read_rows(first, size, num_classes):
            place = places.pop(mask_name(image_id), None)
            if place is None:
                raise _missing(image_id, first, second)
            file.seek(place * length)
            other = np.frombuffer(file.read(length), np.uint8).reshape(size)
            yield image_id, (label_map, other)
        for name in places:
            raise _missing(name, second, first)


def _missing(image_id: str, held: Path, other: Path) -> InputError:
    return InputError(
        repr(image_id), f'is in {held} but not in {other}', 'compare the same images'
    )


def compare(
    rows: Iterable[tuple[str, tuple[np.ndarray, np.ndarray]]],
    num_classes: int,
    drawn: int,
) -> Difference:
    """Return how far the two label maps of all images are apart.

    Args:
        drawn: How many images are kept to be drawn, those that differ most.
    """
    shape = num_classes, num_classes
    found = Difference(np.zeros(shape, np.int64), np.zeros(shape, np.int64))
    for image_id, pair in rows:
        counts = confusion_matrix(*pair, num_classes)
        pixels = int(counts.sum() - np.trace(counts))
        # Of images that differ alike, the earlier ones.
        entry = pixels, -len(found.images), image_id, pair
        if pixels and drawn:
            add = heapq.heappush if len(found.worst) < drawn else heapq.heappushpop
            add(found.worst, entry)
        found.counts += counts
        found.images_by_pair += counts > 0
        found.images[image_id] = pixels
    return found


def write_difference(
    folder: Path,
    found: Difference,
    files: Sequence[Path],
    classes: Sequence[str],
    colours: np.ndarray,
) -> None:
    """Write tables, pictures, and what was compared.

    Args:
        files: The two submissions.
        classes: Names by class id.
        colours: RGB by class id, (classes, 3) uint8.
    """
    write_csv(folder / 'pairs.csv', _pair_rows(found, classes))
    write_csv(folder / 'classes.csv', _class_rows(found, classes))
    each = found.pixels / max(len(found.images), 1)
    rows = [(name, n, n / each) for name, n in found.worst_first()]
    write_csv(folder / 'images.csv', [('image_id', 'pixels', 'share'), *rows])
    names = [f'{mark}: {path.name}' for mark, path in zip('AB', files, strict=True)]
    for *_, image_id, pair in found.worst:
        path = folder / 'pictures' / mask_name(image_id)
        save_picture(path, set_beside(pair, names, colours))
    if found.worst:
        save_picture(folder / LEGEND, draw_legend(classes, colours))
    content = {
        'files': [{'file': p.name, 'sha256': sha256_of(p)} for p in files],
        'classes': list(classes),
        'images': len(found.images),
        'images_that_differ': sum(map(bool, found.images.values())),
        'pixels': found.pixels,
        'pixels_that_differ': found.differing,
        'counts': found.counts.tolist(),
    }
    write_json(folder / MARKER, content)


def _pair_rows(found: Difference, classes: Sequence[str]) -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = [('first', 'second', 'pixels', 'share', 'images')]
    for one, two in found.pairs():
        pixels, images = (
            int(table[one, two]) for table in (found.counts, found.images_by_pair)
        )
        share = pixels / found.pixels
        rows.append((classes[one], classes[two], pixels, share, images))
    return rows


def _class_rows(found: Difference, classes: Sequence[str]) -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = [('class', 'first', 'second', 'both', 'iou')]
    sums = found.counts.sum(1), found.counts.sum(0), np.diagonal(found.counts)
    iou = [None if np.isnan(value) else value for value in iou_of(found.counts)]
    rows += zip(classes, *(column.tolist() for column in sums), iou, strict=True)
    return rows


def tell(found: Difference, classes: Sequence[str], shown: int = 5) -> str:
    """Return what differs most, as text."""
    count = sum(map(bool, found.images.values()))
    lines = [
        f'{count} of {len(found.images)} images differ, '
        f'{found.differing / found.pixels:.2%} of the pixels'
    ]
    if not count:
        return lines[0]
    lines.append('class in the first -> in the second, in pixels:')
    for one, two in found.pairs()[:shown]:
        pixels = int(found.counts[one, two])
        lines.append(f'{pixels:>12,}  {classes[one]} -> {classes[two]}')
    lines.append('images that differ most, in share of their pixels:')
    each = found.pixels / len(found.images)
    for image_id, pixels in found.worst_first()[: min(shown, count)]:
        lines.append(f'{pixels / each:>12.2%}  {image_id}')
    return '\n'.join(lines)
