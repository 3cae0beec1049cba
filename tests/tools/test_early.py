"""Mistakes in arguments cost no seconds: they are found before torch is imported."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / 'configs/demo'
CONVNEXT = DEMO / 'upernet_convnext-mini_1xb8-cutmix-360it_drawn-128x128.py'
PSEUDO = DEMO / 'upernet_convnext-mini_1xb8-cutmix-pseudo-90it_drawn-128x128.py'
SPACE = ROOT / 'configs/tuning/convnext_cutmix.yaml'
# The error is raised, so that what was imported until then can be looked at.
MAIN = """
import runpy, sys
sys.argv = sys.argv[1:]
try:
    runpy.run_path(sys.argv[0], run_name='__main__')
finally:
    print('torch' in sys.modules)
"""
WRONG = {
    'train: no data': (
        'train.py {config} --work-dir w --data-root nowhere',
        'nowhere/train/images: no such folder; make the data root with',
    ),
    'train: no data by the environment': (
        'train.py {config} --work-dir w',
        'absent/train/images: no such folder',
    ),
    'train: no validation part': (
        'train.py {config} --work-dir w --data-root unsplit',
        'unsplit/valid/images: no such folder; make folds with utils/split.py and pass '
        '--fold 0, or train without validation: --cfg-options val_dataloader=None',
    ),
    'train: folder is taken': (
        'train.py {config} --work-dir taken --data-root data',
        'taken: holds an earlier run; pass --resume',
    ),
    'train: folder in a file': (
        'train.py {config} --work-dir a.pth/w --data-root data',
        'a.pth/w: cannot be made (Not a directory',
    ),
    'train: folder is a file': (
        'train.py {config} --work-dir a.pth --data-root data',
        'a.pth: is a file; name a folder',
    ),
    'test: folder of pictures is a file': (
        'test.py {config} a.pth --out w --show-dir a.pth --data-root data',
        'a.pth: is a file; name a folder',
    ),
    'train: nothing to resume': (
        'train.py {config} --work-dir w --data-root data --resume',
        'w: holds no run to resume',
    ),
    'train: no checkpoint to resume': (
        'train.py {config} --work-dir w --data-root data --resume none.pth',
        'none.pth: no such checkpoint',
    ),
    'train: no checkpoint to start from': (
        'train.py {config} --work-dir w --data-root data --cfg-options '
        'load_from=none.pth',
        'none.pth: no such checkpoint',
    ),
    'train: a checkpoint': (
        'train.py a.pth --work-dir w',
        'a.pth: is a checkpoint, where a config is expected',
    ),
    'test: swapped': (
        'test.py a.pth {config} --out w',
        'a.pth: is a checkpoint, where a config is expected; name the config first',
    ),
    'test: a config twice': (
        'test.py {config} {config} --out w',
        'is a config, where a checkpoint is expected; name the config first',
    ),
    'test: no checkpoint': (
        'test.py {config} none.pth --out w',
        'none.pth: no such checkpoint',
    ),
    'test: no data': (
        'test.py {config} a.pth --out w --split test --data-root data',
        'data/test/images: no such folder',
    ),
    'test: folder is taken': (
        'test.py {config} a.pth --out taken --data-root data --overwrite',
        'taken: holds no predictions.json, so it is not replaced',
    ),
    'average: no checkpoint': (
        'average.py {config} a.pth none.pth --out w.pth --data-root data',
        'none.pth: no such checkpoint',
    ),
    'average: no data': (
        'average.py {config} a.pth a.pth --out w.pth --data-root nowhere',
        'nowhere/valid/mask: no such folder',
    ),
    'tune: no data': (
        'tune.py {config} {space} --work-dir w --data-root nowhere',
        'nowhere/train/images: no such folder',
    ),
    'self_train: no data': (
        'self_train.py {config} --pseudo-config {pseudo} --work-dir w --data-root no',
        'no: no such folder; make it with utils/prepare_data.py',
    ),
    'convert: no checkpoint': (
        'convert_checkpoint.py none.pth --config {config} --out w.pth',
        'none.pth: no such checkpoint',
    ),
    'export: no checkpoint': (
        'export.py none.pth --out w.safetensors',
        'none.pth: no such checkpoint',
    ),
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return a folder with a data root that has no test part, and with a file."""
    for part in ('train', 'valid'):
        for kind in ('images', 'mask'):
            (tmp_path / 'data' / part / kind).mkdir(parents=True)
    (tmp_path / 'unsplit/train/images').mkdir(parents=True)
    (tmp_path / 'taken').mkdir()
    (tmp_path / 'taken/iter_1.pth').touch()
    (tmp_path / 'a.pth').write_bytes(b'PK\x03\x04')
    monkeypatch.setenv('RECYCLE_DATA', 'absent')
    return tmp_path


@pytest.mark.parametrize(('command', 'wanted'), WRONG.values(), ids=WRONG)
def test_mistake__is_found_without_torch_and_leaves_nothing(folder, command, wanted):
    before = sorted(folder.rglob('*'))
    names = {'config': CONVNEXT, 'pseudo': PSEUDO, 'space': SPACE}
    script, *arguments = command.format(**names).split()
    done = subprocess.run(
        [sys.executable, '-c', MAIN, str(ROOT / 'tools' / script), *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith('error: ')
    assert wanted in done.stderr
    assert done.stdout == 'False\n'
    assert sorted(folder.rglob('*')) == before
