"""All images' rows in one table, and votes tried out on parts of it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from mmsegmentation.scores import accuracy_of, iou_of
from utils.votes.choice import Choice
from utils.votes.joint import Candidate, Counted, distinct


@dataclass(frozen=True)
class Table:
    """What is known of the images, joined.

    Attributes:
        rows: Distinct rows of true class and classes of the members, (rows, 1 +
            members) uint8.
        folds: Pixels of each row in each fold, (folds, rows) int64.
        fold_of: The fold of each image, (images,).
        entries: Image, row and pixels, (3, entries) int64, sorted by image.
        candidates: Votes that were tried out image by image.
        confusions: Of each, (candidates, images, classes, classes) int64.
        num_classes: Size of the class table.
    """

    rows: np.ndarray
    folds: np.ndarray
    fold_of: np.ndarray
    entries: np.ndarray
    candidates: Sequence[Candidate]
    confusions: np.ndarray
    num_classes: int

    @property
    def members(self) -> int:
        """Return how many members there are."""
        return self.rows.shape[1] - 1

    def pixels_of(self, folds: Iterable[int]) -> np.ndarray:
        """Return the pixels of each row in some folds, (rows,) int64."""
        return self.folds[sorted(folds)].sum(axis=0)

    def images_of(self, folds: Iterable[int]) -> np.ndarray:
        """Return the places of the images in some folds, sorted."""
        return np.flatnonzero(np.isin(self.fold_of, list(folds)))

    def confusions_of(
        self, folds: Iterable[int], chosen: Sequence[int], choice: Choice
    ) -> np.ndarray:
        """Return the confusion matrices of a vote by class ids, image by image.

        Returns:
            (images, classes, classes) int64.
        """
        images = self.images_of(folds)
        labels = labels_of(self.rows, chosen, choice)
        place = np.full(len(self.fold_of), -1)
        place[images] = np.arange(len(images))
        image, row, pixels = self.entries
        inside = place[image] >= 0
        image, row, pixels = place[image[inside]], row[inside], pixels[inside]
        size = self.num_classes
        code = (image * size + self.rows[row, 0]) * size + labels[row]
        counts = np.bincount(code, pixels, minlength=len(images) * size * size)
        return counts.astype(np.int64).reshape(-1, size, size)


def join(
    counted: Sequence[Counted],
    fold_of: np.ndarray,
    candidates: Sequence[Candidate],
    num_classes: int,
) -> Table:
    """Return the table of all images.

    Args:
        fold_of: The fold of each image, (images,).
    """
    everything = np.concatenate([one.rows for one in counted])
    first, group = distinct(everything)
    image = np.repeat(np.arange(len(counted)), [len(one.rows) for one in counted])
    pixels = np.concatenate([one.pixels for one in counted])
    count = int(fold_of.max()) + 1
    code = fold_of[image] * len(first) + group
    folds = np.bincount(code, pixels, minlength=count * len(first))
    return Table(
        rows=everything[first],
        folds=folds.astype(np.int64).reshape(count, -1),
        fold_of=fold_of,
        entries=np.stack([image, group, pixels]),
        candidates=candidates,
        confusions=np.stack([one.confusions for one in counted], axis=1),
        num_classes=num_classes,
    )


def labels_of(rows: np.ndarray, chosen: Sequence[int], choice: Choice) -> np.ndarray:
    """Return the outcome of a vote by class ids for each row, (rows,) uint8."""
    maps = np.ascontiguousarray(rows.T[[1 + i for i in chosen]])[:, None]
    return choice.rule(maps).label_map[0]  # type: ignore[call-arg, arg-type]


def confusion_of(
    truth: np.ndarray, labels: np.ndarray, pixels: np.ndarray, num_classes: int
) -> np.ndarray:
    """Return pixels by true class and label, (classes, classes) float64, exact.

    Args:
        truth: True class of each row, (rows,) uint8.
        labels: What was said of it, (rows,) uint8.
        pixels: How often, (rows,) int64.
    """
    code = truth.astype(np.intp) * num_classes + labels
    counts = np.bincount(code, pixels, minlength=num_classes**2)
    return counts.reshape(num_classes, num_classes)


def measure_members(
    rows: np.ndarray, pixels: np.ndarray, num_classes: int
) -> dict[str, np.ndarray]:
    """Return ``accuracy`` and ``iou`` by member and class, nan where unknown."""
    confusions = np.stack(
        [confusion_of(rows[:, 0], said, pixels, num_classes) for said in rows.T[1:]]
    )
    return {'accuracy': accuracy_of(confusions), 'iou': iou_of(confusions)}
