"""A sample's chance follows from seed, pass and index, in whatever process."""

import copy
import pickle
import random
from collections.abc import Iterable
from functools import partial

import numpy as np
import pytest
from mmengine.dataset import worker_init_fn
from mmseg.datasets import MultiImageMixDataset
from mmseg.registry import DATASETS
from torch.utils.data import BatchSampler, DataLoader

from mmsegmentation.datasets import SeededMixDataset
from mmsegmentation.datasets.draw import Draw, chance_of
from mmsegmentation.engine import SeededInfiniteSampler, SeededSampler

# The loader advises as many workers as there are cores.
pytestmark = pytest.mark.filterwarnings('ignore:This DataLoader will create')
STEPS = [
    dict(type='CopyPaste', prob=0.5, _scope_='mmseg'),
    dict(type='RandomCutMix', prob=0.5, patch_scale=(3, 5), _scope_='mmseg'),
    dict(type='PhotoMetricDistortion', _scope_='mmseg'),
    dict(type='RandomFlip', prob=0.5, _scope_='mmseg'),
    dict(type='PackSegInputs', _scope_='mmseg'),
]


@DATASETS.register_module()
class SharedImages:
    """Samples that all are the same read-only arrays."""

    metainfo: dict = {}

    def __init__(self, count: int = 7) -> None:
        rng = np.random.default_rng(0)
        self.images = rng.integers(0, 256, (count, 8, 9, 3), dtype=np.uint8)
        self.labels = rng.integers(0, 11, (count, 8, 9), dtype=np.uint8)
        self.images.flags.writeable = self.labels.flags.writeable = False

    def full_init(self) -> None:
        pass

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> dict:
        return {
            'img': self.images[index],
            'gt_seg_map': self.labels[index],
            'seg_fields': ['gt_seg_map'],
        }


def build(cls: type = SeededMixDataset, **options) -> MultiImageMixDataset:
    source = dict(type='SharedImages', _scope_='mmseg')
    return cls(source, copy.deepcopy(STEPS), **options)


def digest(sample: dict) -> tuple[bytes, bytes]:
    labels = sample['data_samples'].gt_sem_seg.data
    return sample['inputs'].numpy().tobytes(), labels.numpy().tobytes()


def load(indices: Iterable[int], workers: int) -> dict[tuple[int, int], tuple]:
    """Return the samples by pass and index."""
    indices = list(indices)
    loader = DataLoader(
        build(),
        batch_sampler=BatchSampler(indices, 2, False),
        num_workers=workers,
        collate_fn=list,
        worker_init_fn=partial(
            worker_init_fn, num_workers=workers, rank=0, seed=workers
        ),
        multiprocessing_context='fork' if workers else None,
    )
    drawn = [digest(sample) for batch in loader for sample in batch]
    keys = [(index.turn, int(index)) for index in indices]
    return dict(zip(keys, drawn, strict=True))


def test_sample__is_the_same_with_any_number_of_workers_and_in_any_order():
    first = [Draw(i, turn, 3) for turn in (0, 1) for i in range(7)]
    expected = load(first, 0)
    for workers in (0, 1, 3):
        shuffled = random.Random(workers).sample(first, len(first))
        assert load(shuffled, workers) == expected


def test_sample__differs_between_passes_and_between_seeds():
    base = load([Draw(i, 0, 3) for i in range(7)], 0)
    other_pass = load([Draw(i, 1, 3) for i in range(7)], 0)
    other_seed = load([Draw(i, 0, 4) for i in range(7)], 0)
    assert not set(base.values()) & set(other_pass.values())
    assert not set(base.values()) & set(other_seed.values())


def test_sample__a_plain_index_draws_as_the_stock_wrapper():
    for seed in range(20):
        drawn = []
        for cls in (SeededMixDataset, MultiImageMixDataset):
            np.random.seed(seed)
            dataset = build(cls)
            drawn.append([digest(dataset[i]) for i in range(7)])
        assert drawn[0] == drawn[1]


def test_sample__leaves_the_generators_as_they_were():
    np.random.seed(1)
    random.seed(1)
    expected = np.random.random(), random.random()
    np.random.seed(1)
    random.seed(1)
    build()[Draw(2, 0, 0)]
    assert (np.random.random(), random.random()) == expected


def test_sample__an_error_gives_the_generators_back():
    np.random.seed(1)
    before = np.random.get_state()[1].copy()
    with pytest.raises(KeyError, match='gone'), chance_of(Draw(0, 0, 0)):
        raise KeyError('gone')
    np.testing.assert_array_equal(np.random.get_state()[1], before)


def test_sample__a_step_that_writes_in_place_gets_arrays_of_its_own():
    steps = [dict(type='RandomCutOut', prob=1.0, n_holes=1, cutout_ratio=(0.5, 0.5))]
    steps[0]['_scope_'] = 'mmseg'
    dataset = SeededMixDataset(dict(type='SharedImages', _scope_='mmseg'), steps)
    before = dataset.dataset.images.copy()
    assert not dataset[0]['img'].all()
    np.testing.assert_array_equal(dataset.dataset.images, before)


def test_sample__skipped_steps_are_skipped():
    names = [step['type'] for step in STEPS[:-1]]
    sample = build(skip_type_keys=names)[Draw(4, 0, 0)]
    image = sample['inputs'].numpy().transpose(1, 2, 0)
    np.testing.assert_array_equal(image, SharedImages().images[4])


def test_draw__stays_what_it_is_in_a_pickle():
    draw = pickle.loads(pickle.dumps(Draw(5, 2, 9)))
    assert (draw, draw.turn, draw.seed) == (5, 2, 9)
    assert range(10)[draw] == 5


def test_sampler__says_the_epoch_and_keeps_the_order():
    from mmengine.dataset import DefaultSampler

    ours, stock = (cls(range(9), seed=4) for cls in (SeededSampler, DefaultSampler))
    for epoch in (0, 1):
        ours.set_epoch(epoch)
        stock.set_epoch(epoch)
        draws = list(ours)
        assert draws == list(stock)
        assert {(draw.turn, draw.seed) for draw in draws} == {(epoch, 4)}


def test_infinite_sampler__says_the_pass_and_keeps_the_order():
    from mmengine.dataset import InfiniteSampler

    ours, stock = (
        iter(cls(range(5), seed=4)) for cls in (SeededInfiniteSampler, InfiniteSampler)
    )
    draws = [next(ours) for _ in range(15)]
    assert draws == [next(stock) for _ in range(15)]
    assert [draw.turn for draw in draws] == [0] * 5 + [1] * 5 + [2] * 5


def test_infinite_sampler__skip_resumes_with_the_same_draws():
    whole, resumed = (SeededInfiniteSampler(range(5), seed=4) for _ in range(2))
    resumed.skip(7)
    expected = [(int(d), d.turn) for d, _ in zip(whole, range(15), strict=False)][7:]
    found = [(int(d), d.turn) for d, _ in zip(resumed, range(8), strict=False)]
    assert found == expected
