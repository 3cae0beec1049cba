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
        tried: mIoU in [0, 1] with its interval of the votes that were fitted within the
            folds. Each is scored on images that it was not fitted on.
        gain: mIoU of these votes minus that of the best member, as ``difference`` with
            ``interval``.
        own_gain: mIoU of the vote that was fitted on all images, minus that of the best
            member, on the same images.
        scores: Content of the file: mIoU in [0, 1] with 95 % intervals of each member
            and of the proposed vote.
    """

    fit: Fit
    best: int
    tried: Mapping[str, Any]
    gain: Mapping[str, Any]
    own_gain: float
    scores: Mapping[str, Any]


def judge(
    table: Table, nested: Nested, names: Sequence[str], classes: Sequence[str]
) -> Judged:
    """Compare a fitted vote, on images it was not fitted on, with its best member.

    The vote of all images is proposed if the votes of the folds are better than the
    best member, and if its own gain is at least as high as theirs. Its gain should be
    higher, because it was fitted on the same images. A lower gain shows that it differs
    from the votes of the folds, so that their score says nothing about it.

    Args:
        names: Names of the members.
    """
    folds = range(len(table.folds))
    alone = [_member(table, i) for i in range(table.members)]
    members = [fit.confusions(table, folds) for fit in alone]
    best = int(np.argmax([_miou(counts) for counts in members]))
    vote = nested.confusions
    gain = compare(areas_of(members[best]), areas_of(vote), classes)['mIoU']
    own_gain = _miou(nested.fit.confusions(table, folds)) - _miou(members[best])
    better = 0 < gain['difference'] <= own_gain
    tried = _score(vote)
    scores = {
        'images': len(vote),
        'members': {
            name: _score(counts) for name, counts in zip(names, members, strict=True)
        },
        'vote': tried if better else _score(members[best]),
        'vote_minus_best': {
            'difference': gain['difference'] if better else 0.0,
            'interval': gain['interval'] if better else [0.0, 0.0],
        },
        'kinds_in_folds': nested.kinds,
        'kinds': dict(nested.scores),
        'proposed': nested.fit.kind if better else 'single',
    }
    fit = nested.fit if better else alone[best]
    return Judged(fit, best, tried, gain, own_gain, scores)


def _member(table: Table, place: int) -> Fit:
    return Fit('single', (place,), Choice('hard', np.ones((1, table.num_classes))))


def _miou(confusions: np.ndarray) -> float:
    return float(mean_iou(confusions.sum(axis=0)))


def _score(confusions: np.ndarray) -> dict[str, Any]:
    score = estimate_mean(pooled_ratios(areas_of(confusions)))
    return {'mIoU': score.value, 'interval': list(score.interval)}


def judge_table(judged: Judged, nested: Nested, names: Sequence[str]) -> str:
    """Return scores and the proposal as text."""
    scores, title = judged.scores, 'votes of the folds, on images not fitted on'
    width = max(map(len, (*names, title)))
    lines = [f'{"mIoU of":<{width}}{"":>9}  95 % interval']
    rows = {**scores['members'], title: judged.tried}
    for name, row in rows.items():
        low, high = row['interval']
        lines.append(f'{name:<{width}}{row["mIoU"]:>9.4f}  [{low:.4f}, {high:.4f}]')
    low, high = judged.gain['interval']
    lines.append(
        f'votes of the folds - {names[judged.best]}: {judged.gain["difference"]:+.4f}  '
        f'95 % [{low:+.4f}, {high:+.4f}], paired over {scores["images"]} images'
    )
    kinds = ', '.join(nested.kinds)
    lines.append(f'the folds were scored by: {kinds}')
    lines.append(_proposal(judged, names, low > 0))
    return '\n'.join(lines)


def _proposal(judged: Judged, names: Sequence[str], sure: bool) -> str:
    fit, best = judged.fit, names[judged.best]
    if fit.kind == 'single':
        if judged.gain['difference'] > 0:
            return (
                f'the vote of all images gains {judged.own_gain:+.4f}, less than the '
                f'votes of the folds: {best} is proposed alone, with no gain'
            )
        return (
            f'no vote is better than {best} on images it was not fitted on: that '
            'member is proposed alone'
        )
    members = ', '.join(names[i] for i in fit.chosen)
    choice = fit.choice
    text = f'proposed: {choice.method} vote of {members}'
    if choice.method != 'soft':
        text += f', ties by {choice.ties}'
    if fit.kind in ('weights', 'class weights'):
        text += f', with {fit.kind}' + (' of members' if fit.kind == 'weights' else '')
    return text if sure else text + '; its gain may be chance, see the interval'
