"""Show the whole pipeline on drawn data: from JSON and images to a scored submission.

Every command is printed as one would type it. Two models learn from scratch, side by
side; their vote labels the test images, and both train on with these. How they vote
then is chosen on the validation part, and that vote is the submission. The true labels
of the test part score it at the end.
"""

import contextlib
import io
import os
import re
import shlex
import shutil
import sys
import time
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmsegmentation.command import InputError, Parser, run_command
from mmsegmentation.device import add_device_option, choose_device
from mmsegmentation.files import (
    check_replaceable,
    mask_name,
    read_json,
    write_json,
    write_mask,
)
from mmsegmentation.predictions import score_predictions
from tools.jobs import HOME, do, do_together, shown

MARKER = 'demo.json'
# Title, and the mixing that goes with each model.
MODELS = {'convnext': ('ConvNeXt', 'cutmix'), 'beit': ('BEiT', 'copypaste')}
SCHEDULES = {'first': '360it', 'second': 'pseudo-90it'}


class Demo:
    """The steps, in the order in which :meth:`run` takes them."""

    def __init__(self, work_dir: Path, seed: int) -> None:
        self.work_dir = work_dir
        self.seed = seed
        self.raw, self.root = work_dir / 'raw', work_dir / 'data'
        self.truth, self.csv = work_dir / 'truth', work_dir / 'submission.csv'
        self.rule, self.picture = work_dir / 'vote.json', work_dir / 'predictions.png'
        self.data_page, self.error_page = work_dir / 'eda', work_dir / 'report'

    def run(self) -> list[dict[str, Any]]:
        """Take every step; return the rows of the table of scores."""
        self.make_data()
        self.train('first')
        self.predict('first', 'test')
        self.vote('first', 'test')
        vote = self.predictions('first', 'ensemble', 'test')
        do('utils/pseudo_label.py', vote, '--data-root', self.root)
        self.train('second')
        self.predict('second', 'valid', '--probs')
        self.predict('second', 'test', '--probs')
        self.vote('second', 'valid', 'test')
        self.fit_vote()
        scored = self.submit()
        self.draw()
        self.look()
        return [*self.rows(), scored]

    def make_data(self) -> None:
        """Draw and prepare the data; put the hidden labels of the test part apart."""
        do('utils/draw_data.py', self.raw, '--seed', self.seed)
        do('utils/prepare_data.py', self.raw, '--out', self.root)
        print(f'\n$ export RECYCLE_DATA={shlex.quote(shown(self.root))}')
        os.environ['RECYCLE_DATA'] = str(self.root)
        write_truth(self.raw / 'hidden/test.json', self.truth)

    def train(self, stage: str) -> None:
        """Train both models; in the second stage from where the first one ended."""
        commands = {}
        for model, (title, _) in MODELS.items():
            out = self.work_dir / f'{model}_{stage}'
            command = ['tools/train.py', _config(model, stage), '--work-dir', out]
            if stage == 'second':
                best = f'load_from={shown(self.checkpoint(model, "first"))}'
                command += ['--cfg-options', best]
            commands[title] = command
        do_together(commands)

    def predict(self, stage: str, split: str, *more: str) -> None:
        """Let both models predict a part."""
        commands = {}
        for model, (title, _) in MODELS.items():
            best, config = self.checkpoint(model, stage), _config(model, stage)
            out = ('--out', self.predictions(stage, model, split))
            command = ['tools/test.py', config, best, '--split', split, *out, *more]
            commands[title] = command
        do_together(commands)

    def vote(self, stage: str, *splits: str) -> None:
        """Let both models vote, ties by their accuracy on the validation part."""
        metrics = [self.work_dir / f'{m}_{stage}' / 'metrics.json' for m in MODELS]
        commands = {}
        for split in splits:
            out = self.predictions(stage, 'ensemble', split)
            scored = ('--data-root', self.root) if split == 'valid' else ()
            members, more = self.members(stage, split), ('--metrics', *metrics, *scored)
            commands[split] = ['utils/ensemble.py', *members, '--out', out, *more]
        do_together(commands)

    def fit_vote(self) -> None:
        """Choose a vote on the validation part, and let it decide the test part."""
        out = self.predictions('second', 'fitted', 'test')
        valid, test = (self.members('second', split) for split in ('valid', 'test'))
        fit = ('utils/ensemble.py', 'fit', *valid, '--data-root', self.root)
        do(*fit, '--out', self.rule)
        do('utils/ensemble.py', *test, '--rule', self.rule, '--out', out)

    def submit(self) -> dict[str, Any]:
        """Write, check and score the CSV; return its row of the table."""
        best = self.predictions('second', 'fitted', 'test')
        listing = ('--test-json', self.raw / 'test.json')
        do('utils/submission.py', 'write', best, '--out', self.csv, *listing)
        do('utils/submission.py', 'check', self.csv, *listing)
        names = ('--classes', self.root / 'dataset.json')
        lines = do('utils/submission.py', 'score', self.csv, self.truth, *names)
        found = re.search(r'mIoU ([\d.]+).*?\[([\d.]+), ([\d.]+)\]', '\n'.join(lines))
        if not found:
            raise InputError('utils/submission.py', 'told no mIoU', 'see its output')
        score, low, high = map(float, found.groups())
        return {'name': self.csv.name, 'test': [score, low, high]}

    def draw(self) -> None:
        """Set images, truth and all predictions of the test part side by side."""
        columns = [f'Truth={shown(self.truth)}']
        for title, stage, model in self.stages():
            folder = self.predictions(stage, model, 'test')
            columns.append(f'{title}={shown(folder)}')
        images = ('--images', self.root / 'test/images')
        do('utils/picture.py', *images, '--columns', *columns, '--out', self.picture)

    def look(self) -> None:
        """Make the page of the data, and that of the errors in the validation part."""
        raw = ('--raw', self.raw, '--out', self.data_page)
        names = [*MODELS, 'ensemble']
        predicted = [self.predictions('second', name, 'valid') for name in names]
        out = ('--data-root', self.root, '--out', self.error_page)
        data = ['utils/eda.py', self.root, *raw]
        do_together({'data': data, 'errors': ['utils/report.py', *predicted, *out]})

    def rows(self) -> list[dict[str, Any]]:
        """Return a row of scores per stage: name, valid and test mIoU."""
        rows = []
        for title, stage, model in self.stages():
            kept = self.work_dir / f'{model}_{stage}' / 'metrics.json'
            if model == 'ensemble':
                kept = self.predictions(stage, model, 'valid') / 'metrics.json'
            row: dict[str, Any] = {'name': title}
            if model == 'fitted':
                vote = read_json(self.rule)['scores']['vote']
                row['valid'] = [vote['mIoU'], *vote['interval']]
            elif kept.is_file():
                row['valid'] = _score(read_json(kept))
            folder = self.predictions(stage, model, 'test')
            row['test'] = _score(score_predictions(folder, self.truth))
            rows.append(row)
        return rows

    def stages(self) -> list[tuple[str, str, str]]:
        """Return title, stage and model of all that predicts."""
        found = []
        for stage, suffix in (('first', ''), ('second', ' + pseudo')):
            found += [(t + suffix, stage, model) for model, (t, _) in MODELS.items()]
            found.append(('Vote' + suffix, stage, 'ensemble'))
        return [*found, ('Fitted vote + pseudo', 'second', 'fitted')]

    def checkpoint(self, model: str, stage: str) -> Path:
        """Return the checkpoint that was best on the validation part."""
        folder = self.work_dir / f'{model}_{stage}'
        return folder / read_json(folder / 'metrics.json')['checkpoint']

    def members(self, stage: str, split: str) -> list[Path]:
        """Return the prediction folders that vote."""
        return [self.predictions(stage, model, split) for model in MODELS]

    def predictions(self, stage: str, model: str, split: str) -> Path:
        """Return where a prediction folder stands."""
        return self.work_dir / 'predictions' / f'{model}_{stage}_{split}'


def _config(model: str, stage: str) -> Path:
    name = f'upernet_{model}-mini_1xb8-{MODELS[model][1]}-{SCHEDULES[stage]}'
    return HOME / 'configs/demo' / f'{name}_drawn-128x128.py'


def _score(metrics: dict[str, Any]) -> list[float]:
    return [metrics['mIoU'], *metrics['mIoU_interval']]


def write_truth(path: Path, masks: Path) -> None:
    """Paint the hidden annotations as masks, by the loop of the official notebook.

    Not by ``utils/prepare_data.py``: who scores has code of their own.
    """
    from pycocotools.coco import COCO

    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(path)
    for image_id, image in coco.imgs.items():
        label_map = np.zeros((image['height'], image['width']), np.uint8)
        annotations = coco.imgToAnns[image_id]
        for annotation in sorted(annotations, key=lambda a: a['area'], reverse=True):
            label_map[coco.annToMask(annotation) == 1] = annotation['category_id']
        write_mask(masks / mask_name(image['file_name']), label_map)


def show_scores(demo: Demo, rows: list[dict[str, Any]], seconds: float) -> None:
    """Print the table of scores, and where everything is."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title='mIoU over all pixels, with its 95 % interval over images')
    for title in ('', 'valid', 'test (hidden labels)'):
        table.add_column(title, justify='left' if not title else 'right')
    for row in rows:
        table.add_row(row['name'], _cell(row.get('valid')), _cell(row.get('test')))
    print()
    Console(width=None if sys.stdout.isatty() else 88).print(table)
    places = {
        'data root': demo.root,
        'models': demo.work_dir / '*_first, *_second',
        'predictions': demo.work_dir / 'predictions',
        'vote': demo.rule,
        'picture': demo.picture,
        'data page': demo.data_page / 'index.html',
        'error page': demo.error_page / 'index.html',
        'submission': demo.csv,
        'scores': demo.work_dir / MARKER,
    }
    for name, place in places.items():
        print(f'{name:<12} {shown(place)}')
    print(f'done in {seconds:.0f} s')


def _cell(score: Sequence[float] | None) -> str:
    return '' if score is None else '{:.3f} [{:.3f}, {:.3f}]'.format(*score)


def empty_folder(work_dir: Path, overwrite: bool) -> None:
    """Make room for a demonstration; what stands there must be an earlier one.

    Raises:
        InputError: The folder is taken.
    """
    check_replaceable(work_dir, MARKER, overwrite)
    if work_dir.is_dir():
        shutil.rmtree(work_dir)
    write_json(work_dir / MARKER, {'finished': False})


def parse_args(argv: Sequence[str] | None) -> Namespace:
    parser = Parser(prog='tools/demo.py', description=__doc__.split('\n')[0])
    add = parser.add_argument
    add('--work-dir', type=Path, default='work_dirs/demo', help='where all is written')
    add('--seed', type=int, default=0, help='other seed, other data')
    add_device_option(parser)
    add('--overwrite', action='store_true', help='replace an earlier demonstration')
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    args = parse_args(argv)
    if args.seed < 0:
        raise InputError('--seed', f'{args.seed} is negative', 'change it')
    choose_device(args.device)
    start = time.monotonic()
    empty_folder(args.work_dir, args.overwrite)
    demo = Demo(args.work_dir, args.seed)
    rows = demo.run()
    seconds = time.monotonic() - start
    kept = {'finished': True, 'seconds': round(seconds), 'scores': rows}
    write_json(args.work_dir / MARKER, kept)
    show_scores(demo, rows, seconds)
    return 0


if __name__ == '__main__':
    run_command(main)
