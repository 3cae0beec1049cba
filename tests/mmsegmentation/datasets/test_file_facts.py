import json
import os
import stat
from pathlib import Path

import pytest

from mmsegmentation.command import InputError
from mmsegmentation.datasets import file_facts
from mmsegmentation.datasets.file_facts import read_facts


@pytest.fixture
def files(tmp_path):
    paths = [tmp_path / 'root' / f'{i}.txt' for i in range(12)]
    paths[0].parent.mkdir()
    for i, path in enumerate(paths):
        path.write_text('x' * (i + 1))
    return [str(path) for path in paths]


@pytest.fixture
def read(tmp_path, monkeypatch):
    """Read the facts, a file's length; tell of which files it was measured."""
    monkeypatch.setattr(file_facts, 'PROBES', 0)

    def call(paths, folder=tmp_path / 'root'):
        measured = []

        def measure(path):
            measured.append(Path(path).name)
            return [Path(path).stat().st_size]

        def is_sound(facts):
            return len(facts) == 1 and isinstance(facts[0], int)

        found = read_facts(folder, 'length', paths, measure, is_sound)
        return found, sorted(measured)

    return call


def store_of(tmp_path):
    return tmp_path / 'root/.cache/facts/length.json'


def test_facts__are_measured_once(files, read):
    expected = {path: [i + 1] for i, path in enumerate(files)}
    found, measured = read(files)
    assert found == expected
    assert len(measured) == 12
    assert read(files) == (expected, [])
    assert read([files[3]]) == ({files[3]: [4]}, [])


def test_facts__of_a_changed_file_are_measured_anew(files, read):
    read(files)
    before = Path(files[5]).stat()
    Path(files[5]).write_text('other!')  # as long as before
    os.utime(files[5], ns=(before.st_atime_ns, before.st_mtime_ns))
    assert read(files)[1] == ['5.txt']


def test_facts__of_other_files_stay(files, read):
    read(files[:4])
    assert len(read(files[4:])[1]) == 8
    assert read(files)[1] == []


NO_STORES = [
    '',
    '[]',
    '{"version": 1}',
    '{"version": 9}',
    '\0',
    '[' * 100_000,
    '{"version": 1, "files": {"a": [Infinity, 1, 1, 1]}}',
]


@pytest.mark.parametrize('text', NO_STORES, ids=range(len(NO_STORES)))
def test_store__that_is_none_is_made_anew(files, read, tmp_path, text):
    read(files)
    store_of(tmp_path).write_text(text)
    assert len(read(files)[1]) == 12
    assert read(files)[1] == []


def test_store__entry_that_cannot_be_is_measured_anew(files, read, tmp_path):
    read(files)
    content = json.loads(store_of(tmp_path).read_text())
    content['files'][files[2]][3:] = ['two', 2]
    store_of(tmp_path).write_text(json.dumps(content))
    found, measured = read(files)
    assert measured == ['2.txt']
    assert found[files[2]] == [3]


def test_store__that_lies_is_found_out_by_probes(files, read, tmp_path, monkeypatch):
    read(files)
    content = json.loads(store_of(tmp_path).read_text())
    for facts in content['files'].values():
        facts[3] += 1
    store_of(tmp_path).write_text(json.dumps(content))
    assert read(files)[0][files[0]] == [2]  # trusted without probes
    monkeypatch.setattr(file_facts, 'PROBES', 1)
    assert read(files)[0] == {path: [i + 1] for i, path in enumerate(files)}


@pytest.mark.skipif(os.geteuid() == 0, reason='root writes everywhere')
def test_store__of_a_root_that_cannot_be_written_is_the_users(files, read, tmp_path):
    (tmp_path / 'root').chmod(stat.S_IRUSR | stat.S_IXUSR)
    read(files)
    assert read(files)[1] == []


def test_store__falls_back_to_the_users_cache(files, read, tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'home'))
    (tmp_path / 'root/.cache').write_text('a file in the place of the folder')
    read(files)
    assert len(list((tmp_path / 'home/recycle-segmentation').iterdir())) == 1
    assert read(files)[1] == []


def test_store__of_a_root_that_no_longer_takes_any_is_the_users(
    files, read, tmp_path, monkeypatch
):
    """The first store is older: of another place, and of a file that has changed."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'home'))
    read(files[:2])

    def write(path, content, whole=file_facts.write_whole):
        if tmp_path / 'root' in path.parents:
            raise OSError
        whole(path, content)

    monkeypatch.setattr(file_facts, 'write_whole', write)
    Path(files[1]).write_text('changed')
    assert len(read(files)[1]) == 11
    assert read(files)[1] == []


def test_file__missing_is_named(files, read, tmp_path):
    with pytest.raises(InputError, match=r'nowhere: no such file'):
        read([*files, str(tmp_path / 'nowhere')])
