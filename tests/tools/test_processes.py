"""Two processes on the CPU train and predict as one does; they are forked.

Real ones, by torchrun, are those of test_launch.py.
"""

import os
import shutil

import numpy as np
import pytest
from torch.distributed import TCPStore

from mmsegmentation.files import read_json
from mmsegmentation.predictions import open_predictions
from mmsegmentation.processes import take_local_rank
from tests.forked import free_port, run_commands, torchrun_variables
from tests.tools.endings import difference, ending, scalars
from tests.tools.loss_by_hand import loss_by_hand
from tools import test, train

pytestmark = pytest.mark.slow
HALF = 'train_dataloader.batch_size=1'
MORE = """
default_hooks.update(logger=dict(interval=1))
model = dict(backbone=dict(drop_path_rate=0.3))
val_cfg = dict(type='LossValLoop')
"""
SHARDED = """
strategy = dict(
    type='FSDPStrategy',
    model_wrapper=dict(
        type='MMFullyShardedDataParallel', auto_wrap_policy=dict(type='wrap_blocks')
    ),
)
"""
KILLER = """
import os
import signal

from mmengine.hooks import Hook
from mmseg.registry import HOOKS


@HOOKS.register_module()
class Killer(Hook):
    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if os.environ.get('KILLED') == str(runner.iter + 1):
            os.kill(os.getpid(), signal.SIGKILL)
"""
KILLED = """
custom_imports = dict(imports=[*_base_.custom_imports.imports, 'killer'])
custom_hooks = [*_base_.custom_hooks, dict(type='Killer')]
"""
# Reordered weights begin with other random numbers, which FSDP's cannot.
PLAIN = MORE + "custom_hooks = [dict(type='BestMetricsHook')]\n"


@pytest.fixture
def two(tmp_path):
    """Run a command in two processes; both must end well unless told otherwise."""

    def call(main, *argv, well=True, launcher='pytorch', more=({}, {})):
        (tmp_path / 'said').mkdir(exist_ok=True)
        argv = (*argv, '--launcher', launcher)
        return start_two(tmp_path / 'said', main, argv, well, more)

    return call


def start_two(folder, main, argv, well=True, more=({}, {})):
    port = free_port()
    variables = [{**torchrun_variables(n, 2, port), **more[n]} for n in range(2)]
    left = run_commands(folder, main, argv, variables)
    if well:
        assert [process.code for process in left] == [0, 0], left
    return left


@pytest.fixture
def launched():
    """Return the variables of processes that one torchrun starts, again and again."""
    store = TCPStore('127.0.0.1', 0, is_master=True, wait_for_workers=False)
    # Not by return: the store has to outlive the test.
    yield {'MASTER_PORT': str(store.port), 'TORCHELASTIC_USE_AGENT_STORE': 'True'}


@pytest.mark.parametrize('command', [train, test])
@pytest.mark.parametrize('spelt', ['--local-rank=1', '--local_rank=1'])
def test_local_rank__of_torch_distributed_launch_is_taken(monkeypatch, command, spelt):
    monkeypatch.delenv('LOCAL_RANK', raising=False)
    args = command.parse_args(
        ['c.py', *(['c.pth', '--out=p'] * (command is test)), spelt]
    )
    take_local_rank(args)
    assert os.environ['LOCAL_RANK'] == '1'
    monkeypatch.setenv('LOCAL_RANK', '0')  # torchrun's own goes before it
    take_local_rank(args)
    assert os.environ['LOCAL_RANK'] == '0'


def losses(work_dir):
    return np.array([line['loss'] for line in scalars(work_dir) if 'loss' in line])


@pytest.fixture(scope='module')
def whole(shared_root, write_config, tmp_path_factory):
    """Return a config, and what one process made of it."""
    folder = tmp_path_factory.mktemp('whole')
    config = write_config(more=MORE, name='processes')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('RECYCLE_DATA', str(shared_root))
        train.main([config, '--work-dir', str(folder / 'run')])
    return config, folder / 'run'


@pytest.fixture(scope='module')
def halves(whole, shared_root, tmp_path_factory):
    """Return what two processes make of the same, in its place, and what they say."""
    config, one = whole
    folder = tmp_path_factory.mktemp('halves')
    shutil.copytree(one, folder / 'run')
    shutil.rmtree(next((folder / 'run').glob('*/vis_data')))
    argv = config, '--work-dir', folder / 'run', '--overwrite', '--launcher', 'pytorch'
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('RECYCLE_DATA', str(shared_root))
        left = start_two(folder, train.main, (*argv, '--cfg-options', HALF))
    return folder / 'run', left


def test_train__half_the_batch_each_is_the_same_training(whole, halves, shared_data):
    (config, one), (run, (main, other)) = whole, halves
    # They say it once, and overwrite once.
    words = [line.split()[0] for line in main.out.splitlines()]
    schedules = 'param_scheduler.0', 'param_scheduler.1'
    assert words == ['device:', 'log:', *schedules, 'best:']
    assert (other.out, other.err) == ('', '')
    found, wanted = losses(run), losses(one)
    assert len(wanted) == 4
    # Later, what was rounded otherwise grows.
    np.testing.assert_allclose(found[:2], wanted[:2], rtol=0, atol=1e-6)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-4)
    assert read_json(run / 'metrics.json')['images'] == 3
    # Of three images each process has two: one of them counts once all the same.
    line = [line for line in scalars(run) if 'val_loss' in line][-1]
    by_hand = loss_by_hand(config, run / 'iter_4.pth', None).sum()
    assert line['val_loss'] == pytest.approx(by_hand, rel=1e-4)


def test_train__killed_and_started_again_ends_the_same(
    halves, two, launched, shared_data, write_config, tmp_path, monkeypatch
):
    (tmp_path / 'killer.py').write_text(KILLER)
    monkeypatch.syspath_prepend(tmp_path)
    config = write_config(more=MORE + KILLED, name='killed')
    argv = config, '--work-dir', tmp_path / 'run', '--cfg-options', HALF
    killed = launched, {**launched, 'KILLED': '3'}
    main, other = two(train.main, *argv, more=killed, well=False)
    assert (main.code, other.code) == (1, -9)
    assert main.err.endswith('process 0: stops, because another one did\n')
    two(train.main, *argv, more=(launched, launched))
    assert difference(ending(halves[0]), ending(tmp_path / 'run')) is None


def test_train__refused_and_started_again_replaces_no_earlier_run(
    whole, two, launched, shared_data, tmp_path
):
    shutil.copytree(whole[1], tmp_path / 'run')
    kept = sorted(tmp_path.rglob('run/**/*.*'))
    argv = whole[0], '--work-dir', tmp_path / 'run', '--cfg-options', HALF
    for _ in range(2):
        left = two(train.main, *argv, more=(launched, launched), well=False)
        assert 2 in [process.code for process in left]
        assert any('holds an earlier run' in process.err for process in left)
    assert sorted(tmp_path.rglob('run/**/*.*')) == kept


def test_train__divided_by_fsdp_it_is_the_same_training(
    two, shared_data, write_config, tmp_path
):
    plain = write_config(more=PLAIN, name='plain')
    divided = write_config(more=PLAIN + SHARDED, name='divided')
    half = '--cfg-options', HALF
    for config, name in ((plain, 'plain'), (divided, 'divided')):
        two(train.main, config, '--work-dir', tmp_path / name, *half)
    found = losses(tmp_path / 'divided')
    np.testing.assert_allclose(found, losses(tmp_path / 'plain'), rtol=0, atol=1e-5)

    # Its checkpoints are those of any run: each kind goes on from the other's.
    for config, name in ((divided, 'plain'), (plain, 'divided')):
        work_dir = tmp_path / f'on_{name}'
        shutil.copytree(tmp_path / name, work_dir)
        resume = '--resume', work_dir / 'iter_2.pth'
        two(train.main, config, '--work-dir', work_dir, *resume, *half)
        np.testing.assert_allclose(losses(work_dir), found, rtol=0, atol=1e-5)
    checkpoint = next((tmp_path / 'divided').glob('best_*.pth'))
    test.main([divided, str(checkpoint), '--out', str(tmp_path / 'pred')])
    scores = read_json(tmp_path / 'divided/metrics.json')
    assert read_json(tmp_path / 'pred/metrics.json')['confusion'] == scores['confusion']


@pytest.mark.parametrize(
    ('more', 'message'),
    [
        ("strategy = dict(type='DeepSpeedStrategy')", 'is DeepSpeedStrategy'),
        (SHARDED, 'among processes, and there is one; start it with'),
        (f'{SHARDED}optim_wrapper = dict(accumulative_counts=2)', 'cannot be resumed'),
        (f"{SHARDED}custom_hooks = [dict(type='EMAHook')]", 'no whole weights for EMA'),
    ],
)
def test_train__strategy_that_cannot_be_is_refused(
    misuse, write_config, shared_data, tmp_path, more, message
):
    config = write_config(more=more, name='refused')
    misuse(train.main, message, config, '--work-dir', tmp_path / 'run')
    assert not (tmp_path / 'run').exists()


def slurm(rank, port):
    names = {'PROCID': rank, 'LOCALID': rank, 'NTASKS': 2, 'NODELIST': 'n[1-2]'}
    found = {f'SLURM_{name}': str(value) for name, value in names.items()}
    return {**found, 'SLURM_JOB_ID': str(port - 20000)}


def test_predict__is_the_same_as_of_one_process(trained, two, tmp_path, shared_data):
    config, work_dir = trained
    checkpoint = next(work_dir.glob('best_*.pth'))
    (tmp_path / 'disk').mkdir()
    (tmp_path / 'two').symlink_to(tmp_path / 'disk')
    test.main([config, str(checkpoint), '--out', str(tmp_path / 'one')])
    main, other = two(test.main, config, checkpoint, '--out', tmp_path / 'two')
    assert main.out.count('predictions: ') == 1
    assert other.out == ''
    one, both = (open_predictions(tmp_path / name) for name in ('one', 'two'))
    assert one.image_ids == both.image_ids
    for image_id in one.image_ids:
        assert (one.mask(image_id) == both.mask(image_id)).all()
        assert (one.confidence(image_id) == both.confidence(image_id)).all()
    assert one.metrics() == both.metrics()
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ['disk', 'one', 'said', 'two']


def test_predict__failure_of_one_process_leaves_nothing_behind(
    trained, data_root, two, tmp_path, monkeypatch
):
    path = data_root / 'valid/images/batch_0/1.png'  # the second process reads it
    content = path.read_bytes()
    path.write_bytes(content[:60] + content[-12:])  # its start and end are in order
    # As Slurm starts them, without torchrun.
    program = tmp_path / 'scontrol'
    program.write_text('#!/bin/sh\n[ "$3" = "n[1-2]" ] && echo 127.0.0.1\n')
    program.chmod(0o755)
    monkeypatch.setenv('PATH', os.pathsep.join([str(tmp_path), os.environ['PATH']]))
    for name in ('RANK', 'LOCAL_RANK', 'WORLD_SIZE', 'MASTER_ADDR', 'MASTER_PORT'):
        monkeypatch.delenv(name, raising=False)
    argv = (trained[0], next(trained[1].glob('best_*.pth')), '--data-root', data_root)
    main, other = two(test.main, *argv, '--out', tmp_path / 'two', well=False)
    assert 0 not in (main.code, other.code)
    assert main.out.splitlines()[1:] == ['3 images of valid to predict']
    assert main.err == 'process 0: stops, because another one did\n'
    assert '1.png' in other.err
    assert not (tmp_path / 'two').exists()
