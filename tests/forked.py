"""Work done in several processes of one run, forked: all is imported already."""

import multiprocessing
import os
import socket
import sys
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import distributed

from mmsegmentation.command import run_command

SECONDS = 200


class Left(NamedTuple):
    """How a process ended, and what it printed."""

    code: int
    out: str
    err: str


def free_port() -> int:
    with socket.socket() as found:
        found.bind(('127.0.0.1', 0))
        return found.getsockname()[1]


def torchrun_variables(rank: int, count: int, port: int) -> dict[str, str]:
    numbers = {'RANK': rank, 'LOCAL_RANK': rank, 'WORLD_SIZE': count}
    names = {name: str(number) for name, number in numbers.items()}
    return {**names, 'MASTER_ADDR': '127.0.0.1', 'MASTER_PORT': str(port)}


def run_commands(
    folder: Path,
    main: Callable[[Sequence[str] | None], int],
    argv: Sequence[object],
    variables: Sequence[Mapping[str, str]],
) -> list[Left]:
    """Run a command in as many processes as there are variables for.

    Args:
        folder: Where their output goes.
    """

    def act(rank: int) -> None:
        for number, name in ((1, 'out'), (2, 'err')):
            os.dup2(os.open(_file(folder, rank, name), os.O_CREAT | os.O_RDWR), number)
        sys.stdout, sys.stderr = (os.fdopen(n, 'w', closefd=False) for n in (1, 2))
        os.environ.update(variables[rank])
        try:
            run_command(lambda _: main([str(arg) for arg in argv]))
        except SystemExit as left:
            sys.stderr.flush()
            os._exit(int(left.code or 0))

    codes = _fork(act, len(variables))
    texts = [
        [_file(folder, rank, name).read_text() for name in ('out', 'err')]
        for rank in range(len(variables))
    ]
    return [Left(code, *text) for code, text in zip(codes, texts, strict=True)]


def run_two(folder: Path, function: Callable[[int], Any]) -> list[Any]:
    """Return what a function of the rank gives in each of two processes."""

    def act(rank: int) -> None:
        method = f'file://{folder / "meet"}'
        distributed.init_process_group(
            'gloo', init_method=method, rank=rank, world_size=2
        )
        torch.save(function(rank), folder / f'{rank}.pth')
        distributed.barrier()
        distributed.destroy_process_group()
        os._exit(0)

    assert _fork(act, 2) == [0, 0]
    return [torch.load(folder / f'{rank}.pth') for rank in range(2)]


def _file(folder: Path, rank: int, name: str) -> Path:
    return folder / f'{rank}.{name}'


def _fork(act: Callable[[int], None], count: int) -> list[int]:
    def guarded(rank: int) -> None:
        try:
            act(rank)
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(70)

    context = multiprocessing.get_context('fork')
    started = [context.Process(target=guarded, args=(n,)) for n in range(count)]
    with warnings.catch_warnings():
        # Python 3.12 warns of threads; ours are at rest.
        warnings.simplefilter('ignore', DeprecationWarning)
        for process in started:
            process.start()
    for process in started:
        process.join(SECONDS)
        if process.is_alive():
            process.kill()
            process.join()
    return [process.exitcode or 0 for process in started]
