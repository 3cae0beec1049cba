"""A submission that is cut off, or cannot be written, never looks whole."""

import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mmsegmentation.files import write_mask
from utils.submission import main
from utils.submission_csv import HEADER, write_rows

COMMAND = Path(__file__).resolve().parents[2] / 'utils/submission.py'
MIB = 1 << 20


@pytest.fixture
def masks(tmp_path) -> Path:
    """Write masks enough for a second's work: a CSV of 5 MB."""
    rng = np.random.default_rng(0)
    folder = tmp_path / 'masks 한'
    for number in range(40):
        label_map = rng.integers(0, 11, (512, 512), np.uint8)
        write_mask(folder / f'b {number}' / '1.png', label_map)
    return folder


def left_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


@pytest.mark.parametrize('command', ['write', 'export'])
def test_full_disk__is_one_line_and_leaves_nothing(misuse, masks, mount, command):
    disk = mount('size=300k')
    misuse(main, 'No space left', command, masks, '--out', disk / 'out')
    assert left_in(disk) == []


@pytest.mark.parametrize('command', ['show', 'diff'])
def test_full_disk__no_folder_of_pictures_is_left(
    misuse, run, masks, mount, tmp_path, command
):
    csv = tmp_path / 's.csv'
    assert run(main, 'write', masks, '--out', csv)[0] == 0
    disk = mount('size=300k')
    files = [csv, csv] if command == 'diff' else [csv]
    misuse(main, 'No space left', command, *files, '--out', disk / 'out')
    assert left_in(disk) == []


def test_full_disk__keeps_the_earlier_file(misuse, masks, mount):
    disk = mount('size=300k')
    (disk / 's.csv').write_text('mine')
    write = ('write', masks, '--out', disk / 's.csv', '--overwrite')
    misuse(main, 'No space left', *write)
    assert left_in(disk) == ['s.csv']
    assert (disk / 's.csv').read_text() == 'mine'


def test_read_only_folder__is_one_line(misuse, masks, mount):
    disk = mount('size=300k,ro')
    misuse(main, 'Read-only', 'write', masks, '--out', disk / 's.csv')


@pytest.mark.skipif(os.geteuid() == 0, reason='root may write everywhere')
def test_folder_of_others__is_one_line(misuse, masks, tmp_path):
    folder = tmp_path / 'others'
    folder.mkdir(mode=0o500)
    misuse(main, 'Permission denied', 'write', masks, '--out', folder / 's.csv')


def test_largest_file__is_one_line_and_leaves_nothing(masks, tmp_path):
    """As a full disk, where nothing can be mounted: the file may not grow on."""
    out = tmp_path / 'out'
    done = subprocess.run(
        [sys.executable, COMMAND, 'write', masks, '--out', out / 's.csv'],
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (MIB, MIB)),
    )
    assert done.returncode == 2
    assert done.stderr.startswith(f'error: {out / "s.csv"}: ')
    assert done.stderr.count('\n') == 1
    assert left_in(out) == []


def start(masks: Path, out: Path, *argv: str) -> subprocess.Popen:
    out.parent.mkdir(exist_ok=True)
    return subprocess.Popen(
        [sys.executable, COMMAND, 'write', masks, '--out', out, '--jobs', '1', *argv],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_rows(process: subprocess.Popen, folder: Path) -> None:
    """Wait until the first rows stand in the file beside the one to be."""
    while process.poll() is None:
        if any(path.stat().st_size for path in folder.glob('.s.csv.*')):
            return
        time.sleep(0.001)


def test_interrupted__ends_in_one_line_and_leaves_nothing(masks, tmp_path):
    out = tmp_path / 'out/s.csv'
    process = start(masks, out)
    wait_for_rows(process, out.parent)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, 'interrupted\n')
    assert left_in(out.parent) == []


def test_killed__at_any_moment_leaves_nothing_that_looks_whole(run, masks, tmp_path):
    whole = tmp_path / 'whole.csv'
    assert run(main, 'write', masks, '--out', whole)[0] == 0
    out = tmp_path / 'out/s.csv'
    draw = random.Random(0)
    for _ in range(4):
        process = start(masks, out, '--overwrite')
        wait_for_rows(process, out.parent)
        time.sleep(draw.uniform(0, 0.3))
        process.kill()
        process.communicate()
        if out.exists():
            assert out.read_bytes() == whole.read_bytes()
            out.unlink()


NAMES = [
    'with space.jpg',
    '한글/사진 1.jpg',
    'a,b.jpg',
    'a"b.jpg',
    "'=1+1.jpg",
    '🗑.jpg',
]


def test_names__in_any_script_go_through_all_commands(run, tmp_path):
    images = [{'id': i, 'file_name': name} for i, name in enumerate(NAMES)]
    listing = tmp_path / 'test set.json'
    listing.write_text(json.dumps({'images': images}), encoding='utf-8-sig')
    for number, name in enumerate(NAMES):
        label_map = np.full((2, 2), number, np.uint8)
        write_mask((tmp_path / 'm' / name).with_suffix('.png'), label_map)
    csv, small = tmp_path / 's 한.csv', ('--size', 2, 2)
    write = ('write', tmp_path / 'm', '--out', csv, '--test-json', listing)
    assert run(main, *write, *small)[0] == 0
    assert run(main, 'check', csv, '--test-json', listing, *small)[0] == 0
    assert 'mIoU 1.0000' in run(main, 'score', csv, tmp_path / 'm', *small)[1]
    assert run(main, 'show', csv, '--out', tmp_path / 'p', *small)[0] == 0
    drawn = {*(tmp_path / 'p').rglob('*.png')}
    assert len(drawn - {tmp_path / 'p/legend.png'}) == len(NAMES)
    assert run(main, 'diff', csv, csv, '--out', tmp_path / 'd', *small)[0] == 0
    assert run(main, 'export', csv, '--out', tmp_path / 'e', *small)[0] == 0


@pytest.mark.parametrize('name', ['../up.jpg', '/root.jpg', 'C:/x.jpg', 'a\\b.jpg'])
def test_names__that_leave_their_folder_are_refused(misuse, tmp_path, name):
    csv, out = tmp_path / 's.csv', tmp_path / 'deep/out'
    csv.write_text(f'{HEADER}\n{name},0 0 0 0\n')
    for command in (
        ('score', csv, tmp_path),
        ('show', csv, '--out', out),
        ('diff', csv, csv, '--out', out),
    ):
        message = r's\.csv: line 2: .* (must stay inside its folder|has a backslash)'
        misuse(main, message, *command, '--size', 2, 2)
    assert left_in(tmp_path) in (['s.csv'], ['s.csv', 'deep'], ['deep', 's.csv'])
    assert not out.exists()


@pytest.mark.parametrize(
    ('names', 'why'),
    [
        (['a' * 300 + '.jpg'], 'File name too long'),
        (['a.png/b.jpg', 'a.jpg'], 'Is a directory|File exists'),
        (['a.jpg', 'a.png/b.jpg'], 'Is a directory|File exists'),
    ],
)
def test_names__that_no_folder_holds_are_told(misuse, tmp_path, names, why):
    csv, other, out = tmp_path / 's.csv', tmp_path / 't.csv', tmp_path / 'out'
    write_rows(csv, [(name, np.zeros((2, 2), np.uint8)) for name in names])
    write_rows(other, [(name, np.ones((2, 2), np.uint8)) for name in names])
    for command in (('show', csv), ('diff', csv, other)):
        message = rf'/out/.*a\.png: cannot be written \(({why})\); rename the image'
        misuse(main, message, *command, '--out', out, '--size', 2, 2)
    assert sorted(left_in(tmp_path)) == ['s.csv', 't.csv']


def test_names__in_another_encoding_are_told(misuse, tmp_path):
    write_mask(tmp_path / 'm/a.png', np.zeros((2, 2), np.uint8))
    (tmp_path / 'm/a.png').rename(tmp_path / 'm' / os.fsdecode(b'\xff.png'))
    out = ('--out', tmp_path / 'out')
    for command in ('write', 'export'):
        misuse(main, r'udcff\.jpg.: is not UTF-8', command, tmp_path / 'm', *out)
    assert left_in(tmp_path) == ['m']


PEAK = """
import resource, sys
from utils.submission import main
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before = peak()
try:
    main(sys.argv[1:])
except ValueError as error:
    print('error:', error)
print('MiB:', (peak() - before) // 1024)
"""


@pytest.mark.slow
def test_a_million_rows__need_no_memory_of_their_own(tmp_path):
    """Of images that are not in the test part: each a problem, none kept.

    Nine of ten have ids too many besides, which are looked at no further: that costs
    half the time, so that a million rows take seconds.
    """
    csv, listing = tmp_path / 's.csv', tmp_path / 'test.json'
    listing.write_text(json.dumps({'images': [{'file_name': 'a.jpg'}]}))
    with csv.open('w') as file:
        file.write(f'{HEADER}\na.jpg,0\n')
        for number in range(1_000_000):
            ids = '0 1 2' if number % 10 else '0'
            file.write(f'folder/{number:08}.jpg,{ids}\n')
    check = ('check', csv, '--test-json', listing, '--size', '1', '1')
    done = subprocess.run(
        [sys.executable, '-c', PEAK, *map(str, check)], capture_output=True, text=True
    )
    lines = done.stdout.splitlines()
    assert "line 3 ('folder/00000000.jpg'): is not in the test part" in lines[0]
    assert lines[-3] == '... and 1899960 more'
    assert lines[-2].endswith('1900000 problems; write it again')
    assert int(lines[-1].removeprefix('MiB: ')) < 30


def test_a_line_without_end__needs_no_memory_of_its_own(run, tmp_path):
    csv, listing = tmp_path / 's.csv', tmp_path / 'test.json'
    listing.write_text(json.dumps({'images': [{'file_name': 'a.jpg'}]}))
    with csv.open('wb') as file:
        file.write(f'{HEADER}\na.jpg,'.encode())
        for _ in range(200):
            file.write(b'0 ' * (MIB // 2))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    code, out, _ = run(main, 'check', csv, '--test-json', listing)
    assert code == 2
    assert 'has 209715200 characters, too many' in out
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert (after - before) // 1024 < 50


def test_million_maps__stream_through_write_rows(tmp_path):
    """No more than the ids is held: maps come one by one."""
    alive: list[int] = []

    def rows() -> Iterator[tuple[str, np.ndarray]]:
        for number in range(50):
            alive.append(number)
            yield f'{number}.jpg', np.zeros((256, 256), np.uint8)
            written = sum(p.stat().st_size for p in tmp_path.iterdir())
            assert written >= (len(alive) - 1) * (2 * 256 * 256)

    assert write_rows(tmp_path / 's.csv', rows()) == 50
