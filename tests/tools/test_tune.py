"""Studies from the command line: the loop of a worker, and what it leaves."""

import re
import shutil
from pathlib import Path

import pytest

from mmsegmentation.files import read_json
from mmsegmentation.runtime import read_config
from tools import tune
from tools.tuning import training

ROOT = Path(__file__).resolve().parents[2]
SPACE = """
lr:
  key: optim_wrapper.optimizer.lr
  low: 1e-4
  high: 1e-1
  log: true
mix:
  key: train_dataloader.dataset.pipeline.0.prob
  choices: [0.25, 0.5, 1.0]
"""
# Scores by the learning rate of its config, and notes how it was called.
TRAIN = """
import json, pathlib, re, sys
config, args = pathlib.Path(sys.argv[1]), sys.argv[2:]
work_dir = pathlib.Path(args[args.index('--work-dir') + 1])
with (work_dir.parent / 'calls').open('a') as file:
    file.write(' '.join([config.name, *args[:-2], *args[-1:]]) + '\\n')
lr = float(re.search('lr=([0-9.e-]+)', config.read_text())[1])
folder = work_dir / 'now/vis_data'
folder.mkdir(parents=True, exist_ok=True)
with (folder / 'scalars.json').open('w') as file:
    for step in (2, 4):
        print(json.dumps({'mIoU': 50 - step - 100 * lr, 'step': step}), file=file)
"""


@pytest.fixture
def arguments(script, write_config, shared_data, tmp_path, monkeypatch):
    """Return the arguments of a study whose training is a script."""
    monkeypatch.setattr(training, 'INTERVAL', 0.01)
    script('utils/study.py', 'import sys; print("shown", sys.argv[1])')
    (tmp_path / 'space.yaml').write_text(SPACE)

    def call(text=TRAIN, *more):
        script('tools/train.py', text)
        work_dir = ('--work-dir', tmp_path / 'study')
        return (write_config(), tmp_path / 'space.yaml', *work_dir, *more)

    return call


def test_study__ends_with_the_best_as_a_config_and_a_page(
    arguments, run, tmp_path, shared_data
):
    argv = arguments(TRAIN, '--trials', 4, '--data-root', shared_data, '--amp')
    code, out, err = run(tune.main, *argv)
    assert (code, err) == (0, '')
    record = read_json(tmp_path / 'study/study.json')
    assert [trial['state'] for trial in record['trials']] == ['complete'] * 4
    first = record['trials'][0]
    assert first['values'] == {'lr': 0.002, 'mix': 1.0}
    assert first['value'] == pytest.approx(0.478)
    best = min(record['trials'], key=lambda trial: trial['values']['lr'])
    assert record['best'] == best['number']
    assert f'best: trial {best["number"]}  mIoU {best["value"]:.4f}' in out
    assert re.search(r'^shown .*study$', out, re.M)

    path = tmp_path / 'study/best.py'
    cfg, parent = read_config(str(path)), read_config(argv[0])
    assert cfg.optim_wrapper.optimizer.lr == best['values']['lr']
    pipeline = cfg.train_dataloader.dataset.pipeline
    assert pipeline[0].prob == best['values']['mix']
    assert pipeline[1:] == parent.train_dataloader.dataset.pipeline[1:]
    again = f'best.py --data-root {shared_data} --amp --work-dir work_dirs/space_best\n'
    assert again in path.read_text() and again in out
    calls = (tmp_path / 'study/calls').read_text().split('\n')
    assert calls[0].startswith(f'trial_0000.py --data-root {shared_data} --amp ')

    code, out, _ = run(tune.main, *argv)
    assert (code, len((tmp_path / 'study/calls').read_text().split('\n'))) == (0, 5)


def test_study__takes_a_trial_up_where_its_run_is(arguments, run, tmp_path):
    killed = TRAIN + '\nimport os\nif "--resume" not in args: os.kill(os.getpid(), 9)'
    code, out, _ = run(tune.main, *arguments(killed, '--trials', 1))
    assert code == 0
    assert 'trial 0: the training was killed\n' in out
    calls = (tmp_path / 'study/calls').read_text().split('\n')
    assert len(calls) == 3
    assert calls[1].endswith('--resume')
    assert len(read_json(tmp_path / 'study/study.json')['trials']) == 1


def test_config_error__in_the_first_trial_stops_the_study(
    arguments, misuse, run, tmp_path
):
    wrong = 'import sys; print("error: x.py: no data; draw some"); sys.exit(2)'
    message = r'error: trial 0: x\.py: no data; draw some; no trial of the study'
    misuse(tune.main, message, *arguments(wrong))
    # It was not the trial's fault, and does not count.
    code, _, _ = run(tune.main, *arguments(TRAIN, '--trials', 2))
    assert code == 0
    record = read_json(tmp_path / 'study/study.json')
    assert [trial['state'] for trial in record['trials']] == ['complete'] * 2


def test_failures__are_kept_with_their_reason_until_there_are_too_many(
    arguments, misuse, tmp_path
):
    text = TRAIN + '\nif config.stem > "trial_0001": raise KeyError("lost")'
    message = "trial 4: failed as the 2 before it: KeyError: 'lost'; correct the cause"
    misuse(tune.main, message, *arguments(text, '--trials', 9))
    record = read_json(tmp_path / 'study/study.json')['trials']
    assert [trial['state'] for trial in record] == ['complete'] * 2 + ['failed'] * 3
    assert record[2]['reason'] == "KeyError: 'lost'"


def test_divergence__counts_as_pruned_and_the_study_goes_on(arguments, run, tmp_path):
    text = TRAIN + '\nif lr > 0.001: sys.exit("error: step 3: the loss is nan; see")'
    code, _, _ = run(tune.main, *arguments(text, '--trials', 5))
    assert code == 0
    record = read_json(tmp_path / 'study/study.json')['trials']
    for trial in record:
        diverged = trial['values']['lr'] > 0.001
        assert trial['state'] == ('pruned' if diverged else 'complete')
        assert ('nan' in trial['reason']) == diverged


def test_told_to_stop__leaves_the_trial_for_the_next_time(arguments, run, tmp_path):
    code, _, _ = run(tune.main, *arguments('import sys; sys.exit(143)'))
    assert code == 130
    record = read_json(tmp_path / 'study/study.json')['trials']
    assert [trial['state'] for trial in record] in ([], ['waiting'], ['running'])


@pytest.mark.parametrize(
    ('more', 'message'),
    [
        (('--trials', 0), '--trials: is 0; give 1 or more'),
        (('--seed', -1), '--seed: -1 is negative'),
        (('--study', 'a/b'), 'is no plain name'),
        (('--study', '..'), 'is no plain name'),
        (('--work-dir', 'what?'), r'--work-dir: what\? has a'),
        (('--launch', 'torchrun'), 'name the --launcher too'),
        (('--storage', 'study.db'), 'is no address of a database'),
        (('--cfg-options', 'modl.x=1'), "unknown top-level key 'modl'"),
    ],
)
def test_wrong_argument__is_one_line(arguments, misuse, tmp_path, more, message):
    misuse(tune.main, message, *arguments(TRAIN, *more))
    assert not (tmp_path / 'study').exists()


def test_folder_of_something_else__is_left_alone(arguments, misuse, tmp_path, run):
    (tmp_path / 'study').mkdir()
    (tmp_path / 'study/mine').touch()
    misuse(tune.main, r'holds no study\.json; name another folder', *arguments())
    (tmp_path / 'study/mine').unlink()
    assert run(tune.main, *arguments(TRAIN, '--trials', 1))[0] == 0
    other = ('--storage', f'sqlite:///{tmp_path}/other.db')
    misuse(tune.main, 'holds another study than that', *arguments(TRAIN, *other))


def test_changed_config__is_another_study(arguments, misuse, run, tmp_path):
    assert run(tune.main, *arguments(TRAIN, '--trials', 1))[0] == 0
    options = ('--cfg-options', 'train_cfg.max_iters=8')
    misuse(tune.main, 'begun without --cfg-options; ', *arguments(TRAIN, *options))
    argv = arguments(TRAIN)
    with Path(argv[0]).open('a') as file:
        print('train_cfg.update(max_iters=8)', file=file)
    message = r'begun with --config tiny\.py \(sha256 \w+\), not tiny\.py \(sha256'
    misuse(tune.main, message, *argv)


def test_other_data__are_another_study(arguments, misuse, run, shared_data, tmp_path):
    data = ('--data-root', shared_data)
    assert run(tune.main, *arguments(TRAIN, '--trials', 1, *data))[0] == 0
    moved = shutil.copytree(shared_data, tmp_path / 'moved')
    again = arguments(TRAIN, '--trials', 2, '--data-root', moved)
    assert run(tune.main, *again)[0] == 0
    images = (moved / 'train/images').rglob('*')
    next(path for path in images if path.is_file()).unlink()
    message = r'begun with --data-root of \d+ files \(sha256 \w+\), not of \d+ files'
    misuse(tune.main, message, *again)


def test_validations__are_counted_as_the_loop_does(write_config):
    cfg = read_config(write_config())
    assert tune.validations_of(cfg) == 2
    cfg.train_cfg.val_interval = 3
    assert tune.validations_of(cfg) == 2  # the last step has one too
    cfg.train_cfg.val_begin = 4
    assert tune.validations_of(cfg) == 1
    cfg.train_cfg.max_iters = None
    assert tune.validations_of(cfg) is None


def test_trial__is_an_ordinary_run(write_config, shared_data, run, tmp_path):
    """The real training, and the real page."""
    (tmp_path / 'space.yaml').write_text(SPACE)
    argv = (write_config(), tmp_path / 'space.yaml', '--work-dir', tmp_path / 'study')
    code, out, _ = run(tune.main, *argv, '--trials', 1)
    assert code == 0
    folder = tmp_path / 'study'
    scores = read_json(folder / 'trial_0000/metrics.json')
    (trial,) = read_json(folder / 'study.json')['trials']
    assert trial['value'] == pytest.approx(scores['mIoU'], abs=1e-4)
    assert len(trial['scores']) == 2
    assert (folder / 'trial_0000' / scores['checkpoint']).is_file()
    assert 'trial 0 |' in out
    for name in ('index.html', 'study.png', 'trials.csv', 'best.py'):
        assert (folder / name).is_file()
