"""Choose members, weights and tie rule of a vote on labelled images.

    python utils/ensemble.py fit PRED PRED... --data-root ROOT --out vote.json

The images must be ones that no member was trained on: a validation part, or folds that
utils/join.py joined. The vote is chosen within folds of them and scored on the others,
so that the score is honest. A vote that is not better than the best member is not
proposed; then the file names that member alone.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mmsegmentation.command import InputError, Parser
from mmsegmentation.files import refuse_existing, whole_file
from mmsegmentation.parts import check_unseen, find_masks, named_parts
from utils.class_table import CLASSES_HELP
from utils.parallel import Workers, add_worker_options
from utils.votes.members import Voters, check_folders, open_voters

if TYPE_CHECKING:
    from utils.votes.table import Table


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(
        prog='utils/ensemble.py fit',
        description='Choose a vote on images that no member was trained on.',
    )
    add = parser.add_argument
    add('preds', type=Path, nargs='+', metavar='PRED', help='folders of predictions')
    add('--data-root', type=Path, required=True, metavar='ROOT', help='the true masks')
    add('--out', type=Path, required=True, metavar='F', help='JSON to write')
    part = 'part of --data-root that was predicted; what PRED says if not given'
    add('--split', help=part)
    add('--folds', type=int, default=5, help='parts of the images, 3 or more')
    add('--seed', type=int, default=0, help='the same seed gives the same folds')
    table = f'of plain folders: {CLASSES_HELP}'
    add('--classes', type=Path, metavar='FILE', help=table)
    add_worker_options(parser)
    add('--overwrite', action='store_true', help='replace --out')
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    args = parse_args(argv)
    refuse_existing(args.out, args.overwrite)
    check_folders(args.preds, args.out)
    voters = open_voters(args.preds, args.classes)
    for member, origin in zip(voters.members, voters.origins, strict=True):
        check_unseen(member.folder, origin)
    check_folds(len(voters.image_ids), args.folds, args.seed)
    parts = named_parts(voters.origins[0], args.split)
    masks = find_masks(args.data_root, voters.image_ids, parts)
    from utils.votes.honest import judge, judge_table
    from utils.votes.nested import fit_nested
    from utils.votes.rule_file import write_rule

    # A place that cannot be written to shows before the work, not after it.
    with whole_file(args.out, overwrite=args.overwrite) as beside:
        table = count_images(voters, masks, args.folds, args.seed, Workers.of(args))
        nested = fit_nested(table)
        names = [str(member.folder) for member in voters.members]
        judged = judge(table, nested, names, voters.classes)
        drawn = {'folds': args.folds, 'seed': args.seed}
        scores, fit = {**judged.scores, **drawn}, judged.fit
        write_rule(beside, voters, fit.chosen, fit.choice, scores)
    print(judge_table(judged, nested, names))
    print(f'written to {args.out}')
    return 0


def check_folds(images: int, folds: int, seed: int) -> None:
    """Refuse folds that cannot be drawn.

    Raises:
        InputError: There are too few folds or images.
    """
    if seed < 0:
        raise InputError('--seed', f'is {seed}', 'give 0 or more')
    if folds < 3:
        raise InputError('--folds', f'is {folds}', 'give 3 or more')
    if images < folds:
        raise InputError(
            f'--folds {folds}',
            f'there are {images} labelled images',
            'give fewer, or predict more images',
        )


def draw_folds(images: int, folds: int, seed: int) -> np.ndarray:
    """Return the fold of each image, in turn over a shuffled list, (images,) int64."""
    fold_of = np.empty(images, np.int64)
    fold_of[np.random.default_rng(seed).permutation(images)] = np.arange(images) % folds
    return fold_of


def count_images(
    voters: Voters,
    masks: Mapping[str, Path],
    folds: int,
    seed: int,
    workers: Workers,
) -> 'Table':
    """Return what is known of all images, and their folds.

    An image without a labelled pixel is in no fold: a fold of such images would be
    fitted on, or scored by, nothing.

    Args:
        masks: The true mask of each image, by image id.

    Raises:
        InputError: A file is missing or damaged, sizes differ, or fewer images than
            folds have a labelled pixel.
    """
    from utils.votes.joint import Counter
    from utils.votes.search import plan_candidates
    from utils.votes.table import join

    kept = {'confidence': 'confidence', 'soft': 'probs'}
    kinds = [kind for kind, folder in kept.items() if voters.all_have(folder)]
    size = len(voters.classes)
    candidates = tuple(plan_candidates(len(voters.members), size, kinds))
    counter = Counter(voters.members, candidates)
    tasks = [(image_id, masks[image_id].resolve()) for image_id in voters.image_ids]
    found = workers.map(counter.count, tasks, 'count')
    counted = [one for one in found if len(one.rows)]
    if not counted:
        raise InputError(
            masks[voters.image_ids[0]].parent, 'no pixel is labelled', 'label some'
        )
    check_folds(len(counted), folds, seed)
    return join(counted, draw_folds(len(counted), folds, seed), candidates, size)
