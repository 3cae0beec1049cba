"""Folds as files, in configs, and in what checkpoints say about themselves."""

import json
from pathlib import Path

import pytest
from mmengine.config import Config, ConfigDict

from mmsegmentation.command import InputError
from mmsegmentation.fold_config import use_fold
from mmsegmentation.fold_origin import check_predicting, check_resumed, check_start
from mmsegmentation.folds import open_folds, write_folds

IMAGES = {'train': {'a/1.jpg': 0, 'a/2.jpg': 1, 'a/3.jpg': 2}, 'valid': {'b/1.jpg': 1}}
PIPELINE = [{'type': 'LoadDecoded', 'copy': False}]


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / 'root/folds'
    folder.mkdir(parents=True)
    write_folds(folder, 3, IMAGES, {})
    return tmp_path / 'root'


def part(root, name='train', **more):
    prefix = {'img_path': f'{name}/images', 'seg_map_path': f'{name}/mask'}
    return dict(
        type='RecycleDataset',
        data_root=str(root),
        data_prefix=prefix,
        cache=True,
        pipeline=PIPELINE,
        **more,
    )


def config(root, train=None, **more):
    wrapper = dict(type='SeededMixDataset', dataset=train or part(root), pipeline=[])
    return Config(
        dict(
            train_dataloader=dict(batch_size=8, dataset=wrapper),
            val_dataloader=dict(dataset=part(root, 'valid')),
            **more,
        )
    )


def leaves(dataset):
    """Return the prefix and the list of each part that a data set is made of."""
    inner = dataset.get('datasets') or (
        [dataset['dataset']] if 'dataset' in dataset else []
    )
    if not inner:
        return [(dataset['data_prefix']['img_path'], dataset.get('ann_file'))]
    return [leaf for inside in inner for leaf in leaves(inside)]


def both(cfg):
    return [leaves(cfg[f'{key}_dataloader'].dataset) for key in ('train', 'val')]


def test_config__has_the_lists_of_all_parts_and_keeps_all_else(root):
    cfg = config(root)
    fold = use_fold(cfg, 1, None)
    train, valid = both(cfg)
    assert train == [('train/images', 'folds/fold1/train/train.txt')]
    assert valid == [
        ('train/images', 'folds/fold1/valid/train.txt'),
        ('valid/images', 'folds/fold1/valid/valid.txt'),
    ]
    assert fold.image_ids('valid') == ['a/2.jpg', 'b/1.jpg']
    wrapper = cfg.train_dataloader.dataset
    assert wrapper.type == 'SeededMixDataset'
    inner = wrapper.dataset
    expected = part(root, ann_file='folds/fold1/train/train.txt')
    assert inner.to_dict() == expected
    assert cfg.train_dataloader.batch_size == 8
    assert cfg.val_dataloader.dataset.type == 'ConcatDataset'


@pytest.mark.parametrize('given', [{'fold': 2}, {'fold': 2, 'folds': 'folds'}])
def test_config__names_its_fold_itself(root, given):
    cfg = config(root, **given)
    use_fold(cfg, None, None)
    assert both(cfg)[1] == [('train/images', 'folds/fold2/valid/train.txt')]


def test_config__option_comes_before_the_file(root):
    cfg = config(root, fold=2)
    use_fold(cfg, 0, None)
    assert cfg.fold == 0
    assert both(cfg)[1] == [('train/images', 'folds/fold0/valid/train.txt')]


def test_config__without_a_fold_is_left_alone(root):
    cfg = config(root)
    assert use_fold(cfg, None, None) is None
    assert cfg.to_dict() == config(root).to_dict()


def test_config__folds_may_stand_elsewhere(root, tmp_path):
    folder = tmp_path / 'other'
    folder.mkdir()
    write_folds(folder, 2, {'train': {'a/1.jpg': 0, 'a/2.jpg': 1}}, {})
    cfg = config(root)
    use_fold(cfg, 0, str(folder))
    listed = str(folder / 'fold0/valid/train.txt')
    assert both(cfg)[1] == [('train/images', listed)]


def test_config__the_one_that_a_run_leaves_is_of_the_same_fold(root, tmp_path):
    cfg = config(root)
    use_fold(cfg, 1, None)
    cfg.dump(tmp_path / 'left.py')
    again = Config.fromfile(tmp_path / 'left.py')
    use_fold(again, None, None)
    assert both(again) == both(cfg)
    use_fold(again, 0, None)
    other = config(root)
    use_fold(other, 0, None)
    assert both(again) == both(other)


def test_config__pseudo_labels_and_other_data_stay(root):
    foreign = part(root.parent / 'elsewhere')
    parts = [part(root), part(root, 'pseudo'), foreign]
    cfg = config(root, dict(type='ConcatDataset', datasets=parts))
    use_fold(cfg, 1, None)
    assert both(cfg)[0] == [
        ('train/images', 'folds/fold1/train/train.txt'),
        ('pseudo/images', None),
        ('train/images', None),
    ]


@pytest.mark.parametrize('name', ['pseudo_fold1', 'pseudo-other'])
def test_config__pseudo_labels_of_any_name_stay(root, name):
    parts = [part(root), part(root, name)]
    cfg = config(root, dict(type='ConcatDataset', datasets=parts))
    use_fold(cfg, 1, None)
    assert both(cfg)[0][1] == (f'{name}/images', None)


def test_config__pseudo_labels_stay_where_their_part_is_a_link(root, tmp_path):
    (tmp_path / 'far/images').mkdir(parents=True)
    (root / 'pseudo_2').symlink_to(tmp_path / 'far')
    parts = [part(root), part(root, 'pseudo_2')]
    cfg = config(root, dict(type='ConcatDataset', datasets=parts))
    use_fold(cfg, 1, None)
    assert both(cfg)[0][1] == ('pseudo_2/images', None)


def test_config__a_ratio_keeps_its_data_sets(root):
    """Fold 0 trains on images of two parts, which count as one data set."""
    parts = [part(root), part(root, 'pseudo')]
    mixed = dict(type='MixedDataset', ratio=[2, 1], datasets=parts)
    cfg = config(root, mixed)
    use_fold(cfg, 0, None)
    inner = cfg.train_dataloader.dataset.dataset
    assert inner.ratio == [2, 1]
    assert len(inner.datasets) == 2
    assert leaves(inner.datasets[0]) == [
        ('train/images', 'folds/fold0/train/train.txt'),
        ('valid/images', 'folds/fold0/train/valid.txt'),
    ]
    assert leaves(inner.datasets[1]) == [('pseudo/images', None)]


def test_misuse__a_ratio_of_parts_that_a_fold_puts_together(root):
    parts = [part(root), part(root, 'valid'), part(root, 'pseudo')]
    mixed = dict(type='MixedDataset', ratio=[2, 1, 1], datasets=parts)
    with pytest.raises(InputError, match='ratio: mixes parts of the data root'):
        use_fold(config(root, mixed), 0, None)
    joined = dict(type='ConcatDataset', datasets=parts[:2])
    mixed = dict(type='MixedDataset', ratio=[2, 1], datasets=[joined, parts[2]])
    use_fold(config(root, mixed), 0, None)


def test_config__other_data_without_a_root_or_prefix_stay(root):
    bare = [dict(type='Other'), dict(type='Other', data_prefix={'img_path': None})]
    cfg = config(root, dict(type='ConcatDataset', datasets=[part(root), *bare]))
    use_fold(cfg, 1, None)
    assert cfg.train_dataloader.dataset.dataset.datasets[1:] == bare


def test_config__both_parts_in_training_are_replaced_once(root):
    parts = [
        dict(type='RepeatDataset', times=2, dataset=part(root)),
        part(root, 'valid'),
        part(root, 'pseudo'),
    ]
    cfg = config(root, dict(type='ConcatDataset', datasets=parts))
    use_fold(cfg, 0, None)
    assert both(cfg)[0] == [
        ('train/images', 'folds/fold0/train/train.txt'),
        ('valid/images', 'folds/fold0/train/valid.txt'),
        ('pseudo/images', None),
    ]
    assert cfg.train_dataloader.dataset.dataset.datasets[0].times == 2


@pytest.mark.parametrize('spelling', ['absolute', 'around', 'prefix', 'link'])
def test_config__a_part_is_replaced_however_its_root_is_spelt(
    root, tmp_path, monkeypatch, spelling
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'link').symlink_to('root')
    spelt = {'absolute': root, 'around': 'x/../root', 'link': 'link'}
    second = part(spelt.get(spelling, ''), 'valid')
    if spelling == 'prefix':
        del second['data_root']
        second['data_prefix'] = {'img_path': 'root/valid/images'}
    parts = [part('root'), second, part(root, 'pseudo')]
    cfg = config('root', dict(type='ConcatDataset', datasets=parts))
    use_fold(cfg, 1, None)
    assert both(cfg)[0] == [
        ('train/images', 'folds/fold1/train/train.txt'),
        ('pseudo/images', None),
    ]


def test_config__parts_that_are_links_are_replaced(root, tmp_path):
    (tmp_path / 'far').mkdir()
    (root / 'valid').mkdir()
    (root / 'valid/images').symlink_to(tmp_path / 'far')
    far = {**part(root), 'data_prefix': {'img_path': str(tmp_path / 'far')}}
    cfg = config(root, dict(type='ConcatDataset', datasets=[part(root), far]))
    use_fold(cfg, 1, None)
    assert both(cfg)[0] == [('train/images', 'folds/fold1/train/train.txt')]


def test_misuse__a_data_set_around_the_data_root(root):
    around = {**part(root), 'data_prefix': {'img_path': str(root.parent)}}
    cfg = config(root, dict(type='ConcatDataset', datasets=[part(root), around]))
    with pytest.raises(InputError, match=r'holds images of .*root among others'):
        use_fold(cfg, 1, None)


@pytest.mark.parametrize(
    ('number', 'message'),
    [
        (3, r'fold 3: .* has 3 folds; name one of 0 to 2'),
        (-1, r'fold -1: .* has 3 folds'),
        ('0', "fold: is '0'; give a number"),
        (True, 'fold: is True'),
        (1.0, r'fold: is 1\.0'),
    ],
)
def test_misuse__no_such_fold(root, number, message):
    with pytest.raises(InputError, match=message):
        use_fold(config(root), number, None)


def test_misuse__folds_without_a_fold(root):
    with pytest.raises(InputError, match='no fold of them is named; pass --fold 0'):
        use_fold(config(root), None, str(root / 'folds'))
    with pytest.raises(InputError, match='no fold of them is named'):
        use_fold(config(root, folds='folds'), None, None)


def test_misuse__data_sets_that_cannot_be_replaced(root, tmp_path):
    own = config(root, part(root, ann_file='mine.txt'))
    with pytest.raises(InputError, match=r'images of its own, mine\.txt'):
        use_fold(own, 0, None)
    other = {**part(root, 'valid'), 'pipeline': []}
    parts = dict(type='ConcatDataset', datasets=[part(root), other])
    with pytest.raises(InputError, match='loaded in different ways'):
        use_fold(config(root, parts), 0, None)
    elsewhere = config(root)
    elsewhere.val_dataloader.dataset.data_root = str(tmp_path / 'elsewhere')
    with pytest.raises(InputError, match='val_dataloader: has no data set of'):
        use_fold(elsewhere, 0, None)
    rootless = config(root)
    for key in ('train', 'val'):
        rootless[f'{key}_dataloader'].dataset = ConfigDict(type='Other')
    with pytest.raises(InputError, match='no data set has a data_root'):
        use_fold(rootless, 0, None)


@pytest.mark.parametrize('fault', ['moved', 'gone', 'bytes'])
def test_misuse__lists_that_were_changed(root, fault):
    path = root / 'folds/fold1/train/train.txt'
    if fault == 'moved':  # a validation image among those trained on
        path.write_text(path.read_text() + 'a/2.jpg\n')
    elif fault == 'gone':
        path.unlink()
    else:
        path.write_bytes(b'\xff\n')
    with pytest.raises(InputError, match=r'train\.txt: does not list the images'):
        use_fold(config(root), 1, None)
    use_fold(config(root), 0, None)


@pytest.mark.parametrize(
    'content',
    [
        {},
        {'count': 3, 'images': {'train': ['a.jpg']}},
        {'count': 'x', 'images': {'train': {'a.jpg': 0}}},
        {'count': 3, 'images': {'train': {'a.jpg': 0}}},
        {'count': 1, 'images': {'train': {'../a.jpg': 0}}},
        [],
    ],
)
def test_misuse__damaged_file(root, content):
    (root / 'folds/folds.json').write_text(json.dumps(content))
    with pytest.raises(InputError, match=r'damaged|must stay inside'):
        open_folds(root / 'folds')


def test_misuse__no_folds(root):
    with pytest.raises(InputError, match=r'holds no folds .* run utils/split.py first'):
        open_folds(root)


@pytest.fixture
def fold(root):
    return open_folds(root / 'folds').check(1)


def checkpoint(record=None, cfg='model = dict()'):
    meta = {'cfg': cfg}
    return {'meta': meta if record is None else {**meta, 'fold': record}}


def test_start__from_the_same_fold_or_foreign_weights(fold):
    check_start(checkpoint(fold.record), 'c.pth', fold)
    check_start(checkpoint(), 'c.pth', fold)
    check_start({'state_dict': {}}, 'c.pth', fold)
    check_start(checkpoint({**fold.record, 'fold': 0}), 'c.pth', None)


@pytest.mark.parametrize(
    ('changed', 'cfg', 'message'),
    [
        ({'fold': 0}, '', r'c\.pth: was trained on fold 0: it may know images of'),
        ({'folds_sha256': 'x'}, '', 'was trained on a fold 1 of other folds than'),
        (None, "dict(type='RecycleDataset')", 'was trained without folds: it may'),
    ],
)
def test_start__from_weights_that_know_the_images_is_refused(
    fold, changed, cfg, message
):
    record = None if changed is None else {**fold.record, **changed}
    with pytest.raises(InputError, match=message):
        check_start(checkpoint(record, cfg), 'c.pth', fold)


def test_resume__is_of_the_same_fold(fold):
    check_resumed(checkpoint(fold.record), 'c.pth', fold)
    check_resumed(checkpoint(), 'c.pth', None)
    with pytest.raises(InputError, match='was trained on fold 1; pass --fold 1'):
        check_resumed(checkpoint(fold.record), 'c.pth', None)
    with pytest.raises(InputError, match='trained without folds; leave out --fold'):
        check_resumed(checkpoint(), 'c.pth', fold)


def test_predict__no_image_that_was_trained_on(fold):
    check_predicting(checkpoint(fold.record), 'c.pth', fold, 'valid')
    check_predicting(checkpoint(fold.record), 'c.pth', None, 'test')
    check_predicting(checkpoint(), 'c.pth', None, 'valid')
    of_train = {**fold.record, 'parts': ['train']}
    check_predicting(checkpoint(of_train), 'c.pth', None, 'valid')
    with pytest.raises(InputError, match=r'images of valid, .*; pass --fold 1'):
        check_predicting(checkpoint(fold.record), 'c.pth', None, 'valid')
    with pytest.raises(InputError, match=r'without folds; name one of .* --fold 1'):
        check_predicting(checkpoint(), 'c.pth', fold, 'valid')


def test_lists__are_beside_the_file(root):
    written = {
        path.relative_to(root / 'folds').as_posix(): path.read_text()
        for path in Path(root).rglob('*.txt')
    }
    assert written['fold0/train/train.txt'] == 'a/2.jpg\na/3.jpg\n'
    assert written['fold1/valid/valid.txt'] == 'b/1.jpg\n'
    assert 'fold0/valid/valid.txt' not in written
