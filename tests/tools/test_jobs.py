"""Commands that a command runs: shown as typed, side by side, stopped together."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mmsegmentation.command import InputError
from tools import jobs
from tools.jobs import Call, do, do_together


def test_do__prints_the_command_as_typed_and_what_it_says(
    script, capsys, tmp_path, monkeypatch
):
    name = script('utils/say.py', 'import sys; print(*sys.argv[1:])')
    monkeypatch.chdir(tmp_path)
    assert do(name, tmp_path / 'a b', '--seed', 1) == ['a b --seed 1']
    printed = capsys.readouterr().out.split('\n')
    assert printed[1] == "$ python home/utils/say.py 'a b' --seed 1"
    assert printed[2] == 'a b --seed 1'
    assert printed[3].endswith(' s')


def test_do__alone_leaves_the_environment_as_it_is(script, monkeypatch):
    monkeypatch.setenv('OMP_NUM_THREADS', '7')
    name = script('say.py', 'import os; print(os.environ["OMP_NUM_THREADS"])')
    assert do(name) == ['7']


def test_do__takes_exit_codes_that_mean_something(script):
    name = script('no.py', 'raise SystemExit(1)')
    assert do(name, call=Call(codes=(0, 1))) == []
    with pytest.raises(InputError, match=r'exit code 1 \(no output\)'):
        do(name)


def test_do__another_program_runs_the_script(script, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = script('say.py', 'import os, sys; print(os.environ["BY"], sys.argv[1])')
    call = Call(program=('env', 'BY=a launcher', 'python'))
    assert do(name, 'x', call=call) == ['a launcher x']
    typed = "$ env 'BY=a launcher' python home/say.py x"
    assert typed in capsys.readouterr().out.splitlines()


def test_do__program_that_is_not_there_is_one_line(script):
    with pytest.raises(InputError, match=r'no-such-launcher: cannot be run'):
        do(script('say.py', ''), call=Call(program=('no-such-launcher',)))


def test_do__command_inherits_what_is_kept_open(script, tmp_path):
    text = 'import os, sys; os.write(int(sys.argv[1]), b"written")'
    with (tmp_path / 'file').open('w') as file:
        number = file.fileno()
        do(script('say.py', text), number, call=Call(keep_open=(number,)))
        with pytest.raises(InputError, match='exit code 1'):
            do(script('say.py', text), number)
    assert (tmp_path / 'file').read_text() == 'written'


def test_do_together__tells_the_two_apart_and_shares_the_cores(
    script, capsys, monkeypatch
):
    monkeypatch.setattr(jobs, 'usable_cpus', lambda: 6)
    name = script('say.py', 'import os; print(os.environ["OMP_NUM_THREADS"])')
    lines = do_together({'One': [name], 'Three': [name]})
    assert lines == {'One': ['3'], 'Three': ['3']}
    printed = capsys.readouterr().out
    assert 'One   | 3\n' in printed
    assert 'Three | 3\n' in printed


def test_failed_step__stops_the_other_and_names_its_last_line(script, capsys):
    bad = script('bad.py', 'import sys; print("first"); sys.exit("no such thing")')
    slow = script('slow.py', 'import time; time.sleep(60)')
    start = time.monotonic()
    with pytest.raises(InputError, match=r'code 1 \(no such thing\); see'):
        do_together({'Slow': [slow], 'Bad': [bad]})
    assert time.monotonic() - start < 30
    assert 'bad.py ended with:\n  first\n  no such thing\n' in capsys.readouterr().out


def test_stop__gives_a_launcher_time_to_end_its_processes(script, tmp_path):
    """What is told to end may tidy up."""
    text = f"""
import pathlib, signal, sys, time
def leave(number, frame):
    pathlib.Path({str(tmp_path / 'tidied')!r}).touch()
    sys.exit(1)
signal.signal(signal.SIGTERM, leave)
print('ready', flush=True)
time.sleep(60)
"""
    path = tmp_path / 'home' / script('slow.py', text)
    job = jobs.Job([os.fspath(path)], None, '')
    while not job.lines:
        time.sleep(0.01)
    job.stop()
    assert (tmp_path / 'tidied').exists()


# A training: told to end, it saves, which takes longer than others are given to end.
SAVES = """
import os, signal, sys, time
from pathlib import Path

came, place = [], Path(sys.argv[1])
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, lambda number, frame: came.append(number))
place.write_text(str(os.getpid()))
while not came:
    time.sleep(0.01)
until = time.monotonic() + float(sys.argv[2])
while time.monotonic() < until and len(came) < 2:
    time.sleep(0.01)
place.write_text(f'told {len(came)} times')
"""
RUNS = """
import sys
from pathlib import Path
from mmsegmentation.command import run_command
from tools import jobs

jobs.HOME, jobs.PATIENCE = Path(sys.argv[1]), 0.1
run_command(lambda _: jobs.do('save.py', *sys.argv[2:]))
"""


@pytest.fixture
def saving(script, tmp_path):
    """Start a command that runs another, as the first of its group, as shells do."""
    script('save.py', SAVES)
    place = tmp_path / 'place'

    def start(seconds):
        process = subprocess.Popen(
            [sys.executable, '-c', RUNS, tmp_path / 'home', place, str(seconds)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        deadline = time.monotonic() + 30
        while not (place.exists() and place.read_text()):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        return process, place

    return start


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal__to_all_is_told_once_and_what_saves_is_waited_for(saving, number):
    process, place = saving(0.5)
    os.killpg(process.pid, number)
    err = process.communicate(timeout=30)[1]
    assert process.returncode == 128 + number
    assert place.read_text() == 'told 1 times'
    assert err.startswith('waiting for ')
    assert 'save.py to end; a second signal ends it at once\n' in err


def test_signal__a_second_one_ends_it_at_once(saving):
    process, place = saving(60)
    os.killpg(process.pid, signal.SIGINT)
    assert process.stderr.readline().startswith('waiting for')
    os.killpg(process.pid, signal.SIGINT)
    assert process.communicate(timeout=30)[1] == 'interrupted\n'
    assert process.returncode == 130
    assert place.read_text().isdecimal() or place.read_text() == 'told 2 times'


def state_of(number):
    """Return the state of a process, as Linux tells it: T where it is stopped."""
    return Path(f'/proc/{number}/stat').read_text().rpartition(') ')[2][0]


@pytest.mark.skipif(not Path('/proc/self/stat').exists(), reason='needs /proc')
def test_signal__ctrl_z_stops_all_and_all_go_on(saving):
    process, place = saving(0)
    both = process.pid, int(place.read_text())
    for number, stopped in ((signal.SIGTSTP, True), (signal.SIGCONT, False)):
        os.killpg(process.pid, number)
        deadline = time.monotonic() + 30
        while any((state_of(each) == 'T') != stopped for each in both):
            assert time.monotonic() < deadline
            time.sleep(0.01)
    os.killpg(process.pid, signal.SIGTERM)
    process.communicate(timeout=30)
    assert place.read_text() == 'told 1 times'


def test_do__a_signal_while_a_command_is_started_ends_it(script, monkeypatch):
    start, started = subprocess.Popen, []

    def interrupted(*args, **kwargs):
        started.append(start(*args, **kwargs))
        signal.raise_signal(signal.SIGTERM)
        return started[-1]

    def leave(number, frame):
        raise SystemExit(128 + number)

    monkeypatch.setattr(subprocess, 'Popen', interrupted)
    before = signal.signal(signal.SIGTERM, leave)
    try:
        with pytest.raises(SystemExit):
            do(script('wait.py', 'import time; time.sleep(100)'))
    finally:
        signal.signal(signal.SIGTERM, before)
        ended = started[0].poll()
        started[0].kill()
    assert ended == -signal.SIGTERM
