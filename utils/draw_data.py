"""Draw a small data set in the competition's own layout, to try everything without it.

Writes ``train.json``, ``val.json``, ``test.json`` (images only) and the images in
``batch_*_vt/``, and apart from them ``hidden/test.json``: the test part's annotations,
which no model sees and a demonstration scores with.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mmsegmentation.classes import CLASSES
from mmsegmentation.command import InputError, Parser, progress, run_command
from mmsegmentation.files import refuse_existing, whole_folder, write_json

if TYPE_CHECKING:
    from utils.drawing import Thing

MARKER = 'hidden/test.json'
BATCHES = 3


@dataclass(frozen=True)
class Names:
    """File names and ids of all parts: unique, and in no handy order."""

    files: list[str]
    ids: list[int]


def draw_data(
    out: Path, counts: dict[str, int], *, size: int = 256, seed: int = 0
) -> dict[str, dict]:
    """Write images and JSON files into ``out``; return the JSON contents by part.

    Args:
        counts: How many images each part has, by the name of its JSON file; ``test``
            gets no annotations.
        size: Width and height of the images, in pixels.
    """
    rng = np.random.default_rng(seed)
    names = _names(sum(counts.values()), rng)
    parts = {part: _empty_part() for part in counts}
    owners = [part for part, count in counts.items() for _ in range(count)]
    deck = _deck(rng)
    bare = counts['train'] // 2
    drawn = zip(owners, names.files, names.ids, strict=True)
    for index, (part, file_name, image_id) in enumerate(
        progress(drawn, 'drawing', total=len(owners))
    ):
        number = 0 if index == bare else int(rng.integers(5, 11))
        things = _draw_image(
            out / file_name, size, [next(deck) for _ in range(number)], rng
        )
        parts[part]['images'].append(_image_entry(image_id, file_name, size))
        parts[part]['annotations'] += [_annotation(t, image_id, rng) for t in things]
    for content in parts.values():
        _number(content['annotations'], rng)
    hidden = parts['test']
    parts['test'] = {**hidden, 'annotations': []}
    for part, content in parts.items():
        write_json(out / f'{part}.json', content)
    write_json(out / MARKER, hidden)
    return parts


def _names(count: int, rng: np.random.Generator) -> Names:
    """Return names that repeat from batch to batch, and ids with gaps, shuffled."""
    places = [(i % BATCHES + 1, i // BATCHES * 2 + 2) for i in range(count)]
    order = rng.permutation(count)
    files = [f'batch_{places[i][0]:02}_vt/{places[i][1]:04}.jpg' for i in order]
    return Names(files, (rng.permutation(count * 3)[:count] + 7).tolist())


def _deck(rng: np.random.Generator) -> Iterator[int]:
    """Deal class ids like cards, so that even a small part holds every class."""
    while True:
        yield from rng.permutation(np.arange(1, len(CLASSES))).tolist()


def _draw_image(
    path: Path, size: int, categories: list[int], rng: np.random.Generator
) -> 'list[Thing]':
    import cv2

    from utils.drawing import draw_scene

    image, things = draw_scene(size, categories, rng)
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])
    return things


def _empty_part() -> dict:
    # The official table lists the background under this spelling.
    names = ('Backgroud', *CLASSES[1:])
    return {
        'info': {'version': '1.0', 'description': 'Drawn recycling data'},
        'licenses': [],
        'images': [],
        'categories': [
            {'id': i, 'name': name, 'supercategory': name}
            for i, name in enumerate(names)
        ],
        'annotations': [],
    }


def _image_entry(image_id: int, file_name: str, size: int) -> dict:
    return {'id': image_id, 'file_name': file_name, 'width': size, 'height': size}


def _annotation(thing: 'Thing', image_id: int, rng: np.random.Generator) -> dict:
    """Return a COCO annotation: dense contours, or sometimes run lengths."""
    import cv2
    from pycocotools import mask as coco

    height, width = thing.mask.shape
    contours, _ = cv2.findContours(
        thing.mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
    )
    polygons = [c.ravel().tolist() for c in contours if len(c) >= 3]
    run_lengths = coco.encode(np.asfortranarray(thing.mask.astype(np.uint8)))
    segmentation: list | dict = polygons
    if polygons and rng.random() > 0.04:
        parts = coco.frPyObjects(polygons, height, width)
        run_lengths = coco.merge(parts)
    else:
        counts = run_lengths['counts'].decode('ascii')
        segmentation = {'size': [height, width], 'counts': counts}
    return {
        'image_id': image_id,
        'category_id': thing.category_id,
        'segmentation': segmentation,
        'area': float(coco.area(run_lengths)),
        'bbox': coco.toBbox(run_lengths).tolist(),
        'iscrowd': 0,
    }


def _number(annotations: list[dict], rng: np.random.Generator) -> None:
    ids = np.cumsum(rng.integers(1, 4, len(annotations))).tolist()
    for annotation, number in zip(annotations, ids, strict=True):
        annotation['id'] = number


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(prog='utils/draw_data.py', description=__doc__.split('\n')[0])
    parser.add_argument('out', type=Path, help='folder to write')
    parser.add_argument('--seed', type=int, default=0, help='other seed, other data')
    parser.add_argument('--size', type=int, default=256, help='image side, in pixels')
    for part, count in (('train', 160), ('valid', 40), ('test', 40)):
        parser.add_argument(f'--{part}', type=int, default=count, help='images')
    parser.add_argument('--overwrite', action='store_true', help='replace OUT')
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    args = parse_args(argv)
    counts = {'train': args.train, 'val': args.valid, 'test': args.test}
    if min(counts.values()) < 2:
        raise InputError('image counts', 'each must be at least 2', 'ask for more')
    if not 64 <= args.size <= 4096:
        raise InputError('--size', f'{args.size} is not in [64, 4096]', 'change it')
    if args.seed < 0:
        raise InputError('--seed', f'{args.seed} is negative', 'change it')
    refuse_existing(args.out, args.overwrite, MARKER)
    with whole_folder(args.out, marker=MARKER, overwrite=args.overwrite) as beside:
        parts = draw_data(beside, counts, size=args.size, seed=args.seed)
    objects = sum(len(part['annotations']) for part in parts.values())
    images = sum(counts.values())
    print(f'{images} images drawn in {args.out}, with {objects} objects labelled')
    return 0


if __name__ == '__main__':
    run_command(main)
