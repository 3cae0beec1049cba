"""Turn predictions of the test part into a part to train on.

    python utils/pseudo_label.py PRED --data-root ROOT --threshold .9
    python utils/pseudo_label.py PRED --data-root ROOT --fit OOF_PRED --precision .9

Writes ROOT/pseudo/images, ROOT/pseudo/mask, and ROOT/pseudo/pseudo.json, which says
where the labels come from. A pixel is trusted where its confidence reaches the
threshold of its class; every other becomes 255 and is ignored in training. An image
without a trusted pixel is left out.

With --fit, the thresholds are fitted on OOF_PRED, predictions of images with true
labels. The threshold of a class is the lowest one at which the kept pixels reliably
have the precision P: the lower end of its 95 % interval over at least ten images
reaches P. If no threshold does, the class is not kept at all.
"""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmsegmentation.command import InputError, Parser, run_command
from mmsegmentation.files import (
    refuse_existing,
    require_folder,
    whole_folder,
    write_json,
)
from mmsegmentation.parts import PSEUDO, PSEUDO_MARKER, check_pseudo_part
from mmsegmentation.predictions import Predictions, open_predictions
from utils.class_table import check_classes
from utils.lineage import checkpoints_of, earlier_rounds, entry_of, folds_of
from utils.parallel import Workers, add_worker_options
from utils.pseudo.labelled import Labelled, find_labelled, look_at_photo
from utils.pseudo.labels import PseudoLabels, Rules
from utils.pseudo.tables import fit_table, kept_table, left_out
from utils.pseudo.thresholds import fraction, given_thresholds

if TYPE_CHECKING:
    import numpy as np

    from utils.pseudo.fitting import Fitted, Source

THRESHOLD = PRECISION = 0.9


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(
        prog='utils/pseudo_label.py',
        description='Turn predictions of the test part into a part to train on.',
    )
    add = parser.add_argument
    add('pred', type=Path, metavar='PRED', help='prediction folder of the test part')
    add(
        '--data-root',
        type=Path,
        default=Path(os.environ.get('RECYCLE_DATA', 'input/data')),
        metavar='ROOT',
        help='data root; its test/images is read, and the new part written into it',
    )
    add('--part', default=PSEUDO, metavar='NAME', help='new part, as pseudo_fold0')
    text = f'least confidence, in [0, 1]; {THRESHOLD} if none'
    add('--threshold', type=float, metavar='P', help=text)
    add(
        '--class-threshold',
        nargs='+',
        action='extend',
        default=[],
        metavar='NAME=VALUE',
        help='another threshold for one class, such as "Battery=0.6"',
    )
    text = 'fit the thresholds on these out-of-fold (or validation) predictions'
    add('--fit', type=Path, metavar='OOF_PRED', help=text)
    text = f'share of kept pixels that must reliably be right (default: {PRECISION})'
    add('--precision', type=float, metavar='P', help=text)
    text = 'connected regions of a kept class below so many pixels become 255'
    add('--min-region', type=int, default=0, metavar='N', help=text)
    text = 'leave out images with a smaller share of kept pixels, in [0, 1]'
    add('--min-kept', type=float, default=0.0, metavar='SHARE', help=text)
    text = 'keep the confidence too, for the transform KeepByConfidence to weigh by'
    add('--soft', action='store_true', help=text)
    text = 'leave out images that a labelled part holds too, instead of stopping'
    add('--skip-labelled', action='store_true', help=text)
    text = 'write pseudo.json alone where nothing is trusted, instead of stopping'
    add('--allow-empty', action='store_true', help=text)
    text = "how often this was done, from 1; one more than the model's if none"
    add('--round', type=int, metavar='N', help=text)
    add_worker_options(parser)
    add('--overwrite', action='store_true', help='replace the part')
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    args = parse_args(argv)
    check_arguments(args)
    out = args.data_root / args.part
    refuse_existing(out, args.overwrite, PSEUDO_MARKER)
    for source in filter(None, (args.pred, args.fit)):
        if source.resolve().is_relative_to(out.resolve()):
            raise InputError(out, f'would replace {source}', 'move the predictions')
    predictions = open_predictions(args.pred)
    check_classes(predictions, args.data_root)
    given_thresholds(args.threshold, args.class_threshold, predictions.classes)
    source = open_source(args, predictions)
    labelled = find_labelled(args.data_root)
    if not args.skip_labelled:
        labelled.check_names(predictions.image_ids)
    images = images_of(args.data_root)
    workers = Workers.of(args, threads=True)
    with whole_folder(out, marker=PSEUDO_MARKER, overwrite=args.overwrite) as folder:
        sizes = sizes_of_images(args, predictions, labelled, workers)
        fitted = source.fit(args.precision, workers) if source else None
        if fitted:
            print(fit_table(fitted, predictions.classes))
        thresholds = choose_thresholds(args, predictions, fitted)
        rules = Rules(thresholds, args.min_region, args.min_kept, args.soft)
        labels = PseudoLabels(predictions, images, rules, args.allow_empty)
        counted = labels.write(folder, sizes, workers)
        summary = {**describe(args, predictions, rules, fitted), **counted}
        summary['labelled'] = [i for i in predictions.image_ids if i not in sizes]
        write_json(folder / PSEUDO_MARKER, summary)
    print(kept_table(summary))
    print(f'{len(summary["images"])} images written to {out}')
    for line in left_out(summary):
        print(line)
    return 0


def check_arguments(args: argparse.Namespace) -> None:
    """Refuse what is wrong by itself, and fill in what depends on other options.

    Raises:
        InputError: A number is out of range, or an option is of no use beside another.
    """
    check_pseudo_part(args.part, '--part')
    if args.fit and args.threshold is not None:
        raise InputError(
            '--threshold', '--fit finds the thresholds', 'leave out one of the two'
        )
    if args.precision is not None and not args.fit:
        raise InputError('--precision', 'is of --fit, which is missing', 'pass --fit')
    args.threshold = THRESHOLD if args.threshold is None else args.threshold
    args.precision = PRECISION if args.precision is None else args.precision
    for name in ('threshold', 'precision', 'min_kept'):
        fraction(f'--{name.replace("_", "-")}', getattr(args, name))
    if args.round is not None and args.round < 1:
        raise InputError('--round', f'{args.round} is below 1', 'count from 1')
    if args.min_region < 0:
        raise InputError('--min-region', f'{args.min_region} is negative', 'give 0')


def images_of(root: Path) -> Path:
    """Return the folder of the photographs that are to be labelled.

    Raises:
        InputError: There is none.
    """
    folder = root / 'test/images'
    require_folder(folder, 'check --data-root')
    return folder


def open_source(args: argparse.Namespace, predictions: Predictions) -> 'Source | None':
    """Open what thresholds are to be fitted on, if that was asked for."""
    if not args.fit:
        return None
    from utils.pseudo.fitting import open_source

    return open_source(args.fit, predictions, args.data_root)


def sizes_of_images(
    args: argparse.Namespace,
    predictions: Predictions,
    labelled: Labelled,
    workers: Workers,
) -> dict[str, tuple[int, int]]:
    """Return height and width of the photographs that may be labelled, by image id.

    Raises:
        InputError: One is missing or unreadable, or a labelled part has it.
    """
    image_ids = [i for i in predictions.image_ids if not labelled.part_of(i)]
    paths = [images_of(args.data_root) / image_id for image_id in image_ids]
    photos = [*workers.map(look_at_photo, [(path,) for path in paths], 'photographs')]
    sizes = {}
    for image_id, path, photo, same in zip(
        image_ids, paths, photos, labelled.same_as(photos, workers), strict=True
    ):
        if same is None:
            sizes[image_id] = photo.size
        elif not args.skip_labelled:
            raise InputError(
                path,
                f'is the same image as {same}, which has labels of its own',
                'leave it out of one part, or pass --skip-labelled',
            )
    if not sizes:
        raise InputError(
            predictions.folder, 'holds no image without labels', 'predict the test part'
        )
    return sizes


def choose_thresholds(
    args: argparse.Namespace, predictions: Predictions, fitted: 'Fitted | None'
) -> 'np.ndarray':
    """Return the threshold of each class, infinite where nothing is kept."""
    threshold = fitted.fit.thresholds if fitted else args.threshold
    return given_thresholds(threshold, args.class_threshold, predictions.classes)


def describe(
    args: argparse.Namespace,
    predictions: Predictions,
    rules: Rules,
    fitted: 'Fitted | None',
) -> dict[str, Any]:
    """Return what ``pseudo.json`` says of parents and rules."""
    origin = predictions.origin
    parent = entry_of(predictions.folder, origin)
    earlier = earlier_rounds(origin)
    rounds = [r['round'] for r in earlier if isinstance(r.get('round'), int)]
    thresholds = rules.thresholds.tolist()
    return {
        'part': args.part,
        'round': args.round or 1 + max(rounds, default=0),
        'predictions': {'sha256': parent.pop('predictions_sha256'), **parent},
        'checkpoints_sha256': checkpoints_of(origin),
        # of the models; null: trained on no fold
        'folds': folds_of(origin),
        'earlier': earlier,
        'classes': list(predictions.classes),
        # null: no pixel of this class is kept
        'thresholds': [t if t <= 1 else None for t in thresholds],
        'given_thresholds': args.class_threshold,
        'fit': fitted.describe() if fitted else None,
        'min_region': rules.min_region,
        'min_kept': rules.min_kept,
        'soft': rules.soft,
    }


if __name__ == '__main__':
    run_command(main)
