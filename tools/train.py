"""Train a model from a config file."""

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmsegmentation.command import InputError, Parser, run_command
from mmsegmentation.files import read_json
from mmsegmentation.runtime import (
    build_runner,
    check_checkpoint,
    find_pretrained,
    load_weights,
    read_config,
    silence,
    start_from_scratch,
)

if TYPE_CHECKING:
    from mmengine.config import Config

NEEDS = 'model', 'train_dataloader', 'train_cfg', 'optim_wrapper'
# What a run leaves behind that a new one would replace.
RESULTS = ('*.pth', 'last_checkpoint', 'metrics.json')


def parse_args(argv: Sequence[str] | None) -> Namespace:
    parser = Parser(prog='tools/train.py', description=__doc__)
    add = parser.add_argument
    add('config', help='config file, see configs/')
    add('--work-dir', help='where logs and checkpoints go; work_dirs/<config> if none')
    add(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CKPT',
        help='go on from a checkpoint; without a name, from the last one',
    )
    add('--amp', action='store_true', help='fp16; on a CPU bf16, if it has it')
    add('--from-scratch', action='store_true', help='use no pretrained weights')
    add('--overwrite', action='store_true', help='replace an earlier run')
    launchers = ['none', 'pytorch', 'slurm', 'mpi']
    add('--launcher', choices=launchers, default='none', help='see torchrun --help')
    add('--cfg-options', nargs='+', default=[], metavar='K=V', help='config changes')
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Train, and say where the best checkpoint is."""
    args = parse_args(argv)
    silence()
    cfg = read_config(args.config, args.cfg_options, NEEDS)
    cfg.launcher = args.launcher
    cfg.work_dir = args.work_dir or cfg.get('work_dir') or _default_work_dir(args)
    work_dir = Path(cfg.work_dir)
    if args.amp:
        _use_mixed_precision(cfg)
    earlier = _earlier_results(work_dir, args)
    resumed = _choose_start(cfg, args, work_dir)
    runner = build_runner(cfg)
    if resumed:
        load_weights(runner.model, resumed, cfg.load_from)
    for path in earlier:
        path.unlink()
    _say_start(cfg, runner.log_dir)
    runner.train()
    _say_result(work_dir)
    return 0


def _default_work_dir(args: Namespace) -> str:
    return str(Path('work_dirs') / Path(args.config).stem)


def _earlier_results(work_dir: Path, args: Namespace) -> list[Path]:
    if args.resume:
        return []
    earlier = [path for pattern in RESULTS for path in work_dir.glob(pattern)]
    if earlier and not args.overwrite:
        raise InputError(
            work_dir,
            'holds an earlier run',
            'pass --resume to go on with it, or --overwrite to replace it',
        )
    return earlier


def _use_mixed_precision(cfg: 'Config') -> None:
    import torch

    # MMEngine's own wrapper refuses the CPU.
    fp16 = {'type': 'AmpOptimWrapper', 'loss_scale': 'dynamic'}
    bf16 = {'type': 'Bf16OptimWrapper'}
    cfg.optim_wrapper.update(fp16 if torch.cuda.is_available() else bf16)


def _say_start(cfg: 'Config', log_dir: str) -> None:
    from mmsegmentation.engine.bf16_optim_wrapper import has_bf16

    print(f'log: {log_dir}', flush=True)
    if cfg.optim_wrapper.get('type') == 'Bf16OptimWrapper' and not has_bf16():
        print('this CPU has no bfloat16 arithmetic: training in float32', flush=True)


def _choose_start(
    cfg: 'Config', args: Namespace, work_dir: Path
) -> dict[str, Any] | None:
    """Set where ``cfg`` starts; return the content of a checkpoint to go on from."""
    if args.from_scratch:
        start_from_scratch(cfg)
    if args.resume:
        path = args.resume if args.resume != 'auto' else _last_checkpoint(work_dir)
        content = check_checkpoint(path)
        start_from_scratch(cfg)
        cfg.resume, cfg.load_from = True, path
        return content
    for path in find_pretrained(cfg):
        check_checkpoint(path)
    return None


def _last_checkpoint(work_dir: Path) -> str:
    try:
        # The folder may have been moved since the path in it was written.
        name = Path((work_dir / 'last_checkpoint').read_text().strip()).name
    except OSError:
        raise InputError(
            work_dir, 'holds no run to resume', 'leave out --resume'
        ) from None
    return str(work_dir / name)


def _say_result(work_dir: Path) -> None:
    path = work_dir / 'metrics.json'
    if path.is_file():
        scores = read_json(path)
        low, high = scores['mIoU_interval']
        print(
            f'best: {work_dir / scores["checkpoint"]}  mIoU {scores["mIoU"]:.4f} '
            f'[{low:.4f}, {high:.4f}]; all scores in {path}'
        )
    else:
        print(f'checkpoints: {work_dir}')


if __name__ == '__main__':
    run_command(main)
