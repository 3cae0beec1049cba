"""Thresholds: the lowest that is precise enough, beside a search by brute force."""

import re
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mmsegmentation.files import read_json, read_mask, write_mask
from mmsegmentation.folds import open_folds, write_folds
from utils.pseudo.labels import trust
from utils.pseudo.tables import kept_table
from utils.pseudo.thresholds import fit_thresholds, least_confidence
from utils.pseudo_label import main

CLASSES = ('Background', 'Paper', 'Metal', 'Glass')
# Of Paper 3 of 4 are right at 100 and above, 2 of 2 at 200 and above. Metal is never
# right, and Glass never predicted.
TRUTH = {'a.png': [[1, 0, 1, 1, 0, 255]], 'b.png': [[0, 0, 0, 0, 0, 0]]}
MAPS = {'a.png': [[1, 1, 1, 1, 2, 2]], 'b.png': [[0, 0, 0, 0, 0, 0]]}
SURE = {'a.png': [[100, 150, 200, 250, 255, 255]], 'b.png': [[50] * 6]}


def brute_force(counts, permille):
    """Return the lowest byte by class whose kept pixels are precise enough, or 256."""
    lowest = []
    for rows in counts:
        for level in range(256):
            wrong, right = rows[level:].sum(0).tolist()
            if right + wrong and 1000 * right >= permille * (right + wrong):
                lowest.append(level)
                break
        else:
            lowest.append(256)
    return lowest


# Few levels with pixels, so that precision rises and falls between them.
counted = st.builds(
    lambda levels, pairs: (levels, pairs),
    st.lists(st.integers(0, 255), min_size=3, max_size=3, unique=True),
    arrays(np.int64, (2, 3, 2), elements=st.integers(0, 12)),
)


@settings(deadline=None, max_examples=200)
@given(counted, st.integers(0, 1000))
def test_fit__is_what_a_search_of_all_thresholds_finds(found, permille):
    levels, pairs = found
    counts = np.zeros((2, 256, 2), np.int64)
    counts[:, levels] = pairs
    fit = fit_thresholds(counts, permille / 1000)
    expected = brute_force(counts, permille)
    assert least_confidence(fit.thresholds).tolist() == expected
    for class_id, level in enumerate(expected):
        total, kept = counts[class_id].sum(), counts[class_id, level:].sum(0)
        if level < 256:
            reached = Fraction(int(kept[1]), int(kept.sum()))
            assert fit.precision[class_id] == float(reached)
            assert fit.kept[class_id] == kept.sum() / total
        elif total:
            assert fit.precision[class_id] < permille / 1000
            assert fit.kept[class_id] == 0
        else:
            assert np.isnan([fit.precision[class_id], fit.kept[class_id]]).all()


@settings(deadline=None, max_examples=50)
@given(
    arrays(np.uint8, (6, 7), elements=st.integers(0, 3)),
    arrays(np.uint8, (6, 7)),
    arrays(np.uint8, (6, 7), elements=st.integers(0, 3)),
)
def test_fit__pixels_that_are_kept_by_it_are_as_precise_as_it_says(maps, sure, truth):
    counts = np.zeros((4, 256, 2), np.int64)
    np.add.at(counts, (maps, sure, (truth == maps).astype(int)), 1)
    fit = fit_thresholds(counts, 0.6)
    kept = trust(maps, sure, fit.thresholds)
    for class_id in range(4):
        own = kept == class_id
        assert own.any() == (fit.thresholds[class_id] <= 1)
        if own.any():
            assert (truth[own] == class_id).mean() == fit.precision[class_id]
            assert own.sum() / (maps == class_id).sum() == fit.kept[class_id]


def test_least_confidence__every_byte_is_its_own_threshold():
    levels = np.arange(256)
    assert least_confidence(levels / 255).tolist() == levels.tolist()


def test_table__a_printed_threshold_keeps_the_same_when_it_is_given():
    summary = {
        'classes': [str(level) for level in range(256)],
        'thresholds': [level / 255 for level in range(256)],
        'predicted_pixels': [0] * 256,
        'kept_pixels': [0] * 256,
        'kept_share': [None] * 256,
    }
    rows = [line.split() for line in kept_table(summary).splitlines()[1:]]
    printed = np.array([float(row[1]) for row in rows])
    assert least_confidence(printed).tolist() == [*range(256)]


@pytest.fixture
def root(make_part):
    make_part('test', MAPS, masks=False)
    return make_part('valid', {f'valid/{name}': rows for name, rows in TRUTH.items()})


@pytest.fixture
def pred(make_predictions):
    return make_predictions('pred', MAPS, SURE, CLASSES, split='test')


@pytest.fixture
def oof(make_predictions):
    maps = {f'valid/{name}': rows for name, rows in MAPS.items()}
    sure = {f'valid/{name}': rows for name, rows in SURE.items()}
    return make_predictions('oof', maps, sure, CLASSES, split='valid')


def test_command__keeps_what_is_precise_and_says_what_is_not(run, pred, oof, root):
    argv = (pred, '--data-root', root, '--fit', oof, '--precision', 0.75)
    code, out, err = run(main, *argv)
    assert (code, err) == (0, '')
    lines = [line.split() for line in out.splitlines()]
    assert lines[0][:6] == ['fitted', 'on', '2', 'images', 'of', str(oof)]
    assert lines[1] == ['class', 'threshold', 'precision', 'kept']
    assert lines[2] == ['Background', '0.000', '100.0%', '100.0%']
    assert lines[3] == ['Paper', '0.000', '75.0%', '100.0%']
    assert lines[4] == ['Metal', 'none', '0.0%', '0.0%']
    assert lines[5] == ['Glass', 'none', '-', '-']
    assert 'for the precision is never reached: Metal, Glass' in out
    kept = read_mask(root / 'pseudo/mask/a.png').tolist()
    assert kept == [[1, 1, 1, 1, 255, 255]]


def test_command__higher_precision_keeps_less(run, pred, oof, root):
    argv = (pred, '--data-root', root, '--fit', oof, '--precision', 0.9)
    run(main, *argv)
    kept = read_mask(root / 'pseudo/mask/a.png').tolist()
    # At 150 and above 2 of 3 are right, from 151 on 2 of 2.
    assert kept == [[255, 255, 1, 1, 255, 255]]
    summary = read_json(root / 'pseudo/pseudo.json')
    assert summary['thresholds'] == [0, 151 / 255, None, None]
    assert summary['fit']['reached'] == [1, 1, 0, None]
    assert summary['fit']['kept_share'] == [1, 0.5, 0, None]
    assert summary['fit']['precision'] == 0.9
    assert summary['fit']['images'] == 2


def test_command__one_class_may_have_a_threshold_of_its_own(run, pred, oof, root):
    argv = (pred, '--data-root', root, '--fit', oof, '--class-threshold', 'Metal=0.5')
    run(main, *argv)
    kept = read_mask(root / 'pseudo/mask/a.png').tolist()
    assert kept == [[255, 255, 1, 1, 2, 2]]
    summary = read_json(root / 'pseudo/pseudo.json')
    assert summary['given_thresholds'] == ['Metal=0.5']


def test_command__says_if_another_model_was_fitted_on(run, make_predictions, root):
    names = {f'valid/{name}': rows for name, rows in MAPS.items()}
    oof = make_predictions('o', names, 255, CLASSES, checkpoint_sha256='a')
    for sha256, noted in (('a', False), ('b', True)):
        pred = make_predictions('p', MAPS, 255, CLASSES, checkpoint_sha256=sha256)
        argv = (pred, '--data-root', root, '--fit', oof, '--overwrite')
        assert ('note: no checkpoint' in run(main, *argv)[1]) == noted


ONE, TWO = {'config': 'my/one.py'}, {'config': 'my/two.py'}
VOTE = {'method': 'soft', 'members': [ONE, TWO]}


@pytest.mark.parametrize(
    ('fitted', 'labelled', 'told'),
    [
        (ONE, {'config': 'elsewhere/one.py'}, None),
        (ONE, TWO, 'pred is by two.py, and the thresholds are of one.py: '),
        (ONE, VOTE, 'pred is by soft vote of one.py and two.py, and the thresholds'),
        (VOTE, {**VOTE, 'method': 'hard'}, 'by hard vote .* are of soft vote'),
        (VOTE, {**VOTE, 'members': [TWO, ONE]}, None),
        (ONE, {**ONE, 'tta': True}, 'by one.py --tta, and the thresholds are of one'),
        ({'method': 'out of fold', 'members': [ONE, ONE]}, ONE, None),
        ({'method': 'out of fold', 'members': [VOTE, VOTE]}, VOTE, None),
        ({}, ONE, None),
        (
            ONE,
            {'method': 'soft', 'members': [{}, {}]},
            'by soft vote of \\?, and the th',
        ),
        (VOTE, {'method': 'soft', 'members': [{}, {}]}, None),
    ],
)
def test_command__warns_where_another_kind_of_model_was_fitted_on(
    run, make_predictions, root, fitted, labelled, told
):
    names = {f'valid/{name}': rows for name, rows in MAPS.items()}
    oof = make_predictions('oof', names, 255, CLASSES, **fitted)
    pred = make_predictions('pred', MAPS, 255, CLASSES, **labelled)
    out = run(main, pred, '--data-root', root, '--fit', oof)[1]
    found = [line for line in out.splitlines() if 'thresholds are of' in line]
    assert len(found) == (told is not None)
    if told:
        assert re.search(told, found[0])


def test_fold__is_not_fitted_on_what_it_leaves_out(run, make_predictions, root):
    """Of two folds, the other's image decides: all of its pixels are right."""
    (root / 'folds').mkdir()
    write_folds(root / 'folds', 2, {'valid': {'valid/a.png': 0, 'valid/b.png': 1}}, {})
    fold = open_folds(root / 'folds').check(0)
    names = {f'valid/{name}': rows for name, rows in MAPS.items()}
    joined = make_predictions('joined', names, 255, CLASSES, method='out of fold')
    pred = make_predictions('p', MAPS, 255, CLASSES, split='test', fold=fold.record)
    argv = (pred, '--data-root', root, '--fit', joined)
    out = run(main, *argv)[1]
    assert out.startswith('fitted on 1 images of')
    summary = read_json(root / 'pseudo/pseudo.json')
    assert summary['thresholds'] == [0, None, None, None]
    # Alone, the fold's own images are better than none.
    own = make_predictions('own', {'valid/a.png': MAPS['a.png']}, 255, CLASSES)
    argv = (pred, '--data-root', root, '--fit', own, '--overwrite')
    out = run(main, *argv, '--precision', 0.5)[1]
    assert out.startswith('fitted on 1 images of')
    other = {**fold.record, 'folds_sha256': 'x'}
    odd = make_predictions('odd', MAPS, 255, CLASSES, split='test', fold=other)
    argv = (odd, '--data-root', root, '--fit', joined, '--overwrite')
    code, _, err = run(main, *argv)
    assert code == 2
    assert 'is of other folds than' in err


def test_misuse__what_cannot_be_fitted_on(misuse, pred, make_predictions, root):
    def refuse(message, maps, confidence=255, classes=CLASSES, **origin):
        name = 'odd' if confidence else 'bare'
        folder = make_predictions(name, maps, confidence, classes, **origin)
        misuse(main, message, pred, '--data-root', root, '--fit', folder)

    image = 'valid/a.png'
    own = {image: MAPS['a.png']}
    refuse('was trained on', own, split='train')
    refuse('its classes differ', own, classes=CLASSES[:3])
    refuse('confidence/valid/a.png: no such file', own, None)
    refuse('is not in any part', {'c.png': [[0]]})
    refuse('has no mask', {'a.png': [[0]]})
    refuse('differ in size', {image: [[0, 1]]})
    write_mask(root / 'valid/mask/valid/a.png', np.full((1, 6), 255, np.uint8))
    refuse('no pixel of it has a true label', own)
    write_mask(root / 'valid/mask/valid/a.png', np.full((1, 6), 9, np.uint8))
    refuse('mask/valid/a.png: holds class id 9, .* only 4 classes', own)
    misuse(main, 'no prediction folder', pred, '--data-root', root, '--fit', root)
    assert not (root / 'pseudo').exists()


def test_misuse__members_of_a_vote_that_know_the_images(
    misuse, make_predictions, pred, root
):
    own = {'valid/a.png': MAPS['a.png']}
    told = {'folder': 'member', 'split': 'train'}
    vote = make_predictions('vote', own, 255, CLASSES, method='hard', members=[told])
    misuse(main, 'member: is --split train', pred, '--data-root', root, '--fit', vote)
