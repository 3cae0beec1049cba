"""Where predictions come from: checkpoints, votes and their members, earlier rounds."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmsegmentation.command import InputError
from mmsegmentation.files import sha256_of
from mmsegmentation.parts import check_unseen
from mmsegmentation.predictions import MARKER, Predictions, open_predictions

# Of votes among votes; more is a file that was made to lead astray.
DEEPEST = 8


def members_of(predictions: Predictions) -> list[Predictions | None]:
    """Return what predictions were voted or joined from; None for what is gone.

    A folder that holds other predictions by now is gone too.
    """
    told = predictions.origin.get('members')
    return [_open(entry) for entry in told] if isinstance(told, list) else []


def _open(entry: Any) -> Predictions | None:
    entry = entry if isinstance(entry, dict) else {}
    folder = Path(str(entry.get('folder', '')))
    try:
        member = open_predictions(folder)
    except (InputError, OSError):
        return None
    same = sha256_of(folder / MARKER) == entry.get('predictions_sha256')
    return member if same else None


def family_of(predictions: Predictions, depth: int = 0) -> Iterator[Predictions]:
    """Yield predictions, and those that they were voted or joined from, if known."""
    yield predictions
    if depth < DEEPEST:
        for member in members_of(predictions):
            if member:
                yield from family_of(member, depth + 1)


def checkpoints_of(predictions: Predictions) -> list[str]:
    """Return the SHA-256 of each checkpoint that had a part in it, each once."""
    found: dict[str, None] = {}
    for relative in family_of(predictions):
        members = relative.origin.get('members')
        for told in (relative.origin, *(members if isinstance(members, list) else [])):
            sha256 = told.get('checkpoint_sha256') if isinstance(told, dict) else None
            if isinstance(sha256, str):
                found[sha256] = None
    return list(found)


def earlier_rounds(predictions: Predictions) -> list[dict[str, Any]]:
    """Return the pseudo labels that its models were trained on, each once.

    Returns:
        ``part``, ``round``, and ``sha256`` of ``pseudo.json``.
    """
    found: dict[str, dict[str, Any]] = {}
    for relative in family_of(predictions):
        noted = relative.origin.get('pseudo')
        for record in noted if isinstance(noted, list) else []:
            if isinstance(record, dict) and isinstance(record.get('sha256'), str):
                found[record['sha256']] = record
    return list(found.values())


def folds_of(predictions: Predictions, depth: int = 0) -> list[dict[str, Any] | None]:
    """Return the fold of each model that had a part in it, each once; None for none.

    Of a member that is gone nothing is known: it counts as of no fold.
    """
    fold = predictions.origin.get('fold')
    members = members_of(predictions) if depth < DEEPEST else []
    if isinstance(fold, dict) or not members:
        return [fold if isinstance(fold, dict) else None]
    found: list[dict[str, Any] | None] = []
    for member in members:
        for each in folds_of(member, depth + 1) if member else [None]:
            found += [each] if each not in found else []
    return found


def check_family_unseen(predictions: Predictions) -> None:
    """Refuse predictions of images that a model, or a member, was trained on.

    Raises:
        InputError: They are of a training part, or the training images of a fold.
    """
    for relative in family_of(predictions):
        check_unseen(relative.folder, relative.origin)
