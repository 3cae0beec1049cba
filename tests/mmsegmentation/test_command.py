"""How a command ends and what it says: codes, one line, a bar on terminals alone."""

import getpass
import io
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from mmsegmentation.command import (
    InputError,
    Parser,
    print_some,
    progress,
    run_command,
    usable_cpus,
    waiting,
)


def test_input_error__names_thing_fault_and_way_out_on_one_line():
    error = InputError('a.json', 'not JSON\n  (line 3)', 'repair\tit')
    assert str(error) == 'a.json: not JSON (line 3); repair it'


def test_input_error__comes_whole_out_of_a_worker_process():
    class Unpicklable:
        def __str__(self):
            return 'a.json'

    error = InputError(Unpicklable(), 'not JSON', 'repair it')
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is InputError
    assert str(again) == 'a.json: not JSON; repair it'


@pytest.mark.parametrize(('cores', 'wanted'), [({3}, 1), ({0, 2, 5}, 3)])
def test_usable_cpus__are_those_that_this_process_may_use(monkeypatch, cores, wanted):
    monkeypatch.setattr(os, 'cpu_count', lambda: 64)
    monkeypatch.setattr(os, 'sched_getaffinity', lambda _: cores, raising=False)
    assert usable_cpus() == wanted


@pytest.mark.parametrize(('count', 'wanted'), [(6, 6), (None, 1)])
def test_usable_cpus__are_all_where_no_choice_is_told(monkeypatch, count, wanted):
    monkeypatch.delattr(os, 'sched_getaffinity', raising=False)
    monkeypatch.setattr(os, 'cpu_count', lambda: count)
    assert usable_cpus() == wanted


@pytest.mark.parametrize('code', [0, 3])
def test_run_command__passes_the_code_on(run, code):
    assert run(lambda _: code) == (code, '', '')


def test_run_command__wrong_input_is_one_line_and_code_2(run):
    def main(_):
        print('read 3 images')
        raise InputError('b.png', 'no such file', 'check the path')

    wanted = 'error: b.png: no such file; check the path\n'
    assert run(main) == (2, 'read 3 images\n', wanted)


def test_run_command__deleted_working_directory_is_told(run, tmp_path, monkeypatch):
    gone = tmp_path / 'gone'
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    wanted = 'error: working directory: is deleted; change into another folder\n'
    assert run(lambda _: 0) == (2, '', wanted)


def test_run_command__ctrl_c_is_code_130(run):
    def main(_):
        raise KeyboardInterrupt

    assert run(main) == (130, '', 'interrupted\n')


def test_run_command__our_own_mistakes_keep_their_traceback():
    def main(_):
        raise ZeroDivisionError('a mistake')

    with pytest.raises(ZeroDivisionError, match='a mistake'):
        run_command(main)


@pytest.mark.parametrize('lines', [1, 100_000], ids=['at the end', 'meanwhile'])
@pytest.mark.parametrize('buffered', [True, False])
def test_run_command__reader_that_left_is_no_error(lines, buffered):
    script = f"""
from mmsegmentation.command import run_command
run_command(lambda _: print('line\\n' * {lines}) or 0)
"""
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, '-c', script],
        stdout=writer,
        stderr=subprocess.PIPE,
        env={**os.environ, 'PYTHONUNBUFFERED': '' if buffered else '1'},
        timeout=60,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, b'')


@pytest.fixture
def parse(run):
    def call(*argv):
        parser = Parser(prog='tools/x.py')
        parser.add_argument('--rounds', type=int, default=7, help='how often')
        return run(lambda args: parser.parse_args(args) and 0, *argv)

    return call


@pytest.mark.parametrize(
    'argv',
    [('--rounds', 'many'), ('--round', '3'), ('--no\nsuch',)],
    ids=['type', 'abbreviated', 'line break'],
)
def test_parser__misuse_is_one_line(parse, argv):
    code, out, err = parse(*argv)
    assert (code, out) == (2, '')
    assert err.startswith('error: arguments: ')
    assert err.endswith('; see tools/x.py --help\n')
    assert err.count('\n') == 1


def test_parser__help_shows_defaults(parse):
    code, out, _ = parse('--help')
    assert code == 0
    assert 'how often (default: 7)' in out


def test_parser__help_shows_no_default_that_tells_nothing(run):
    def main(args):
        parser = Parser(prog='tools/x.py')
        parser.add_argument('--out', required=True, help='result')
        parser.add_argument('--fast', action='store_true', help='hurry')
        parser.add_argument('--names', nargs='+', default=[], help='who')
        parser.add_argument('--by', nargs='+', default=['a', 'b'], help='what')
        parser.add_argument('--least', type=int, default=0, help='how few')
        return parser.parse_args(args) and 0

    out = run(main, '--help')[1]
    assert out.count('(default') == 2
    assert 'what (default: a b)' in out
    assert 'how few (default: 0)' in out


def test_print_some__counts_what_it_leaves_out(capsys):
    print_some([f'line {i}' for i in range(40)])
    assert len(capsys.readouterr().out.splitlines()) == 40
    print_some([f'line {i}' for i in range(189)])
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2:] == ['line 39', '... and 149 more']


class Screen(io.StringIO):
    """A standard error that may say it is a terminal."""

    def __init__(self, terminal):
        super().__init__()
        self.terminal = terminal

    def isatty(self):
        return self.terminal


@pytest.mark.parametrize('terminal', [True, False])
def test_progress__shows_a_bar_on_a_terminal_alone(monkeypatch, terminal):
    screen = Screen(terminal)
    monkeypatch.setattr(sys, 'stderr', screen)
    monkeypatch.setenv('TERM', 'xterm')
    items = progress((i for i in 'abc'), 'reading', 3)
    assert list(items) == ['a', 'b', 'c']
    assert ('reading' in screen.getvalue()) is terminal
    assert bool(screen.getvalue()) is terminal


@pytest.mark.parametrize('terminal', [True, False])
def test_waiting__is_shown_on_a_terminal_alone(monkeypatch, terminal):
    screen = Screen(terminal)
    monkeypatch.setattr(sys, 'stderr', screen)
    monkeypatch.setenv('TERM', 'xterm')
    with waiting('importing'):
        pass
    assert ('importing ...' in screen.getvalue()) is terminal
    assert bool(screen.getvalue()) is terminal


@pytest.mark.parametrize(
    ('encoding', 'shown'), [('utf-8', '사진'), ('ascii', '\\uc0ac\\uc9c4')]
)
def test_run_command__escapes_what_the_encoding_of_the_screen_lacks(
    monkeypatch, encoding, shown
):
    screen = io.BytesIO()
    monkeypatch.setattr(sys, 'stdout', io.TextIOWrapper(screen, encoding))
    with pytest.raises(SystemExit) as left:
        run_command(lambda _: print('사진'))
    assert not left.value.code
    assert screen.getvalue().decode(encoding) == f'{shown}\n'


def test_run_command__gives_a_user_without_a_passwd_entry_a_name_and_a_home(
    monkeypatch,
):
    for name in ('USER', 'LOGNAME', 'LNAME', 'USERNAME', 'HOME'):
        monkeypatch.setenv(name, '')  # so that what is set is taken back
        monkeypatch.delenv(name)
    monkeypatch.setattr(os, 'getuid', lambda: 987654)

    def ask(_):
        assert getpass.getuser() == 'user987654'
        assert Path.home().is_dir()
        return 0

    with pytest.raises(SystemExit) as left:
        run_command(ask)
    assert not left.value.code
