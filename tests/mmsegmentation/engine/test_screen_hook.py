"""The lines of a run, and the bar on a terminal."""

import io
import math
from types import SimpleNamespace

import pytest
from rich.console import Console

from mmsegmentation.engine import ScreenHook, screen_hook


@pytest.fixture
def lines(capsys):
    def read():
        return [' '.join(line.split()) for line in capsys.readouterr().err.splitlines()]

    return read


@pytest.fixture
def clock(monkeypatch):
    """Set the clock: seconds at the start and at each line."""

    def set_to(*seconds):
        ticks = SimpleNamespace(monotonic=iter(seconds).__next__)
        monkeypatch.setattr(screen_hook, 'time', ticks)

    return set_to


def test_training__line_has_mean_loss_largest_rate_and_time_left(train, lines, clock):
    clock(1000, 1060, 1120, 1200)
    hook = ScreenHook(interval=2)
    train([hook], [0] * 5, losses=[1, 2, 4, 8, 16])
    assert [line for line in lines() if 'loss' in line] == [
        '2/5 loss 1.5000 lr 1.00e-02 30.00 s/it left 0:01:30',
        '4/5 loss 6.0000 lr 1.00e-02 30.00 s/it left 0:00:30',
        '5/5 loss 12.0000 lr 1.00e-02 40.00 s/it left 0:00:00',
    ]


def test_training__an_early_line_shows_the_pace(train, lines, clock):
    clock(0, 10, 20)
    train([ScreenHook(interval=50)], [0] * 12)
    found = [line for line in lines() if 'loss' in line]
    assert [line.split()[0] for line in found] == ['10/12', '12/12']
    assert found[0].endswith('1.00 s/it left 0:00:02')


def test_training__resumed_run_counts_its_own_time_and_loss(train, lines, clock):
    train([], [3, 0], losses=[100, 100])
    clock(0, 10, 20)
    train([ScreenHook(3)], [2, 4], losses=[1, 3], end=4, resume=True)
    found = lines()
    assert [line for line in found if 'loss' in line] == [
        '3/4 loss 1.0000 lr 1.00e-02 10.00 s/it left 0:00:10',
        '4/4 loss 2.0000 lr 1.00e-02 10.00 s/it left 0:00:00',
    ]
    assert [line.endswith('(best)') for line in found if 'valid' in line] == [
        False,
        True,
    ]


def test_validation__line_has_all_scores_and_marks_the_best(train, lines):
    train([ScreenHook(100)], [2, 1, 3, 3])
    assert [line for line in lines() if 'valid' in line] == [
        'valid mIoU 0.2500 mIoU_image 0.2500 mAcc 0.5000 aAcc 0.5000 (best)',
        'valid mIoU 0.1250 mIoU_image 0.1250 mAcc 0.2500 aAcc 0.2500',
        'valid mIoU 0.3750 mIoU_image 0.3750 mAcc 0.7500 aAcc 0.7500 (best)',
        'valid mIoU 0.3750 mIoU_image 0.3750 mAcc 0.7500 aAcc 0.7500',
    ]


def test_validation__score_that_is_no_number_is_never_the_best(lines):
    hook = ScreenHook()
    for score in (10.0, math.nan, 8.0, 9.0, 11.0):
        hook.after_val_epoch(None, {'mIoU': score})
    hook.after_val_epoch(None, {'loss': 1.0})
    hook.after_val_epoch(None, {})
    assert lines() == [
        'valid mIoU 0.1000 (best)',
        'valid mIoU nan',
        'valid mIoU 0.0800',
        'valid mIoU 0.0900',
        'valid mIoU 0.1100 (best)',
        'valid loss 1.0000',
    ]


def predict(hook, count=3):
    hook.before_test(SimpleNamespace(test_dataloader=range(count)))
    for index in range(count):
        hook.after_test_iter(None, index)
    hook.after_test(None)


def test_bar__runs_to_its_end_on_a_terminal(monkeypatch):
    monkeypatch.setenv('TERM', 'xterm')
    screen = io.StringIO()
    hook = ScreenHook()
    hook._console = Console(file=screen, force_terminal=True, width=80)
    predict(hook)
    assert 'predict' in screen.getvalue()
    assert '3/3' in screen.getvalue()


def test_bar__is_not_shown_elsewhere(lines):
    predict(ScreenHook())
    assert lines() == []
