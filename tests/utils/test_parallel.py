"""The same bytes from one process, from several, and from a real Dask cluster."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from pickle import loads
from threading import Thread

import numpy as np
import pytest

from mmsegmentation.command import InputError
from mmsegmentation.files import read_mask
from utils import cluster as cluster_module
from utils import eda, label_noise, parallel, prepare_data, submission
from utils.draw_data import main as draw
from utils.parallel import Workers

# pycocotools' own arrays do not know NumPy 2's copy keyword.
pytestmark = pytest.mark.filterwarnings(
    'ignore:__array__ implementation:DeprecationWarning'
)
distributed = pytest.importorskip('distributed', reason='needs distributed')
ROOT = Path(__file__).resolve().parents[2]


class Processes:
    """The processes of one cluster, on this machine alone."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / 'scheduler.json'
        self.started: list[subprocess.Popen] = []

    def start(self, kind: str, *argv: str) -> subprocess.Popen:
        command = [sys.executable, '-m', 'dask', kind, '--host', '127.0.0.1', *argv]
        command += ['--scheduler-file', str(self.file), '--no-dashboard']
        command += ['--dashboard-address', '127.0.0.1:0']
        log = (self.folder / f'{kind}{len(self.started)}.log').open('w')
        # In a folder of their own: they find no relative path.
        process = subprocess.Popen(
            command,
            cwd=self.folder,
            stdout=log,
            stderr=log,
            env={**os.environ, 'OMP_NUM_THREADS': '1'},
        )
        log.close()
        self.started.append(process)
        return process

    def start_scheduler(self) -> str:
        """Return its address."""
        self.start('scheduler', '--port', '0')
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            try:
                return json.loads(self.file.read_text())['address']
            except (FileNotFoundError, json.JSONDecodeError):
                time.sleep(0.1)
        raise TimeoutError((self.folder / 'scheduler0.log').read_text())

    def start_workers(self, address: str, count: int) -> None:
        """Return when all are there."""
        for _ in range(count):
            where = ('--local-directory', str(self.folder))
            self.start('worker', '--no-nanny', '--nthreads', '1', *where)
        with cluster_module.open_client(address) as client:
            client.wait_for_workers(count, timeout=120)

    def end(self) -> None:
        for process in self.started:
            process.kill()
            process.wait()


@pytest.fixture(scope='module')
def scheduler(tmp_path_factory) -> Iterator[tuple[Processes, str]]:
    """Give a scheduler, with its address."""
    processes = Processes(tmp_path_factory.mktemp('cluster'))
    try:
        yield processes, processes.start_scheduler()
    finally:
        processes.end()


def test_scheduler_without_workers__is_one_line(scheduler, raw, misuse):
    # First of all: the others' workers stay.
    address = scheduler[1]
    prepare = (raw.folder, '--out', raw.out, '--cluster', address)
    message = f'--cluster {address}: has no workers; start dask worker first'
    misuse(prepare_data.main, message, *prepare)
    assert not raw.out.exists()


@pytest.fixture(scope='module')
def address(scheduler) -> str:
    """Give the address of a scheduler with two workers."""
    processes, address = scheduler
    processes.start_workers(address, 2)
    return address


@pytest.fixture(scope='module')
def drawn(tmp_path_factory) -> Path:
    """Give a raw folder of drawn images."""
    folder = tmp_path_factory.mktemp('drawn') / 'raw'
    counts = ('--train', '12', '--valid', '6', '--test', '6')
    draw([str(folder), '--size', '64', *counts])
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob('*'))
        if path.is_file()
    }


@pytest.fixture
def same_everywhere(run, tmp_path, address) -> Callable[..., dict[str, bytes]]:
    """Run a command alone, in two processes, on the cluster: all bytes are equal."""

    def call(main: Callable, *argv: object, out: str = 'out') -> dict[str, bytes]:
        made = []
        for number, where in enumerate(
            [('--jobs', 1), ('--jobs', 2), ('--cluster', address)]
        ):
            target = tmp_path / out
            code, _, err = run(main, *argv, '--out', target, *where)
            assert (code, err) == (0, ''), where
            made.append(contents(tmp_path) if target.is_file() else contents(target))
            target.rename(tmp_path.parent / f'{tmp_path.name}.{number}')
        assert made[0]
        assert made[0] == made[1] == made[2]
        return made[0]

    return call


def test_prepare_data__is_the_same_everywhere(same_everywhere, drawn):
    made = same_everywhere(prepare_data.main, drawn)
    assert len([name for name in made if name.startswith('train/mask/')]) == 12


def test_submission__is_the_same_everywhere(same_everywhere, make_predictions):
    rng = np.random.default_rng(0)
    maps = {f'b {i}/한.jpg': rng.integers(0, 11, (8, 8), np.uint8) for i in range(9)}
    pred = make_predictions('pred', maps)
    small = ('--size', 4, 4)
    made = same_everywhere(submission.main, 'write', pred, *small, out='s.csv')
    assert made['s.csv'].count(b'\n') == 10


@pytest.fixture
def data_root(run, drawn, tmp_path) -> Path:
    root = tmp_path / 'root'
    assert run(prepare_data.main, drawn, '--out', root, '--jobs', 1)[0] == 0
    return root


def test_eda__is_the_same_everywhere(same_everywhere, data_root, drawn):
    made = same_everywhere(eda.main, data_root, '--raw', drawn)
    assert 'index.html' in made


def test_label_noise__is_the_same_everywhere(
    same_everywhere, data_root, drawn, make_predictions
):
    rng = np.random.default_rng(0)
    masks = data_root / 'valid/mask'
    maps = {}
    for path in sorted(masks.rglob('*.png')):
        label_map = np.array(read_mask(path))
        label_map[:20, :20] = rng.integers(1, 11)
        maps[path.relative_to(masks).with_suffix('.jpg').as_posix()] = label_map
    pred = make_predictions('pred', maps, split='valid')
    options = ('--data-root', data_root, '--json', drawn / 'val.json')
    made = same_everywhere(label_noise.main, pred, *options)
    assert 'findings.json' in made


def test_command_with_relative_paths__is_the_same_everywhere(drawn, address, tmp_path):
    (tmp_path / 'raw').symlink_to(drawn)
    made = []
    for name, where in (('one', ['--jobs', '1']), ('two', ['--cluster', address])):
        command = [sys.executable, str(ROOT / 'utils/prepare_data.py'), 'raw']
        done = subprocess.run(
            [*command, '--out', name, *where],
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        assert (done.returncode, done.stderr) == (0, '')
        made.append(contents(tmp_path / name))
    assert made[0] == made[1]


def test_map__keeps_the_order_beyond_one_slice(address, monkeypatch):
    monkeypatch.setattr(cluster_module, 'SLICE', 100)
    tasks = [(number, 7) for number in range(250)]
    found = list(Workers(cluster=address).map(divmod, tasks, 'divide'))
    assert found == [divmod(*task) for task in tasks]
    assert list(Workers(cluster=address).map(divmod, [], 'divide')) == []


@pytest.mark.parametrize('threads', [False, True])
def test_map__keeps_the_order_here(threads, monkeypatch):
    monkeypatch.setattr(parallel, 'SLICE', 20)
    tasks = [(number, 7) for number in range(50)]
    found = list(Workers(2, threads=threads).map(divmod, tasks, 'divide'))
    assert found == [divmod(*task) for task in tasks]


def test_map__does_not_run_ahead_of_who_takes_its_results(monkeypatch):
    monkeypatch.setattr(parallel, 'SLICE', 20)
    done: list[int] = []
    tasks = [(number,) for number in range(200)]
    results = Workers(2, threads=True).map(done.append, tasks, 'append')
    next(results)
    time.sleep(0.2)
    assert len(done) <= 20
    assert len(list(results)) == 199
    assert sorted(done) == list(range(200))


def test_map__error_of_a_worker_arrives_as_itself(address, tmp_path):
    path = tmp_path / 'none.png'
    for workers in (Workers(2), Workers(cluster=address)):
        with pytest.raises(InputError, match=r'none\.png: no such file; check the'):
            list(workers.map(read_mask, [(path,)], 'read'))


def test_command__error_of_a_worker_is_one_line(raw, misuse, monkeypatch, address):
    # Gone between check and painting, so that the worker is the first to see it.
    monkeypatch.setattr(prepare_data, 'check_images', lambda *_: None)
    (raw.folder / 'b/1.jpg').unlink()
    prepare = (raw.folder, '--out', raw.out, '--cluster', address)
    misuse(prepare_data.main, r'b/1\.jpg: no such file', *prepare)
    assert list(raw.out.parent.iterdir()) == []


@pytest.mark.parametrize('address', ['tcp://127.0.0.1:1', 'nonsense', 'x://y:1', ''])
def test_no_scheduler__is_one_line(raw, misuse, monkeypatch, address):
    monkeypatch.setattr(cluster_module, 'PATIENCE', 1)
    prepare = (raw.folder, '--out', raw.out, '--cluster', address)
    misuse(prepare_data.main, 'no scheduler answers', *prepare)
    assert not raw.out.exists()


def test_ended_process__is_one_line():
    with pytest.raises(InputError, match='--jobs 2: one of the processes was ended'):
        list(Workers(2).map(os._exit, [(3,), (3,)], 'end'))


TOLD = """
import os, sys, time
from mmsegmentation.command import run_command
from utils.parallel import Workers

def work(folder):
    open(f'{folder}/{os.getpid()}', 'w').close()
    time.sleep(100)

run_command(lambda _: list(Workers(2).map(work, [sys.argv[1:]] * 4, 'sleep')))
"""


def test_told_to_end__it_ends_its_processes(tmp_path):
    process = subprocess.Popen([sys.executable, '-c', TOLD, str(tmp_path)], cwd=ROOT)
    deadline = time.monotonic() + 60
    while len(list(tmp_path.iterdir())) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    process.terminate()
    assert process.wait(30) == 128 + signal.SIGTERM
    started = [int(path.name) for path in tmp_path.iterdir()]
    assert len(started) == 2
    for number in started:
        while Path(f'/proc/{number}').exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        with pytest.raises(ProcessLookupError):
            os.kill(number, 0)


def kill_when_begun(process: subprocess.Popen, mark: Path) -> str:
    """Return a task for the shell; the process is killed when it runs first."""

    def watch() -> None:
        deadline = time.monotonic() + 120
        while not mark.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        process.kill()

    Thread(target=watch, daemon=True).start()
    return f'touch {shlex.quote(str(mark))}; sleep 0.1'


def test_map__ended_worker_is_replaced_by_the_other(tmp_path):
    processes = Processes(tmp_path)
    try:
        address = processes.start_scheduler()
        processes.start_workers(address, 2)
        begin = kill_when_begun(processes.started[1], tmp_path / 'begun')
        found = Workers(cluster=address).map(os.system, [(begin,)] * 30, 'sleep')
        assert list(found) == [0] * 30
    finally:
        processes.end()


def test_map__a_thread_of_dask_that_comes_late_is_started_again(address, monkeypatch):
    start, starts = distributed.utils.LoopRunner.start, []

    def late(self):
        starts.append(self)
        if len(starts) < 3:
            raise AssertionError
        start(self)

    monkeypatch.setattr(distributed.utils.LoopRunner, 'start', late)
    assert list(Workers(cluster=address).map(abs, [(-1,)], 'abs')) == [1]


def test_map__a_large_function_is_sent_in_silence(address, capfd):
    # The warning that Dask gives would be an error here, and a line of its own there.
    large = partial(bytes.__contains__, bytes(16 << 20))
    assert list(Workers(cluster=address).map(large, [(0,), (1,)], 'in')) == [
        True,
        False,
    ]
    assert capfd.readouterr().err == ''


def test_map__scheduler_that_ends_while_it_is_asked_is_one_line(address, monkeypatch):
    def end(*_):
        raise distributed.comm.CommClosedError

    monkeypatch.setattr(distributed.Client, 'run', end)
    with pytest.raises(InputError, match='the scheduler or a worker ended'):
        list(Workers(cluster=address).map(abs, [(-1,)], 'abs'))


def test_map__workers_without_this_project_are_one_line(tmp_path, monkeypatch):
    processes = Processes(tmp_path)
    forget = 'import sys; sys.modules["utils"] = None'
    (tmp_path / 'sitecustomize.py').write_text(forget)
    monkeypatch.setenv('PYTHONPATH', str(tmp_path))
    try:
        address = processes.start_scheduler()
        processes.start_workers(address, 1)
        with pytest.raises(
            InputError, match=r'a worker lacks this project .*; install'
        ):
            list(Workers(cluster=address).map(abs, [(-1,)], 'abs'))
    finally:
        processes.end()


def test_map__ended_scheduler_is_one_line(tmp_path, capfd):
    processes = Processes(tmp_path)
    try:
        address = processes.start_scheduler()
        processes.start_workers(address, 2)
        begin = kill_when_begun(processes.started[0], tmp_path / 'begun')
        with pytest.raises(InputError, match='the scheduler or a worker ended'):
            list(Workers(cluster=address).map(os.system, [(begin,)] * 60, 'sleep'))
    finally:
        processes.end()
    assert capfd.readouterr().err == ''


@dataclass(frozen=True)
class Nested:
    """Holds a path, as an opened prediction folder does."""

    folder: Path


def test_pack__makes_paths_absolute_wherever_they_are(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    here, there = Path('a/b.png'), Path('/c/d.png')
    task = (here, [there, {'x': Nested(here)}], 'a/b.png')
    packed = cluster_module.pack(task)
    assert loads(packed) == (
        tmp_path / here,
        [there, {'x': Nested(tmp_path / here)}],
        'a/b.png',
    )
    function = loads(cluster_module.pack(partial(Path.joinpath, here)))
    assert function('c') == tmp_path / here / 'c'
