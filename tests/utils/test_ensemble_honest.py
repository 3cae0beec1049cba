"""A fitted vote is proposed only if it is the vote that was judged, and gains."""

import numpy as np
import pytest

from mmsegmentation.scores import mean_iou
from utils.votes.choice import Choice
from utils.votes.honest import judge, judge_table
from utils.votes.joint import Counted, joint_counts
from utils.votes.nested import Nested, fit_nested
from utils.votes.search import Fit
from utils.votes.table import join

NAMES, CLASSES = ('one', 'two'), ('Background', 'Paper', 'Metal', 'Glass')
FOLDS = range(5)


def draw_table(seed, images=20):
    """Return two members that are good at different classes, by luck of the seed."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 4, (images, 4, 5)).repeat(5, 1).repeat(6, 2)
    truth = truth.astype(np.uint8)
    maps = []
    for share in rng.uniform(0.2, 0.5, (2, 4)):
        spoilt = np.clip(share[truth] * rng.uniform(0.3, 1.7, (images, 1, 1)), 0, 1)
        wrong = rng.random(truth.shape) < spoilt
        guess = rng.integers(0, 4, truth.shape)
        maps.append(np.where(wrong, guess, truth).astype(np.uint8))
    counted = [
        Counted(*joint_counts(truth[i], [m[i] for m in maps]), np.empty((0, 4, 4), int))
        for i in range(images)
    ]
    return join(counted, rng.permutation(images) % 5, (), 4)


def vote_of(*weights, ties='order'):
    """Return a vote of both members with a weight for each class."""
    return Fit('class weights', (0, 1), Choice('hard', np.array(weights), ties))


def single(place):
    return Fit('single', (place,), Choice('hard', np.ones((1, 4))))


def judged_with(table, fit, confusions):
    """Judge a vote of all images whose folds were scored as ``confusions``."""
    nested = Nested(fit, ['class weights'] * 5, confusions, {'class weights': 0.5})
    judged = judge(table, nested, NAMES, CLASSES)
    return judged, judge_table(judged, nested, NAMES)


@pytest.fixture(scope='module')
def table():
    return draw_table(44)


@pytest.fixture(scope='module')
def best(table):
    scores = [mean_iou(single(i).confusions(table, FOLDS).sum(0)) for i in (0, 1)]
    return int(np.argmax(scores))


@pytest.fixture(scope='module')
def good(table, best):
    """Return a vote that is better than the best member: it hears both."""
    vote = fit_nested(table).fit
    members = single(best).confusions(table, FOLDS)
    confusions = vote.confusions(table, FOLDS)
    assert mean_iou(confusions.sum(0)) > mean_iou(members.sum(0))
    return vote


def test_vote__that_gains_is_proposed(table, good):
    confusions = good.confusions(table, FOLDS)
    judged, text = judged_with(table, good, confusions)
    assert judged.fit is good
    assert judged.scores['vote_minus_best']['difference'] == judged.own_gain > 0
    assert 'proposed: hard vote of' in text


def test_vote__that_changes_no_pixel_is_that_member_with_no_gain(table, best, good):
    """Of two members, one has twice the weight in all classes: it decides alone."""
    weights = np.full((2, 4), 20)
    weights[best] = 40
    judged, text = judged_with(table, vote_of(*weights), good.confusions(table, FOLDS))
    assert (judged.fit.kind, judged.fit.chosen) == ('single', (best,))
    scores = judged.scores
    assert scores['proposed'] == 'single'
    assert scores['vote_minus_best'] == {'difference': 0, 'interval': [0, 0]}
    assert scores['vote'] == scores['members'][NAMES[best]]
    assert 'the vote of all images gains +0.0000, less than' in text
    assert f'{NAMES[best]} is proposed alone, with no gain' in text


def test_vote__whose_folds_gain_exactly_nothing_is_not_proposed(table, best, good):
    judged, text = judged_with(table, good, single(best).confusions(table, FOLDS))
    assert judged.own_gain > 0
    assert judged.scores['proposed'] == 'single'
    assert f'no vote is better than {NAMES[best]} on images' in text


@pytest.mark.parametrize('seed', [35, 44])
def test_fit__does_not_stop_short_of_the_votes_that_were_judged(seed):
    """A search on all images alone ends at votes that gain less than on four folds."""
    table = draw_table(seed)
    judged = judge(table, fit_nested(table), NAMES, CLASSES)
    gain = judged.scores['vote_minus_best']['difference']
    assert judged.scores['proposed'] == 'class weights'
    own, alone = (
        mean_iou(fit.confusions(table, FOLDS).sum(0))
        for fit in (judged.fit, single(judged.best))
    )
    assert 0 < gain <= own - alone
