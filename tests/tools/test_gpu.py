"""A training and a prediction on a GPU, where there is one."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def command(environment, *argv):
    done = subprocess.run(
        [sys.executable, *map(str, argv)],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[0]


@pytest.mark.gpu
@pytest.mark.slow
def test_gpu__trains_and_predicts_and_is_named_first(
    gpu_environment, write_config, shared_data, tmp_path
):
    environment = {**gpu_environment, 'RECYCLE_DATA': str(shared_data)}
    config, work_dir = write_config(name='gpu'), tmp_path / 'w'
    script = ROOT / 'tools/train.py'
    line = command(environment, script, config, '--amp', '--work-dir', work_dir)
    assert line.startswith('device: ') and 'CPU' not in line
    assert line.endswith('; float16')
    best = next(work_dir.glob('best_mIoU_*.pth'))
    script, out = ROOT / 'tools/test.py', tmp_path / 'pred'
    line = command(environment, script, config, best, '--out', out)
    assert line.startswith('device: ') and 'CPU' not in line
    script, out = ROOT / 'tools/test.py', tmp_path / 'on_cpu'
    arguments = (script, config, best, '--out', out, '--device', 'cpu')
    assert command(environment, *arguments).startswith('device: CPU, ')
