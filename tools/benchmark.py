"""Measure our parts beside their peers: same work, same answer, in one run.

The two sides take turns, so that a machine's noise meets both; a ratio of medians
compares them. Absolute times hold for this machine alone.
"""

import importlib
import os
import platform
import time
from argparse import Namespace
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from mmsegmentation.allocator import keep_freed_memory
from mmsegmentation.command import InputError, Parser, run_command, usable_cpus
from mmsegmentation.device import choose_device
from mmsegmentation.files import write_json
from mmsegmentation.runtime import quiet, silence

if TYPE_CHECKING:
    from rich.table import Table

    from tools.benchmarks.case import Case

FOLDER = Path(__file__).with_name('benchmarks')
NAMES = sorted(
    path.stem.replace('_', '-')
    for path in FOLDER.glob('[a-z]*.py')
    if path.stem not in ('case', 'networks', 'transformers_peer')
)
PEERS = 'torch', 'numpy', 'opencv-python', 'onedl-mmsegmentation', 'albumentations'
# Seconds that both sides of a case may take together, beside the least number of runs.
BUDGET, LEAST, MOST = 40.0, 3, 50
QUICK_BUDGET, QUICK_LEAST, QUICK_MOST = 4.0, 1, 5


def parse_args(argv: Sequence[str] | None) -> Namespace:
    parser = Parser(prog='tools/benchmark.py', description=__doc__)
    add = parser.add_argument
    add('names', nargs='+', choices=NAMES, metavar='NAME', help=', '.join(NAMES))
    add('--quick', action='store_true', help='small and few, for a look')
    add('--runs', type=int, help='runs of each side; by the time they take if none')
    add('--threads', type=int, default=usable_cpus(), help='threads of the arithmetic')
    add('--device', choices=['cpu', 'cuda'], default='cpu', help='where models run')
    add('--json', type=Path, metavar='F', help='write the records here')
    add('--overwrite', action='store_true', help='replace F')
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Print a table; return 1 where an answer differs from the peer's."""
    args = parse_args(argv)
    _check(args)
    # Before the libraries that read them at import.
    for name in ('OMP_NUM_THREADS', 'MKL_NUM_THREADS'):
        os.environ[name] = str(args.threads)
    silence()
    choose_device(args.device)
    with quiet():
        from mmseg.utils import register_all_modules

        register_all_modules()
        for part in ('datasets', 'engine', 'evaluation', 'models'):
            importlib.import_module(f'mmsegmentation.{part}')
    # For both sides, though a peer's own commands do not.
    kept = args.device == 'cpu' and keep_freed_memory()
    print(f'{_machine(args)}; {"freed memory kept" if kept else "memory by default"}')
    records: list[dict[str, Any]] = []
    for name in args.names:
        records += _measure_all(name, args)
        if args.json:  # what is done outlasts an interruption
            write_json(args.json, records)
    if args.json:
        print(f'records: {args.json}')
    return int(any(record['same'] is False for record in records))


def _check(args: Namespace) -> None:
    for name in ('runs', 'threads'):
        number = getattr(args, name)
        if number is not None and number < 1:
            raise InputError(f'--{name} {number}', 'not above 0', 'give a count')
    if args.json and args.json.is_dir():
        raise InputError(args.json, 'is a folder', 'name a file')
    if args.json and args.json.exists() and not args.overwrite:
        raise InputError(args.json, 'exists', 'pass --overwrite to replace it')


def _machine(args: Namespace) -> str:
    import torch

    place = _processor()
    if args.device == 'cuda':
        place = torch.cuda.get_device_name()
    versions = [f'{name} {_version(name)}' for name in PEERS]
    return f'{place}, threads: {args.threads}; ' + ', '.join(versions)


def _processor() -> str:
    info = Path('/proc/cpuinfo')
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.partition(':')[2].strip() for line in lines if 'model name' in line]
    return names[0] if names else platform.processor() or platform.machine()


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return 'missing'


def _measure_all(name: str, args: Namespace) -> list[dict[str, Any]]:
    """Print the cases of one benchmark as they are done; return their records."""
    import cv2
    import torch
    from rich.console import Console

    from tools.benchmarks.case import LeftOut, Options

    module = importlib.import_module(f'tools.benchmarks.{name.replace("-", "_")}')
    records = []
    # A benchmark of one core may have changed both.
    torch.set_num_threads(args.threads)
    cv2.setNumThreads(args.threads)
    console = Console()
    with console.status(f'{name} ...') as status:
        for case in module.cases(Options(args.quick, args.device)):
            if isinstance(case, LeftOut):
                console.print(f'{name}: {case.name}: {case.peer} left out, {case.why}')
                continue
            status.update(f'{name}: {case.name} beside {case.peer} ...')
            records.append({'benchmark': name, **measure(case, args)})
    console.print(_table(name, records))
    return records


def measure(case: 'Case', args: Namespace) -> dict[str, Any]:
    """Check that both sides agree, then let them take turns.

    Returns:
        A record: times are medians in seconds, with the least and the largest.
    """
    (ours, our_warm_up), (theirs, their_warm_up) = (
        _timed(side, args.device) for side in case.sides
    )
    difference, limit = case.difference(ours, theirs), case.limit
    if difference > limit and case.spread:
        limit = max(limit, case.spread(theirs))
    del ours, theirs
    if case.once:
        times: tuple[list[float], list[float]] = [our_warm_up], [their_warm_up]
    else:
        times = _take_turns(case, our_warm_up + their_warm_up, args)
    ours_s, peer_s = map(median, times)
    return {
        'case': case.name,
        'peer': case.peer,
        'ours_s': ours_s,
        'peer_s': peer_s,
        'ours_range_s': [min(times[0]), max(times[0])],
        'peer_range_s': [min(times[1]), max(times[1])],
        'ratio': peer_s / ours_s,
        'difference': difference,
        'difference_of': case.unit,
        'limit': limit,
        'same': difference <= limit,
        'runs': len(times[0]),
    }


def _take_turns(
    case: 'Case', seconds: float, args: Namespace
) -> tuple[list[float], list[float]]:
    """Return the times of both sides; ``seconds`` is what one turn of both takes."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(args.runs or _runs(seconds, args.quick)):
        for side, own in zip(case.sides, times, strict=True):
            own.append(_timed(side, args.device)[1])
    return times


def _runs(seconds: float, quick: bool) -> int:
    budget, least, most = BUDGET, LEAST, MOST
    if quick:
        budget, least, most = QUICK_BUDGET, QUICK_LEAST, QUICK_MOST
    return max(least, min(most, int(budget / max(seconds, 1e-9))))


def _timed(work: Callable[[], Any], device: str) -> tuple[Any, float]:
    import torch

    wait = torch.cuda.synchronize if device == 'cuda' else lambda: None
    wait()
    start = time.perf_counter()
    result = work()
    wait()
    return result, time.perf_counter() - start


def _table(name: str, records: list[dict[str, Any]]) -> 'Table':
    from rich.table import Table

    table = Table(title=name, title_justify='left', show_lines=True)
    table.add_column('case\nbeside', overflow='fold', ratio=1)
    for column in ('ours\nleast-most', 'peer\nleast-most', 'ratio\nruns'):
        table.add_column(column, justify='right', no_wrap=True)
    table.add_column('difference', overflow='fold', max_width=16)
    for r in records:
        difference = f'{r["difference"]:.3g} {r["difference_of"]}'
        table.add_row(
            f'{r["case"]}\n{r["peer"]}',
            _span(r['ours_s'], r['ours_range_s']),
            _span(r['peer_s'], r['peer_range_s']),
            f'{r["ratio"]:.2f} x\n{r["runs"]}',
            difference if r['same'] else f'[bold red]NOT THE SAME[/]: {difference}',
        )
    return table


def _span(seconds: float, ends: list[float]) -> str:
    unit, factor = ('s', 1.0) if seconds >= 1 else ('ms', 1e3)
    low, high = (f'{factor * end:.3g}' for end in ends)
    return f'{factor * seconds:.3g} {unit}\n{low}-{high}'


if __name__ == '__main__':
    run_command(main)
