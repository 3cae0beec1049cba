"""Kill a study three times, let two workers finish it, and compare it trial by trial.

    python tests/tools/tune_experiment.py OUT --storage sqlite

Draws data and searches the demo's ConvNeXt in twenty trials of a few steps: one worker
after the other is killed at a random moment (``kill -9``, every other time the training
that it runs too), then two workers at once finish the study; and once more with one
worker that nobody disturbs. Prints how many trials there are, what is wrong with them,
and how many ended bit for bit as undisturbed.
"""

import argparse
import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from mmsegmentation.command import Parser, run_command
from mmsegmentation.files import read_json

if '.' in __name__:  # pytest looks for examples in docstrings, from the folder above
    from tests.tools.endings import difference, ending, scalars
    from tests.tools.kill_experiment import HOME, MODELS, make_data
    from tests.tools.postgres import running_server
else:
    from endings import difference, ending, scalars
    from kill_experiment import HOME, MODELS, make_data
    from postgres import running_server

CONFIG = """
_base_ = {base!r}
train_dataloader = dict(batch_size=2, num_workers=0, persistent_workers=False)
val_dataloader = dict(num_workers=0, persistent_workers=False)
test_dataloader = dict(num_workers=0, persistent_workers=False)
train_cfg = dict(max_iters={steps}, val_interval=4)
default_hooks = dict(logger=dict(interval=1), checkpoint=dict(interval=3))
"""
STEPS = 12


class Workers:
    """Starts processes of ``tools/tune.py``, all with the same arguments."""

    def __init__(self, args: argparse.Namespace, storage: str, name: str) -> None:
        self.folder = args.out / name
        space = HOME / 'configs/tuning/demo_convnext.yaml'
        self.command = [sys.executable, HOME / 'tools/tune.py', args.out / 'run.py']
        self.command += [space, '--study', name, '--storage', storage]
        self.command += ['--work-dir', self.folder, '--trials', str(args.trials)]
        self.command += ['--sampler', args.sampler, '--pruner', args.pruner]
        self.log = (args.out / f'{name}.log').open('a')

    def start(self) -> subprocess.Popen:
        return subprocess.Popen(
            self.command, stdout=self.log, stderr=self.log, start_new_session=True
        )

    def run(self, count: int) -> None:
        """Let workers go on at once until each says that it is done."""
        started = [self.start() for _ in range(count)]
        codes = [process.wait() for process in started]
        if any(codes):
            raise RuntimeError(f'exit codes {codes}, see {self.log.name}')

    def kill(self, after: float, training: bool) -> None:
        """Start a worker, and kill it some seconds later, or it and its training."""
        process = self.start()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(after)
        if process.poll() is not None:
            raise RuntimeError(f'was done before it was killed, see {self.log.name}')
        if training:
            os.killpg(process.pid, signal.SIGKILL)
        else:
            os.kill(process.pid, signal.SIGKILL)
        process.wait()


def check(folder: Path, trials: int) -> list[str]:
    """Return what is wrong with a finished study: of its trials, and of their runs."""
    record = read_json(folder / 'study.json')['trials']
    wrong = []
    if [trial['number'] for trial in record] != [*range(trials)]:
        wrong.append(f'trials {[trial["number"] for trial in record]}')
    values = {str(trial['values']) for trial in record}
    if len(values) != trials:
        wrong.append(f'{trials - len(values)} trials have the values of another')
    for trial in record:
        steps = [
            line['step']
            for line in scalars(folder / trial['work_dir'])
            if 'loss' in line
        ]
        if trial['state'] not in ('complete', 'pruned'):
            wrong.append(f'trial {trial["number"]}: {trial["state"]}')
        whole = [*range(1, STEPS + 1)]
        if steps != whole[: len(steps)] or (
            trial['state'] == 'complete' and steps != whole
        ):
            wrong.append(f'trial {trial["number"]} made the steps {steps}')
    return wrong


def compare(one: Path, two: Path) -> int:
    """Return how many trials of two studies ended with the same, bit for bit."""
    same = 0
    for trial in read_json(one / 'study.json')['trials']:
        name = trial['work_dir']
        found = difference(ending(one / name), ending(two / name))
        same += found is None
        if found:
            print(f'{name}: {found}')
    return same


def disturb(workers: Workers, args: argparse.Namespace) -> None:
    """Kill as often as told, then finish."""
    draw = random.Random(args.seed)
    for number in range(args.kills):
        after = draw.uniform(*args.after)
        workers.kill(after, training=bool(number % 2))
        text = 'worker and training' if number % 2 else 'worker'
        print(f'{text} killed after {after:.1f} s', flush=True)
    workers.run(2)


def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(prog='tune_experiment.py', description=__doc__.split('\n')[0])
    add = parser.add_argument
    add('out', type=Path, help='folder to work in')
    kinds = 'sqlite', 'postgres'
    add('--storage', choices=kinds, default='sqlite', help='which database')
    add('--trials', type=int, default=20, help='of the study')
    add('--kills', type=int, default=3, help='workers that are killed')
    text = 'least and most seconds until one is killed'
    add('--after', type=float, nargs=2, default=(25, 60), help=text)
    add('--sampler', choices=['random', 'tpe'], default='random', help='see tune.py')
    add('--pruner', choices=['none', 'median'], default='none', help='see tune.py')
    add('--seed', type=int, default=0, help='other seed, other moments')
    args = parser.parse_args(argv)
    args.out = args.out.resolve()
    args.out.mkdir(parents=True, exist_ok=True)
    if not (args.out / 'data').exists():
        make_data(args.out)
    os.environ['RECYCLE_DATA'] = str(args.out / 'data')
    base = str(HOME / 'configs/demo' / MODELS['convnext'])
    (args.out / 'run.py').write_text(CONFIG.format(base=base, steps=STEPS))
    name = f'{args.storage}-{args.sampler}-{args.pruner}'
    start = time.monotonic()
    with contextlib.ExitStack() as stack:
        storage = f'sqlite:///{args.out}/{name}.db'
        if args.storage == 'postgres':
            storage = stack.enter_context(running_server())
        workers = Workers(args, storage, name)
        disturb(workers, args)
    wrong = check(workers.folder, args.trials)
    print(
        *(wrong or [f'{name}: {args.trials} trials, none twice, none lost']), sep='\n'
    )
    print(f'{time.monotonic() - start:.0f} s', flush=True)
    if (args.sampler, args.pruner) == ('random', 'none'):
        # What chance draws depends on no other trial.
        whole = Workers(args, f'sqlite:///{args.out}/whole.db', 'whole')
        whole.run(1)
        same = compare(whole.folder, workers.folder)
        print(f'{same} of {args.trials} ended as in a study that nobody disturbed')
        return int(bool(wrong) or same < args.trials)
    return int(bool(wrong))


if __name__ == '__main__':
    run_command(main)
