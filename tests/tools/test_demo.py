"""The driver of the demonstration; its commands are tested where they stand."""

import json
from pathlib import Path

import numpy as np
import pytest

from mmsegmentation.files import read_mask
from tools import demo


def test_demo__failed_step_ends_in_one_line(script, misuse, tmp_path):
    script('utils/draw_data.py', 'import sys; sys.exit("error: no room")')
    misuse(demo.main, r'exit code 1 \(error: no room\)', '--work-dir', tmp_path / 'd')
    assert json.loads((tmp_path / 'd/demo.json').read_text()) == {'finished': False}


@pytest.fixture
def calls(monkeypatch, tmp_path):
    """Return the commands of the demonstration, none of which is run."""
    made = []

    def note(*command):
        made.append(' '.join(map(str, command)))
        return ['mIoU 0.5 [0.4, 0.6]']

    for name in ('make_data', 'rows'):
        monkeypatch.setattr(demo.Demo, name, lambda self: [])
    monkeypatch.setattr(demo.Demo, 'checkpoint', lambda self, *_: tmp_path / 'best.pth')
    monkeypatch.setattr(demo, 'do', note)
    monkeypatch.setattr(
        demo, 'do_together', lambda commands: [note(*c) for c in commands.values()]
    )
    demo.Demo(Path('w'), 0).run()
    return made


def test_demo__submits_the_vote_that_was_fitted_on_the_validation_part(calls):
    second = 'w/predictions/convnext_second_{0} w/predictions/beit_second_{0}'
    valid, test = second.format('valid'), second.format('test')
    fit = f'utils/ensemble.py fit {valid} --data-root w/data --out w/vote.json'
    fitted = 'w/predictions/fitted_second_test'
    rule = f'utils/ensemble.py {test} --rule w/vote.json --out {fitted}'
    write = f'utils/submission.py write {fitted} --out w/submission.csv'
    places = [calls.index(fit), calls.index(rule)]
    places += [i for i, call in enumerate(calls) if call.startswith(write)]
    assert places == sorted(places)
    assert len(places) == 3
    predicted = [call for call in calls if call.startswith('tools/test.py')]
    assert [call.endswith('--probs') for call in predicted] == 2 * [False] + 4 * [True]


def test_work_dir__only_an_earlier_demonstration_is_replaced(misuse, tmp_path):
    (tmp_path / 'mine.txt').write_text('mine')
    misuse(demo.main, 'holds no demo.json', '--work-dir', tmp_path)
    misuse(demo.main, 'is not replaced', '--work-dir', tmp_path, '--overwrite')
    assert [path.name for path in tmp_path.iterdir()] == ['mine.txt']
    (tmp_path / 'demo.json').write_text('{}')
    demo.empty_folder(tmp_path, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ['demo.json']


def test_work_dir__below_a_file_is_one_line(misuse, tmp_path):
    (tmp_path / 'file').write_text('mine')
    misuse(demo.main, 'cannot be made', '--work-dir', tmp_path / 'file/deeper')
    assert (tmp_path / 'file').read_text() == 'mine'


@pytest.mark.filterwarnings('ignore:__array__ implementation:DeprecationWarning')
def test_write_truth__smaller_objects_lie_on_top(tmp_path):
    def square(category: int, corners: list[int], area: int) -> dict:
        left, top, right, bottom = corners
        outline = [left, top, right, top, right, bottom, left, bottom]
        return {
            'id': category,
            'image_id': 7,
            'category_id': category,
            'segmentation': [outline],
            'area': area,
            'bbox': [],
            'iscrowd': 0,
        }

    size = {'width': 4, 'height': 4}
    content = {
        'images': [
            {'id': 7, 'file_name': 'b_1/1.jpg', **size},
            {'id': 3, 'file_name': 'b_2/1.jpg', **size},
        ],
        'categories': [],
        'annotations': [square(2, [1, 1, 2, 2], 1), square(5, [0, 0, 4, 2], 8)],
    }
    path = tmp_path / 'test.json'
    path.write_text(json.dumps(content))
    demo.write_truth(path, tmp_path / 'truth')
    label_map = read_mask(tmp_path / 'truth/b_1/1.png')
    wanted = np.array([[5, 5, 5, 5], [5, 2, 5, 5], [0, 0, 0, 0], [0, 0, 0, 0]])
    assert label_map.tolist() == wanted.tolist()
    assert not read_mask(tmp_path / 'truth/b_2/1.png').any()
