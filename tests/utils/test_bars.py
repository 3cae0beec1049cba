"""Work that takes long on much data shows a bar: it was silent for ten seconds."""

from collections.abc import Iterable

import numpy as np
import pytest

from mmsegmentation.classes import CLASSES
from utils import coco, duplicates, picture, submission_csv
from utils.duplicates import look_at, near_duplicates
from utils.noise import sheet
from utils.prepare_data import read_parts
from utils.submission_csv import find_problems, write_rows


@pytest.fixture
def bars(monkeypatch):
    """Keep the name and the length of each bar of the modules under test."""
    shown: list[tuple[str, int | None]] = []

    def record(items: Iterable, description: str, total: int | None = None) -> Iterable:
        shown.append((description, total or len(items)))
        return items

    for module in (coco, duplicates, picture, sheet, submission_csv):
        monkeypatch.setattr(module, 'progress', record)
    return shown


def test_bar__over_the_objects_of_each_json(raw, bars):
    read_parts(raw.folder, list(CLASSES), True, coco.Findings())
    assert bars == [('read train.json', 2), ('read val.json', 1), ('read test.json', 0)]


def test_bar__over_the_photographs_that_are_compared(bars):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (130, 40, 40, 3), np.uint8)
    near_duplicates([look_at(image) for image in images])
    assert bars == [('compare', 2)]  # blocks of 128


def test_bar__over_the_rows_that_are_checked(bars, tmp_path):
    path = tmp_path / 's.csv'
    write_rows(path, [('a.jpg', np.zeros((2, 2), np.uint8))])
    assert list(find_problems(path, ['a.jpg'], (2, 2))) == []
    assert bars == [('check', 1)]


def test_bar__over_the_images_that_are_drawn(run, bars, make_part, tmp_path):
    root = make_part('valid', {'1.jpg': [[0, 1]], '2.jpg': [[1, 0]]})
    columns = ('--columns', f'Truth={root}/valid/mask')
    out = ('--out', tmp_path / 'p.png', '--dpi', 20)
    assert run(picture.main, '--images', root / 'valid/images', *columns, *out)[0] == 0
    assert bars == [('draw', 2)]
