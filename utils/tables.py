"""CSV files that a spreadsheet opens as they are meant: names in any script, as text.

Names of classes, models and images are other people's text. A cell that begins as a
formula does would be one, so an apostrophe stands before it; all numbers stay numbers.
"""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from mmsegmentation.files import whole_file

# https://owasp.org/www-community/attacks/CSV_Injection
FORMULA = ('=', '+', '-', '@', '\t', '\r')


def write_csv(
    path: Path, rows: Iterable[Sequence[Any]], *, overwrite: bool = False
) -> None:
    """Write rows, the heading first; ``path`` appears only once it is whole.

    Args:
        rows: None is an empty cell.

    Raises:
        InputError: ``path`` exists, and ``overwrite`` is false.
    """
    # With a byte order mark, by which spreadsheets know Korean names for UTF-8.
    with (
        whole_file(path, overwrite=overwrite) as beside,
        beside.open('w', newline='', encoding='utf-8-sig') as file,
    ):
        csv.writer(file).writerows([as_text(cell) for cell in row] for row in rows)


def as_text(cell: Any) -> Any:
    """Return a cell that no spreadsheet takes for a formula.

    >>> as_text('=1+1'), as_text('a=b'), as_text(-1)
    ("'=1+1", 'a=b', -1)
    """
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA) else cell
