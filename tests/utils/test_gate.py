"""The gate: what passes, what does not, and what cannot be compared."""

import numpy as np
import pytest
from scipy import stats

from mmsegmentation.files import read_json, sha256_of, write_mask
from mmsegmentation.scores import confusion_matrix, mean_iou
from utils.gate import main, verdict_of

CLASSES = ('Background', 'Paper', 'Metal')
NAMES = [f'b_{number % 2}/{number}.png' for number in range(12)]


def scene(seed):
    return np.random.default_rng(seed).integers(0, 3, (8, 9)).astype(np.uint8)


TRUTH = {name: scene(seed) for seed, name in enumerate(NAMES)}


def spoilt(share, seed=0):
    """Return maps that differ from the truth in a share of their pixels."""
    rng = np.random.default_rng(seed)
    maps = {}
    for name, label_map in TRUTH.items():
        wrong = rng.random(label_map.shape) < share
        maps[name] = np.where(wrong, (label_map + 1) % 3, label_map)
    return maps


@pytest.fixture
def root(make_part):
    return make_part('valid', TRUTH)


@pytest.fixture
def gate(run, root, make_predictions):
    """Compare two sets of maps; return exit code, output and record."""

    def call(with_, without, *argv, **origin):
        origin = {'split': 'valid', **origin}
        one = make_predictions('with', with_, None, CLASSES, **origin)
        two = make_predictions('without', without, None, CLASSES, **origin)
        out = root.parent / 'gate.json'
        argv = (one, two, '--data-root', root, '--out', out, '--overwrite', *argv)
        code, printed, err = run(main, *argv)
        assert err == ''
        return code, printed, read_json(out)

    return call


def test_better__passes(gate):
    code, out, record = gate(spoilt(0.1), spoilt(0.4))
    assert code == 0
    assert (record['verdict'], record['passed']) == ('better', True)
    assert record['interval'][0] > 0
    assert 'better: passed' in out.splitlines()


def test_worse__does_not_pass(gate):
    code, out, record = gate(spoilt(0.4), spoilt(0.1))
    assert code == 1
    assert (record['verdict'], record['passed']) == ('worse', False)
    assert record['interval'][1] < 0
    assert 'worse: not passed' in out.splitlines()


def test_same__is_no_gain(gate):
    code, _, record = gate(spoilt(0.2), spoilt(0.2))
    assert code == 1
    assert (record['verdict'], record['gain']) == ('unclear', 0)
    assert record['interval'] == [0, 0]


def test_gain_in_the_one_image_of_a_class__does_not_pass(gate, root):
    """Metal is in one image alone; all else is equal."""
    truth = {name: label_map % 2 for name, label_map in TRUTH.items()}
    truth[NAMES[0]][:2] = 2
    for name, label_map in truth.items():
        write_mask(root / 'valid/mask' / name, label_map)
    without = {**truth, NAMES[0]: truth[NAMES[0]] % 2}
    code, _, record = gate(truth, without)
    assert (code, record['verdict']) == (1, 'unclear')
    assert record['gain'] > 0.3
    assert record['interval'][0] < 0


def test_unclear__does_not_pass(gate):
    """One image of twelve is better, one other a little worse."""
    with_, without = dict(TRUTH), dict(TRUTH)
    without[NAMES[0]] = (TRUTH[NAMES[0]] + 1) % 3
    with_[NAMES[1]] = np.where(TRUTH[NAMES[1]] == 2, 0, TRUTH[NAMES[1]])
    code, _, record = gate(with_, without)
    assert code == 1
    assert record['gain'] > 0
    assert record['interval'][0] <= 0
    assert record['verdict'] == 'unclear'


def test_gain__is_paired_and_over_pooled_pixels(gate):
    with_, without = spoilt(0.1, 1), spoilt(0.2, 2)
    record = gate(with_, without)[2]

    def confusions(maps):
        return np.stack([confusion_matrix(TRUTH[n], maps[n], 3) for n in NAMES])

    one, two = confusions(with_), confusions(without)
    gain = mean_iou(one.sum(0)) - mean_iou(two.sum(0))
    assert record['gain'] == pytest.approx(gain)
    assert record['with']['mIoU'] == pytest.approx(mean_iou(one.sum(0)))
    assert record['without']['mIoU'] == pytest.approx(mean_iou(two.sum(0)))
    # Each image left out in turn; its share of a class hardly matters here.
    left_out = [
        mean_iou(np.delete(one, i, 0).sum(0)) - mean_iou(np.delete(two, i, 0).sum(0))
        for i in range(12)
    ]
    error = np.sqrt(11 / 12 * ((left_out - np.mean(left_out)) ** 2).sum())
    reach = stats.t.ppf(0.975, 11) * error
    expected = [gain - reach, gain + reach]
    np.testing.assert_allclose(record['interval'], expected, rtol=0.05)
    assert list(record['IoU_gain']) == list(CLASSES)


def test_record__says_what_was_compared(gate, root):
    first = {'part': 'pseudo', 'round': 1, 'sha256': 'f'}
    record = gate(spoilt(0), spoilt(0.1), checkpoint_sha256='a', pseudo=[first])[2]
    folder = root.parent / 'with'
    assert record['with']['folder'] == str(folder)
    sha256 = sha256_of(folder / 'predictions.json')
    assert record['with']['predictions_sha256'] == sha256
    assert record['with']['checkpoints_sha256'] == ['a']
    assert record['with']['pseudo'] == [first]
    assert record['images'] == 12


def test_steps__of_both_models_are_recorded_and_a_difference_is_a_warning(
    run, root, make_predictions
):
    """Of folds that were joined, the most counts."""

    def say(with_, without):
        one = make_predictions('with', TRUTH, None, CLASSES, split='valid', **with_)
        two = make_predictions(
            'w', spoilt(0.2), None, CLASSES, split='valid', **without
        )
        out = root.parent / 'gate.json'
        argv = (one, two, '--data-root', root, '--out', out, '--overwrite')
        code, printed, err = run(main, *argv)
        assert (code, err) == (0, '')
        lines = [x for x in printed.splitlines() if x.startswith(('warning', 'note'))]
        record = read_json(out)
        return lines, [record[name]['steps'] for name in ('with', 'without')]

    def trained(*steps):
        return [{'checkpoint_sha256': 'a', 'steps': number} for number in steps]

    one, two = trained(1300, 1000)
    assert say(one, one) == ([], [1300, 1300])
    (line,), steps = say(one, two)
    assert steps == [1300, 1000]
    assert (
        f'{root.parent}/with was trained for 1300 steps, {root.parent}/w for 1000:'
        in line
    )
    folds = {'method': 'out of fold', 'members': trained(1298, 1300)}
    assert say(folds, one) == ([], [1300, 1300])
    # Older predictions have no such record.
    (line,), steps = say(one, {'checkpoint_sha256': 'a'})
    assert steps == [1300, None]
    assert line.startswith(f'note: {root.parent}/w has no record of the training steps')
    members = {'members': [*trained(1300), {'checkpoint_sha256': 'b'}]}
    assert say(members, one)[1] == [None, 1300]


def test_images__are_paired_by_name(gate):
    turned = dict(reversed(spoilt(0.1).items()))
    assert gate(turned, spoilt(0.1))[2]['gain'] == 0


def test_images__without_a_labelled_pixel_are_left_out(gate, root):
    before = gate(spoilt(0.1), spoilt(0.4))[2]
    for name in NAMES[:3]:
        write_mask(root / 'valid/mask' / name, np.full((8, 9), 255, np.uint8))
    after = gate(spoilt(0.1), spoilt(0.4))[2]
    assert (before['images'], after['images']) == (12, 9)


def test_jobs__any_number_gives_the_same_record(gate):
    records = [gate(spoilt(0.1), spoilt(0.2), '--jobs', jobs)[2] for jobs in (1, 3)]
    assert records[0] == records[1]


@pytest.mark.parametrize(
    ('gain', 'interval', 'verdict'),
    [
        (0.1, (0.01, 0.2), 'better'),
        (0.1, (0.0, 0.2), 'unclear'),
        (0.1, (-0.1, 0.2), 'unclear'),
        (-0.0171, (-0.0357, 0.0009), 'unclear'),
        (0.0171, (-0.0009, 0.0357), 'unclear'),
        (-0.1, (-0.2, -0.01), 'worse'),
        (-0.1, (-0.2, 0.0), 'unclear'),
        (0.0, (-0.2, 0.2), 'unclear'),
    ],
)
def test_verdict_of__each_case(gain, interval, verdict):
    assert verdict_of(gain, interval) == verdict


def test_misuse__what_cannot_be_compared(misuse, make_predictions, root):
    def make(name, maps=TRUTH, classes=CLASSES, **origin):
        return make_predictions(name, maps, None, classes, **origin)

    def refuse(message, other):
        one = make('one', split='valid')
        misuse(main, message, other, one, '--data-root', root)
        if other != one:
            misuse(main, message, one, other, '--data-root', root)

    fewer = {name: TRUTH[name] for name in NAMES[1:]}
    refuse('is compared with itself', root.parent / 'one')
    refuse('its classes differ', make('a', classes=('Background', 'can', 'jar')))
    refuse("'b_0/0.png': is in .* but not in", make('b', fewer))
    refuse('is --split train, which its model was trained on', make('c', split='train'))
    refuse('no prediction folder', root)
    odd = {**TRUTH, NAMES[0]: [[1]]}
    refuse("'b_0/0.png': .*sizes differ", make('d', odd))
    refuse('different folds', make('e', folds_sha256='x', method='out of fold'))
    refuse('different folds', make('g', folds_sha256=['x']))
    refuse('holds class id 9', make('f', {**TRUTH, NAMES[0]: TRUTH[NAMES[0]] + 7}))


def test_misuse__a_vote_whose_member_was_trained_on_these_images(
    misuse, make_predictions, root
):
    told = {'folder': 'member', 'split': 'train'}
    vote = make_predictions('vote', TRUTH, None, CLASSES, members=[told])
    plain = make_predictions('plain', TRUTH, None, CLASSES)
    misuse(main, 'member: is --split train', vote, plain, '--data-root', root)


def test_misuse__truth_that_is_missing_or_wrong(misuse, make_predictions, root):
    one, two = (make_predictions(n, TRUTH, None, CLASSES) for n in ('one', 'two'))
    argv = (one, two, '--data-root', root)
    misuse(main, 'none: no such folder', *argv[:-1], root.parent / 'none')
    path = root / 'valid/mask' / NAMES[3]
    path.write_bytes(path.read_bytes()[:40])
    misuse(main, r'3\.png: not a readable image', *argv)
    path.unlink()
    misuse(main, "'b_1/3.png': has no mask in", *argv)
    for name in NAMES:
        write_mask(root / 'valid/mask' / name, np.full((8, 9), 255, np.uint8))
    misuse(main, 'no pixel has a true label', *argv)


def test_out__is_not_replaced_unasked(misuse, make_predictions, root, tmp_path):
    one, two = (make_predictions(n, TRUTH, None, CLASSES) for n in ('one', 'two'))
    out = tmp_path / 'kept.json'
    out.write_text('kept')
    misuse(main, 'kept.json: exists', one, two, '--data-root', root, '--out', out)
    assert out.read_text() == 'kept'
