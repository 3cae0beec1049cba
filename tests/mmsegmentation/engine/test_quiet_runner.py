"""The screen belongs to the run: no library speaks on it."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest
import torch

from mmsegmentation.command import InputError
from mmsegmentation.engine import QuietRunner


def test_runner__keeps_the_notice_of_a_load_off_the_screen(train, capsys):
    train([], [1])
    capsys.readouterr()
    before = sys.stdout
    runner = train([], [1, 2], end=2, resume=True, runner_type=QuietRunner)
    assert runner.iter == 2
    assert 'Loads checkpoint' not in capsys.readouterr().out
    assert sys.stdout is before


@pytest.mark.parametrize('resume', [False, True])
def test_runner__gives_the_screen_back_after_a_load_that_fails(train, tmp_path, resume):
    before = sys.stdout
    start = {'load_from': str(tmp_path / 'none.pth'), 'resume': resume}
    with pytest.raises(InputError, match=r'none\.pth: no such checkpoint'):
        train([], [1], runner_type=QuietRunner, **start)
    assert sys.stdout is before


class Smuggler:
    """Makes a file when it is unpickled by a reader that trusts its file."""

    def __init__(self, witness):
        self.witness = witness

    def __reduce__(self):
        return Path.touch, (self.witness,)


def test_runner__reads_no_more_than_data(train, tmp_path):
    path, witness = tmp_path / 'smuggled.pth', tmp_path / 'witness'
    torch.save({'state_dict': {}, 'meta': Smuggler(witness)}, path)
    message = r'smuggled\.pth: holds more than weights and numbers, and is not run'
    with pytest.raises(InputError, match=message):
        train([], [1], runner_type=QuietRunner, load_from=str(path))
    assert not witness.exists()


class Told:
    """Sends SIGTERM to who reads a sample, from a third process; gives its number."""

    def __len__(self):
        return 2

    def __getitem__(self, index):
        reader = os.getpid()
        if (child := os.fork()) == 0:
            os.kill(reader, signal.SIGTERM)
            os._exit(0)
        os.waitpid(child, 0)
        return reader


def test_worker__leaves_sigterm_to_its_run_and_obeys_it():
    loader = QuietRunner.build_dataloader(
        dict(
            dataset=Told(),
            batch_size=1,
            num_workers=1,
            persistent_workers=True,
            sampler=dict(type='DefaultSampler', shuffle=False),
            collate_fn=dict(type='pseudo_collate'),
        )
    )
    batches = iter(loader)
    (worker,), (again,) = next(batches), next(batches)
    assert worker == again != os.getpid()
    (process,) = batches._workers
    start = time.monotonic()
    process.terminate()
    process.join(10)
    assert time.monotonic() - start < 5
    assert process.exitcode == 0
