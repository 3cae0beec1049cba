"""Images of rare classes come more often, as a function of seed and pass alone."""

from collections import Counter
from itertools import islice

import numpy as np
import pytest
from mmengine.dataset import BaseDataset, ConcatDataset, RepeatDataset

from mmsegmentation.datasets import MixedDataset, SeededMixDataset
from mmsegmentation.engine import RareClassInfiniteSampler, RareClassSampler

# Class 2 is in the last of eight images alone, class 1 in the first four.
PIXELS = np.array([[9, 4, 0]] * 4 + [[9, 0, 0]] * 3 + [[9, 0, 1]])


class Counted(BaseDataset):
    def __init__(self, pixels=PIXELS):
        super().__init__(lazy_init=True)
        self.pixels = pixels

    def load_data_list(self):
        return [{'index': index} for index in range(len(self.pixels))]

    def class_pixels(self):
        return self.pixels


class Uncounted(BaseDataset):
    def load_data_list(self):
        return [{}]


DATA = Counted()


def epoch_of(number, **more):
    sampler = RareClassSampler(DATA, seed=3, **more)
    sampler.set_epoch(number)
    return list(sampler)


def test_rare__image_comes_as_often_as_its_chance_says():
    # Half by chance: 1/16 each; half by class: 1/16 of each of the first, 1/4 the last.
    wanted = np.array([1] * 4 + [0.5] * 3 + [2.5])
    passes = [Counter(epoch_of(number)) for number in range(200)]
    counts = np.array([[found[i] for i in range(8)] for found in passes])
    assert (counts.sum(1) == 8).all()
    assert (np.abs(counts - wanted) < 1).all()
    assert np.abs(counts.mean(0) - wanted).max() < 0.1


def test_rare__none_preferred_is_each_image_once():
    assert sorted(epoch_of(0, prefer_rare=0.0)) == list(range(8))
    assert epoch_of(0, prefer_rare=0.0) != epoch_of(1, prefer_rare=0.0)


def test_rare__image_that_comes_again_has_another_chance():
    draws = [draw for number in range(5) for draw in epoch_of(number, prefer_rare=1.0)]
    assert len({(int(draw), draw.turn) for draw in draws}) == len(draws)
    assert Counter(map(int, draws))[7] == 20


@pytest.mark.parametrize('world_size', [1, 3])
def test_infinite__any_place_is_reached_at_once_by_every_process(world_size):
    for rank in range(world_size):
        for skipped in (0, 1, 8, 21):
            whole, late = (RareClassInfiniteSampler(DATA, seed=3) for _ in '12')
            for sampler in (whole, late):
                sampler.rank, sampler.world_size = rank, world_size
                sampler.indices = sampler._indices_of_rank()
            late.skip(skipped)
            wanted = [(d, d.turn) for d in islice(whole, skipped, skipped + 20)]
            assert [(d, d.turn) for d in islice(late, 20)] == wanted


def test_repeated__pass_is_as_long_as_the_data_set_and_repeats_no_chance():
    data = RepeatDataset(DATA, 3)
    sampler = RareClassSampler(data, seed=3)
    draws = list(sampler)
    assert len(draws) == len({(int(d), d.turn) for d in draws}) == 24
    for skipped in (9, 24, 30):
        whole, late = (RareClassInfiniteSampler(data, seed=3) for _ in '12')
        late.skip(skipped)
        wanted = [(d, d.turn) for d in islice(whole, skipped, skipped + 20)]
        assert [(d, d.turn) for d in islice(late, 20)] == wanted


def test_infinite__passes_are_the_epochs_of_the_other():
    endless = iter(RareClassInfiniteSampler(DATA, seed=3))
    for number in range(3):
        wanted = [(draw, draw.turn) for draw in epoch_of(number)]
        assert [(d, d.turn) for d in islice(endless, 8)] == wanted


def test_rare__processes_share_an_epoch():
    found = []
    for rank in range(3):
        sampler = RareClassSampler(DATA, seed=3)
        sampler.rank, sampler.world_size = rank, 3
        sampler.num_samples, sampler.total_size = 3, 9
        found.append(list(sampler))
    whole = epoch_of(0)
    assert [found[i % 3][i // 3] for i in range(9)] == [*whole, whole[0]]


def test_rare__looks_into_the_data_sets_that_are_joined_and_mixed():
    joined = ConcatDataset([Counted(PIXELS[:4]), Counted(PIXELS[4:])])
    sampler = RareClassSampler(SeededMixDataset(joined, []), seed=3)
    assert [int(draw) for draw in sampler] == [int(draw) for draw in epoch_of(0)]


def test_rare__misuse_is_told():
    with pytest.raises(ValueError, match=r'prefer_rare must be in .0, 1., got 2'):
        RareClassSampler(DATA, prefer_rare=2)
    with pytest.raises(ValueError, match='a MixedDataset draws by its own ratio'):
        RareClassSampler(MixedDataset([DATA, DATA], [1, 1]))
    with pytest.raises(ValueError, match='needs a RecycleDataset, which counts'):
        RareClassInfiniteSampler(Uncounted(lazy_init=True))
