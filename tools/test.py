"""Predict a part of the data, measure it where labels exist, keep the masks."""

from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from mmsegmentation.checkpoints import check_checkpoint, load_weights
from mmsegmentation.command import InputError, Parser, run_command
from mmsegmentation.config import type_name, view_notes
from mmsegmentation.device import add_device_option, choose_device, print_device
from mmsegmentation.early import check_are_checkpoints, check_data, check_folder
from mmsegmentation.files import (
    check_replaceable,
    id_below,
    sha256_of,
    whole_folder,
    write_json,
)
from mmsegmentation.fold_config import use_fold
from mmsegmentation.fold_origin import check_predicting
from mmsegmentation.folds import Fold
from mmsegmentation.memory import out_of_shared_memory
from mmsegmentation.predictions import MARKER, finish_predictions
from mmsegmentation.pretrained import start_from_scratch
from mmsegmentation.processes import (
    add_launcher_options,
    processes,
    take_local_rank,
)
from mmsegmentation.pseudo_config import noted_pseudo
from mmsegmentation.runtime import (
    build_runner,
    import_parts,
    parse_config,
    silence,
    tell,
)
from mmsegmentation.scores import score_table
from mmsegmentation.tested_part import Part, choose_part
from mmsegmentation.trained_steps import noted_steps

if TYPE_CHECKING:
    from mmengine.config import Config
    from mmengine.runner import Runner


def parse_args(argv: Sequence[str] | None) -> Namespace:
    parser = Parser(prog='tools/test.py', description=__doc__)
    add = parser.add_argument
    add('config', help='config file of the model')
    add('checkpoint', help='its weights, .pth or .safetensors')
    add('--split', choices=['train', 'valid', 'test'], default='valid', help='part')
    add('--data-root', metavar='ROOT', help='the data; RECYCLE_DATA if none')
    add('--fold', type=int, metavar='K', help='predict what this fold left out')
    add('--folds', metavar='DIR', help='of utils/split.py; ROOT/folds if none')
    add('--out', required=True, type=Path, help='prediction folder to write')
    text = 'folder for painted images of MMSegmentation, below vis_data/vis_image'
    add('--show-dir', metavar='DIR', help=text)
    add('--work-dir', metavar='D', help="folder for MMEngine's log and scores as JSON")
    add('--tta', action='store_true', help="the config's test-time augmentation")
    add('--probs', action='store_true', help='keep the probabilities of all classes')
    add('--overwrite', action='store_true', help='replace an earlier prediction')
    add_device_option(parser)
    add_launcher_options(parser)
    add('--cfg-options', nargs='+', default=[], metavar='K=V', help='config changes')
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Write a prediction folder and print its scores."""
    args = parse_args(argv)
    silence()
    take_local_rank(args)
    needs = 'model', 'test_dataloader'
    cfg = parse_config(args.config, args.cfg_options, needs, args.data_root)
    cfg.launcher = args.launcher
    check_are_checkpoints([args.checkpoint])
    check_replaceable(args.out, MARKER, args.overwrite)
    for path in filter(None, (args.out, args.show_dir, args.work_dir)):
        check_folder(Path(path))
    fold = use_fold(cfg, args.fold, args.folds)
    if args.tta:
        use_tta(cfg, args.config)
    part = choose_part(cfg, args.split, fold, tta=args.tta)
    check_data(cfg, ['test_dataloader'])
    choose_device(args.device)
    content = check_checkpoint(args.checkpoint)
    check_predicting(content, args.checkpoint, fold, args.split)
    import_parts(cfg)
    with processes(cfg):
        print_device(cfg)
        with _shared_folder(args) as folder:
            scores = predict(cfg, part, folder, args, content, fold)
        _say_result(args.out, scores)
    return 0


@contextmanager
def _shared_folder(args: Namespace) -> Iterator[Path]:
    """Give all processes the folder that the main one makes, and renames at the end."""
    from mmengine.dist import broadcast_object_list, is_main_process

    if is_main_process():
        with whole_folder(args.out, marker=MARKER, overwrite=args.overwrite) as folder:
            broadcast_object_list([str(folder)])
            yield folder
    else:
        names = ['']
        broadcast_object_list(names)
        yield Path(names[0])


def _say_result(out: Path, scores: dict | None) -> None:
    from mmengine.dist import is_main_process

    if scores:
        print(score_table(scores))
    if is_main_process():
        print(f'predictions: {out}')


def use_tta(cfg: 'Config', name: str) -> None:
    """Wrap the model of ``cfg`` in its ``tta_model``."""
    if not (cfg.get('tta_model') and cfg.get('tta_pipeline')):
        raise InputError(name, 'has no tta_model and tta_pipeline', 'leave out --tta')
    tell(view_notes(cfg))
    if type_name(cfg.tta_model) == 'SegTTAModel':
        # SegTTAModel keeps the logits of the last view only. MeanProbabilityTTA gives
        # the same labels, and confidence and probabilities of the mean.
        cfg.tta_model.type = 'MeanProbabilityTTA'
    cfg.tta_model.module = cfg.model
    cfg.model = cfg.tta_model


def predict(
    cfg: 'Config',
    part: Part,
    folder: Path,
    args: Namespace,
    content: dict[str, Any],
    fold: Fold | None,
) -> dict | None:
    """Fill ``folder`` with predictions; return the scores where labels exist.

    Args:
        cfg: The config of the model.
        part: The images to predict.
        folder: The prediction folder.
        args: The arguments of the command.
        content: The content of the checkpoint, which must fit the model.
        fold: The fold of the images, if any.
    """
    from mmengine.dist import is_main_process

    from mmsegmentation.evaluation.evaluators import choose_metrics, other_scores

    metrics, notes = choose_metrics(cfg.get('test_evaluator'), part.labelled)
    tell(notes)
    cfg.test_evaluator = [_writer(part.images, folder, args), *metrics]
    with _work_dir(args) as cfg.work_dir:
        runner = build_tester(cfg, args.cfg_options, args.show_dir, args.work_dir)
        load_weights(runner.model, content, args.checkpoint)
        dataset = runner.test_dataloader.dataset
        image_ids = _image_ids(dataset, part.images)
        if is_main_process():
            print(f'{len(dataset)} images of {args.split} to predict', flush=True)
        others = other_scores(_test(runner))
    if not is_main_process():
        return None
    scores, origin = None, _origin(args, content, fold)
    if part.labelled:
        scores = _exact_scores(runner)
        own = {'checkpoint_sha256': origin['checkpoint_sha256']}
        more = {'test_evaluator': others} if others else {}
        write_json(folder / 'metrics.json', own | scores | more)
    if others:
        shown = (f'{name} {value}' for name, value in others.items())
        print('test_evaluator:', *shown, sep='  ')
    finish_predictions(folder, dataset.metainfo['classes'], image_ids, origin)
    return scores


def _test(runner: 'Runner') -> dict[str, Any]:
    try:
        return runner.test()
    except RuntimeError as error:
        if lacking := out_of_shared_memory(error, 'test_dataloader'):
            raise lacking from None
        raise


def _work_dir(args: Namespace) -> AbstractContextManager[str]:
    """Return the folder of the log, which is temporary without ``--work-dir``."""
    return nullcontext(args.work_dir) if args.work_dir else TemporaryDirectory()


def _image_ids(dataset: Any, images: Sequence[Path]) -> list[str]:
    paths = [dataset.get_data_info(i)['img_path'] for i in range(len(dataset))]
    try:
        return [id_below(images, Path(path)) for path in paths]
    except ValueError as error:
        way_out = 'set data_prefix.img_path of the data set to their folder'
        raise InputError('image', str(error), way_out) from None


def _exact_scores(runner: 'Runner') -> dict[str, Any]:
    from mmsegmentation.evaluation import ExactIoUMetric

    metrics = runner.test_evaluator.metrics
    exact = (m for m in metrics if isinstance(m, ExactIoUMetric))
    return next(metric.last_scores for metric in exact if not metric.format_only)


def _writer(images: Sequence[Path], folder: Path, args: Namespace) -> dict[str, Any]:
    return {
        'type': 'PredictionWriter',
        'out_dir': str(folder),
        'images': [str(path) for path in images],
        'probs': args.probs,
    }


def build_tester(
    cfg: 'Config',
    options: Sequence[str],
    show_dir: str | None = None,
    work_dir: str | None = None,
) -> 'Runner':
    """Build a runner that tests and does nothing else; its model has no weights yet.

    Args:
        cfg: Its parts for training are dropped.
        options: The ``key=value`` pairs that changed it.
        show_dir: Folder for images that MMSegmentation paints.
        work_dir: Folder for MMEngine's log and scores.
    """
    start_from_scratch(cfg)
    cfg.resume, cfg.load_from = False, None
    training = (
        'train_dataloader',
        'train_cfg',
        'optim_wrapper',
        'param_scheduler',
        'strategy',
    )
    validation = ('val_dataloader', 'val_cfg', 'val_evaluator')
    for key in training + validation:
        cfg.pop(key, None)
    # What writes checkpoints or curves has nothing to do here.
    cfg.custom_hooks = [{'type': 'ScreenHook'}]
    cfg.default_hooks = {'checkpoint': None}
    if not work_dir:
        cfg.default_hooks['logger'] = None
    if show_dir:
        cfg.default_hooks['visualization'] = {
            'type': 'SegVisualizationHook',
            'draw': True,
        }
        local = {'vis_backends': [{'type': 'LocalVisBackend'}], 'save_dir': show_dir}
        cfg.visualizer = {
            'type': 'SegLocalVisualizer',
            **(cfg.get('visualizer') or {}),
            **local,
        }
    else:
        cfg.visualizer = {'type': 'Visualizer', 'vis_backends': []}
    return build_runner(cfg, options)


def _origin(
    args: Namespace, content: dict[str, Any], fold: Fold | None
) -> dict[str, Any]:
    packages = ('torch', 'onedl-mmcv', 'onedl-mmengine', 'onedl-mmsegmentation')
    return {
        'config': args.config,
        'cfg_options': args.cfg_options,
        'checkpoint': args.checkpoint,
        'checkpoint_sha256': sha256_of(Path(args.checkpoint)),
        'split': args.split,
        'fold': fold.record if fold else None,
        'pseudo': noted_pseudo(content),
        'steps': noted_steps(content),
        'tta': args.tta,
        'probs': args.probs,
        'versions': {name: version(name) for name in packages},
    }


if __name__ == '__main__':
    run_command(main)
