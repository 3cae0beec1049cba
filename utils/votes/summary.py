"""What is told of a vote when it is done."""

from collections.abc import Sequence

import numpy as np

from utils.votes.ballot import Count
from utils.votes.choice import Choice
from utils.votes.measured import TITLES


def explain(choice: Choice, *, ties_named: bool) -> str:
    """Return in a sentence what the vote goes by.

    Args:
        ties_named: The user named what decides a tie.
    """
    models = len(choice.weights)
    if models == 1:
        return 'one model: there is nothing to vote on'
    text = f'{choice.method} vote of {models} models, '
    if not (choice.weights == choice.weights[0, 0]).all():
        text += 'weighed, '
    if choice.method == 'soft':
        return text + 'the largest sum of probabilities wins'
    if choice.method == 'confidence':
        text += "weighed by each one's confidence in its own class, "
    by = {name: f'to the class with the highest {TITLES[name]}' for name in TITLES}
    by['confidence'] = 'to the class of the most confident model'
    by['order'] = 'to the earliest model'
    text += f'ties {by[choice.ties]}'
    if choice.ties == 'order' and not ties_named:
        text += ': there is no metrics.json'
    equal = (choice.weights == choice.weights[0, 0]).all()
    if models == 2 and choice.method == 'hard' and equal:
        switch = {name: f'the {TITLES[name]} of each class' for name in TITLES}
        switch |= {'order': 'the order of the models', 'confidence': 'confidence'}
        text += (
            '\nWith two models every disagreement is a tie: this vote is a switch by '
            + switch[choice.ties]
        )
    return text


def vote_table(count: Count, names: Sequence[str], classes: Sequence[str]) -> str:
    """Return members and classes as text, one a line.

    A member's agreement is the share of pixels where the outcome is its class. A
    class's share is of all pixels, its shift is against the mean of the members, both
    in percentage points.
    """
    total = max(int(count.pixels.sum()), 1)
    width = max(map(len, (*names, *classes, 'member')))
    lines = [f'{"member":<{width}}{"agreement":>11}{"pixels changed":>16}']
    for name, changed in zip(names, count.changed.tolist(), strict=True):
        lines.append(f'{name:<{width}}{1 - changed / total:>11.2%}{changed:>16,}')
    lines.append(f'{"class":<{width}}{"share, %":>11}{"shift, points":>16}')
    shares = 100 * count.pixels / total
    shifts = shares - 100 * count.votes / (total * len(names))
    for name, share, shift in zip(classes, shares, shifts, strict=True):
        lines.append(f'{name:<{width}}{share:>11.2f}{_signed(shift):>16}')
    lines.append(
        f'{count.tied:,} of {total:,} pixels were tied ({count.tied / total:.2%})'
    )
    lines.append('share: of all pixels; shift: against the mean share of the members')
    return '\n'.join(lines)


def _signed(value: float) -> str:
    return f'{np.round(value, 2) + 0.0:+.2f}'
