"""The submission file: ``image_id,PredictionString``, one row an image.

``PredictionString`` holds the class ids of a small label map, row by row, with one
space between. Rows are written and read as bytes: the usual ``' '.join(map(str, ids))``
and ``split()`` take many seconds for a whole test part.
"""

import csv
import io
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from mmsegmentation.command import InputError
from mmsegmentation.files import check_image_id, mask_name, read_json, whole_file

HEADER = 'image_id,PredictionString'
SIZE = (256, 256)

# Each id and its space in four bytes, filled up with zero bytes.
_TOKENS = np.array([f'{i} '.encode() for i in range(256)], 'S4').view(np.uint32)


def _nearest(length: int, out: int) -> np.ndarray:
    # In OpenCV's own floating point steps, so that every size comes out equal.
    places = np.floor(np.arange(out) * (1 / (out / length))).astype(np.intp)
    return np.minimum(places, length - 1)


def _nearest_exact(length: int, out: int) -> np.ndarray:
    return (2 * np.arange(out) + 1) * length // (2 * out)


def _pick(places: Callable[[int, int], np.ndarray]) -> Callable:
    def resize(label_map: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        rows, columns = map(places, label_map.shape, size)
        return label_map[rows[:, None], columns]

    return resize


def _maximum(label_map: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    for axis in (0, 1):
        length, out = label_map.shape[axis], size[axis]
        starts = np.arange(out) * length // out
        label_map = np.maximum.reduceat(label_map, starts, axis=axis)
    return label_map


DOWN_SAMPLERS: dict[str, Callable[[np.ndarray, tuple[int, int]], np.ndarray]] = {
    'nearest': _pick(_nearest),
    'nearest-exact': _pick(_nearest_exact),
    'max': _maximum,
}


def resize_labels(
    label_map: np.ndarray,
    size: tuple[int, int] = SIZE,
    down_sampler: str = 'nearest',
) -> np.ndarray:
    """Return a label map in another size.

    ``nearest`` is the official one: phase 0, as in OpenCV, albumentations and torch's
    ``nearest``; half the size is ``[::2, ::2]``. The others are there to be compared
    with: ``nearest-exact`` (Pillow, torch) looks at the middle of a block, ``max``
    takes the largest id of a block and so favours the classes at the table's end.

    Args:
        label_map: Class ids, (H, W) uint8.
        size: Height and width that come back, in pixels.

    >>> ids = np.arange(16, dtype=np.uint8).reshape(4, 4)
    >>> resize_labels(ids, (2, 2)).tolist()
    [[0, 2], [8, 10]]
    >>> resize_labels(ids, (2, 2), 'max').tolist()
    [[5, 7], [13, 15]]
    """
    if label_map.ndim != 2 or not label_map.size or label_map.dtype != np.uint8:
        raise ValueError(
            f'label_map must be uint8 of shape (H, W), got {label_map.dtype} of shape '
            f'{label_map.shape}'
        )
    return DOWN_SAMPLERS[down_sampler](label_map, size)


def format_ids(label_map: np.ndarray) -> bytes:
    """Return class ids, uint8, row by row with one space between.

    >>> format_ids(np.array([[0, 10], [2, 200]], dtype=np.uint8))
    b'0 10 2 200'
    """
    return _TOKENS[label_map.ravel()].tobytes().translate(None, b'\0')[:-1]


def parse_ids(text: bytes, count: int, num_classes: int) -> np.ndarray:
    """Return the class ids of a ``PredictionString``, (count,) uint8.

    Raises:
        ValueError: Anything but ``count`` ids of the class table, one space between.

    >>> parse_ids(b'0 10 2', 3, 11)
    array([ 0, 10,  2], dtype=uint8)
    """
    if len(text) > 4 * count:
        raise ValueError(f'PredictionString has {len(text)} characters, too many')
    data = np.frombuffer(text, np.uint8)
    digits = data - np.uint8(ord('0'))  # wraps: all but digits end above 9
    spaces = data == ord(' ')
    if (other := data[(digits > 9) & ~spaces]).size:
        raise ValueError(f'PredictionString holds {bytes(other[:1])!r}')
    ends = np.append(np.flatnonzero(spaces), len(data))
    lengths = np.diff(ends, prepend=-1) - 1
    if lengths.min() < 1:
        raise ValueError('PredictionString has a space too many, or is empty')
    if lengths.max() > 3:
        raise ValueError('PredictionString has a number of more than 3 digits')
    if len(ends) != count:
        raise ValueError(f'PredictionString has {len(ends)} ids, not {count}')
    ids = digits[ends - 1].astype(np.uint16)
    for place, unit in ((2, 10), (3, 100)):
        longer = lengths >= place
        ids[longer] += digits[ends[longer] - place] * np.uint16(unit)
    if ids.max() >= num_classes:
        raise ValueError(
            f'PredictionString holds class id {ids.max()}, but there are only '
            f'{num_classes} classes'
        )
    return ids.astype(np.uint8)


def write_rows(
    path: Path, rows: Iterable[tuple[str, np.ndarray]], *, overwrite: bool = False
) -> int:
    """Write image ids and their label maps, already in size; return how many.

    The bytes are those of ``pandas.DataFrame.to_csv``. ``path`` appears only once the
    file is whole.

    Raises:
        InputError: ``path`` exists and ``overwrite`` is false, an id comes twice or
            holds a line break.
    """
    seen: set[str] = set()
    with whole_file(path, overwrite=overwrite) as beside, beside.open('wb') as file:
        file.write(HEADER.encode() + b'\n')
        for image_id, label_map in rows:
            if image_id in seen or set(image_id) & set('\r\n'):
                raise InputError(
                    repr(image_id),
                    'comes twice or holds a line break',
                    'give each image one name of one line',
                )
            seen.add(image_id)
            file.write(_cell(image_id) + b',' + format_ids(label_map) + b'\n')
    return len(seen)


def _cell(image_id: str) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator='').writerow([image_id])
    return text.getvalue().encode('utf-8', 'surrogateescape')


def _parse_row(line: bytes) -> tuple[str, bytes]:
    """Return image id and ``PredictionString`` of a line; ValueError where it has none.

    The string of ids never holds a comma, so the last comma separates the two.
    """
    cell, comma, ids = line.rstrip(b'\r\n').rpartition(b',')
    if not comma:
        raise ValueError('has no comma')
    if cell[:1] == b'"':
        if len(cell) < 2 or cell[-1:] != b'"' or cell[1:-1].count(b'"') % 2:
            raise ValueError('has a quote that is not closed')
        cell = cell[1:-1].replace(b'""', b'"')
    elif b',' in cell:
        raise ValueError('has more than two columns')
    if len(ids) > 1 and ids[:1] == ids[-1:] == b'"':
        ids = ids[1:-1]
    try:
        image_id = cell.decode('utf-8')
    except UnicodeDecodeError:
        raise ValueError('has an image id that is not UTF-8') from None
    if not image_id:
        raise ValueError('has no image id')
    return image_id, ids


def read_rows(
    path: Path, size: tuple[int, int] = SIZE, num_classes: int = 11
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield image ids and label maps, (H, W) uint8, in the order of the file.

    Raises:
        InputError: The file is missing, or anything in it is wrong.
    """
    check = 'run utils/submission.py check on it'
    seen: set[str] = set()
    for image_id, found in _read_lines(path, size, num_classes):
        if isinstance(found, str):
            raise InputError(path, found, check)
        if mask_name(image_id) in seen:
            raise InputError(path, f'has {image_id!r} twice', check)
        seen.add(mask_name(image_id))
        yield image_id, found
    if not seen:
        raise InputError(path, 'has no rows', check)


def find_problems(
    path: Path,
    image_ids: Iterable[str],
    size: tuple[int, int] = SIZE,
    num_classes: int = 11,
) -> list[str]:
    """Return all that is wrong with a submission, one line each.

    Args:
        image_ids: The images that it must hold, each once, in any order.

    Raises:
        InputError: The file is missing or unreadable.
    """
    problems = []
    rows: Counter[str] = Counter()
    for image_id, found in _read_lines(path, size, num_classes):
        if isinstance(found, str):
            problems.append(found)
        if image_id:
            rows[image_id] += 1
    wanted = dict.fromkeys(image_ids)
    for image_id in wanted:
        if rows[image_id] == 0:
            problems.append(f'image {image_id!r} is missing')
    for image_id, times in rows.items():
        if times > 1:
            problems.append(f'image {image_id!r} has {times} rows')
        if image_id not in wanted:
            problems.append(f'image {image_id!r} is not in the test part')
    return problems


def _read_lines(
    path: Path, size: tuple[int, int], num_classes: int
) -> Iterator[tuple[str, np.ndarray | str]]:
    """Yield image id (empty where unknown) and label map, or what is wrong with it."""
    try:
        file = path.open('rb')
    except OSError as error:
        raise InputError(
            path, f'cannot be read ({error.strerror})', 'check the path'
        ) from None
    with file:
        header = file.readline().rstrip(b'\r\n')
        if header.replace(b'"', b'') != HEADER.encode():
            yield '', f'line 1: the header is {header[:60]!r}, not {HEADER!r}'
        for number, line in enumerate(file, start=2):
            image_id = ''
            try:
                image_id, text = _parse_row(line)
                found = parse_ids(text, size[0] * size[1], num_classes).reshape(size)
            except ValueError as error:
                name = f' ({image_id!r})' if image_id else ''
                yield image_id, f'line {number}{name}: {error}'
            else:
                yield image_id, found


def read_test_ids(path: Path) -> list[str]:
    """Return the image ids of a COCO JSON, in its order.

    Raises:
        InputError: The file is missing or damaged, or two images share a mask.
    """
    return list(read_test_sizes(path))


def read_test_sizes(path: Path) -> dict[str, tuple[int, int] | None]:
    """Return image ids and sizes, (H, W), of a COCO JSON; None where it says no size.

    Raises:
        InputError: The file is missing or damaged, or two images share a mask.
    """
    content = read_json(path)
    try:
        rows = content['images']
        image_ids = [check_image_id(row['file_name']) for row in rows]
        sizes = [(row.get('height'), row.get('width')) for row in rows]
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(
            path, f'has no images with file names ({error!r})', 'give a COCO JSON'
        ) from None
    if not image_ids:
        raise InputError(path, 'names no image', 'give a COCO JSON')
    seen: set[str] = set()
    for image_id in image_ids:
        if mask_name(image_id) in seen:
            raise InputError(path, f'has {image_id!r} twice', 'name each image once')
        seen.add(mask_name(image_id))
    pairs = zip(image_ids, sizes, strict=True)
    return {name: None if None in size else size for name, size in pairs}
