"""The numbers of a report: what all images say together."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np

from mmsegmentation.intervals import estimate_mean
from mmsegmentation.scores import (
    accuracy_of,
    areas_of,
    image_ratios,
    iou_of,
    iou_of_areas,
    mean_known,
    pooled_ratios,
)
from utils.error_page.calibration import LEVELS, reliability
from utils.error_page.comparison import compare
from utils.error_page.errors import (
    KINDS,
    OUTCOMES,
    SIZES,
    kinds_of,
    outcome_of,
    size_of,
)
from utils.error_page.measure import Measured, Prediction


@dataclass(frozen=True)
class Model:
    """One model on all images.

    Attributes:
        name: What the report calls it.
        images: All images, in order; ``Measured.models`` at ``place`` is its own.
        place: Its number.
        num_classes: Number of classes.
    """

    name: str
    images: Sequence[Measured]
    place: int
    num_classes: int

    @cached_property
    def scored(self) -> list[tuple[Measured, Prediction]]:
        """The images with a labelled pixel, and what it made of them."""
        return [(m, m.models[self.place]) for m in self.images if m.scored]

    @property
    def predictions(self) -> list[Prediction]:
        """What it made of every image."""
        return [m.models[self.place] for m in self.images]

    @property
    def counted(self) -> list[Prediction]:
        """What it made of the scored images, or of all where none is scored."""
        return [p for _, p in self.scored] or self.predictions

    @cached_property
    def predicted_anywhere(self) -> np.ndarray:
        """Predicted pixels by class of all images, unlabelled pixels too."""
        return np.sum([p.predicted for p in self.predictions], axis=0)

    @property
    def predicted(self) -> np.ndarray:
        """Predicted pixels by class: the labelled ones, or all where none is."""
        return self.confusion.sum(0) if self.scored else self.predicted_anywhere

    def confusion_of(self, prediction: Prediction) -> np.ndarray:
        """Return counts of one image, (classes, classes), true classes in rows."""
        flat = np.zeros(self.num_classes**2, np.int64)
        flat[prediction.cells] = prediction.pixels
        return flat.reshape(self.num_classes, self.num_classes)

    @cached_property
    def confusion(self) -> np.ndarray:
        """Counts over all scored images, (classes, classes)."""
        flat = np.zeros(self.num_classes**2, np.int64)
        for _, prediction in self.scored:
            flat[prediction.cells] += prediction.pixels
        return flat.reshape(self.num_classes, self.num_classes)

    @cached_property
    def areas(self) -> np.ndarray:
        """Correct pixels and union by class, (scored images, 2, classes) int64."""
        return np.stack([areas_of(self.confusion_of(p)) for _, p in self.scored])

    @cached_property
    def image_miou(self) -> dict[str, float]:
        """mIoU of each scored image by its id, in [0, 1]."""
        values = mean_known(iou_of_areas(self.areas)).tolist()
        return {m.image_id: v for (m, _), v in zip(self.scored, values, strict=True)}

    @cached_property
    def levels(self) -> np.ndarray | None:
        """All pixels and right ones by confidence, (2, LEVELS); None without.

        Of the scored images, where there is one: with labels, no number counts more.
        """
        kept = [p.levels for p in self.counted if p.levels is not None]
        return np.sum(kept, axis=0) if kept else None


@dataclass(frozen=True)
class Summary:
    """All models of a report on the same images.

    Attributes:
        classes: Class names, in the order of their ids.
        images: All images, in order.
        models: All models.
        near: Pixels this close to a true border count as near, in pixels.
    """

    classes: tuple[str, ...]
    images: Sequence[Measured]
    models: list[Model]
    near: int

    @cached_property
    def labelled(self) -> int:
        """How many images have a labelled pixel."""
        return sum(m.scored for m in self.images)

    def content(self) -> dict[str, Any]:
        """Return all numbers, ready for ``report.json``; shares are in [0, 1]."""
        return {
            'images': len(self.images),
            'labelled_images': self.labelled,
            'classes': list(self.classes),
            'boundary_px': self.near,
            'models': [self.describe(model) for model in self.models],
            'comparisons': self.comparisons(),
        }

    def describe(self, model: Model) -> dict[str, Any]:
        """Return the numbers of one model; without labels those that need none."""
        content: dict[str, Any] = {
            'name': model.name,
            'predicted_pixels': model.predicted.tolist(),
            'mean_confidence': mean_confidence(model.levels),
        }
        if not self.labelled:
            return content
        return {
            **content,
            **self._scores(model),
            'errors': self._errors(model),
            'objects': count_objects(model),
            'calibration': self._calibration(model),
        }

    def _scores(self, model: Model) -> dict[str, Any]:
        pooled, ratios = model.confusion, pooled_ratios(model.areas)
        over_pixels = estimate_mean(ratios)
        over_images = estimate_mean(image_ratios(model.areas))
        by_class = [estimate_mean(ratios.only(i)) for i in range(len(self.classes))]
        with np.errstate(invalid='ignore'):
            precision = accuracy_of(pooled.T)
        return {
            'mIoU': over_pixels.value,
            'mIoU_interval': list(over_pixels.interval),
            'mIoU_image': over_images.value,
            'mIoU_image_interval': list(over_images.interval),
            'mAcc': float(mean_known(accuracy_of(pooled))),
            'aAcc': float(np.trace(pooled) / pooled.sum()),
            'IoU': known(iou_of(pooled)),
            'IoU_interval': [
                None if np.isnan(iou.value) else list(iou.interval) for iou in by_class
            ],
            'Acc': known(accuracy_of(pooled)),
            'Precision': known(precision),
            'confusion': pooled.tolist(),
        }

    def _errors(self, model: Model) -> dict[str, Any]:
        pixels = np.sum([m.border for m, _ in model.scored], axis=0)
        wrong = np.sum([p.border for _, p in model.scored], axis=0)
        kinds = kinds_of(model.confusion)
        inside = slice(None, self.near)
        return {
            'wrong_pixels': int(wrong.sum()),
            'kinds': dict(zip(KINDS, kinds.tolist(), strict=True)),
            'near_border_share': share(wrong[inside].sum(), wrong.sum()),
            'near_border_pixel_share': share(pixels[inside].sum(), pixels.sum()),
            'error_rate_near': share(wrong[inside].sum(), pixels[inside].sum()),
            'error_rate_far': share(
                wrong[self.near :].sum(), pixels[self.near :].sum()
            ),
            'pixels_by_distance': pixels.tolist(),
            'wrong_by_distance': wrong.tolist(),
        }

    def _calibration(self, model: Model) -> dict[str, Any] | None:
        levels = [p.levels for _, p in model.scored if p.levels is not None]
        sums = [p.sure for _, p in model.scored if p.sure is not None]
        if not levels:
            return None
        curve = reliability(np.sum(levels, axis=0))
        pixels = model.confusion.sum(0)
        sure = np.sum(sums, axis=0) / (LEVELS - 1)
        curve['by_class'] = [share(s, p) for s, p in zip(sure, pixels, strict=True)]
        return curve

    def comparisons(self) -> list[dict[str, Any]]:
        """Return the difference of every two models, paired by image."""
        if not self.labelled:
            return []
        return [
            {
                'one': one.name,
                'two': two.name,
                **compare(one.areas, two.areas, self.classes),
            }
            for one, two in combinations(self.models, 2)
        ]


def count_objects(model: Model) -> list[dict[str, Any]]:
    """Return, by size, how many true objects were found and where wrong pixels lie.

    ``error_share`` is the share of all wrong pixels that lies in objects of this size,
    ``pixel_share`` the share of all labelled pixels.
    """
    rows = np.concatenate([m.objects for m, _ in model.scored])
    judged = np.concatenate([p.objects for _, p in model.scored])
    sizes, outcomes = size_of(rows[:, 1]), outcome_of(rows[:, 1], judged)
    wrong = model.confusion.sum() - np.trace(model.confusion)
    table = []
    for number, (name, least) in enumerate(SIZES):
        mine = sizes == number
        areas, right = rows[mine, 1].sum(), judged[mine, 0].sum()
        counts = np.bincount(outcomes[mine], minlength=len(OUTCOMES))
        table.append(
            {
                'size': name,
                'least_area': least,
                'objects': int(mine.sum()),
                **dict(zip(OUTCOMES, counts.tolist(), strict=True)),
                'found_share': share(counts[0], mine.sum()),
                'error_share': share(areas - right, wrong),
                'pixel_share': share(areas, model.confusion.sum()),
            }
        )
    return table


def mean_confidence(levels: np.ndarray | None) -> float | None:
    """Return the mean confidence in [0, 1] of counts by level, (2, LEVELS)."""
    if levels is None or not levels[0].sum():
        return None
    return float(levels[0] @ np.arange(LEVELS) / levels[0].sum() / (LEVELS - 1))


def share(part: float, whole: float) -> float | None:
    """Return ``part`` of ``whole`` in [0, 1]; None of nothing."""
    return float(part / whole) if whole else None


def known(values: np.ndarray) -> list[float | None]:
    """Return numbers for JSON: None where they are nan."""
    return [None if v != v else v for v in values.tolist()]
