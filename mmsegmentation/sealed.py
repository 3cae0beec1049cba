"""Checkpoint files that appear whole, and show any damage.

PyTorch's files are ZIP archives. An archive may end in a comment, over which its
readers pass: there stands the SHA-256 of all bytes before it.
"""

import hashlib
import os
import re
from collections.abc import Iterable
from pathlib import Path

from mmsegmentation.command import InputError
from mmsegmentation.files import NO_ROOM, whole_file

# The record that ends an archive; its last two bytes count those of the comment.
END, END_SIZE = b'PK\x05\x06', 22
MARK = b'sha256='
SEAL_SIZE = len(MARK) + 64
LENGTH = SEAL_SIZE.to_bytes(2, 'little')
# What a killed run leaves beside the files that it was about to replace.
LEFTOVER = re.compile(
    r'\.((epoch|iter)_\d+\.pth|best_.+\.pth|last_checkpoint|metrics\.json)\.[0-9a-f]{8}'
)


def write_sealed(path: Path, content: bytes) -> None:
    """Write an archive and its seal; ``path`` appears once all is on the disk.

    Args:
        content: What ``torch.save`` wrote.

    Raises:
        InputError: The disk is full.
        ValueError: It is no ZIP archive, or has a comment.
    """
    write_synced(path, seal(path, content))


def seal(path: Path, content: bytes) -> tuple[bytes | memoryview, ...]:
    """Return the parts of an archive that ends in its seal.

    Args:
        content: What ``torch.save`` wrote.

    Raises:
        ValueError: It is no ZIP archive, or has a comment.
    """
    end = content[-END_SIZE:]
    if not (end.startswith(END) and end.endswith(b'\0\0')):
        raise ValueError(f'{path}: no ZIP archive, or one with a comment')
    body = memoryview(content)[:-2]
    digest = hashlib.sha256(body)
    digest.update(LENGTH)
    return body, LENGTH, MARK, digest.hexdigest().encode()


def write_synced(path: Path, parts: Iterable[bytes | memoryview]) -> None:
    """Write a file that is whole or absent even after the power fails.

    Raises:
        InputError: The disk is full.
    """
    try:
        with whole_file(path, overwrite=True) as beside, beside.open('wb') as file:
            for part in parts:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
    except InputError as error:
        cause = error.__context__
        if not (isinstance(cause, OSError) and cause.errno in NO_ROOM):
            raise
        raise InputError(
            path,
            f'cannot be written ({cause.strerror}); the checkpoint before is whole',
            'make room and go on with --resume',
        ) from None
    _sync_folder(path.parent)


def damage_of(path: Path) -> str | None:
    """Return what is wrong with the bytes of a checkpoint, None where nothing shows.

    A file without a seal (another program's, or of an old PyTorch) is taken as it is,
    but for an archive that is cut off.
    """
    with path.open('rb') as file:
        head = file.read(4)
        size = os.fstat(file.fileno()).st_size
        file.seek(max(0, size - END_SIZE - SEAL_SIZE))
        tail = file.read()
        end, seal = tail[:END_SIZE], tail[END_SIZE:]
        if end.startswith(END) or seal.startswith(MARK):
            file.seek(0)
            digest = hashlib.sha256()
            rest = size - SEAL_SIZE
            while rest > 0 and (chunk := file.read(min(rest, 1 << 20))):
                digest.update(chunk)
                rest -= len(chunk)
            whole = end.endswith(LENGTH) and digest.hexdigest().encode() == seal[7:]
            whole = whole and end.startswith(END) and seal.startswith(MARK)
            return None if whole else 'its bytes are not those that were written'
    end = tail[-END_SIZE:]
    if head.startswith(b'PK') and not (end.startswith(END) and end.endswith(b'\0\0')):
        return 'it is cut off'
    return None


def remove_leftovers(folder: Path) -> None:
    """Remove what a killed run had begun to write in its work folder."""
    for path in folder.glob('.*'):
        if LEFTOVER.fullmatch(path.name):
            path.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """See to it that a renaming is on the disk, where the system can."""
    if hasattr(os, 'O_DIRECTORY'):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
