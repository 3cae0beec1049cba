"""Epochs as long as those of other data, and their samples on each process."""

from collections import Counter
from itertools import chain

import pytest
from mmengine.dataset import BaseDataset
from mmseg.registry import DATASETS

from mmsegmentation.engine import LongEpochSampler, long_epoch_sampler


@DATASETS.register_module()
class Numbers(BaseDataset):
    """A data set of a given length."""

    def __init__(self, count):
        self.count = count
        super().__init__(pipeline=[])

    def load_data_list(self):
        return [{} for _ in range(self.count)]


def make(count, like, seed=3, **sampler):
    sampler = {'type': 'SeededSampler', **sampler}
    return LongEpochSampler(
        range(count), sampler, {'type': 'Numbers', 'count': like}, seed
    )


def epochs(sampler, count):
    taken = []
    for epoch in range(count):
        sampler.set_epoch(epoch)
        taken.append([*sampler])
    return taken


def test_epoch__is_as_long_as_of_the_other_data():
    sampler = make(5, 8)
    assert len(sampler) == 8
    assert [len(epoch) for epoch in epochs(sampler, 3)] == [8, 8, 8]
    assert len(make(5, 3)) == 3


def test_passes__go_on_over_the_ends_of_epochs():
    """Five epochs of 8 are eight passes of 5: each sample comes as often."""
    taken = [*chain(*epochs(make(5, 8), 5))]
    assert [sorted(taken[i : i + 5]) for i in range(0, 40, 5)] == [[*range(5)]] * 8
    assert len({tuple(taken[i : i + 5]) for i in range(0, 40, 5)}) > 1


def test_draws__of_an_index_that_comes_again_are_others():
    draws = [*chain(*epochs(make(2, 7), 2))]
    assert max(Counter((int(d), d.turn, d.seed) for d in draws).values()) == 1


def test_epoch__follows_from_its_number_alone():
    fifth = epochs(make(5, 8), 6)[5]
    sampler = make(5, 8)
    sampler.set_epoch(5)
    assert [*sampler] == fifth


@pytest.mark.parametrize(('round_up', 'length'), [(True, 5), (False, 4)])
def test_processes__get_as_many_as_of_the_other_data(monkeypatch, round_up, length):
    """Of 9 samples on 2 processes: 5 each with the first again, or 4 each."""
    monkeypatch.setattr(long_epoch_sampler, 'get_world_size', lambda: 2)
    own = make(6, 9, round_up=round_up)
    assert len(own) == length


def test_misuse__a_pass_without_samples():
    with pytest.raises(ValueError, match='a pass of the sampler has no sample'):
        make(0, 4)
