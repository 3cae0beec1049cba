"""What is measured on one image and its mask: all that needs the pixels."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from unicodedata import category

import numpy as np

from mmsegmentation.classes import IGNORE_INDEX
from mmsegmentation.command import InputError
from mmsegmentation.files import list_images, mask_name, read_image, read_mask
from utils.duplicates import Look, look_at
from utils.page import mask_colours, write_overlay, write_photo
from utils.parallel import Workers

# Cells of a position map, along each side.
CELLS = 32
# Rec. 601, as Pillow's own conversion to grey.
LUMA = (0.299, 0.587, 0.114)


@dataclass
class Labels:
    """What one mask holds.

    Attributes:
        pixels: Pixels per class id, (classes,) int64; 255 (ignore) is left out.
        ignored: Pixels of 255.
        objects: Class id and area in pixels of each connected piece (8 neighbours) of
            one class but the background, (objects, 2) int64.
        ids: Class ids that occur.
        places: For each of ``ids``, the share of each cell that it covers, in [0, 1],
            (ids, CELLS, CELLS) float32; the image is stretched to a square.
    """

    pixels: np.ndarray
    ignored: int
    objects: np.ndarray
    ids: list[int]
    places: np.ndarray


@dataclass
class ImageFacts:
    """What one image is like.

    Attributes:
        part: Part of the data root.
        image_id: File name in it, folders included.
        size: Width and height, in pixels.
        look: What it is recognised by.
        sums: Sums of each channel and of its squares, RGB, (2, 3) float64.
        brightness: Mean luma, 0-255.
        thumbnail: Its thumbnail's path without suffix, relative to the page.
        thumbnail_size: Width and height, in pixels.
        labels: What its mask holds; None without a usable mask.
        problems: What is wrong with its mask.
    """

    part: str
    image_id: str
    size: tuple[int, int]
    look: Look
    sums: np.ndarray
    brightness: float
    thumbnail: str
    thumbnail_size: tuple[int, int]
    labels: Labels | None = None
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Task:
    """One image to measure.

    Attributes:
        root: The data root.
        part: Part of it.
        image_id: File name in the part.
        has_mask: Whether the part has a mask of it.
        out: Folder of the page.
        thumbnail: Path of the thumbnail in ``out``, without suffix.
        num_classes: Length of the class table.
        longest: Longest side of the thumbnail, in pixels.
    """

    root: Path
    part: str
    image_id: str
    has_mask: bool
    out: Path
    thumbnail: str
    num_classes: int
    longest: int


def find_tasks(
    root: Path, parts: Sequence[str], out: Path, num_classes: int, longest: int
) -> tuple[list[Task], list[str]]:
    """Return what is to be measured, and what is wrong with the names.

    Images without a mask in a part with masks are a problem, and so are masks without
    an image, and images of one mask (``a.jpg``, ``a.png``): it is given to none.

    Raises:
        InputError: A name is not UTF-8, or holds control characters.
    """
    tasks: list[Task] = []
    problems: list[str] = []
    for part in parts:
        owned, found = _match_masks(root, part)
        problems += found
        tasks += [
            Task(
                root,
                part,
                name,
                has_mask,
                out,
                f'thumbs/{part}/{number:06}',
                num_classes,
                longest,
            )
            for number, (name, has_mask) in enumerate(owned.items())
        ]
    return tasks, problems


def _match_masks(root: Path, part: str) -> tuple[dict[str, bool], list[str]]:
    """Return whether each image has a mask of its own, and what is wrong."""
    names = list_images(root / part / 'images')
    masks = set(list_images(root / part / 'mask'))
    for name in (*names, *masks):
        _check_name(name)
    wanted = {name: mask_name(name) for name in names}
    times = Counter(wanted.values())
    found = {name: mask for name, mask in wanted.items() if mask in masks}
    shared = [name for name, mask in found.items() if times[mask] > 1]
    bare = [name for name in names if masks and name not in found]
    lone = sorted(masks - set(wanted.values()))
    problems = [
        *list_problem(part, 'images without a mask: not counted', bare),
        *list_problem(part, 'images that share one mask: not counted', shared),
        *list_problem(part, 'masks without an image: left out', lone),
    ]
    own = {name: name in found and times[found[name]] == 1 for name in names}
    return own, problems


def _check_name(name: str) -> None:
    # Rare spaces are names, too: macOS puts U+202F into those of screenshots.
    surrogates_and_controls = ('Cs', 'Cc')
    if any(category(char) in surrogates_and_controls for char in name):
        raise InputError(
            ascii(name), 'has characters that cannot be shown', 'rename it'
        )


def list_problem(part: str, what: str, names: Sequence[str]) -> list[str]:
    """Return one line for all ``names`` of one problem, or no line.

    >>> list_problem('train', 'images without a mask', ['a.jpg', 'b.jpg'])
    ['train: 2 images without a mask, first: a.jpg']
    """
    return [f'{part}: {len(names)} {what}, first: {names[0]}'] if names else []


def measure_all(tasks: Sequence[Task], workers: Workers) -> Iterator[ImageFacts | str]:
    """Measure every image, in order; a text is what was wrong."""
    # Threads: nearly all is decoding, scaling and counting, which let go of the
    # interpreter. Processes took a third longer for 471 images on two cores.
    in_threads = replace(workers, threads=True)
    yield from in_threads.map(measure, [(task,) for task in tasks], 'measure')


def measure(task: Task) -> ImageFacts | str:
    """Measure one image and write its thumbnails; return a text if it is unreadable."""
    import cv2

    cv2.setNumThreads(1)
    try:
        image = read_image(task.root / task.part / 'images' / task.image_id)
    except InputError as error:
        return f'{task.part}: {error}'
    height, width = image.shape[:2]
    sums = _channel_sums(image)
    facts = ImageFacts(
        task.part,
        task.image_id,
        (width, height),
        look_at(image),
        sums,
        float(sums[0] @ LUMA / (height * width)),
        task.thumbnail,
        write_photo(task.out / f'{task.thumbnail}.jpg', image, task.longest),
    )
    if task.has_mask:
        _add_labels(facts, task)
    return facts


def _channel_sums(image: np.ndarray) -> np.ndarray:
    import cv2

    count = image.shape[0] * image.shape[1]
    mean, std = (values.ravel() for values in cv2.meanStdDev(image))
    return np.stack([mean * count, (std**2 + mean**2) * count])


def _add_labels(facts: ImageFacts, task: Task) -> None:
    path = task.root / task.part / 'mask' / mask_name(task.image_id)
    name = f'{task.part}: {path.relative_to(task.root / task.part)}'
    try:
        label_map = read_mask(path)
    except InputError as error:
        facts.problems.append(f'{task.part}: {error}')
        return
    if label_map.shape[::-1] != facts.size:
        width, height = facts.size
        size = f'{label_map.shape[1]}x{label_map.shape[0]}'
        facts.problems.append(
            f'{name}: is {size}, the image {width}x{height}: not counted'
        )
        return
    counts = np.bincount(label_map.ravel(), minlength=256)
    outside = np.flatnonzero(counts[:IGNORE_INDEX])
    outside = outside[outside >= task.num_classes]
    if outside.size:
        facts.problems.append(
            f'{name}: holds class id {outside[0]}, but there are only '
            f'{task.num_classes} classes: not counted'
        )
        return
    facts.labels = read_labels(label_map, task.num_classes)
    write_overlay(
        task.out / f'{task.thumbnail}.png',
        label_map,
        mask_colours(task.num_classes),
        task.longest,
    )


def read_labels(label_map: np.ndarray, num_classes: int) -> Labels:
    """Return what a mask holds.

    Args:
        label_map: Class ids, (H, W) uint8, each below ``num_classes`` or 255.
    """
    import cv2

    counts = np.bincount(label_map.ravel(), minlength=256)
    pixels = counts[:num_classes].astype(np.int64)
    ids = np.flatnonzero(pixels).tolist()
    places = np.empty((len(ids), CELLS, CELLS), np.float32)
    objects = []
    for place, number in enumerate(ids):
        held = (label_map == number).astype(np.uint8)
        places[place] = _place(held)
        if number:
            stats = cv2.connectedComponentsWithStats(held, connectivity=8)[2]
            areas = stats[1:, cv2.CC_STAT_AREA]
            objects.append(np.stack([np.full(len(areas), number), areas], 1))
    found = np.concatenate(objects) if objects else np.empty((0, 2))
    return Labels(
        pixels, int(counts[IGNORE_INDEX]), found.astype(np.int64), ids, places
    )


def _place(held: np.ndarray) -> np.ndarray:
    import cv2

    for axis, side in enumerate(held.shape):
        if side < CELLS:
            # INTER_AREA weighs by covered area when it shrinks alone.
            held = held.repeat(-(-CELLS // side), axis)
    covered = held.astype(np.float32)
    return cv2.resize(covered, (CELLS, CELLS), interpolation=cv2.INTER_AREA)
