"""The scores beside the best checkpoint are those of that checkpoint."""

from pathlib import Path

import pytest
from mmengine.hooks import Hook

from mmsegmentation.engine import BestMetricsHook
from mmsegmentation.files import read_json


class Watch(Hook):
    """Notes after each validation what ``metrics.json`` says."""

    priority = 'LOWEST'

    def __init__(self):
        self.seen = []

    def after_val_epoch(self, runner, metrics=None):
        path = Path(runner.work_dir) / 'metrics.json'
        scores = read_json(path) if path.is_file() else {}
        self.seen.append((scores.get('checkpoint'), scores.get('mIoU')))
        assert not scores or (path.parent / scores['checkpoint']).is_file()


@pytest.mark.parametrize(('unit', 'per_epoch'), [('iter', 9), ('epoch', 2)])
def test_hook__writes_the_scores_of_the_best_alone(train, unit, per_epoch):
    watch = Watch()
    hooks = [BestMetricsHook(), watch]
    train(hooks, [2, 1, 3, 3, 0], unit=unit, per_epoch=per_epoch)
    # n of 4 pixels right: IoU n / 4 and 0.
    first = (f'best_mIoU_{unit}_1.pth', 2 / 8)
    third = (f'best_mIoU_{unit}_3.pth', 3 / 8)
    assert watch.seen == [first, first, third, third, third]


def test_hook__writes_all_scores(train):
    runner = train([BestMetricsHook()], [3])
    scores = read_json(Path(runner.work_dir) / 'metrics.json')
    assert scores['confusion'] == [[3, 1], [0, 0]]
    assert scores['classes'] == ['Background', 'Paper']
    # One image says nothing about others.
    assert (scores['mIoU'], scores['mIoU_interval']) == (3 / 8, [0, 1])


def test_hook__without_a_best_checkpoint_writes_nothing(train):
    watch = Watch()
    plain = {'type': 'CheckpointHook', 'by_epoch': False, 'interval': 1}
    train([BestMetricsHook(), watch], [2, 3], checkpoint=plain)
    assert watch.seen == [(None, None)] * 2


def test_hook__resumed_run_keeps_the_earlier_best(train):
    train([BestMetricsHook()], [3, 1])
    watch = Watch()
    runner = train([BestMetricsHook(), watch], [2, 4], end=4, resume=True)
    assert watch.seen == [('best_mIoU_iter_1.pth', 3 / 8), ('best_mIoU_iter_4.pth', 1)]
    assert runner.iter == 4
