"""The score of a fitted vote beside its members', and whether to propose it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmsegmentation.intervals import estimate_mean
from mmsegmentation.scores import areas_of, mean_iou, pooled_ratios
from utils.error_page.comparison import compare
from utils.votes.choice import Choice
from utils.votes.nested import Nested
from utils.votes.search import Fit
from utils.votes.table import Table


@dataclass(frozen=True)
class Judged:
    """What to do, and why.

    Attributes:
        fit: The vote that is proposed; the best member alone if it is not better.
        best: The best member, by its place among all.
        scores: For the file: mIoU in [0, 1] with 95 % intervals.
    """

    fit: Fit
    best: int
    scores: Mapping[str, Any]


def judge(
    table: Table, nested: Nested, names: Sequence[str], classes: Sequence[str]
) -> Judged:
    """Compare a fitted vote, on images it was not fitted on, with its best member.

    Args:
        names: Of the members.
    """
    ones = np.ones((1, table.num_classes))
    folds = range(len(table.folds))
    members = [
        table.confusions_of(folds, [i], Choice('hard', ones))
        for i in range(table.members)
    ]
    vote = nested.confusions
    best = int(np.argmax([mean_iou(counts.sum(0)) for counts in members]))
    gain = compare(areas_of(members[best]), areas_of(vote), classes)['mIoU']
    better = gain['difference'] > 0 and nested.fit.kind != 'single'
    alone = Fit('single', (best,), Choice('hard', ones))
    scores = {
        'images': len(vote),
        'members': {
            name: _score(counts) for name, counts in zip(names, members, strict=True)
        },
        'vote': _score(vote),
        'vote_minus_best': {key: gain[key] for key in ('difference', 'interval')},
        'kinds_in_folds': nested.kinds,
        'kinds': dict(nested.scores),
        'proposed': nested.fit.kind if better else 'single',
    }
    return Judged(nested.fit if better else alone, best, scores)


def _score(confusions: np.ndarray) -> dict[str, Any]:
    score = estimate_mean(pooled_ratios(areas_of(confusions)))
    return {'mIoU': score.value, 'interval': list(score.interval)}


def judge_table(judged: Judged, nested: Nested, names: Sequence[str]) -> str:
    """Return scores and the proposal as text."""
    scores, title = judged.scores, 'vote, on images it was not fitted on'
    width = max(map(len, (*names, title)))
    lines = [f'{"mIoU of":<{width}}{"":>9}  95 % interval']
    rows = {**scores['members'], title: scores['vote']}
    for name, row in rows.items():
        low, high = row['interval']
        lines.append(f'{name:<{width}}{row["mIoU"]:>9.4f}  [{low:.4f}, {high:.4f}]')
    gain = scores['vote_minus_best']
    low, high = gain['interval']
    lines.append(
        f'vote - {names[judged.best]}: {gain["difference"]:+.4f}  95 % '
        f'[{low:+.4f}, {high:+.4f}], paired over {scores["images"]} images'
    )
    kinds = ', '.join(nested.kinds)
    lines.append(f'the folds were scored by: {kinds}')
    lines.append(_proposal(judged, names, low > 0))
    return '\n'.join(lines)


def _proposal(judged: Judged, names: Sequence[str], sure: bool) -> str:
    fit = judged.fit
    if fit.kind == 'single':
        return (
            f'no vote is better than {names[judged.best]} on images it was not fitted '
            'on: that member is proposed alone'
        )
    members = ', '.join(names[i] for i in fit.chosen)
    choice = fit.choice
    text = f'proposed: {choice.method} vote of {members}'
    if choice.method != 'soft':
        text += f', ties by {choice.ties}'
    if fit.kind in ('weights', 'class weights'):
        text += f', with {fit.kind}' + (' of members' if fit.kind == 'weights' else '')
    return text if sure else text + '; its gain may be chance, see the interval'
