"""The work of ``utils.parallel`` on a Dask cluster, by joblib's own backend."""

import io
import logging
import pickle
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any
from warnings import catch_warnings, filterwarnings

import cloudpickle
from distributed import Client, Future, KilledWorker
from joblib import Parallel, delayed, parallel_config

from mmsegmentation.command import InputError
from utils.parallel import SLICE

# Seconds until a scheduler that does not answer is given up.
PATIENCE = 20
# How often its own thread, for which Dask waits ten seconds, is started at most: on a
# machine with too much to do it may come late.
STARTS = 5
# What it says of a lost connection is raised, too.
logging.getLogger('distributed.client').setLevel(logging.CRITICAL)


def map_on_cluster(
    address: str, function: Callable, tasks: Sequence[tuple]
) -> Iterator[Any]:
    """Yield ``function(*task)`` of every task, in order.

    The function travels to each worker once, whatever it holds. The tasks of a worker
    that ends go to another one; while there is none, they wait for it.

    Args:
        address: Of a scheduler.
        tasks: Paths in them, and in the function, may be relative to this process's
            folder, for the workers get them absolute.

    Raises:
        InputError: No scheduler answers or it ends, it has no workers, they lack this
            project or end at a task of theirs, or what ``function`` raises.
    """
    with _connect(address) as client:
        with catch_warnings():
            # Scattered, as Dask would have it, it would be lost with the workers that
            # hold it.
            filterwarnings('ignore', 'Sending large graph')
            code = client.submit(bytes, pack(function), pure=False)
        for start in range(0, len(tasks), SLICE):
            part = map(pack, tasks[start : start + SLICE])
            try:
                with parallel_config(backend='dask', client=client):
                    found = Parallel()(delayed(call)(code, task) for task in part)
            except (CancelledError, KilledWorker):
                raise _ended(address) from None
            yield from found


def _connect(address: str) -> Client:
    try:
        # Without one, Dask would start a cluster of its own.
        if not address.strip():
            raise ValueError('it is empty')
        client = open_client(address)
    except (OSError, ValueError, TypeError) as error:
        raise InputError(
            f'--cluster {address}', f'no scheduler answers ({error})', 'start it first'
        ) from None
    try:
        _check_workers(client, address)
    except BaseException:
        client.close()
        raise
    return client


def _check_workers(client: Client, address: str) -> None:
    try:
        if not client.scheduler_info()['workers']:
            raise InputError(
                f'--cluster {address}', 'has no workers', 'start dask worker first'
            )
        # A worker that cannot read its tasks would let joblib wait for ever.
        client.run(exec, f'import {__name__}')
    except ImportError as error:
        raise InputError(
            f'--cluster {address}',
            f'a worker lacks this project ({error})',
            'install it where the workers run',
        ) from None
    except (OSError, CancelledError):
        raise _ended(address) from None


def _ended(address: str) -> InputError:
    return InputError(
        f'--cluster {address}',
        'the scheduler or a worker ended',
        'see what they wrote, and start again',
    )


def open_client(address: str) -> Client:
    """Return a client of a scheduler, which is not made the default of Dask."""
    for _ in range(STARTS - 1):
        with suppress(AssertionError):
            return Client(address, timeout=PATIENCE, set_as_default=False)
    return Client(address, timeout=PATIENCE, set_as_default=False)


class _Pickler(cloudpickle.Pickler):
    def reducer_override(self, obj: Any) -> Any:
        # Workers run in other folders.
        if isinstance(obj, Path) and not obj.is_absolute():
            return type(obj), (str(obj.absolute()),)
        return super().reducer_override(obj)


def pack(thing: Any) -> bytes:
    """Return a pickle in which every path is absolute."""
    file = io.BytesIO()
    _Pickler(file).dump(thing)
    return file.getvalue()


@lru_cache(maxsize=4)
def _unpack_once(code: bytes) -> Callable:
    return pickle.loads(code)


def call(code: bytes | Future, task: bytes) -> Any:
    """Call a packed function with packed arguments."""
    # Where the cluster has one core alone, joblib calls it in this process.
    if isinstance(code, Future):
        code = code.result()
    return _unpack_once(code)(*pickle.loads(task))
