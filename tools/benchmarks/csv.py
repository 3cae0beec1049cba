"""A submission of 819 images beside pandas, polars, and the write of the same bytes.

Label maps are in memory and in size: what is measured is text, and the disk's cache.
"""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from mmsegmentation.classes import CLASSES
from tools.benchmarks.case import Case, LeftOut, Options, missing
from utils.submission_csv import find_problems, read_rows, write_rows

SIZE = (256, 256)
COLUMNS = 'image_id', 'PredictionString'
# Pixels by class of the competition's training images.
SHARES = (
    0.77,
    0.018,
    0.039,
    0.0029,
    0.0024,
    0.0044,
    0.023,
    0.017,
    0.117,
    0.001,
    0.0061,
)
Maps = dict[str, np.ndarray]


def cases(options: Options) -> Iterator[Case | LeftOut]:
    """Write and read label maps as of photographs, and of ids without any order."""
    count = 16 if options.quick else 819
    for title, draw in (('regions', _draw_regions), ('noise', _draw_noise)):
        rng = np.random.default_rng(0)
        maps = {f'batch_{i % 3}/{i:04}.jpg': draw(rng) for i in range(count)}
        what = f'{count} x {SIZE[0] * SIZE[1]:,} ids, {title}'
        with TemporaryDirectory() as name:
            yield from _writing(Path(name), maps, what)
            yield from _reading(Path(name), maps, what)


def _draw_regions(rng: np.random.Generator) -> np.ndarray:
    """Return rectangles of classes in their shares; three images of ten lack most."""
    label_map = np.zeros(SIZE, np.uint8)
    shares = np.array(SHARES[1:]) / sum(SHARES[1:])
    for category in rng.choice(
        np.arange(1, len(CLASSES)), rng.integers(1, 12), p=shares
    ):
        top, left = rng.integers(0, 200, 2)
        height, width = rng.integers(8, 100, 2)
        label_map[top : top + height, left : left + width] = category
    return label_map


def _draw_noise(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, len(CLASSES), SIZE, np.uint8)


def _writing(folder: Path, maps: Maps, what: str) -> Iterator[Case | LeftOut]:
    ours, theirs = folder / 'ours.csv', folder / 'theirs.csv'
    write = partial(_write_ours, ours, maps)
    name = f'write {what}'
    yield Case(name, 'pandas', (write, partial(_pandas_write, theirs, maps)), _bytes, 0)
    if why := missing('polars'):
        yield LeftOut(name, 'polars', why)
    else:
        peer = partial(_polars_write, theirs, maps)
        yield Case(name, 'polars', (write, peer), _bytes, 0)
    content = write().read_bytes()

    def plain() -> Path:
        theirs.write_bytes(content)
        return theirs

    yield Case(name, 'write of the same bytes', (write, plain), _bytes, 0)


def _reading(folder: Path, maps: Maps, what: str) -> Iterator[Case | LeftOut]:
    path = _write_ours(folder / 'read.csv', maps)
    name = f'read and check {what}'
    check = partial(_check_ours, path, maps)
    read = partial(_read_ours, path)
    yield Case(name, 'pandas', (read, partial(_pandas_read, path, maps)), _maps, 0)
    if why := missing('polars'):
        yield LeftOut(name, 'polars', why)
    else:
        yield Case(name, 'polars', (read, partial(_polars_read, path, maps)), _maps, 0)
    plain = _counted(path.read_bytes)
    yield Case(f'check {what}', 'read of the same bytes', (check, plain), _none, 0)


def _write_ours(path: Path, maps: Maps) -> Path:
    write_rows(path, maps.items(), overwrite=True)
    return path


def _read_ours(path: Path) -> Maps:
    return dict(read_rows(path, SIZE))


def _check_ours(path: Path, maps: Maps) -> int:
    return len(list(find_problems(path, maps, SIZE)))


def _counted(read: Callable[[], bytes]) -> Callable[[], int]:
    def work() -> int:
        return 0 * len(read())

    return work


def _strings(maps: Maps) -> list[str]:
    return [' '.join(map(str, ids.ravel())) for ids in maps.values()]


def _pandas_write(path: Path, maps: Maps) -> Path:
    import pandas as pd

    table = pd.DataFrame({COLUMNS[0]: list(maps), COLUMNS[1]: _strings(maps)})
    table.to_csv(path, index=False)
    return path


def _polars_write(path: Path, maps: Maps) -> Path:
    """Join the ids in polars' own loops."""
    import polars as pl

    ids = pl.Series(COLUMNS[1], np.stack([m.ravel() for m in maps.values()]))
    strings = ids.cast(pl.List(pl.String)).list.join(' ')
    pl.DataFrame([pl.Series(COLUMNS[0], list(maps)), strings]).write_csv(path)
    return path


def _checked(image_id: str, ids: np.ndarray, maps: Maps) -> np.ndarray:
    """Return ids in size, if all is right that ours looks at."""
    if image_id not in maps or len(ids) != SIZE[0] * SIZE[1]:
        raise ValueError(image_id)
    if ids.min() < 0 or ids.max() >= len(CLASSES):
        raise ValueError(image_id)
    return ids.astype(np.uint8).reshape(SIZE)


def _pandas_read(path: Path, maps: Maps) -> Maps:
    import pandas as pd

    table = pd.read_csv(path)
    found: Maps = {}
    for image_id, text in zip(table[COLUMNS[0]], table[COLUMNS[1]], strict=True):
        found[image_id] = _checked(image_id, np.array(text.split(), np.int64), maps)
    return found


def _polars_read(path: Path, maps: Maps) -> Maps:
    import polars as pl

    table = pl.read_csv(path)
    lists = table[COLUMNS[1]].str.split(' ').cast(pl.List(pl.UInt8))
    rows = zip(table[COLUMNS[0]], lists, strict=True)
    return {name: _checked(name, ids.to_numpy(), maps) for name, ids in rows}


def _bytes(ours: Path, theirs: Path) -> float:
    return float(ours.read_bytes() != theirs.read_bytes())


def _maps(ours: Maps, theirs: Maps) -> float:
    if list(ours) != list(theirs):
        return 1.0
    return float(any((ours[name] != theirs[name]).any() for name in ours))


def _none(ours: Any, theirs: Any) -> float:
    return float(ours)
