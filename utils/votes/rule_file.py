"""The file of a fitted vote: written by ``ensemble.py fit``, applied by ``--rule``.

It names the members, best first, with the checkpoints they were predicted with, the
weight of each (one number, or one for each class), and what decides ties.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmsegmentation.command import InputError
from mmsegmentation.files import read_json, write_json
from utils.lineage import checkpoints_of
from utils.votes.choice import METHODS, Choice, rows_of
from utils.votes.measured import read_numbers
from utils.votes.members import Voters
from utils.voting import MEASURED, MOST, TIES

KIND = 'vote'


def write_rule(
    path: Path,
    voters: Voters,
    chosen: Sequence[int],
    choice: Choice,
    scores: Mapping[str, Any],
) -> None:
    """Write a fitted vote, whole or not at all.

    Args:
        chosen: The members that vote, by their place among ``voters``, in the order of
            the choice.
    """
    members = []
    for row, i in enumerate(chosen):
        weights = choice.weights[row].tolist()
        entry = _name(voters, i)
        entry |= {'weight': weights[0]} if len({*weights}) == 1 else {}
        entry |= {'weights': weights} if len({*weights}) > 1 else {}
        if choice.values is not None:
            entry[choice.ties] = rows_of(choice.values)[row]
        members.append(entry)
    others = [i for i in range(len(voters.members)) if i not in chosen]
    content = {
        'kind': KIND,
        'method': choice.method,
        'ties': choice.ties,
        'members': members,
        'left_out': [_name(voters, i) for i in others],
        'classes': list(voters.classes),
        'scores': scores,
    }
    write_json(path, content)


def _name(voters: Voters, index: int) -> dict[str, Any]:
    return {
        'name': str(voters.members[index].folder),
        'checkpoints': checkpoints_of(voters.origins[index]),
    }


def apply_rule(
    path: Path, voters: Voters, *, by_order: bool = False
) -> tuple[Voters, Choice]:
    """Return the members of a fitted vote in its order, and the vote.

    Args:
        voters: Members that were predicted with the same checkpoints. Where any of them
            is unknown, the members are those of the file in the same order.
        by_order: They are, whatever their checkpoints.

    Raises:
        InputError: The file is damaged or of another class table, or the members are
            not those that it names.
    """
    content = read_json(path)
    try:
        choice = _read_choice(content)
        wanted = [_read_name(entry) for entry in content['members']]
        others = [_read_name(entry) for entry in content.get('left_out', [])]
        names = [name for name, _ in (*wanted, *others)]
        if len({*names}) != len(names):
            raise ValueError('a member comes twice')
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        what = f'nothing called {error}' if isinstance(error, KeyError) else str(error)
        raise InputError(
            path, f'is no fitted vote ({what})', 'make it with ensemble.py fit'
        ) from None
    if content['classes'] != list(voters.classes):
        raise InputError(
            path, 'its classes are not those of the predictions', 'fit it again'
        )
    chosen = _match(path, voters, wanted, others, by_order)
    return voters.choose(chosen), choice


def _read_choice(content: Mapping[str, Any]) -> Choice:
    method, ties, classes = content['method'], content['ties'], content['classes']
    if content['kind'] != KIND or method not in METHODS or ties not in TIES:
        raise ValueError(f'of kind {content["kind"]}, method {method}, ties {ties}')
    count, members = len(classes), content['members']
    weights = [
        read_numbers(entry['weights'], count, MOST, 'weights')
        if 'weights' in entry
        else read_numbers([entry['weight']], 1, MOST, 'weight').repeat(count)
        for entry in members
    ]
    if not weights:
        raise ValueError('it has no member')
    values = None
    if ties in MEASURED:
        rows = [
            read_numbers(entry[ties], count, 1, ties, null=True) for entry in members
        ]
        values = np.stack(rows)
    choice = Choice(method, np.stack(weights), ties, values)
    _ = choice.rule
    return choice


def _read_name(entry: Mapping[str, Any]) -> tuple[str, set[str]]:
    name, checkpoints = entry['name'], entry.get('checkpoints', [])
    if not isinstance(checkpoints, list):
        raise TypeError(f'checkpoints of {name} are no list')
    return str(name), {str(sha) for sha in checkpoints}


def _match(
    path: Path,
    voters: Voters,
    wanted: Sequence[tuple[str, set[str]]],
    others: Sequence[tuple[str, set[str]]],
    by_order: bool,
) -> list[int]:
    """Return which of the voters each member of the file is."""
    found = [set(checkpoints_of(origin)) for origin in voters.origins]
    folders = [member.folder for member in voters.members]
    if not by_order and all(found) and all(sha for _, sha in wanted):
        return _match_checkpoints(path, folders, found, wanted, others)
    if len(folders) != len(wanted):
        raise InputError(
            path,
            f'names {len(wanted)} members, and there are {len(folders)} folders',
            'name the predictions of these members alone, in its order',
        )
    for folder, sha, (name, known) in zip(folders, found, wanted, strict=True):
        if not by_order and sha and known and not sha <= known:
            raise _other(folder, name)
    return list(range(len(folders)))


def _match_checkpoints(
    path: Path,
    folders: Sequence[Path],
    found: Sequence[set[str]],
    wanted: Sequence[tuple[str, set[str]]],
    others: Sequence[tuple[str, set[str]]],
) -> list[int]:
    places: dict[str, int] = {}
    everyone = *wanted, *others
    for i, (folder, sha) in enumerate(zip(folders, found, strict=True)):
        owners = [name for name, known in everyone if sha == known]
        owners = owners or [name for name, known in everyone if sha < known]
        if not owners:
            raise _other(folder, str(path))
        if len(owners) > 1:
            # One model, predicted in two ways.
            raise InputError(
                folder,
                f'may be {" or ".join(owners)} of {path}: both have its checkpoint',
                f'name the {len(wanted)} members in its order, and pass --by-order',
            )
        first = places.setdefault(owners[0], i)
        if first != i:
            raise InputError(
                folder,
                f'and {folders[first]} are both of {owners[0]} of {path}',
                'name one, or their vote',
            )
    for name, _ in wanted:
        if name not in places:
            raise InputError(
                path, f'has a member {name}, and no folder is of it', 'name it as well'
            )
    return [places[name] for name, _ in wanted]


def _other(folder: Path, thing: str) -> InputError:
    return InputError(
        folder,
        f'was predicted with another checkpoint than {thing}',
        'name predictions of that checkpoint, or pass --by-order if it stands for it',
    )
