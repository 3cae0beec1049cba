"""The lines of a text file, compressed or not, however long they are."""

from collections.abc import Iterator
from contextlib import ExitStack
from io import BufferedReader
from pathlib import Path
from typing import IO, cast

from mmsegmentation.command import InputError


def read_lines(path: Path, limit: int) -> Iterator[tuple[bytes, int]]:
    """Yield the lines of a file that may be gzip, bzip2, xz, or a zip of one file.

    What it is shows in its first bytes, not in its name.

    Args:
        limit: Bytes of a line that are read at most; the rest is passed over.

    Yields:
        The line, with its end, and how many bytes were passed over.

    Raises:
        InputError: The file is missing or cannot be read, or not to its end.
    """
    with ExitStack() as stack:
        try:
            file = _open(path, stack)
        except OSError as error:
            raise InputError(
                path, f'cannot be read ({error.strerror or error})', 'check the path'
            ) from None
        while True:
            try:
                line, left = _read_line(file, limit)
            except Exception as error:
                # Each packer has its own exceptions for damage, and zlib's and
                # lzma's have no parent in common.
                raise InputError(
                    path, f'cannot be read to its end ({error})', 'copy it again'
                ) from None
            if not line:
                return
            yield line, left


def _read_line(file: IO[bytes], limit: int) -> tuple[bytes, int]:
    end = line = file.readline(limit)
    left = 0
    while len(end) == limit and not end.endswith(b'\n'):
        end = file.readline(limit)
        left += len(end.rstrip(b'\r\n'))
    return line, left


def _open(path: Path, stack: ExitStack) -> IO[bytes]:
    # Large enough that a row of ids is not put together from many pieces.
    file = stack.enter_context(BufferedReader(path.open('rb', buffering=0), 1 << 20))
    magic = file.peek(6)
    if magic.startswith(b'\x1f\x8b'):
        import gzip

        return stack.enter_context(cast(IO[bytes], gzip.open(file)))
    if magic.startswith(b'BZh'):
        import bz2

        return stack.enter_context(bz2.open(file))
    if magic.startswith(b'\xfd7zXZ\0'):
        import lzma

        return stack.enter_context(lzma.open(file))
    if magic.startswith(b'PK\x03\x04'):
        return _open_zip(path, file, stack)
    return file


def _open_zip(path: Path, file: IO[bytes], stack: ExitStack) -> IO[bytes]:
    import zipfile

    try:
        archive = stack.enter_context(zipfile.ZipFile(file))
        # macOS lays a second file beside each.
        names = [
            entry
            for entry in archive.infolist()
            if not entry.is_dir() and not entry.filename.startswith('__MACOSX/')
        ]
        if len(names) == 1:
            return stack.enter_context(archive.open(names[0]))
    except (zipfile.BadZipFile, RuntimeError) as error:
        raise InputError(path, f'cannot be unpacked ({error})', 'unpack it') from None
    raise InputError(
        path, f'is a zip of {len(names)} files', 'pack the CSV alone, or unpack it'
    )
