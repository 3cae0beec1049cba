"""Every command as its own process: quick help, wrong arguments in one line."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
COMMANDS = sorted(
    str(path.relative_to(ROOT))
    for folder in ('tools', 'utils')
    for path in (ROOT / folder).glob('*.py')
    if "__name__ == '__main__'" in path.read_text()
)
# Those of the contract; a new one is found by itself.
KNOWN = {
    'tools/average.py',
    'tools/benchmark.py',
    'tools/convert_checkpoint.py',
    'tools/demo.py',
    'tools/export.py',
    'tools/self_train.py',
    'tools/test.py',
    'tools/train.py',
    'tools/tune.py',
    'utils/draw_data.py',
    'utils/eda.py',
    'utils/ensemble.py',
    'utils/gate.py',
    'utils/join.py',
    'utils/label_noise.py',
    'utils/picture.py',
    'utils/prepare_data.py',
    'utils/pseudo_label.py',
    'utils/report.py',
    'utils/split.py',
    'utils/study.py',
    'utils/submission.py',
}
SLOW = (
    'torch',
    'torchvision',
    'mmcv',
    'mmengine',
    'mmseg',
    'cv2',
    'pandas',
    'scipy',
    'plotly',
    'matplotlib',
    'numba',
    'joblib',
    'distributed',
    'pycocotools',
    'albumentations',
    'SimpleITK',
    'jinja2',
    'optuna',
    'sqlalchemy',
)
HELP = f"""
import runpy, sys
sys.argv = [sys.argv[1], '--help']
try:
    runpy.run_path(sys.argv[0], run_name='__main__')
finally:
    print('imported:', [name for name in {SLOW} if name in sys.modules])
"""


def process(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command], cwd=folder, capture_output=True, text=True
    )


def test_commands__are_found():
    assert set(COMMANDS) >= KNOWN


@pytest.mark.parametrize('command', COMMANDS)
def test_help__imports_nothing_slow(command, tmp_path):
    done = process(tmp_path, '-c', HELP, str(ROOT / command))
    assert (done.returncode, done.stderr) == (0, '')
    assert done.stdout.startswith(f'usage: {command} ')
    assert done.stdout.splitlines()[-1] == 'imported: []'


@pytest.mark.parametrize('command', COMMANDS)
@pytest.mark.parametrize('wrong', ['--no-such-option', '--no-such\noption'])
def test_wrong_argument__is_one_line_and_exit_code_2(command, wrong, tmp_path):
    done = process(tmp_path, str(ROOT / command), wrong)
    assert done.returncode == 2
    assert done.stderr.startswith('error: ')
    assert done.stderr.count('\n') == 1
    assert 'Traceback' not in done.stderr + done.stdout
    assert list(tmp_path.iterdir()) == []
