"""Say whether a model that learnt more, from pseudo labels, is better than without.

    python utils/gate.py WITH WITHOUT --data-root ROOT

Both are predictions of the same labelled images, which neither model was trained on:
out of fold (utils/join.py), or of the validation part. The gain in mIoU over all pixels
is paired by image, and its interval holds for all images of this kind.

WITHOUT should be trained for the same number of steps on real labels alone
(tools/train.py --without-pseudo). Otherwise the gain may come from the longer training,
and the command prints a warning.

better   the 95 % interval of the gain lies above 0: passed, exit code 0
unclear  the interval holds 0: not passed, exit code 1
worse    the interval lies below 0: not passed, exit code 1
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmsegmentation.command import InputError, Parser, run_command
from mmsegmentation.files import (
    read_mask,
    refuse_existing,
    sha256_of,
    write_json,
)
from mmsegmentation.parts import find_masks, named_parts
from mmsegmentation.predictions import MARKER, Predictions, open_predictions
from utils.class_table import check_classes
from utils.lineage import check_family_unseen, checkpoints_of, earlier_rounds, steps_of
from utils.parallel import ALONE, Workers, add_worker_options

if TYPE_CHECKING:
    import numpy as np

PASSED, NOT_PASSED = 0, 1


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(
        prog='utils/gate.py',
        description='Pass a model that is better than the one before it. Exit code 0: '
        'passed, 1: not passed, 2: wrong input.',
    )
    add = parser.add_argument
    add('with_', type=Path, metavar='WITH', help='predictions with the pseudo labels')
    add('without', type=Path, metavar='WITHOUT', help='those of the model before')
    add('--data-root', type=Path, required=True, metavar='ROOT', help='the true masks')
    add('--split', metavar='PART', help='part of ROOT; what WITHOUT says if not given')
    add('--out', type=Path, metavar='JSON', help='keep the verdict in a file')
    add_worker_options(parser)
    add('--overwrite', action='store_true', help='replace --out')
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    args = parse_args(argv)
    if args.out:
        refuse_existing(args.out, args.overwrite)
    one, two = open_predictions(args.with_), open_predictions(args.without)
    check_pair(one, two)
    check_classes(one, args.data_root)
    parts = named_parts(two.origin, args.split)
    masks = find_masks(args.data_root, two.image_ids, parts)
    record = judge(one, two, masks, Workers.of(args, threads=True))
    print(verdict_table(record))
    if note := length_note(one, two):
        print(note)
    if args.out:
        write_json(args.out, record)
        print(f'verdict written to {args.out}')
    return PASSED if record['passed'] else NOT_PASSED


def check_pair(one: Predictions, two: Predictions) -> None:
    """Refuse what cannot be compared.

    Raises:
        InputError: Both are one folder, classes or images differ, or a model was
            trained on these images.
    """
    if one.folder.resolve() == two.folder.resolve():
        raise InputError(one.folder, 'is compared with itself', 'name two folders')
    if one.classes != two.classes:
        raise InputError(
            one.folder,
            f'its classes differ from those of {two.folder}',
            'predict both with one class table',
        )
    if not one.image_ids:
        raise InputError(one.folder, 'holds no image', 'predict again')
    for this, other in ((one, two), (two, one)):
        if lacking := sorted({*this.image_ids} - {*other.image_ids}):
            raise InputError(
                repr(lacking[0]),
                f'is in {this.folder} but not in {other.folder}',
                'predict the same images with both models',
            )
    for predictions in (one, two):
        check_family_unseen(predictions.folder, predictions.origin)
    if _folds_of(one) != _folds_of(two):
        raise InputError(
            one.folder,
            f'and {two.folder} are of different folds',
            'train and predict both with the same folds',
        )


def _folds_of(predictions: Predictions) -> Any:
    origin = predictions.origin
    record = origin.get('fold')
    own = record.get('folds_sha256') if isinstance(record, dict) else None
    return origin.get('folds_sha256') or own


def judge(
    one: Predictions,
    two: Predictions,
    masks: Mapping[str, Path],
    workers: Workers = ALONE,
) -> dict[str, Any]:
    """Return whether ``one`` is better than ``two``, and by how much.

    Args:
        masks: The true mask of each image.

    Returns:
        ``verdict``, ``passed``, ``gain`` in mIoU over all pixels with its 95 %
        ``interval``, the scores of both, the gain of each class, and where both come
        from.

    Raises:
        InputError: A mask is missing, differs in size or has an unknown id, or no pixel
            is labelled.
    """
    import numpy as np

    from mmsegmentation.scores import iou_of_areas, mean_known
    from utils.error_page.comparison import compare

    tasks = [(one, two, image_id, masks[image_id]) for image_id in two.image_ids]
    areas = np.stack(list(workers.map(measure, tasks, 'gate')), 1)
    labelled = areas[1, :, 1].any(1)
    if not labelled.any():
        raise InputError(two.folder, 'no pixel has a true label', 'name another part')
    areas = areas[:, labelled]
    found = compare(areas[1], areas[0], two.classes)
    gain, interval = found['mIoU']['difference'], found['mIoU']['interval']
    verdict = verdict_of(gain, interval)
    scores = [float(mean_known(iou_of_areas(a.sum(0)))) for a in areas]
    return {
        'verdict': verdict,
        'passed': verdict == 'better',
        'gain': gain,
        'interval': interval,
        'images': areas.shape[1],
        'IoU_gain': {
            name: found['IoU'][name] and found['IoU'][name]['difference']
            for name in two.classes
        },
        'with': {**_describe(one), 'mIoU': scores[0]},
        'without': {**_describe(two), 'mIoU': scores[1]},
    }


def measure(
    one: Predictions, two: Predictions, image_id: str, path: Path
) -> 'np.ndarray':
    """Return correct pixels and union by class of both, (2, 2, classes) int64."""
    import numpy as np

    from mmsegmentation.scores import areas_of, confusion_matrix

    truth, rows = read_mask(path), []
    for predictions in (one, two):
        try:
            count = len(predictions.classes)
            confusion = confusion_matrix(truth, predictions.mask(image_id), count)
        except InputError:
            raise
        except ValueError as error:
            what = f'{path} and {predictions.folder}: {error}'
            raise InputError(repr(image_id), what, 'check --data-root') from None
        rows.append(areas_of(confusion))
    return np.stack(rows)


def verdict_of(gain: float, interval: Sequence[float]) -> str:
    """Return what a gain and its interval say.

    >>> [verdict_of(0.02, i) for i in ([0.001, 0.04], [-0.01, 0.05])]
    ['better', 'unclear']
    >>> verdict_of(0.0, [0.0, 0.0])
    'unclear'
    """
    if gain > 0 and interval[0] > 0:
        return 'better'
    return 'worse' if gain < 0 and interval[1] < 0 else 'unclear'


def _describe(predictions: Predictions) -> dict[str, Any]:
    return {
        'folder': str(predictions.folder),
        'predictions_sha256': sha256_of(predictions.folder / MARKER),
        'checkpoints_sha256': checkpoints_of(predictions.origin),
        'steps': steps_of(predictions.origin),
        'pseudo': earlier_rounds(predictions.origin),
    }


def verdict_table(record: Mapping[str, Any]) -> str:
    """Return gain and verdict as text."""
    lines = [f'{"class":<16}{"gain in IoU":>12}']
    for name, gain in record['IoU_gain'].items():
        lines.append(f'{name:<16}{"-" if gain is None else f"{gain:+.3f}":>12}')
    low, high = record['interval']
    lines.append(
        f'mIoU {record["without"]["mIoU"]:.4f} without, {record["with"]["mIoU"]:.4f} '
        f'with: gain {record["gain"]:+.4f}  95 % [{low:+.4f}, {high:+.4f}]  '
        f'({record["images"]} images)'
    )
    passed = 'passed' if record['passed'] else 'not passed'
    lines.append(f'{record["verdict"]}: {passed}')
    return '\n'.join(lines)


def length_note(one: Predictions, two: Predictions) -> str:
    """Return a note if two models may differ in training steps, else an empty text."""
    for predictions in (one, two):
        if steps_of(predictions.origin) is None:
            return (
                f'note: {predictions.folder} has no record of the training steps of '
                'its model; the gain may come from a longer training'
            )
    steps = [steps_of(predictions.origin) for predictions in (one, two)]
    if steps[0] == steps[1]:
        return ''
    return (
        f'warning: {one.folder} was trained for {steps[0]} steps, {two.folder} for '
        f'{steps[1]}: the gain may come from the longer training; compare with a model '
        'trained for the same number of steps on real labels alone (tools/train.py '
        '--without-pseudo)'
    )


if __name__ == '__main__':
    run_command(main)
