"""A trial's training: scores are reported, and its end is told by what it left."""

import json
import sys
import time

import pytest

from tools.jobs import Call
from tools.tuning import training
from tools.tuning.study import TRIES
from tools.tuning.training import Training

LOG = """
import json, pathlib, sys, time
folder = pathlib.Path(sys.argv[1]) / 'now/vis_data'
folder.mkdir(parents=True, exist_ok=True)
def log(**line):
    with (folder / 'scalars.json').open('a') as file:
        file.write(json.dumps(line) + '\\n')
"""


@pytest.fixture
def train(script, open_study, tmp_path, monkeypatch):
    """Take a trial and train it by a script; return the outcome, and the trial."""
    monkeypatch.setattr(training, 'INTERVAL', 0.01)

    def call(text, score='mIoU', taken=None, **changes):
        study = open_study(f'sqlite:///{tmp_path}/s.db', **changes)
        taken = taken or study.take()
        path = tmp_path / 'home' / script('train.py', LOG + text)
        one = Training(taken, study.plan, score, tmp_path / 'work')
        outcome = one.run([str(path), str(tmp_path / 'work')], Call())
        trial = taken.trial.storage.get_trial(taken.trial._trial_id)
        return outcome, trial

    return call


def test_training__reports_each_score_and_returns_the_best(train):
    outcome, trial = train("""
for step, value in ((2, 10.0), (4, 30.0), (6, 20.0)):
    log(loss=1.0, step=step)
    log(mIoU=value, step=step)
""")
    assert (outcome.state, outcome.value, outcome.reason) == ('complete', 0.3, '')
    assert trial.intermediate_values == {1: 0.1, 2: 0.3, 3: 0.2}


def test_training__other_scores_may_be_better_low(train):
    text = 'for step in (1, 2): log(error=step, step=step)'
    outcome, trial = train(text, score='error', minimize=True)
    assert outcome.value == 1
    assert trial.intermediate_values == {1: 1.0, 2: 2.0}


def test_training__score_that_no_validation_has_ends_it_at_once(train):
    outcome, _ = train(
        """
log(loss=1.0, step=1)
log(mIoU=10.0, mAcc=20.0, step=2)
time.sleep(60)
""",
        score='mAccc',
    )
    assert (outcome.state, outcome.refused) == ('failed', True)
    assert outcome.reason == (
        'error: --score: its validations have no mAccc, but mIoU, mAcc'
    )


def test_training__that_falls_behind_is_ended_early(train, open_study, tmp_path):
    url = f'sqlite:///{tmp_path}/s.db'
    for _ in range(5):  # before that, the median prunes nothing
        study = open_study(url, 9, pruner='median')
        taken = study.take()
        taken.trial.report(0.5, 1)
        study.finish(taken, 'complete', 0.5, {})
    start = time.monotonic()
    text = 'log(mIoU=20.0, step=1)\ntime.sleep(60)'
    outcome, trial = train(text, total=9, pruner='median')
    assert time.monotonic() - start < 30
    assert outcome.state == 'pruned'
    assert outcome.reason == 'mIoU 0.2000 at validation 1'
    assert trial.intermediate_values == {1: 0.2}


def test_training__last_validation_prunes_nothing(train, open_study, tmp_path):
    url = f'sqlite:///{tmp_path}/s.db'
    for _ in range(5):
        study = open_study(url, 9, pruner='median', validations=1)
        taken = study.take()
        taken.trial.report(0.5, 1)
        study.finish(taken, 'complete', 0.5, {})
    text = 'log(mIoU=20.0, step=1)'
    outcome, _ = train(text, total=9, pruner='median', validations=1)
    assert (outcome.state, outcome.value) == ('complete', 0.2)


def test_training__goes_on_with_what_an_earlier_worker_reported(
    train, open_study, tmp_path
):
    study = open_study(f'sqlite:///{tmp_path}/s.db')
    first = study.take()
    first.trial.report(0.1, 1)
    first.hold.release()
    outcome, trial = train("""
for step, value in ((2, 10.0), (4, 30.0)):
    log(mIoU=value, step=step)
""")
    assert outcome.value == 0.3
    assert trial.intermediate_values == {1: 0.1, 2: 0.3}


@pytest.mark.parametrize(
    ('text', 'state', 'reason'),
    [
        (
            'for step in (1, 2): log(loss=float("nan"), step=step)\ntime.sleep(60)',
            'pruned',
            'the loss is not a number',
        ),
        ('log(loss=float("nan"), step=1)', 'pruned', 'the loss is not a number'),
        (
            'log(mIoU=float("nan"), step=1)\ntime.sleep(60)',
            'pruned',
            'mIoU is not a number',
        ),
        ('log(loss=1.0, step=1)', 'failed', 'its log has no mIoU'),
        (
            'sys.exit("torch.OutOfMemoryError: CUDA out of memory. Tried")',
            'pruned',
            'out of memory (torch.OutOfMemoryError: CUDA out of memory. Tried)',
        ),
        (
            'print("error: step 5: the loss is nan; lower the rate"); sys.exit(2)',
            'pruned',
            'error: step 5: the loss is nan; lower the rate',
        ),
        (
            'print("error: runs/nan/x.py: no such config; see"); sys.exit(2)',
            'failed',
            'error: runs/nan/x.py: no such config; see',
        ),
        ('raise KeyError("lost")', 'failed', "KeyError: 'lost'"),
        ('sys.exit(3)', 'failed', 'exit code 3'),
        (
            'import os, signal; os.kill(os.getpid(), signal.SIGKILL)',
            'killed',
            'the training was killed',
        ),
        (
            'sys.exit(143)',
            'stopped',
            'the training was told to stop (exit code 143)',
        ),
    ],
)
def test_training__end_is_told_with_its_reason(train, text, state, reason):
    outcome, _ = train(text)
    assert (outcome.state, outcome.reason) == (state, reason)
    assert outcome.refused == (reason.startswith('error: ') and state == 'failed')


def test_training__in_which_workers_keep_ending_is_given_up(
    train, open_study, tmp_path
):
    for _ in range(TRIES):
        open_study(f'sqlite:///{tmp_path}/s.db').take().hold.release()
    outcome, _ = train('log(mIoU=10.0, step=1)')
    assert outcome.state == 'failed'
    assert outcome.reason == '5 workers have ended in it, memory may be short'


def test_training__whose_lock_is_lost_is_stopped(train, open_study, tmp_path):
    taken = open_study(f'sqlite:///{tmp_path}/s.db').take()
    taken.hold.stands = lambda: bool(not (tmp_path / 'work/now').exists())
    start = time.monotonic()
    outcome, _ = train('log(loss=1.0, step=1)\ntime.sleep(60)', taken=taken)
    assert outcome.state == 'lost'
    assert time.monotonic() - start < 30


def test_training__is_told_to_end_when_its_worker_is_killed(tmp_path):
    """A training that went on alone would be in the way of the next one."""
    import os
    import signal
    import subprocess

    if sys.platform != 'linux':
        pytest.skip('needs prctl')
    child = tmp_path / 'child.py'
    child.write_text(f"""
import pathlib, signal, sys, time
def leave(number, frame):
    pathlib.Path({str(tmp_path / 'left')!r}).touch()
    sys.exit(1)
signal.signal(signal.SIGTERM, leave)
pathlib.Path({str(tmp_path / 'ready')!r}).touch()
time.sleep(60)
""")
    worker = f"""
from tools.jobs import Call, Job
import time
job = Job([{str(child)!r}], None, '', Call(tied=True))
time.sleep(60)
"""
    process = subprocess.Popen([sys.executable, '-c', worker])
    while not (tmp_path / 'ready').exists():
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    end = time.monotonic() + 20
    while not (tmp_path / 'left').exists() and time.monotonic() < end:
        time.sleep(0.01)
    assert (tmp_path / 'left').exists()


def test_log__torn_line_of_a_killed_run_is_left_out(train, tmp_path):
    folder = tmp_path / 'work/now/vis_data'
    folder.mkdir(parents=True)
    line = json.dumps({'mIoU': 10.0, 'step': 1})
    (folder / 'scalars.json').write_text(f'{line}\n{{"mIoU": 9')
    outcome, trial = train('print()')
    assert outcome.value == 0.1
    assert trial.intermediate_values == {1: 0.1}
