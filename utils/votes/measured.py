"""How good each member is at each class: what ties and weights may go by."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mmsegmentation.command import InputError
from mmsegmentation.files import read_json
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
        names = [str(n) for n in content['classes']]
        values = content[KEYS[name]]
        found = np.array([np.nan if v is None else float(v) for v in values])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            path, f'has no {title} by class ({error!r})', 'score the model again'
        ) from None
    if names != list(classes) or len(found) != len(names):
        raise InputError(
            path, 'its classes are not those of the predictions', 'name another file'
        )
    if (found < 0).any() or (found > 1).any():
        raise InputError(path, f'has an {title} outside [0, 1]', 'score it again')
    return found
