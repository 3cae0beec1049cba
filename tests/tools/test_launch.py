"""tools/launch.sh, and processes of several machines that are started again."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.forked import free_port

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / 'tools/launch.sh'
TUNE = ROOT / 'tools/tune.py'


@pytest.fixture
def launch(tmp_path):
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
        ([SCRIPT], {'PROCS': 'two'}, 'PROCS: two is no number'),
        ([SCRIPT], {'PROCS': 0}, 'PROCS: 0 is no number'),
        ([SCRIPT], {'PROCS': 1, 'NODES': '2x'}, 'NODES: 2x is no number'),
        ([SCRIPT], {'PROCS': 1, 'RESTARTS': -1}, 'RESTARTS: -1 is no number'),
        ([SCRIPT], {'PROCS': 1, 'NODES': 2}, 'ENDPOINT: not set'),
        ([SCRIPT], {}, 'PROCS: all GPUs are hidden'),
        ([TUNE], {'PROCS': 1}, f'{TUNE}: starts its trainings itself'),
        ([SCRIPT], {'PROCS': 1, 'PATH': '/usr/bin:/bin'}, 'torchrun: not found'),
    ],
)
def test_launch__says_what_is_missing(launch, argv, variables, wanted):
    code, out, err = output(launch(*argv, **variables))
    assert (code, out) == (2, '')
    assert err.startswith(f'error: {wanted}')
    assert err.count('\n') == 1


KILLED = """
import os
import signal

from mmengine.config import Config
from torch.distributed import barrier

from mmsegmentation.command import run_command
from mmsegmentation.processes import BEGUN, is_noted, note, processes


def main(argv):
    with processes(Config({'launcher': 'pytorch'})):
        again, first = is_noted(BEGUN), os.environ['RANK'] == '0'
        barrier()
        if first:
            note(BEGUN)
        barrier()
        if not (again or first):
            os.kill(os.getpid(), signal.SIGKILL)
        barrier()
        print(f'process {os.environ["RANK"]}: again {again}')
    return 0


run_command(main)
"""


def test_launch__explains_itself(launch):
    code, out, err = output(launch('--help'))
    assert (code, err) == (0, '')
    assert out.startswith('Start a command of tools/ in several processes.')
    assert 'PROCS=2 tools/launch.sh' in out and 'pipefail' not in out


def test_launch__machine_that_lost_a_process_starts_all_again(launch, tmp_path):
    # What a training makes of it: test_processes.py.
    script = tmp_path / 'killed.py'
    script.write_text(KILLED)
    meeting = {'NODES': 2, 'PROCS': 1, 'ENDPOINT': f'127.0.0.1:{free_port()}'}
    machines = [launch(script, RESTARTS=1, **meeting) for _ in range(2)]
    found = [output(machine) for machine in machines]
    assert [code for code, _, _ in found] == [0, 0], found
    said = sorted(out for _, out, _ in found)
    assert said == ['process 0: again True\n', 'process 1: again True\n']
    errors = ''.join(err for _, _, err in found)
    assert 'process 0: stops, because another one did' in errors
    assert 'exitcode: -9' in errors
