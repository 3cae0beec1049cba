"""A vote fitted on labelled images: what it finds and may not propose, and its file."""

import json

import numpy as np
import pytest

from mmsegmentation.files import read_json
from mmsegmentation.predictions import open_predictions, write_probs
from mmsegmentation.scores import confusion_matrix, mean_iou
from utils.ensemble import main
from utils.votes.choice import Choice
from utils.votes.joint import Counted, joint_counts
from utils.votes.nested import fit_nested
from utils.votes.table import join

CLASSES = ('Background', 'Paper', 'Metal')
NAMED = {'classes': CLASSES, 'split': 'valid'}
SIZE = (20, 30)


def draw_truth(count=12, seed=0):
    rng = np.random.default_rng(seed)
    fields = rng.integers(0, 3, (count, 4, 5))
    return fields.repeat(5, axis=1).repeat(6, axis=2).astype(np.uint8)


def spoil(truth, share, seed):
    """Give a share of the pixels any class."""
    rng = np.random.default_rng(seed)
    other = rng.integers(0, 3, truth.shape)
    return np.where(rng.random(truth.shape) < share, other, truth).astype(np.uint8)


def by_id(maps):
    return {f'b/{i}.jpg': label_map for i, label_map in enumerate(maps)}


@pytest.fixture
def truth():
    return draw_truth()


@pytest.fixture
def root(make_part, truth):
    return make_part('valid', by_id(truth))


@pytest.fixture
def make_member(make_predictions, truth):
    def make(name, share, seed, confidence=200, **origin):
        maps = by_id(spoil(truth, share, seed))
        told = {**NAMED, 'checkpoint_sha256': f'sha-{name}', **origin}
        return make_predictions(name, maps, confidence, **told)

    return make


@pytest.fixture
def three(make_member):
    return [make_member(f'p{i}', 0.4, i) for i in range(3)]


def fitted(run, path, *argv):
    code, text, err = run(main, 'fit', *argv, '--out', path)
    assert (code, err) == (0, '')
    return read_json(path), text


def test_fit__finds_a_vote_of_equals_and_its_honest_score(run, three, root, tmp_path):
    found, text = fitted(run, tmp_path / 'v.json', *three, '--data-root', root)
    assert sorted(m['name'] for m in found['members']) == sorted(map(str, three))
    scores = found['scores']
    best = max(row['mIoU'] for row in scores['members'].values())
    gain = scores['vote_minus_best']
    assert scores['vote']['mIoU'] == pytest.approx(best + gain['difference'])
    assert 0 < gain['interval'][0] < gain['difference'] < gain['interval'][1]
    assert (scores['images'], scores['folds'], scores['seed']) == (12, 5, 0)
    assert 'proposed: ' in text
    assert 'may be chance' not in text


def test_fit__members_scores_are_those_of_metrics(run, three, root, truth, tmp_path):
    found, _ = fitted(run, tmp_path / 'v.json', *three, '--data-root', root)
    for folder in three:
        predictions = open_predictions(folder)
        counts = sum(
            confusion_matrix(truth[i], predictions.mask(image_id), 3)
            for i, image_id in enumerate(predictions.image_ids)
        )
        row = found['scores']['members'][str(folder)]
        assert row['mIoU'] == pytest.approx(mean_iou(counts))
        assert row['interval'][0] < row['mIoU'] < row['interval'][1]


def test_fit__proposes_the_best_member_where_no_vote_is_better(
    run, make_member, root, tmp_path
):
    good = make_member('good', 0.1, 0)
    # Wherever the good one is wrong, the others are wrong in the same way, and more.
    bad = [make_member(f'bad{i}', 0.9, 7) for i in range(2)]
    path = tmp_path / 'v.json'
    found, text = fitted(run, path, *bad, good, '--data-root', root)
    assert [m['name'] for m in found['members']] == [str(good)]
    assert sorted(m['name'] for m in found['left_out']) == sorted(map(str, bad))
    assert found['scores']['proposed'] == 'single'
    assert f'no vote is better than {good}' in text
    out = tmp_path / 'out'
    code, text, err = run(main, *bad, good, '--rule', path, '--out', out)
    assert (code, err) == (0, '')
    assert f'{bad[0]} is left out' in text
    first, second = open_predictions(good), open_predictions(out)
    for image_id in first.image_ids:
        np.testing.assert_array_equal(first.mask(image_id), second.mask(image_id))


def test_fit__gives_weight_to_a_member_by_its_classes(
    run, make_predictions, truth, root, tmp_path
):
    # Each knows two of the classes, and calls the third by chance.
    members = []
    for blind in range(3):
        guess = np.random.default_rng(blind).integers(0, 3, truth.shape)
        noisy = spoil(truth, 0.3, 10 + blind)
        maps = by_id(np.where((truth == blind) | (noisy == blind), guess, noisy))
        members.append(make_predictions(f'no{blind}', maps, **NAMED))
    path = tmp_path / 'v.json'
    found, _ = fitted(run, path, *members, '--data-root', root)
    scores = found['scores']
    assert scores['kinds']['class weights'] > scores['kinds']['single'] + 0.02
    assert scores['vote']['mIoU'] > max(r['mIoU'] for r in scores['members'].values())


def test_fit__tries_confidence_and_probabilities(
    run, make_predictions, truth, root, tmp_path
):
    # Wrong pixels are doubtful ones: only a vote that looks at confidence knows.
    members = []
    for i in range(2):
        maps = spoil(truth, 0.4, i)
        sure = np.where(maps == truth, 250, 90)
        folder = make_predictions(f'p{i}', by_id(maps), by_id(sure), **NAMED)
        for image_id in by_id(maps):
            # Says background everywhere.
            probs = np.zeros((3, 5, 8), np.uint8)
            write_probs(folder, image_id, probs)
        members.append(folder)
    path = tmp_path / 'v.json'
    found, text = fitted(run, path, *members, '--data-root', root)
    assert {'confidence', 'soft'} <= found['scores']['kinds'].keys()
    assert found['scores']['proposed'] == 'confidence'
    assert found['scores']['kinds_in_folds'] == ['confidence'] * 5
    assert 'proposed: confidence vote of' in text
    out = tmp_path / 'out'
    code, text, _ = run(
        main, *members, '--rule', path, '--out', out, '--data-root', root
    )
    assert code == 0
    metrics = open_predictions(out).metrics()
    assert metrics is not None
    assert metrics['mIoU'] == pytest.approx(found['scores']['vote']['mIoU'], abs=1e-9)


def test_fit__its_vote_is_what_ensemble_does_with_the_file(run, three, root, tmp_path):
    path = tmp_path / 'v.json'
    found, _ = fitted(run, path, *three, '--data-root', root)
    # Named in another order: the members are known by their checkpoints.
    turned = (three[2], three[0], three[1])
    out = tmp_path / 'out'
    code, _, err = run(main, *turned, '--rule', path, '--out', out)
    assert (code, err) == (0, '')
    origin = open_predictions(out).origin
    assert [m['folder'] for m in origin['members']] == [
        m['name'] for m in found['members']
    ]
    assert (origin['method'], origin['ties']) == (found['method'], found['ties'])
    assert len(origin['rule_sha256']) == 64


def test_fit__is_the_same_again_and_with_more_jobs(run, three, root, tmp_path):
    texts = []
    for name, jobs in (('a', 1), ('b', 1), ('c', 2)):
        path = tmp_path / name
        fitted(run, path, *three, '--data-root', root, '--jobs', jobs)
        texts.append(path.read_bytes())
    assert texts[0] == texts[1] == texts[2]


def test_nested__never_looks_at_the_fold_that_it_scores():
    truth = draw_truth(9)
    maps = [spoil(truth, 0.4, seed) for seed in range(3)]
    fold_of = np.arange(9) % 3

    def nested(maps):
        counted = [
            Counted(
                *joint_counts(truth[i], [m[i] for m in maps]), np.empty((0, 3, 3), int)
            )
            for i in range(9)
        ]
        return fit_nested(join(counted, fold_of, (), 3))

    first = nested(maps)
    # Other labels in fold 0 change its own score, but not the vote it is scored by.
    truth[0] = truth[0][::-1]
    second = nested(maps)
    assert (first.confusions[0] != second.confusions[0]).any()
    np.testing.assert_array_equal(
        first.confusions[0].sum(axis=0), second.confusions[0].sum(axis=0)
    )


def test_table__counts_a_vote_as_images_are_counted():
    truth = draw_truth(6)
    maps = [spoil(truth, 0.5, seed) for seed in range(5)]
    truth[0, :3] = 255
    truth[3] = 255
    counted = [
        Counted(*joint_counts(truth[i], [m[i] for m in maps]), np.empty((0, 3, 3), int))
        for i in range(6)
    ]
    table = join(counted, np.arange(6) % 3, (), 3)
    values = np.random.default_rng(0).random((3, 3))
    weights = np.array([[1, 2, 1], [1, 1, 1], [2, 1, 1]])
    choice = Choice('hard', weights, 'accuracy', values)
    chosen = [4, 0, 2]
    found = table.confusions_of([0, 2], chosen, choice)
    for counts, i in zip(found, (0, 2, 3, 5), strict=True):
        label_map = choice.rule(np.stack([maps[k][i] for k in chosen])).label_map
        expected = confusion_matrix(truth[i], label_map, 3)
        np.testing.assert_array_equal(counts, expected)


@pytest.mark.parametrize('members', [1, 3, 4, 9])
def test_joint_counts__equal_those_of_every_pixel(members):
    rng = np.random.default_rng(members)
    truth = rng.choice(np.array([0, 1, 254, 255], np.uint8), (7, 9))
    maps = rng.integers(0, 2, (members, 7, 9), np.uint8)
    rows, pixels = joint_counts(truth, maps)
    seen: dict[tuple, int] = {}
    for at in np.ndindex(truth.shape):
        if truth[at] != 255:
            key = (int(truth[at]), *(int(m[at]) for m in maps))
            seen[key] = seen.get(key, 0) + 1
    assert dict(zip(map(tuple, rows.tolist()), pixels.tolist(), strict=True)) == seen


def test_joint_counts__of_nothing_labelled_are_none():
    nothing = np.full((2, 3), 255, np.uint8)
    rows, pixels = joint_counts(nothing, [nothing])
    assert (rows.shape, pixels.shape) == ((0, 2), (0,))


@pytest.fixture
def rule(run, three, root, tmp_path):
    path = tmp_path / 'rule.json'
    fitted(run, path, *three, '--data-root', root)
    return path


def test_rule__members_of_other_checkpoints_are_refused(
    misuse, run, rule, three, make_member, tmp_path
):
    out = ('--rule', rule, '--out', tmp_path / 'out')
    other = make_member('other', 0.3, 5)
    misuse(main, 'other: was predicted with another checkpoint', *three, other, *out)
    misuse(main, 'has a member .*, and no folder is of it', *three[:2], *out)
    twin = make_member('twin', 0.3, 6, checkpoint_sha256='sha-p0')
    misuse(main, 'twin: and .*p0 are both of .*p0', *three, twin, *out)
    # Retrained on everything, say: then the order tells.
    again = [make_member(f'new{i}', 0.3, i) for i in range(len(three))]
    assert run(main, *again, *out, '--by-order')[0] == 0


def test_rule__unknown_checkpoints_are_taken_in_order(
    misuse, run, rule, make_member, tmp_path
):
    new = [make_member(f'n{i}', 0.3, i, checkpoint_sha256=None) for i in range(3)]
    out = ('--rule', rule, '--out', tmp_path / 'out')
    assert run(main, *new, *out)[0] == 0
    misuse(
        main,
        'names 3 members, and there are 2 folders',
        *new[:2],
        '--rule',
        rule,
        '--out',
        tmp_path / 'two',
    )
    known = make_member('known', 0.3, 4)
    misuse(
        main, 'known: was predicted with another', *new[:2], known, *out, '--overwrite'
    )


def test_rule__a_checkpoint_of_one_fold_stands_for_its_model(
    run, make_member, root, tmp_path
):
    joined = [
        make_member(
            f'j{i}',
            0.4,
            i,
            checkpoint_sha256=None,
            members=[{'checkpoint_sha256': f'{i}-{k}'} for k in range(3)],
        )
        for i in range(2)
    ]
    path = tmp_path / 'v.json'
    found, _ = fitted(run, path, *joined, '--data-root', root)
    assert len(found['members'][0]['checkpoints']) == 3
    test = [make_member(f't{i}', 0.4, i, checkpoint_sha256=f'{i}-1') for i in (1, 0)]
    out = tmp_path / 'out'
    assert run(main, *test, '--rule', path, '--out', out)[0] == 0


def test_rule__one_model_predicted_in_two_ways_goes_by_order(
    run, misuse, make_member, root, tmp_path
):
    sha = {'p0': 'same', 'p1': 'same', 'p2': 'other'}
    members = [
        make_member(name, 0.4, i, checkpoint_sha256=sha[name])
        for i, name in enumerate(sha)
    ]
    path = tmp_path / 'v.json'
    found, _ = fitted(run, path, *members, '--data-root', root)
    names = [member['name'] for member in found['members']]
    assert len(names) == 3
    argv = (*names, '--rule', path, '--out', tmp_path / 'out')
    misuse(
        main,
        'may be .*p[01] or .*p[01] of .*both have its checkpoint.*--by-order',
        *argv,
    )
    assert run(main, *argv, '--by-order')[0] == 0


def by_iou(content, values):
    content['ties'] = 'iou'
    for member in content['members']:
        member['iou'] = values


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda c: c.clear(), 'is no fitted vote'),
        (lambda c: c.update(kind='other'), 'is no fitted vote'),
        (lambda c: c.update(method='x'), 'is no fitted vote'),
        (lambda c: c.update(ties=[]), 'is no fitted vote'),
        (lambda c: c.update(members=3), 'is no fitted vote'),
        (lambda c: c.update(members=[]), 'is no fitted vote'),
        (lambda c: c['members'][0].pop('name'), 'is no fitted vote'),
        (lambda c: c['members'][0].update(weights=[1]), 'is no fitted vote'),
        (lambda c: c['members'][0].update(weights=['a'] * 3), 'is no fitted vote'),
        (lambda c: c['members'][0].update(weights=[-1] * 3), 'is no fitted vote'),
        (lambda c: c['members'][0].update(weight=10**400), 'weight holds 1000'),
        (lambda c: c['members'][0].update(weight=float('nan')), 'weight holds nan'),
        (lambda c: c['members'][0].update(weight='1'), "weight holds '1'"),
        (lambda c: c['members'][0].update(weight=True), 'weight holds True'),
        (lambda c: c['members'][0].update(weights='111'), 'no list of 3 numbers'),
        (lambda c: c['members'][0].update(checkpoints='sha-p0'), 'are no list'),
        (lambda c: c['members'].append(c['members'][0]), 'a member comes twice'),
        (lambda c: c.update(left_out=c['members'][:1]), 'a member comes twice'),
        (lambda c: by_iou(c, [0.5, None, 2]), 'iou holds 2, no number of 0 to 1'),
        (lambda c: by_iou(c, [0.5, -0.1, 1]), 'iou holds -0.1'),
        (lambda c: by_iou(c, [0.5, 1]), 'iou is no list of 3 numbers'),
        (lambda c: by_iou(c, [[0.5]] * 3), r'iou holds \[0.5\]'),
        (lambda c: c.update(ties='iou'), "nothing called 'iou'"),
        (lambda c: c.update(classes=['Background', 'A', 'B']), 'its classes are not'),
    ],
)
def test_rule__that_is_none_is_named(misuse, three, tmp_path, change, message):
    members = [
        {'name': str(folder), 'checkpoints': [f'sha-p{i}'], 'weight': 1}
        for i, folder in enumerate(three)
    ]
    content = {'kind': 'vote', 'method': 'hard', 'ties': 'order', 'members': members}
    content['classes'] = list(CLASSES)
    change(content)
    path = tmp_path / 'rule.json'
    path.write_text(json.dumps(content))
    misuse(
        main,
        rf'rule\.json: .*{message}',
        *three,
        '--rule',
        path,
        '--out',
        tmp_path / 'o',
    )


def test_rule__brings_its_own_options(misuse, rule, three, tmp_path):
    out = (*three, '--rule', rule, '--out', tmp_path / 'out')
    misuse(main, '--method: comes with --rule', *out, '--method', 'hard')
    misuse(main, '--weights: comes with --rule', *out, '--weights', 1, 2, 3)
    misuse(main, '--ties: comes with --rule', *out, '--ties', 'order')
    misuse(main, '--metrics: comes with --rule', *out, '--metrics', 'a')
    misuse(
        main,
        'absent: no such file',
        *three,
        '--rule',
        tmp_path / 'absent',
        '--out',
        tmp_path / 'out',
    )


def test_fit__misuse_is_one_line(misuse, three, root, make_member, tmp_path):
    def fails(message, *argv):
        misuse(main, message, 'fit', *argv, '--out', tmp_path / 'v.json')
        assert not (tmp_path / 'v.json').exists()

    data = ('--data-root', root)
    fails('required: --data-root', *three)
    fails('one folder is no vote', three[0], *data)
    fails('is named twice', three[0], three[0], *data)
    fails('no such folder', three[0], tmp_path / 'none', *data)
    fails('is 2; give 3 or more', *three, *data, '--folds', 2)
    fails('there are 12 labelled images', *three, *data, '--folds', 13)
    fails('--seed: is -1', *three, *data, '--seed', '-1')
    fails('is not in .*test', *three, *data, '--split', 'test')
    seen = make_member('seen', 0.1, 1, split='train')
    fails('seen: is --split train', three[0], seen, *data)
    (tmp_path / 'empty').mkdir()
    misuse(main, 'is a folder', 'fit', *three, *data, '--out', tmp_path / 'empty')


def test_fit__labels_that_do_not_fit_are_named(
    misuse, three, make_part, truth, tmp_path
):
    out = ('--out', tmp_path / 'v.json', '--jobs', 1)
    argv = ('fit', *three, *out, '--data-root')
    narrow = by_id(truth[:, :, :-1])
    misuse(
        main,
        r'valid/mask/b/0\.png: has size \(20, 29\)',
        *argv,
        make_part('valid', narrow),
    )
    many = truth.copy()
    many[1, 0, 0] = 7
    misuse(main, r'b/1\.png: holds class id 7', *argv, make_part('valid', by_id(many)))
    nothing = np.full_like(truth, 255)
    misuse(main, 'no pixel is labelled', *argv, make_part('valid', by_id(nothing)))


def test_fit__images_without_labels_are_in_no_fold(
    run, misuse, three, make_part, truth, tmp_path
):
    labels = truth.copy()
    labels[:8] = 255
    argv = (*three, '--data-root', make_part('valid', by_id(labels)))
    found, text = fitted(run, tmp_path / 'v.json', *argv, '--folds', 4)
    assert found['scores']['images'] == 4
    assert 'paired over 4 images' in text
    out = ('--out', tmp_path / 'w.json')
    misuse(main, '--folds 5: there are 4 labelled images', 'fit', *argv, *out)
    assert not (tmp_path / 'w.json').exists()


def test_fit__a_place_that_cannot_be_written_to_shows_before_the_work(
    misuse, three, root, tmp_path
):
    (three[0] / 'masks/b/0.png').write_bytes(b'no image')
    argv = ('fit', *three, '--data-root', root, '--out')
    misuse(main, 'not a readable image', *argv, tmp_path / 'v.json')
    assert not list(tmp_path.glob('*v.json*'))
    (tmp_path / 'file').touch()
    misuse(main, 'v.json: cannot be made', *argv, tmp_path / 'file' / 'v.json')
