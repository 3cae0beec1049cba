"""A data root that is cut off, or cannot be written, never looks whole."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from utils.draw_data import main as draw
from utils.prepare_data import main

COMMAND = Path(__file__).resolve().parents[2] / 'utils/prepare_data.py'


@pytest.fixture(scope='module')
def drawn(tmp_path_factory) -> Path:
    """Give a raw folder of 120 drawn images."""
    folder = tmp_path_factory.mktemp('drawn') / 'raw 한'
    counts = ('--train', '60', '--valid', '30', '--test', '30')
    draw([str(folder), '--size', '64', *counts])
    return folder


def start(drawn: Path, out: Path, jobs: int) -> subprocess.Popen:
    out.parent.mkdir(exist_ok=True)
    return subprocess.Popen(
        [sys.executable, COMMAND, drawn, '--out', out, '--jobs', str(jobs)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_for_masks(process: subprocess.Popen, folder: Path) -> None:
    while process.poll() is None:
        if any(folder.glob('.root.*/train/mask/*/*.png')):
            return
        time.sleep(0.001)


@pytest.mark.parametrize('jobs', [1, 2])
def test_full_disk__is_one_line_and_leaves_nothing(misuse, drawn, mount, jobs):
    disk = mount('size=200k')
    out = disk / 'root'
    misuse(main, 'No space left', drawn, '--out', out, '--jobs', jobs)
    assert list(disk.iterdir()) == []


@pytest.mark.parametrize('jobs', [1, 2])
def test_interrupted__ends_in_one_line_and_leaves_nothing(drawn, tmp_path, jobs):
    out = tmp_path / 'out/root'
    process = start(drawn, out, jobs)
    wait_for_masks(process, out.parent)
    # As a terminal does: to all processes of the command.
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (130, 'interrupted\n')
    assert list(out.parent.iterdir()) == []


@pytest.mark.parametrize('jobs', [1, 2])
def test_killed__nothing_stands_at_its_place(run, drawn, tmp_path, jobs):
    out = tmp_path / 'out/root'
    process = start(drawn, out, jobs)
    wait_for_masks(process, out.parent)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=120)
    assert not out.exists()
    # What it left hinders no later run.
    assert run(main, drawn, '--out', out, '--jobs', 1)[0] == 0
    assert (out / 'dataset.json').is_file()
