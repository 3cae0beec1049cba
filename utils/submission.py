"""Write the submission CSV, check it, score it, look at it, and compare two.

    python utils/submission.py write PRED --out submission.csv --test-json test.json
    python utils/submission.py check submission.csv --test-json test.json
    python utils/submission.py score submission.csv MASKS
    python utils/submission.py show submission.csv --out pictures --images IMAGES
    python utils/submission.py diff submission.csv other.csv --out differences
    python utils/submission.py export submission.csv --out results.json

PRED is a prediction folder or a plain folder of masks. Images are joined by their id
(the JSON's file_name), never by their position. A CSV that is read may be compressed.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from mmsegmentation.classes import CLASSES, palette_of
from mmsegmentation.command import SHOWN, InputError, Parser, progress, run_command
from mmsegmentation.files import (
    list_images,
    mask_name,
    read_image,
    refuse_existing,
    require_folder,
    sha256_of,
    whole_folder,
    write_json,
)
from mmsegmentation.predictions import open_predictions
from mmsegmentation.scores import confusion_matrix, score_table, summarise
from utils.class_table import (
    CLASSES_HELP,
    names_beside,
    number_classes,
    read_names,
)
from utils.coco_results import write_results
from utils.lineage import is_vote
from utils.listing import (
    Listed,
    check_size,
    match_ids,
    number_masks,
    read_categories,
    read_listing,
)
from utils.mask_folder import MaskFolder, open_masks
from utils.parallel import Workers, add_worker_options
from utils.resize import LOGITS, RESIZERS, SIZE, resize_labels, sample_labels
from utils.submission_csv import STRANGE, find_problems, read_rows, write_rows
from utils.submission_diff import MARKER, compare, pair_rows, tell, write_difference
from utils.submission_pictures import LEGEND, blend, draw_legend, save_picture

PICTURES = 'pictures.json'
FOLDER = 'D'
TABLE = '--classes or --num-classes'


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(prog='utils/submission.py', description=__doc__.split('\n')[0])
    commands = parser.add_subparsers(dest='command', required=True, metavar='COMMAND')

    def add(run: Callable, what: str, out: str | None = None) -> Callable:
        name = run.__name__.removeprefix('run_')
        command = commands.add_parser(name, help=what, description=what)
        command.set_defaults(run=run)
        _add_common(command)
        if out:
            option = command.add_argument
            text = 'folder to write' if out == FOLDER else 'file to write'
            option('--out', type=Path, required=True, metavar=out, help=text)
            option('--overwrite', action='store_true', help='replace --out')
        if run is run_write:
            add_worker_options(command)
        return command.add_argument

    option = add(run_write, 'write a CSV from predicted masks', 'CSV')
    option('pred', type=Path, metavar='PRED', help='folder of predictions')
    option('--test-json', type=Path, help='COCO JSON: images and order')
    text = (
        'how masks are brought to --size: nearest is the official way, logits decides '
        'at the same pixels by the probabilities of tools/test.py --probs, which a '
        'single model has and a vote has not'
    )
    option('--resize', choices=[*RESIZERS, LOGITS], default='nearest', help=text)
    option = add(run_check, 'list all that is wrong with a CSV')
    option('csv', type=Path, metavar='CSV', help='submission file')
    option('--test-json', type=Path, required=True, help='COCO JSON of the images')
    option = add(run_score, 'score a CSV against masks')
    option('csv', type=Path, metavar='CSV', help='submission file')
    option('masks', type=Path, metavar='MASKS', help='folder of true masks')
    text = 'how masks are brought to --size; the official way is nearest'
    option('--resize', choices=list(RESIZERS), default='nearest', help=text)
    _add_pictures(add)
    option = add(run_export, 'write COCO results: run lengths by class', 'JSON')
    option('source', type=Path, metavar='CSV|PRED', help='submission, or predictions')
    text = 'COCO JSON whose image and category ids and sizes (by nearest) are written'
    option('--test-json', type=Path, help=text)
    return parser.parse_args(argv)


def _add_pictures(add: Callable) -> None:
    option = add(run_show, 'draw a CSV as colour pictures', FOLDER)
    option('csv', type=Path, metavar='CSV', help='submission file')
    option('--images', type=Path, help='photographs to blend with')
    option = add(run_diff, 'show where two CSVs disagree', FOLDER)
    option('first', type=Path, metavar='A', help='submission file')
    option('second', type=Path, metavar='B', help='submission file of the same images')
    option('--pictures', type=int, default=20, metavar='N', help='images drawn')


def _add_common(command: argparse.ArgumentParser) -> None:
    option = command.add_argument
    option(
        '--size',
        type=_positive,
        nargs=2,
        metavar=('H', 'W'),
        help='height and width of a label map in the CSV, in pixels '
        f'(default: {SIZE[0]} {SIZE[1]})',
    )
    table = command.add_mutually_exclusive_group().add_argument
    text = 'number of classes of a table without names, background included'
    table('--num-classes', type=_positive, metavar='N', help=text)
    text = f'{CLASSES_HELP} (default: the file near the masks, else recycling)'
    table('--classes', type=Path, metavar='FILE', help=text)


def _positive(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 10_000:
        raise argparse.ArgumentTypeError(f'is {text}, give 1 to 9999')
    return int(text)


def main(argv: Sequence[str] | None = None) -> int:
    args = parse_args(argv)
    args.sized = args.size is not None
    args.size = tuple(args.size or SIZE)
    if (args.num_classes or 0) > 255:
        raise InputError(
            '--num-classes', f'{args.num_classes} is above 255', 'ids are 8-bit'
        )
    args.names, note = _names(args)
    args.run(args)
    if note:
        print(note)
    return 0


def run_write(args: argparse.Namespace) -> None:
    refuse_existing(args.out, args.overwrite)
    image_ids, read = open_masks(args.pred, len(args.names), TABLE)
    listed: dict[str, Listed] = {}
    if args.test_json is not None:
        listed = read_listing(args.test_json)
        image_ids = match_ids(image_ids, list(listed), args.pred, args.test_json)
    probs = _open_probs(args.pred) if args.resize == LOGITS else None
    work = partial(read_resized, read, probs, args.size, args.resize)
    tasks = [
        (image_id, listed[image_id].size if listed else None) for image_id in image_ids
    ]
    # Decoding lets go of the interpreter, so threads do.
    label_maps = Workers.of(args, threads=True).map(work, tasks, 'write')
    rows = zip(image_ids, label_maps, strict=True)
    count = write_rows(args.out, rows, overwrite=args.overwrite)
    print(f'{count} rows written to {args.out} (resized by {args.resize})')


def _open_probs(pred: Path) -> Callable[[str], np.ndarray | None]:
    predictions = open_predictions(pred)
    if is_vote(predictions.origin):
        raise InputError(
            '--resize logits',
            f'is for a single model, and {pred} is a vote, which keeps no probs/',
            'leave it out',
        )
    if not (pred / 'probs').is_dir():
        raise InputError(
            pred, 'holds no probs/', 'predict with --probs, or leave --resize out'
        )
    return predictions.probs


def read_resized(
    read: Callable[[str], np.ndarray],
    probs_of: Callable[[str], np.ndarray | None] | None,
    size: tuple[int, int],
    resize: str,
    image_id: str,
    photograph: tuple[int, int] | None,
) -> np.ndarray:
    """Return the label map of one image in the size of the CSV, (H, W) uint8.

    Args:
        read: What returns its mask.
        probs_of: What returns its probabilities, if these decide.
        photograph: Its height and width, in pixels, if they are known.

    Raises:
        InputError: A file is missing or damaged, or they do not fit together.
    """
    label_map = read(image_id)
    check_size(image_id, label_map.shape, photograph, size)
    if probs_of is None:
        return resize_labels(label_map, size, resize)
    probs = probs_of(image_id)
    if probs is None:
        raise InputError(repr(image_id), 'has no file in probs/', 'predict it again')
    try:
        return sample_labels(probs, label_map.shape, size)
    except ValueError as error:
        raise InputError(repr(image_id), str(error), 'predict it again') from None


def run_check(args: argparse.Namespace) -> None:
    listed = read_listing(args.test_json)
    places: dict[str, int] = {}
    problems = find_problems(args.csv, listed, args.size, len(args.names), places)
    # Held back until it is known whether any image matches: else they are all alike.
    shown, count = [], 0
    for count, problem in enumerate(problems, start=1):
        if count <= SHOWN:
            shown.append(problem)
    if any(problem.endswith(STRANGE) for problem in shown) and not any(places.values()):
        raise InputError(
            args.csv,
            f'none of its images is in {args.test_json}',
            'check --test-json: it may be of other data',
        )
    print(*shown, sep='\n', end='\n' if shown else '')
    if count > SHOWN:
        print(f'... and {count - SHOWN} more')
    if count:
        text = f'{count} problem' + 's' * (count > 1)
        raise InputError(args.csv, text, 'write it again')
    ids = args.size[0] * args.size[1]
    print(f'{args.csv} is right: {len(listed)} images of {ids:,} class ids')


def run_score(args: argparse.Namespace) -> None:
    require_folder(args.masks)
    count = len(args.names)
    read = MaskFolder(args.masks, count, ignore=True, option=TABLE)
    left = {name for name in list_images(args.masks) if name.endswith('.png')}
    confusions = {}
    rows = read_rows(args.csv, args.size, count)
    for image_id, label_map in progress(rows, 'score', len(left)):
        truth = resize_labels(read(image_id), args.size, args.resize)
        confusions[image_id] = confusion_matrix(truth, label_map, count)
        left.discard(mask_name(image_id))
    if left:
        name = args.masks / min(left)
        raise InputError(name, f'has no row in {args.csv}', 'score the same images')
    try:
        metrics = summarise(confusions, args.names)
    except ValueError as error:
        raise InputError(args.masks, str(error), 'score labelled images') from None
    print(score_table(metrics))


def _names(args: argparse.Namespace) -> tuple[Sequence[str], str]:
    """Return the class names, and a note if they are only a guess."""
    if args.classes:
        return read_names(args.classes), ''
    if args.num_classes:
        return number_classes(args.num_classes), ''
    masks = {run_write: 'pred', run_score: 'masks', run_export: 'source'}.get(args.run)
    if masks and (names := names_beside(getattr(args, masks))):
        return names, ''
    if args.run is run_score:
        note = f'{args.masks} has no class names beside it; pass them by --classes'
        return number_classes(len(CLASSES)), note
    if args.run in (run_show, run_diff):
        return CLASSES, 'class names are those of recycling; pass others by --classes'
    return CLASSES, ''


def run_show(args: argparse.Namespace) -> None:
    refuse_existing(args.out, args.overwrite, PICTURES)
    colours = np.array(palette_of(len(args.names)), np.uint8)
    rows = read_rows(args.csv, args.size, len(args.names))
    image_ids = []
    with whole_folder(args.out, marker=PICTURES, overwrite=args.overwrite) as folder:
        save_picture(folder / LEGEND, draw_legend(args.names, colours))
        for image_id, label_map in progress(rows, 'show'):
            picture = colours[label_map]
            if args.images is not None:
                picture = blend(read_image(args.images / image_id), label_map, colours)
            save_picture(folder / mask_name(image_id), picture)
            image_ids.append(image_id)
        source = {'file': args.csv.name, 'sha256': sha256_of(args.csv)}
        write_json(folder / PICTURES, {'submission': source, 'images': image_ids})
    print(f'{len(image_ids)} pictures written to {args.out}; their colours: {LEGEND}')


def run_diff(args: argparse.Namespace) -> None:
    refuse_existing(args.out, args.overwrite, MARKER)
    if not 0 <= args.pictures <= 10_000:
        raise InputError('--pictures', f'is {args.pictures}', 'give 0 to 10000')
    files = args.first, args.second
    classes, count = args.names, len(args.names)
    colours = np.array(palette_of(count), np.uint8)
    with whole_folder(args.out, marker=MARKER, overwrite=args.overwrite) as folder:
        rows = pair_rows(*files, folder, args.size, count)
        found = compare(progress(rows, 'diff'), count, args.pictures)
        write_difference(folder, found, files, classes, colours)
    print(tell(found, classes))
    count = len(found.worst)
    key = f'; their colours: {LEGEND}' if count else ''
    print(f'tables and {count} pictures written to {args.out}{key}')


def run_export(args: argparse.Namespace) -> None:
    refuse_existing(args.out, args.overwrite)
    if args.sized and args.source.is_dir():
        raise InputError(
            '--size', f'is of a CSV, and {args.source} is a folder', 'leave it out'
        )
    listed = read_listing(args.test_json) if args.test_json else None
    categories = read_categories(args.test_json, args.names) if listed else None
    rows = progress(_numbered(args, listed), 'export')
    count = write_results(args.out, rows, categories, overwrite=args.overwrite)
    print(f'{count} results written to {args.out}')


def _numbered(
    args: argparse.Namespace, listed: dict[str, Listed] | None
) -> Iterator[tuple[int | str, np.ndarray]]:
    """Yield what the JSON calls each image, and its label map."""
    if args.source.is_dir():
        image_ids, read = open_masks(args.source, len(args.names), TABLE)
        rows: Iterator = ((image_id, read(image_id)) for image_id in image_ids)
    else:
        rows = read_rows(args.source, args.size, len(args.names))
    if listed is None:
        yield from rows
        return
    left = number_masks(listed, args.test_json)
    sizes = {mask_name(image_id): row.size for image_id, row in listed.items()}
    for image_id, label_map in rows:
        name = mask_name(image_id)
        if (number := left.pop(name, None)) is None:
            raise InputError(
                repr(image_id), f'is not in {args.test_json}', 'check --test-json'
            )
        # Run lengths of another size than the photograph's score nothing, unsaid.
        check_size(image_id, label_map.shape, sizes[name], args.size)
        yield number, resize_labels(label_map, sizes[name] or label_map.shape)
    for image_id in listed:
        if mask_name(image_id) in left:
            raise InputError(
                repr(image_id),
                f'is in {args.test_json} but not in {args.source}',
                'predict it',
            )


if __name__ == '__main__':
    run_command(main)
