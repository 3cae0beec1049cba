"""Commands of this repository, run as one would type them, one or several at once."""

import ctypes
import os
import shlex
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Thread, current_thread, main_thread

from mmsegmentation.command import InputError, signals_later, usable_cpus

HOME = Path(__file__).resolve().parents[1]
LAST_LINES = 12
# What starts a script by each launcher, where --launch does not say.
PROGRAMS = {
    'none': 'python',
    'pytorch': 'torchrun --standalone --nproc-per-node gpu',
    'slurm': 'srun python',
    'mpi': 'mpirun python',
}
# Seconds until a command that was told to end is killed.
PATIENCE = 10
# Of linux/prctl.h.
SET_PARENT_DEATH_SIGNAL = 1


@dataclass(frozen=True)
class Call:
    """How commands are run.

    Attributes:
        program: What runs the script: words before it.
        codes: Exit codes that are no failure.
        keep_open: File descriptors that the command inherits, and with them the locks
            that they hold.
        tied: Whether they are told to end when this process is killed (on Linux).
    """

    program: tuple[str, ...] = ('python',)
    codes: tuple[int, ...] = (0,)
    keep_open: tuple[int, ...] = ()
    tied: bool = False


PLAIN = Call()


class Job:
    """A command under way: shows its output as it comes, and keeps the last lines.

    Args:
        command: Script and arguments.
        threads: How many threads its arithmetic may use; as in the environment if none.
        prefix: Printed before each line, to tell jobs apart that run together.
        call: How it is run.
    """

    def __init__(
        self, command: list[str], threads: int | None, prefix: str, call: Call = PLAIN
    ) -> None:
        self.command, self.prefix, self.call = command, prefix, call
        self.lines: deque[str] = deque(maxlen=200)
        first, *words = call.program
        program = [sys.executable if first == 'python' else first, *words]
        # What was installed with this Python is found, torchrun for one.
        places = str(Path(sys.executable).parent), os.environ.get('PATH', '')
        environment = {**os.environ, 'PATH': os.pathsep.join(places)}
        environment['PYTHONIOENCODING'] = 'utf-8'  # the output is read as UTF-8 below
        if threads:
            environment['OMP_NUM_THREADS'] = str(threads)
        try:
            self.process = subprocess.Popen(
                [*program, *command],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=environment,
                encoding='utf-8',
                errors='replace',
                pass_fds=call.keep_open,
                # A signal to a terminal's whole group reaches this process alone, which
                # passes it on: a training takes a second one for impatience.
                start_new_session=True,
                preexec_fn=_end_with(os.getpid()) if call.tied else None,
            )
        except OSError as error:
            raise InputError(
                first,
                f'cannot be run ({error.strerror})',
                'install it, or name another',
            ) from None
        self._listener = Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        assert self.process.stdout
        with self.process.stdout as pipe:
            for line in pipe:
                self.lines.append(line.rstrip())
                print(self.prefix + line.rstrip(), flush=True)

    def ended(self) -> bool:
        """Return whether it has come to its end.

        Raises:
            InputError: It failed.
        """
        code = self.process.poll()
        if code is None:
            return False
        self._listener.join(timeout=5)
        if code not in self.call.codes:
            raise self._failure(code)
        return True

    def _failure(self, code: int) -> InputError:
        script, lines = self.command[0], list(self.lines)[-LAST_LINES:]
        if self.prefix:
            # Between the lines of the other its own were lost to the eye.
            print(f'\n{script} ended with:', *lines, sep='\n  ')
        last = next((line for line in reversed(lines) if line.strip()), 'no output')
        return InputError(
            script, f'failed with exit code {code} ({last})', 'see its output above'
        )

    def stop(self) -> None:
        """End it, if it still runs."""
        self.process.terminate()  # a launcher ends its processes
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        # Its workers may hold the pipe a little longer.
        self._listener.join(timeout=10)


@contextmanager
def pausing(jobs: Mapping[str, Job]) -> Iterator[None]:
    """Let Ctrl-Z stop commands too, for as long as it stops this process."""

    def tell(number: int) -> None:
        for job in jobs.values():
            if job.process.poll() is None:
                os.killpg(job.process.pid, number)

    def pause(number: int, frame: object) -> None:
        tell(signal.SIGSTOP)
        os.kill(os.getpid(), signal.SIGSTOP)
        tell(signal.SIGCONT)

    if current_thread() is not main_thread() or not hasattr(signal, 'SIGTSTP'):
        yield
        return
    before = signal.signal(signal.SIGTSTP, pause)
    try:
        yield
    finally:
        signal.signal(signal.SIGTSTP, before)


def end_in_order(jobs: Iterable[Job]) -> None:
    """Tell commands to end, and give them all the time they need: a training saves.

    Raises:
        KeyboardInterrupt, SystemExit: Another signal came while they were waited for.
    """
    running = [job for job in jobs if job.process.poll() is None]
    for job in running:
        job.process.terminate()  # a launcher passes it on
    if running:
        names = ' and '.join(dict.fromkeys(job.command[0] for job in running))
        what = f'waiting for {names} to end; a second signal ends it at once'
        with suppress(OSError):  # the terminal may be gone
            print(what, file=sys.stderr, flush=True)
    for job in running:
        job.process.wait()


def _end_with(parent: int) -> Callable[[], None] | None:
    """Return what a new process calls to be told to end when its parent has died."""
    if sys.platform != 'linux':
        return None
    prctl = ctypes.CDLL(None).prctl

    def tie() -> None:
        prctl(SET_PARENT_DEATH_SIGNAL, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(128 + signal.SIGTERM)

    return tie


def program_of(launcher: str, launch: str | None) -> tuple[str, ...]:
    """Return what starts the scripts of the models.

    Args:
        launcher: Of ``PROGRAMS``.
        launch: Words in its place.

    Raises:
        InputError: They start nothing.
    """
    try:
        program = shlex.split(launch or PROGRAMS[launcher])
    except ValueError as error:
        raise InputError('--launch', str(error), 'close the quotes') from None
    if not program or (launch and launcher == 'none'):
        raise InputError('--launch', 'starts nothing', 'name the --launcher too')
    return tuple(program)


def shown(path: object) -> str:
    """Return an argument as one would type it here."""
    if not isinstance(path, Path):
        return str(path)
    near = os.path.relpath(path)
    return str(path.absolute()) if near.startswith('..') else near


def do(*command: object, call: Call = PLAIN) -> list[str]:
    """Run a command of this repository; return the last lines that it printed.

    Args:
        command: The script, within the repository, and its arguments.
        call: How it is run.

    Raises:
        InputError: It failed.
    """
    return do_together({'': list(command)}, call)['']


def do_together(
    commands: Mapping[str, Sequence[object]], call: Call = PLAIN
) -> dict[str, list[str]]:
    """Run commands side by side, showing their output; return it by name.

    Raises:
        InputError: One failed. The others are stopped.
    """
    typed = {
        name: [shown(HOME / str(command[0])), *map(shown, command[1:])]
        for name, command in commands.items()
    }
    for command in typed.values():
        print(f'\n$ {shlex.join([*call.program, *command])}', flush=True)
    threads = max(usable_cpus() // len(typed), 1) if len(typed) > 1 else None
    width = max(map(len, typed))
    start = time.monotonic()
    jobs: dict[str, Job] = {}
    try:
        for name, command in typed.items():
            prefix = f'{name:<{width}} | ' if name else ''
            with signals_later():  # none is started that would not be ended
                jobs[name] = Job(command, threads, prefix, call)
        left = list(jobs.values())
        with pausing(jobs):
            while left:
                left = [job for job in left if not job.ended()]
                time.sleep(0.05)
    except (KeyboardInterrupt, SystemExit):
        end_in_order(jobs.values())
        raise
    finally:
        for job in jobs.values():
            job.stop()
    print(f'  {time.monotonic() - start:.0f} s', flush=True)
    return {name: list(job.lines) for name, job in jobs.items()}
