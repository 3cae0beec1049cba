"""Predict a part of the data, measure it where labels exist, keep the masks."""

from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from mmsegmentation.checkpoints import check_checkpoint, load_weights
from mmsegmentation.command import InputError, Parser, run_command
from mmsegmentation.config import view_notes
from mmsegmentation.device import add_device_option, choose_device, print_device
from mmsegmentation.early import check_are_checkpoints, check_data, check_writable
from mmsegmentation.files import (
    check_replaceable,
    id_below,
    sha256_of,
    whole_folder,
    write_json,
)
from mmsegmentation.fold_config import of_fold, use_fold
from mmsegmentation.fold_origin import check_predicting
from mmsegmentation.folds import ROLES, Fold
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
    check_writable(args.out)
    fold = use_fold(cfg, args.fold, args.folds)
    part = choose_part(cfg, args.split, fold)
    if args.tta:
        use_tta(cfg, args.config)
    images = choose_images(cfg, part, args.split, fold)
    check_data(cfg, ['test_dataloader'])
    choose_device(args.device)
    content = check_checkpoint(args.checkpoint)
    check_predicting(content, args.checkpoint, fold, args.split)
    import_parts(cfg)
    with processes(cfg):
        print_device(cfg)
        with _shared_folder(args) as folder:
            scores = predict(cfg, images, folder, args, content, fold)
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


def choose_part(cfg: 'Config', split: str, fold: Fold | None = None) -> dict[str, Any]:
    """Point the test loader of ``cfg`` at a part of the data root; return its data set.

    Labels are read where the part has them; else no pipeline step asks for them.

    Args:
        fold: Its images may be in other parts, which are alike.
    """
    if fold and split in ROLES:
        split = next(iter(fold.lists(split)))
    dataset = cfg.test_dataloader.get('dataset')
    if not (dataset and dataset.get('data_root')):
        raise InputError(
            'test_dataloader',
            'its data set has no data_root to choose a part of',
            'name one RecycleDataset, as _base_/datasets/recycle.py does',
        )
    root = Path(dataset.data_root)
    dataset.data_prefix = {'img_path': f'{split}/images'}
    if (root / split / 'mask').is_dir():
        dataset.data_prefix['seg_map_path'] = f'{split}/mask'
    else:
        dataset.pipeline = _without_labels([dataset.pipeline])[0]
        for step in cfg.get('tta_pipeline', []):
            if 'transforms' in step:
                step.transforms = _without_labels(step.transforms)
    return dataset


def choose_images(
    cfg: 'Config', part: dict[str, Any], split: str, fold: Fold | None
) -> list[Path]:
    """Point the test loader of ``cfg`` at the images of a fold; return their folders.

    Args:
        part: What :func:`choose_part` returned. Without a fold, all of it is used.
    """
    root = Path(part['data_root'])
    if not (fold and split in ROLES):
        return [root / part['data_prefix']['img_path']]
    cfg.test_dataloader.dataset = of_fold(part, root, fold, split, 'test_dataloader')
    return [root / name / 'images' for name in fold.lists(split)]


def _without_labels(groups: list[list]) -> list[list]:
    # An empty group of alternatives would be an error to TestTimeAug.
    kept = [[step for step in g if step.type != 'LoadAnnotations'] for g in groups]
    return [group for group in kept if group]


def use_tta(cfg: 'Config', name: str) -> None:
    """Wrap the model of ``cfg`` in its ``tta_model``, fed by its ``tta_pipeline``."""
    if not (cfg.get('tta_model') and cfg.get('tta_pipeline')):
        raise InputError(name, 'has no tta_model and tta_pipeline', 'leave out --tta')
    tell(view_notes(cfg))
    if cfg.tta_model.type == 'SegTTAModel':
        # It leaves the logits of the last view alone. Ours gives the same labels, with
        # the confidence and the probabilities of the mean.
        cfg.tta_model.type = 'MeanProbabilityTTA'
    cfg.test_dataloader.dataset.pipeline = cfg.tta_pipeline
    cfg.tta_model.module = cfg.model
    cfg.model = cfg.tta_model


def predict(
    cfg: 'Config',
    images: Sequence[Path],
    folder: Path,
    args: Namespace,
    content: dict[str, Any],
    fold: Fold | None,
) -> dict | None:
    """Fill ``folder`` with predictions; return the scores where labels exist.

    Args:
        images: The folders of the images.
        content: The content of the checkpoint, which must fit the model.
        fold: What is predicted, if it is one.
    """
    from mmengine.dist import is_main_process

    labelled = all((path.parent / 'mask').is_dir() for path in images)
    cfg.test_evaluator = [_writer(images, folder, args)]
    if labelled:
        cfg.test_evaluator.append({'type': 'ExactIoUMetric'})
    with TemporaryDirectory() as cfg.work_dir:
        runner = build_tester(cfg, args.cfg_options)
        load_weights(runner.model, content, args.checkpoint)
        dataset = runner.test_dataloader.dataset
        if is_main_process():
            print(f'{len(dataset)} images of {args.split} to predict', flush=True)
        runner.test()
    if not is_main_process():
        return None
    paths = [dataset.get_data_info(i)['img_path'] for i in range(len(dataset))]
    image_ids = [id_below(images, Path(path)) for path in paths]
    scores, origin = None, _origin(args, content, fold)
    if labelled:
        scores = runner.test_evaluator.metrics[-1].last_scores
        own = {'checkpoint_sha256': origin['checkpoint_sha256']}
        write_json(folder / 'metrics.json', own | scores)
    finish_predictions(folder, dataset.metainfo['classes'], image_ids, origin)
    return scores


def _writer(images: Sequence[Path], folder: Path, args: Namespace) -> dict[str, Any]:
    return {
        'type': 'PredictionWriter',
        'out_dir': str(folder),
        'images': [str(path) for path in images],
        'probs': args.probs,
    }


def build_tester(cfg: 'Config', options: Sequence[str]) -> 'Runner':
    """Build a runner that tests and does nothing else; its model has no weights yet.

    Args:
        cfg: Its parts for training are dropped.
        options: The ``key=value`` pairs that changed it.
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
    cfg.default_hooks = {'checkpoint': None, 'logger': None}
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
