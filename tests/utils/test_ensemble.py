"""The vote of prediction folders: rules, ties, and members that do not fit."""

import json

import numpy as np
import pytest

from mmsegmentation.files import read_mask, sha256_of, write_mask
from mmsegmentation.predictions import open_predictions, write_probs
from utils.ensemble import main

CLASSES = ('Background', 'Paper', 'Metal')
NAMED = {'classes': CLASSES}


@pytest.fixture
def metrics(tmp_path):
    def write(name, *accuracy, classes=CLASSES, iou=()):
        path = tmp_path / f'{name}.json'
        content = {'classes': classes, 'Acc': accuracy, 'IoU': iou}
        path.write_text(json.dumps(content))
        return path

    return write


@pytest.fixture
def three(make_predictions):
    maps = ([[0, 1, 2]], [[0, 1, 1]], [[1, 1, 0]])
    return [
        make_predictions(f'p{i}', {'a/1.jpg': m}, 100 + 50 * i, **NAMED)
        for i, m in enumerate(maps)
    ]


def label_maps(folder):
    predictions = open_predictions(folder)
    return {i: predictions.mask(i).tolist() for i in predictions.image_ids}


def test_hard__majority_wins_and_ties_are_counted(run, three, tmp_path):
    out = tmp_path / 'out'
    code, text, err = run(main, *three, '--out', out)
    assert (code, err) == (0, '')
    assert '1 of 3 pixels were tied (33.33%)' in text
    assert 'ties to the earliest model: there is no metrics.json' in text
    assert 'With two models' not in text
    assert label_maps(out) == {'a/1.jpg': [[0, 1, 2]]}
    # (100 + 150) / 3, (100 + 150 + 200) / 3, 100 / 3.
    assert open_predictions(out).confidence('a/1.jpg').tolist() == [[83, 150, 33]]


def test_hard__tie_goes_to_accuracy_of_the_voter(run, three, metrics, tmp_path):
    files = [metrics('m0', 0.9, 0.9, 0.3), metrics('m1', 0.1, 0.4, 0.9)]
    files.append(metrics('m2', None, 0.9, 0.9))
    out = tmp_path / 'out'
    text = run(main, *three, '--out', out, '--metrics', *files)[1]
    # Third pixel: Metal .3, Paper .4, Background unknown.
    assert label_maps(out) == {'a/1.jpg': [[0, 1, 1]]}
    assert 'ties to the class with the highest accuracy' in text


def test_hard__two_models_are_a_switch_and_it_says_so(
    run, make_predictions, metrics, tmp_path
):
    one = make_predictions('one', {'a.jpg': [[0, 1, 2, 2]]}, **NAMED)
    two = make_predictions('two', {'a.jpg': [[1, 0, 2, 1]]}, **NAMED)
    files = metrics('m1', 0.5, 0.7, 0.2), metrics('m2', 0.6, 0.9, 0.1)
    out = tmp_path / 'out'
    text = run(main, one, two, '--out', out, '--metrics', *files)[1]
    assert 'every disagreement is a tie' in text
    assert 'a switch by the accuracy of each class' in text
    assert '3 of 4 pixels were tied' in text
    assert label_maps(out) == {'a.jpg': [[1, 1, 2, 1]]}


def test_metrics__are_the_members_own_by_default(
    run, make_predictions, metrics, tmp_path
):
    one = make_predictions('one', {'a.jpg': [[0]]}, **NAMED)
    two = make_predictions('two', {'a.jpg': [[1]]}, **NAMED)
    metrics('one/metrics', 0.5, 0.5, 0.5)
    metrics('two/metrics', 0.5, 0.6, 0.5)
    assert run(main, one, two, '--out', tmp_path / 'out')[0] == 0
    assert label_maps(tmp_path / 'out') == {'a.jpg': [[1]]}


@pytest.mark.parametrize('kind', ['told', 'beside', 'trained'])
def test_metrics__of_another_member_are_refused(
    run, misuse, make_predictions, tmp_path, kind
):
    """Whose they are is in the file, in the one beside it, or in the checkpoint."""
    folders, files = [], []
    for name in ('one', 'two'):
        weights = tmp_path / f'run_{name}/best.pth'
        weights.parent.mkdir()
        weights.write_text(name)
        sha256 = sha256_of(weights)
        folder = make_predictions(
            name, {'a.png': [[1]]}, **NAMED, checkpoint_sha256=sha256
        )
        place = {'told': 'scores', 'beside': folder, 'trained': weights.parent}[kind]
        path = tmp_path / place / f'{name}.json'
        path.parent.mkdir(exist_ok=True)
        own = {'told': 'checkpoint_sha256', 'trained': 'checkpoint'}.get(kind)
        told = {own: sha256 if kind == 'told' else 'best.pth'} if own else {}
        scores = {'classes': list(CLASSES), 'Acc': [0.5] * len(CLASSES)}
        path.write_text(json.dumps(scores | told))
        folders.append(folder)
        files.append(path)
    argv = (*folders, '--out', tmp_path / 'out', '--metrics')
    message = (
        rf'two\.json: holds the scores of {folders[1]}, and stands for .*one; name'
    )
    misuse(main, message, *argv, *reversed(files))
    code, out, _ = run(main, *argv, *files)
    assert code == 0
    assert 'note: ' not in out


def test_metrics__of_no_members_checkpoint_are_said(run, make_predictions, tmp_path):
    one = make_predictions('one', {'a.png': [[1]]}, **NAMED, checkpoint_sha256='1')
    two = make_predictions('two', {'a.png': [[1]]}, **NAMED, checkpoint_sha256='2')
    files = []
    for number in (1, 3):
        path = tmp_path / f'{number}.json'
        scores = {'classes': list(CLASSES), 'Acc': [0.5] * len(CLASSES)}
        path.write_text(json.dumps({'checkpoint_sha256': str(number), **scores}))
        files.append(path)
    out = run(main, one, two, '--out', tmp_path / 'out', '--metrics', *files)[1]
    told = f'note: {files[1]} is of another checkpoint than {two}'
    assert [line for line in out.splitlines() if 'note: ' in line] == [told]


def test_ties__go_by_what_is_named(run, three, metrics, misuse, tmp_path):
    # The third pixel: Metal of p0, Paper of p1, Background of p2.
    rows = [(0, 0, 0.9), (0, 0.5, 0), (0.1, 0, 0)]
    turned = [row[::-1] for row in ((0, 0, 0.2), (0, 0.5, 0), (0, 0, 0.9))]
    files = [
        metrics(f'm{i}', *row, iou=iou)
        for i, (row, iou) in enumerate(zip(rows, turned, strict=True))
    ]
    expected = {'accuracy': 2, 'iou': 0, 'confidence': 0, 'order': 2}
    for ties, label in expected.items():
        out = tmp_path / ties
        argv = (*three, '--out', out, '--ties', ties)
        if ties in ('accuracy', 'iou'):
            argv = (*argv, '--metrics', *files)
        else:
            misuse(main, 'nothing goes by it', *argv, '--metrics', *files)
        assert run(main, *argv)[0] == 0
        assert label_maps(out) == {'a/1.jpg': [[0, 1, label]]}
        assert open_predictions(out).origin['ties'] == ties


def test_confidence__one_sure_model_beats_two_doubtful(run, make_predictions, tmp_path):
    members = [
        make_predictions(f'p{i}', {'a.jpg': [[c]]}, sure, **NAMED)
        for i, (c, sure) in enumerate([(1, 100), (1, 90), (2, 250)])
    ]
    out = tmp_path / 'out'
    code, text, _ = run(main, *members, '--out', out, '--method', 'confidence')
    assert code == 0
    assert "weighed by each one's confidence in its own class, ties" in text
    assert label_maps(out) == {'a.jpg': [[2]]}
    assert open_predictions(out).confidence('a.jpg').tolist() == [[83]]


def test_weights__accurate_model_beats_two_inaccurate(run, three, metrics, tmp_path):
    rows = [(0.3, 0, 0.3), (0.3, 0, 0), (0, 1, 0)]
    files = [metrics(f'm{i}', *row) for i, row in enumerate(rows)]
    out = tmp_path / 'out'
    weighted = ('--weights', 'accuracy', '--metrics', *files)
    assert run(main, *three, '--out', out, *weighted)[0] == 0
    assert label_maps(out) == {'a/1.jpg': [[1, 1, 2]]}
    assert open_predictions(out).origin['weights'] == [list(row) for row in rows]


def test_weights__of_each_member_are_exact(run, three, tmp_path):
    out = tmp_path / 'out'
    text = run(main, *three, '--out', out, '--weights', '0.1', '0.2', '0.3')[1]
    # First pixel: 0.1 + 0.2 for Background are as much as 0.3 for Paper: a tie.
    assert label_maps(out) == {'a/1.jpg': [[0, 1, 0]]}
    assert '1 of 3 pixels were tied' in text
    assert 'hard vote of 3 models, weighed, ties' in text
    # Third pixel: 0.3 of Background.
    assert open_predictions(out).confidence('a/1.jpg').tolist() == [[67, 167, 100]]


def test_soft__adds_up_kept_probabilities(run, make_predictions, tmp_path):
    maps = {'a/1.jpg': [[0, 0, 0, 0, 1, 1, 1, 1]]}
    members = [make_predictions(name, maps, **NAMED) for name in ('one', 'two')]
    probs = [[[200], [5], [50]], [[20], [45], [190]]]
    for folder, columns in zip(members, probs, strict=True):
        both = np.array([columns, columns[::-1]], np.uint8).transpose(1, 2, 0)
        write_probs(folder, 'a/1.jpg', both)
    out = tmp_path / 'out'
    code, text, err = run(main, *members, '--out', out, '--method', 'soft')
    assert (code, err) == (0, '')
    assert 'the largest sum of probabilities wins' in text
    # 240 against 220 at both ends, and the other way round after the middle.
    assert label_maps(out) == {'a/1.jpg': [[2, 2, 2, 2, 0, 0, 0, 0]]}
    assert open_predictions(out).confidence('a/1.jpg')[0, 0] == 120
    weighted = (*members, '--method', 'soft', '--weights', 2, 1)
    run(main, *weighted, '--out', tmp_path / 'weighted')
    assert label_maps(tmp_path / 'weighted') == {'a/1.jpg': [[0, 0, 0, 0, 2, 2, 2, 2]]}


def test_soft__members_of_other_sizes_follow_the_first(run, make_predictions, tmp_path):
    one = make_predictions('one', {'a.jpg': np.zeros((8, 4))}, **NAMED)
    two = make_predictions('two', {'a.jpg': np.ones((16, 12))}, **NAMED)
    write_probs(one, 'a.jpg', np.full((3, 2, 1), 80, np.uint8))
    lower_half = np.zeros((3, 4, 3), np.uint8)
    lower_half[1], lower_half[2, 2:] = 100, 200
    write_probs(two, 'a.jpg', lower_half)
    out = tmp_path / 'out'
    code, text, err = run(main, one, two, '--out', out, '--method', 'soft')
    assert (code, err) == (0, '')
    assert label_maps(out) == {'a.jpg': [[1] * 4] * 4 + [[2] * 4] * 4}
    # 16 x 12 pixels of Paper became 8 x 4, half of them changed.
    assert [str(two), '50.00%', '16'] in [line.split() for line in text.splitlines()]


def test_maps__show_ties_and_how_many_were_overruled(run, three, tmp_path):
    out = tmp_path / 'out'
    assert run(main, *three, '--out', out, '--maps')[0] == 0
    assert read_mask(out / 'maps/ties/a/1.png').tolist() == [[0, 0, 255]]
    # One of three, none, two of three.
    overruled = read_mask(out / 'maps/disagreement/a/1.png')
    assert overruled.tolist() == [[85, 0, 170]]
    run(main, *three, '--out', tmp_path / 'without')
    assert not (tmp_path / 'without/maps').exists()


def test_table__tells_agreement_and_shift(run, three, tmp_path):
    text = run(main, *three, '--out', tmp_path / 'out')[1]
    cells = [line.split() for line in text.splitlines()]
    # The outcome is [0, 1, 2].
    assert [str(three[0]), '100.00%', '0'] in cells
    assert [str(three[1]), '66.67%', '1'] in cells
    assert [str(three[2]), '33.33%', '2'] in cells
    assert ['class', 'share,', '%', 'shift,', 'points'] in cells
    assert 'shift: against the mean share of the members' in text
    # Of nine votes, three are for Background, five for Paper, one for Metal.
    assert ['Background', '33.33', '+0.00'] in cells
    assert ['Paper', '33.33', '-22.22'] in cells
    assert ['Metal', '33.33', '+22.22'] in cells


def test_origin__says_who_voted_and_how(run, make_predictions, metrics, tmp_path):
    one = make_predictions('one', {'a.jpg': [[0]]}, **NAMED, checkpoint_sha256='1a')
    two = make_predictions('two', {'a.jpg': [[1]]}, **NAMED, checkpoint_sha256='2b')
    file = metrics('m', 0.5, None, 0.5)
    run(main, one, two, '--out', tmp_path / 'out', '--metrics', file, file)
    origin = open_predictions(tmp_path / 'out').origin
    assert (origin['method'], origin['tied_pixels'], origin['pixels']) == ('hard', 1, 1)
    assert [m['checkpoint_sha256'] for m in origin['members']] == ['1a', '2b']
    assert [m['folder'] for m in origin['members']] == [str(one), str(two)]
    assert origin['accuracy'] == [[0.5, None, 0.5]] * 2
    assert 'weights' not in origin


def test_origin__is_of_the_part_that_all_members_are_of(
    run, make_predictions, make_part, tmp_path
):
    fold = {'fold': 0, 'folds': 2, 'parts': ['train']}
    of_fold = {**NAMED, 'split': 'valid', 'fold': fold}
    maps = {'a.jpg': [[0]]}
    one, two = (make_predictions(name, maps, **of_fold) for name in ('one', 'two'))
    other = make_predictions('other', maps, **NAMED, split='test')
    # Its images lie in train, though they are the ones left out.
    root = make_part('train', {'a.jpg': [[0]]})
    out = tmp_path / 'out'
    code, _, err = run(main, one, two, '--out', out, '--data-root', root)
    assert (code, err) == (0, '')
    origin = open_predictions(out).origin
    assert (origin['split'], origin['fold']) == ('valid', fold)
    assert run(main, one, other, '--out', tmp_path / 'mixed')[0] == 0
    assert 'split' not in open_predictions(tmp_path / 'mixed').origin


def test_origin__of_joined_folds_keeps_the_folds(run, make_predictions, tmp_path):
    maps, folds = {'a.jpg': [[0]]}, {'folds': 5, 'folds_sha256': '6' * 64}
    one, two = (make_predictions(name, maps, **NAMED, **folds) for name in ('1', '2'))
    other = make_predictions('3', maps, **NAMED, folds=5, folds_sha256='7' * 64)
    assert run(main, one, two, '--out', tmp_path / 'out')[0] == 0
    origin = open_predictions(tmp_path / 'out').origin
    assert {key: origin[key] for key in folds} == folds
    assert run(main, one, other, '--out', tmp_path / 'mixed')[0] == 0
    assert 'folds_sha256' not in open_predictions(tmp_path / 'mixed').origin


def test_images__are_joined_by_name_and_not_by_position(
    run, make_predictions, tmp_path
):
    maps = {'b_1/1.jpg': [[1]], 'b_2/1.jpg': [[2]]}
    one = make_predictions('one', maps, **NAMED)
    two = make_predictions('two', dict(reversed(maps.items())), **NAMED)
    run(main, one, two, '--out', tmp_path / 'out')
    assert label_maps(tmp_path / 'out') == maps
    assert list(label_maps(tmp_path / 'out')) == list(maps)


def test_confidence__is_left_out_where_a_member_has_none(
    run, make_predictions, tmp_path
):
    one = make_predictions('one', {'a.jpg': [[0]]}, **NAMED)
    two = make_predictions('two', {'a.jpg': [[1]]}, None, **NAMED)
    assert run(main, one, two, '--out', tmp_path / 'out')[0] == 0
    assert not (tmp_path / 'out/confidence').exists()
    assert label_maps(tmp_path / 'out') == {'a.jpg': [[0]]}


def test_data_root__adds_scores(run, three, make_part, tmp_path):
    root = make_part('valid', {'a/1.jpg': [[0, 1, 1]]})
    out = tmp_path / 'out'
    text = run(main, *three, '--out', out, '--data-root', root)[1]
    # Background 1, Paper 1 of 2, Metal 0 of 1.
    assert 'mIoU 0.5000' in text
    metrics = open_predictions(out).metrics()
    assert metrics is not None
    assert metrics['Acc'] == [1.0, 0.5, None]


def test_data_root__images_of_several_parts_are_scored(
    run, make_predictions, make_part, tmp_path
):
    both = {'a.jpg': [[0, 1]], 'b.jpg': [[1, 1]]}
    members = [make_predictions(name, both, **NAMED) for name in ('one', 'two')]
    make_part('train', {'a.jpg': [[0, 1]]})
    root = make_part('valid', {'b.jpg': [[1, 0]]})
    out = tmp_path / 'out'
    assert run(main, *members, '--out', out, '--data-root', root)[0] == 0
    metrics = open_predictions(out).metrics()
    assert metrics is not None
    assert metrics['images'] == 2


def test_data_root__size_and_name_must_fit(misuse, three, make_part, tmp_path):
    root = make_part('valid', {'a/1.jpg': [[0, 1]]})
    scored = ('--out', tmp_path / 'out', '--data-root', root)
    misuse(main, r'a/1\.png: sizes differ', *three, *scored)
    misuse(main, "'a/1.jpg': is not in .*test", *three, *scored, '--split', 'test')
    (root / 'valid/mask/a/1.png').unlink()
    misuse(main, "'a/1.jpg': has no mask in", *three, *scored)
    assert not (tmp_path / 'out').exists()


def test_members__missing_extra_or_differing_image_is_named(
    misuse, make_predictions, tmp_path
):
    both = {'a.jpg': [[0, 1]], 'b.jpg': [[0, 1]]}
    one = make_predictions('one', both, **NAMED)
    less = make_predictions('less', {'a.jpg': [[0, 1]]}, **NAMED)
    turned = make_predictions('turned', {**both, 'b.jpg': [[0], [1]]}, **NAMED)
    out = ('--out', tmp_path / 'out')
    misuse(main, r"'b.jpg': is in .*one but not in .*less", one, less, *out)
    misuse(main, r"'b.jpg': is in .*one but not in .*less", less, one, *out)
    misuse(main, r"'b.jpg': has size \(1, 2\) in .*one, \(2, 1\)", one, turned, *out)
    assert sorted(p.name for p in tmp_path.iterdir()) == ['less', 'one', 'turned']


def test_members__confidence_of_another_size_is_named(
    misuse, make_predictions, tmp_path
):
    one = make_predictions('one', {'a.jpg': [[0]]}, {'a.jpg': [[9, 9]]}, **NAMED)
    two = make_predictions('two', {'a.jpg': [[0]]}, {'a.jpg': [[9, 9]]}, **NAMED)
    misuse(main, r"'a.jpg': has size", one, two, '--out', tmp_path / 'out')


def test_members__other_classes_are_refused(misuse, make_predictions, tmp_path):
    one = make_predictions('one', {'a.jpg': [[0]]}, **NAMED)
    two = make_predictions('two', {'a.jpg': [[0]]})
    misuse(main, 'two: its classes differ', one, two, '--out', tmp_path / 'out')


def test_misuse__is_one_line_and_leaves_nothing(misuse, three, tmp_path, metrics):
    out = ('--out', tmp_path / 'out')
    good = metrics('good', 0.1, 0.2, 0.3)
    before = sorted(tmp_path.iterdir())
    misuse(main, 'one folder is no vote', three[0], *out)
    misuse(main, 'is named twice', three[0], three[1], three[0], *out)
    misuse(main, 'none: no such folder', three[0], tmp_path / 'none', *out)
    misuse(main, 'required', *three)
    misuse(main, 'invalid choice', *three, *out, '--method', 'median')
    misuse(main, 'invalid choice', *three, *out, '--ties', 'chance')
    misuse(main, 'pass --metrics', *three, *out, '--weights', 'accuracy')
    misuse(main, 'pass --metrics', *three, *out, '--ties', 'iou')
    misuse(main, '2 for 3 folders', *three, *out, '--weights', 1, 2)
    misuse(main, 'are not all numbers', *three, *out, '--weights', 1, 2, 'a')
    misuse(main, 'are not all numbers', *three, *out, '--weights', 1, 2, 'nan')
    misuse(main, 'all weights are below', *three, *out, '--weights', 0, 0, 0)
    misuse(main, 'from 0 to 100,000', *three, *out, '--weights', 1, 2, 1e30)
    misuse(main, 'hardly a tie', *three, *out, '--method', 'soft', '--ties', 'order')
    misuse(main, 'is for --rule', *three, *out, '--by-order')
    misuse(main, '1 for 3 folders', *three, *out, '--metrics', good)
    misuse(main, 'exists; pass --overwrite', *three, '--out', three[0])
    misuse(main, 'would replace', *three, '--out', three[0], '--overwrite')
    misuse(main, 'would replace', *three, '--out', tmp_path, '--overwrite')
    misuse(main, 'is 0, give 1 to', *three, *out, '--jobs', 0)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ('{', 'not readable as JSON'),
        ('[]', 'has no accuracy by class'),
        ('{"classes": ["Background", "Paper", "Metal"]}', 'has no accuracy by class'),
        ('{"classes": ["a"], "Acc": [1]}', 'its classes are not those'),
        ('{"classes": 3, "Acc": [1]}', 'its classes are not those'),
        (
            '{"classes": ["Background", "Paper", "Metal"], "Acc": [1, 1]}',
            'its accuracy is no list of 3 numbers',
        ),
        (
            '{"classes": ["Background", "Paper", "Metal"], "Acc": [1, 1, 77]}',
            'its accuracy holds 77, no number of 0 to 1',
        ),
        (
            '{"classes": ["Background", "Paper", "Metal"], "Acc": [1, 1, "x"]}',
            "its accuracy holds 'x'",
        ),
        (
            '{"classes": ["Background", "Paper", "Metal"], "Acc": [1, 1, 1%s]}'
            % ('0' * 400),
            'its accuracy holds 1000',
        ),
    ],
)
def test_metrics__damage_is_named(misuse, three, tmp_path, content, message):
    path = tmp_path / 'm.json'
    path.write_text(content)
    out = ('--out', tmp_path / 'out', '--metrics', path, path, path)
    misuse(main, message, *three, *out)
    assert not (tmp_path / 'out').exists()


def test_metrics__of_one_member_alone_are_refused(misuse, three, metrics, tmp_path):
    metrics('p0/metrics', 0.1, 0.2, 0.3)
    message = r'p1/metrics\.json: no such file, while other members have theirs'
    misuse(main, message, *three, '--out', tmp_path / 'out')


def test_kept__what_a_vote_needs_is_named(misuse, make_predictions, tmp_path):
    one = make_predictions('one', {'a.jpg': [[0]]}, **NAMED)
    two = make_predictions('two', {'a.jpg': [[1]]}, None, **NAMED)
    out = (one, two, '--out', tmp_path / 'out')
    no_confidence = 'two: has no confidence/, which --{} needs; predict with tools/test'
    misuse(
        main, no_confidence.format('method confidence'), *out, '--method', 'confidence'
    )
    misuse(main, no_confidence.format('ties confidence'), *out, '--ties', 'confidence')
    misuse(main, 'one: has no probs/, which --method soft', *out, '--method', 'soft')
    for folder in (one, two):
        write_probs(folder, 'a.jpg', np.zeros((3, 1, 1), np.uint8))
    path = two / 'probs/a.npy'
    for content, message in (
        (np.zeros((2, 1, 1), np.uint8), 'not uint8 of 3 classes'),
        (np.zeros((3, 1, 1), np.float32), 'not uint8 of 3 classes'),
        (np.zeros((3, 2, 1), np.uint8), '2 blocks of one size do not make 1 pixels'),
        (np.array([None]), 'not readable'),
    ):
        np.save(path, content, allow_pickle=True)
        misuse(main, message, *out, '--method', 'soft')
    path.write_bytes(b'')
    misuse(main, r'two/probs/a\.npy: not readable', *out, '--method', 'soft')
    path.unlink()
    misuse(main, r'two/probs/a\.npy: no such file', *out, '--method', 'soft')


def test_overwrite__replaces_the_old_vote(run, three, tmp_path):
    out = tmp_path / 'out'
    run(main, *three, '--out', out)
    (out / 'masks/a/1.png').unlink()
    assert run(main, *three, '--out', out, '--overwrite')[0] == 0
    assert np.array_equal(read_mask(out / 'masks/a/1.png'), [[0, 1, 2]])


@pytest.mark.parametrize(
    ('spoil', 'message'),
    [
        (lambda path: path.unlink(), r'p1/masks/a/1\.png: no such file'),
        (
            lambda path: path.write_bytes(path.read_bytes()[:40]),
            r'p1/masks/a/1\.png: not a readable image',
        ),
        (
            lambda path: write_mask(path, np.full((1, 3), 3, np.uint8)),
            r'p1/masks/a/1\.png: holds class id 3, but there are only 3 classes',
        ),
    ],
    ids=['missing', 'torn', 'unknown id'],
)
def test_members__mask_that_cannot_be_used_is_named(
    misuse, three, tmp_path, spoil, message
):
    spoil(three[1] / 'masks/a/1.png')
    misuse(main, message, *three, '--out', tmp_path / 'out')
    assert sorted(p.name for p in tmp_path.iterdir()) == ['p0', 'p1', 'p2']


def test_members__damaged_listing_is_named(misuse, three, tmp_path):
    (three[1] / 'predictions.json').write_text('{"classes": ["a"]}')
    message = r'p1/predictions\.json: damaged'
    misuse(main, message, *three, '--out', tmp_path / 'out')
    (three[1] / 'predictions.json').write_text('{')
    message = r'p1/predictions\.json: not readable as JSON'
    misuse(main, message, *three, '--out', tmp_path / 'out')


@pytest.mark.parametrize('count', [0, 256])
def test_classes__that_no_mask_can_name_are_refused(
    misuse, make_predictions, tmp_path, count
):
    names = [f'class {i}' for i in range(count)]
    members = [make_predictions(f'p{i}', {'a.jpg': [[i]]}, None, names) for i in (0, 1)]
    message = f'p0: names {count} classes, a vote has 1 to 255; 255 stands for no class'
    misuse(main, message, *members, '--out', tmp_path / 'out')


def test_classes__are_as_many_as_a_mask_can_name(run, make_predictions, tmp_path):
    names = [f'class {i}' for i in range(255)]
    rows = [254, 253, 3], [254, 253, 200], [0, 254, 200]
    members = [
        make_predictions(f'p{i}', {'a.jpg': [row]}, None, names)
        for i, row in enumerate(rows)
    ]
    assert run(main, *members, '--out', tmp_path / 'out')[0] == 0
    assert label_maps(tmp_path / 'out') == {'a.jpg': [[254, 253, 200]]}
