"""Runs that are killed, stopped, or find damage end as if nothing had been."""

import errno
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from mmsegmentation import sealed
from mmsegmentation.checkpoints import check_checkpoint
from mmsegmentation.engine.stop_hook import StopHook
from mmsegmentation.files import read_mask, write_mask
from mmsegmentation.models import FastEncoderDecoder
from mmsegmentation.resume import find_start, noted_checkpoint
from tests.tools.endings import difference, ending
from tools import train

ROOT = Path(__file__).resolve().parents[2]


class Killed(BaseException):
    pass


@pytest.fixture
def at_call(monkeypatch):
    """Act at the n-th call of a method of the model."""

    def set_up(method, number, act):
        step, calls = getattr(FastEncoderDecoder, method), []

        def call(self, *args, **kwargs):
            calls.append(1)
            if len(calls) == number:
                act()
            return step(self, *args, **kwargs)

        monkeypatch.setattr(FastEncoderDecoder, method, call)

    return set_up


def test_kill__with_two_workers_ends_as_the_run_without_any(
    trained, shared_data, run, tmp_path
):
    config, work_dir = trained[0], tmp_path / 'w'
    command = [sys.executable, ROOT / 'tools/train.py', config, '--work-dir', work_dir]
    command += ['--cfg-options', 'val_dataloader.num_workers=2']
    for key in ('num_workers=2', 'persistent_workers=True'):
        command.append(f'train_dataloader.{key}')
    process = subprocess.Popen(
        list(map(str, command)),
        env={**os.environ, 'OMP_NUM_THREADS': '1'},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    until = time.monotonic() + 120
    while not (work_dir / 'last_checkpoint').exists() and time.monotonic() < until:
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert run(train.main, config, '--work-dir', work_dir, '--resume')[0] == 0
    assert difference(ending(trained[1]), ending(work_dir)) is None


@pytest.mark.parametrize(
    ('number', 'method', 'call', 'step'),
    [(signal.SIGTERM, 'train_step', 3, 3), (signal.SIGINT, 'val_step', 1, 2)],
    ids=['SIGTERM', 'Ctrl-C'],
)
def test_signal__saves_and_says_how_to_go_on(
    trained, shared_data, run, at_call, tmp_path, number, method, call, step
):
    arguments = (trained[0], '--work-dir', tmp_path / 'w')
    before = signal.getsignal(number)
    at_call(method, call, lambda: os.kill(os.getpid(), number))
    code, _, err = run(train.main, *arguments)
    assert signal.getsignal(number) is before
    assert code == 128 + number
    way = 'go on with the same command and --resume'
    assert err.endswith(f'stopped after step {step}; {way}\n')
    assert (tmp_path / 'w/last_checkpoint').read_text().endswith(f'iter_{step}.pth')
    assert run(train.main, *arguments, '--resume')[0] == 0
    assert difference(ending(trained[1]), ending(tmp_path / 'w')) is None


def test_signal__told_twice_in_a_moment_is_one_and_later_ends_it_at_once(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, 'monotonic', lambda: now[0])
    stop = StopHook()
    for now[0] in (100.0, 100.5):
        stop._note(signal.SIGTERM, None)
    assert stop.signal == signal.SIGTERM
    now[0] = 101.5
    with pytest.raises(KeyboardInterrupt):
        stop._note(signal.SIGINT, None)


def test_kill__before_the_first_checkpoint_starts_anew(
    trained, shared_data, run, at_call, tmp_path
):
    def kill():
        raise Killed

    arguments = (trained[0], '--work-dir', tmp_path / 'w')
    at_call('train_step', 2, kill)
    with pytest.raises(Killed):
        run(train.main, *arguments)
    (tmp_path / 'w/.iter_2.pth.0123abcd').write_bytes(b'half of it')
    code, _, err = run(train.main, *arguments, '--resume')
    assert code == 0
    assert err.startswith(f'{tmp_path / "w"}: no checkpoint yet; starting anew\n')
    assert difference(ending(trained[1]), ending(tmp_path / 'w')) is None
    assert not list((tmp_path / 'w').glob('.*'))


def test_damage__is_named_and_the_run_goes_on_from_the_one_before(
    own_run, trained, shared_data, run
):
    config, work_dir = own_run
    path = work_dir / 'iter_4.pth'
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    path.write_bytes(damaged)
    code, _, err = run(train.main, config, '--work-dir', work_dir, '--resume')
    assert code == 0
    first = f'{path}: not a readable checkpoint (its bytes are not those that were '
    assert err.startswith(first + 'written); going on from iter_2.pth\n')
    assert difference(ending(trained[1]), ending(work_dir)) is None


def test_damage__of_any_kind_in_any_place_is_seen(own_run):
    _, work_dir = own_run
    path = work_dir / 'iter_4.pth'
    whole, draw = path.read_bytes(), random.Random(0)
    for number in range(100):
        place = draw.randrange(len(whole))
        damaged = bytearray(whole)
        if number % 2:
            damaged[place] ^= 1 << draw.randrange(8)
        else:
            del damaged[place:]
        path.write_bytes(damaged)
        found, lines = find_start(work_dir)
        assert found == work_dir / 'iter_2.pth'
        assert len(lines) == 1


def test_last_checkpoint__is_a_name_and_nothing_more(own_run, tmp_path):
    _, work_dir = own_run
    shutil.copy(work_dir / 'iter_2.pth', tmp_path / 'other.pth')
    newest = work_dir / 'iter_4.pth'
    for text in (b'', b'\0', b'\xff\x80', b'../other.pth', b'cos\nsystem\n(S"ls"\ntR.'):
        (work_dir / 'last_checkpoint').write_bytes(text)
        assert find_start(work_dir) == (newest, [])


def test_full_disk__stops_in_one_line_and_the_last_good_one_is_whole(
    trained, shared_data, run, misuse, monkeypatch, tmp_path
):
    sync, count = os.fsync, []

    def full(handle):
        count.append(handle)
        if len(count) > 10:
            raise OSError(errno.ENOSPC, 'No space left on device')
        sync(handle)

    arguments = (trained[0], '--work-dir', tmp_path / 'w')
    with monkeypatch.context() as patch:
        patch.setattr(os, 'fsync', full)
        code, _, err = run(train.main, *arguments)
    assert code == 2
    assert re.search(r'error: .*: cannot be written \(No space left', err)
    assert all(sealed.damage_of(p) is None for p in (tmp_path / 'w').glob('*.pth'))
    assert run(train.main, *arguments, '--resume')[0] == 0
    assert difference(ending(trained[1]), ending(tmp_path / 'w')) is None


def test_optimiser__of_another_kind_is_refused(own_run, shared_data, misuse):
    arguments = (own_run[0], '--work-dir', own_run[1], '--resume', '--cfg-options')
    other = ('optim_wrapper.optimizer.type=SGD', 'optim_wrapper.optimizer.lr=0.1')
    message = (
        r'iter_4\.pth: its optimizer is AdamW, and SGD cannot go on with its state'
    )
    misuse(train.main, message, *arguments, *other)


def test_seed__of_a_run_that_drew_it_is_kept(
    write_config, shared_data, run, at_call, tmp_path
):
    config = write_config(more='randomness = dict(seed=None)\n', name='unseeded')
    first = (config, '--work-dir', tmp_path / 'w', '--cfg-options')
    assert run(train.main, *first, 'train_cfg.max_iters=2')[0] == 0
    again = (config, '--work-dir', tmp_path / 'w', '--resume')
    assert run(train.main, *again)[0] == 0
    seeds = [
        torch.load(path, weights_only=False)['meta']['seed']
        for path in sorted((tmp_path / 'w').glob('iter_*.pth'))
    ]
    assert len(seeds) == 2
    assert seeds[0] == seeds[1]


def test_labels__that_changed_since_the_checkpoint_are_told(own_run, data_root, run):
    """The run of another data root with the same masks goes on without a word."""
    config, work_dir = own_run
    argv = (config, '--work-dir', work_dir, '--resume')
    longer = ('--cfg-options', 'train_cfg.max_iters=6')
    code, out, _ = run(train.main, *argv, *longer)
    assert code == 0
    assert 'training masks since the checkpoint' not in out
    path = data_root / 'train/mask/batch_0/1.png'
    write_mask(path, read_mask(path)[:, ::-1])
    longer = ('--cfg-options', 'train_cfg.max_iters=8')
    code, out, _ = run(train.main, *argv, *longer)
    assert code == 0
    assert (
        'training masks since the checkpoint: 1 changed, 0 new, 0 gone, '
        'train/mask/batch_0/1.png first; the run continues with the present masks'
    ) in out.splitlines()


def test_resume__finds_checkpoints_in_a_folder_of_their_own(
    write_config, shared_data, run, misuse, tmp_path
):
    apart = f'default_hooks = dict(checkpoint=dict(out_dir={str(tmp_path / "c")!r}))\n'
    config = write_config(more=apart, name='apart')
    common = (config, '--work-dir', tmp_path / 'w')
    options = ('--cfg-options', 'train_cfg.max_iters=2')
    code, out, err = run(train.main, *common, *options)
    assert code == 0, err
    folder = tmp_path / 'c/w'
    assert f'best: {folder / "best_mIoU_iter_2.pth"}' in out
    assert noted_checkpoint(tmp_path / 'w') == folder / 'iter_2.pth'
    misuse(train.main, 'w: holds an earlier run', *common)
    code, _, err = run(train.main, *common, '--resume')
    assert code == 0, err
    assert 'no checkpoint yet' not in err
    content = check_checkpoint(str(folder / 'iter_4.pth'))
    assert content['meta']['iter'] == 4
    code, _, err = run(train.main, *common, '--overwrite', *options)
    assert code == 0, err
    assert not (folder / 'iter_4.pth').exists()


def test_noted_checkpoint__of_a_copied_run_is_its_own(tmp_path):
    for place in ('a/w/now/vis_data', 'b/w'):
        (tmp_path / place).mkdir(parents=True)
    (tmp_path / 'a/w/iter_1.pth').touch()
    (tmp_path / 'b/w/last_checkpoint').write_text(str(tmp_path / 'a/w/iter_1.pth'))
    assert noted_checkpoint(tmp_path / 'b/w') == tmp_path / 'b/w/iter_1.pth'
