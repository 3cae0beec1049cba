"""The lines of a text file, compressed or not, however long they are."""

from collections.abc import Iterator
from contextlib import ExitStack
from io import BufferedReader
from pathlib import Path
from typing import IO, cast

from mmsegmentation.command import InputError

GZIP, BZIP2, XZ, ZIP = b'\x1f\x8b', b'BZh', b'\xfd7zXZ\0', b'PK\x03\x04'
# First bytes that are no text: those of what nothing here unpacks, and, where it was
# unpacked, those of a second packing.
REFUSED = {
    **dict.fromkeys((GZIP, BZIP2, XZ, ZIP), ('is packed twice', 'unpack it')),
    b'PK\x05\x06': ('is a zip of no file', 'pack the CSV'),
    b'\x28\xb5\x2f\xfd': ('is packed as zstd', 'unpack it'),
    b'\x04\x22\x4d\x18': ('is packed as lz4', 'unpack it'),
    b'7z\xbc\xaf\x27\x1c': ('is packed as 7z', 'unpack it'),
    b'Rar!\x1a': ('is packed as rar', 'unpack it'),
    b']\0\0': ('is packed as lzma', 'unpack it'),
    b'\xff\xfe': ('is UTF-16', 'save it as UTF-8'),
    b'\xfe\xff': ('is UTF-16', 'save it as UTF-8'),
}


def read_lines(path: Path, limit: int) -> Iterator[tuple[bytes, int]]:
    """Yield the lines of a file that may be gzip, bzip2, xz, or a zip of one file.

    What it is shows in its first bytes, not in its name.

    Args:
        limit: Bytes of a line that are read at most; the rest is passed over.

    Yields:
        The line, with its end, and how many bytes were passed over.

    Raises:
        InputError: The file is missing or cannot be read, or not to its end, or is
            packed in another way.
    """
    with ExitStack() as stack:
        try:
            file = _open(path, stack)
        except OSError as error:
            raise InputError(
                path, f'cannot be read ({error.strerror or error})', 'check the path'
            ) from None
        first = True
        while True:
            try:
                line, left = _read_line(file, limit)
            except Exception as error:
                # Each packer has its own exceptions for damage, and zlib's and
                # lzma's have no parent in common.
                raise InputError(
                    path, f'cannot be read to its end ({error})', 'copy it again'
                ) from None
            if first:
                _refuse_packed(path, line)
                first = False
            if not line:
                return
            yield line, left


def _refuse_packed(path: Path, line: bytes) -> None:
    for magic, told in REFUSED.items():
        if line.startswith(magic):
            raise InputError(path, *told)


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
    if magic.startswith(GZIP):
        import gzip

        return stack.enter_context(cast(IO[bytes], gzip.open(file)))
    if magic.startswith(BZIP2):
        import bz2

        return stack.enter_context(bz2.open(file))
    if magic.startswith(XZ):
        import lzma

        return stack.enter_context(lzma.open(file))
    if magic.startswith(ZIP):
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
    except Exception as error:
        # Of a damaged directory, zipfile raises what its parts happen to.
        raise InputError(path, f'cannot be unpacked ({error})', 'unpack it') from None
    raise InputError(
        path, f'is a zip of {len(names)} files', 'pack the CSV alone, or unpack it'
    )
