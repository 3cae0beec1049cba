"""Look at a data root: one page, and the same numbers as CSV and JSON.

    python utils/eda.py ROOT --out D [--raw RAW]

Writes D/index.html, which works from disk and asks for nothing outside D, D/eda.json,
and a CSV for each kind of number. With the JSON files that the data root was made of,
it also shows what the order of overlapping objects decides.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from mmsegmentation.command import (
    InputError,
    Parser,
    print_some,
    run_command,
)
from mmsegmentation.files import (
    refuse_existing,
    refuse_overlap,
    require_folder,
    whole_folder,
    write_json,
)
from utils.class_table import CLASSES_HELP
from utils.parallel import Workers, add_worker_options

MARKER = 'eda.json'


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(
        prog='utils/eda.py', description='Look at a data root: a page, CSV, JSON.'
    )
    add = parser.add_argument
    add('root', type=Path, metavar='ROOT', help='data root')
    add('--out', type=Path, required=True, metavar='D', help='folder to write')
    add(
        '--raw',
        type=Path,
        metavar='RAW',
        help='folder of the JSON files that ROOT was made of: for overlaps',
    )
    add('--classes', type=Path, metavar='FILE', help=CLASSES_HELP)
    add('--thumbnail', type=int, default=256, help='longest side, in pixels')
    add_worker_options(parser)
    add('--overwrite', action='store_true', help='replace D')
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    args = parse_args(argv)
    check_args(args)
    from utils.data_page.page import write_study
    from utils.data_page.study import open_root, study
    from utils.data_page.tables import write_tables

    # Whether it is a data root is said first: it may be the wrong folder altogether.
    open_root(args.root)
    refuse_overlap(args.out, [args.root])
    with whole_folder(args.out, marker=MARKER, overwrite=args.overwrite) as out:
        found = study(
            args.root,
            out,
            raw=args.raw,
            classes=args.classes,
            workers=Workers.of(args),
            longest=args.thumbnail,
        )
        described = found.describe()
        write_tables(found, described, out)
        write_study(found, described, out / 'index.html')
        write_json(out / MARKER, described)
    for name, part in found.parts.items():
        print(f'{name}: {part.images} images, {part.labelled} labelled')
    leaks = sum(group.leak for group in found.groups)
    print(f'{len(found.groups)} groups of near-duplicates, {leaks} across parts')
    print_some([f'warning: {text}' for text in (*found.problems, *found.gaps)])
    print(f'page: {args.out / "index.html"}')
    return 0


def check_args(args: argparse.Namespace) -> None:
    """Check what can be checked before any work.

    Raises:
        InputError: A value is out of range, or ``--out`` would replace an input.
    """
    refuse_existing(args.out, args.overwrite, MARKER)
    require_folder(args.root, 'name a data root')
    if args.raw:
        require_folder(args.raw, 'name the folder of the JSON files')
    sources = [args.root, args.raw] if args.raw else [args.root]
    refuse_overlap(args.out, sources, beneath=True)
    if not 32 <= args.thumbnail <= 1024:
        raise InputError(
            '--thumbnail', f'{args.thumbnail} is not in [32, 1024]', 'change it'
        )


if __name__ == '__main__':
    run_command(main)
