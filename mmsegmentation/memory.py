"""What to change where a run asks for more memory than there is."""

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmsegmentation.command import InputError

if TYPE_CHECKING:
    from mmengine.config import Config

# CUDA: "Tried to allocate 2.00 GiB."; the CPU: "you tried to allocate 8388608 bytes".
ASKED = re.compile(r'tried to allocate ([\d.]+) ?(bytes|[KMGT]iB)', re.IGNORECASE)
# PyTorch's message if the system killed a worker.
KILLED = re.compile(r'DataLoader worker .* killed by signal: Killed')
# PyTorch's messages if shared memory is full, at the allocation or at the first use.
SHARED = re.compile(r'shared memory\(shm\)|</torch_|killed by signal: Bus error')
SHARED_PLACE = Path('/dev/shm')
SMALLER = 'take a smaller model, smaller images, or more memory'
UNITS = {'bytes': 1, 'kib': 1 << 10, 'mib': 1 << 20, 'gib': 1 << 30, 'tib': 1 << 40}


def out_of_memory(
    error: BaseException, cfg: 'Config', step: int, stage: str = 'train'
) -> InputError | None:
    """Return one line on a lack of memory in training; None for another error.

    It names what was asked for, and the settings that take less, each with its value:
    batch, precision and crop, or in a validation its batch and windows.

    Args:
        step: At which it happened, from 1 on.
        stage: ``'train'`` or ``'val'``.
    """
    import torch

    text = str(error)
    loader = 'train_dataloader' if stage == 'train' else 'val_dataloader'
    if lacking := out_of_shared_memory(error, loader):
        return lacking
    if isinstance(error, RuntimeError) and KILLED.search(text):
        return InputError(
            f'step {step}',
            'a worker that loads images was killed, most often for want of memory',
            'set ' + ', or '.join(_smaller_loading(cfg)),
        )
    on_cpu = isinstance(error, RuntimeError) and 'DefaultCPUAllocator' in text
    if not (on_cpu or isinstance(error, torch.OutOfMemoryError)):
        return None
    asked = ASKED.search(text)
    size = f'asked for {_in_gib(*asked.groups())} GiB more' if asked else 'no size told'
    ways = [_smaller_batch(cfg), _less_precision(cfg), _smaller_crop(cfg)]
    if stage == 'val':
        ways = [_smaller_validation(cfg), _smaller_windows(cfg)]
    device = 'the CPU' if on_cpu else 'the GPU'
    return InputError(
        f'step {step}' if stage == 'train' else f'validation before step {step}',
        f'out of memory on {device} ({size})',
        'set ' + ', or '.join(filter(None, ways)) if any(ways) else SMALLER,
    )


def out_of_shared_memory(error: BaseException, loader: str) -> InputError | None:
    """Return an error for a data loader whose workers fill the shared memory.

    Containers have 64 MB of shared memory by default.

    Args:
        error: The error that ended the run.
        loader: Key of the data loader, such as ``'test_dataloader'``.

    Returns:
        None if ``error`` has another cause.
    """
    if not (isinstance(error, RuntimeError) and SHARED.search(str(error))):
        return None
    size = ''
    if SHARED_PLACE.is_dir():
        room = os.statvfs(SHARED_PLACE)
        size = f' ({room.f_blocks * room.f_frsize / 1e6:.0f} MB in all)'
    return InputError(
        SHARED_PLACE,
        f'has no room for the images that the workers of {loader} load{size}',
        f'start the container with --shm-size=8g, or set {loader}.num_workers=0 and '
        f'{loader}.persistent_workers=False',
    )


def _smaller_loading(cfg: 'Config') -> list[str]:
    workers = cfg.train_dataloader.get('num_workers', 0)
    return [
        *filter(None, [_smaller_batch(cfg)]),
        f'train_dataloader.num_workers={workers // 2} (now {workers})',
    ]


def _in_gib(number: str, unit: str) -> str:
    return f'{float(number) * UNITS[unit.lower()] / (1 << 30):.2f}'


def _smaller_batch(cfg: 'Config') -> str:
    batch = cfg.train_dataloader.get('batch_size', 1)
    steps = cfg.optim_wrapper.get('accumulative_counts', 1)
    if batch < 2:
        return ''
    return (
        f'train_dataloader.batch_size={batch // 2} (now {batch}) with '
        f'optim_wrapper.accumulative_counts={steps * 2} (now {steps}), which sums up '
        'the same batch'
    )


def _less_precision(cfg: 'Config') -> str:
    kind = str(cfg.optim_wrapper.get('type', 'OptimWrapper'))
    reduced = 'Amp' in kind or 'Bf16' in kind
    return '' if reduced else f'--amp (now {kind}, full precision)'


def _smaller_crop(cfg: 'Config') -> str:
    found = _sizes(cfg.train_dataloader.get('dataset'), 'train_dataloader.dataset')
    if not found:
        return ''
    key, size = found[-1]
    return f'a smaller crop: {key} (now {tuple(size)})'


def _smaller_validation(cfg: 'Config') -> str:
    batch = cfg.val_dataloader.get('batch_size', 1)
    return f'val_dataloader.batch_size=1 (now {batch})' if batch > 1 else ''


def _smaller_windows(cfg: 'Config') -> str:
    test_cfg = cfg.model.get('test_cfg') or {}
    now = ', '.join(f'{key} {value}' for key, value in test_cfg.items()) or 'none'
    return f'model.test_cfg to smaller windows, or one at a time (now {now})'


def _sizes(part: Any, key: str) -> list[tuple[str, Any]]:
    """Return the settings that decide how large images are, as they are applied."""
    if isinstance(part, list | tuple):
        found = [_sizes(one, f'{key}.{i}') for i, one in enumerate(part)]
        return [size for sizes in found for size in sizes]
    if not isinstance(part, dict):
        return []
    own = [
        (f'{key}.{name}', part[name])
        for name in ('crop_size', 'pad_size', 'scale')
        if isinstance(part.get(name), list | tuple) and 'type' in part
    ]
    inner = ('dataset', 'datasets', 'pipeline', 'transforms')
    return own + [
        size for name in inner for size in _sizes(part.get(name), f'{key}.{name}')
    ]
