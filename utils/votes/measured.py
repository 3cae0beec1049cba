"""How good each member is at each class: what ties and weights may go by."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmsegmentation.command import InputError
from mmsegmentation.files import read_json, sha256_of
from mmsegmentation.predictions import MARKER
from utils.lineage import checkpoints_of
from utils.votes.members import Voters

# Where metrics.json has it, and what it is called in a sentence.
KEYS = {'accuracy': 'Acc', 'iou': 'IoU'}
TITLES = {'accuracy': 'accuracy', 'iou': 'IoU'}


def find_metrics(voters: Voters, files: Sequence[Path] | None) -> list[Path] | None:
    """Return the ``metrics.json`` of each member; None where none has one.

    Args:
        files: A file for each member, in order; without them, the members' own.

    Raises:
        InputError: There are too few, or only some members have theirs.
    """
    members = voters.members
    if files is None:
        own = [member.folder / 'metrics.json' for member in members]
        there = [path.is_file() for path in own]
        if any(there) and not all(there):
            raise InputError(
                own[there.index(False)],
                'no such file, while other members have theirs',
                'pass --metrics for all, or --ties order',
            )
        return own if all(there) else None
    if len(files) != len(members):
        raise InputError(
            '--metrics', f'{len(files)} for {len(members)} folders', 'give one for each'
        )
    return list(files)


def check_owners(voters: Voters, files: Sequence[Path]) -> list[str]:
    """Compare whose scores are named for each member, where that is known.

    Args:
        files: The ``metrics.json`` of each member, in order.

    Returns:
        What is to be said of scores that are of no member's checkpoint.

    Raises:
        InputError: They are those of another member.
    """
    own = [{*checkpoints_of(origin)} for origin in voters.origins]
    notes = []
    for number, (path, wanted) in enumerate(zip(files, own, strict=False)):
        found = _checkpoints_behind(path) if wanted else set()
        if not found or found == wanted:
            continue
        folder = voters.members[number].folder
        if found in own:
            owner = voters.members[own.index(found)].folder
            what = f'holds the scores of {owner}, and stands for {folder}'
            raise InputError(path, what, 'name --metrics in the order of the folders')
        notes.append(f'note: {path} is of another checkpoint than {folder}')
    return notes


def _checkpoints_behind(path: Path) -> set[str]:
    """Return the SHA-256 of the checkpoints that were scored; empty where unknown."""
    try:
        content = read_json(path)
        beside = path.parent / MARKER
        origin = read_json(beside) if beside.is_file() else {}
    except InputError:
        return set()  # to be told when it is read for its scores
    told = content if isinstance(content, dict) else {}
    if isinstance(sha256 := told.get('checkpoint_sha256'), str):
        return {sha256}
    if isinstance(origin, dict) and (found := checkpoints_of(origin)):
        return {*found}
    # What tools/train.py leaves names the file that it is of.
    best = path.parent / Path(str(told.get('checkpoint') or '')).name
    return {sha256_of(best)} if best.is_file() else set()


def read_measured(
    files: Sequence[Path], classes: Sequence[str], name: str
) -> np.ndarray:
    """Return accuracy or IoU by member and class, in [0, 1], nan where unknown.

    Args:
        files: The ``metrics.json`` of each member.
        name: One of ``KEYS``.

    Raises:
        InputError: A file is missing, damaged, or of another class table.
    """
    return np.stack([_read_one(path, classes, name) for path in files])


def _read_one(path: Path, classes: Sequence[str], name: str) -> np.ndarray:
    content, title = read_json(path), TITLES[name]
    try:
        names, values = content['classes'], content[KEYS[name]]
    except (KeyError, TypeError):
        raise InputError(
            path, f'has no {title} by class', 'score the model again'
        ) from None
    if names != list(classes):
        raise InputError(
            path, 'its classes are not those of the predictions', 'name another file'
        )
    try:
        return read_numbers(values, len(names), 1, title, null=True)
    except ValueError as error:
        raise InputError(path, str(error), 'score the model again') from None


def read_numbers(
    values: Any, count: int, most: int, title: str, *, null: bool = False
) -> np.ndarray:
    """Return numbers by class as JSON has them, (count,) float64.

    Args:
        most: None is larger, nor below 0.
        title: What they are.
        null: One may be unknown: null, or NaN as other programs write it, becomes nan.

    Raises:
        ValueError: They are something else.
    """
    if not isinstance(values, list) or len(values) != count:
        raise ValueError(f'its {title} is no list of {count} numbers')
    found = [np.nan if null and (v is None or v != v) else v for v in values]
    for value in found:
        # Of whole numbers, JSON knows such that no float holds; and true is no number.
        number = type(value) in (int, float)
        if not number or not ((value != value and null) or 0 <= value <= most):
            raise ValueError(
                f'its {title} holds {value!r:.20}, no number of 0 to {most}'
            )
    return np.array(found, np.float64)
