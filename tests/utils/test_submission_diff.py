"""Where two submissions disagree: exact counts, worst first, in any order of rows."""

import csv
import gzip
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmsegmentation.classes import PALETTE
from mmsegmentation.files import read_json
from utils.submission import main
from utils.submission_csv import write_rows
from utils.submission_pictures import LINE, set_beside

SMALL = ('--size', 2, 2)
FIRST = {'a/1.jpg': [0, 1, 2, 10], 'b/1.jpg': [0, 0, 0, 0], 'c/1.jpg': [6, 6, 0, 0]}
SECOND = {'c/1.jpg': [6, 1, 1, 1], 'a/1.jpg': [0, 1, 2, 9], 'b/1.jpg': [0, 0, 0, 0]}


def write(path: Path, rows: dict[str, list[int]]) -> Path:
    maps = {i: np.array(ids, np.uint8).reshape(2, 2) for i, ids in rows.items()}
    write_rows(path, maps.items())
    return path


def table(path: Path) -> list[list[str]]:
    with path.open(newline='', encoding='utf-8-sig') as file:
        return list(csv.reader(file))


@pytest.fixture
def files(tmp_path):
    return write(tmp_path / 'a.csv', FIRST), write(tmp_path / 'b.csv', SECOND)


@pytest.fixture
def found(run, files, tmp_path):
    """Compare the two, and return the folder and what was printed."""
    out = tmp_path / 'diff'
    code, text, err = run(main, 'diff', *files, '--out', out, *SMALL)
    assert (code, err) == (0, '')
    return out, text


def test_diff__counts_pairs_of_classes_most_first(found):
    assert table(found[0] / 'pairs.csv') == [
        ['first', 'second', 'pixels', 'share', 'images'],
        ['Background', 'General trash', '2', str(2 / 12), '1'],
        ['Plastic', 'General trash', '1', str(1 / 12), '1'],
        ['Clothing', 'Battery', '1', str(1 / 12), '1'],
    ]


def test_diff__counts_each_class(found):
    rows = {row[0]: row[1:] for row in table(found[0] / 'classes.csv')}
    assert rows['class'] == ['first', 'second', 'both', 'iou']
    assert rows['Background'] == ['7', '5', '5', str(5 / 7)]
    assert rows['General trash'] == ['1', '4', '1', '0.25']
    assert rows['Clothing'] == ['1', '0', '0', '0.0']
    assert rows['Glass'] == ['0', '0', '0', '']


def test_diff__lists_images_worst_first_and_draws_those_that_differ(found):
    out, text = found
    assert table(out / 'images.csv') == [
        ['image_id', 'pixels', 'share'],
        ['c/1.jpg', '3', '0.75'],
        ['a/1.jpg', '1', '0.25'],
        ['b/1.jpg', '0', '0.0'],
    ]
    drawn = sorted(p.relative_to(out).as_posix() for p in out.rglob('*.png'))
    assert drawn == ['legend.png', 'pictures/a/1.png', 'pictures/c/1.png']
    assert text.splitlines()[:-2] == [
        '2 of 3 images differ, 33.33% of the pixels',
        'class in the first -> in the second, in pixels:',
        '           2  Background -> General trash',
        '           1  Plastic -> General trash',
        '           1  Clothing -> Battery',
        'images that differ most, in share of their pixels:',
        '      75.00%  c/1.jpg',
        '      25.00%  a/1.jpg',
    ]


def test_diff__picture_shows_both_and_where_they_differ(found):
    picture = np.asarray(Image.open(found[0] / 'pictures/a/1.png'))[LINE:]
    assert picture.shape == (2, 3 * 2 + 2 * 8, 3)
    one, two, other = picture[:, :2], picture[:, 10:12], picture[:, 20:]
    assert tuple(one[1, 1]) == PALETTE[10]
    assert tuple(two[1, 1]) == PALETTE[9]
    assert other[1, 1].tolist() == [max(value, 96) for value in PALETTE[9]]
    assert other[0, 1].tolist() == [value >> 2 for value in PALETTE[1]]


def test_picture__names_each_part_above_it():
    pair = [np.zeros((9, 200), np.uint8)] * 2
    colours = np.zeros((1, 3), np.uint8)
    made = [set_beside(pair, names, colours) for names in ('AB', 'CB', 'AC')]
    heads = np.stack([picture[:LINE] for picture in made])
    parts = heads[:, :, :200], heads[:, :, 208:408], heads[:, :, 416:]
    for part, other in zip(parts, (1, 2, 2), strict=True):
        assert part[0].min() < 64
        same = [np.array_equal(part[0], part[i]) for i in (1, 2)]
        assert same == [i != other for i in (1, 2)]


def test_diff__says_what_was_compared(found, files):
    content = read_json(found[0] / 'diff.json')
    assert [file['file'] for file in content['files']] == ['a.csv', 'b.csv']
    assert (content['images'], content['images_that_differ']) == (3, 2)
    assert (content['pixels'], content['pixels_that_differ']) == (12, 4)
    assert content['counts'][10][9] == 1


def test_diff__of_equal_files_in_other_forms(run, files, tmp_path):
    packed = tmp_path / 'other.gz'
    packed.write_bytes(gzip.compress(files[0].read_bytes().replace(b'\n', b'\r\n')))
    out = tmp_path / 'diff'
    code, text, _ = run(main, 'diff', files[0], packed, '--out', out, *SMALL)
    assert code == 0
    assert text.splitlines()[:-2] == ['0 of 3 images differ, 0.00% of the pixels']
    assert not list(out.rglob('*.png'))


def test_diff__draws_as_many_as_asked_for(run, files, tmp_path):
    out = tmp_path / 'diff'
    run(main, 'diff', *files, '--out', out, *SMALL, '--pictures', 1)
    assert [p.parent.name for p in out.glob('pictures/**/*.png')] == ['c']
    run(main, 'diff', *files, '--out', out, *SMALL, '--pictures', 0, '--overwrite')
    assert not list(out.rglob('*.png'))


def test_diff__misuse_is_one_line_and_leaves_nothing(misuse, files, tmp_path):
    diff = ('diff', *files, '--out', tmp_path / 'diff', *SMALL)
    misuse(main, '--pictures: is -1', *diff, '--pictures', -1)
    misuse(main, 'has 4 ids, not 65536', *diff[:-3])
    rows = files[1].read_bytes()
    files[1].write_bytes(rows.replace(b'a/1.jpg', b'd/1.jpg'))
    misuse(main, r"'a/1\.jpg': is in .*a\.csv but not in .*b\.csv", *diff)
    files[1].write_bytes(rows + b'd/1.jpg,0 0 0 0\n')
    misuse(main, r"'d/1\.png': is in .*b\.csv but not in .*a\.csv", *diff)
    (tmp_path / 'diff').mkdir()
    (tmp_path / 'diff/thesis').touch()
    misuse(main, 'holds no diff.json, so it is not replaced', *diff)
    misuse(main, 'holds no diff.json', *diff, '--overwrite')
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == ['a.csv', 'b.csv', 'diff']
