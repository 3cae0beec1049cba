"""Sizes, class ids and contents of samples, by their files, each read once."""

import hashlib
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from mmsegmentation.command import InputError
from mmsegmentation.datasets.file_facts import Facts, read_facts
from mmsegmentation.files import read_mask, read_orientation

# Pillow's own limit: what is larger may be made to fill the memory.
MAX_PIXELS = Image.MAX_IMAGE_PIXELS or 89_478_485
DAMAGE = OSError, ValueError, SyntaxError, Image.DecompressionBombError
# What a whole file ends with; cameras may write more behind it.
ENDS = {'JPEG': b'\xff\xd9', 'PNG': b'IEND\xaeB`\x82'}
TAIL = 4096
Size = tuple[int, int]


def image_sizes(
    folder: Path | None, paths: Iterable[str], max_pixels: int = MAX_PIXELS
) -> dict[str, Size]:
    """Return width and height of each image as OpenCV decodes it, by their headers.

    Args:
        folder: The data root, beside which the sizes are kept.
        max_pixels: The most that an image may have.

    Raises:
        InputError: One is missing, no image, cut off, has more than 8 bits a channel,
            or is larger; nothing was decoded.
    """
    found = read_facts(folder, 'headers', paths, _header_facts, _is_header)
    for path, (width, height, mode, *_) in found.items():
        if int(width) * int(height) > max_pixels:
            raise InputError(
                path,
                f'has {width} x {height} pixels, more than the limit of {max_pixels}',
                'make it smaller, or set max_pixels of the data set',
            )
        if str(mode).startswith(('I', 'F')):
            raise InputError(
                path, f'a 16-bit or float image (mode {mode})', 'convert it to 8 bit'
            )
    return {path: (int(facts[0]), int(facts[1])) for path, facts in found.items()}


def mask_facts(
    folder: Path | None, paths: Iterable[str]
) -> dict[str, tuple[Size, np.ndarray]]:
    """Return of each mask width and height, and its pixels of each id, (256,) int64.

    Args:
        folder: The data root, beside which they are kept.

    Raises:
        InputError: One is missing or damaged, or no mask.
    """
    found = read_facts(folder, 'masks', paths, _mask_facts, _is_mask)
    result = {}
    for path, (width, height, _, *pairs) in found.items():
        pixels = np.zeros(256, np.int64)
        numbers = np.array(pairs, np.int64)
        pixels[numbers[::2]] = numbers[1::2]
        result[path] = (int(width), int(height)), pixels
    return result


def mask_checksums(folder: Path | None, paths: Iterable[str]) -> dict[str, int]:
    """Return a CRC-32 checksum of the class ids of each mask by its path.

    The checksum depends on the pixels only, and not on the compression of the file.

    Args:
        folder: The data root. Beside it the checksums are kept in the same file as the
            results of :func:`mask_facts`.
        paths: Paths of the masks.

    Raises:
        InputError: A mask is missing or damaged, or a file is not a mask.
    """
    found = read_facts(folder, 'masks', paths, _mask_facts, _is_mask)
    return {path: int(facts[2]) for path, facts in found.items()}


def translate_ids(
    pixels: np.ndarray,
    reduce_zero_label: bool,
    label_map: Mapping[int, int] | None = None,
) -> np.ndarray:
    """Return pixel counts by id, (256,), after MMSegmentation's changes of the ids.

    Args:
        pixels: Pixel counts by the id in the file, (256,).
        reduce_zero_label: Ignore id 0, and subtract 1 from the other ids.
        label_map: New id by old id, applied after ``reduce_zero_label``.
    """
    pixels = pixels.copy()
    if reduce_zero_label:
        moved = np.zeros_like(pixels)
        moved[:254] = pixels[1:255]
        moved[255] = pixels[0] + pixels[255]
        pixels = moved
    if label_map:
        old, pixels = pixels, pixels.copy()
        # A mask holds no id of more than eight bits.
        held = {before: after for before, after in label_map.items() if before < 256}
        pixels[list(held)] = 0
        for before, after in held.items():
            pixels[after] += old[before]
    return pixels


def contents(folder: Path | None, paths: Iterable[str]) -> dict[str, str]:
    """Return the SHA-256 of the pixels of each image, however it was saved.

    Raises:
        InputError: One is missing or cannot be decoded.
    """
    found = read_facts(folder, 'contents', paths, _content, _is_digest)
    return {path: str(facts[0]) for path, facts in found.items()}


def check_sizes(
    images: Mapping[str, Size], masks: Mapping[str, Size], pairs: Iterable[tuple]
) -> None:
    """Stop where an image and its mask differ in size.

    Args:
        pairs: Path of image and mask of each sample.

    Raises:
        InputError: Two of them do.
    """
    for image, mask in pairs:
        if images[image] != masks[mask]:
            ours, its = masks[mask], images[image]
            raise InputError(
                mask,
                f'has {ours[0]} x {ours[1]} pixels, its image {its[0]} x {its[1]}',
                'make the data root again with utils/prepare_data.py',
            )


def _header_facts(path: str) -> Facts:
    try:
        with Image.open(path) as image:
            (width, height), mode, kind = image.size, image.mode, image.format
            if not _is_whole(path, str(kind)):
                image.load()  # which tells whether pixels are missing
    except DAMAGE as error:
        raise InputError(path, f'cannot be decoded ({error})', 'replace it') from None
    turned = mode != 'P' and read_orientation(Path(path)) > 4
    return [height, width, mode] if turned else [width, height, mode]


def _is_whole(path: str, kind: str) -> bool:
    end = ENDS.get(kind, b'')
    with Path(path).open('rb') as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - TAIL))
        return end in file.read()


def _is_header(facts: Facts) -> bool:
    return (
        len(facts) == 3
        and all(isinstance(side, int) and side > 0 for side in facts[:2])
        and isinstance(facts[2], str)
    )


def _mask_facts(path: str) -> Facts:
    mask = read_mask(Path(path))
    pixels = np.bincount(mask.ravel(), minlength=256)
    pairs = [(i, int(pixels[i])) for i in np.flatnonzero(pixels).tolist()]
    checksum = zlib.crc32(np.ascontiguousarray(mask).data)
    return [*mask.shape[::-1], checksum, *(number for pair in pairs for number in pair)]


def _is_mask(facts: Facts) -> bool:
    if len(facts) < 5 or not len(facts) % 2 or not all(type(f) is int for f in facts):
        return False
    width, height, checksum, *pairs = map(int, facts)
    ids, counts = pairs[::2], pairs[1::2]
    return (
        ids == sorted(set(ids))
        and ids[0] >= 0
        and ids[-1] < 256
        and min(counts) > 0
        and 0 <= checksum < 2**32
        and sum(counts) == width * height
    )


def _content(path: str) -> Facts:
    pixels = cv2.imread(path, cv2.IMREAD_COLOR)
    if pixels is None:
        raise InputError(path, 'cannot be decoded', 'replace it')
    digest = hashlib.sha256(str(pixels.shape).encode())
    digest.update(np.ascontiguousarray(pixels).data)
    return [digest.hexdigest()]


def _is_digest(facts: Facts) -> bool:
    return len(facts) == 1 and isinstance(facts[0], str) and len(facts[0]) == 64
