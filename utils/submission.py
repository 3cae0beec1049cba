"""Write the submission CSV, check it, score it, and look at it.

    python utils/submission.py write PRED --out submission.csv --test-json test.json
    python utils/submission.py check submission.csv --test-json test.json
    python utils/submission.py score submission.csv MASKS
    python utils/submission.py show submission.csv --out pictures --images IMAGES

PRED is a prediction folder or a plain folder of masks. Images are joined by their id
(the JSON's file_name), never by their position.
"""

import argparse
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from mmsegmentation.classes import CLASSES, palette_of
from mmsegmentation.command import InputError, Parser, print_some, progress, run_command
from mmsegmentation.files import (
    list_images,
    mask_name,
    read_image,
    refuse_existing,
    sha256_of,
    whole_folder,
    write_json,
)
from mmsegmentation.scores import confusion_matrix, score_table, summarise
from utils.mask_folder import MaskFolder, open_masks
from utils.submission_csv import (
    DOWN_SAMPLERS,
    SIZE,
    find_problems,
    read_rows,
    read_test_ids,
    read_test_sizes,
    resize_labels,
    write_rows,
)

PICTURES = 'pictures.json'


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(prog='utils/submission.py', description=__doc__.split('\n')[0])
    commands = parser.add_subparsers(dest='command', required=True, metavar='COMMAND')

    def add(name: str, run: Callable, what: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=what, description=what)
        command.set_defaults(run=run)
        command.add_argument(
            '--size',
            type=_positive,
            nargs=2,
            default=SIZE,
            metavar=('H', 'W'),
            help='height and width of a label map in the CSV, in pixels',
        )
        command.add_argument(
            '--num-classes',
            type=_positive,
            default=len(CLASSES),
            help='size of the class table, background included',
        )
        return command

    write = add('write', run_write, 'write a CSV from predicted masks')
    write.add_argument('pred', type=Path, metavar='PRED', help='folder of predictions')
    write.add_argument('--out', type=Path, required=True, metavar='CSV', help='result')
    write.add_argument('--test-json', type=Path, help='COCO JSON: images and order')
    write.add_argument('--overwrite', action='store_true', help='replace --out')
    check = add('check', run_check, 'list all that is wrong with a CSV')
    check.add_argument('--test-json', type=Path, required=True, help='COCO JSON')
    score = add('score', run_score, 'score a CSV against masks')
    show = add('show', run_show, 'draw a CSV as colour pictures')
    for command in (check, score, show):
        command.add_argument('csv', type=Path, metavar='CSV', help='submission file')
    score.add_argument('masks', type=Path, metavar='MASKS', help='folder of true masks')
    show.add_argument('--out', type=Path, required=True, metavar='D', help='new folder')
    show.add_argument('--images', type=Path, help='photographs to blend with')
    show.add_argument('--overwrite', action='store_true', help='replace --out')
    for command in (write, score):
        command.add_argument(
            '--down-sampler',
            choices=list(DOWN_SAMPLERS),
            default='nearest',
            help='how masks are brought to --size; the official one is nearest',
        )
    return parser.parse_args(argv)


def _positive(text: str) -> int:
    value = int(text)
    if not 0 < value < 10_000:
        raise argparse.ArgumentTypeError(f'must be in 1-9999, got {text}')
    return value


def main(argv: Sequence[str] | None = None) -> int:
    args = parse_args(argv)
    if args.num_classes > 255:
        raise InputError(
            '--num-classes', f'{args.num_classes} is above 255', 'ids are 8-bit'
        )
    args.run(args)
    return 0


def run_write(args: argparse.Namespace) -> None:
    refuse_existing(args.out, args.overwrite)
    image_ids, read = open_masks(args.pred, args.num_classes)
    sizes: dict[str, tuple[int, int] | None] = {}
    if args.test_json is not None:
        sizes = read_test_sizes(args.test_json)
        image_ids = match_ids(image_ids, list(sizes), args.pred, args.test_json)

    def rows() -> Iterator[tuple[str, np.ndarray]]:
        for image_id in progress(image_ids, 'write'):
            label_map = read(image_id)
            check_size(image_id, label_map.shape, sizes.get(image_id), args.size)
            yield image_id, resize_labels(label_map, args.size, args.down_sampler)

    count = write_rows(args.out, rows(), overwrite=args.overwrite)
    print(f'{count} rows written to {args.out} (down-sampler {args.down_sampler})')


def match_ids(
    held: Iterable[str], wanted: Sequence[str], source: Path, listing: Path
) -> list[str]:
    """Return ``wanted``, if exactly these images are held.

    Raises:
        InputError: An image is missing, or there is one too many.
    """
    names = {mask_name(image_id): image_id for image_id in held}
    for image_id in wanted:
        if names.pop(mask_name(image_id), None) is None:
            raise InputError(
                repr(image_id), f'is in {listing} but not in {source}', 'predict it'
            )
    for image_id in names.values():
        raise InputError(
            repr(image_id),
            f'is in {source} but not in {listing}',
            'check that both are of the same data',
        )
    return list(wanted)


def check_size(
    image_id: str,
    found: tuple[int, ...],
    photograph: tuple[int, int] | None,
    written: Sequence[int],
) -> None:
    """Stop where a mask has the size of neither its photograph nor the CSV.

    Raises:
        InputError: It has another one. Unknown sizes are let through.
    """
    if photograph and found not in (photograph, tuple(written)):
        raise InputError(
            repr(image_id),
            f'its mask has size {found}, its photograph {photograph}',
            'predict at the size of the photograph',
        )


def run_check(args: argparse.Namespace) -> None:
    wanted = read_test_ids(args.test_json)
    problems = find_problems(args.csv, wanted, args.size, args.num_classes)
    print_some(problems)
    if problems:
        count = f'{len(problems)} problem' + 's' * (len(problems) > 1)
        raise InputError(args.csv, count, 'write it again')
    ids = args.size[0] * args.size[1]
    print(f'{args.csv} is right: {len(wanted)} images of {ids:,} class ids')


def run_score(args: argparse.Namespace) -> None:
    read = MaskFolder(args.masks, args.num_classes, ignore=True)
    left = {name for name in list_images(args.masks) if name.endswith('.png')}
    confusions = {}
    rows = read_rows(args.csv, args.size, args.num_classes)
    for image_id, label_map in progress(rows, 'score', len(left)):
        truth = resize_labels(read(image_id), args.size, args.down_sampler)
        confusions[image_id] = confusion_matrix(truth, label_map, args.num_classes)
        left.discard(mask_name(image_id))
    for name in sorted(left):
        raise InputError(
            args.masks / name, f'has no row in {args.csv}', 'score the same images'
        )
    try:
        metrics = summarise(confusions, _names(args.num_classes))
    except ValueError as error:
        raise InputError(args.masks, str(error), 'score labelled images') from None
    print(score_table(metrics))


def _names(num_classes: int) -> Sequence[str]:
    if num_classes == len(CLASSES):
        return CLASSES
    return [f'class {i}' for i in range(num_classes)]


def run_show(args: argparse.Namespace) -> None:
    refuse_existing(args.out, args.overwrite)
    colours = np.array(palette_of(args.num_classes), np.uint8)
    rows = read_rows(args.csv, args.size, args.num_classes)
    image_ids = []
    with whole_folder(args.out, marker=PICTURES, overwrite=args.overwrite) as folder:
        for image_id, label_map in progress(rows, 'show'):
            picture = colours[label_map]
            if args.images is not None:
                picture = blend(read_image(args.images / image_id), label_map, colours)
            path = folder / mask_name(image_id)
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(path, compress_level=1)
            image_ids.append(image_id)
        source = {'file': args.csv.name, 'sha256': sha256_of(args.csv)}
        write_json(folder / PICTURES, {'submission': source, 'images': image_ids})
    print(f'{len(image_ids)} pictures written to {args.out}')


def blend(image: np.ndarray, label_map: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """Return a photograph half covered by its classes; background stays as it is.

    Args:
        image: RGB, (H, W, 3) uint8; the label map is brought to its size.
        label_map: Class ids, (h, w) uint8.
        colours: RGB by class, (classes, 3) uint8.
    """
    label_map = resize_labels(label_map, image.shape[:2])
    mixed = (image >> 1) + (colours >> 1)[label_map]
    return np.where(label_map[..., None] > 0, mixed, image)


if __name__ == '__main__':
    run_command(main)
