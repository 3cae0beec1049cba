import re

import pytest
import torch
from mmengine.config import Config

from mmsegmentation.memory import out_of_memory, out_of_shared_memory

CUDA = (
    'CUDA out of memory. Tried to allocate 1.50 GiB. GPU 0 has a total capacity of '
    '79.10 GiB of which 1.10 GiB is free.'
)
CPU = "[enforce fail] . DefaultCPUAllocator: can't allocate memory: you tried to "
CPU += 'allocate 8589934592 bytes. Error code 12 (Cannot allocate memory)'


def config(batch=4, accumulated=2, wrapper='OptimWrapper', **more):
    crop = dict(type='RandomCrop', crop_size=(512, 512))
    return Config(
        dict(
            train_dataloader=dict(batch_size=batch, dataset=dict(pipeline=[crop])),
            val_dataloader=dict(batch_size=3),
            optim_wrapper=dict(type=wrapper, accumulative_counts=accumulated),
            model=dict(test_cfg=dict(mode='slide', windows=8)),
        )
    )


@pytest.mark.parametrize(
    ('error', 'device', 'size'),
    [
        (torch.OutOfMemoryError(CUDA), 'GPU', '1.50'),
        (RuntimeError(CPU), 'CPU', '8.00'),
    ],
)
def test_memory__names_the_size_and_three_settings(error, device, size):
    assert str(out_of_memory(error, config(), 7)) == (
        f'step 7: out of memory on the {device} (asked for {size} GiB more); set '
        'train_dataloader.batch_size=2 (now 4) with optim_wrapper.accumulative_counts=4'
        ' (now 2), which sums up the same batch, or --amp (now OptimWrapper, full '
        'precision), or a smaller crop: train_dataloader.dataset.pipeline.0.crop_size '
        '(now (512, 512))'
    )


FULL = (
    'Caught RuntimeError in DataLoader worker process 0.\nOriginal Traceback: ...\n'
    'RuntimeError: unable to allocate shared memory(shm) for file </torch_87_25_0>: No '
    'space left on device (28)',
    'unable to write to file </torch_87_25_0>: No space left on device (28)',
    'DataLoader worker (pid 46) is killed by signal: Bus error. It is ...',
)


@pytest.mark.parametrize('text', FULL, ids=['asked for', 'written', 'used'])
@pytest.mark.parametrize('stage', ['train', 'val'])
def test_memory__shared_one_that_is_full_is_named_with_the_way_out(text, stage):
    error = out_of_memory(RuntimeError(text), config(), 7, stage)
    message = (
        rf'/dev/shm: has no room .* of {stage}_dataloader load.*; start the container '
        rf'with --shm-size=8g, or set {stage}_dataloader\.num_workers=0 '
    )
    assert re.search(message, str(error))


def test_memory__shared_one_is_no_cause_of_other_errors():
    assert (
        out_of_shared_memory(RuntimeError('size mismatch'), 'test_dataloader') is None
    )
    assert out_of_shared_memory(ValueError(FULL[0]), 'test_dataloader') is None


def test_memory__killed_worker_is_named_with_what_takes_less():
    error = RuntimeError('DataLoader worker (pid 46) is killed by signal: Killed. ')
    cfg = config()
    cfg.train_dataloader.num_workers = 4
    text = str(out_of_memory(error, cfg, 7))
    assert text.startswith('step 7: a worker that loads images was killed')
    assert 'train_dataloader.batch_size=2 (now 4)' in text
    assert text.endswith('train_dataloader.num_workers=2 (now 4)')


def test_memory__proposes_nothing_that_is_so_already():
    cfg = config(batch=1, wrapper='AmpOptimWrapper')
    text = str(out_of_memory(torch.OutOfMemoryError(CUDA), cfg, 1))
    assert 'batch_size' not in text
    assert '--amp' not in text
    assert 'a smaller crop' in text


def test_memory__always_says_a_way_out():
    cfg = config(batch=1, wrapper='AmpOptimWrapper')
    cfg.train_dataloader.dataset.pipeline = []
    text = str(out_of_memory(torch.OutOfMemoryError(CUDA), cfg, 1))
    assert text.endswith(
        'GiB more); take a smaller model, smaller images, or more memory'
    )


def test_memory__in_a_validation_names_its_settings():
    text = str(out_of_memory(torch.OutOfMemoryError(CUDA), config(), 9, 'val'))
    assert text.startswith('validation before step 9: out of memory on the GPU')
    assert 'set val_dataloader.batch_size=1 (now 3), or model.test_cfg' in text
    assert 'mode slide, windows 8' in text
    assert 'accumulative_counts' not in text


def test_other_errors__are_left_alone():
    assert out_of_memory(RuntimeError('a size of 3 does not fit'), config(), 1) is None
