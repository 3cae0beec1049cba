"""A checkpoint is whole, or it is known to be damaged."""

import errno
import io
import os
import random
import zipfile
from pathlib import Path

import pytest
import torch

from mmsegmentation.command import InputError
from mmsegmentation.sealed import (
    SEAL_SIZE,
    damage_of,
    remove_leftovers,
    write_sealed,
    write_synced,
)


@pytest.fixture
def content():
    buffer = io.BytesIO()
    weights = torch.rand(50, 20, generator=torch.manual_seed(0))
    torch.save({'weights': weights, 'name': 'x'}, buffer)
    return buffer.getvalue()


@pytest.fixture
def sealed(content, tmp_path):
    path = tmp_path / 'iter_4.pth'
    write_sealed(path, content)
    return path


def test_seal__any_reader_of_checkpoints_passes_over_it(sealed, content):
    for mmap in (False, True):
        found = torch.load(sealed, weights_only=True, mmap=mmap)
        plain = torch.load(io.BytesIO(content), weights_only=True)
        assert torch.equal(found['weights'], plain['weights'])
    assert zipfile.ZipFile(sealed).testzip() is None
    assert len(sealed.read_bytes()) == len(content) + SEAL_SIZE
    assert damage_of(sealed) is None


def test_seal__a_file_without_one_is_taken_as_it_is(content, tmp_path):
    path = tmp_path / 'stock.pth'
    path.write_bytes(content)
    assert damage_of(path) is None
    torch.save({'a': 1}, path, _use_new_zipfile_serialization=False)
    assert damage_of(path) is None


def test_seal__every_cut_is_seen(sealed, tmp_path):
    whole, path = sealed.read_bytes(), tmp_path / 'cut.pth'
    for size in (*range(4, len(whole), 97), *range(len(whole) - 200, len(whole))):
        path.write_bytes(whole[:size])
        assert damage_of(path), size


def test_seal__every_flipped_bit_is_seen(sealed, tmp_path):
    whole, path = sealed.read_bytes(), tmp_path / 'flipped.pth'
    draw = random.Random(0)
    last = range(len(whole) - 120, len(whole))
    for place in (*draw.sample(range(4, len(whole)), 200), *last):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << draw.randrange(8)
        path.write_bytes(damaged)
        assert damage_of(path) == 'its bytes are not those that were written', place


def test_seal__what_is_no_archive_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r'a\.pth: no ZIP archive'):
        write_sealed(tmp_path / 'a.pth', b'weights')
    assert not list(tmp_path.iterdir())


def test_write__full_disk_is_one_line_and_leaves_what_was_there(
    sealed, content, monkeypatch
):
    before = sealed.read_bytes()

    def full(handle):
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(os, 'fsync', full)
    message = (
        r'iter_4\.pth: cannot be written \(No space left on device\); the checkpoint '
        r'before is whole; make room and go on with --resume'
    )
    with pytest.raises(InputError, match=message):
        write_sealed(sealed, content)
    assert [sealed.read_bytes()] == [p.read_bytes() for p in sealed.parent.iterdir()]
    assert sealed.read_bytes() == before


def test_write__is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    order = []
    for owner, name in ((os, 'fsync'), (Path, 'replace')):
        act = getattr(owner, name)

        def note(*args, name=name, act=act):
            order.append(name)
            return act(*args)

        monkeypatch.setattr(owner, name, note)
    write_synced(tmp_path / 'last_checkpoint', [b'iter_4.pth'])
    assert order == ['fsync', 'replace', 'fsync']
    assert (tmp_path / 'last_checkpoint').read_bytes() == b'iter_4.pth'


def test_leftovers__of_killed_runs_are_removed_and_nothing_else(tmp_path):
    gone = ['.iter_4.pth.0a1b2c3d', '.best_mIoU_epoch_2.pth.00000000']
    gone += ['.last_checkpoint.ffffffff', '.metrics.json.12345678']
    kept = ['.mine.pth.0a1b2c3d', 'iter_4.pth', '.iter_4.pth', '.iter_4.pth.0a1b2c3d5']
    for name in gone + kept:
        (tmp_path / name).write_text('')
    remove_leftovers(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(kept)
