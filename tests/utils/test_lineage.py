"""Rounds know their parents: predictions, checkpoints, and the rounds before."""

import pytest

from mmsegmentation.files import read_json, sha256_of
from mmsegmentation.predictions import open_predictions
from utils.lineage import checkpoints_of, earlier_rounds, entry_of, folds_of
from utils.pseudo_label import main

MAPS = {'a.png': [[0, 1]]}
FIRST = {'part': 'pseudo', 'round': 1, 'sha256': 'f' * 64}
SECOND = {'part': 'pseudo', 'round': 2, 'sha256': 'e' * 64}
FOLDS = [{'fold': number, 'folds': 2, 'parts': ['train']} for number in range(2)]


@pytest.fixture
def predict(make_predictions):
    def make(name, members=(), **origin):
        if members:
            opened = [open_predictions(member) for member in members]
            origin['members'] = [entry_of(p.folder, p.origin) for p in opened]
        return make_predictions(name, MAPS, 255, ('Background', 'Paper'), **origin)

    return make


@pytest.fixture
def label(run, make_part):
    def call(pred, *argv):
        root = make_part('test', MAPS, masks=False)
        argv = (pred, '--data-root', root, '--overwrite', *argv)
        code, _, err = run(main, *argv)
        assert (code, err) == (0, '')
        return read_json(root / 'pseudo/pseudo.json')

    return call


def test_first_round__has_no_round_before(predict, label):
    summary = label(predict('p', checkpoint_sha256='a'))
    assert summary['round'] == 1
    assert summary['earlier'] == []
    assert summary['checkpoints_sha256'] == ['a']


def test_second_round__names_the_labels_that_the_model_was_trained_on(predict, label):
    summary = label(predict('p', checkpoint_sha256='a', pseudo=[FIRST]))
    assert summary['round'] == 2
    assert summary['earlier'] == [FIRST]
    assert label(predict('q', pseudo=[FIRST, SECOND]))['round'] == 3
    assert label(predict('r', pseudo=[FIRST]), '--round', 7)['round'] == 7


def test_vote__of_votes_names_all_checkpoints_and_rounds(predict, label):
    one = predict('one', checkpoint_sha256='a', pseudo=[FIRST])
    two = predict('two', checkpoint_sha256='b')
    inner = predict('inner', [one, two], method='hard')
    three = predict('three', checkpoint_sha256='c', pseudo=[SECOND])
    outer = predict('outer', [inner, three], method='soft')
    summary = label(outer)
    assert sorted(summary['checkpoints_sha256']) == ['a', 'b', 'c']
    assert sorted(r['round'] for r in summary['earlier']) == [1, 2]
    assert summary['round'] == 3
    assert summary['predictions']['sha256'] == sha256_of(outer / 'predictions.json')


def test_vote__knows_its_members_wherever_they_are(predict):
    one = predict('one', checkpoint_sha256='a', pseudo=[SECOND])
    two = predict('two', pseudo=[FIRST], fold=FOLDS[1])
    vote = predict('outer', [predict('vote', [one, two])])
    predict('one', checkpoint_sha256='z')
    (two / 'predictions.json').unlink()
    origin = open_predictions(vote).origin
    assert checkpoints_of(origin) == ['a']
    assert earlier_rounds(origin) == [SECOND, FIRST]
    assert folds_of(origin) == [None, FOLDS[1]]


def test_member__cannot_name_another_folder_than_its_own(predict):
    folder = predict('one', folder='elsewhere', predictions_sha256='b' * 64)
    told = entry_of(folder, open_predictions(folder).origin)
    assert list(told)[:2] == ['folder', 'predictions_sha256']
    assert told['folder'] == str(folder)
    assert told['predictions_sha256'] == sha256_of(folder / 'predictions.json')
    assert not {'classes', 'images'} & told.keys()


def test_family__of_endless_votes_ends():
    origin = {'checkpoint_sha256': 'z'}
    for number in range(1000):
        origin = {'checkpoint_sha256': f'{number:03}', 'members': [origin]}
    assert checkpoints_of(origin) == [f'{n}' for n in range(991, 1000)]


@pytest.mark.parametrize(
    'origin',
    [
        {'members': 'x'},
        {'members': [None, 3, {}, {'folder': 7}]},
        {'members': [{'folder': 'x' * 5000}, {'folder': 'a\0'}]},
        {'pseudo': 'x'},
        {'pseudo': [None, {}, {'sha256': 3}]},
        {'checkpoint_sha256': 3},
    ],
)
def test_family__odd_files_are_no_error(make_predictions, label, origin):
    summary = label(
        make_predictions('odd', MAPS, 255, ('Background', 'Paper'), **origin)
    )
    assert (summary['earlier'], summary['round']) == ([], 1)
    assert summary['checkpoints_sha256'] == []


def test_folds__of_one_model_and_of_votes(predict, label):
    one, two = (predict(f'fold{f["fold"]}', fold=f) for f in FOLDS)
    plain = predict('plain', fold=None)
    assert label(one)['folds'] == [FOLDS[0]]
    assert label(plain)['folds'] == [None]
    assert label(predict('same', [one], fold=FOLDS[0]))['folds'] == [FOLDS[0]]
    assert label(predict('both', [one, two]))['folds'] == FOLDS
    assert label(predict('mixed', [plain, two]))['folds'] == [None, FOLDS[1]]
