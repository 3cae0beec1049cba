"""The prediction folder: what ``tools/test.py`` writes and ``utils`` commands read.

``masks/`` and ``confidence/`` hold one PNG per image id (8 bit; confidence is 255 x the
winner's probability), ``probs/``, where asked for, one NumPy file with the
probabilities of all classes at a quarter of the size. ``predictions.json`` says where
they come from and names the classes and the image ids, ``metrics.json`` holds scores
where labels exist.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
from PIL import Image

from mmsegmentation.command import InputError
from mmsegmentation.files import (
    check_image_id,
    mask_name,
    read_json,
    read_mask,
    require_folder,
    write_json,
    write_mask,
)
from mmsegmentation.scores import confusion_matrix, summarise

MARKER = 'predictions.json'


@dataclass(frozen=True)
class Predictions:
    """An opened prediction folder.

    Attributes:
        folder: Where it stands.
        classes: Class names, in the order of their ids.
        image_ids: The images it holds, in the order they were predicted.
        origin: All that ``predictions.json`` says.
    """

    folder: Path
    classes: tuple[str, ...]
    image_ids: tuple[str, ...]
    origin: dict[str, Any]

    def mask(self, image_id: str) -> np.ndarray:
        """Return predicted class ids, (H, W) uint8.

        Raises:
            InputError: The mask is missing, unreadable, or has an unknown id.
        """
        path = self.folder / 'masks' / mask_name(image_id)
        label_map = read_mask(path)
        if label_map.size and label_map.max() >= len(self.classes):
            raise InputError(
                path,
                f'holds class id {label_map.max()}, but there are only '
                f'{len(self.classes)} classes',
                'predict it again',
            )
        return label_map

    def confidence(self, image_id: str) -> np.ndarray:
        """Return 255 x the winner's probability, (H, W) uint8.

        Raises:
            InputError: The file is missing or unreadable.
        """
        path = self.folder / 'confidence' / mask_name(image_id)
        return read_mask(path)

    def probs(self, image_id: str) -> np.ndarray | None:
        """Return 255 x the probability of each class, (classes, h, w) uint8, if kept.

        Raises:
            InputError: The file is damaged.
        """
        path = (self.folder / 'probs' / mask_name(image_id)).with_suffix('.npy')
        if not path.is_file():
            return None
        try:
            # Mapped: a header of a damaged file may ask for any amount of memory.
            probs = np.lib.format.open_memmap(path, mode='r')
        except (OSError, ValueError, OverflowError, TokenError) as error:
            raise InputError(
                path, f'not readable ({error})', 'predict it again'
            ) from None
        count = len(self.classes)
        if probs.dtype != np.uint8 or probs.ndim != 3 or len(probs) != count:
            raise InputError(
                path,
                f'is {probs.dtype} of shape {probs.shape}, not uint8 of {count} '
                'classes',
                'predict it again',
            )
        return np.array(probs)

    def metrics(self) -> dict | None:
        """Return the scores of ``metrics.json``, or None where there are none."""
        path = self.folder / 'metrics.json'
        return read_json(path) if path.is_file() else None


def open_predictions(folder: Path) -> Predictions:
    """Open a prediction folder.

    Raises:
        InputError: ``folder`` is none, or its ``predictions.json`` is damaged.
    """
    require_folder(folder, 'run tools/test.py first')
    path = folder / MARKER
    if not path.is_file():
        raise InputError(
            folder, f'no prediction folder (no {MARKER})', 'run tools/test.py first'
        )
    origin = read_json(path)
    try:
        if not isinstance(origin['classes'], list):
            raise TypeError('classes is no list')
        if not isinstance(origin['images'], list):
            raise TypeError('images is no list')
        classes = tuple(map(str, origin['classes']))
        image_ids = tuple(check_image_id(str(i)) for i in origin['images'])
    except (KeyError, TypeError) as error:
        raise InputError(path, f'damaged ({error!r})', 'predict again') from None
    if len({mask_name(i) for i in image_ids}) != len(image_ids):
        raise InputError(path, 'names an image twice', 'predict again')
    return Predictions(folder, classes, image_ids, origin)


def write_prediction(
    folder: Path, image_id: str, label_map: np.ndarray, confidence: np.ndarray | None
) -> None:
    """Write one image's class ids and confidence, both (H, W) uint8."""
    name = mask_name(image_id)
    write_mask(folder / 'masks' / name, label_map)
    if confidence is not None:
        path = folder / 'confidence' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(confidence).save(path, compress_level=1)


def write_probs(folder: Path, image_id: str, probs: np.ndarray) -> None:
    """Write 255 x the probability of each class, (classes, H / 4, W / 4) uint8."""
    path = (folder / 'probs' / mask_name(image_id)).with_suffix('.npy')
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, probs, allow_pickle=False)


def finish_predictions(
    folder: Path,
    classes: Sequence[str],
    image_ids: Sequence[str],
    origin: dict[str, Any],
) -> None:
    """Write ``predictions.json``, which makes ``folder`` a prediction folder."""
    content = {**origin, 'classes': list(classes), 'images': list(image_ids)}
    write_json(folder / MARKER, content)


def score_predictions(folder: Path, masks: Path | Mapping[str, Path]) -> dict:
    """Score a prediction folder, write its ``metrics.json`` and return it.

    Args:
        masks: The folder of true masks, one for each predicted image, or the path of
            each by image id.

    Raises:
        InputError: A mask is missing, differs in size, or has an unknown id; or there
            is no labelled pixel.
    """
    predictions = open_predictions(folder)
    confusions = {}
    for image_id in predictions.image_ids:
        path = (
            masks / mask_name(image_id) if isinstance(masks, Path) else masks[image_id]
        )
        try:
            confusions[image_id] = confusion_matrix(
                read_mask(path), predictions.mask(image_id), len(predictions.classes)
            )
        except InputError:
            raise
        except ValueError as error:
            raise InputError(path, str(error), 'check the data root') from None
    try:
        metrics = summarise(confusions, predictions.classes)
    except ValueError as error:
        thing = masks if isinstance(masks, Path) else folder
        raise InputError(thing, str(error), 'score a part with masks') from None
    write_json(folder / 'metrics.json', metrics)
    return metrics
