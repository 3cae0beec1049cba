"""The device of a command, and its first line: a GPU is never passed over in silence.

Only NVIDIA's GPUs are looked for. An AMD one is there in many laptops, and no use.
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
# Values that show no GPU to a program; Slurm and containers set some of them.
NO_GPU = '', '-1', 'none', 'void', 'NoDevFiles'
DEVICES, VERSION = Path('/dev'), Path('/proc/driver/nvidia/version')
NAMES = {'fp32': 'float32', 'fp16': 'float16', 'bf16': 'bfloat16'}


def add_device_option(parser: Parser) -> None:
    """Add ``--device`` to the arguments of a command."""
    text = 'where the model runs; a GPU if there is one, else the CPU'
    parser.add_argument('--device', choices=['cpu', 'cuda'], help=text)


def choose_device(name: str | None) -> None:
    """Have this process, and those that it starts, compute on a device.

    Args:
        name: ``'cpu'``, ``'cuda'``, or None for a GPU where there is one.

    Raises:
        InputError: There is a GPU, and torch cannot use it; or ``'cuda'`` is asked for
            and there is none.
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
    # CUDA reads them up to the first that is none.
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
            f'{count} in this machine, and torch cannot use it: {why}',
            'mend that (driver and build must fit), or pass --device cpu',
        )
    if required:
        raise InputError('--device cuda', 'there is no GPU', 'leave it out')


def _reasons(warning: str) -> str:
    """Return what may keep torch from a GPU; ``warning`` is what it said itself."""
    import torch

    build = f'CUDA {torch.version.cuda}' if torch.version.cuda else 'no CUDA'
    reasons = [f'driver {driver_version()}', f'torch {torch.__version__} for {build}']
    if VARIABLE in os.environ:
        reasons.append(f'{VARIABLE}={os.environ[VARIABLE]}')
    # Its first sentence; advice and the place in torch's source follow.
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
    """Return how many of NVIDIA's GPUs this process may open, found without torch."""
    nodes = [p for p in DEVICES.glob('nvidia*') if p.name[len('nvidia') :].isdigit()]
    return sum(not _is_withheld(node) for node in nodes) or _count_by_nvml()


def _is_withheld(node: Path) -> bool:
    """Tell whether a job was given no access to a GPU: its control group forbids it."""
    try:
        os.close(os.open(node, os.O_RDWR))
    except OSError as error:
        return error.errno == errno.EPERM
    return False


def _count_by_nvml() -> int:
    """Return the number of GPUs by NVIDIA's library: WSL has no files for them."""
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
    """Print device and precision of a run, by its first process alone.

    Args:
        training: Whether the precision is that of training, else of prediction.

    Raises:
        InputError: The GPU computes nothing.
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
    """Return the name of this process' GPU, after it has computed something.

    Raises:
        InputError: It cannot: the build has no code for it, or others fill it.
    """
    import torch

    name = torch.cuda.get_device_name()
    try:
        (torch.zeros(1, device='cuda') + 1).item()
    except RuntimeError as error:
        first = str(error).partition('\n')[0]
        what = f'computes nothing: {_reasons(f": {first}")}'
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
