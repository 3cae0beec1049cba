"""tools/launch.sh, and several processes that fail, are started again, and go on."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.forked import free_port, run_commands, torchrun_variables
from tests.tools.endings import difference, ending
from tools import train

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / 'tools/launch.sh'


@pytest.fixture
def launch(tmp_path, shared_data):
    """Start the script without a GPU; programs in ``fakes`` come before others."""
    (tmp_path / 'fakes').mkdir()
    places = tmp_path / 'fakes', Path(sys.executable).parent, os.environ['PATH']

    def call(*argv, **variables):
        return subprocess.Popen(
            [SCRIPT, *map(str, argv)],
            env={
                **os.environ,
                'PATH': os.pathsep.join(map(str, places)),
                'OMP_NUM_THREADS': '1',
                'CUDA_VISIBLE_DEVICES': '',
                **{name: str(value) for name, value in variables.items()},
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return call


@pytest.fixture
def fake(tmp_path):
    """Put a program in the place of another."""

    def make(name, text):
        path = tmp_path / 'fakes' / name
        path.write_text(f'#!/bin/sh\n{text}\n')
        path.chmod(0o755)

    return make


def output(process):
    out, err = process.communicate(timeout=200)
    return process.returncode, out, err


@pytest.mark.parametrize(
    ('variables', 'wanted'),
    [
        ({'PROCS': 3}, '--standalone --nproc-per-node 3 --max-restarts 0'),
        (
            {'PROCS': 2, 'NODES': 2, 'ENDPOINT': 'a:1', 'RESTARTS': 4},
            '--nnodes 2 --rdzv-backend c10d --rdzv-endpoint a:1 --rdzv-id recycle '
            '--nproc-per-node 2 --max-restarts 4',
        ),
        (
            {
                'PROCS': 8,
                'SLURM_NNODES': 3,
                'SLURM_JOB_ID': 10007,
                'SLURM_JOB_NODELIST': 'gpu[07-09]',
            },
            '--nnodes 3 --rdzv-backend c10d --rdzv-endpoint gpu07:20007 '
            '--rdzv-id 10007 --nproc-per-node 8 --max-restarts 0',
        ),
    ],
    ids=['one machine', 'two machines', 'slurm'],
)
def test_launch__tells_torchrun_where_all_meet(launch, fake, variables, wanted):
    fake('torchrun', 'echo "$@"')
    asked = '"$*" = "show hostnames gpu[07-09]"'
    fake('scontrol', f'[ {asked} ] && echo gpu07 && echo gpu08')
    found = output(launch(SCRIPT, '--cfg-options', 'a=1', **variables))
    assert found == (0, f'{wanted} {SCRIPT} --cfg-options a=1 --launcher pytorch\n', '')


@pytest.mark.parametrize(
    ('argv', 'variables', 'wanted'),
    [
        ([], {}, 'command: none given'),
        (['tools/none.py'], {}, 'tools/none.py: no such file'),
        ([SCRIPT], {'PROCS': 1, 'NODES': 2}, 'ENDPOINT: not set'),
    ],
)
def test_launch__says_what_is_missing(launch, argv, variables, wanted):
    code, out, err = output(launch(*argv, **variables))
    assert (code, out) == (2, '')
    assert err.startswith(f'error: {wanted}')
    assert err.count('\n') == 1


KILLED = """
custom_imports = dict(imports=[*_base_.custom_imports.imports, 'killer'])
custom_hooks = [*_base_.custom_hooks, dict(type='Killer')]
train_dataloader.update(batch_size=1)
"""
KILLER = """
import os
import signal

from mmengine.hooks import Hook
from mmseg.registry import HOOKS


@HOOKS.register_module()
class Killer(Hook):
    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        first = os.environ.get('TORCHELASTIC_RESTART_COUNT') == '0'
        if first and os.environ['RANK'] == '1' and runner.iter + 1 == 3:
            os.kill(os.getpid(), signal.SIGKILL)
"""


def test_launch__machine_that_lost_a_process_starts_all_again(
    launch, write_config, tmp_path, monkeypatch
):
    (tmp_path / 'killer.py').write_text(KILLER)
    monkeypatch.syspath_prepend(tmp_path)
    config = write_config(more=KILLED, name='killed')
    whole = tmp_path / 'whole'
    port = free_port()
    variables = [torchrun_variables(rank, 2, port) for rank in range(2)]
    argv = (config, '--work-dir', whole, '--launcher', 'pytorch')
    undisturbed = run_commands(tmp_path, train.main, argv, variables)
    assert [left.code for left in undisturbed] == [0, 0], undisturbed

    python = os.pathsep.join([str(tmp_path), os.environ.get('PYTHONPATH', '')])
    meeting = {'NODES': 2, 'PROCS': 1, 'ENDPOINT': f'127.0.0.1:{free_port()}'}
    machines = [
        launch(
            ROOT / 'tools/train.py',
            *(config, '--work-dir', tmp_path / 'run'),
            **{**meeting, 'RESTARTS': 1, 'PYTHONPATH': python},
        )
        for _ in range(2)
    ]
    found = [output(machine) for machine in machines]
    assert [code for code, _, _ in found] == [0, 0], found
    said = ''.join(err for _, _, err in found)
    assert 'process 0: stops, because another one did' in said
    assert 'exitcode: -9' in said
    assert difference(ending(whole), ending(tmp_path / 'run')) is None
