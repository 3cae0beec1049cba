"""How many checkpoints are kept."""

import pytest

from mmsegmentation.engine import QuietRunner


@pytest.mark.parametrize('kept', [1, 2])
def test_max_keep__is_how_many_are_left_at_the_end(train, tmp_path, kept):
    saves = {'type': 'CheckpointHook', 'by_epoch': False, 'interval': 1}
    saves['max_keep_ckpts'] = kept
    train([], [4] * 4, checkpoint=saves, runner_type=QuietRunner)
    names = sorted(path.name for path in (tmp_path / 'run').glob('iter_*.pth'))
    assert names == [f'iter_{number}.pth' for number in range(5 - kept, 5)]
