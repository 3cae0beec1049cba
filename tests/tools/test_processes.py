"""Two processes on the CPU: torchrun trains, and predicts what one process does."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mmsegmentation.files import read_json
from mmsegmentation.predictions import open_predictions
from tests.tools.endings import scalars
from tests.tools.loss_by_hand import loss_by_hand

ROOT = Path(__file__).resolve().parents[2]
LAUNCHER = '-m', 'torch.distributed.run', '--standalone', '--nproc-per-node=2'
pytestmark = pytest.mark.slow


@pytest.fixture
def process(tmp_path, shared_data):
    """Run a command in one process, or two, that see no GPU."""
    (tmp_path / 'here').mkdir()

    def call(script, *arguments, two):
        command = [ROOT / 'tools' / script, *arguments]
        if two:
            command = [*LAUNCHER, *command, '--launcher', 'pytorch']
        return subprocess.run(
            [sys.executable, *map(str, command)],
            cwd=tmp_path / 'here',
            env={**os.environ, 'CUDA_VISIBLE_DEVICES': '', 'OMP_NUM_THREADS': '1'},
            capture_output=True,
            text=True,
            timeout=120,
        )

    return call


def test_train__overwrites_once_and_speaks_once(own_run, process):
    config, work_dir = own_run
    arguments = (config, '--work-dir', work_dir, '--overwrite', '--cfg-options')
    options = ['train_cfg.max_iters=2', 'val_cfg.type=LossValLoop']
    for head in ('decode_head', 'auxiliary_head'):
        # On the CPU each process would have statistics of its own.
        norm = f'model.{head}.norm_cfg'
        options += [f'{norm}.type=GN', f'{norm}.num_groups=1']
    done = process('train.py', *arguments, *options, two=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert [line.split(':')[0] for line in done.stdout.splitlines()] == ['log', 'best']
    found = sorted(path.name for path in work_dir.glob('*.pth'))
    assert found == ['best_mIoU_iter_2.pth', 'iter_2.pth']
    assert read_json(work_dir / 'metrics.json')['images'] == 3
    # Of three images each process has two: one of them counts once all the same.
    (line,) = (line for line in scalars(work_dir) if 'val_loss' in line)
    wanted = loss_by_hand(config, work_dir / 'iter_2.pth', None, options).sum()
    assert line['val_loss'] == pytest.approx(wanted, rel=1e-4)


def test_predict__is_the_same_as_of_one_process(trained, process, tmp_path):
    config, work_dir = trained
    checkpoint = next(work_dir.glob('best_*.pth'))
    (tmp_path / 'disk').mkdir()
    (tmp_path / 'two').symlink_to(tmp_path / 'disk')
    arguments = ('test.py', config, checkpoint, '--out')
    for name in ('one', 'two'):
        done = process(*arguments, tmp_path / name, two=name == 'two')
        assert done.returncode == 0, done.stderr[-3000:]
        assert done.stdout.count('predictions: ') == 1
    one, two = (open_predictions(tmp_path / name) for name in ('one', 'two'))
    assert one.image_ids == two.image_ids
    for image_id in one.image_ids:
        assert (one.mask(image_id) == two.mask(image_id)).all()
        assert (one.confidence(image_id) == two.confidence(image_id)).all()
    assert one.metrics() == two.metrics()
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ['disk', 'here', 'one', 'two']


def test_predict__failure_of_one_process_leaves_nothing_behind(
    trained, data_root, process, tmp_path
):
    path = data_root / 'valid/images/batch_0/1.png'  # the second process reads it
    content = path.read_bytes()
    path.write_bytes(content[:60] + content[-12:])  # its start and end are in order
    arguments = (trained[0], next(trained[1].glob('best_*.pth')), '--data-root')
    arguments += (data_root, '--out', tmp_path / 'two')
    done = process('test.py', *arguments, two=True)
    assert done.returncode != 0
    assert done.stdout == '3 images of valid to predict\n'
    assert sorted(path.name for path in tmp_path.iterdir()) == ['data', 'here']
