"""Train a model from a config file."""

import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmsegmentation.checkpoints import check_checkpoint, describe_start, load_weights
from mmsegmentation.command import InputError, Parser, run_command
from mmsegmentation.config import check_strategy, schedule_notes
from mmsegmentation.config_bases import check_bases
from mmsegmentation.device import add_device_option, choose_device, print_device
from mmsegmentation.early import (
    check_are_checkpoints,
    check_data,
    check_folder,
    is_ours,
)
from mmsegmentation.files import NO_ROOM, read_json
from mmsegmentation.fold_config import leaves_of, use_fold
from mmsegmentation.fold_origin import (
    check_resumed,
    check_start,
    trains_on_validation,
)
from mmsegmentation.folds import Fold
from mmsegmentation.memory import out_of_memory
from mmsegmentation.pretrained import (
    describe_pretrained,
    find_pretrained,
    start_from_scratch,
)
from mmsegmentation.processes import (
    BEGUN,
    SAVED,
    add_launcher_options,
    is_loss,
    is_noted,
    processes,
    take_local_rank,
)
from mmsegmentation.pseudo_config import join_records, pseudo_records, use_pseudo_part
from mmsegmentation.real_config import use_real_labels_alone
from mmsegmentation.resume import (
    check_resumable,
    check_state,
    checkpoint_folder,
    find_start,
    keep_seed,
)
from mmsegmentation.runtime import (
    blame,
    build_runner,
    import_parts,
    parse_config,
    quiet,
    silence,
    tell,
)
from mmsegmentation.sealed import remove_leftovers
from mmsegmentation.trained_steps import steps_before
from mmsegmentation.training_hooks import add_hooks

if TYPE_CHECKING:
    from mmengine.config import Config
    from mmengine.runner import Runner

NEEDS = 'model', 'train_dataloader', 'train_cfg', 'optim_wrapper'
# What a run leaves behind that a new one would replace.
CHECKPOINTS = 'epoch_*.pth', 'iter_*.pth', 'best_*.pth'
RESULTS = *CHECKPOINTS, 'last_checkpoint', 'metrics.json'


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
    add('--data-root', metavar='ROOT', help='the data; RECYCLE_DATA if none')
    add('--fold', type=int, metavar='K', help='train on all folds but this, from 0')
    add('--folds', metavar='DIR', help='of utils/split.py; ROOT/folds if none')
    part = 'part of ROOT with the pseudo labels to train on, as pseudo_fold0'
    add('--pseudo-part', metavar='NAME', help=f"{part}; the config's if none")
    text = 'train without the pseudo labels for as many steps, to compare with'
    add('--without-pseudo', action='store_true', help=text)
    add_device_option(parser)
    add('--amp', action='store_true', help='fp16; on a CPU bf16, if it has it')
    add('--from-scratch', action='store_true', help='use no pretrained weights')
    add('--overwrite', action='store_true', help='replace an earlier run')
    add_launcher_options(parser)
    add('--cfg-options', nargs='+', default=[], metavar='K=V', help='config changes')
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Train, and say where the best checkpoint is."""
    args = parse_args(argv)
    silence()
    take_local_rank(args)
    cfg = parse_config(args.config, args.cfg_options, NEEDS, args.data_root)
    add_hooks(cfg)
    cfg.launcher = args.launcher
    fold = use_fold(cfg, args.fold, args.folds)
    use_pseudo_part(cfg, args.pseudo_part)
    if args.without_pseudo:
        use_real_labels_alone(cfg)
    cfg.work_dir = args.work_dir or cfg.get('work_dir') or _default_work_dir(cfg)
    if cfg.get('resume') and not args.resume:
        args.resume = cfg.get('load_from') or 'auto'
    check_paths(cfg, args)
    choose_device(args.device)
    import_parts(cfg)
    with quiet():
        notes = check_bases(Path(args.config))
    tell(notes)
    _choose_precision(cfg, args)
    check_strategy(cfg)
    with processes(cfg):
        print_device(cfg, training=True)
        train(cfg, args, fold)
    return 0


def check_paths(cfg: 'Config', args: Namespace) -> None:
    """Refuse missing inputs and occupied outputs, before torch is imported.

    Raises:
        InputError: Data or a checkpoint are missing, or the work folder holds a run.
    """
    check_data(cfg, ('train_dataloader', 'val_dataloader'))
    work_dir = Path(cfg.work_dir)
    folder = checkpoint_folder(work_dir, cfg)
    check_folder(work_dir)
    if args.resume and args.resume != 'auto':
        check_are_checkpoints([args.resume])
    elif cfg.get('load_from') and not (args.from_scratch or '://' in cfg.load_from):
        check_are_checkpoints([cfg.load_from])
    if args.launcher != 'none':
        return  # a restarted process finds the folder of its own run
    if args.resume == 'auto':
        check_resumable(work_dir, folder)
    _earlier_results(work_dir, folder, args)


def train(cfg: 'Config', args: Namespace, fold: Fold | None = None) -> None:
    """Check all that the run needs, and train; replace an earlier run if asked.

    Args:
        fold: What :func:`use_fold` returned.
    """
    from mmengine.dist import is_main_process

    from mmsegmentation.engine import (
        DataOnlyHook,
        LabelRecordHook,
        OriginHook,
        ReplaceHook,
    )
    from mmsegmentation.engine.run_state import cut_logs
    from mmsegmentation.engine.stop_hook import StopHook, Stopped

    work_dir = Path(cfg.work_dir)
    folder = checkpoint_folder(work_dir, cfg)
    anew = is_noted(BEGUN) and _take_up(args)
    if args.resume == 'auto':
        anew = _find_resumed(work_dir, folder, args)
    earlier = _earlier_results(work_dir, folder, args)
    pseudo = pseudo_records(cfg, fold)
    content = _choose_start(cfg, args, earlier, fold)
    if args.resume:
        _pass_over(cfg, work_dir)
    resumed = bool(args.resume)
    pseudo = join_records(content, pseudo, str(cfg.get('load_from')), resumed)
    steps = steps_before(content, resumed)
    final = trains_on_validation(cfg, content, fold)
    runner = build_runner(cfg, args.cfg_options)
    runner.register_hook(DataOnlyHook())
    record = fold.record if fold else None
    runner.register_hook(OriginHook(record, pseudo, final, steps))
    runner.register_hook(LabelRecordHook())
    replace = ReplaceHook(earlier)
    runner.register_hook(replace)
    stop = StopHook()
    runner.register_hook(stop)
    if args.resume:
        load_weights(runner.model, content, cfg.load_from)
    else:
        tell(describe_pretrained(runner.model))
    if cfg.get('load_from') and not args.resume:
        tell(describe_start(runner.model, content, cfg.load_from))
    del content  # of the size of the model and its optimiser
    if is_main_process():
        for place in {work_dir, folder}:
            remove_leftovers(place)
        if anew:
            cut_logs(runner, {})
        _say_start(cfg, runner.log_dir, final)
    try:
        runner.train()
    except Stopped as stopped:
        if is_main_process():
            # What it was started with is asked for again: a shell has it at hand.
            way = 'go on with the same command and --resume'
            print(f'stopped after step {stopped.step}; {way}', file=sys.stderr)
        raise
    except Exception as error:
        if known := _known(error, runner):
            raise known from None
        if replace.begun or is_loss(error):
            raise
        # What MMEngine builds last: schedulers, first weights, what hooks make.
        raise blame(error, cfg, args.cfg_options, 'does not start') from error
    finally:
        stop.restore()
    if is_main_process():
        _say_result(work_dir, folder, runner)


def _known(error: Exception, runner: 'Runner') -> InputError | None:
    """Return what an error in training is in one line, if it is the user's to end."""
    from mmsegmentation.engine import QuarantineHook

    stage = runner.message_hub.get_info('loop_stage', 'train')
    if lacking := out_of_memory(error, runner.cfg, runner.iter + 1, stage):
        return lacking
    if isinstance(error, OSError) and error.errno in NO_ROOM:
        return InputError(
            error.filename or runner.work_dir,
            f'cannot be written ({error.strerror})',
            'make room, and go on with the same command and --resume',
        )
    refusals = (h.refusal() for h in runner.hooks if isinstance(h, QuarantineHook))
    return next(filter(None, refusals), None)


def _default_work_dir(cfg: 'Config') -> str:
    fold = cfg.get('fold')
    name = Path(cfg.filename).stem + ('' if fold is None else f'_fold{fold}')
    return str(Path('work_dirs') / name)


def _take_up(args: Namespace) -> bool:
    """Say in ``args`` how to go on after a failure; tell whether it is anew.

    What was asked for holds until there is a checkpoint of this launch. It has begun,
    so what is in the work folder is its own.
    """
    if is_noted(SAVED):
        args.resume = 'auto'
    args.overwrite = True
    return not args.resume


def _find_resumed(work_dir: Path, folder: Path, args: Namespace) -> bool:
    """Put into ``args`` what to go on from; tell whether there is nothing yet."""
    from mmengine.dist import is_main_process

    path, lines = find_start(work_dir, folder)
    args.resume = path and str(path)
    if is_main_process():
        for line in lines:
            print(line, file=sys.stderr)
    return not path


def _pass_over(cfg: 'Config', work_dir: Path) -> None:
    """Have a resumed run do without the files that it did without before."""
    from mmsegmentation.datasets.quarantine import LIST

    if (work_dir / LIST).is_file():
        for leaf in leaves_of(cfg.train_dataloader.dataset):
            if is_ours(leaf):
                leaf['held'] = str(work_dir / LIST)


def _earlier_results(work_dir: Path, folder: Path, args: Namespace) -> list[Path]:
    if args.resume:
        return []
    found = [path for pattern in CHECKPOINTS for path in folder.glob(pattern)]
    found += [path for pattern in RESULTS for path in work_dir.glob(pattern)]
    earlier = list(dict.fromkeys(found))
    if earlier and not args.overwrite:
        raise InputError(
            work_dir,
            'holds an earlier run',
            'pass --resume to go on with it, or --overwrite to replace it',
        )
    return earlier


def _choose_precision(cfg: 'Config', args: Namespace) -> None:
    import torch

    wrapper, on_gpu = cfg.optim_wrapper, torch.cuda.is_available()
    if args.amp and on_gpu:
        wrapper.update(type='AmpOptimWrapper', loss_scale='dynamic')
    elif args.amp:
        # MMEngine's own wrapper refuses the CPU. These are its arguments.
        for key in ('dtype', 'loss_scale', 'use_fsdp'):
            wrapper.pop(key, None)
        wrapper.type = 'Bf16OptimWrapper'
    elif wrapper.get('type') == 'AmpOptimWrapper' and not on_gpu:
        raise InputError(
            args.config,
            'trains in fp16 and needs a GPU',
            'pass --amp, which on a CPU is bfloat16, or float32 where it has none',
        )


def _say_start(cfg: 'Config', log_dir: str, final: bool) -> None:
    print(f'log: {log_dir}', flush=True)
    for note in schedule_notes(cfg):
        print(note, flush=True)
    if final:
        print(
            'trains on the validation part too: no scores, no best checkpoint; '
            'the last one counts',
            flush=True,
        )
        if not cfg.get('load_from'):
            print(
                'it starts without a trained model; as a last stage it wants the best '
                'checkpoint of the one before: --cfg-options load_from=...',
                flush=True,
            )


def _choose_start(
    cfg: 'Config', args: Namespace, earlier: list[Path], fold: Fold | None
) -> dict[str, Any]:
    """Set where ``cfg`` starts; return the content of its checkpoint, if it has one.

    Args:
        earlier: Files that will be removed.
    """
    if args.from_scratch:
        start_from_scratch(cfg)
    if args.resume:
        path = args.resume
        content = check_checkpoint(path)
        check_state(cfg, content, path)
        check_resumed(content, path, fold)
        keep_seed(cfg, content)
        start_from_scratch(cfg)
        cfg.resume, cfg.load_from = True, path
        return content
    content = {}
    lost = {path.resolve() for path in earlier}
    for path in find_pretrained(cfg):  # that of load_from comes last
        if Path(path).resolve() in lost:
            raise InputError(
                path,
                'the run starts from it, and --overwrite would remove it',
                'copy it, or name another --work-dir',
            )
        content = check_checkpoint(path)
        check_start(content, path, fold)
    return content


def _say_result(work_dir: Path, folder: Path, runner: 'Runner') -> None:
    path = work_dir / 'metrics.json'
    if path.is_file():
        scores = read_json(path)
        low, high = scores['mIoU_interval']
        print(
            f'best: {folder / scores["checkpoint"]}  mIoU {scores["mIoU"]:.4f} '
            f'[{low:.4f}, {high:.4f}]; all scores in {path}'
        )
    elif best := runner.message_hub.get_info('best_ckpt'):
        # From a metric of MMSegmentation, in percent and without an interval.
        score = runner.message_hub.get_info('best_score')
        is_miou = Path(best).name.startswith('best_mIoU_')
        print(f'best: {best}' + f'  mIoU {score / 100:.4f}' * is_miou)
    else:
        print(f'checkpoints: {folder}')


if __name__ == '__main__':
    run_command(main)
