"""The choice of a device, and the line that prints it.

If a machine has a GPU that torch cannot use, a command stops with an error. Only
NVIDIA's GPUs are searched. Many laptops have an AMD GPU that torch cannot use.
"""

import ctypes
import errno
import os
import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from mmsegmentation.command import InputError, Parser, usable_cpus

if TYPE_CHECKING:
    from mmengine.config import Config

VARIABLE = 'CUDA_VISIBLE_DEVICES'
# Values that hide all GPUs from a program. Slurm and containers set some of them.
NO_GPU = '', '-1', 'none', 'void', 'NoDevFiles'
DEVICES, VERSION = Path('/dev'), Path('/proc/driver/nvidia/version')
NAMES = {'fp32': 'float32', 'fp16': 'float16', 'bf16': 'bfloat16'}


def add_device_option(parser: Parser) -> None:
    """Add ``--device`` to the arguments of a command."""
    text = 'device of the model (default: a GPU if there is one, else the CPU)'
    parser.add_argument('--device', choices=['cpu', 'cuda'], help=text)


def choose_device(name: str | None) -> None:
    """Choose the device of this process and of the processes that it starts.

    Args:
        name: ``'cpu'``, ``'cuda'``, or None for a GPU if there is one.

    Raises:
        InputError: The machine has a GPU that torch cannot use, or ``'cuda'`` is chosen
            and there is no GPU.
    """
    if name == 'cpu':
        os.environ[VARIABLE] = ''
    elif _is_cpu_chosen():
        if name:
            what = f'{VARIABLE}={os.environ[VARIABLE]} hides all GPUs'
            raise InputError('--device cuda', what, f'unset {VARIABLE}')
    else:
        _find_gpu(required=name == 'cuda')


def _is_cpu_chosen() -> bool:
    shown = os.environ.get(VARIABLE)
    # CUDA reads the list up to the first invalid entry.
    return shown is not None and shown.split(',')[0].strip() in NO_GPU


def _find_gpu(required: bool) -> None:
    import torch

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        usable = torch.cuda.is_available()
    if usable:
        return
    if count := count_gpus():
        why = _reasons(str(caught[0].message) if caught else '')
        raise InputError(
            'GPU',
            f'{count} in this machine, but torch cannot use it: {why}',
            'install a driver and a torch build that fit, or pass --device cpu',
        )
    if required:
        raise InputError('--device cuda', 'there is no GPU', 'remove it')


def _reasons(warning: str) -> str:
    """Return possible reasons why torch cannot use a GPU.

    Args:
        warning: The warning that torch printed itself.
    """
    import torch

    build = f'CUDA {torch.version.cuda}' if torch.version.cuda else 'no CUDA'
    reasons = [f'driver {driver_version()}', f'torch {torch.__version__} for {build}']
    if VARIABLE in os.environ:
        reasons.append(f'{VARIABLE}={os.environ[VARIABLE]}')
    # Only the first sentence. Advice and the place in torch's source follow it.
    first = warning.partition(': ')[2].partition('. ')[0]
    return ', '.join(reasons) + (f' ({first})' if first else '')


def driver_version() -> str:
    """Return the version of NVIDIA's kernel module, or ``'unknown'``."""
    try:
        text = VERSION.read_text()
    except OSError:
        return 'unknown'
    found = re.search(r'Module.*?\s(\d{2,}\.\d[\d.]*)\s', text)
    return found[1] if found else 'unknown'


def count_gpus() -> int:
    """Return the number of NVIDIA GPUs that this process may open, without torch."""
    nodes = [p for p in DEVICES.glob('nvidia*') if p.name[len('nvidia') :].isdigit()]
    return sum(not _is_withheld(node) for node in nodes) or _count_by_nvml()


def _is_withheld(node: Path) -> bool:
    """Return whether the control group of a job forbids access to a GPU."""
    try:
        os.close(os.open(node, os.O_RDWR))
    except OSError as error:
        return error.errno == errno.EPERM
    return False


def _count_by_nvml() -> int:
    """Return the number of GPUs from NVIDIA's library; WSL has no device files."""
    try:
        nvml = ctypes.CDLL('libnvidia-ml.so.1')
    except OSError:
        return 0
    if nvml.nvmlInit_v2():
        return 0
    count = ctypes.c_uint()
    nvml.nvmlDeviceGetCount_v2(ctypes.byref(count))
    nvml.nvmlShutdown()
    return count.value


def print_device(cfg: 'Config', training: bool = False) -> None:
    """Print device and precision of a run, in its first process only.

    Args:
        cfg: The config of the run.
        training: Print the precision of training instead of that of prediction.

    Raises:
        InputError: The GPU fails at a small computation.
    """
    from mmengine.device import get_device
    from mmengine.dist import get_world_size, is_main_process

    place = get_device()
    if place == 'cuda':
        place = _working_gpu()
    elif place == 'cpu':
        place = f'CPU, {usable_cpus()} cores'
    count = get_world_size()
    processes = f', {count} processes' if count > 1 else ''
    precision = _precision_of_training(cfg) if training else _precision(cfg)
    if is_main_process():
        print(f'device: {place}{processes}; {precision}', flush=True)


def _working_gpu() -> str:
    """Return the name of this process' GPU after a small computation on it.

    Raises:
        InputError: The computation fails, because torch has no code for this GPU or
            because other programs use all its memory.
    """
    import torch

    name = torch.cuda.get_device_name()
    try:
        (torch.zeros(1, device='cuda') + 1).item()
    except RuntimeError as error:
        first = str(error).partition('\n')[0]
        what = f'cannot compute: {_reasons(f": {first}")}'
        raise InputError(name, what, 'pass --device cpu') from None
    return name


def _precision(cfg: 'Config') -> str:
    from mmsegmentation.precision import precision_of

    model = cfg.model.get('module') or cfg.model  # within test-time augmentation
    asked = (model.get('test_cfg') or {}).get('precision', 'fp32')
    return NAMES[precision_of(asked)] if asked in NAMES else str(asked)


def _precision_of_training(cfg: 'Config') -> str:
    from mmsegmentation.precision import has_bf16

    wrapper = cfg.optim_wrapper
    if wrapper.get('type') == 'Bf16OptimWrapper':
        return 'bfloat16' if has_bf16() else 'float32 (this CPU has no bfloat16)'
    if wrapper.get('type') == 'AmpOptimWrapper':
        return str(wrapper.get('dtype') or 'float16')
    return 'float32'
