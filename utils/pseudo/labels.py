"""Make pseudo labels: predictions with 255 where they are not trusted."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmsegmentation.classes import IGNORE_INDEX
from mmsegmentation.command import InputError
from mmsegmentation.files import link_or_copy, mask_name, write_mask
from mmsegmentation.predictions import Predictions
from utils.parallel import Workers
from utils.pseudo.thresholds import LEVELS, least_confidence


@dataclass(frozen=True)
class Rules:
    """What is trusted.

    Attributes:
        thresholds: Least confidence by class, in [0, 1]; infinite where none is kept.
        min_region: Connected regions of a kept class below so many pixels are not.
        min_kept: Images with a smaller share of kept pixels are left out, in [0, 1].
        soft: Confidence is kept beside the labels, to be weighed by.
    """

    thresholds: np.ndarray
    min_region: int = 0
    min_kept: float = 0.0
    soft: bool = False


@dataclass(frozen=True)
class Outcome:
    """What became of one image.

    Attributes:
        written: Whether enough of it is trusted.
        predicted: Pixels by predicted class, (256,) int64.
        kept: Those that are trusted, whether the image is written or not.
    """

    written: bool
    predicted: np.ndarray
    kept: np.ndarray


@dataclass(frozen=True)
class PseudoLabels:
    """Predictions to be trusted where they are sure.

    Attributes:
        predictions: Class ids and confidence.
        images: Folder of the photographs.
        rules: What is trusted.
        allow_empty: Whether it is no error that nothing is trusted.
    """

    predictions: Predictions
    images: Path
    rules: Rules
    allow_empty: bool = False

    def write(
        self, folder: Path, sizes: Mapping[str, tuple[int, int]], workers: Workers
    ) -> dict[str, Any]:
        """Fill ``folder``; return what became of images and pixels.

        Args:
            sizes: Height and width of the photographs, by image id: these are labelled.

        Raises:
            InputError: Sizes differ, a file is damaged, or nothing is trusted at all.
        """
        tasks = [(image_id, size, folder) for image_id, size in sizes.items()]
        outcomes = list(workers.map(self.write_one, tasks, 'pseudo labels'))
        fates = dict(zip(sizes, outcomes, strict=True))
        images = [image_id for image_id, outcome in fates.items() if outcome.written]
        if not images and not self.allow_empty:
            nothing, way_out = 'no pixel is trusted', 'thresholds or --precision'
            if self.rules.min_kept:
                nothing = 'no image is kept'
                way_out = 'thresholds, --precision or --min-kept'
            raise InputError(self.predictions.folder, nothing, f'lower {way_out}')
        count = len(self.predictions.classes)
        return {
            **_shares(
                np.sum([outcome.predicted for outcome in outcomes], 0)[:count],
                np.sum([outcome.kept for outcome in outcomes], 0)[:count],
            ),
            'images': images,
            'dropped': [image_id for image_id, o in fates.items() if not o.written],
        }

    def write_one(self, image_id: str, size: tuple[int, int], folder: Path) -> Outcome:
        """Write photograph and labels of one image, if enough of it is trusted."""
        label_map, trusted = self._read(image_id, size)
        predicted, kept = (
            np.bincount(ids.ravel(), minlength=256) for ids in (label_map, trusted)
        )
        kept[IGNORE_INDEX] = 0
        written = kept.any() and kept.sum() / trusted.size >= self.rules.min_kept
        if written:
            link_or_copy(self.images / image_id, folder / 'images' / image_id)
            name = mask_name(image_id)
            write_mask(folder / 'mask' / name, trusted, len(self.predictions.classes))
            if self.rules.soft:
                source = self.predictions.folder / 'confidence' / name
                link_or_copy(source, folder / 'confidence' / name)
        return Outcome(bool(written), predicted, kept)

    def _read(
        self, image_id: str, size: tuple[int, int]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return class ids, as predicted and with 255 where not trusted."""
        label_map = self.predictions.mask(image_id)
        confidence = self.predictions.confidence(image_id)
        if not label_map.shape == confidence.shape == size:
            raise InputError(
                repr(image_id),
                f'image {size}, mask {label_map.shape} and confidence '
                f'{confidence.shape} differ in size',
                'predict it again',
            )
        trusted = trust(label_map, confidence, self.rules.thresholds)
        return label_map, drop_small(trusted, self.rules.min_region)


def _shares(predicted: np.ndarray, kept: np.ndarray) -> dict[str, list]:
    pairs = list(zip(kept.tolist(), predicted.tolist(), strict=True))
    return {
        'predicted_pixels': predicted.tolist(),
        'kept_pixels': kept.tolist(),
        'kept_share': [k / p if p else None for k, p in pairs],
    }


def trust(
    label_map: np.ndarray, confidence: np.ndarray, thresholds: np.ndarray
) -> np.ndarray:
    """Return class ids with 255 where confidence is below the class's threshold.

    Args:
        label_map: Class ids, (H, W) uint8.
        confidence: 255 x the winner's probability, (H, W) uint8.
        thresholds: By class, in [0, 1], infinite where none is kept.

    >>> ids = np.array([[0, 1, 1]], dtype=np.uint8)
    >>> trust(ids, np.array([[250, 128, 127]], dtype=np.uint8), np.array([0.99, 0.5]))
    array([[255,   1, 255]], dtype=uint8)
    """
    classes = len(thresholds)
    sure = np.arange(LEVELS) >= least_confidence(thresholds)[:, None]
    # One look into a table for each pair of class and confidence.
    table = np.where(sure, np.arange(classes)[:, None], IGNORE_INDEX).astype(np.uint8)
    codes = label_map.astype(np.uint16) << 8 | confidence
    return table.ravel()[codes]


def drop_small(label_map: np.ndarray, least: int) -> np.ndarray:
    """Return class ids with 255 for regions of a class below ``least`` pixels.

    Pixels of a region share an edge.

    Args:
        label_map: Class ids, (H, W) uint8; 255 is no class.

    >>> drop_small(np.array([[1, 1, 2], [2, 2, 1]], dtype=np.uint8), 2)
    array([[  1,   1, 255],
           [  2,   2, 255]], dtype=uint8)
    """
    if least < 2:
        return label_map
    import cv2

    result = label_map.copy()
    present = np.flatnonzero(np.bincount(label_map.ravel(), minlength=256)[:255])
    for class_id in present.tolist():
        held = (label_map == class_id).view(np.uint8)
        _, regions, stats, _ = cv2.connectedComponentsWithStats(held, connectivity=4)
        small = stats[:, cv2.CC_STAT_AREA] < least
        small[0] = False  # what is not of this class
        if small.any():
            result[small[regions]] = IGNORE_INDEX
    return result
