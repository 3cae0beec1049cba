"""Shared memory is used again once a batch is gone, and never before."""

import gc
import os

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from mmsegmentation.datasets import shared_room, stacked_collate
from mmsegmentation.datasets.transforms import FastPackSegInputs

pytestmark = pytest.mark.filterwarnings('ignore:This DataLoader will create')
SHAPES = [(2, 3, 4, 5), (2, 1, 4, 5)]


class Numbered(Dataset):
    """Samples that are full of their index."""

    def __len__(self) -> int:
        return 40

    def __getitem__(self, index: int) -> dict:
        image = torch.full((6, 8, 3), index, dtype=torch.uint8).numpy()
        pack = FastPackSegInputs(byte_labels=True)
        return pack({'img': image, 'gt_seg_map': image[..., 0]})


def loader(**options) -> DataLoader:
    options = {'num_workers': 1, 'persistent_workers': True, **options}
    return DataLoader(
        Numbered(),
        2,
        collate_fn=stacked_collate,
        multiprocessing_context='fork',
        **options,
    )


def values(batch: dict) -> list[int]:
    """Return the number that each sample is full of."""
    found = []
    for image, sample in zip(batch['inputs'], batch['data_samples'], strict=True):
        (number,) = image.unique().tolist()
        assert sample.gt_sem_seg.data.unique().tolist() == [number]
        found.append(number)
    return found


@pytest.fixture(autouse=True)
def empty():
    shared_room._own.clear()
    shared_room._entered.clear()
    yield
    shared_room._own.clear()
    shared_room._entered.clear()


def test_batches_that_are_kept_stay_as_they_are():
    kept = list(loader())
    assert [n for batch in kept for n in values(batch)] == list(range(40))


def test_one_tensor_of_a_batch_keeps_all_of_it():
    images, labels = [], []
    for batch in loader():
        images.append(batch['inputs'][1])
        labels.append(batch['data_samples'][0].gt_sem_seg.data)
    assert [int(image.max()) for image in images] == list(range(1, 40, 2))
    assert [int(label.max()) for label in labels] == list(range(0, 40, 2))


def test_rooms_are_used_again():
    data = loader()
    for _ in range(3):
        for batch in data:
            values(batch)
            del batch
    # One that is read, one that is written, and those that wait in between.
    assert len(shared_room._entered) <= 5


@pytest.mark.parametrize('workers', [1, 2])
def test_a_pass_that_was_left_harms_no_later_one(workers):
    data = loader(num_workers=workers)
    for _ in range(3):
        first = next(iter(data))
        assert values(first) == [0, 1]
    assert [n for batch in data for n in values(batch)] == list(range(40))


def test_rooms_of_workers_that_ended_are_left():
    data = loader(persistent_workers=False)
    for _ in range(4):
        for batch in data:
            values(batch)
    processes = {process for process, _ in shared_room._entered}
    assert len(processes) == 1


def test_room__is_in_use_until_its_last_tensor_is_gone():
    room = shared_room.room_for(SHAPES)
    assert room.memory[shared_room.IN_USE] == 1
    images, labels = room.lend(SHAPES)
    assert [tuple(t.shape) for t in (images, labels)] == SHAPES
    view = labels[1].view(-1)
    del images, labels
    gc.collect()
    assert room.memory[shared_room.IN_USE] == 1
    del view
    gc.collect()
    assert room.memory[shared_room.IN_USE] == 0


def test_room__what_is_written_is_what_is_lent():
    room = shared_room.room_for(SHAPES)
    for number, tensor in enumerate(room.tensors(SHAPES)):
        tensor.fill_(number + 1)
    lent = room.lend(SHAPES)
    assert [t.unique().tolist() for t in lent] == [[1], [2]]


def test_room_for__takes_a_free_room_that_is_large_enough():
    small = shared_room.room_for([(10,)])
    other = shared_room.room_for([(10,)])
    assert other is not small
    shared_room._free(small.memory)
    assert shared_room.room_for([(11,)]) not in (small, other)
    assert shared_room.room_for([(9,)]) is small


def test_room__memory_travels_until_it_is_known():
    room = shared_room.room_for([(10,)])
    enter, (key, memory) = room.__reduce__()
    assert key == (os.getpid(), 0)
    assert enter(key, memory).memory is memory
    assert room.__reduce__()[1] == (key, None)
    assert enter(key, None).memory is memory
