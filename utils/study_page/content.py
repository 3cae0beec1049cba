"""A study as ``tools/tune.py`` wrote it down, and where its values lie on an axis."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from mmsegmentation.command import InputError
from mmsegmentation.files import read_json, require_folder

MARKER = 'study.json'
# Of the complete trials, this share is shown as the best.
TOP = 0.2
NUMBER = int | float
# What kinds of things the file holds, as far as they are read.
STUDY = {
    **dict.fromkeys(('study', 'config', 'score', 'sampler', 'pruner'), str),
    **{'minimize': bool, 'seed': int, 'wanted': int, 'trials': list},
    **{'best': int | None, 'importances': dict},
}
TRIAL = {
    **{'number': int, 'state': str, 'reason': str, 'values': dict, 'scores': list},
    **{'value': NUMBER | None, 'started': str | None, 'ended': str | None},
}
RANGE = {'low': NUMBER, 'high': NUMBER, 'log': bool, 'step': NUMBER | None}


@dataclass(frozen=True)
class Axis:
    """The values that a name may have, or the scores of the trials.

    Attributes:
        name: Of the searched value, or of the score.
        low: The lowest number of a range.
        high: The highest.
        log: Whether it is drawn by its logarithm.
        choices: All values there are, where it is no range.
    """

    name: str
    low: float = 0
    high: float = 1
    log: bool = False
    choices: tuple[Any, ...] = ()

    def place(self, value: Any) -> float:
        """Return where a value lies, 0 for the lowest or first and 1 for the highest.

        >>> Axis('lr', 1e-4, 1e-2, True).place(1e-3)
        0.5
        >>> Axis('kind', choices=('a', 'b', 'c')).place('c')
        1.0
        """
        if self.choices:
            return self.choices.index(value) / max(len(self.choices) - 1, 1)
        if self.high == self.low:
            return 0.5
        low, high, at = self.low, self.high, value
        if self.log:
            low, high, at = (math.log(number) for number in (low, high, value))
        return round((at - low) / (high - low), 6)

    def ends(self) -> list[tuple[float, str]]:
        """Return the places that are labelled, and their texts."""
        if self.choices:
            return [(self.place(choice), text_of(choice)) for choice in self.choices]
        if self.high == self.low:
            return [(0.5, text_of(self.low))]
        return [(0.0, text_of(self.low)), (1.0, text_of(self.high))]


@dataclass(frozen=True)
class StudyRecord:
    """What ``study.json`` says.

    Attributes:
        content: All of it.
        axes: Those of the searched values, in the order of the space.
    """

    content: Mapping[str, Any]
    axes: Sequence[Axis]

    @property
    def trials(self) -> Sequence[Mapping[str, Any]]:
        return self.content['trials']

    @property
    def score(self) -> str:
        return self.content['score']

    def of_state(self, *states: str) -> list[Mapping[str, Any]]:
        """Return the trials that are in one of these states."""
        return [trial for trial in self.trials if trial['state'] in states]

    @property
    def ranked(self) -> list[Mapping[str, Any]]:
        """The complete trials, the best first."""
        sign = 1 if self.content['minimize'] else -1
        complete = self.of_state('complete')
        return sorted(complete, key=lambda t: (sign * t['value'], t['number']))

    @property
    def top(self) -> list[Mapping[str, Any]]:
        """The best share of the complete trials, at least one."""
        ranked = self.ranked
        return ranked[: max(1, round(TOP * len(ranked)))]

    @property
    def score_axis(self) -> Axis:
        """The scores of the complete trials."""
        values = [trial['value'] for trial in self.ranked] or [0]
        return Axis(self.score, min(values), max(values))

    def best_so_far(self) -> list[tuple[int, float]]:
        """Return the best score after each complete trial, by the trial's number."""
        choose = min if self.content['minimize'] else max
        points: list[tuple[int, float]] = []
        for trial in self.of_state('complete'):
            value = trial['value']
            best = choose(value, points[-1][1]) if points else value
            points.append((trial['number'], best))
        return points


def open_study(folder: Path) -> StudyRecord:
    """Return what a study's folder says of it.

    Raises:
        InputError: It holds no study, or a damaged one.
    """
    path = folder / MARKER
    require_folder(folder, 'name the folder of a study')
    if not path.is_file():
        raise InputError(folder, f'holds no {MARKER}', 'name the folder of a study')
    content = read_json(path)
    try:
        axes = [_axis(name, entry) for name, entry in content['space'].items()]
        record = StudyRecord(content, axes)
        _check(record)
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise InputError(
            path, f'damaged ({error!r})', 'start tools/tune.py again: it writes it'
        ) from None
    return record


def _axis(name: str, entry: Mapping[str, Any]) -> Axis:
    _ = ', '.join(entry['keys'])
    if 'choices' in entry:
        return Axis(name, choices=tuple(entry['choices']))
    _check_kinds(entry, RANGE)
    return Axis(name, entry['low'], entry['high'], entry['log'])


def _check(record: StudyRecord) -> None:
    content = record.content
    _check_kinds(content, STUDY)
    for trial in record.trials:
        _check_trial(record, trial)
    for share in content['importances'].values():
        _check_kinds({'share': share}, {'share': NUMBER})
    best = content['best']
    if best is not None:
        found = record.trials[best]
        if (found['number'], found['state']) != (best, 'complete'):
            raise ValueError(f'best is {best}')


def _check_trial(record: StudyRecord, trial: Mapping[str, Any]) -> None:
    _check_kinds(trial, TRIAL)
    for score in trial['scores']:
        _check_kinds({'score': score}, {'score': NUMBER})
    for moment in filter(None, (trial['started'], trial['ended'])):
        datetime.fromisoformat(moment)
    complete = trial['state'] == 'complete'
    if complete:
        _check_kinds(trial, {'value': NUMBER})
    for axis in record.axes:
        if complete or axis.name in trial['values']:
            axis.place(trial['values'][axis.name])


def _check_kinds(entry: Mapping[str, Any], kinds: Mapping[str, Any]) -> None:
    for name, kind in kinds.items():
        if not isinstance(entry[name], kind):
            raise TypeError(f'{name} is {entry[name]!r}')


def text_of(value: Any) -> str:
    """Return a value as one reads it.

    >>> text_of(0.00012345678), text_of(True), text_of(None), text_of(64)
    ('0.0001235', 'true', 'none', '64')
    """
    if value is None or isinstance(value, bool):
        return 'none' if value is None else str(value).lower()
    return f'{value:.4g}' if isinstance(value, float) else str(value)
