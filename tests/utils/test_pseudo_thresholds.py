"""Thresholds: the lowest that is precise enough, beside a search by brute force."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mmsegmentation.files import read_json, read_mask, write_mask
from mmsegmentation.folds import open_folds, write_folds
from mmsegmentation.intervals import Ratios, estimate_mean
from utils.pseudo.labels import trust
from utils.pseudo.tables import kept_table
from utils.pseudo.thresholds import RightCounts, fit_thresholds, least_confidence
from utils.pseudo_label import main

CLASSES = ('Background', 'Paper', 'Metal', 'Glass')
# Of Paper 3 of 4 are right at 100 and above, 2 of 2 at 200 and above. Metal is never
# right, and Glass never predicted. With labels there are twelve images of each kind.
TRUTH = {'a.png': [[1, 0, 1, 1, 0, 255]], 'b.png': [[0, 0, 0, 0, 0, 0]]}
MAPS = {'a.png': [[1, 1, 1, 1, 2, 2]], 'b.png': [[0, 0, 0, 0, 0, 0]]}
SURE = {'a.png': [[100, 150, 200, 250, 255, 255]], 'b.png': [[50] * 6]}


def twelve(maps):
    """Return the maps of the labelled part by image id."""
    return {f'valid/{i}/{name}': rows for i in range(12) for name, rows in maps.items()}


def count_of(rows, num_classes=1):
    """Return counts from rows of image, class, level, right, and pixels."""
    image, class_id, level, right, pixels = np.reshape(rows, (-1, 5)).T
    code = class_id << 9 | level << 1 | right
    return RightCounts(image, code, pixels, num_classes)


def brute_force(rows, class_id, permille):
    """Return the lowest byte that is reliably precise enough or 256, and what it keeps.

    ``rows`` as in ``count_of``. An image counts by its pixels that are kept.
    """
    own = [row for row in rows if row[1] == class_id]
    for level in range(256):
        right, kept = np.zeros(12), np.zeros(12)
        for image, _, sure, hit, pixels in own:
            if sure >= level:
                kept[image] += pixels
                right[image] += hit * pixels
        if not kept.any():
            break
        spread = kept.sum() ** 2 / (kept**2).sum()
        ends = estimate_mean(Ratios(right[:, None], kept[:, None])).interval
        least = ends[0] if spread >= 10 else 0
        enough = 1000 * right.sum() >= permille * kept.sum()
        if enough and least >= permille / 1000:
            return level, right.sum(), kept.sum(), least
    return 256, 0, 0, np.nan


# Few levels with pixels, so that precision rises and falls between them.
counted = arrays(np.int64, (12, 2, 3, 2), elements=st.integers(0, 5))
levels = st.lists(st.integers(0, 255), min_size=3, max_size=3, unique=True)


@settings(deadline=None, max_examples=50)
@given(counted, levels, st.integers(0, 900))
def test_fit__is_what_a_search_of_all_thresholds_finds(pixels, sure, permille):
    # A class of which hardly a pixel is wrong, beside one of any kind.
    pixels[:, 0, :, 1] += 20
    pixels[:, 0, 1:, 0] //= 5
    rows = [
        (image, class_id, sure[place], hit, count)
        for (image, class_id, place, hit), count in np.ndenumerate(pixels)
        if count
    ]
    fit = fit_thresholds(count_of(rows, 2), permille / 1000)
    for class_id in range(2):
        level, right, kept, least = brute_force(rows, class_id, permille)
        assert least_confidence(fit.thresholds)[class_id] == level
        total = pixels[:, class_id].sum()
        if level < 256:
            assert fit.precision[class_id] == right / kept
            assert fit.least[class_id] == least <= fit.precision[class_id]
            assert fit.kept[class_id] == kept / total
        elif total:
            assert fit.kept[class_id] == 0
        else:
            assert np.isnan([fit.precision[class_id], fit.kept[class_id]]).all()


def test_fit__one_pixel_or_one_image_proves_nothing():
    alone = fit_thresholds(count_of([(0, 0, 255, 1, 1)]), 0.9)
    assert (alone.thresholds[0], alone.precision[0], alone.kept[0]) == (np.inf, 1, 0)
    # A large image beside small ones is nearly alone, however many pixels are right.
    large = [(0, 0, 255, 1, 9000)] + [(i, 0, 255, 1, 9) for i in range(1, 12)]
    assert fit_thresholds(count_of(large), 0.9).thresholds[0] == np.inf
    nine, ten = ([(i, 0, 255, 1, 9) for i in range(count)] for count in (9, 10))
    assert fit_thresholds(count_of(nine), 0.9).thresholds[0] == np.inf
    assert fit_thresholds(count_of(ten), 0.9).thresholds[0] == 0


def test_fit__the_lower_end_of_the_interval_over_images_has_to_reach():
    # 95 % of the pixels are right, in 20 images alike or in 19 of 20 images.
    alike = [(i, 0, 9, hit, 19 if hit else 1) for i in range(20) for hit in (0, 1)]
    apart = [(i, 0, 9, int(i > 0), 20) for i in range(20)]
    fits = [fit_thresholds(count_of(rows), 0.9) for rows in (alike, apart)]
    assert [fit.precision[0] for fit in fits] == [0.95, 0.95]
    assert [fit.thresholds[0] for fit in fits] == [0, np.inf]
    assert fit_thresholds(count_of(apart), 0.5).least[0] == pytest.approx(0.7, abs=0.1)


def test_fit__of_nothing_asked_keeps_everything():
    fit = fit_thresholds(count_of([(0, 0, 9, 0, 1)]), 0)
    assert (fit.thresholds[0], fit.least[0], fit.kept[0]) == (0, 0, 1)


def draw_counts(images, rng):
    """Return rows of objects that are right or wrong as a whole, each 20 pixels."""
    rows = []
    for image, count in enumerate(rng.integers(1, 4, images)):
        for good in rng.random(count) < 0.8:
            sure = rng.normal(2.2 if good else 0.9, 0.9) + rng.normal(0, 0.5, 20)
            level = np.floor(255 / (1 + np.exp(-sure))).astype(int)
            rows += [(image, 0, value, int(good), 1) for value in level]
    return rows


def test_fit__seldom_ends_at_a_threshold_that_is_too_low():
    """In half of the sets the pixels alone are precise enough, by luck."""
    rng = np.random.default_rng(0)
    population = count_of(draw_counts(3000, rng)).of_class(0)
    right, kept = population.sum(1)
    true = right / np.maximum(kept, 1)
    low = lucky = 0
    for _ in range(60):
        rows = draw_counts(40, rng)
        fit = fit_thresholds(count_of(rows), 0.85)
        level = least_confidence(fit.thresholds)[0]
        low += level < 256 and true[level] < 0.85
        right, kept = count_of(rows).of_class(0).sum(1)
        lucky += true[np.argmax(right >= 0.85 * kept)] < 0.85
    assert low <= 0.1 * 60
    assert lucky >= 0.3 * 60


@settings(deadline=None, max_examples=50)
@given(
    arrays(np.uint8, (12, 6, 7), elements=st.integers(0, 3)),
    arrays(np.uint8, (12, 6, 7)),
    arrays(np.uint8, (12, 6, 7), elements=st.integers(0, 3)),
)
def test_fit__pixels_that_are_kept_by_it_are_as_precise_as_it_says(maps, sure, truth):
    rows = [
        (at[0], maps[at], sure[at], truth[at] == maps[at], 1)
        for at in np.ndindex(maps.shape)
    ]
    fit = fit_thresholds(count_of(np.array(rows, np.int64), 4), 0.2)
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
    return make_part('valid', twelve(TRUTH))


@pytest.fixture
def pred(make_predictions):
    return make_predictions('pred', MAPS, SURE, CLASSES, split='test')


@pytest.fixture
def oof(make_predictions):
    maps, sure = twelve(MAPS), twelve(SURE)
    return make_predictions('oof', maps, sure, CLASSES, split='valid')


def test_command__keeps_what_is_precise_and_says_what_is_not(run, pred, oof, root):
    argv = (pred, '--data-root', root, '--fit', oof, '--precision', 0.75)
    code, out, err = run(main, *argv)
    assert (code, err) == (0, '')
    lines = [line.split() for line in out.splitlines()]
    assert lines[0][:6] == ['fitted', 'on', '24', 'images', 'of', str(oof)]
    assert lines[1] == ['class', 'threshold', 'precision', 'at', 'least', 'kept']
    assert lines[2] == ['Background', '0.000', '100.0%', '100.0%', '100.0%']
    assert lines[3] == ['Paper', '0.000', '75.0%', '75.0%', '100.0%']
    assert lines[4] == ['Metal', 'none', '0.0%', '-', '0.0%']
    assert lines[5] == ['Glass', 'none', '-', '-', '-']
    assert re.search('no threshold reliably reaches .* images\\): Metal, Glass', out)
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
    assert summary['fit']['reached_at_least'] == [1, 1, None, None]
    assert summary['fit']['kept_share'] == [1, 0.5, 0, None]
    assert summary['fit']['precision'] == 0.9
    assert summary['fit']['images'] == 24


def test_command__one_class_may_have_a_threshold_of_its_own(run, pred, oof, root):
    argv = (pred, '--data-root', root, '--fit', oof, '--class-threshold', 'Metal=0.5')
    run(main, *argv)
    kept = read_mask(root / 'pseudo/mask/a.png').tolist()
    assert kept == [[255, 255, 1, 1, 2, 2]]
    summary = read_json(root / 'pseudo/pseudo.json')
    assert summary['given_thresholds'] == ['Metal=0.5']


def test_command__says_if_another_model_was_fitted_on(run, make_predictions, root):
    names = twelve(MAPS)
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
    names = twelve(MAPS)
    oof = make_predictions('oof', names, 255, CLASSES, **fitted)
    pred = make_predictions('pred', MAPS, 255, CLASSES, **labelled)
    out = run(main, pred, '--data-root', root, '--fit', oof)[1]
    found = [line for line in out.splitlines() if 'thresholds are of' in line]
    assert len(found) == (told is not None)
    if told:
        assert re.search(told, found[0])


def test_fold__is_not_fitted_on_what_it_leaves_out(run, make_predictions, root):
    """Of two folds, the other's images decide: all of their pixels are right."""
    (root / 'folds').mkdir()
    names = twelve(MAPS)
    folds = {image_id: int(image_id.endswith('b.png')) for image_id in names}
    write_folds(root / 'folds', 2, {'valid': folds}, {})
    fold = open_folds(root / 'folds').check(0)
    joined = make_predictions('joined', names, 255, CLASSES, method='out of fold')
    pred = make_predictions('p', MAPS, 255, CLASSES, split='test', fold=fold.record)
    argv = (pred, '--data-root', root, '--fit', joined)
    out = run(main, *argv)[1]
    assert out.startswith('fitted on 12 images of')
    summary = read_json(root / 'pseudo/pseudo.json')
    assert summary['thresholds'] == [0, None, None, None]
    # Alone, the fold's own images are better than none.
    left_out = {name: rows for name, rows in names.items() if not folds[name]}
    own = make_predictions('own', left_out, 255, CLASSES)
    argv = (pred, '--data-root', root, '--fit', own, '--overwrite')
    out = run(main, *argv, '--precision', 0.5)[1]
    assert out.startswith('fitted on 12 images of')
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

    image = 'valid/0/a.png'
    own = {image: MAPS['a.png']}
    refuse('was trained on', own, split='train')
    refuse('its classes differ', own, classes=CLASSES[:3])
    refuse('confidence/valid/0/a.png: no such file', own, None)
    refuse('is not in any part', {'c.png': [[0]]})
    refuse('has no mask', {'a.png': [[0]]})
    refuse('differ in size', {image: [[0, 1]]})
    write_mask(root / 'valid/mask/valid/0/a.png', np.full((1, 6), 255, np.uint8))
    refuse('no pixel of it has a true label', own)
    write_mask(root / 'valid/mask/valid/0/a.png', np.full((1, 6), 9, np.uint8))
    refuse('mask/valid/0/a.png: holds class id 9, .* only 4 classes', own)
    misuse(main, 'no prediction folder', pred, '--data-root', root, '--fit', root)
    assert not (root / 'pseudo').exists()


def test_misuse__members_of_a_vote_that_know_the_images(
    misuse, make_predictions, pred, root
):
    own = {'valid/0/a.png': MAPS['a.png']}
    told = {'folder': 'member', 'split': 'train'}
    vote = make_predictions('vote', own, 255, CLASSES, method='hard', members=[told])
    misuse(main, 'member: is --split train', pred, '--data-root', root, '--fit', vote)


def test_command__too_few_images_to_fit_on_show_why_nothing_is_kept(
    run, make_predictions, pred, root
):
    own = {'valid/0/a.png': MAPS['a.png']}
    few = make_predictions('few', own, SURE['a.png'], CLASSES, split='valid')
    code, out, err = run(main, pred, '--data-root', root, '--fit', few)
    assert code == 2
    assert 'over at least 10 images): Background, Paper, Metal, Glass' in out
    assert 'no pixel is trusted; lower thresholds or --precision' in err
    assert not (root / 'pseudo').exists()
    argv = (pred, '--data-root', root, '--fit', few, '--allow-empty')
    code, out, err = run(main, *argv)
    assert code == 0
    assert '0 images written to' in out
    content = read_json(root / 'pseudo/pseudo.json')
    assert (content['images'], content['kept_pixels']) == ([], [0, 0, 0, 0])
