"""Report on the predictions of one model, or of several side by side, as one page.

    python utils/report.py PRED [PRED...] --data-root ROOT --out D

Writes D/index.html, which works from disk without a network, the same numbers as
D/report.json and D/*.csv, and thumbnails in D/pictures. Truth are the masks of the part
that was predicted, or of the part that holds an image; without any, the page shows
class shares, confidence and pictures. Several models are compared on the images that
all of them hold.
"""

import argparse
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmsegmentation.command import InputError, Parser, run_command
from mmsegmentation.files import (
    refuse_existing,
    refuse_overlap,
    whole_folder,
    write_json,
)
from utils.error_page.curves import Curves, curves_of
from utils.error_page.errors import FARTHEST
from utils.error_page.sources import Sources, open_sources
from utils.parallel import Workers, add_worker_options

if TYPE_CHECKING:
    from utils.error_page.summary import Summary

MARKER = 'report.json'


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(
        prog='utils/report.py',
        description='Report on the predictions of one model, or of several side by '
        'side, as one HTML page.',
    )
    add = parser.add_argument
    add('preds', type=Path, nargs='+', metavar='PRED', help='prediction folders')
    root = Path(os.environ.get('RECYCLE_DATA', 'input/data'))
    text = 'data root with the photographs and the true masks'
    add('--data-root', type=Path, default=root, metavar='ROOT', help=text)
    add('--out', type=Path, required=True, metavar='D', help='folder to write')
    text = 'pixels closer than this to a true border count as near it'
    add('--boundary', type=int, default=5, metavar='PX', help=text)
    text = (
        "each model's work directory or log, in order; of a single model also several, "
        'as of joined folds; if not given, the work directories of the checkpoints'
    )
    add('--logs', type=Path, nargs='+', metavar='LOG', help=text)
    text = (
        'rank the labels, show the N that the first model contradicts most; it must '
        'not have been trained on these images'
    )
    add('--label-noise', type=int, default=0, metavar='N', help=text)
    add('--size', type=int, default=320, help='longest side of a thumbnail, in pixels')
    add_worker_options(parser)
    add('--overwrite', action='store_true', help='replace an earlier report')
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Check everything, measure every image, then write the page."""
    args = parse_args(argv)
    check_args(args)
    sources = open_sources(args.preds, args.data_root)
    refuse_overlap(args.out, [*args.preds, args.data_root])
    curves = read_logs(sources, args.logs)
    for note in sources.notes:
        print(f'note: {note}')
    with whole_folder(args.out, marker=MARKER, overwrite=args.overwrite) as folder:
        summary = measure(sources, folder, args)
        noise = None
        if args.label_noise:
            from utils.error_page.noise import rank_labels

            noise = rank_labels(sources, folder, args.label_noise, Workers.of(args))
        content = write_report(folder, sources, summary, curves, noise)
    for model in content['models']:
        if 'mIoU' in model:
            low, high = model['mIoU_interval']
            print(
                f'{model["name"]}: mIoU {model["mIoU"]:.4f}  95 % [{low:.4f}, '
                f'{high:.4f}]  ({content["labelled_images"]} images)'
            )
    print(f'report: {args.out / "index.html"}')
    return 0


def check_args(args: argparse.Namespace) -> None:
    """Stop before the first slow step.

    Raises:
        InputError: A value is out of range, or ``--out`` would replace an input.
    """
    refuse_existing(args.out, args.overwrite, MARKER)
    for name, least, most in (
        ('boundary', 1, FARTHEST),
        ('label-noise', 0, 10_000),
        ('size', 16, 4096),
    ):
        if not least <= (value := getattr(args, name.replace('-', '_'))) <= most:
            raise InputError(f'--{name}', f'is {value}', f'give {least} to {most}')
    if args.logs and len(args.preds) not in (1, len(args.logs)):
        raise InputError(
            '--logs', f'{len(args.logs)} for {len(args.preds)} folders', 'one for each'
        )
    sources = [*args.preds, args.data_root, *(args.logs or ())]
    refuse_overlap(args.out, sources, beneath=True)


def read_logs(
    sources: Sources, logs: Sequence[Path] | None
) -> dict[str, dict[str, Curves]]:
    """Return training curves by model: of ``logs``, or of the checkpoints' folders."""
    count = len(sources.models)
    given: list[Sequence[Path]] = [[place] for place in logs or ()] or [[]] * count
    if logs and count == 1:
        given = [logs]
    return {
        name: curves_of(name, member.origin, own)
        for (name, member), own in zip(sources.models.items(), given, strict=True)
    }


def measure(sources: Sources, folder: Path, args: argparse.Namespace) -> 'Summary':
    """Measure every image and draw its thumbnails."""
    from utils.error_page.measure import measure_all
    from utils.error_page.page import PICTURES
    from utils.error_page.summary import Model, Summary

    images = list(measure_all(sources, folder / PICTURES, Workers.of(args), args.size))
    count = len(sources.classes)
    models = [Model(name, images, n, count) for n, name in enumerate(sources.models)]
    return Summary(sources.classes, images, models, args.boundary)


def write_report(
    folder: Path,
    sources: Sources,
    summary: 'Summary',
    curves: Mapping[str, Mapping[str, Curves]],
    noise: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Write the page, ``report.json`` and the tables; return what the JSON says."""
    from utils.error_page.page import provenance, pseudo_labels
    from utils.error_page.tables import write_tables
    from utils.error_page.view import page_context
    from utils.page import write_page

    content = summary.content()
    content['data_root'] = str(sources.root)
    content['notes'] = sources.notes
    content['provenance'] = [provenance(n, m) for n, m in sources.models.items()]
    content['pseudo_labels'] = pseudo_labels(sources)
    lines = {key: held for own in curves.values() for key, held in own.items()}
    files = write_tables(folder, summary, content, lines)
    context = page_context(summary, content, lines)
    context['without_log'] = [name for name, own in curves.items() if not own]
    write_page(
        folder / 'index.html', 'report.html.j2', files=files, noise=noise, **context
    )
    write_json(folder / MARKER, content)
    return content


if __name__ == '__main__':
    run_command(main)
