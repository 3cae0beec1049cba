"""Training curves from MMEngine's logs: where they stand, resumed, torn, damaged."""

import json

import pytest

from mmsegmentation.command import InputError
from utils.error_page.curves import curves_of, read_curves


@pytest.fixture
def work_dir(tmp_path):
    """Return a function that writes a run's log below a work directory."""

    def write(run, *lines, name='scalars.json'):
        path = tmp_path / 'work' / run / 'vis_data' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        texts = [x if isinstance(x, str) else json.dumps(x) for x in lines]
        path.write_text('\n'.join(texts))
        return tmp_path / 'work'

    return write


def test_curves__are_read_by_step(work_dir):
    place = work_dir(
        '20260101_000000',
        {'loss': 3, 'lr': 0.1, 'iter': 5, 'step': 5},
        {'mIoU': 40.5, 'step': 10},
        {'loss': float('nan'), 'iter': 10, 'step': 10, 'done': True, 'note': 'x'},
        '{"loss": 2, "st',
    )
    assert read_curves(place) == {
        'loss': [(5, 3), (10, None)],
        'lr': [(5, 0.1)],
        'mIoU': [(10, 40.5)],
    }


def test_curves__both_files_of_a_run_count_once(work_dir):
    line = {'loss': 3, 'step': 5}
    work_dir('20260101_000000', line, name='20260101_000000.json')
    assert read_curves(work_dir('20260101_000000', line)) == {'loss': [(5, 3)]}


def test_curves__a_resumed_run_replaces_what_was_lost(work_dir):
    lines = [{'loss': 10 - step, 'step': step} for step in (1, 2, 3)]
    work_dir('20260101_000000', *lines)
    place = work_dir('20260102_000000', {'loss': 1, 'step': 3}, {'loss': 0, 'step': 4})
    assert read_curves(place)['loss'] == [(1, 9), (2, 8), (3, 1), (4, 0)]


def test_curves_of__are_beside_the_checkpoint(work_dir, tmp_path):
    place = work_dir('20260101_000000', {'loss': 3, 'step': 5})
    found = curves_of('a', {'checkpoint': str(place / 'best.pth')}, [])
    assert found == {'a': {'loss': [(5, 3)]}}
    other = {'checkpoint': str(tmp_path / 'other/best.pth')}
    for origin in (other, {'members': []}, {'members': ['plain/masks']}):
        assert curves_of('a', origin, []) == {}


@pytest.fixture
def folds(tmp_path):
    """Write the logs of two folds; return their work directories."""
    places = [tmp_path / 'runs' / name for name in ('fold0', 'fold1')]
    for number, place in enumerate(places):
        path = place / 'r/vis_data/scalars.json'
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps({'loss': number, 'step': 5}))
    return places


def test_curves_of__joined_folds_are_those_of_each(folds, tmp_path):
    checkpoints = [str(place / 'last.pth') for place in folds]
    members = [{'checkpoint': checkpoint} for checkpoint in checkpoints * 2]
    # A vote of a join, and a member whose run is gone.
    gone = {'checkpoint': str(tmp_path / 'gone/last.pth')}
    origin = {'members': [{'members': members}, gone]}
    wanted = {'a: runs/fold0': {'loss': [(5, 0)]}, 'a: runs/fold1': {'loss': [(5, 1)]}}
    assert curves_of('a', origin, []) == wanted
    origin = {'members': members}
    wanted = {'a: fold0': {'loss': [(5, 0)]}, 'a: fold1': {'loss': [(5, 1)]}}
    assert curves_of('a', origin, []) == wanted
    assert curves_of('a', {}, folds) == wanted
    with pytest.raises(InputError, match='holds no vis_data'):
        curves_of('a', {}, [*folds, tmp_path])


def test_curves__a_file_or_a_folder_may_be_named(work_dir):
    run = work_dir('r', {'loss': 3, 'step': 5}) / 'r'
    for place in (run, run / 'vis_data', run / 'vis_data/scalars.json'):
        assert read_curves(place) == {'loss': [(5, 3)]}


def test_curves__no_log_and_no_step_are_refused(work_dir, tmp_path):
    with pytest.raises(InputError, match=r'holds no vis_data/\*\.json'):
        read_curves(tmp_path)
    with pytest.raises(InputError, match='logs no step'):
        read_curves(work_dir('r', '[1, 2]', {'loss': 3}))
