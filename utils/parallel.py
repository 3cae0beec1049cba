"""The same work for each image: over the cores of this machine, or a Dask cluster."""

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from warnings import catch_warnings, simplefilter

from mmsegmentation.command import InputError, progress, usable_cpus

# Beyond it, a mistyped number would start processes until memory is full.
MOST_JOBS = 1024
# joblib goes on whether or not its results are taken, and its Dask backend returns
# lists alone: by slices, so that results of millions of images are never all in memory.
SLICE = 1024


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
        calls = self._here if self.cluster is None else self._on_cluster
        yield from progress(calls(function, tasks), name, total=len(tasks))

    def _here(self, function: Callable, tasks: Sequence[tuple]) -> Iterator[Any]:
        for start in range(0, len(tasks), SLICE):
            yield from self._slice_here(function, tasks[start : start + SLICE])

    def _slice_here(self, function: Callable, tasks: Sequence[tuple]) -> Iterator[Any]:
        from joblib import Parallel, delayed
        from joblib.externals.loky.process_executor import TerminatedWorkerError

        run = Parallel(
            n_jobs=min(self.jobs, len(tasks)),
            return_as='generator',
            prefer='threads' if self.threads else None,
        )
        results = run(delayed(function)(*task) for task in tasks)
        try:
            # "yield from" would close it itself, with a warning.
            for result in results:  # noqa: UP028
                yield result
        except TerminatedWorkerError:
            raise InputError(
                f'--jobs {self.jobs}',
                'one of the processes was ended, as where memory runs out',
                'give fewer',
            ) from None
        finally:
            # Where the work is broken off, joblib warns that some was for nothing.
            with catch_warnings():
                simplefilter('ignore')
                results.close()

    def _on_cluster(self, function: Callable, tasks: Sequence[tuple]) -> Iterator[Any]:
        try:
            from utils.cluster import map_on_cluster
        except ImportError:
            raise InputError(
                '--cluster', 'Dask is not installed', 'pip install distributed'
            ) from None
        yield from map_on_cluster(str(self.cluster), function, tasks)


ALONE = Workers()
