"""Kill short runs at random moments, resume them, and compare how they end.

    python tests/tools/kill_experiment.py OUT --model convnext --loop iter --workers 2

Draws data, trains a demo model for a few steps with averaged weights, gathered
gradients, dropout and checkpoints within epochs; then trains anew as often as told,
each time killed (``kill -9``, workers included) at a random moment and started again
with ``--resume``. Prints how many ended bit for bit as the run that was never killed,
and how many could not be started again. ``--stock`` does the same with MMSegmentation's
runner, sampler and mixing data set.
"""

import argparse
import multiprocessing
import os
import random
import shutil
import signal
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from mmsegmentation.command import Parser, run_command

if '.' in __name__:  # pytest looks for examples in docstrings, from the folder above
    from tests.tools.endings import difference, ending
else:
    from endings import difference, ending

HOME = Path(__file__).resolve().parents[2]
MODELS = {
    'convnext': 'upernet_convnext-mini_1xb8-cutmix-360it_drawn-128x128.py',
    'beit': 'upernet_beit-mini_1xb8-copypaste-360it_drawn-128x128.py',
}
CONFIG = """
_base_ = {base!r}
train_dataloader = dict(batch_size=2, num_workers={workers}, persistent_workers={keep})
val_dataloader = dict(num_workers={workers}, persistent_workers={keep})
test_dataloader = dict(num_workers={workers}, persistent_workers={keep})
optim_wrapper = dict(accumulative_counts=2)
model = dict(decode_head=dict(dropout_ratio=0.5))
custom_hooks = [
    dict(type='EMAHook', ema_type='ExponentialMovingAverage', momentum=0.1),
    dict(type='ChannelsLastHook'),
    dict(type='BestMetricsHook'),
]
default_hooks = dict(logger=dict(interval=1), checkpoint=dict(interval=5))
"""
LOOPS = {
    'iter': 'train_cfg = dict(max_iters=24, val_interval=6)\n',
    'epoch': """
train_dataloader.update(sampler=dict(type='SeededSampler', shuffle=True))
train_cfg = dict(
    _delete_=True, type='EpochBasedTrainLoop', max_epochs=3, val_interval=1
)
""",
}
SAMPLERS = {'iter': 'InfiniteSampler', 'epoch': 'DefaultSampler'}
IMAGES = 16


def make_data(out: Path) -> None:
    from utils.draw_data import main as draw
    from utils.prepare_data import main as prepare

    counts = ('--train', IMAGES, '--valid', 4, '--test', 2)
    draw([str(v) for v in (out / 'raw', '--seed', 0, *counts)])
    prepare([str(out / 'raw'), '--out', str(out / 'data'), '--jobs', '1'])


def write_config(args: argparse.Namespace) -> Path:
    base = str(HOME / 'configs/demo' / MODELS[args.model])
    text = CONFIG.format(base=base, workers=args.workers, keep=bool(args.workers))
    path = args.out / 'run.py'
    path.write_text(text + LOOPS[args.loop])
    return path


def train(config: str, work_dir: str, resume: bool) -> None:
    from tools.train import main

    main([config, '--work-dir', work_dir, *(['--resume'] if resume else [])])


def train_stock(config: str, work_dir: str, resume: bool) -> None:
    from mmengine.config import Config
    from mmengine.runner import Runner

    cfg = Config.fromfile(config)
    cfg.work_dir, cfg.resume = work_dir, resume
    loader = cfg.train_dataloader
    by_epoch = cfg.train_cfg.type == 'EpochBasedTrainLoop'
    loader.sampler.type = SAMPLERS['epoch' if by_epoch else 'iter']
    loader.dataset.type = 'MultiImageMixDataset'
    Runner.from_cfg(cfg).train()


def start(act: Callable, *args: object) -> multiprocessing.Process:
    """Run in a process that is forked: all is imported already."""

    def run() -> None:
        os.setsid()  # its workers are of its group
        silent = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silent, 1)
        os.dup2(silent, 2)
        try:
            act(*map(str, args[:2]), *args[2:])
        except BaseException:
            path = Path(str(args[1])).with_suffix('.txt')
            path.write_text(traceback.format_exc())
            os._exit(1)
        os._exit(0)

    process = multiprocessing.get_context('fork').Process(target=run)
    process.start()
    return process


def wait_until_begun(process: multiprocessing.Process, work_dir: Path) -> None:
    while process.is_alive() and not list(work_dir.glob('*/vis_data')):
        time.sleep(0.01)


def whole_run(act: Callable, config: Path, work_dir: Path) -> float:
    """Return the seconds from when the run has built all to its end."""
    process = start(act, config, work_dir, False)
    wait_until_begun(process, work_dir)
    begun = time.monotonic()
    process.join()
    if process.exitcode:
        raise RuntimeError(work_dir.with_suffix('.txt').read_text())
    return time.monotonic() - begun


def killed_run(act: Callable, config: Path, work_dir: Path, after: float) -> int:
    """Kill a run some seconds after it has begun, resume it; return the exit code."""
    process = start(act, config, work_dir, False)
    wait_until_begun(process, work_dir)
    time.sleep(after)
    os.killpg(process.pid, signal.SIGKILL)
    process.join()
    process = start(act, config, work_dir, True)
    process.join()
    return process.exitcode or 0


def prepare(args: argparse.Namespace, name: str) -> tuple[Path, Path]:
    """Return the config of a run and its empty work folder; draw the data first."""
    args.out.mkdir(parents=True, exist_ok=True)
    if not (args.out / 'data').exists():
        make_data(args.out)
    os.environ['RECYCLE_DATA'] = str(args.out / 'data')
    whole = args.out / name / 'whole'
    shutil.rmtree(whole.parent, ignore_errors=True)
    whole.parent.mkdir()
    return write_config(args), whole


def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(prog='kill_experiment.py', description=__doc__.split('\n')[0])
    parser.add_argument('out', type=Path, help='folder to work in')
    parser.add_argument('--model', choices=MODELS, default='convnext', help='the model')
    parser.add_argument('--loop', choices=LOOPS, default='iter', help='what counts')
    parser.add_argument('--workers', type=int, default=0, help='of each data loader')
    parser.add_argument('--kills', type=int, default=50, help='runs that are killed')
    parser.add_argument('--seed', type=int, default=0, help='other seed, other moments')
    parser.add_argument('--stock', action='store_true', help="MMSegmentation's runner")
    args = parser.parse_args(argv)
    act = train_stock if args.stock else train
    name = '-'.join(map(str, (args.model, args.loop, args.workers, act.__name__)))
    config, whole = prepare(args, name)
    seconds = whole_run(act, config, whole)
    wanted, draw = ending(whole), random.Random(args.seed)
    same = failed = 0
    for number in range(args.kills):
        after = draw.uniform(0, seconds)
        work_dir = whole.with_name(f'{number}')
        if killed_run(act, config, work_dir, after):
            failed, found = failed + 1, 'does not start again'
        else:
            found = difference(wanted, ending(work_dir)) or 'the same'
            same += found == 'the same'
            shutil.rmtree(work_dir)
        print(f'{name} {number}: killed after {after:.2f} s: {found[:100]}', flush=True)
    print(f'{name}: {same} of {args.kills} the same, {failed} could not start again')
    return 0 if same == args.kills else 1


if __name__ == '__main__':
    import mmseg.apis  # noqa: F401
    import torch  # noqa: F401

    import mmsegmentation.engine  # noqa: F401
    import tools.train  # noqa: F401

    run_command(main)
