"""An earlier run is there until the new one has made a step."""

import pytest
from mmengine.hooks import Hook

from mmsegmentation.engine import ReplaceHook


class Fails(Hook):
    priority = 'LOWEST'

    def __init__(self, place):
        setattr(self, place, self.fail)

    def fail(self, runner, *args, **kwargs):
        raise ZeroDivisionError('mine')


@pytest.fixture
def earlier(tmp_path):
    folder = tmp_path / 'run'
    folder.mkdir()
    paths = [folder / name for name in ('iter_1.pth', 'iter_9.pth', 'metrics.json')]
    for path in paths:
        path.write_text('earlier')
    return paths


@pytest.mark.parametrize('unit', ['iter', 'epoch'])
def test_hook__removes_files_and_none_of_the_new_run(train, earlier, tmp_path, unit):
    hook = ReplaceHook([*earlier, tmp_path / 'none'])
    train([hook], [1, 2], unit=unit, per_epoch=1)
    assert not earlier[1].exists()
    assert not earlier[2].exists()
    first = earlier[0].with_name(f'{unit}_1.pth')
    assert len(first.read_bytes()) > len('earlier')


@pytest.mark.parametrize(
    ('place', 'begun'),
    [('before_run', False), ('before_train', False), ('before_train_iter', True)],
)
def test_hook__run_that_fails_before_its_first_step_loses_nothing(
    train, earlier, place, begun
):
    hook = ReplaceHook(earlier)
    with pytest.raises(ZeroDivisionError, match='mine'):
        train([hook, Fails(place)], [1])
    assert hook.begun is begun
    assert [path.read_text() for path in earlier] == ['earlier'] * 3
