"""Average the weights of several checkpoints of one model, judged on validation.

greedy takes a checkpoint where the score does not fall by it, from the best one on;
swa takes all of them.
"""

import io
from argparse import Namespace
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from mmsegmentation.checkpoints import check_checkpoint, check_weights
from mmsegmentation.command import InputError, Parser, run_command
from mmsegmentation.device import add_device_option, choose_device, print_device
from mmsegmentation.early import check_are_checkpoints, check_data, check_writable
from mmsegmentation.files import refuse_existing, sha256_of, write_whole
from mmsegmentation.fold_config import use_fold
from mmsegmentation.fold_origin import check_predicting, trained_on
from mmsegmentation.pseudo_config import noted_pseudo
from mmsegmentation.runtime import import_parts, parse_config, silence
from mmsegmentation.sealed import seal
from mmsegmentation.tested_part import choose_part
from mmsegmentation.trained_steps import KEY as STEPS
from mmsegmentation.trained_steps import noted_steps
from tools.test import build_tester

if TYPE_CHECKING:
    from mmengine.config import Config

    from mmsegmentation.folds import Fold
    from tools.soup import Judge, Soup, Weights


def parse_args(argv: Sequence[str] | None) -> Namespace:
    parser = Parser(prog='tools/average.py', description=__doc__)
    add = parser.add_argument
    add('config', help='config file of the model')
    add(
        'checkpoints',
        nargs='+',
        metavar='checkpoint',
        help='its weights, .pth or .safetensors',
    )
    add('--out', required=True, type=Path, metavar='FILE', help='.pth to write')
    add('--method', choices=['greedy', 'swa'], default='greedy', help='see above')
    add('--data-root', metavar='ROOT', help='the data; RECYCLE_DATA if none')
    add('--fold', type=int, metavar='K', help='judge by what this fold left out')
    add('--folds', metavar='DIR', help='of utils/split.py; ROOT/folds if none')
    statistics = 'training batches for the statistics of batch norms; 0 averages these'
    add('--bn-batches', type=int, default=100, metavar='N', help=statistics)
    add_device_option(parser)
    add('--anyway', action='store_true', help='write a mean that is below its best')
    add('--overwrite', action='store_true', help='replace FILE')
    add('--cfg-options', nargs='+', default=[], metavar='K=V', help='config changes')
    args = parser.parse_args(argv)
    if args.bn_batches < 0:
        parser.error('--bn-batches must be 0 or more')
    return args


def main(argv: Sequence[str] | None = None) -> int:
    """Write the average and print who is in it; 1 if it is not worth writing."""
    args = parse_args(argv)
    silence()
    needs = 'model', 'test_dataloader'
    cfg = parse_config(args.config, args.cfg_options, needs, args.data_root)
    cfg.launcher = 'none'
    if args.out.suffix != '.pth':
        raise InputError(args.out, 'names no checkpoint', 'end it in .pth')
    refuse_existing(args.out, args.overwrite)
    check_writable(args.out)
    check_are_checkpoints(args.checkpoints)
    fold = use_fold(cfg, args.fold, args.folds)
    choose_judging_part(cfg, fold)
    choose_device(args.device)
    import_parts(cfg)
    print_device(cfg)
    metas = check_members(args.checkpoints, fold)
    with TemporaryDirectory() as cfg.work_dir:
        judge = build_judge(cfg, args)
        scores, best, soup = cook(args, judge)
    print(table(args.checkpoints, scores, best, soup))
    if soup.score < best.score and not args.anyway:
        print('below its best member: nothing written; see --method greedy, --anyway')
        return 1
    content = {
        'meta': describe(args, metas, scores, soup),
        'state_dict': {name: value.clone() for name, value in soup.weights.items()},
    }
    write(args.out, content)
    print(f'written: {args.out}  mIoU {soup.score:.4f}')
    return 0


def check_members(paths: Sequence[str], fold: 'Fold | None') -> list[dict[str, Any]]:
    """Return what the checkpoints say of themselves.

    Raises:
        InputError: There is one alone, or one twice, or one that does not fit the first
            or was trained on other images, or on those that are to judge it.
    """
    if len(paths) < 2:
        check_checkpoint(paths[0])
        raise InputError(paths[0], 'has none to be averaged with', 'name two or more')
    seen: dict[str, str] = {}
    metas: list[dict[str, Any]] = []
    for path in paths:
        content = check_checkpoint(path)
        check_predicting(content, path, fold, 'valid')
        weights = _weights_of(content, path)
        if not metas:
            first = {name: value.shape for name, value in weights.items()}
        meta = content.get('meta')
        metas.append(meta if isinstance(meta, dict) else {})
        digest = sha256_of(Path(path))
        if digest in seen:
            raise InputError(path, f'is {seen[digest]} once more', 'name each once')
        seen[digest] = path
        shapes = {name: value.shape for name, value in weights.items()}
        if shapes != first:
            pairs = {**first, **shapes}
            wrong = [n for n in pairs if first.get(n) != shapes.get(n)]
            raise InputError(
                path,
                f'does not fit {paths[0]}: {len(wrong)} of {len(pairs)} weights are '
                f'in one of both alone or of another shape, {wrong[0]} first',
                'name checkpoints of one config',
            )
        if trained_on(content) != trained_on({'meta': metas[0]}):
            raise InputError(
                path, f'is of another fold than {paths[0]}', 'average within a fold'
            )
    return metas


def _weights_of(content: dict[str, Any], path: str) -> 'Weights':
    import torch

    given = content.get('state_dict', content)
    if not (given and all(isinstance(v, torch.Tensor) for v in given.values())):
        raise InputError(path, 'holds no weights', 'name a checkpoint of a run')
    return given


def read_weights(path: str) -> 'Weights':
    """Return the weights of a checkpoint by name."""
    return _weights_of(check_checkpoint(path), path)


def choose_judging_part(cfg: 'Config', fold: 'Fold | None') -> None:
    """Point the test loader of ``cfg`` at the validation part of its data root.

    Raises:
        InputError: The part has no images or no labels.
    """
    part = choose_part(cfg, 'valid', fold)
    if not part.labelled:
        raise InputError(
            part.images[0].with_name('mask'),
            'no such folder, so that nothing can judge a mean',
            'name the data root of the training by --data-root',
        )
    check_data(cfg, ['test_dataloader'])


def build_judge(cfg: 'Config', args: Namespace) -> 'Judge':
    """Return a judge that scores weights on the images of ``cfg``'s test loader."""
    from tools.soup import Judge, first_of, has_running_statistics

    loader = deepcopy(cfg.get('train_dataloader'))
    cfg.test_evaluator = [{'type': 'ExactIoUMetric'}]
    runner = build_tester(cfg, args.cfg_options)
    check_weights(runner.model, read_weights(args.checkpoints[0]), args.checkpoints[0])
    batches = None
    if args.bn_batches and has_running_statistics(runner.model):
        if loader is None:
            raise InputError(
                args.config,
                'has batch norms, and no train_dataloader for their statistics',
                'pass --bn-batches 0',
            )
        images = runner.build_dataloader({**loader, 'persistent_workers': False}, 0)
        batches = first_of(images, args.bn_batches)
        print(f'batch norms: statistics of {args.bn_batches} training batches')
    return Judge(runner, batches, args.bn_batches)


def cook(args: Namespace, judge: 'Judge') -> tuple[list[float], 'Soup', 'Soup']:
    """Return the members' scores, the best of them alone, and the average."""
    from tools.soup import best_alone, greedy, uniform

    paths, scores = args.checkpoints, []
    for path in paths:
        scores.append(judge.score(read_weights(path)))
        print(f'{path}: mIoU {scores[-1]:.4f}', flush=True)
    best = best_alone(paths, scores, read_weights, judge)
    if args.method == 'swa':
        return scores, best, uniform(paths, read_weights, judge)
    return scores, best, greedy(paths, scores, best, read_weights, judge)


def table(
    paths: Sequence[str], scores: Sequence[float], best: 'Soup', soup: 'Soup'
) -> str:
    """Return one line for each member, the best first, and one for their mean."""
    width = max(map(len, paths))
    order = sorted(range(len(paths)), key=lambda i: -scores[i])
    lines = [f'{"":<{width}}    mIoU  taken']
    for i in order:
        mark = 'yes' if paths[i] in soup.taken else 'no'
        lines.append(f'{paths[i]:<{width}}  {scores[i]:.4f}  {mark}')
    if best.score > max(scores):
        what = 'the best, fresh statistics'
        lines.append(f'{what:<{width}}  {best.score:.4f}')
    gain = soup.score - best.score
    last = f'mean of {len(soup.taken)}'
    lines.append(f'{last:<{width}}  {soup.score:.4f}  {gain:+.4f} to the best')
    return '\n'.join(lines)


def describe(
    args: Namespace,
    metas: Sequence[dict[str, Any]],
    scores: Sequence[float],
    soup: 'Soup',
) -> dict[str, Any]:
    """Return what the file says of itself: what the best member says, and who is in it.

    The pseudo labels that any member was trained on are noted, and the highest number
    of training steps of all members.
    """
    taken = [args.checkpoints.index(path) for path in soup.taken]
    best = max(taken, key=lambda i: scores[i])
    pseudo: list[dict[str, Any]] = []
    for i in taken:
        noted = noted_pseudo({'meta': metas[i]})
        pseudo += [record for record in noted if record not in pseudo]
    members = [
        {
            'checkpoint': args.checkpoints[i],
            'sha256': sha256_of(Path(args.checkpoints[i])),
            'mIoU': scores[i],
        }
        for i in taken
    ]
    steps = [noted_steps({'meta': metas[i]}) for i in taken]
    known = [number for number in steps if number is not None]
    most = {STEPS: max(known)} if len(known) == len(steps) else {}
    average = {'method': args.method, 'mIoU': soup.score, 'members': members}
    return {
        **{key: value for key, value in metas[best].items() if key != STEPS},
        **most,
        **({'pseudo': pseudo} if pseudo else {}),
        'average': average,
    }


def write(path: Path, content: dict[str, Any]) -> None:
    """Write a checkpoint and its seal, whole or not at all."""
    import torch

    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_whole(path, b''.join(seal(path, buffer.getvalue())))


if __name__ == '__main__':
    run_command(main)
