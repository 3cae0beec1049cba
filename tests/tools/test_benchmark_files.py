"""The benchmarks of files: both sides agree, and what is not here is left out."""

from pathlib import Path

import pytest

from mmsegmentation.files import read_json
from tools import benchmark
from tools.benchmarks import raster

SHARED = Path(__file__).resolve().parents[2] / '../shared/data'


@pytest.fixture
def measured(tmp_path, capsys):
    """Run a benchmark once, and return its records and what was printed."""

    def call(name: str) -> tuple[list[dict], str]:
        path = tmp_path / 'records.json'
        arguments = [name, '--quick', '--runs', '1', '--json', str(path)]
        assert benchmark.main([*arguments, '--overwrite']) == 0
        return read_json(path), ' '.join(capsys.readouterr().out.split())

    return call


def test_csv__agrees_with_pandas_and_the_bytes(measured):
    records, _ = measured('csv')
    assert all(record['same'] for record in records)
    peers = {record['peer'] for record in records}
    assert peers >= {'pandas', 'write of the same bytes', 'read of the same bytes'}


def test_raster__agrees_with_the_official_loop(measured, monkeypatch):
    monkeypatch.delenv(raster.VARIABLE, raising=False)
    records, out = measured('raster')
    assert all(record['same'] for record in records)
    assert len(records) == 3
    assert 'left out, RECYCLE_RAW names no raw folder' in out


@pytest.mark.skipif(not SHARED.is_dir(), reason='real photographs are not here')
def test_raster__agrees_on_real_photographs(measured, monkeypatch):
    folder = SHARED / 'recycle_trash_sample'
    monkeypatch.setenv(raster.VARIABLE, str(folder))
    records, _ = measured('raster')
    assert all(record['same'] for record in records)
    assert len(records) == 9


def test_draw_outlines__is_the_same_again():
    content = raster.draw_outlines(3)
    assert content == raster.draw_outlines(3)
    assert content != raster.draw_outlines(3, seed=1)
    assert all(len(p) >= 6 for a in content['annotations'] for p in a['segmentation'])
