"""Rank the labels that predictions contradict with confidence, for a person to look at.

    python utils/label_noise.py PRED --data-root ROOT --out D --json RAW/train.json

Writes objects.csv and images.csv, the most doubtful first, findings.json, which CVAT
(COCO 1.0) and FiftyOne (COCODetectionDataset) open, and top.png, the first of them as
pictures. No label is changed. The predictions must be of a model that was not trained
on these images: one that was repeats their labels.
"""

import argparse
import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmsegmentation.command import InputError, Parser, run_command
from mmsegmentation.files import (
    refuse_existing,
    refuse_overlap,
    sha256_of,
    whole_folder,
)
from mmsegmentation.parts import check_unseen, locate, mask_of, named_parts
from mmsegmentation.predictions import MARKER, Predictions, open_predictions
from utils.class_table import check_classes, order_of
from utils.noise.kinds import MEANINGS, SCORE
from utils.parallel import ALONE, Workers, add_worker_options

if TYPE_CHECKING:
    from utils.noise.ranking import Ranking

RESULT = 'findings.json'
MIN_SCORE = 0.1
# Of three a row; a PNG of many more is higher than programs open. The tables have all.
MOST_DRAWN = 300


def rank_label_noise(
    predictions: Predictions,
    masks: Path | Mapping[str, Path],
    *,
    annotations: Path | None = None,
    order: str = 'area',
    min_score: float = MIN_SCORE,
    workers: Workers = ALONE,
) -> 'Ranking':
    """Return the labels that the predictions contradict, the most doubtful first.

    Args:
        predictions: Of images that the model was not trained on.
        masks: Folder of the labels as masks, or the file of each by image id.
        annotations: COCO JSON that the masks were painted from, for the outlines and
            ids of the objects; without it, a connected region of a class is an object.
        order: What lay on top when they were painted, ``area`` or ``points``.
        min_score: Findings below are left out, in [0, 1].
        workers: Who does the work.

    Raises:
        InputError: A file is missing or damaged, sizes differ, a class id is unknown,
            or the JSON lacks an image.
    """
    from utils.noise.inputs import list_inputs, weigh_image
    from utils.noise.ranking import rank

    inputs = list_inputs(predictions, masks, annotations, order)
    weigh = partial(weigh_image, predictions)
    evidence = workers.map(weigh, inputs, 'labels')
    origin: dict[str, Any] = {
        'predictions': str(predictions.folder),
        'predictions_sha256': sha256_of(predictions.folder / MARKER),
    }
    outlined = annotations is not None
    return rank(list(evidence), predictions.classes, origin, min_score, outlined)


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(
        prog='utils/label_noise.py',
        description='Rank the labels that predictions contradict with confidence.',
        epilog=f'Kinds of findings: {say_kinds()}. Score: {SCORE}.',
    )
    add = parser.add_argument
    add('pred', type=Path, metavar='PRED', help='predictions of images not trained on')
    add('--out', type=Path, required=True, metavar='D', help='folder to write')
    add(
        '--data-root',
        type=Path,
        default=Path(os.environ.get('RECYCLE_DATA', 'input/data')),
        metavar='ROOT',
        help='data root with the labels',
    )
    add('--split', metavar='PART', help='its part; by default, the one predicted')
    add(
        '--json',
        type=Path,
        metavar='JSON',
        help="the part's COCO JSON: outlines and ids of its objects; without it, each "
        'connected region of a class is one object',
    )
    text = f'findings drawn in top.png, at most {MOST_DRAWN}'
    add('--top', type=int, default=20, metavar='N', help=text)
    add(
        '--min-score',
        type=float,
        default=MIN_SCORE,
        metavar='S',
        help='least score listed, in [0, 1]',
    )
    add_worker_options(parser)
    add('--overwrite', action='store_true', help='replace --out')
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    args = parse_args(argv)
    check_numbers(args)
    refuse_existing(args.out, args.overwrite, RESULT)
    predictions = open_predictions(args.pred)
    refuse_overlap(args.out, filter(None, (args.pred, args.data_root, args.json)))
    order = order_of(args.data_root)
    check_classes(predictions, args.data_root)
    check_unseen(predictions.folder, predictions.origin)
    parts = named_parts(predictions.origin, args.split)
    places = locate(args.data_root, predictions.image_ids, parts)
    masks = {i: mask_of(place, i) for i, place in places.items()}
    photos = {i: place.photo for i, place in places.items()}
    ranking = rank_label_noise(
        predictions,
        masks,
        annotations=args.json,
        order=order,
        min_score=args.min_score,
        workers=Workers.of(args),
    )
    from utils.noise.export import write_coco, write_tables
    from utils.noise.sheet import draw_sheet

    with whole_folder(args.out, marker=RESULT, overwrite=args.overwrite) as folder:
        write_tables(folder, ranking)
        write_coco(folder / RESULT, ranking)
        sheet = folder / 'top.png'
        draw_sheet(sheet, ranking, args.top, photos, masks, predictions)
    print_summary(ranking)
    print(f'written to {args.out}: objects.csv, images.csv, {RESULT}, top.png')
    return 0


def check_numbers(args: argparse.Namespace) -> None:
    """Refuse numbers out of range.

    Raises:
        InputError: One is.
    """
    if not 1 <= args.top <= MOST_DRAWN:
        raise InputError('--top', f'is {args.top}', f'give 1 to {MOST_DRAWN}')
    if not 0 <= args.min_score <= 1:
        raise InputError(
            '--min-score', f'{args.min_score} is not in [0, 1]', 'change it'
        )


def say_kinds() -> str:
    """Return what the kinds of findings mean, in one line."""
    return '; '.join(f'{kind}, {meaning}' for kind, meaning in MEANINGS.items())


def say_objects(ranking: 'Ranking') -> str:
    """Return how many objects were judged, and what counts as one."""
    what = (
        'as outlined in the JSON'
        if ranking.outlined
        else 'connected regions of one class'
    )
    return f'{ranking.objects:,} labelled objects ({what})'


def say_model(ranking: 'Ranking') -> str:
    """Return how good the model is that the findings come from."""
    return (
        f'mIoU of the predictions by these labels: {ranking.miou:.3f}; the weaker a '
        'model, the more of its findings are its own mistakes'
    )


def print_summary(ranking: 'Ranking') -> None:
    """Print how many findings there are of each kind, and the first of them."""
    kinds = [finding.kind for finding in ranking.findings]
    print(
        f'{say_objects(ranking)}; {len(kinds)} findings in {len(ranking.images)} images'
    )
    print(say_model(ranking))
    for kind, meaning in MEANINGS.items():
        if kind in kinds:
            print(f'  {kinds.count(kind):>5} {kind}: {meaning}')
    if kinds:
        print(f'the first by score ({SCORE}):')
    for finding in ranking.findings[:5]:
        said = ranking.classes[finding.given]
        if finding.suggested != finding.given:
            said += f' -> {ranking.classes[finding.suggested]}'
        print(f'  {finding.score:.3f}  {finding.kind}: {said}  {finding.image_id}')


if __name__ == '__main__':
    run_command(main)
