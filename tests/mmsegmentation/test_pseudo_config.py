"""Pseudo labels in configs: their part, and what is known of who made them."""

import json

import pytest
from mmengine.config import Config

from mmsegmentation.command import InputError
from mmsegmentation.files import sha256_of
from mmsegmentation.folds import open_folds, write_folds
from mmsegmentation.pseudo_config import (
    join_records,
    noted_pseudo,
    pseudo_records,
    pseudo_sets,
    use_pseudo_part,
)

IMAGES = {'train': {'a/1.jpg': 0, 'a/2.jpg': 1}, 'valid': {'b/1.jpg': 1}}
ONE = {'part': 'pseudo', 'round': 1, 'sha256': 'f'}
TWO = {'part': 'pseudo', 'round': 2, 'sha256': 'e'}


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / 'root/folds'
    folder.mkdir(parents=True)
    write_folds(folder, 2, IMAGES, {})
    return tmp_path / 'root'


@pytest.fixture
def fold(root):
    return open_folds(root / 'folds').check(0)


def part(root, name):
    prefix = {'img_path': f'{name}/images', 'seg_map_path': f'{name}/mask'}
    return dict(type='RecycleDataset', data_root=str(root), data_prefix=prefix)


def config(root, *names, **more):
    joined = dict(type='ConcatDataset', datasets=[part(root, name) for name in names])
    wrapper = dict(type='SeededMixDataset', dataset=joined, pipeline=[])
    return Config(dict(train_dataloader=dict(dataset=wrapper), **more))


def parts_of(cfg):
    return [
        (d.data_prefix.img_path, d.data_prefix.seg_map_path)
        for d in cfg.train_dataloader.dataset.dataset.datasets
    ]


def label(root, *folds, name='pseudo'):
    folder = root / name
    folder.mkdir()
    content = {'round': 1, 'folds': folds}
    (folder / 'pseudo.json').write_text(json.dumps(content))
    return {
        'part': name,
        'round': 1,
        'sha256': sha256_of(folder / 'pseudo.json'),
    }


def test_part__is_named_by_an_option_or_the_config(root):
    expected = [
        ('train/images', 'train/mask'),
        ('pseudo_fold0/images', 'pseudo_fold0/mask'),
    ]
    cfg = config(root, 'train', 'pseudo')
    use_pseudo_part(cfg, 'pseudo_fold0')
    assert parts_of(cfg) == expected
    assert cfg.pseudo_part == 'pseudo_fold0'
    cfg = config(root, 'train', 'pseudo_x', pseudo_part='pseudo_fold0')
    use_pseudo_part(cfg, None)
    assert parts_of(cfg) == expected
    use_pseudo_part(cfg, 'pseudo')
    assert parts_of(cfg)[1] == ('pseudo/images', 'pseudo/mask')


def test_part__not_named_is_that_of_the_data_sets(root):
    cfg = config(root, 'train', 'pseudo')
    before = cfg.to_dict()
    use_pseudo_part(cfg, None)
    assert cfg.to_dict() == before


def test_part__that_is_none_or_not_trained_on_is_refused(root):
    with pytest.raises(InputError, match='pseudo part train: is no part for'):
        use_pseudo_part(config(root, 'train', 'pseudo'), 'train')
    with pytest.raises(InputError, match='the config trains on no pseudo labels'):
        use_pseudo_part(config(root, 'train'), 'pseudo')


def test_sets__are_those_of_training(root):
    cfg = config(root, 'train', 'pseudo', 'pseudo_2', 'pseudonym')
    names = [leaf.data_prefix.img_path for leaf in pseudo_sets(cfg)]
    assert names == ['pseudo/images', 'pseudo_2/images']
    assert pseudo_sets(Config({})) == []


def test_records__are_of_each_part_once(root, fold):
    expected = label(root, None)
    cfg = config(root, 'train', 'pseudo', 'pseudo')
    assert pseudo_records(cfg, None) == [expected]
    assert pseudo_records(config(root, 'train'), fold) == []


def test_records__labels_of_unknown_origin_are_only_for_runs_without_folds(root, fold):
    (root / 'pseudo').mkdir()
    cfg = config(root, 'train', 'pseudo')
    assert pseudo_records(cfg, None) == []
    with pytest.raises(InputError, match=r'no pseudo\.json says which model made'):
        pseudo_records(cfg, fold)


def test_fold__trains_on_labels_of_its_own_model_alone(root, fold):
    expected = label(root, fold.record)
    cfg = config(root, 'train', 'pseudo')
    assert pseudo_records(cfg, fold) == [expected]


@pytest.mark.parametrize('made', ['other', 'none', 'foreign', 'vote', 'unknown'])
def test_fold__labels_of_another_model_are_refused(root, fold, made):
    folds = {
        'other': [{**fold.record, 'fold': 1}],
        'none': [None],
        'foreign': [{**fold.record, 'folds_sha256': 'x'}],
        'vote': [fold.record, {**fold.record, 'fold': 1}],
        'unknown': [fold.record, None],
    }[made]
    label(root, *folds)
    with pytest.raises(InputError, match='not made by a model of fold 0 alone'):
        pseudo_records(config(root, 'train', 'pseudo'), fold)


def test_no_fold__labels_of_a_fold_that_knows_valid_are_refused(root, fold):
    label(root, None, fold.record)
    with pytest.raises(InputError, match=r'may know images of valid; pass --fold 0'):
        pseudo_records(config(root, 'train', 'pseudo'), None)


def test_no_fold__labels_of_a_fold_of_train_alone_are_taken(root, fold):
    label(root, {**fold.record, 'parts': ['train']})
    assert len(pseudo_records(config(root, 'train', 'pseudo'), None)) == 1


@pytest.mark.parametrize('parts', [None, 3, 'valid'])
def test_no_fold__odd_parts_are_no_error(root, parts):
    label(root, {'fold': 0, 'parts': parts})
    assert len(pseudo_records(config(root, 'train', 'pseudo'), None)) == 1


@pytest.mark.parametrize('content', ['[]', '{}', '{"folds": 3}', '{'])
def test_misuse__damaged_origin(root, content):
    (root / 'pseudo').mkdir()
    (root / 'pseudo/pseudo.json').write_text(content)
    with pytest.raises(InputError, match=r'pseudo\.json: (damaged|not readable)'):
        pseudo_records(config(root, 'train', 'pseudo'), None)


def test_noted__is_what_a_checkpoint_says(root):
    assert noted_pseudo({'meta': {'pseudo': [ONE]}}) == [ONE]
    for content in ({}, {'meta': None}, {'meta': {}}, {'meta': {'pseudo': 3}}):
        assert noted_pseudo(content) == []


def test_join__a_run_inherits_what_its_start_has_learnt(root):
    start = {'meta': {'pseudo': [ONE]}}
    assert join_records(start, [TWO], 'c.pth', False) == [ONE, TWO]
    assert join_records(start, [], 'c.pth', False) == [ONE]
    assert join_records({}, [TWO], 'c.pth', False) == [TWO]
    assert join_records({'meta': {'pseudo': [ONE, TWO]}}, [TWO], 'c.pth', True) == [
        ONE,
        TWO,
    ]


def test_join__a_resumed_run_keeps_its_labels(root):
    with pytest.raises(InputError, match=r'c\.pth: was not trained on the pseudo lab'):
        join_records({'meta': {'pseudo': [ONE]}}, [TWO], 'c.pth', True)
