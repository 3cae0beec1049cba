"""A run that stops early stops at the same step, however often it is resumed."""

from mmsegmentation.engine import QuietRunner

STOPS = {'type': 'EarlyStoppingHook', 'monitor': 'mIoU', 'patience': 3}
# mIoU in eighths by validation: best at step 2, no better at 3, 4 and 5.
RIGHTS = [1, 2, 1, 1, 1, 4, 4, 4]


def test_stopping__resumed_run_stops_where_the_whole_one_does(train, capsys, tmp_path):
    whole = train([STOPS], RIGHTS, runner_type=QuietRunner)
    assert whole.iter == 5
    said = 'stopped early at step 5: the monitored metric did not improve in the last 3'
    assert said in capsys.readouterr().out
    (tmp_path / 'run').rename(tmp_path / 'whole')
    train([STOPS], RIGHTS[:3], runner_type=QuietRunner)
    # The last validation comes after the last checkpoint: it is made up for.
    resumed = train([STOPS], RIGHTS[2:], end=8, resume=True, runner_type=QuietRunner)
    assert resumed.iter == 5
    assert said in capsys.readouterr().out


def test_stopping__run_that_had_stopped_does_not_go_on(train, capsys):
    stops = {**STOPS, 'stopping_threshold': 40}
    stopped = train([stops], [1, 4, 1, 1], runner_type=QuietRunner)
    assert stopped.iter == 2
    capsys.readouterr()
    again = train([stops], [1, 1], end=4, resume=True, runner_type=QuietRunner)
    assert again.iter == 2
    said = capsys.readouterr().out
    assert "stopped early; EarlyStoppingHook's patience above 3" in said


def test_stopping__run_goes_on_with_more_patience(train):
    assert train([STOPS], RIGHTS, runner_type=QuietRunner).iter == 5
    patient = {**STOPS, 'patience': 5}
    more = train([patient], RIGHTS[4:], end=8, resume=True, runner_type=QuietRunner)
    assert more.iter == 8
