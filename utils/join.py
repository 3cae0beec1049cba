"""Join the predictions of all folds, each made by a model that did not see its images.

    python utils/join.py PRED PRED... --data-root ROOT --out PRED

Each PRED is what tools/test.py --fold K --split valid writes. The outcome is one
prediction folder that holds each image once, with one score: what is chosen by it
(thresholds, weights of a vote, a model) is chosen on all labelled images.
"""

import argparse
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmsegmentation.command import InputError, Parser, progress, run_command
from mmsegmentation.files import (
    link_or_copy,
    mask_name,
    refuse_existing,
    refuse_overlap,
    whole_folder,
)
from mmsegmentation.folds import Folds, open_folds
from mmsegmentation.parts import find_masks
from mmsegmentation.predictions import (
    MARKER,
    Predictions,
    finish_predictions,
    open_predictions,
    score_predictions,
)
from mmsegmentation.scores import score_table
from utils.lineage import entry_of

# What a prediction folder may hold beside masks, with the suffix of its files.
BESIDE = {'confidence': '.png', 'probs': '.npy'}


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(
        prog='utils/join.py',
        description='Join the predictions of all folds into one folder with one score.',
    )
    add = parser.add_argument
    add('preds', type=Path, nargs='+', metavar='PRED', help='one folder for each fold')
    add('--data-root', type=Path, required=True, metavar='ROOT', help='the true masks')
    add('--folds', type=Path, metavar='DIR', help='the folds; ROOT/folds if none')
    add('--out', type=Path, required=True, metavar='PRED', help='new folder')
    add('--allow-missing', action='store_true', help='not all images are predicted')
    add('--overwrite', action='store_true', help='replace --out')
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    args = parse_args(argv)
    refuse_existing(args.out, args.overwrite, MARKER)
    check_places(args.preds, args.out)
    folds = open_folds(args.folds or args.data_root / 'folds')
    members = [open_predictions(folder) for folder in args.preds]
    for member in members:
        check_member(member, members[0], folds)
    owners = own_images(members)
    image_ids = order_images(folds, owners, args.allow_missing)
    missing = say_missing(folds, owners)
    masks = find_masks(args.data_root, image_ids, tuple(folds.images))
    with whole_folder(args.out, marker=MARKER, overwrite=args.overwrite) as folder:
        put_together(folder, owners, image_ids, members)
        origin = describe(members, folds)
        finish_predictions(folder, members[0].classes, image_ids, origin)
        scores = score_predictions(folder, masks)
    print(score_table(scores))
    count = f'{len(members)} fold{"s" * (len(members) > 1)}'
    print(f'{len(image_ids)} images of {count} written to {args.out}')
    if missing:
        print(f'missing: {missing}')
    return 0


def check_places(folders: Sequence[Path], out: Path) -> None:
    """Refuse a name that cannot be told, and an outcome on or in a member.

    Raises:
        InputError: A path is not UTF-8, a member comes twice, or ``out`` is one, holds
            one, or lies in one, where it would be taken for a part of it.
    """
    for path in (*folders, out):
        try:
            str(path).encode()
        except UnicodeEncodeError:
            raise InputError(ascii(str(path)), 'is not UTF-8', 'rename it') from None
    places = [folder.resolve() for folder in folders]
    for folder, place in zip(folders, places, strict=True):
        if places.count(place) > 1:
            raise InputError(folder, 'is named twice', 'name each folder once')
    refuse_overlap(out, folders)


def check_member(member: Predictions, first: Predictions, folds: Folds) -> None:
    """Refuse a member that was not predicted out of fold.

    Raises:
        InputError: It is of no fold or of other folds, or holds an image that its
            model was trained on; or its classes differ from those of ``first``.
    """
    again = 'predict it with tools/test.py --fold K --split valid'
    record, role = member.origin.get('fold'), member.origin.get('split')
    if not isinstance(record, dict):
        raise InputError(member.folder, 'was not predicted by a fold', again)
    if role != 'valid':
        raise InputError(
            member.folder, f'is --split {role!r}, not the images left out', again
        )
    if record.get('folds_sha256') != folds.sha256:
        raise InputError(
            member.folder,
            f'belongs to other folds than {folds.folder}',
            'name its --folds, or train and predict with these',
        )
    fold = folds.check(record.get('fold'))
    left_out = set(fold.image_ids('valid'))
    for image_id in member.image_ids:
        if image_id not in left_out:
            raise InputError(
                member.folder,
                f'holds {image_id!r}, which fold {fold.number} did not leave out: its '
                'model may have been trained on it',
                again,
            )
    if member.classes != first.classes:
        raise InputError(
            member.folder,
            f'its classes differ from those of {first.folder}',
            'predict all with one class table',
        )


def own_images(members: Sequence[Predictions]) -> dict[str, Predictions]:
    """Return the member that holds each image.

    Raises:
        InputError: Two members hold it.
    """
    owners: dict[str, Predictions] = {}
    for member in members:
        for image_id in member.image_ids:
            other = owners.setdefault(image_id, member)
            if other is not member:
                raise InputError(
                    repr(image_id),
                    f'is in {other.folder} and in {member.folder}',
                    'name one folder for each fold',
                )
    return owners


def order_images(
    folds: Folds, owners: dict[str, Predictions], allow_missing: bool
) -> list[str]:
    """Return the predicted images in the order of the folds' file.

    Raises:
        InputError: One is not predicted, and may not be missing.
    """
    wanted = [image_id for part in folds.images.values() for image_id in part]
    missing = [image_id for image_id in wanted if image_id not in owners]
    if missing and not allow_missing:
        fold = next(p[missing[0]] for p in folds.images.values() if missing[0] in p)
        raise InputError(
            repr(missing[0]),
            f'of fold {fold} has no prediction, nor have {len(missing) - 1} more',
            'name a folder for each fold, or pass --allow-missing',
        )
    return [image_id for image_id in wanted if image_id in owners]


def say_missing(folds: Folds, owners: Mapping[str, Predictions]) -> str:
    """Return how many images of each fold have no prediction; '' where all have one."""
    lost = Counter(
        fold
        for part in folds.images.values()
        for image_id, fold in part.items()
        if image_id not in owners
    )
    return ', '.join(f'{lost[fold]} images of fold {fold}' for fold in sorted(lost))


def put_together(
    folder: Path,
    owners: dict[str, Predictions],
    image_ids: Sequence[str],
    members: Sequence[Predictions],
) -> None:
    """Link the files of all images into one folder; what not all have is left out."""
    kinds = {'masks': '.png'}
    for kind, suffix in BESIDE.items():
        without = [m.folder for m in members if not (m.folder / kind).is_dir()]
        if not without:
            kinds[kind] = suffix
        elif len(without) < len(members):
            print(f'{kind} is left out: {without[0]} has none')
    for image_id in progress(image_ids, 'join'):
        for kind, suffix in kinds.items():
            name = Path(kind, mask_name(image_id)).with_suffix(suffix)
            link_or_copy(owners[image_id].folder / name, folder / name)


def describe(members: Sequence[Predictions], folds: Folds) -> dict[str, Any]:
    """Return what ``predictions.json`` says about where all comes from."""
    return {
        'method': 'out of fold',
        'folds': folds.count,
        'folds_sha256': folds.sha256,
        'members': [entry_of(member.folder, member.origin) for member in members],
    }


if __name__ == '__main__':
    run_command(main)
