"""Out-of-fold predictions of all folds become one folder with one score."""

import json

import numpy as np
import pytest

from mmsegmentation.files import read_json, sha256_of
from mmsegmentation.folds import open_folds, write_folds
from mmsegmentation.predictions import open_predictions, write_probs
from utils.join import main

CLASSES = ('Background', 'Paper', 'Metal')
TRUTH = {
    'train': {'a/1.jpg': [[0, 1]], 'a/2.jpg': [[2, 2]], 'a/3.jpg': [[0, 0]]},
    'valid': {'b/1.jpg': [[1, 255]]},
}
FOLDS = {'train': {'a/1.jpg': 0, 'a/2.jpg': 1, 'a/3.jpg': 1}, 'valid': {'b/1.jpg': 0}}
PREDICTED = (
    {'b/1.jpg': [[1, 0]], 'a/1.jpg': [[0, 2]]},
    {'a/2.jpg': [[2, 0]], 'a/3.jpg': [[0, 0]]},
)


@pytest.fixture
def root(make_part):
    for part, label_maps in TRUTH.items():
        root = make_part(part, label_maps)
    (root / 'folds').mkdir()
    write_folds(root / 'folds', 2, FOLDS, {'seed': 0})
    return root


@pytest.fixture
def member(make_predictions, root):
    """Write what tools/test.py --fold writes, unless it is told otherwise."""

    def make(number, name=None, label_maps=None, confidence=200, **origin):
        record = open_folds(root / 'folds').check(number).record
        given = {'classes': CLASSES, 'fold': record, 'split': 'valid', **origin}
        maps = PREDICTED[number] if label_maps is None else label_maps
        return make_predictions(name or f'fold{number}', maps, confidence, **given)

    return make


@pytest.fixture
def two(member):
    return [member(number, checkpoint_sha256=f'{number}a') for number in (0, 1)]


@pytest.fixture
def refused(misuse, root, tmp_path):
    def call(message, *argv):
        out = tmp_path / 'out'
        misuse(main, message, *argv, '--data-root', root, '--out', out)
        assert not out.exists()

    return call


def test_join__each_image_is_there_once_with_its_own_prediction(
    run, root, two, tmp_path
):
    out = tmp_path / 'out'
    code, text, err = run(main, *two, '--data-root', root, '--out', out)
    assert (code, err) == (0, '')
    joined = open_predictions(out)
    # In the order of the data root, whatever the order of the members.
    assert joined.image_ids == ('a/1.jpg', 'a/2.jpg', 'a/3.jpg', 'b/1.jpg')
    everything = PREDICTED[0] | PREDICTED[1]
    for image_id in joined.image_ids:
        assert joined.mask(image_id).tolist() == everything[image_id]
        assert joined.confidence(image_id).tolist() == [[200, 200]]
    assert text.endswith(f'4 images of 2 folds written to {out}\n')


def test_join__one_score_over_the_truth_of_all_parts(run, root, two, tmp_path):
    out = tmp_path / 'out'
    text = run(main, *two, '--data-root', root, '--out', out)[1]
    scores = read_json(out / 'metrics.json')
    # Rows: Background [0, 0, 0], Paper [1, 1], Metal [2, 2]; one pixel is ignored.
    assert scores['confusion'] == [[3, 0, 0], [0, 1, 1], [1, 0, 1]]
    assert scores['images'] == 4
    assert scores['mIoU'] == pytest.approx((3 / 4 + 1 / 2 + 1 / 3) / 3)
    low, high = scores['mIoU_interval']
    assert low <= scores['mIoU'] <= high
    assert f'mIoU {scores["mIoU"]:.4f}' in text


def test_join__origin_names_the_members(run, root, two, tmp_path):
    out = tmp_path / 'out'
    run(main, *reversed(two), '--data-root', root, '--out', out)
    origin = read_json(out / 'predictions.json')
    assert origin['folds_sha256'] == sha256_of(root / 'folds/folds.json')
    assert [m['folder'] for m in origin['members']] == [str(two[1]), str(two[0])]
    assert [m['fold']['fold'] for m in origin['members']] == [1, 0]
    assert [m['checkpoint_sha256'] for m in origin['members']] == ['1a', '0a']
    assert origin['members'][0]['predictions_sha256'] == sha256_of(
        two[1] / 'predictions.json'
    )


def test_join__probabilities_are_kept_where_all_have_them(run, root, two, tmp_path):
    for folder in two:
        for image_id in open_predictions(folder).image_ids:
            probs = np.full((3, 1, 1), len(image_id) + 80, np.uint8)
            write_probs(folder, image_id, probs)
    run(main, *two, '--data-root', root, '--out', tmp_path / 'out')
    kept = sorted((tmp_path / 'out/probs').rglob('*.npy'))
    assert len(kept) == 4
    assert np.load(kept[0]).tolist() == [[[87]], [[87]], [[87]]]


def test_join__what_one_member_lacks_is_left_out_and_said(run, root, member, tmp_path):
    members = member(0), member(1, confidence=None)
    out = tmp_path / 'out'
    code, text, _ = run(main, *members, '--data-root', root, '--out', out)
    assert code == 0
    assert f'confidence is left out: {members[1]} has none' in text
    assert not (out / 'confidence').exists()
    assert len(open_predictions(out).image_ids) == 4


def test_join__members_stay_as_they_are(run, root, two, tmp_path):
    before = [(p, p.read_bytes()) for p in two[0].rglob('*') if p.is_file()]
    run(main, *two, '--data-root', root, '--out', tmp_path / 'out')
    assert [(p, p.read_bytes()) for p in two[0].rglob('*') if p.is_file()] == before


def test_missing__images_are_allowed_when_asked(run, root, two, refused, tmp_path):
    message = "'a/2.jpg': of fold 1 has no prediction, nor have 1 more; name a folder"
    refused(message, two[0])
    argv = (two[0], '--data-root', root, '--out', tmp_path / 'out', '--allow-missing')
    code, text, _ = run(main, *argv)
    assert code == 0
    assert read_json(tmp_path / 'out/metrics.json')['images'] == 2
    assert f'2 images of 1 fold written to {tmp_path / "out"}\n' in text
    assert text.endswith('missing: 2 images of fold 1\n')


def test_out__is_only_replaced_when_asked(run, misuse, root, two, tmp_path):
    argv = (*two, '--data-root', root, '--out', tmp_path / 'out')
    run(main, *argv)
    misuse(main, 'out: exists; pass --overwrite', *argv)
    assert run(main, *argv, '--overwrite')[0] == 0


def test_refused__an_image_in_two_members(refused, two, member):
    again = member(0, 'again', {'b/1.jpg': [[1, 1]]})
    refused(f"'b/1.jpg': is in {two[0]} and in {again}", *two, again)


def test_refused__a_member_named_twice_or_to_be_replaced(refused, misuse, two, root):
    refused('fold0: is named twice', two[0], two[1], two[0])
    argv = (*two, '--data-root', root, '--overwrite', '--out', two[0])
    misuse(main, 'fold0: would replace', *argv)
    argv = (*two, '--data-root', root, '--out', two[0] / 'all')
    misuse(main, 'all: lies in .*fold0', *argv)


def test_refused__an_image_that_its_model_was_trained_on(refused, two, member):
    leaky = member(0, 'leaky', {**PREDICTED[0], 'a/2.jpg': [[2, 2]]})
    refused("leaky: holds 'a/2.jpg', which fold 0 did not leave out", leaky, two[1])


@pytest.mark.parametrize(
    ('origin', 'message'),
    [
        ({'fold': None}, 'wrong: was not predicted by a fold'),
        ({'split': 'train'}, "wrong: is --split 'train'"),
        ({'split': 'test'}, "wrong: is --split 'test'"),
        ({'fold': {'fold': 0, 'folds_sha256': 'x'}}, 'wrong: belongs to other folds'),
        ({'classes': CLASSES[::-1]}, 'wrong: its classes differ from those of .*fold1'),
    ],
)
def test_refused__a_member_not_predicted_out_of_fold(refused, member, origin, message):
    refused(message, member(1), member(0, 'wrong', **origin))


def test_refused__a_fold_that_does_not_exist(refused, member, root):
    record = {**open_folds(root / 'folds').check(0).record, 'fold': 7}
    refused('fold 7: .* has 2 folds', member(1), member(0, 'wrong', fold=record))


def test_refused__no_folds_and_no_predictions(refused, two, root, tmp_path):
    refused('none: no such folder', tmp_path / 'none', two[0])
    refused('root: no prediction folder', root, two[0])
    refused('other: holds no folds', *two, '--folds', tmp_path / 'other')
    (root / 'folds/folds.json').write_text(json.dumps({'count': 2, 'images': []}))
    refused('folds.json: damaged', *two)


def test_refused__truth_that_is_missing_or_double(refused, two, root, make_part):
    make_part('valid', {'a/1.jpg': [[0, 0]]})
    refused("'a/1.jpg': has a mask in train and valid", *two)
    (root / 'valid/mask/a/1.png').unlink()
    (root / 'train/mask/a/2.png').unlink()
    refused("'a/2.jpg': has no mask in .*train/mask", *two)


def test_join__truth_is_that_of_the_parts_that_were_split(
    run, root, two, make_part, tmp_path
):
    make_part('more', {'a/1.jpg': [[2, 2]]})
    out = tmp_path / 'out'
    assert run(main, *two, '--data-root', root, '--out', out)[0] == 0
    assert read_json(out / 'metrics.json')['confusion'][0] == [3, 0, 0]


def test_pseudo_labels__are_no_truth(run, root, two, make_part, tmp_path):
    make_part('pseudo', {'a/1.jpg': [[2, 2]]})
    out = tmp_path / 'out'
    assert run(main, *two, '--data-root', root, '--out', out)[0] == 0
    assert read_json(out / 'metrics.json')['confusion'][0] == [3, 0, 0]


def test_refused__a_file_that_is_gone(refused, two):
    (two[0] / 'confidence/a/1.png').unlink()
    refused('confidence/a/1.png: no such file', *two)
