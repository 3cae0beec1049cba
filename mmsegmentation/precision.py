"""In which precision a forward pass runs, by name, on a CPU as on a GPU."""

import logging
from contextlib import AbstractContextManager, nullcontext

import torch
from mmengine.device import get_device
from mmengine.logging import print_log

# What PyTorch calls the instructions of x86 and ARM that multiply in bfloat16.
CPU_BF16 = ('avx512_bf16', 'amx_bf16', 'avx10_2', 'bf16', 'sve_bf16')
PRECISIONS = {'fp32': torch.float32, 'bf16': torch.bfloat16, 'fp16': torch.float16}


def has_bf16() -> bool:
    """Return whether the device multiplies in bfloat16, not by emulation."""
    if get_device() != 'cpu':
        return True
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name, False) for name in CPU_BF16)


def precision_of(name: str) -> str:
    """Return the precision that the device can serve ``name`` with, else ``'fp32'``.

    Raises:
        ValueError: ``name`` is none of ``PRECISIONS``.
    """
    if name not in PRECISIONS:
        raise ValueError(f'precision must be one of {list(PRECISIONS)}, got {name!r}')
    on_cpu = get_device() == 'cpu'
    if name == 'fp32' or (not on_cpu) or (name == 'bf16' and has_bf16()):
        return name
    why = 'a CPU computes bf16 or fp32' if name == 'fp16' else 'this CPU has no bf16'
    print_log(f'{why}: predicting in fp32', 'current', logging.WARNING)
    return 'fp32'


def autocast(device_type: str, name: str) -> AbstractContextManager:
    """Return the context that computes in a precision of ``PRECISIONS``."""
    if name == 'fp32':
        return nullcontext()
    return torch.autocast(device_type, PRECISIONS[name])
