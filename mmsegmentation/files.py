"""Files: whole or absent, masks as palette PNGs, images named by their id."""

import errno
import hashlib
import json
import os
import shutil
import struct
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path, PurePosixPath, PureWindowsPath
from secrets import token_hex
from typing import Any, TypeVar

import numpy as np
from PIL import Image

from mmsegmentation.command import InputError
from mmsegmentation.mask_png import encode_mask

T = TypeVar('T')
# Each member of a vote asks for the same ones.
NAMES_KEPT = 1 << 14
IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.webp')
ORIENTATION_TAG = 0x0112
# What a disk answers that takes no more: full, over a quota or a limit, read-only.
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
# Damaged EXIF and large photographs are no news to who wants their pixels.
warnings.filterwarnings('ignore', module=r'PIL\.')


def check_image_id(image_id: str) -> str:
    """Return ``image_id``, refusing one that would leave its folder.

    Raises:
        InputError: It is empty, absolute, steps upwards, has a backslash or a NUL
            character, or is the name of a file in another encoding than UTF-8.
    """
    if '\\' in image_id:
        raise InputError(repr(image_id), 'has a backslash', 'use / between folders')
    if '\0' in image_id:
        raise InputError(repr(image_id), 'has a NUL character', 'rename it')
    try:
        image_id.encode()
    except UnicodeEncodeError:
        raise InputError(ascii(image_id), 'is not UTF-8', 'rename it') from None
    path = PurePosixPath(image_id)
    drive = PureWindowsPath(image_id).drive
    inside = path.parts and not path.is_absolute() and not drive
    if not inside or '..' in path.parts:
        raise InputError(
            repr(image_id),
            'a file name must stay inside its folder',
            'use a relative path without ".."',
        )
    return image_id


@lru_cache(NAMES_KEPT)
def mask_name(image_id: str) -> str:
    """Return where the mask of an image stands, relative to its folder.

    >>> mask_name('batch_01_vt/0002.jpg')
    'batch_01_vt/0002.png'
    """
    return str(PurePosixPath(check_image_id(image_id)).with_suffix('.png'))


def id_below(folders: Sequence[Path], path: Path) -> str:
    """Return the image id of a file: its path below the one of ``folders`` it is in.

    Raises:
        ValueError: It is in none of them.

    >>> id_below([Path('train/images'), Path('a/images')], Path('a/images/b/1.jpg'))
    'b/1.jpg'
    """
    for folder in folders:
        if path.is_relative_to(folder):
            return path.relative_to(folder).as_posix()
    raise ValueError(f'{path} is in none of {", ".join(map(str, folders))}')


def list_images(folder: Path) -> list[str]:
    """Return the image ids under ``folder``: posix paths, sorted."""
    return sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob('*')
        if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()
    )


def read_image(path: Path) -> np.ndarray:
    """Return an image as RGB, (H, W, 3) uint8, as its pixels are stored.

    Raises:
        InputError: The file is missing or no image, or has more than 8 bits a channel.
    """
    image = _open(path)
    if image.mode.startswith(('I', 'F')):
        # Pillow would cut all above 255 off.
        raise InputError(
            path, f'a 16-bit or float image (mode {image.mode})', 'convert it to 8 bit'
        )
    return np.asarray(image.convert('RGB'))


def read_orientation(path: Path) -> int:
    """Return the EXIF orientation of an image, 1-8; 1 where it names none of these."""
    try:
        with Image.open(path) as image:
            value = image.getexif().get(ORIENTATION_TAG, 1)
    except (LookupError, OSError, SyntaxError, TypeError, ValueError, struct.error):
        # Damaged EXIF turns no picture.
        return 1
    return value if value in range(1, 9) else 1


def read_mask(path: Path) -> np.ndarray:
    """Return the class ids of a palette or grey PNG, (H, W) uint8.

    Raises:
        InputError: The file is missing, no image, or in colours instead of ids.
    """
    image = _open(path)
    if image.mode not in ('L', 'P'):
        raise InputError(
            path,
            f'a mask has 8-bit class ids, this file has mode {image.mode}',
            'save it as a grey or palette PNG',
        )
    return np.asarray(image)


def _open(path: Path) -> Image.Image:
    try:
        with Image.open(path) as image:
            image.load()
            return image
    except FileNotFoundError:
        raise InputError(path, 'no such file', 'check the path') from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(
            path, f'not a readable image ({error})', 'replace it'
        ) from None


def write_mask(path: Path, label_map: np.ndarray, num_classes: int = 255) -> None:
    """Write class ids, (H, W) uint8, as a palette PNG; 255 is shown in white."""
    write_whole(path, encode_mask(label_map, num_classes))


def read_json(path: Path) -> Any:
    """Return what a JSON file holds.

    Raises:
        InputError: The file is missing or no JSON.
    """
    try:
        # Windows' editors put a byte order mark first.
        return json.loads(path.read_text(encoding='utf-8-sig'))
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(path, 'no such file', 'check the path') from None
    except (ValueError, OSError, RecursionError) as error:
        raise InputError(path, f'not readable as JSON ({error})', 'repair it') from None


def write_json(path: Path, content: Any) -> None:
    """Write ``content`` as indented JSON, whole or not at all."""
    with whole_file(path, overwrite=True) as beside:
        text = json.dumps(content, indent=1, ensure_ascii=False)
        beside.write_text(text + '\n', encoding='utf-8')


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open('rb') as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def require_folder(path: Path, way_out: str = 'check the path') -> None:
    """Stop if ``path`` is not a folder.

    Args:
        path: The folder.
        way_out: The last part of the message.

    Raises:
        InputError: The path is missing, or a file.
    """
    if not path.is_dir():
        what = 'is a file, not a folder' if path.exists() else 'no such folder'
        raise InputError(path, what, way_out)


def refuse_file(path: Path) -> None:
    """Stop if ``path`` is a file where a folder is to be written.

    Raises:
        InputError: The path is a file.
    """
    if path.exists() and not path.is_dir():
        raise InputError(path, 'is a file', 'name a folder')


def refuse_existing(path: Path, overwrite: bool, marker: str = '') -> None:
    """Stop if ``path`` exists and ``overwrite`` is false.

    Args:
        marker: The file in a folder that a command may replace. A folder without it is
            not to be replaced by ``--overwrite`` either.

    Raises:
        InputError: ``path`` is a file, or a folder that is not empty.
    """
    if overwrite:
        return
    if any(path.iterdir()) if path.is_dir() else path.exists():
        if marker and path.is_dir():
            _refuse_unmarked(path, marker)
        raise InputError(path, 'exists', 'pass --overwrite to replace it')


def _refuse_unmarked(folder: Path, marker: str) -> None:
    if not (folder / marker).is_file():
        what = f'holds no {marker}, so it is not replaced'
        raise InputError(folder, what, 'name another folder')


def refuse_overlap(out: Path, sources: Iterable[Path], beneath: bool = False) -> None:
    """Stop if ``out`` is one of ``sources``, or holds one, or lies in one.

    Args:
        beneath: Whether it may lie in one.

    Raises:
        InputError: It would replace a source, or be taken for a part of it.
    """
    place = out.resolve()
    for source in sources:
        if source.resolve().is_relative_to(place):
            raise InputError(out, f'would replace {source}', 'choose another --out')
        if not beneath and place.is_relative_to(source.resolve()):
            raise InputError(out, f'lies in {source}', 'choose another --out')


@contextmanager
def whole_file(path: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Give a path to write beside ``path``; rename it there on success.

    Raises:
        InputError: ``path`` exists and ``overwrite`` is false, or the disk is full.
    """
    refuse_existing(path, overwrite)
    if path.is_dir():
        raise InputError(path, 'is a folder', 'name a file')
    beside, handle = _make_beside(path, _create)
    os.close(handle)
    try:
        with _telling_failed_writes(path, beside):
            yield beside
            beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def write_whole(path: Path, content: bytes) -> None:
    """Write a file whole or not at all; as :func:`whole_file`, in half its time.

    Raises:
        InputError: ``path`` is a folder, or the disk is full.
    """
    beside, handle = _make_beside(path, _create)
    try:
        with _telling_failed_writes(path, beside):
            try:
                rest = memoryview(content)
                while rest:
                    rest = rest[os.write(handle, rest) :]
            finally:
                os.close(handle)
            beside.replace(path)
    except BaseException as error:
        beside.unlink(missing_ok=True)
        if isinstance(error, IsADirectoryError):
            raise InputError(path, 'is a folder', 'name a file') from None
        raise


def check_replaceable(path: Path, marker: str, overwrite: bool) -> None:
    """Stop if :func:`whole_folder` would refuse to write or replace ``path``.

    Raises:
        InputError: The path exists and ``overwrite`` is false, it is a file, or it is a
            folder with content but without the file ``marker``.
    """
    refuse_existing(path, overwrite, marker)
    refuse_file(path)
    if path.is_dir() and any(path.iterdir()):
        _refuse_unmarked(path, marker)


@contextmanager
def whole_folder(path: Path, *, marker: str, overwrite: bool = False) -> Iterator[Path]:
    """Give an empty folder beside ``path``; rename it there on success.

    What stood at ``path`` is removed only when the new content is complete, and only
    if it holds a file ``marker``: a folder that a command did not write stays.

    Raises:
        InputError: ``path`` exists and is not empty, and ``overwrite`` is false, or
            it is not a folder of this kind, or the disk is full.
    """
    check_replaceable(path, marker, overwrite)
    path = path.resolve()  # a folder cannot be renamed over a link to one
    beside, _ = _make_beside(path, Path.mkdir)
    try:
        with _telling_failed_writes(path, beside):
            yield beside
            if path.exists():
                _replace_folder(path, beside)
            else:
                beside.replace(path)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


@contextmanager
def _telling_failed_writes(path: Path, beside: Path) -> Iterator[None]:
    try:
        yield
    except InputError as error:
        # Nobody outside knows the hidden name.
        raise error.renamed(str(beside), str(path)) from None
    except OSError as error:
        if error.errno in NO_ROOM:
            raise InputError(
                path, f'cannot be written ({error.strerror})', 'choose another place'
            ) from None
        inside = Path(error.filename) if isinstance(error.filename, str) else path
        if beside not in inside.parents:
            raise
        # Names from the input that no file system, or not this one, holds together.
        raise InputError(
            path / inside.relative_to(beside),
            f'cannot be written ({error.strerror})',
            'rename the image',
        ) from None


def _replace_folder(path: Path, new: Path) -> None:
    old = Path(tempfile.mkdtemp(prefix=f'.{path.name}.old.', dir=path.parent))
    try:
        path.replace(old)
        new.replace(path)
    except BaseException as error:
        if not path.exists():
            old.replace(path)
        with suppress(OSError):
            old.rmdir()
        if isinstance(error, OSError):
            raise InputError(
                path, f'cannot be replaced ({error.strerror})', 'choose another place'
            ) from None
        raise
    shutil.rmtree(old)


def link_or_copy(src: Path, dst: Path) -> None:
    """Put the file ``src`` at ``dst``: a hard link, or a copy where none is possible.

    Links in ``src`` are followed, so ``dst`` is always a file of its own.

    Raises:
        FileExistsError: ``dst`` is taken.
        InputError: ``src`` is missing or unreadable.
        OSError: The disk is full.
    """
    dst.parent.mkdir(parents=True, exist_ok=True)
    if os.path.lexists(dst):
        raise FileExistsError(f'{dst} exists')
    try:
        src = src.resolve(strict=True)
    except (OSError, RuntimeError):
        raise InputError(src, 'no such file', 'check the path') from None
    try:
        os.link(src, dst)
    except OSError:
        # Another file system, or one without links.
        try:
            shutil.copyfile(src, dst)
        except OSError as error:
            dst.unlink(missing_ok=True)
            if error.errno in NO_ROOM:
                raise
            raise InputError(
                src, f'cannot be copied ({error.strerror})', 'check the file'
            ) from None


def _create(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)


def _make_beside(path: Path, make: Callable[[Path], T]) -> tuple[Path, T]:
    folder_made = False
    try:
        while True:
            beside = path.with_name(f'.{path.name}.{token_hex(4)}')
            try:
                return beside, make(beside)
            except FileExistsError:
                continue
            except FileNotFoundError:
                # Folders that take nothing, /proc and deleted ones, say so for ever.
                if folder_made:
                    raise
                path.parent.mkdir(parents=True, exist_ok=True)
                folder_made = True
    except OSError as error:
        raise InputError(
            path, f'cannot be made ({error.strerror})', 'choose another place'
        ) from None
