"""Show a study of tools/tune.py as one page: what was tried, and what it was worth.

    python utils/study.py D

D is the study's work folder. Writes D/index.html, which works from disk without a
network, the same picture as D/study.png, and the trials as D/trials.csv; tools/tune.py
does so at its end, and this command at any time before.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from mmsegmentation.command import Parser, run_command


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    summary = __doc__.split('\n')[0]
    parser = Parser(prog='utils/study.py', description=summary)
    text = 'work folder of a study, which has a study.json'
    parser.add_argument('folder', type=Path, metavar='D', help=text)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    args = parse_args(argv)
    from utils.page import write_page
    from utils.study_page.content import open_study
    from utils.study_page.picture import write_picture
    from utils.study_page.view import page_context, trial_rows
    from utils.tables import write_csv

    study = open_study(args.folder)
    columns, rows = trial_rows(study)
    write_csv(args.folder / 'trials.csv', [columns, *rows], overwrite=True)
    write_picture(args.folder / 'study.png', study)
    write_page(args.folder / 'index.html', 'study.html.j2', **page_context(study))
    print(f'page: {args.folder / "index.html"}')
    return 0


if __name__ == '__main__':
    run_command(main)
