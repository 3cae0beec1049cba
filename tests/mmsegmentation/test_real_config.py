"""A config without its pseudo labels: what is left of it, and as many steps."""

import pytest
from mmengine.config import Config

from mmsegmentation.command import InputError
from mmsegmentation.real_config import use_real_labels_alone


def part(name):
    prefix = {'img_path': f'{name}/images', 'seg_map_path': f'{name}/mask'}
    return {
        'type': 'RecycleDataset',
        'data_prefix': prefix,
        'pipeline': [{'type': 'A'}],
    }


def config(dataset, steps=(), **train_cfg):
    mixed = {'type': 'SeededMixDataset', 'dataset': dataset, 'pipeline': [*steps]}
    loader = {'batch_size': 4, 'sampler': {'type': 'S'}, 'dataset': mixed}
    train_cfg = train_cfg or {'max_iters': 8}
    return Config({'train_dataloader': loader, 'train_cfg': train_cfg})


def joined(*datasets, **more):
    return {'type': 'ConcatDataset', 'datasets': [*datasets], **more}


def left_of(dataset, **train_cfg):
    cfg = config(dataset, **train_cfg)
    use_real_labels_alone(cfg)
    return cfg.train_dataloader.dataset.dataset.to_dict()


TRAIN, VALID, PSEUDO = part('train'), part('valid'), part('pseudo_round1')


def test_left__joined_and_nested_sets_lose_their_pseudo_labels():
    assert left_of(joined(TRAIN, PSEUDO)) == joined(TRAIN)
    repeated = {'type': 'RepeatDataset', 'times': 3, 'dataset': PSEUDO}
    deep = joined(joined(PSEUDO, TRAIN), joined(PSEUDO), repeated, VALID)
    assert left_of(deep) == joined(joined(TRAIN), VALID)


def test_left__a_ratio_keeps_its_other_entries():
    mixed = joined(PSEUDO, joined(TRAIN, PSEUDO), VALID, ratio=[1, 4, 2])
    assert left_of(mixed) == joined(joined(TRAIN), VALID, ratio=[4, 2])


def test_left__donors_of_pseudo_labels_become_all():
    steps = [{'type': 'CopyPaste', 'donors': 'pseudo'}, {'type': 'B', 'donors': 'real'}]
    cfg = config(joined(TRAIN, PSEUDO), steps)
    use_real_labels_alone(cfg)
    donors = [step.donors for step in cfg.train_dataloader.dataset.pipeline]
    assert donors == ['all', 'real']


def test_steps__of_a_run_by_iterations_are_as_they_were():
    cfg = config(joined(TRAIN, PSEUDO))
    use_real_labels_alone(cfg)
    assert cfg.train_dataloader.sampler.to_dict() == {'type': 'S'}
    assert cfg.train_cfg.to_dict() == {'max_iters': 8}


def test_steps__of_a_run_by_epochs_are_counted_with_the_pseudo_labels():
    cfg = config(joined(TRAIN, PSEUDO), max_epochs=3)
    use_real_labels_alone(cfg)
    sampler = cfg.train_dataloader.sampler
    assert (sampler.type, sampler.sampler.to_dict()) == (
        'LongEpochSampler',
        {'type': 'S'},
    )
    counted = [{**each, 'pipeline': []} for each in (TRAIN, PSEUDO)]
    assert sampler.like.dataset.to_dict() == joined(*counted)
    assert sampler.like.pipeline == []


def test_misuse__no_pseudo_labels_or_nothing_else():
    with pytest.raises(InputError, match='trains on no pseudo labels; remove it'):
        left_of(joined(TRAIN))
    with pytest.raises(
        InputError, match='trains on pseudo labels only, so nothing is left'
    ):
        left_of(joined(PSEUDO, joined(PSEUDO)))
