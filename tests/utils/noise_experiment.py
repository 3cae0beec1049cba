"""Spoil the labels of drawn data, train on them, and see whether the ranking finds it.

    python tests/utils/noise_experiment.py OUT --kind relabelled --seed 0

Draws data, spoils a share of the objects of the training and of the validation part,
trains the small model of the demonstration on the spoilt training part, predicts the
spoilt validation part, which it has not seen, and ranks that part's labels. Prints
which share of the spoilt objects is among the first findings, as many as that share of
all objects. A few minutes on two cores; ``--judge`` ranks again without training.
"""

import argparse
import copy
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mmsegmentation.command import Parser, run_command
from mmsegmentation.files import read_json, write_json
from mmsegmentation.predictions import open_predictions

HOME = Path(__file__).resolve().parents[2]
CONFIG = HOME / 'configs/demo/upernet_beit-mini_1xb8-copypaste-360it_drawn-128x128.py'
KINDS = ('relabelled', 'shifted', 'missing')
PARTS = ('train', 'val')


def spoil(content: dict, kind: str, share: float, seed: int) -> tuple[dict, list[dict]]:
    """Return COCO JSON with a share of its objects spoilt, and these as they were.

    relabelled  another class, any with the same chance
    shifted     moved by 40 to 80 % of the longer side of its box, any direction
    missing     left out
    """
    rng = np.random.default_rng(seed)
    content = copy.deepcopy(content)
    rows = content['annotations']
    chosen = rng.choice(len(rows), round(share * len(rows)), replace=False)
    truth = [copy.deepcopy(rows[i]) for i in sorted(chosen.tolist())]
    sizes = {row['id']: (row['height'], row['width']) for row in content['images']}
    ids = [row['id'] for row in content['categories'] if row['id']]
    for row in [rows[i] for i in sorted(chosen.tolist())]:
        if kind == 'relabelled':
            others = [i for i in ids if i != row['category_id']]
            row['category_id'] = int(rng.choice(others))
        elif kind == 'shifted':
            move(row, sizes[row['image_id']], rng)
    if kind == 'missing':
        gone = {row['id'] for row in truth}
        content['annotations'] = [row for row in rows if row['id'] not in gone]
    return content, truth


def move(row: dict, size: tuple[int, int], rng: np.random.Generator) -> None:
    """Move an object, whose outline becomes run lengths; part of it stays in sight."""
    from pycocotools import mask as coco

    mask = outline(row, size)
    while True:
        angle = rng.uniform(0, 2 * np.pi)
        step = rng.uniform(0.4, 0.8) * max(row['bbox'][2:])
        down, right = round(step * np.sin(angle)), round(step * np.cos(angle))
        moved = shifted(mask, down, right)
        if moved.sum() >= mask.sum() / 2:
            break
    rle = coco.encode(np.asfortranarray(moved.astype(np.uint8)))
    row['area'] = float(coco.area(rle))
    row['bbox'] = coco.toBbox(rle).tolist()
    row['segmentation'] = {'size': list(size), 'counts': rle['counts'].decode('ascii')}


def shifted(mask: np.ndarray, down: int, right: int) -> np.ndarray:
    """Return a mask moved; what leaves the image is lost.

    >>> shifted(np.array([[True, False], [False, False]]), 1, 1)
    array([[False, False],
           [False,  True]])
    """
    rows, columns = np.nonzero(mask)
    rows, columns = rows + down, columns + right
    height, width = mask.shape
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    moved = np.zeros_like(mask)
    moved[rows[inside], columns[inside]] = True
    return moved


def outline(row: dict, size: tuple[int, int]) -> np.ndarray:
    """Return the pixels of an annotation, (H, W) bool."""
    from pycocotools import mask as coco

    from utils.rasterise import to_rle

    rle = to_rle(row['segmentation'], *size)
    return np.zeros(size, bool) if rle is None else coco.decode(rle) == 1


def make_data(out: Path, args: argparse.Namespace) -> None:
    from utils.draw_data import main as draw
    from utils.prepare_data import main as prepare

    counts = ('--train', args.images, '--valid', args.images, '--test', 2)
    draw([str(v) for v in (out / 'raw', '--seed', args.seed, *counts)])
    for part in PARTS:
        path = out / f'raw/{part}.json'
        content, truth = spoil(read_json(path), args.kind, args.share, args.seed)
        write_json(path, content)
        write_json(out / f'spoilt_{part}.json', truth)
    prepare([str(out / 'raw'), '--out', str(out / 'data'), '--jobs', '1'])


def train(out: Path) -> None:
    os.environ['RECYCLE_DATA'] = str(out / 'data')
    work_dir = out / 'model'
    _run('tools/train.py', CONFIG, '--work-dir', work_dir)
    # Not the best: it was chosen by the labels that are judged.
    last = (work_dir / 'last_checkpoint').read_text().strip()
    _run('tools/test.py', CONFIG, last, '--out', out / 'pred', '--probs')


def _run(script: str, *options: object) -> None:
    command = [sys.executable, HOME / script, *options]
    subprocess.run([str(word) for word in command], check=True)


def judge(out: Path, share: float) -> dict[str, float]:
    """Rank, and return which share of the spoilt objects the first findings name."""
    from utils.label_noise import rank_label_noise

    ranking = rank_label_noise(
        open_predictions(out / 'pred'),
        out / 'data/valid/mask',
        annotations=out / 'raw/val.json',
    )
    content = read_json(out / 'raw/val.json')
    truth = read_json(out / 'spoilt_val.json')
    names = {row['id']: row['file_name'] for row in content['images']}
    sizes = {row['id']: (row['height'], row['width']) for row in content['images']}
    kept = {row['id'] for row in content['annotations']}
    first = round(share * len(kept | {row['id'] for row in truth}))
    hits = set()
    for finding in ranking.findings[:first]:
        for row in truth:
            if names[row['image_id']] != finding.image_id:
                continue
            named = finding.annotation_id == row['id']
            if named or (
                finding.kind == 'missing'
                and overlap(outline(row, sizes[row['image_id']]), finding.bbox) >= 0.25
            ):
                hits.add(row['id'])
    return {'spoilt': len(truth), 'first': first, 'share': len(hits) / len(truth)}


def overlap(mask: np.ndarray, bbox: Sequence[float]) -> float:
    """Return the IoU of the box around a mask, and ``x, y, width, height``."""
    rows, columns = np.nonzero(mask)
    if not len(rows):
        return 0.0
    left, top, right, bottom = (
        columns.min(),
        rows.min(),
        columns.max() + 1,
        rows.max() + 1,
    )
    x, y, width, height = bbox
    across = min(right, x + width) - max(left, x)
    down = min(bottom, y + height) - max(top, y)
    shared = max(across, 0) * max(down, 0)
    return shared / ((right - left) * (bottom - top) + width * height - shared)


def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(prog='noise_experiment.py', description=__doc__.split('\n')[0])
    parser.add_argument('out', type=Path, help='folder to work in')
    parser.add_argument('--kind', choices=KINDS, default=KINDS[0], help='what is wrong')
    parser.add_argument('--share', type=float, default=0.05, help='of the objects')
    parser.add_argument('--images', type=int, default=160, help='in each part')
    parser.add_argument('--seed', type=int, default=0, help='other seed, other data')
    parser.add_argument('--judge', action='store_true', help='rank again, train not')
    args = parser.parse_args(argv)
    if not args.judge:
        make_data(args.out, args)
        train(args.out)
    print(args.kind, judge(args.out, args.share))
    return 0


if __name__ == '__main__':
    run_command(main)
