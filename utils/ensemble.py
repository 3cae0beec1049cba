"""Let several models vote on the class of each pixel.

    python utils/ensemble.py PRED PRED... --out PRED
    python utils/ensemble.py fit PRED PRED... --data-root ROOT --out vote.json
    python utils/ensemble.py PRED PRED... --rule vote.json --out PRED

hard        each model has one vote
confidence  each model's vote weighs its confidence in that pixel
soft        the probabilities of all classes are added up, from probs/

A PRED is a prediction folder or a plain folder of PNG masks. --weights adds a weight
for each model, or its accuracy or IoU for each class. A tie goes to the class with the
highest accuracy, as in the metrics.json of the models that voted for it, then to the
earliest model; --ties names another rule. The confidence that is written is the mean
confidence of the models that voted for the outcome, times their share of all; of a soft
vote it is the share of the outcome. fit chooses all that by the labels of images that
no model was trained on; --rule applies what it chose.
"""

import argparse
import sys
from collections.abc import Sequence
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmsegmentation.command import InputError, Parser, run_command
from mmsegmentation.files import refuse_existing, sha256_of, whole_folder
from mmsegmentation.parts import find_masks, named_parts
from mmsegmentation.predictions import MARKER, finish_predictions, score_predictions
from mmsegmentation.scores import score_table
from utils.class_table import CLASSES_HELP
from utils.lineage import entry_of
from utils.parallel import Workers, add_worker_options
from utils.votes.choice import METHODS, Choice, choose
from utils.votes.measured import check_owners
from utils.votes.members import Voters, check_folders, open_voters
from utils.votes.rule_file import apply_rule
from utils.votes.summary import explain, vote_table
from utils.voting import TIES

if TYPE_CHECKING:
    from utils.votes.ballot import Count

# What --rule brings with it.
RULED = 'method', 'weights', 'ties', 'metrics'


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(
        prog='utils/ensemble.py',
        description='Vote of several models on each pixel. '
        '"utils/ensemble.py fit --help" tells how members and weights are fitted.',
    )
    option = parser.add_argument
    option('preds', type=Path, nargs='+', metavar='PRED', help='folders of predictions')
    option('--out', type=Path, required=True, metavar='PRED', help='new folder')
    option('--method', choices=METHODS, help='what is added up; hard if not given')
    option(
        '--weights',
        nargs='+',
        metavar='W',
        help='a number for each PRED, or "accuracy" or "iou" of each class',
    )
    option('--ties', choices=TIES, help='what decides a tie; accuracy if it is known')
    option(
        '--metrics',
        type=Path,
        nargs='+',
        metavar='M',
        help="metrics.json of each model, in order; each PRED's own if not given",
    )
    option('--rule', type=Path, metavar='F', help='a vote that fit wrote')
    by_order = 'the PREDs are the members of --rule in order, whatever their checkpoint'
    option('--by-order', action='store_true', help=by_order)
    table = f'of plain folders: {CLASSES_HELP}'
    option('--classes', type=Path, metavar='FILE', help=table)
    maps = (
        'also write grey PNGs: maps/ties, white where classes tied, and '
        'maps/disagreement, the brighter the more members chose another class than the '
        'outcome: black none of them, white all'
    )
    option('--maps', action='store_true', help=maps)
    option('--data-root', type=Path, metavar='ROOT', help='score against its masks')
    part = 'part of --data-root that was predicted; what PRED says if not given'
    option('--split', help=part)
    add_worker_options(parser)
    option('--overwrite', action='store_true', help='replace --out')
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    argv = sys.argv[1:] if argv is None else list(argv)
    if argv[:1] == ['fit']:
        from utils.votes.fit import main as fit

        return fit(argv[1:])
    args = parse_args(argv)
    refuse_existing(args.out, args.overwrite, MARKER)
    check_folders(args.preds, args.out)
    voters, choice = read_choice(args)
    if choice.needs:
        thing = f'--method {choice.method}'
        if choice.method == 'hard':
            thing = f'--ties {choice.ties}'
        voters.require(choice.needs, thing)
    masks = None
    if args.data_root:
        parts = named_parts(voters.origins[0], args.split)
        masks = find_masks(args.data_root, voters.image_ids, parts)
    ties_named = args.ties is not None or args.rule is not None
    print(explain(choice, ties_named=ties_named))
    with whole_folder(args.out, marker=MARKER, overwrite=args.overwrite) as folder:
        count = cast_votes(voters, choice, folder, args.maps, Workers.of(args))
        origin = describe(voters, choice, count, args.rule)
        finish_predictions(folder, voters.classes, voters.image_ids, origin)
        scores = score_predictions(folder, masks) if masks else None
    names = [str(member.folder) for member in voters.members]
    print(vote_table(count, names, voters.classes))
    if scores is not None:
        print(score_table(scores))
    print(f'{len(voters.image_ids)} images written to {args.out}')
    return 0


def read_choice(args: argparse.Namespace) -> tuple[Voters, Choice]:
    """Return who votes, and how.

    Raises:
        InputError: Members or options do not fit together.
    """
    if args.by_order and args.rule is None:
        raise InputError('--by-order', 'is for --rule', 'leave it out')
    if args.rule is None:
        voters = open_voters(args.preds, args.classes)
        for note in check_owners(voters, args.metrics or ()):
            print(note)
        method = args.method or METHODS[0]
        return voters, choose(voters, method, args.weights, args.ties, args.metrics)
    for name in RULED:
        if getattr(args, name) is not None:
            raise InputError(f'--{name}', 'comes with --rule', 'leave one of them out')
    voters = open_voters(args.preds, args.classes, least=1)
    chosen, choice = apply_rule(args.rule, voters, by_order=args.by_order)
    for member in voters.members:
        if member not in chosen.members:
            print(f'{member.folder} is left out: {args.rule} does not need it')
    return chosen, choice


def cast_votes(
    voters: Voters, choice: Choice, folder: Path, maps: bool, workers: Workers
) -> 'Count':
    """Fill ``folder`` with the outcome; return what is told of it.

    Raises:
        InputError: A file is missing or damaged, or sizes differ.
    """
    from utils.votes.ballot import Ballot, Count

    confidence = choice.method == 'soft' or voters.all_have('confidence')
    ballot = Ballot(voters.members, choice.rule, confidence, maps, folder.resolve())
    tasks = [(image_id,) for image_id in voters.image_ids]
    return reduce(Count.plus, workers.map(ballot.cast, tasks, 'vote'))


def describe(
    voters: Voters, choice: Choice, count: 'Count', rule: Path | None
) -> dict[str, Any]:
    """Return what ``predictions.json`` says about where the outcome comes from."""
    members = []
    for member, said in zip(voters.members, voters.origins, strict=True):
        plain = {'folder': str(member.folder)}
        members.append(plain if member.plain else entry_of(member.folder, said))
    origin = {**choice.describe(), 'members': members}
    if rule is not None:
        origin['rule_sha256'] = sha256_of(rule)
    first = voters.origins[0]
    for key in ('split', 'fold', 'folds', 'folds_sha256'):
        # What all members are of, the vote is of too.
        if key in first and all(said.get(key) == first[key] for said in voters.origins):
            origin[key] = first[key]
    return origin | {'tied_pixels': count.tied, 'pixels': int(count.pixels.sum())}


if __name__ == '__main__':
    run_command(main)
