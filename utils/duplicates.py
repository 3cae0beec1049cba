"""Photographs that look alike: taken twice, saved anew, or two frames of one film."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmsegmentation.files import read_image

# Pixels along each side of the small grey image that is compared.
GREY = 32
# Of 64 bits of the perceptual hash, so many may differ, if the grey images also agree
# this well (Pearson's correlation), and have some structure to agree on (standard
# deviation, of 255): all plain surfaces have one hash.
MAX_DISTANCE = 10
MIN_CORRELATION = 0.97
MIN_CONTRAST = 4.0


@dataclass(frozen=True)
class Look:
    """What a photograph is recognised by.

    Attributes:
        content: SHA-256 of size and pixels.
        phash: Perceptual hash, 64 bits.
        grey: The photograph in grey, (GREY, GREY) float32, 0-255.
    """

    content: str
    phash: int
    grey: np.ndarray


def look_at(path: Path) -> Look:
    """Return what a photograph is recognised by.

    Raises:
        InputError: The file is missing or no image.
    """
    from imagehash import phash
    from PIL import Image

    pixels = read_image(path)
    size = Image.Resampling.BOX
    small = Image.fromarray(pixels).resize((2 * GREY, 2 * GREY), size).convert('L')
    return Look(
        hashlib.sha256(f'{pixels.shape}'.encode() + pixels.tobytes()).hexdigest(),
        int(str(phash(small)), 16),
        np.asarray(small, np.float32).reshape(GREY, 2, GREY, 2).mean((1, 3)),
    )


def near_duplicates(looks: Sequence[Look]) -> np.ndarray:
    """Return the pairs of photographs that look alike or are the same, (pairs, 2).

    Cropped, mirrored or turned ones are other photographs.

    Returns:
        Positions in ``looks``, the lower one first, int64.
    """
    hashes = np.array([look.phash for look in looks], np.uint64)
    grey = np.stack([look.grey.ravel() for look in looks])
    grey = grey - grey.mean(1, keepdims=True)
    structured = grey.std(1) >= MIN_CONTRAST
    grey /= np.linalg.norm(grey, axis=1, keepdims=True).clip(1e-6)
    found = [np.empty((0, 2), np.int64)]
    first_of: dict[str, int] = {}
    for number, look in enumerate(looks):
        near = np.bitwise_count(hashes[:number] ^ hashes[number]) <= MAX_DISTANCE
        near &= structured[:number] & structured[number]
        earlier = np.flatnonzero(near)
        earlier = earlier[grey[earlier] @ grey[number] >= MIN_CORRELATION]
        same = first_of.setdefault(look.content, number)
        earlier = np.union1d(earlier, [same] if same != number else [])
        pairs = np.stack([earlier, np.full(len(earlier), number)], 1)
        found.append(pairs.astype(np.int64))
    return np.concatenate(found)
