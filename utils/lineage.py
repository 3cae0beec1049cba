"""Where predictions come from: checkpoints, votes and their members, earlier rounds.

An origin is what ``predictions.json`` says. That of a vote, or of folds that were
joined, tells of each member all that the member's own told, so that nothing is lost
when a member is moved, made anew or deleted.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mmsegmentation.files import sha256_of
from mmsegmentation.parts import check_unseen
from mmsegmentation.predictions import MARKER

Origin = Mapping[str, Any]
# Of votes among votes; more is a file that was made to lead astray.
DEEPEST = 8
# What utils/join.py calls its way of putting members together, which is no vote.
JOINED = 'out of fold'
# Of a vote the same as of its members, and long.
_LISTED = 'classes', 'images'


def entry_of(folder: Path, origin: Origin) -> dict[str, Any]:
    """Return what is told of a member: its folder, and the whole of its origin.

    Returns:
        ``folder`` and ``predictions_sha256`` first, whatever the origin calls so.
    """
    told = {key: value for key, value in origin.items() if key not in _LISTED}
    own = {'folder': str(folder), 'predictions_sha256': sha256_of(folder / MARKER)}
    return own | told | own


def family_of(origin: Origin, depth: int = 0) -> Iterator[Origin]:
    """Yield an origin, and those of the predictions that were voted or joined."""
    yield origin
    if depth < DEEPEST:
        for member in _members_of(origin):
            yield from family_of(member, depth + 1)


def _members_of(origin: Origin) -> list[Origin]:
    told = origin.get('members')
    entries = told if isinstance(told, list) else []
    return [entry if isinstance(entry, dict) else {} for entry in entries]


def checkpoints_of(origin: Origin) -> list[str]:
    """Return the SHA-256 of each checkpoint that had a part in it, sorted.

    >>> checkpoints_of({'members': [{'checkpoint_sha256': 'b'}, {'members': []}]})
    ['b']
    """
    found = (relative.get('checkpoint_sha256') for relative in family_of(origin))
    return sorted({sha256 for sha256 in found if isinstance(sha256, str)})


def steps_of(origin: Origin) -> int | None:
    """Return the highest number of training steps of the models behind predictions.

    Returns:
        None if one of the models has no record of its steps.

    >>> one, two = ({'checkpoint_sha256': 'a', 'steps': n} for n in (600, 1000))
    >>> steps_of({'members': [one, two]})
    1000
    """
    models = [o for o in family_of(origin) if o.get('checkpoint_sha256')]
    steps = [model.get('steps') for model in models]
    known = [number for number in steps if isinstance(number, int)]
    return max(known) if steps and len(known) == len(steps) else None


def earlier_rounds(origin: Origin) -> list[dict[str, Any]]:
    """Return the pseudo labels that its models were trained on, each once.

    Returns:
        ``part``, ``round``, and ``sha256`` of ``pseudo.json``.
    """
    found: dict[str, dict[str, Any]] = {}
    for relative in family_of(origin):
        noted = relative.get('pseudo')
        for record in noted if isinstance(noted, list) else []:
            if isinstance(record, dict) and isinstance(record.get('sha256'), str):
                found[record['sha256']] = record
    return list(found.values())


def folds_of(origin: Origin, depth: int = 0) -> list[dict[str, Any] | None]:
    """Return the fold of each model that had a part in it, each once; None for none.

    Of a plain folder of masks nothing is known: it counts as of no fold.
    """
    fold = origin.get('fold')
    members = _members_of(origin) if depth < DEEPEST else []
    if isinstance(fold, dict) or not members:
        return [fold if isinstance(fold, dict) else None]
    found: list[dict[str, Any] | None] = []
    for member in members:
        for each in folds_of(member, depth + 1):
            found += [each] if each not in found else []
    return found


def is_vote(origin: Origin) -> bool:
    """Return whether predictions are a vote of several."""
    return bool(_members_of(origin)) and origin.get('method') != JOINED


def makers_of(origin: Origin, depth: int = 0) -> list[str]:
    """Return what made predictions, in words, sorted; ? stands for what is not known.

    Folds that were joined are what each of them is.

    >>> makers_of({'config': 'configs/a.py', 'tta': True})
    ['a.py --tta']
    >>> members = [{'config': 'b.py'}, {'config': 'a.py'}]
    >>> makers_of({'method': 'soft', 'members': members})
    ['soft vote of a.py and b.py']
    >>> makers_of({'method': 'soft', 'members': [{'folder': 'masks'}]})
    ['soft vote of ?']
    """
    members = _members_of(origin) if depth < DEEPEST else []
    if not members:
        config = origin.get('config')
        tta = ' --tta' if origin.get('tta') is True else ''
        return [Path(config).name + tta] if isinstance(config, str) else ['?']
    names = sorted({name for each in members for name in makers_of(each, depth + 1)})
    if not is_vote(origin):
        return names
    return [f'{origin.get("method")} vote of {" and ".join(names)}']


def check_family_unseen(folder: Path, origin: Origin) -> None:
    """Refuse predictions of images that a model, or a member, was trained on.

    Raises:
        InputError: They are of a training part, or the training images of a fold.
    """
    for relative in family_of(origin):
        check_unseen(Path(str(relative.get('folder', folder))), relative)
