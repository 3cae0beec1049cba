"""Decoded images and labels in one file, which all processes map into memory.

Beside the data stand ``NAME.json``, the index, and ``NAME-TOKEN.bin``, the bytes of
image and labels of one sample after another. The index names its file of bytes, and is
renamed into place after that is whole, so no reader meets half a cache. For each sample
it holds size and times of change of both source files: where one differs, the sample is
decoded anew when the cache is next opened.

Whoever maps the bytes holds a shared lock on them. A build removes those older files of
bytes that nobody holds; the next build removes the others.
"""

import errno
import json
import logging
import mmap
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, BinaryIO

import cv2
import numpy as np
import PIL
from mmengine.logging import print_log

from mmsegmentation.command import InputError, progress, usable_cpus

Pair = tuple[str, str]
Decoded = tuple[np.ndarray, np.ndarray]
Decode = Callable[[str, str], Decoded]
# Size and times of change of both files, by their paths.
Signed = dict[Pair, list[int] | None]
# Other releases may decode a JPEG to other values.
MADE_BY = f'2, OpenCV {cv2.__version__}, Pillow {PIL.__version__}'
CHUNK = 32


class PixelCache:
    """Maps the paths of image and labels to their values, as read-only arrays.

    Args:
        path: The file of bytes.
        places: By absolute paths: where the sample starts, height and width of the
            image, height and width of the labels.
    """

    def __init__(self, path: Path, places: dict[Pair, Sequence[int]]) -> None:
        self.path = path
        self.places = places
        self._bytes: mmap.mmap | None = None

    def get(self, img_path: str, seg_map_path: str) -> Decoded | None:
        """Return image, (H, W, 3) uint8, and labels, (H, W) uint8, if they are here."""
        place = self.places.get((_absolute(img_path), _absolute(seg_map_path)))
        if place is None:
            return None
        start, height, width, rows, columns = place
        end = start + height * width * 3
        try:
            mapped = self.bytes
        except OSError:  # another run has replaced the file since
            return None
        image = np.frombuffer(mapped, np.uint8, end - start, start)
        labels = np.frombuffer(mapped, np.uint8, rows * columns, end)
        return image.reshape(height, width, 3), labels.reshape(rows, columns)

    @property
    def bytes(self) -> mmap.mmap:
        """The mapped file; forked processes share it, and its lock."""
        if self._bytes is None:
            with self.path.open('rb') as file:
                with suppress(OSError):  # some file systems have no locks
                    _flock(file)
                self.path.stat()  # it may have been removed before it was locked
                # The lock lives on in the duplicate of the descriptor that mmap keeps.
                self._bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return self._bytes

    def __getstate__(self) -> dict[str, Any]:
        # A copy, or a process that was not forked, maps the file itself.
        return {**self.__dict__, '_bytes': None}


def open_cache(
    folder: Path, name: str, pairs: Sequence[Pair], decode: Decode, limit: float
) -> PixelCache | None:
    """Return the cache of ``pairs``, made or renewed where needed.

    Where it cannot be written, one line says so.

    Args:
        folder: Where it stands; made if missing. Keys are relative to its parent.
        name: Its name in there.
        pairs: Paths of image and labels of each sample.
        decode: Returns image, (H, W, 3), and labels, (H, W), both uint8.
        limit: Bytes that it may take at most.

    Raises:
        InputError: A file cannot be decoded.
    """
    store = _Store(folder, name, decode, limit)
    try:
        absolute = [(_absolute(image), _absolute(labels)) for image, labels in pairs]
        signed = {pair: _signature(pair) for pair in absolute}
        cache = store.open(signed)
        if cache is None:
            with store.lock():
                cache = store.open(signed) or store.build(signed)
        return cache
    except OSError as error:
        reason = error.strerror or error
        print_log(
            f'{folder}: no cache of decoded images ({reason}); the files are read',
            'current',
            logging.WARNING,
        )
        return None


def _absolute(path: str | Path) -> str:
    # Path.resolve would follow links, and ask the disk for each sample.
    return os.path.abspath(path)  # noqa: PTH100


def _signature(pair: Pair) -> list[int] | None:
    try:
        stats = [Path(path).stat() for path in pair]
    except OSError:
        return None
    # Tools set the time of modification as they like, but not that of the inode.
    return [
        number
        for stat in stats
        for number in (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
    ]


def _flock(file: IO, *, exclusive: bool = False, wait: bool = True) -> None:
    try:
        import fcntl
    except ImportError:
        raise OSError(errno.ENOSYS, 'this system has no file locks') from None
    kind = fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH
    fcntl.flock(file, kind if wait else kind | fcntl.LOCK_NB)


class _Store:
    def __init__(self, folder: Path, name: str, decode: Decode, limit: float) -> None:
        self.folder = folder
        self.root = _absolute(folder.parent)
        self.name = name
        self.decode = decode
        self.limit = limit
        self.index = folder / f'{name}.json'

    def open(self, signed: Signed) -> PixelCache | None:
        """Return the cache if it is whole and has these samples as they are now."""
        cache, known = self._read()
        if cache is None or any(known.get(pair) != now for pair, now in signed.items()):
            return None
        return cache

    def build(self, signed: Signed) -> PixelCache:
        """Write the cache of these samples, and of others that it had already."""
        path = self.folder / f'{self.name}-{secrets.token_hex(4)}.bin'
        try:
            with path.open('wb') as file:
                samples = self._write(file, signed)
                file.flush()
                os.fsync(file.fileno())
                size = file.tell()
            content = dict(made_by=MADE_BY, file=path.name, size=size, samples=samples)
            self._write_index(content, path.with_suffix('.new'))
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        self._remove_others(path)
        print_log(f'decoded images: {path} ({size / 1e9:.2f} GB)', 'current')
        cache = self.open(signed)
        if cache is None:
            raise OSError(errno.EIO, 'it cannot be read back')
        return cache

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Wait until no other process builds. The lock ends with its process."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / f'{self.name}.lock').open('w') as file:
            _flock(file, exclusive=True)
            yield

    def _read(self) -> tuple[PixelCache | None, Signed]:
        """Return what stands there, and of which files it was made; none if torn."""
        try:
            content = json.loads(self.index.read_text(encoding='utf-8'))
            if content['made_by'] != MADE_BY:
                return None, {}
            places: dict[Pair, Sequence[int]] = {}
            known: Signed = {}
            for image, labels, *numbers in content['samples']:
                pair = self._from_root(image), self._from_root(labels)
                *known[pair], start, height, width, rows, columns = numbers
                places[pair] = start, height, width, rows, columns
            cache = PixelCache(self.folder / content['file'], places)
            whole = len(cache.bytes) == content['size']
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            return None, {}
        return (cache, known) if whole else (None, {})

    def _from_root(self, path: str) -> str:
        return _absolute(Path(self.root, path))

    def _write(self, file: BinaryIO, signed: Signed) -> list[list[str | int]]:
        old, known = self._read()
        fresh = {pair for pair, now in known.items() if _signature(pair) == now}
        signed = {**{pair: known[pair] for pair in fresh}, **signed}

        def decoded_of(pair: Pair) -> Decoded:
            kept = old.get(*pair) if old and pair in fresh else None
            return kept or self._decode(pair)

        samples: list[list[str | int]] = []
        pairs = list(signed)
        starts = progress(range(0, len(pairs), CHUNK), 'decoding images once')
        with ThreadPoolExecutor(usable_cpus()) as pool:
            for first in starts:
                chunk = pairs[first : first + CHUNK]
                decoded = pool.map(decoded_of, chunk)
                for pair, parts in zip(chunk, decoded, strict=True):
                    names = [os.path.relpath(path, self.root) for path in pair]
                    numbers = [*(signed[pair] or ()), *_append(file, *parts)]
                    samples.append([*names, *numbers])
                self._check_size(file.tell() * len(pairs) / len(samples), file.tell())
        return samples

    def _write_index(self, content: dict[str, Any], beside: Path) -> None:
        # whole_file would stop the run where the index cannot be written.
        try:
            beside.write_text(json.dumps(content), encoding='utf-8')
            beside.replace(self.index)
        finally:
            beside.unlink(missing_ok=True)

    def _remove_others(self, kept: Path) -> None:
        ours = re.compile(re.escape(self.name) + r'-[0-9a-f]{8}\.bin')
        for path in self.folder.iterdir():
            if path == kept or not ours.fullmatch(path.name):
                continue
            # NFS takes the bytes even from those who have them mapped; there, only a
            # file open for writing can be locked exclusively.
            with suppress(OSError), path.open('r+b') as file:
                _flock(file, exclusive=True, wait=False)
                path.unlink()

    def _decode(self, pair: Pair) -> Decoded:
        try:
            return self.decode(*pair)
        except (AssertionError, OSError, ValueError, SyntaxError, cv2.error) as error:
            raise InputError(
                ' and '.join(pair), f'cannot be decoded ({error})', 'replace them'
            ) from None

    def _check_size(self, expected: float, written: int) -> None:
        if expected > self.limit:
            size = f'{expected / 1e9:.1f} GB, more than {self.limit / 1e9:.1f}'
            raise OSError(errno.EFBIG, f'it would take {size}')
        if expected - written > shutil.disk_usage(self.folder).free:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _append(file: BinaryIO, image: np.ndarray, labels: np.ndarray) -> list[int]:
    start = file.tell()
    for array in (image, labels):
        file.write(np.ascontiguousarray(array).data)
    return [start, *image.shape[:2], *labels.shape]
