"""The same work for each image: over the cores of this machine, or a Dask cluster."""

import argparse
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from mmsegmentation.command import InputError, progress, usable_cpus

# Beyond it, a mistyped number would start processes until memory is full.
MOST_JOBS = 1024
# Seconds until a scheduler that does not answer is given up.
PATIENCE = 20
SLICE = 4096


def add_worker_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--jobs`` and ``--cluster``; ``Workers.of`` reads them."""
    add = parser.add_argument
    add('--jobs', type=_jobs, default=usable_cpus(), help='processes')
    text = (
        'Dask scheduler whose workers do it instead of --jobs, such as '
        'tcp://host:8786; they must see the same files'
    )
    add('--cluster', metavar='ADDRESS', help=text)


def _jobs(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MOST_JOBS:
        raise argparse.ArgumentTypeError(f'is {text}, give 1 to {MOST_JOBS}')
    return int(text)


@dataclass(frozen=True)
class Workers:
    """Who does the work.

    Attributes:
        jobs: Processes on this machine.
        cluster: Address of a Dask scheduler, whose workers do it instead.
        threads: Threads instead of processes: for work that lets go of the interpreter
            nearly all the time, such as decoding, and so needs no processes to start.
    """

    jobs: int = 1
    cluster: str | None = None
    threads: bool = False

    @classmethod
    def of(cls, args: argparse.Namespace, *, threads: bool = False) -> 'Workers':
        """Return what ``add_worker_options`` let the user choose."""
        return cls(args.jobs, args.cluster, threads)

    def map(
        self, function: Callable, tasks: Sequence[tuple], name: str
    ) -> Iterator[Any]:
        """Yield ``function(*task)`` of every task, in order, under a progress bar.

        Raises:
            InputError: The cluster cannot be reached, or what ``function`` raises.
        """
        calls = self._on_cluster if self.cluster else self._here
        yield from progress(calls(function, tasks), name, total=len(tasks))

    def _here(self, function: Callable, tasks: Sequence[tuple]) -> Iterator[Any]:
        from joblib import Parallel, delayed

        run = Parallel(
            n_jobs=max(1, min(self.jobs, len(tasks))),
            return_as='generator',
            prefer='threads' if self.threads else None,
        )
        yield from run(delayed(function)(*task) for task in tasks)

    def _on_cluster(self, function: Callable, tasks: Sequence[tuple]) -> Iterator[Any]:
        from joblib import Parallel, delayed

        with _dask(str(self.cluster)):
            # joblib's Dask backend returns lists alone: by slices, so that the results
            # of millions of images are never all in memory.
            for start in range(0, len(tasks), SLICE):
                part = tasks[start : start + SLICE]
                yield from Parallel(n_jobs=-1)(delayed(function)(*t) for t in part)


@contextmanager
def _dask(address: str) -> Iterator[None]:
    """Make joblib's own Dask backend the one in use, connected to ``address``."""
    from joblib import parallel_config

    try:
        from distributed import Client
    except ImportError:
        raise InputError(
            '--cluster', 'Dask is not installed', 'pip install distributed'
        ) from None
    try:
        client = Client(address, timeout=PATIENCE, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        raise InputError(
            f'--cluster {address}', f'no scheduler answers ({error})', 'start it first'
        ) from None
    with client:
        if not client.scheduler_info()['workers']:
            raise InputError(
                f'--cluster {address}', 'has no workers', 'start dask worker first'
            )
        with parallel_config(backend='dask', client=client):
            yield


ALONE = Workers()
