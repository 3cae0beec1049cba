"""The driver of the demonstration; its commands are tested where they stand."""

import json

import numpy as np
import pytest

from mmsegmentation.files import read_mask
from tools import demo


def test_demo__failed_step_ends_in_one_line(script, misuse, tmp_path):
    script('utils/draw_data.py', 'import sys; sys.exit("error: no room")')
    misuse(demo.main, r'exit code 1 \(error: no room\)', '--work-dir', tmp_path / 'd')
    assert json.loads((tmp_path / 'd/demo.json').read_text()) == {'finished': False}


def test_work_dir__only_an_earlier_demonstration_is_replaced(misuse, tmp_path):
    (tmp_path / 'mine.txt').write_text('mine')
    misuse(demo.main, 'pass --overwrite', '--work-dir', tmp_path)
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
