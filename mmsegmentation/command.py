"""How every command speaks: one line for an error, a bar for slow work."""

import argparse
import io
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import current_thread, main_thread
from typing import NoReturn, TypeVar

T = TypeVar('T')
# A longer list of problems helps nobody; all problems of one kind look alike.
SHOWN = 40


class InputError(ValueError):
    """The user gave something that cannot be used.

    Printed as ``error: <thing>: <what is wrong>; <way out>``, with exit code 2.
    """

    def __init__(self, thing: object, what: str, way_out: str) -> None:
        super().__init__(' '.join(f'{thing}: {what}; {way_out}'.split()))
        self._parts = str(thing), what, way_out

    def __reduce__(self) -> tuple:
        # A worker process hands its error over as a pickle; by itself an exception is
        # built again from the message alone.
        return type(self), self._parts

    def renamed(self, old: str, new: str) -> 'InputError':
        """Return the same error with another name wherever ``old`` stands."""
        return type(self)(*(part.replace(old, new) for part in self._parts))


class _Defaults(argparse.ArgumentDefaultsHelpFormatter):
    def _get_help_string(self, action: argparse.Action) -> str | None:
        # Of an option that is required, a flag or a list, the default tells nothing.
        if action.default is None or action.default is False or action.default == []:
            return action.help
        if isinstance(action.default, list):
            return f'{action.help} (default: {" ".join(map(str, action.default))})'
        return super()._get_help_string(action)


class Parser(argparse.ArgumentParser):
    """An argument parser that shows defaults and speaks in one line."""

    def __init__(self, **kwargs) -> None:
        kwargs.setdefault('formatter_class', _Defaults)
        kwargs.setdefault('allow_abbrev', False)
        super().__init__(**kwargs)

    def error(self, message: str) -> NoReturn:
        message = ' '.join(message.split())
        self.exit(2, f'error: arguments: {message}; see {self.prog} --help\n')


def run_command(main: Callable[[Sequence[str] | None], int]) -> NoReturn:
    """Run ``main`` on the command line and leave with its exit code.

    Wrong input (``InputError``) leaves with 2 and one line on standard error, Ctrl-C
    with 130, SIGTERM with 143, and a terminal that is closed with 129; these three tidy
    up first, worker processes included.
    """
    _escape_unknown_characters()
    _name_user()
    try:
        with _left_in_order():
            _check_working_directory()
            code = main(None)
        sys.stdout.flush()
    except InputError as error:
        print(f'error: {error}', file=sys.stderr)
        code = 2
    except KeyboardInterrupt:
        print('interrupted', file=sys.stderr)
        code = 130
    except BrokenPipeError:
        # The reader (head, say) has left: nobody is there to be told.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    raise SystemExit(code)


def _escape_unknown_characters() -> None:
    """Print characters that the terminal's encoding lacks as escapes, not as errors."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors='backslashreplace')


def _name_user() -> None:
    """Set a name and a home for a user without passwd entry, as in containers.

    torch and other libraries need both.
    """
    try:
        import pwd

        pwd.getpwuid(os.getuid())
    except ImportError:  # Windows
        return
    except KeyError:
        os.environ.setdefault('USER', f'user{os.getuid()}')
        os.environ.setdefault('HOME', tempfile.gettempdir())


def _check_working_directory() -> None:
    try:
        Path.cwd()
    except FileNotFoundError:
        raise InputError(
            'working directory', 'is deleted', 'change into another folder'
        ) from None


@contextmanager
def _left_in_order() -> Iterator[None]:
    def leave(number: int, frame: object) -> NoReturn:
        raise SystemExit(128 + number)

    heard = [signal.SIGTERM]
    # nohup lets a command outlive its terminal.
    if hasattr(signal, 'SIGHUP') and signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:
        heard.append(signal.SIGHUP)
    before = {number: signal.signal(number, leave) for number in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def signals_later() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM wait until something is done as a whole."""
    if current_thread() is not main_thread():
        yield
        return
    came: list[int] = []
    numbers = signal.SIGINT, signal.SIGTERM
    before = [signal.signal(n, lambda number, _: came.append(number)) for n in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            # None is a handler that Python did not set.
            signal.signal(number, handler or signal.SIG_DFL)
    if came:
        signal.raise_signal(came[0])


def print_some(lines: Sequence[str]) -> None:
    """Print the first ``SHOWN`` of ``lines``, and how many more there are."""
    for line in lines[:SHOWN]:
        print(line)
    if len(lines) > SHOWN:
        print(f'... and {len(lines) - SHOWN} more')


def usable_cpus() -> int:
    """Return how many processor cores this process may use."""
    if hasattr(os, 'sched_getaffinity'):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def progress(
    items: Iterable[T], description: str, total: int | None = None
) -> Iterable[T]:
    """Pass ``items`` on under a progress bar; silent when not on a terminal."""
    if not sys.stderr.isatty():
        return items
    from rich.console import Console
    from rich.progress import track

    return track(items, description, total=total, console=Console(stderr=True))


@contextmanager
def waiting(description: str) -> Iterator[None]:
    """Show on a terminal that work of unknown length is in progress."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(f'{description} ...'):
        yield
