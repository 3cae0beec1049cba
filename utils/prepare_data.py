"""Make a data root of competition JSON files and images: checked, then painted."""

import hashlib
from argparse import Namespace
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmsegmentation.classes import CLASSES
from mmsegmentation.command import (
    InputError,
    Parser,
    print_some,
    run_command,
)
from mmsegmentation.files import (
    link_or_copy,
    mask_name,
    read_image,
    read_orientation,
    refuse_existing,
    require_folder,
    sha256_of,
    whole_folder,
    write_json,
    write_mask,
)
from utils.class_table import CLASSES_HELP, read_names
from utils.coco import Findings, Part, read_part
from utils.parallel import Workers, add_worker_options
from utils.rasterise import ORDERS, paint

MARKER = 'dataset.json'
LEADS_OUT = 'a link that leads out of the raw folder'
SOURCES = {'train': 'train.json', 'valid': 'val.json', 'test': 'test.json'}


def parse_args(argv: Sequence[str] | None) -> Namespace:
    parser = Parser(prog='utils/prepare_data.py', description=__doc__)
    add = parser.add_argument
    add('raw', type=Path, help='folder of train.json, val.json, test.json and images')
    add('--out', type=Path, required=True, help='data root to write')
    add('--order', choices=ORDERS, default='area', help='what lies on top in overlaps')
    add('--classes', type=Path, metavar='FILE', help=CLASSES_HELP)
    add(
        '--leaks',
        choices=['refuse', 'keep'],
        default='refuse',
        help='test images that are also training or validation images',
    )
    add_worker_options(parser)
    add(
        '--overwrite',
        action='store_true',
        help='replace an earlier data root with all in it, its pseudo labels too',
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Check everything, then write the data root."""
    args = parse_args(argv)
    refuse_existing(args.out, args.overwrite, MARKER)
    for source in filter(None, (args.raw, args.classes)):
        if source.resolve().is_relative_to(args.out.resolve()):
            raise InputError(
                source, f'lies in {args.out} and would be replaced', 'move it elsewhere'
            )
    classes = read_classes(args.classes) if args.classes else list(CLASSES)
    found = Findings()
    parts = read_parts(args.raw, classes, not args.classes, found)
    check_images(args, parts, found)
    report(found, args.raw)
    with whole_folder(args.out, marker=MARKER, overwrite=args.overwrite) as root:
        counts = write_parts(args, parts, root, len(classes))
        write_json(root / MARKER, describe(args, parts, counts, classes, found))
    for part in parts:
        print(f'{part.name}: {len(part.images)} images')
    print(f'data root: {args.out}')
    return 0


def read_classes(path: Path) -> list[str]:
    """Return the class names in a file. The first one must be ``Background``.

    Raises:
        InputError: The file is not a list of names, or begins with another name.
    """
    names = read_names(path)
    if names[0] != 'Background':
        raise InputError(path, f'begins with {names[0]!r}', 'put Background first')
    return names


def read_parts(
    raw: Path, classes: Sequence[str], ids_fixed: bool, found: Findings
) -> list[Part]:
    """Read the JSON files that are there; ``train.json`` must be."""
    require_folder(raw, 'name the folder of the JSON files')
    if not (raw / SOURCES['train']).is_file():
        raise InputError(
            raw, 'holds no train.json', 'name the folder of the JSON files'
        )
    return [
        read_part(name, raw / source, classes, ids_fixed, found)
        for name, source in SOURCES.items()
        if (raw / source).is_file()
    ]


def check_images(args: Namespace, parts: Sequence[Part], found: Findings) -> None:
    """Decode every image, and add what is wrong with them to ``found``."""
    todo = [(part, row) for part in parts for row in part.images]
    tasks = [
        (args.raw, row['file_name'], row['width'], row['height']) for _, row in todo
    ]
    seen: dict[str, list[tuple[str, str]]] = {}
    outside: dict[str, list[str]] = {}
    results = Workers.of(args).map(check_image, tasks, 'check')
    for (part, row), (problem, content) in zip(todo, results, strict=True):
        if problem == LEADS_OUT:
            folder = (args.raw / row['file_name']).parent
            outside.setdefault(str(folder), []).append(row['file_name'])
        elif problem:
            found.errors.append(f'{part.path.name}: {problem}')
        else:
            seen.setdefault(content, []).append((part.name, row['file_name']))
    found.errors += [
        f'{folder}: holds links that lead out of {args.raw} (images: {len(names)}, '
        f'{names[0]} first); cp -rL {args.raw} COPY makes files of them, then name COPY'
        for folder, names in outside.items()
    ]
    for copies in seen.values():
        names = {part for part, _ in copies}
        if len(names) > 1:
            text = 'the same picture: ' + ', '.join('/'.join(c) for c in copies)
            if 'test' in names and args.leaks == 'refuse':
                way_out = 'remove it from one of them, or pass --leaks keep'
                found.errors.append(f'{text}; {way_out}')
            else:
                found.warnings.append(text)


def check_image(raw: Path, name: str, width: int, height: int) -> tuple[str, str]:
    """Return what is wrong with an image ('' if nothing), and its content's hash."""
    path = raw / name
    try:
        inside = path.resolve().is_relative_to(raw.resolve())
    except RuntimeError:
        return f'{name}: a link that leads to itself', ''
    if not inside:
        return LEADS_OUT, ''
    try:
        image = read_image(path)
    except InputError as error:
        return str(error), ''
    if (turned := read_orientation(path)) != 1:
        return (
            f'{name}: has EXIF orientation {turned}, which some programs apply and '
            'others do not; rotate its pixels and remove the tag, for example with '
            'mogrify -auto-orient',
            '',
        )
    if image.shape[:2] != (height, width):
        size = f'{image.shape[1]}x{image.shape[0]}'
        return f'{name}: is {size}, the JSON says {width}x{height}', ''
    return '', hashlib.sha256(image.tobytes()).hexdigest()


def report(found: Findings, raw: Path) -> None:
    """Print all findings.

    Raises:
        InputError: There are errors.
    """
    for kind, texts in (('warning', found.warnings), ('problem', found.errors)):
        print_some([f'{kind}: {text}' for text in texts])
    if found.errors:
        count = len(found.errors)
        raise InputError(
            raw,
            f'{count} problem{"s" * (count > 1)}, first: {found.errors[0]}',
            'nothing was written; correct those listed above',
        )


def write_parts(
    args: Namespace, parts: Sequence[Part], root: Path, num_classes: int
) -> dict[str, Counter]:
    """Link images and paint masks; return pixels per class id by part."""
    todo = [(part, row) for part in parts for row in part.images]
    tasks = [
        (
            (args.raw / row['file_name']).resolve(),
            root / part.name,
            row,
            None if part.name == 'test' else part.annotations[row['id']],
            part.labels,
            args.order,
            num_classes,
        )
        for part, row in todo
    ]
    counts: dict[str, Counter] = {part.name: Counter() for part in parts}
    results = Workers.of(args).map(write_image, tasks, 'paint')
    for (part, _), pixels in zip(todo, results, strict=True):
        counts[part.name].update(pixels)
    return counts


def write_image(
    source: Path,
    folder: Path,
    row: dict,
    annotations: list[dict] | None,
    labels: dict[int, int],
    order: str,
    num_classes: int,
) -> dict[int, int]:
    """Link one image and paint its mask; return pixels per class id."""
    from utils.run_lengths import count_ids

    link_or_copy(source, folder / 'images' / row['file_name'])
    if annotations is None:
        return {}
    label_map = paint(annotations, row['height'], row['width'], labels, order)
    write_mask(folder / 'mask' / mask_name(row['file_name']), label_map, num_classes)
    pixels = count_ids(label_map)
    return {number: int(pixels[number]) for number in np.flatnonzero(pixels).tolist()}


def describe(
    args: Namespace,
    parts: Sequence[Part],
    counts: dict[str, Counter],
    classes: Sequence[str],
    found: Findings,
) -> dict[str, Any]:
    """Return the content of ``dataset.json``."""
    described = {}
    for part in parts:
        objects: Counter = Counter()
        images: Counter = Counter()
        for rows in part.annotations.values():
            ids = [part.labels[row['category_id']] for row in rows]
            objects.update(ids)
            images.update(set(ids))
        described[part.name] = {
            'source': part.path.name,
            'sha256': sha256_of(part.path),
            'images': len(part.images),
            'images_by_class': {n: images[i] for i, n in enumerate(classes)},
            'objects_by_class': {n: objects[i] for i, n in enumerate(classes)},
            'pixels_by_class': {n: counts[part.name][i] for i, n in enumerate(classes)},
        }
    return {
        'classes': list(classes),
        'order': args.order,
        'parts': described,
        'problems': found.warnings,
    }


if __name__ == '__main__':
    run_command(main)
