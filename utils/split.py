"""Split the labelled images of a data root into folds of like content.

    python utils/split.py ROOT --folds 5

In each fold, every class has about the same share of the pixels, and is in about the
same number of images, as in the whole. Images that look alike stay together. Written
are lists of image ids, which tools/train.py and tools/test.py take by --fold; no image
is copied.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mmsegmentation.command import (
    InputError,
    Parser,
    print_some,
    run_command,
)
from mmsegmentation.files import refuse_existing, whole_folder
from mmsegmentation.folds import MARKER, write_folds
from utils.class_table import CLASSES_HELP, names_of_root
from utils.duplicates import Look, near_duplicates
from utils.folds.groups import folder_of, join_groups, read_groups, same_label
from utils.folds.labelled import count_pixels, list_labelled
from utils.folds.report import balance_table, describe_balance
from utils.folds.search import Groups, search_folds
from utils.parallel import Workers, add_worker_options

GROUPINGS = 'content', 'folder', 'nothing'


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(
        prog='utils/split.py',
        description='Split the labelled images of a data root into folds.',
    )
    add = parser.add_argument
    add('root', type=Path, metavar='ROOT', help='data root')
    add('--folds', type=int, required=True, metavar='K', help='how many folds')
    add('--parts', nargs='+', help='parts to split; train and valid if not given')
    add('--seed', type=int, default=0, help='the same seed gives the same folds')
    add('--out', type=Path, metavar='DIR', help='new folder; ROOT/folds if none')
    add(
        '--group-by',
        nargs='+',
        choices=GROUPINGS,
        default=['content'],
        help='keep together what looks alike (content), lies in one folder, or nothing',
    )
    add('--groups', type=Path, metavar='CSV', help='more groups: image_id,group a line')
    add('--classes', type=Path, metavar='FILE', help=CLASSES_HELP)
    add_worker_options(parser)
    add('--overwrite', action='store_true', help='replace --out')
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    args = parse_args(argv)
    out = args.out or args.root / 'folds'
    check_arguments(args, out)
    images = list_labelled(args.root, args.parts)
    by_content = 'content' in args.group_by
    workers = Workers.of(args)
    classes = names_of_root(args.root, args.classes, workers)
    pixels, looks = count_pixels(args.root, images, len(classes), by_content, workers)
    groups = group_images(args, images, looks)
    check_groups(groups, args.folds)
    grouped = sum_groups(pixels, groups)
    folds = search_folds(grouped, args.folds, args.seed)[groups]
    balance = describe_balance(pixels, folds, groups, args.folds, classes, args.seed)
    more = {
        'seed': args.seed,
        'group_by': args.group_by,
        'groups': len(grouped.sizes),
        'classes': classes,
        'balance': balance,
    }
    with whole_folder(out, marker=MARKER, overwrite=args.overwrite) as folder:
        write_folds(folder, args.folds, by_part(images, folds), more)
    print_groups(images, groups)
    print_rare(classes, pixels, args.folds)
    print(balance_table(balance))
    sizes = ', '.join(str(size) for size in balance['images'])
    print(f'{args.folds} folds of {sizes} images written to {out}')
    return 0


def check_arguments(args: argparse.Namespace, out: Path) -> None:
    """Refuse what is wrong by itself."""
    if args.folds < 2:
        raise InputError('--folds', f'is {args.folds}', 'give 2 or more')
    if args.seed < 0:
        raise InputError('--seed', f'is {args.seed}', 'give 0 or more')
    if 'nothing' in args.group_by and len(args.group_by) > 1:
        raise InputError('--group-by', 'nothing comes alone', 'leave it out')
    refuse_existing(out, args.overwrite, MARKER)


def group_images(
    args: argparse.Namespace, images: Sequence[tuple[str, str]], looks: Sequence[Look]
) -> np.ndarray:
    """Return the group of each image, (images,) int, from 0 on."""
    image_ids = [image_id for _, image_id in images]
    pairs = [np.empty((0, 2), np.int64)]
    if 'content' in args.group_by:
        pairs.append(same_label(near_duplicates(looks)[0].tolist()))
    if 'folder' in args.group_by:
        pairs.append(same_label([folder_of(image_id) for image_id in image_ids]))
    if args.groups:
        pairs.append(same_label(read_groups(args.groups, image_ids)))
    return join_groups(len(images), np.concatenate(pairs))


def check_groups(groups: np.ndarray, count: int) -> None:
    """Refuse fewer groups than folds."""
    found = int(groups.max()) + 1
    if found < count:
        raise InputError(
            f'--folds {count}',
            f'{len(groups)} images form {found} group{"s" * (found > 1)}, each kept '
            'together',
            'ask for fewer folds, or group by less',
        )


def sum_groups(pixels: np.ndarray, groups: np.ndarray) -> Groups:
    """Return the counts of each group."""
    shape = int(groups.max()) + 1, pixels.shape[1]
    sums, there = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    np.add.at(sums, groups, pixels)
    np.add.at(there, groups, pixels > 0)
    return Groups(sums, there, np.bincount(groups))


def by_part(
    images: Sequence[tuple[str, str]], folds: np.ndarray
) -> dict[str, dict[str, int]]:
    """Return the fold of each image, by part and image id."""
    result: dict[str, dict[str, int]] = {}
    for (part, image_id), fold in zip(images, folds.tolist(), strict=True):
        result.setdefault(part, {})[image_id] = fold
    return result


def print_groups(images: Sequence[tuple[str, str]], groups: np.ndarray) -> None:
    """Say which images stay together."""
    sizes = np.bincount(groups)
    lines = []
    for group in np.flatnonzero(sizes > 1):
        names = ['/'.join(images[i]) for i in np.flatnonzero(groups == group)[:3]]
        more = f' and {sizes[group] - 3} more' if sizes[group] > 3 else ''
        lines.append(f'together: {", ".join(names)}{more}')
    print_some(lines)


def print_rare(classes: Sequence[str], pixels: np.ndarray, count: int) -> None:
    """Say in one line which classes have fewer images than there are folds."""
    images = dict(zip(classes, (pixels > 0).sum(0).tolist(), strict=True))
    rare = [f'{name} {n}' for name, n in images.items() if 0 < n < count]
    absent = [name for name, n in images.items() if not n]
    lines = []
    if rare:
        lines.append(
            f'fewer images than folds: {", ".join(rare)}; '
            'some folds are validated without them'
        )
    if absent:
        lines.append(f'in no image: {", ".join(absent)}')
    if lines:
        print('; '.join(lines))


if __name__ == '__main__':
    run_command(main)
