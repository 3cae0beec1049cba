"""Measure one image and draw its thumbnails: what the workers of a report do."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmsegmentation.classes import IGNORE_INDEX
from mmsegmentation.command import InputError
from mmsegmentation.files import read_image, read_mask
from mmsegmentation.predictions import Predictions
from mmsegmentation.scores import confusion_matrix
from utils.error_page.calibration import LEVELS, count_confidence
from utils.error_page.errors import (
    FARTHEST,
    KINDS,
    Objects,
    border_distance,
    count_by_distance,
    find_objects,
    judge_objects,
)
from utils.error_page.sources import Sources
from utils.page import mask_colours, write_overlay, write_photo
from utils.parallel import Workers

# RGB by kind of error; right pixels are clear. Brighter than any class of the palette,
# and told apart by people who cannot tell red from green.
ERROR_COLOURS = dict(
    zip(KINDS, ((0, 255, 255), (255, 255, 0), (255, 128, 0)), strict=True)
)
IGNORED = (128, 128, 128, 160)


@dataclass(frozen=True)
class Prediction:
    """One model on one image, in counts.

    Attributes:
        cells: Flat indices into the confusion matrix that are not 0.
        pixels: How many pixels each of them has.
        predicted: Predicted pixels by class, ignored ones too, (classes,).
        levels: All pixels and the right ones by confidence 0-255, (2, LEVELS); None
            where the model wrote no confidence.
        sure: Sum of the confidence of the pixels predicted as each class, (classes,).
        border: Wrong pixels by distance, from ``count_by_distance``.
        objects: From ``judge_objects``, in the order of ``Measured.objects``.
    """

    cells: np.ndarray
    pixels: np.ndarray
    predicted: np.ndarray
    levels: np.ndarray | None
    sure: np.ndarray | None
    border: np.ndarray
    objects: np.ndarray


@dataclass(frozen=True)
class Measured:
    """One image.

    Attributes:
        image_id: Its id.
        size: Width and height of its thumbnail, in pixels.
        labelled: Whether it has a true mask.
        border: Labelled pixels by distance, from ``count_by_distance``.
        objects: Class, area, left, top, width, height by object, (objects, 6).
        models: In the order of ``Sources.models``.
    """

    image_id: str
    size: tuple[int, int]
    labelled: bool
    border: np.ndarray
    objects: np.ndarray
    models: list[Prediction]

    @property
    def scored(self) -> bool:
        """Whether it has a labelled pixel."""
        return bool(self.border.sum())


def measure_all(
    sources: Sources, pictures: Path, workers: Workers, longest: int
) -> Iterator[Measured]:
    """Measure every image and draw its thumbnails, in order.

    Args:
        pictures: Folder of the thumbnails: ``photo/<number>.jpg``,
            ``truth/<number>.png``, and by number of the model ``predicted0/…`` and
            ``errors0/…``. Numbers, so that no name of an image meets a browser.
        workers: Who does the work.
        longest: Longest side of a thumbnail, in pixels.
    """
    # Without the list of images, which would travel with each of them.
    members = [
        Predictions(m.folder, m.classes, (), {}) for m in sources.models.values()
    ]
    tasks = [
        (
            image_id,
            sources.photos[image_id],
            sources.masks.get(image_id),
            members,
            Pictures(pictures, number, longest),
        )
        for number, image_id in enumerate(sources.image_ids)
    ]
    yield from workers.map(measure, tasks, 'measure')


@dataclass(frozen=True)
class Pictures:
    """Where the thumbnails of one image stand.

    Attributes:
        folder: Of all thumbnails.
        number: Of the image.
        longest: Longest side, in pixels.
    """

    folder: Path
    number: int
    longest: int

    def photo(self, image: np.ndarray) -> tuple[int, int]:
        path = self.folder / 'photo' / f'{self.number}.jpg'
        return write_photo(path, image, self.longest)

    def overlay(self, layer: str, ids: np.ndarray, colours: np.ndarray) -> None:
        path = self.folder / layer / f'{self.number}.png'
        write_overlay(path, ids, colours, self.longest)


def measure(
    image_id: str,
    photo: Path,
    mask: Path | None,
    members: Sequence[Predictions],
    pictures: Pictures,
) -> Measured:
    """Measure one image under all models and draw its thumbnails.

    Args:
        mask: Its true mask; None where it has no label.

    Raises:
        InputError: A file is missing or damaged, an id is unknown, or sizes differ.
    """
    image = read_image(photo)
    truth = Truth.read(mask) if mask else None
    colours = mask_colours(len(members[0].classes))
    size = pictures.photo(image)
    if truth:
        _check_size(truth.label_map, image, str(mask))
        pictures.overlay('truth', truth.label_map, colours)
    models = []
    for number, member in enumerate(members):
        label_map = member.mask(image_id)
        _check_size(label_map, image, f'{image_id!r} in {member.folder}')
        pictures.overlay(f'predicted{number}', label_map, colours)
        if truth:
            errors = error_map(truth.label_map, label_map)
            pictures.overlay(f'errors{number}', errors, error_colours())
        models.append(measure_model(member, image_id, label_map, truth))
    none = np.zeros(FARTHEST + 1, np.int64), np.zeros((0, 6), np.int64)
    border, objects = (truth.border(), truth.rows()) if truth else none
    return Measured(image_id, size, bool(truth), border, objects, models)


@dataclass(frozen=True)
class Truth:
    """What is true of one image, found once for all models.

    Attributes:
        label_map: True class ids, (H, W) uint8.
        distance: From the nearest border, in pixels, (H, W).
        objects: Its objects.
    """

    label_map: np.ndarray
    distance: np.ndarray
    objects: Objects

    @classmethod
    def read(cls, path: Path) -> 'Truth':
        label_map = read_mask(path)
        return cls(label_map, border_distance(label_map), find_objects(label_map))

    def border(self) -> np.ndarray:
        return count_by_distance(self.distance, self.label_map != IGNORE_INDEX)

    def rows(self) -> np.ndarray:
        found = self.objects
        return np.column_stack([found.classes, found.areas, found.boxes])


def measure_model(
    member: Predictions, image_id: str, label_map: np.ndarray, truth: Truth | None
) -> Prediction:
    """Count what one model predicted for one image.

    Raises:
        InputError: Confidence is damaged or differs in size, or the truth has an
            unknown id.
    """
    num_classes = len(member.classes)
    known = truth.label_map if truth else None
    levels = sure = None
    try:
        if (member.folder / 'confidence').is_dir():
            confidence = member.confidence(image_id)
            counts = count_confidence(known, label_map, confidence, num_classes)
            levels, sure = counts.sum(1), counts[0] @ np.arange(LEVELS)
        confusion = np.zeros((1, 1), np.int64)
        if known is not None:
            confusion = confusion_matrix(known, label_map, num_classes)
    except InputError:
        raise
    except ValueError as error:
        raise InputError(
            f'{image_id!r} in {member.folder}', str(error), 'predict it again'
        ) from None
    border, judged = np.zeros(FARTHEST + 1, np.int64), np.zeros((0, 2), np.int64)
    if truth:
        wrong = (label_map != truth.label_map) & (truth.label_map != IGNORE_INDEX)
        border = count_by_distance(truth.distance, wrong)
        judged = judge_objects(truth.objects, label_map)
    predicted = np.bincount(label_map.ravel(), minlength=num_classes)
    cells = np.flatnonzero(confusion)
    pixels = confusion.ravel()[cells]
    return Prediction(cells, pixels, predicted, levels, sure, border, judged)


def error_map(gt_seg_map: np.ndarray, pred_seg_map: np.ndarray) -> np.ndarray:
    """Return the kind of error of each pixel: 0 right, else 1 + its index in ``KINDS``.

    Args:
        gt_seg_map: True class ids, (H, W) uint8.
        pred_seg_map: Predicted class ids, (H, W) uint8.

    Returns:
        (H, W) uint8, 255 where the truth is ignored.

    >>> error_map(np.uint8([[1, 0, 1, 1, 255]]), np.uint8([[0, 1, 2, 1, 0]]))
    array([[  1,   2,   3,   0, 255]], dtype=uint8)
    """
    kind = np.where(gt_seg_map == 0, 2, np.where(pred_seg_map == 0, 1, 3))
    kind[gt_seg_map == pred_seg_map] = 0
    kind[gt_seg_map == IGNORE_INDEX] = IGNORE_INDEX
    return kind.astype(np.uint8)


def error_colours() -> np.ndarray:
    """Return RGBA by kind of error, (256, 4) uint8."""
    colours = np.zeros((256, 4), np.uint8)
    for kind, colour in enumerate(ERROR_COLOURS.values(), 1):
        colours[kind] = (*colour, 255)
    colours[IGNORE_INDEX] = IGNORED
    return colours


def _check_size(label_map: np.ndarray, image: np.ndarray, thing: str) -> None:
    if label_map.shape != image.shape[:2]:
        raise InputError(
            thing,
            f'has size {label_map.shape}, its photograph {image.shape[:2]} '
            '(height, width)',
            'make both the same size',
        )
