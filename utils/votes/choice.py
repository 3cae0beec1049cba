"""What a vote is told: its method, weights, and what decides ties."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmsegmentation.command import InputError
from utils.votes.measured import KEYS, TITLES, find_metrics, read_measured
from utils.votes.members import Voters
from utils.votes.soft import SoftRule
from utils.voting import VoteRule

METHODS = 'hard', 'confidence', 'soft'


@dataclass(frozen=True)
class Choice:
    """A vote of some members.

    Attributes:
        method: One of ``METHODS``.
        weights: By member and class, (members, classes) float64; nan counts as 0.
        ties: What decides a tie, one of ``utils.voting.TIES``; a soft vote has none.
        values: What ties go by that are decided by accuracy or IoU, by member and
            class, in [0, 1], nan where unknown.
    """

    method: str
    weights: np.ndarray
    ties: str = 'order'
    values: np.ndarray | None = None

    @property
    def rule(self) -> VoteRule | SoftRule:
        """Return the vote itself.

        Raises:
            ValueError: The weights are out of range.
        """
        if self.method == 'soft':
            return SoftRule(self.weights)
        by_confidence = self.method == 'confidence'
        return VoteRule(
            self.weights, self.ties, self.values, by_confidence=by_confidence
        )

    @property
    def needs(self) -> str | None:
        """Return which folder the members must have beside masks, if any."""
        if self.method == 'soft':
            return 'probs'
        sure = 'confidence' in (self.method, self.ties)
        return 'confidence' if sure else None

    def describe(self) -> dict[str, Any]:
        """Return it for ``predictions.json``."""
        described: dict[str, Any] = {'method': self.method}
        if self.method != 'soft':
            described['ties'] = self.ties
        if not (self.weights == self.weights[0, 0]).all():
            described['weights'] = rows_of(self.weights)
        if self.values is not None:
            described[self.ties] = rows_of(self.values)
        return described


def rows_of(values: np.ndarray) -> list[list[float | None]]:
    """Return a table for a JSON file, null for nan."""
    return [[None if v != v else v for v in row] for row in values.tolist()]


def choose(
    voters: Voters,
    method: str,
    weights: Sequence[str] | None,
    ties: str | None,
    metrics: Sequence[Path] | None,
) -> Choice:
    """Return the vote that the user asked for.

    Args:
        weights: A number for each member, or the name of one of ``KEYS``.
        ties: One of ``utils.voting.TIES``; by accuracy if it is known and nothing
            else is asked for.
        metrics: ``metrics.json`` of each member, in order; their own if none.

    Raises:
        InputError: Something does not fit the members.
    """
    if method == 'soft' and ties is not None:
        raise InputError(
            f'--ties {ties}', 'a soft vote has hardly a tie', 'leave it out'
        )
    if ties is None and method != 'soft':
        known = find_metrics(voters, metrics) is not None
        ties = 'accuracy' if known else 'order'
    if metrics and ties not in KEYS and not (weights and weights[0] in KEYS):
        raise InputError('--metrics', 'nothing goes by it', 'leave it out')
    choice = Choice(
        method,
        _weights(voters, weights, metrics),
        ties or 'order',
        _measured(voters, metrics, ties, '--ties') if ties in KEYS else None,
    )
    try:
        _ = choice.rule
    except ValueError as error:
        raise InputError('--weights', str(error), 'give other weights') from None
    return choice


def _weights(
    voters: Voters, weights: Sequence[str] | None, metrics: Sequence[Path] | None
) -> np.ndarray:
    shape = len(voters.members), len(voters.classes)
    if weights is None:
        return np.ones(shape)
    if len(weights) == 1 and weights[0] in KEYS:
        return _measured(voters, metrics, weights[0], '--weights')
    if len(weights) != len(voters.members):
        raise InputError(
            '--weights',
            f'{len(weights)} for {len(voters.members)} folders',
            f'give a number for each, or one of {", ".join(KEYS)}',
        )
    try:
        numbers = np.array([float(text) for text in weights])
    except ValueError:
        numbers = np.array([np.nan])
    if not np.isfinite(numbers).all():
        raise InputError(
            f'--weights {" ".join(weights)}',
            'are not all numbers',
            f'give one for each folder, or one of {", ".join(KEYS)}',
        )
    return np.repeat(numbers[:, None], shape[1], axis=1)


def _measured(
    voters: Voters, metrics: Sequence[Path] | None, name: str, option: str
) -> np.ndarray:
    files = find_metrics(voters, metrics)
    if files is None:
        raise InputError(
            f'{option} {name}',
            f'needs the {TITLES[name]} of each class, and no member has a metrics.json',
            'pass --metrics',
        )
    return read_measured(files, voters.classes, name)
