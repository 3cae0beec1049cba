"""The submission file: ``image_id,PredictionString``, one row an image.

``PredictionString`` holds the class ids of a small label map, row by row, with one
space between. Rows are written and read as bytes, one at a time.
"""

import csv
import io
import re
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import IO, cast

import numpy as np

from mmsegmentation.command import InputError, progress
from mmsegmentation.files import mask_name, whole_file
from utils.class_ids import check_length, format_ids, parse_ids
from utils.resize import SIZE
from utils.unpacked import read_lines

HEADER = 'image_id,PredictionString'
# Bytes of a row beside its class ids that are read at most: what a path may have.
LONGEST_NAME = 4096
# What names say of files that other programs pack.
PACKED = '.bz2', '.xz', '.zip', '.zst', '.lz4', '.7z', '.rar', '.lzma', '.tgz'
# What is said of an image that the submission must not hold.
STRANGE = 'is not in the test part'
BYTE_ORDER_MARK = b'\xef\xbb\xbf'
_CELL = re.compile(rb'(?:"([^"]*(?:""[^"]*)*)"|([^",][^,]*|))(,|\Z)')


@dataclass(frozen=True)
class Columns:
    """Where the two cells of a row stand, and how many cells it has."""

    image_id: int = 0
    ids: int = 1
    count: int = 2


def write_rows(
    path: Path, rows: Iterable[tuple[str, np.ndarray]], *, overwrite: bool = False
) -> int:
    """Write image ids and their label maps, already in size; return how many.

    The bytes are those of ``pandas.DataFrame.to_csv``, packed where ``path`` ends in
    .gz; the same rows give the same bytes. ``path`` appears only once it is whole.

    Raises:
        InputError: ``path`` exists and ``overwrite`` is false, or is named after
            another packer; an id comes twice or holds a line break.
    """
    _check_name(path)
    seen: set[str] = set()
    with whole_file(path, overwrite=overwrite) as beside, _create(path, beside) as file:
        file.write(HEADER.encode() + b'\n')
        for image_id, label_map in rows:
            if image_id in seen or set(image_id) & set('\r\n'):
                raise InputError(
                    repr(image_id),
                    'comes twice or holds a line break',
                    'give each image one name of one line',
                )
            seen.add(image_id)
            file.write(_cell(image_id) + b',')
            file.write(format_ids(label_map))
            file.write(b'\n')
    return len(seen)


def _check_name(path: Path) -> None:
    """Refuse a file whose name says that it is packed as nothing here packs it.

    Raises:
        InputError: It is.
    """
    if path.suffix.lower() in PACKED:
        raise InputError(
            path, f'is not written as {path.suffix}', 'name it .csv or .csv.gz'
        )


@contextmanager
def _create(path: Path, beside: Path) -> Iterator[IO[bytes]]:
    with ExitStack() as stack:
        file: IO[bytes] = stack.enter_context(beside.open('wb'))
        if path.suffix.lower() == '.gz':
            import gzip

            # Neither the clock nor the hidden name goes into the file.
            packed = gzip.GzipFile('', 'wb', 6, file, mtime=0)
            file = cast(IO[bytes], stack.enter_context(packed))
        yield file


def _cell(image_id: str) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator='').writerow([image_id])
    return text.getvalue().encode()


def read_rows(
    path: Path, size: tuple[int, int] = SIZE, num_classes: int = 11
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield image ids and label maps, (H, W) uint8, in the order of the file.

    Other programs' files are read too: compressed ones, with a byte order mark, with
    the columns in another order or beside others, with empty lines.

    Raises:
        InputError: The file is missing, or anything in it is wrong.
    """
    check = 'run utils/submission.py check on it'
    seen: set[str] = set()
    for line, image_id, found in _read(path, size, num_classes, strict=False):
        if isinstance(found, str):
            raise InputError(path, f'{_place(line, image_id)}: {found}', check)
        try:
            name = mask_name(image_id)
        except InputError as error:
            raise InputError(path, f'line {line}: {error}', check) from None
        if name in seen:
            raise InputError(path, f'has {image_id!r} twice', check)
        seen.add(name)
        yield image_id, found
    if not seen:
        raise InputError(path, 'has no rows', check)


def find_problems(
    path: Path,
    image_ids: Iterable[str],
    size: tuple[int, int] = SIZE,
    num_classes: int = 11,
    places: dict[str, int] | None = None,
) -> Iterator[str]:
    """Yield all that is wrong with a submission, one line each: where, and what.

    Memory grows with the images that it must hold alone.

    Args:
        image_ids: The images that it must hold, each once, in any order.
        places: Filled with the line of each of them, 0 while it was not found.

    Raises:
        InputError: The file is missing or unreadable.
    """
    places = {} if places is None else places
    places.update(dict.fromkeys(image_ids, 0))
    rows = _read(path, size, num_classes, strict=True)
    for line, image_id, found in progress(rows, 'check', len(places)):
        place = _place(line, image_id)
        if isinstance(found, str):
            yield f'{place}: {found}'
        if not image_id:
            continue
        if image_id not in places:
            yield f'{place}: {STRANGE}'
        elif places[image_id]:
            yield f'{place}: has a row already, line {places[image_id]}'
        else:
            places[image_id] = line
    for image_id, line in places.items():
        if not line:
            yield f'image {image_id!r} is missing'


def _place(line: int, image_id: str) -> str:
    return f'line {line} ({image_id!r})' if image_id else f'line {line}'


def _read(
    path: Path, size: tuple[int, int], num_classes: int, *, strict: bool
) -> Iterator[tuple[int, str, np.ndarray | str]]:
    """Yield line number, image id ('' where unknown), and label map or what is wrong.

    Args:
        strict: Take nothing but what :func:`write_rows` writes, and its quoted form.
    """
    lines = read_lines(path, 4 * size[0] * size[1] + LONGEST_NAME)
    header, _ = first = next(lines, (b'', 0))
    header, start = header.rstrip(b'\r\n'), 2
    columns = parse_header(header)
    bare = header.removeprefix(BYTE_ORDER_MARK)
    exact = bare.replace(b'"', b'') == HEADER.encode()
    if strict and bare != header:
        yield 1, '', 'begins with a byte order mark: save it as UTF-8 without one'
    if not bare:
        yield 1, '', f'is empty: the header is missing, {HEADER!r}'
    elif columns is None or (strict and not exact):
        yield 1, '', f'the header is {bare[:60]!r}, not {HEADER!r}'
    if columns is None:
        columns = Columns()
        if _looks_like_row(header):
            lines, start = chain([first], lines), 1
    for number, (line, left) in enumerate(lines, start):
        if strict or not line.isspace():
            yield number, *_read_row(line, left, columns, size, num_classes)


def _read_row(
    line: bytes, left: int, columns: Columns, size: tuple[int, int], num_classes: int
) -> tuple[str, np.ndarray | str]:
    image_id = ''
    try:
        image_id, text = parse_row(line, columns)
        count = size[0] * size[1]
        if left:
            check_length(text, len(text) + left, count)
        ids = parse_ids(text, count, num_classes)
    except ValueError as error:
        return image_id, str(error)
    return image_id, ids.reshape(size)


def parse_header(header: bytes) -> Columns | None:
    """Return where the two columns are that a submission has; None if one is not.

    >>> parse_header(b'"PredictionString","image_id"')
    Columns(image_id=1, ids=0, count=2)
    """
    try:
        names = split_cells(header.removeprefix(BYTE_ORDER_MARK))
        image_id, ids = (names.index(name) for name in HEADER.encode().split(b','))
    except ValueError:
        return None
    return Columns(image_id, ids, len(names))


def _looks_like_row(header: bytes) -> bool:
    try:
        _, text = parse_row(header, Columns())
    except ValueError:
        return False
    return bool(text) and not text.strip(b'0123456789 ')


def parse_row(line: bytes, columns: Columns) -> tuple[str, bytes]:
    """Return image id and ``PredictionString`` of a line.

    Raises:
        ValueError: It has none, or other columns.
    """
    cells = split_cells(line.rstrip(b'\r\n'))
    if len(cells) != columns.count:
        if len(cells) == 1:
            raise ValueError('has no comma' if cells[0] else 'is empty')
        raise ValueError(f'has {len(cells)} columns, not {columns.count}')
    try:
        image_id = cells[columns.image_id].decode('utf-8')
    except UnicodeDecodeError:
        raise ValueError('has an image id that is not UTF-8') from None
    if not image_id:
        raise ValueError('has no image id')
    return image_id, cells[columns.ids]


def split_cells(line: bytes) -> list[bytes]:
    """Return the cells of a line of CSV, without their quotes.

    Raises:
        ValueError: A cell begins with a quote and does not end with one.

    >>> split_cells(b'"a, b",0 1')
    [b'a, b', b'0 1']
    """
    if b'"' not in line:
        return line.split(b',')
    cells: list[bytes] = []
    at, comma = 0, b','
    while comma:
        match = _CELL.match(line, at)
        if match is None:
            raise ValueError('has a quote that is not closed')
        quoted, plain, comma = match.groups()
        cells.append(plain if quoted is None else quoted.replace(b'""', b'"'))
        at = match.end()
    return cells
