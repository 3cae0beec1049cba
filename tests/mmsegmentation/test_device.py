"""A GPU of the machine is used, or an error says why it cannot be used."""

import errno
import os
import warnings

import pytest
import torch
from mmengine.config import Config

from mmsegmentation import device
from mmsegmentation.command import InputError

KERNEL = (
    'NVRM version: NVIDIA UNIX x86_64 Kernel Module  470.57.02  Tue Jul 13\n'
    'GCC version:  gcc version 9.3.0\n'
)
OPEN_KERNEL = (
    'NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86.15  Release\n'
)
TOO_OLD = (
    'CUDA initialization: The NVIDIA driver on your system is too old (found version '
    '11040). Please update your GPU driver. (Triggered internally at /pytorch/c10.)'
)


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Describe a machine by the files of its driver; torch can use none of its GPUs."""
    monkeypatch.setattr(device, 'DEVICES', tmp_path)
    monkeypatch.setattr(device, 'VERSION', tmp_path / 'version')
    monkeypatch.setattr(device, '_count_by_nvml', lambda: 0)
    monkeypatch.setattr(torch.version, 'cuda', '13.0')
    monkeypatch.setattr(torch, '__version__', '2.12.1+cu130')
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    monkeypatch.delenv(device.VARIABLE, raising=False)

    def describe(gpus, kernel=KERNEL):
        # nvidiactl and the others stand beside the GPUs, and are none.
        for name in ('nvidiactl', 'nvidia-uvm', *(f'nvidia{n}' for n in range(gpus))):
            (tmp_path / name).touch()
        (tmp_path / 'version').write_text(kernel)

    return describe


def test_gpu__that_torch_cannot_use_is_an_error_with_driver_and_build(machine):
    machine(gpus=2)
    message = (
        r'GPU: 2 in this machine, but torch cannot use it: driver 470\.57\.02, '
        r'torch 2\.12\.1\+cu130 for CUDA 13\.0; .*pass --device cpu'
    )
    with pytest.raises(InputError, match=message):
        device.choose_device(None)


def test_gpu__error_has_the_reason_that_torch_gives(machine, monkeypatch):
    machine(gpus=1)

    def is_available():
        warnings.warn(TOO_OLD, UserWarning, stacklevel=1)
        return False

    monkeypatch.setattr(torch.cuda, 'is_available', is_available)
    message = r'\(The NVIDIA driver .* is too old \(found version 11040\)\); install'
    with pytest.raises(InputError, match=message):
        device.choose_device(None)


def test_gpu__beside_a_build_without_cuda_is_an_error(machine, monkeypatch):
    machine(gpus=1, kernel=OPEN_KERNEL)
    monkeypatch.setattr(torch.version, 'cuda', None)
    message = r'driver 570\.86\.15, torch .* for no CUDA'
    with pytest.raises(InputError, match=message):
        device.choose_device(None)


def test_gpu__without_a_file_is_found_by_the_library_of_the_driver(
    machine, monkeypatch
):
    monkeypatch.setattr(device, '_count_by_nvml', lambda: 1)
    with pytest.raises(InputError, match=r'GPU: 1 in this machine.*driver unknown'):
        device.choose_device(None)


def test_gpu__number_that_names_none_is_an_error(machine, monkeypatch):
    machine(gpus=1)
    monkeypatch.setenv(device.VARIABLE, '7')
    with pytest.raises(InputError, match='CUDA_VISIBLE_DEVICES=7'):
        device.choose_device(None)


@pytest.mark.parametrize('hidden', ['', '-1', '-1,0', 'NoDevFiles'])
def test_gpu__that_the_environment_hides_is_a_choice_of_the_cpu(
    machine, monkeypatch, hidden
):
    machine(gpus=1)
    monkeypatch.setenv(device.VARIABLE, hidden)
    device.choose_device(None)
    with pytest.raises(InputError, match=r'--device cuda: .* hides all GPUs; unset'):
        device.choose_device('cuda')


def test_gpu__that_a_job_was_not_given_is_none(machine, monkeypatch):
    machine(gpus=2)

    def forbid(path, flags):
        raise OSError(errno.EPERM, 'Operation not permitted')

    monkeypatch.setattr(os, 'open', forbid)
    device.choose_device(None)


def test_cpu__is_the_way_out_for_this_process_and_for_those_that_it_starts(
    machine, monkeypatch
):
    machine(gpus=1)
    monkeypatch.setenv(device.VARIABLE, '0')
    device.choose_device('cpu')
    assert os.environ[device.VARIABLE] == ''
    device.choose_device(None)


def test_cuda__without_a_gpu_is_an_error(machine):
    machine(gpus=0)
    device.choose_device(None)
    with pytest.raises(InputError, match='--device cuda: there is no GPU; remove'):
        device.choose_device('cuda')


def test_gpu__that_computes_nothing_is_an_error(machine, monkeypatch):
    machine(gpus=1)

    def fail(*_, **__):
        raise RuntimeError('CUDA error: no kernel image is available\nCompile with')

    monkeypatch.setattr('mmengine.device.get_device', lambda: 'cuda')
    monkeypatch.setattr(torch.cuda, 'get_device_name', lambda: 'Tesla K80')
    monkeypatch.setattr(torch, 'zeros', fail)
    message = r'Tesla K80: cannot compute: driver 470.*\(.*no kernel image.*\); pass'
    with pytest.raises(InputError, match=message):
        device.print_device(Config({'model': {}}))


@pytest.mark.parametrize(
    ('cfg', 'precision'),
    [
        ({'optim_wrapper': {'type': 'OptimWrapper'}}, 'float32'),
        ({'optim_wrapper': {'type': 'AmpOptimWrapper'}}, 'float16'),
        ({'optim_wrapper': {'type': 'AmpOptimWrapper', 'dtype': 'bfloat16'}}, 'bf'),
        ({'optim_wrapper': {'type': 'Bf16OptimWrapper'}}, 'bfloat16'),
    ],
)
def test_line__names_device_and_precision_of_training(
    monkeypatch, capsys, cfg, precision
):
    monkeypatch.setattr('mmsegmentation.precision.has_bf16', lambda: True)
    monkeypatch.setattr(device, 'usable_cpus', lambda: 4)
    device.print_device(Config(cfg), training=True)
    assert capsys.readouterr().out.startswith(f'device: CPU, 4 cores; {precision}')


def test_line__of_bfloat16_without_the_instructions_says_float32(monkeypatch, capsys):
    monkeypatch.setattr('mmsegmentation.precision.has_bf16', lambda: False)
    wrapper = {'type': 'Bf16OptimWrapper'}
    device.print_device(Config({'optim_wrapper': wrapper}), training=True)
    assert 'float32 (this CPU has no bfloat16)\n' in capsys.readouterr().out


def test_line__names_the_precision_of_prediction(monkeypatch, capsys):
    monkeypatch.setattr('mmsegmentation.precision.has_bf16', lambda: True)
    device.print_device(Config({'model': {'test_cfg': {'precision': 'bf16'}}}))
    device.print_device(Config({'model': {'test_cfg': {'mode': 'whole'}}}))
    tta = {'type': 'SegTTAModel', 'module': {'test_cfg': {'precision': 'bf16'}}}
    device.print_device(Config({'model': tta}))
    lines = capsys.readouterr().out.splitlines()
    found = [line.partition('; ')[2] for line in lines]
    assert found == ['bfloat16', 'float32', 'bfloat16']
