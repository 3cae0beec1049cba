"""Which pass an index comes in, by MMEngine's loops and hooks."""

import time
from itertools import islice
from types import SimpleNamespace

import pytest
from mmengine.dataset import DefaultSampler, InfiniteSampler
from mmengine.hooks import DistSamplerSeedHook
from mmengine.runner import loops
from torch.utils.data import BatchSampler, DataLoader

from mmsegmentation.engine import SeededInfiniteSampler, SeededSampler

COUNT = 5


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(loops, 'time', SimpleNamespace(sleep=lambda seconds: None))


def loader(kind):
    data = range(COUNT)
    return DataLoader(data, sampler=kind(data, seed=3), batch_size=None)


def epochs(kind, hooks, count=3):
    """Return the draws of each epoch, as an epoch loop asks for them."""
    dataloader = loader(kind)
    train_loop = SimpleNamespace(dataloader=dataloader)
    found = []
    for epoch in range(count):
        for hook in hooks:
            hook.before_train_epoch(SimpleNamespace(train_loop=train_loop, epoch=epoch))
        found.append(list(dataloader.sampler))
    return found


def turns(draws):
    return [draw.turn for draw in draws]


def test_seeded__epoch_loop_is_told_the_epoch_by_the_hook():
    found = epochs(SeededSampler, [DistSamplerSeedHook()])
    assert [turns(draws) for draws in found] == [[0] * COUNT, [1] * COUNT, [2] * COUNT]
    assert found[0] != found[1] != found[2]


def test_seeded__without_the_hook_each_epoch_is_the_first():
    first, *others = epochs(SeededSampler, [])
    assert others == [first, first]
    assert {draw.turn for draws in others for draw in draws} == {0}


@pytest.mark.parametrize('kind', [SeededSampler, SeededInfiniteSampler])
def test_both__iteration_loop_counts_passes_without_a_hook(kind):
    dataloader = loader(kind)
    noted = []
    sample = kind.__iter__

    def note(self):
        for draw in sample(self):
            noted.append(draw)
            yield draw

    dataloader.sampler.__class__ = type(kind.__name__, (kind,), {'__iter__': note})
    batches = loops._InfiniteDataloaderIterator(dataloader)
    for _ in range(3 * COUNT):
        next(batches)
    assert turns(noted) == [0] * COUNT + [1] * COUNT + [2] * COUNT
    passes = [noted[i : i + COUNT] for i in (0, COUNT, 2 * COUNT)]
    assert [sorted(draws) for draws in passes] == [list(range(COUNT))] * 3


def test_infinite__what_the_hook_tells_changes_nothing():
    sampler = SeededInfiniteSampler(range(COUNT), seed=3)
    sampler.set_epoch(7)
    draws = iter(sampler)
    assert turns([next(draws) for _ in range(COUNT + 1)]) == [0] * COUNT + [1]


def test_infinite__resumed_run_goes_on_in_its_pass():
    whole, resumed = (SeededInfiniteSampler(range(COUNT), seed=3) for _ in range(2))
    resumed.skip(7)
    draws = iter(whole)
    wanted = [next(draws) for _ in range(12)][7:]
    draws = iter(resumed)
    given = [next(draws) for _ in range(5)]
    assert [(d, d.turn) for d in given] == [(d, d.turn) for d in wanted]


def test_infinite__order_and_passes_are_those_of_mmengine():
    ours, theirs = (
        kind(range(COUNT), seed=3) for kind in (SeededInfiniteSampler, InfiniteSampler)
    )
    draws, indices = iter(ours), iter(theirs)
    assert [next(draws) for _ in range(23)] == [next(indices) for _ in range(23)]


@pytest.mark.parametrize('world_size', [1, 3])
@pytest.mark.parametrize('shuffle', [False, True])
def test_infinite__any_place_is_reached_at_once_by_every_process(world_size, shuffle):
    for rank in range(world_size):
        for skipped in (0, 1, 4, 5, 12):
            whole, late = (SeededInfiniteSampler(range(7), shuffle, 3) for _ in '12')
            for sampler in (whole, late):
                sampler.rank, sampler.world_size = rank, world_size
                sampler.indices = sampler._indices_of_rank()
            late.skip(skipped)
            wanted = [(d, d.turn) for d in islice(whole, skipped, skipped + 20)]
            assert [(d, d.turn) for d in islice(late, 20)] == wanted


def test_infinite__ten_thousand_steps_are_skipped_within_a_second():
    sampler = SeededInfiniteSampler(range(2617), seed=3)
    begun = time.monotonic()
    sampler.skip(10_000 * 8)
    next(iter(sampler))
    assert time.monotonic() - begun < 1


@pytest.mark.parametrize('count', [7, 8, 9, 10])
def test_seeded__without_round_up_processes_step_as_one_does(monkeypatch, count):
    def batches(rank, world_size, batch_size):
        info = f'{DefaultSampler.__module__}.get_dist_info'
        monkeypatch.setattr(info, lambda: (rank, world_size))
        sampler = SeededSampler(range(count), seed=3, round_up=False)
        assert len(sampler) == len(list(sampler))
        return list(BatchSampler(sampler, batch_size, drop_last=True))

    halves = [batches(rank, 2, 2) for rank in range(2)]
    together = [sorted(a + b) for a, b in zip(*halves, strict=True)]
    assert together == [sorted(batch) for batch in batches(0, 1, 4)]
