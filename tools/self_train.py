"""Train on the model's own labels of the test part, round after round, while it helps.

    python tools/self_train.py CONFIG --pseudo-config CONFIG2 --data-root ROOT \
        --work-dir D --rounds 2 --folds 5

First a model is trained, and it predicts the test part. Its confident pixels become
labels; the thresholds are fitted on predictions of images that it was not trained on.
Then the training continues with these labels. For comparison, a second training
continues for as many steps on real labels alone.

A round passes if its model is better than both this second model and the model before,
on the same images. A round that does not pass is the last one. Then the second model is
used if it is better than the model before; otherwise the model before is used.

With --folds all of this is done for each fold. Each fold uses only the labels of its
own model, and all labelled images judge.

Each step is an ordinary command, and it is printed as a user would type it. An
interrupted run continues with the next step when it is started again.
"""

import os
import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmsegmentation.command import InputError, Parser, run_command
from mmsegmentation.device import add_device_option
from mmsegmentation.files import read_json, require_folder
from mmsegmentation.parts import PSEUDO, check_pseudo_part
from tools.cycle import Cycle
from tools.jobs import PROGRAMS, program_of, shown
from tools.rounds import Round, free_arguments
from tools.steps import check_place, locked, open_steps

MARKER = 'self_train.json'
# Name of a round's training without pseudo labels.
ALONE = 'real labels alone'
# A run may go on for more rounds, or on another machine.
FREE = 'rounds', 'device', 'launcher', 'launch', 'overwrite', 'work_dir'


def parse_args(argv: Sequence[str] | None) -> Namespace:
    summary = __doc__.split('\n')[0]
    parser = Parser(prog='tools/self_train.py', description=summary)
    add = parser.add_argument
    add('config', metavar='CONFIG', help='the first training, on real labels alone')
    text = 'training with pseudo labels'
    add('--pseudo-config', required=True, metavar='CONFIG2', help=text)
    text = 'last training of each round, on real labels alone; none if not given'
    add('--final-config', metavar='CONFIG3', help=text)
    root = Path(os.environ.get('RECYCLE_DATA', 'input/data'))
    add('--data-root', type=Path, default=root, metavar='ROOT', help='the data')
    add('--work-dir', type=Path, required=True, metavar='D', help='where all goes')
    add('--rounds', type=int, default=1, metavar='N', help='most rounds to take')
    text = (
        'folds of utils/split.py, made if there are none; judge by valid if not given'
    )
    add('--folds', type=int, metavar='K', help=text)
    text = 'share of kept pixels that must be right, by class'
    add('--precision', type=float, default=0.9, metavar='P', help=text)
    text = 'as of utils/pseudo_label.py'
    add('--min-region', type=int, default=0, metavar='N', help=text)
    add('--min-kept', type=float, default=0.0, metavar='SHARE', help=text)
    add('--soft', action='store_true', help='as of utils/pseudo_label.py')
    text = 'how the names of the pseudo-labelled parts begin'
    add('--part', default=PSEUDO, metavar='NAME', help=text)
    text = "start each round from CONFIG2's own weights, not from the last model"
    add('--fresh', action='store_true', help=text)
    add('--from-scratch', action='store_true', help='use no pretrained weights')
    add('--amp', action='store_true', help='as of tools/train.py')
    add('--tta', action='store_true', help='as of tools/test.py')
    add_device_option(parser)
    add('--launcher', choices=[*PROGRAMS], default='none', help='of train and test')
    text = f'what starts their scripts, such as "{PROGRAMS["pytorch"]}"'
    add('--launch', metavar='WORDS', help=text)
    add('--overwrite', action='store_true', help='begin anew, and replace all')
    add('--cfg-options', nargs='+', default=[], metavar='K=V', help='of each config')
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    args = parse_args(argv)
    program = check_arguments(args)
    check_configs(args)
    arguments = {k: _plain(v) for k, v in vars(args).items() if k not in FREE}
    check_place(args.work_dir, MARKER)
    with locked(args.work_dir) as descriptors:
        steps = open_steps(
            args.work_dir, MARKER, arguments, args.overwrite, free_arguments
        )
        try:
            rounds = Cycle(args, steps, program, descriptors).run()
        except (KeyboardInterrupt, SystemExit):
            way = 'the same command goes on where it was'
            print(f'{args.work_dir} was stopped; {way}', file=sys.stderr)
            raise
        result = conclude(rounds)
        steps.keep(result=result)
    print(result_table(result))
    if why := steps.content.get('ended'):
        print(f'warning: {why}; {way_to_more_labels(args)}')
    print(f'all of it: {shown(args.work_dir / MARKER)}')
    return 0


def way_to_more_labels(args: Namespace) -> str:
    """Return how a round that ended for want of labels may get more."""
    options = '--precision or --min-kept' if args.min_kept else '--precision'
    return (
        f'start it again with a lower {options}, or begin anew with a first model that '
        'sees more'
    )


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value


def check_arguments(args: Namespace) -> tuple[str, ...]:
    """Refuse what is wrong by itself; return what starts the scripts of the models.

    Raises:
        InputError: A number is out of range, or an option is of no use.
    """
    if args.rounds < 1:
        raise InputError('--rounds', f'is {args.rounds}', 'give 1 or more')
    if args.folds is not None and args.folds < 2:
        raise InputError(
            '--folds', f'is {args.folds}', 'give 2 or more, or leave it out'
        )
    for name in ('precision', 'min_kept'):
        if not 0 <= getattr(args, name) <= 1:
            text = f'{getattr(args, name)} is not in [0, 1]'
            raise InputError(f'--{name.replace("_", "-")}', text, 'change it')
    if args.min_region < 0:
        raise InputError('--min-region', f'{args.min_region} is negative', 'give 0')
    check_pseudo_part(args.part, '--part')
    if ',' in str(args.work_dir):
        # load_from=D/... is an option of configs.
        raise InputError(
            f'--work-dir {args.work_dir}',
            'has a comma, which makes a list of an option',
            'name another folder',
        )
    return program_of(args.launcher, args.launch)


def check_configs(args: Namespace) -> None:
    """Read all configs before the first of many hours.

    Raises:
        InputError: One cannot be read, or trains on labels that it should not.
    """
    from mmsegmentation.pseudo_config import pseudo_sets
    from mmsegmentation.real_config import use_real_labels_alone
    from mmsegmentation.runtime import import_parts, parse_config, silence

    silence()
    wanted = {args.config: False, args.pseudo_config: True}
    if args.final_config:
        wanted[args.final_config] = False
    way_out = 'make it with utils/prepare_data.py, or correct --data-root'
    require_folder(args.data_root, way_out)
    if len(wanted) < 2 or (args.final_config == args.pseudo_config):
        raise InputError(args.pseudo_config, 'is named twice', 'name two configs')
    needs = 'model', 'train_dataloader', 'test_dataloader', 'train_cfg'
    cfgs = []
    for path, pseudo in wanted.items():
        cfg = parse_config(path, args.cfg_options, needs, str(args.data_root))
        if bool(pseudo_sets(cfg)) != pseudo:
            what = 'no pseudo labels' if pseudo else 'pseudo labels'
            raise InputError(path, f'trains on {what}', 'see configs/pseudo')
        cfgs.append(cfg)
        if pseudo:
            use_real_labels_alone(cfg)  # an error here comes before the first round
    for cfg in cfgs:
        import_parts(cfg)


def conclude(rounds: Sequence[Round]) -> dict[str, Any]:
    """Return the scores of all rounds, and the models to use.

    Returns:
        ``rounds`` holds for each round its number, ``mIoU``, ``mIoU_real`` of the
        training on real labels alone, and ``gain``, ``interval`` and ``verdict`` of
        each comparison. ``use_round`` and ``use_labels`` name the best training, and
        ``use`` lists its models.
    """
    last = rounds[-1]
    chosen = [each for each in rounds if each.passed][-1]
    labels = 'pseudo labels' if chosen.number else 'real labels'
    if not last.passed and last.real and last.real_passed:
        chosen, labels = last.real, ALONE
    models = [
        {
            'fold': model.fold,
            'config': model.config,
            'checkpoint': str(model.checkpoint),
        }
        for model in chosen.models
    ]
    return {
        'rounds': [_row(each) for each in rounds],
        'use_round': chosen.number,
        'use_labels': labels,
        'use': models,
    }


def _row(of: Round) -> dict[str, Any]:
    row: dict[str, Any] = {'round': of.number, 'mIoU': _score(of)}
    if of.real:
        row['mIoU_real'] = _score(of.real)
    for name, verdict in of.verdicts.items():
        row[name] = {key: verdict[key] for key in ('gain', 'interval', 'verdict')}
    return row


def _score(of: Round) -> float:
    return read_json(of.judged / 'metrics.json')['mIoU']


def result_table(result: dict[str, Any]) -> str:
    """Return the outcome as text."""
    head = f'{"round":>5}  {"labels":<17}{"mIoU":>8}{"gain":>9}  95 % interval'
    lines = ['', f'{head:<71}against']
    for row in result['rounds']:
        number = row['round']
        if not number:
            lines.append(f'{number:>5}  {"real":<17}{row["mIoU"]:>8.4f}')
            continue
        before = f'round {number - 1}'
        real, pseudo = f'{number:>5}  {ALONE:<17}', f'{number:>5}  {"with pseudo":<17}'
        for name, start, score, other in (
            ('real_before', real, row['mIoU_real'], before),
            ('pseudo_before', pseudo, row['mIoU'], before),
            ('pseudo_real', pseudo, row['mIoU'], ALONE),
        ):
            lines.append(f'{start}{score:>8.4f}{_gain(row[name])}{other}')
    lines.append(f'use round {result["use_round"]}, {result["use_labels"]}:')
    for model in result['use']:
        lines.append(f'  {shown(Path(model["checkpoint"]))}  {model["config"]}')
    if len(result['use']) > 1:
        lines.append('  (let them vote: tools/test.py each, then utils/ensemble.py)')
    return '\n'.join(lines)


def _gain(record: dict[str, Any]) -> str:
    low, high = record['interval']
    interval = f'[{low:+.4f}, {high:+.4f}]'
    return f'{record["gain"]:>+9.4f}  {interval}  {record["verdict"]:<8}'


if __name__ == '__main__':
    run_command(main)
