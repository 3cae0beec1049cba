"""Fit thresholds on predictions of images that have true labels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmsegmentation.command import InputError
from mmsegmentation.files import sha256_of
from mmsegmentation.folds import open_folds
from mmsegmentation.parts import find_masks, named_parts
from mmsegmentation.predictions import MARKER, Predictions, open_predictions
from utils.lineage import check_family_unseen, checkpoints_of, makers_of
from utils.parallel import Workers
from utils.pseudo.thresholds import Fit, count_right, fit_thresholds


@dataclass(frozen=True)
class Fitted:
    """Thresholds, and what they were fitted on.

    Attributes:
        fit: The thresholds.
        source: The predictions.
        image_ids: Those of its images that were used.
        asked: The precision that was asked for, in [0, 1].
        note: What is to be said where another model is labelled with.
    """

    fit: Fit
    source: Predictions
    image_ids: Sequence[str]
    asked: float
    note: str | None

    def describe(self) -> dict[str, Any]:
        """Return what ``pseudo.json`` says about it; null for what is not known."""
        known = {
            'reached': self.fit.precision.tolist(),
            'reached_at_least': self.fit.least.tolist(),
            'kept_share': self.fit.kept.tolist(),
        }
        return {
            'predictions': str(self.source.folder),
            'predictions_sha256': sha256_of(self.source.folder / MARKER),
            'precision': self.asked,
            'images': len(self.image_ids),
            **{k: [None if x != x else x for x in v] for k, v in known.items()},
        }


@dataclass(frozen=True)
class Source:
    """Predictions to fit thresholds on.

    Attributes:
        predictions: Of images that their model was not trained on.
        masks: The true mask of each image that is fitted on.
        note: What is to be said where another model is labelled with.
    """

    predictions: Predictions
    masks: Mapping[str, Path]
    note: str | None

    def fit(self, precision: float, workers: Workers) -> Fitted:
        """Fit the threshold of each class.

        Args:
            precision: Share of the kept pixels that must be right, in [0, 1].

        Raises:
            InputError: A file is missing or damaged, or no pixel has a true label.
        """
        image_ids = [*self.masks]
        counts = count_right(self.predictions, image_ids, self.masks, workers)
        fit = fit_thresholds(counts, precision)
        return Fitted(fit, self.predictions, image_ids, precision, self.note)


def open_source(folder: Path, predictions: Predictions, root: Path) -> Source:
    """Open what thresholds are fitted on, for ``predictions`` to be labelled with.

    Where the model is of a fold, the images that the fold leaves out measure what is
    trained next: they are not fitted on, if ``folder`` has others.

    Args:
        folder: Predictions of images that their model was not trained on.
        root: The data root with the true masks.

    Raises:
        InputError: The model was trained on these images, classes differ, or a mask is
            missing.
    """
    source = open_predictions(folder)
    if source.classes != predictions.classes:
        raise InputError(
            folder,
            f'its classes differ from those of {predictions.folder}',
            'predict both with one class table',
        )
    check_family_unseen(folder, source.origin)
    image_ids = _not_left_out(source, predictions, root)
    masks = find_masks(root, image_ids, named_parts(source.origin))
    return Source(source, masks, _note(source, predictions))


def _note(source: Predictions, predictions: Predictions) -> str | None:
    """Return what is to be said where thresholds of one model serve another."""
    fitted, labelled = (makers_of(each.origin) for each in (source, predictions))
    same = fitted == labelled
    if '?' in ' '.join(fitted + labelled):
        same = _votes(fitted) == _votes(labelled)
    if not same:
        return (
            f'warning: {predictions.folder} is by {", ".join(labelled)}, and the '
            f'thresholds are of {", ".join(fitted)}: at the same confidence, the one '
            'may be wrong more often than the other'
        )
    own = {*checkpoints_of(source.origin)}
    if own.isdisjoint(checkpoints_of(predictions.origin)):
        return (
            'note: no checkpoint that is labelled with made the predictions that were '
            'fitted on'
        )
    return None


def _votes(makers: Sequence[str]) -> set[str]:
    """Return how makers vote, nothing for a model: known where they are not."""
    return {name.rpartition(' vote of ')[0] for name in makers}


def _not_left_out(
    source: Predictions, predictions: Predictions, root: Path
) -> Sequence[str]:
    record = predictions.origin.get('fold')
    if not isinstance(record, dict):
        return source.image_ids
    folds = open_folds(root / 'folds')
    if folds.sha256 != record.get('folds_sha256'):
        raise InputError(
            predictions.folder,
            f'is of other folds than {folds.folder}',
            'predict again with these',
        )
    left_out = set(folds.check(record.get('fold')).image_ids('valid'))
    return [i for i in source.image_ids if i not in left_out] or source.image_ids
