"""The cycle of self-training: its commands, in order, each once, whatever stops it."""

import importlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mmsegmentation.files import read_json
from mmsegmentation.folds import open_folds
from tools import cycle, jobs, self_train

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = (
    'tools/train.py',
    'tools/test.py',
    'utils/pseudo_label.py',
    'utils/join.py',
    'utils/gate.py',
    'utils/split.py',
)
# Does what matters of each command, and notes how it was called. The call FAKE_STOP
# fails in the middle, FAKE_WAIT never ends.
FAKE = """
import hashlib, json, os, sys, time
from pathlib import Path

name, argv = Path(sys.argv[0]).name, sys.argv[1:]


def value(option):
    return Path(argv[argv.index(option) + 1])


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))


log = Path(os.environ['FAKE_LOG'])
with log.open('a') as file:
    print(name, *argv, file=file)
log.with_suffix('.pid').write_text(str(os.getpid()))
number = len(log.read_text().splitlines())
if name == 'train.py':
    write(value('--work-dir') / 'last_checkpoint', 'elsewhere/iter_4.pth')
if number == int(os.environ.get('FAKE_WAIT', 0)):
    time.sleep(100)
if number == int(os.environ.get('FAKE_STOP', 0)):
    sys.exit('stopped')
if name in ('test.py', 'join.py'):
    score = 0.25 if 'real' in value('--out').parts else 0.5
    write(value('--out') / 'metrics.json', {'mIoU': score})
    write(value('--out') / 'predictions.json', argv)
if name == 'pseudo_label.py':
    read = (Path(argv[0]) / 'predictions.json').read_bytes()
    made = {'predictions': {'sha256': hashlib.sha256(read).hexdigest()}}
    rich = os.environ.get('FAKE_BARE', 'none') not in argv
    made['kept_pixels'] = [9, 1] if rich else [9, 0]
    least = float(os.environ.get('FAKE_SURE', 1))
    if float(str(value('--precision'))) > least:
        if '--allow-empty' not in argv:
            sys.exit('no pixel is trusted')
        made.update(images=[], kept_pixels=[0, 0])
    write(value('--data-root') / value('--part') / 'pseudo.json', made)
if name == 'split.py':
    from mmsegmentation.folds import write_folds

    (Path(argv[0]) / 'folds').mkdir()
    count = int(str(value('--folds')))
    images = {f'{i}.jpg': i for i in range(count)}
    write_folds(Path(argv[0]) / 'folds', count, {'train': images}, {})
if name == 'gate.py':
    of_real = value('--out').stem == 'gate_real_before'
    told = os.environ['FAKE_REAL' if of_real else 'FAKE_GATE']
    told = os.environ.get(f'FAKE_{value("--out").stem.upper()}', told)
    verdict = told.split()[int(value('--out').parent.name[5:]) - 1]
    passed = verdict == 'better'
    record = dict(verdict=verdict, passed=passed, gain=0.1, interval=[0.0, 0.2])
    write(value('--out'), record)
    sys.exit(0 if passed else 1)
"""


USE_ROUND_1 = 'use round 1, pseudo labels:\n  w/round1/train/iter_4.pth  b.py\n'


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Return a repository of commands that are quick; the models are made up."""
    for name in SCRIPTS:
        path = tmp_path / 'home' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(FAKE)
    (tmp_path / 'data').mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(jobs, 'HOME', tmp_path / 'home')
    monkeypatch.setattr(self_train, 'check_configs', lambda args: None)
    monkeypatch.setenv('FAKE_LOG', str(tmp_path / 'log'))
    monkeypatch.setenv('FAKE_GATE', 'better better better')
    monkeypatch.setenv('FAKE_REAL', 'unclear unclear unclear')
    return tmp_path / 'home'


@pytest.fixture
def train(home, run, tmp_path):
    """Run the cycle; return exit code, output, errors, and the calls that it made."""

    def call(*argv):
        log = tmp_path / 'log'
        before = len(log.read_text().splitlines()) if log.exists() else 0
        argv = ('a.py', '--pseudo-config', 'b.py', '--data-root', 'data', *argv)
        code, out, err = run(self_train.main, *argv, '--work-dir', 'w')
        lines = log.read_text().splitlines()[before:] if log.exists() else []
        return code, out, err, lines

    return call


ONE_ROUND = [
    'train.py a.py --work-dir w/round0/train --data-root data',
    'test.py a.py w/round0/train/iter_4.pth --split valid --data-root data '
    '--out w/round0/valid',
    'test.py a.py w/round0/train/iter_4.pth --split test --data-root data '
    '--out w/round1/test',
    'pseudo_label.py w/round1/test --data-root data --part pseudo_round1 '
    '--fit w/round0/valid --precision 0.9 --round 1 --skip-labelled --allow-empty',
    'train.py b.py --work-dir w/round1/real/train --data-root data --pseudo-part '
    'pseudo_round1 --without-pseudo --cfg-options load_from=w/round0/train/iter_4.pth',
    'test.py b.py w/round1/real/train/iter_4.pth --split valid --data-root data '
    '--out w/round1/real/valid',
    'train.py b.py --work-dir w/round1/train --data-root data '
    '--pseudo-part pseudo_round1 --cfg-options load_from=w/round0/train/iter_4.pth',
    'test.py b.py w/round1/train/iter_4.pth --split valid --data-root data '
    '--out w/round1/valid',
    'gate.py w/round1/valid w/round1/real/valid --data-root data '
    '--out w/round1/gate_pseudo_real.json',
    'gate.py w/round1/valid w/round0/valid --data-root data '
    '--out w/round1/gate_pseudo_before.json',
    'gate.py w/round1/real/valid w/round0/valid --data-root data '
    '--out w/round1/gate_real_before.json',
]
FIRST = 2  # commands of round 0
EACH = len(ONE_ROUND) - FIRST


def test_round__is_these_commands(train, tmp_path):
    code, out, err, lines = train()
    assert (code, err) == (0, '')
    assert lines == ONE_ROUND
    assert '$ python home/tools/train.py a.py --work-dir w/round0/train' in out
    assert USE_ROUND_1 in out
    result = read_json(tmp_path / 'w/self_train.json')['result']
    assert (result['use_round'], result['use_labels']) == (1, 'pseudo labels')
    told = {'gain': 0.1, 'interval': [0.0, 0.2]}
    better, unclear = {**told, 'verdict': 'better'}, {**told, 'verdict': 'unclear'}
    assert result['rounds'] == [
        {'round': 0, 'mIoU': 0.5},
        {
            'round': 1,
            'mIoU': 0.5,
            'mIoU_real': 0.25,
            'pseudo_real': better,
            'pseudo_before': better,
            'real_before': unclear,
        },
    ]
    assert result['use'] == [
        {'fold': None, 'config': 'b.py', 'checkpoint': 'w/round1/train/iter_4.pth'}
    ]


def test_table__shows_both_arms_and_each_comparison(train, monkeypatch):
    monkeypatch.setenv('FAKE_GATE_PSEUDO_REAL', 'worse')
    out = train()[1]
    table = out[out.index('round  labels') :].splitlines()
    told = '+0.1000  [+0.0000, +0.2000]'
    assert table[:5] == [
        'round  labels               mIoU     gain  95 % interval               '
        'against',
        '    0  real               0.5000',
        f'    1  real labels alone  0.2500  {told}  unclear round 0',
        f'    1  with pseudo        0.5000  {told}  better  round 0',
        f'    1  with pseudo        0.5000  {told}  worse   real labels alone',
    ]


@pytest.mark.parametrize('gate', ['FAKE_GATE_PSEUDO_REAL', 'FAKE_GATE_PSEUDO_BEFORE'])
def test_gate__that_is_not_passed_ends_it_and_names_the_model_before(
    train, monkeypatch, gate
):
    """It is not enough to be better than the round before, which trained for less."""
    monkeypatch.setenv(gate, 'better unclear better')
    code, out, _, lines = train('--rounds', 3)
    assert code == 0
    assert len(lines) == FIRST + 2 * EACH
    assert USE_ROUND_1 in out


def test_gate__real_labels_alone_are_used_if_they_alone_are_better(
    train, monkeypatch, tmp_path
):
    monkeypatch.setenv('FAKE_GATE_PSEUDO_REAL', 'better unclear better')
    monkeypatch.setenv('FAKE_REAL', 'better better better')
    _, out, _, lines = train('--rounds', 3)
    assert len(lines) == FIRST + 2 * EACH
    told = 'use round 2, real labels alone:\n  w/round2/real/train/iter_4.pth  b.py\n'
    assert told in out
    result = read_json(tmp_path / 'w/self_train.json')['result']
    assert (result['use_round'], result['use_labels']) == (2, 'real labels alone')


def test_gate__that_is_passed_leaves_real_labels_alone_unused(train, monkeypatch):
    monkeypatch.setenv('FAKE_REAL', 'better better better')
    assert USE_ROUND_1 in train()[1]


def test_rounds__each_begins_with_the_models_and_scores_of_the_one_before(train):
    lines = train('--rounds', 2)[3][len(ONE_ROUND) :]
    assert lines[0].startswith('test.py b.py w/round1/train/iter_4.pth --split test')
    assert '--part pseudo_round2 --fit w/round1/valid' in lines[1]
    for arm in lines[2], lines[4]:
        assert arm.endswith('load_from=w/round1/train/iter_4.pth')
    assert lines[6].startswith('gate.py w/round2/valid w/round2/real/valid')
    assert lines[7].startswith('gate.py w/round2/valid w/round1/valid')
    assert lines[8].startswith('gate.py w/round2/real/valid w/round1/valid')


def test_final__is_trained_on_real_labels_and_is_what_is_judged(train):
    lines = train('--final-config', 'c.py')[3]
    for number, arm in ((5, 'w/round1/real'), (8, 'w/round1')):
        assert lines[number] == (
            f'train.py c.py --work-dir {arm}/final --data-root data '
            f'--cfg-options load_from={arm}/train/iter_4.pth'
        )
        judged = f'test.py c.py {arm}/final/iter_4.pth --split valid'
        assert lines[number + 1].startswith(judged)


def test_folds__labels_of_a_fold_are_its_own_models_alone(train, tmp_path):
    code, out, _, lines = train('--folds', 2)
    assert code == 0
    assert lines[0] == 'split.py data --folds 2'
    assert open_folds(tmp_path / 'data/folds').count == 2
    for fold in (0, 1):
        place = f'w/round1/fold{fold}'
        own = [line for line in lines if f'{place}/test ' in f'{line} ']
        assert own == [
            f'test.py a.py w/round0/fold{fold}/train/iter_4.pth --split test '
            f'--data-root data --out {place}/test --fold {fold}',
            f'pseudo_label.py {place}/test --data-root data '
            f'--part pseudo_fold{fold}_round1 --fit w/round0/out_of_fold '
            '--precision 0.9 --round 1 --skip-labelled --allow-empty',
        ]
        trained = next(line for line in lines if f'--work-dir {place}/train' in line)
        assert trained.endswith(
            f'--fold {fold} --pseudo-part pseudo_fold{fold}_round1 '
            f'--cfg-options load_from=w/round0/fold{fold}/train/iter_4.pth'
        )
        real = next(line for line in lines if f'round1/real/fold{fold}/train' in line)
        assert real.endswith(
            f'--fold {fold} --pseudo-part pseudo_fold{fold}_round1 --without-pseudo '
            f'--cfg-options load_from=w/round0/fold{fold}/train/iter_4.pth'
        )
    joined = [line for line in lines if line.startswith('join.py')]
    assert joined == [
        f'join.py w/{arm}/fold0/valid w/{arm}/fold1/valid '
        f'--data-root data --out w/{arm}/out_of_fold'
        for arm in ('round0', 'round1/real', 'round1')
    ]
    gate = 'gate.py w/round1/out_of_fold w/round1/real/out_of_fold'
    assert lines[-3].startswith(gate)
    assert 'let them vote' in out


def remove_run(folder):
    """Remove a run, and the labels that it made."""
    for path in (folder / 'w', *(folder / 'data').glob('pseudo*')):
        shutil.rmtree(path)


def test_folds__that_are_there_are_used_and_must_be_as_many(train, tmp_path):
    train('--folds', 2)
    remove_run(tmp_path)
    assert not any(line.startswith('split') for line in train('--folds', 2)[3])
    remove_run(tmp_path)
    code, _, err, lines = train('--folds', 3)
    assert (code, lines) == (2, [])
    assert 'holds 2 folds, not 3; pass --folds 2' in err


@pytest.mark.parametrize('folds', [(), ('--folds', 2)])
def test_labels__of_background_alone_are_not_trained_on(
    train, monkeypatch, tmp_path, folds
):
    bare = 'pseudo_fold1_round2' if folds else 'pseudo_round2'
    monkeypatch.setenv('FAKE_BARE', bare)
    code, out, err, lines = train('--rounds', 3, *folds)
    assert (code, err) == (0, '')
    assert lines[-1].startswith('pseudo_label.py w/round2')
    assert not any('w/round2/train' in line for line in lines)
    told = f'warning: round 2 is not trained: {bare} holds background alone; start'
    assert out.splitlines()[-2].startswith(told)
    assert 'use round 1, pseudo labels:\n' in out
    result = read_json(tmp_path / 'w/self_train.json')['result']
    assert [row['round'] for row in result['rounds']] == [0, 1]
    assert train('--rounds', 3, *folds)[3] == []


@pytest.mark.parametrize('folds', [(), ('--folds', 2)])
def test_labels__none_of_which_is_trusted_end_the_rounds_until_precision_is_lower(
    train, monkeypatch, tmp_path, folds
):
    monkeypatch.setenv('FAKE_SURE', '0.5')
    code, out, err, lines = train(*folds)
    assert (code, err) == (0, '')
    assert not any('w/round1' in line for line in lines if line.startswith('train'))
    part = 'pseudo_fold0_round1' if folds else 'pseudo_round1'
    told = f'warning: round 1 is not trained: no pixel of {part} is trusted; '
    way_out = 'start it again with a lower --precision, or begin anew with a first '
    assert out.splitlines()[-2].startswith(told + way_out)
    assert 'use round 0, real labels:\n' in out
    assert train(*folds)[3] == []
    code, out, err, lines = train(*folds, '--precision', 0.3)
    assert (code, err) == (0, '')
    labelled = lines[: 2 if folds else 1]
    assert all('--precision 0.3' in line for line in labelled)
    assert all(line.endswith('--overwrite') for line in labelled)
    assert 'use round 1, pseudo labels:\n' in out
    assert 'warning' not in out
    content = read_json(tmp_path / 'w/self_train.json')
    assert content['arguments']['precision'] == 0.3
    # Its labels are trained on now.
    err = train(*folds, '--precision', 0.2)[2]
    assert 'was begun with --precision 0.3, not 0.2' in err


def test_labels__of_a_later_round_may_be_made_with_a_lower_precision(
    train, monkeypatch
):
    train('--rounds', 1)
    monkeypatch.setenv('FAKE_SURE', '0.5')
    assert 'warning: round 2 is not trained' in train('--rounds', 2)[1]
    out, _, lines = train('--rounds', 2, '--precision', 0.3)[1:]
    assert lines[0].startswith('pseudo_label.py w/round2/test')
    assert len(lines) == EACH - 1
    assert 'use round 2, pseudo labels:\n' in out


@pytest.mark.parametrize(
    'option', [('--min-kept', 0.1), ('--final-config', 'c.py'), ('--fresh',)]
)
def test_arguments__of_steps_not_yet_taken_may_be_changed(train, monkeypatch, option):
    monkeypatch.setenv('FAKE_STOP', '3')
    train()
    monkeypatch.delenv('FAKE_STOP')
    code, _, err, lines = train(*option)
    assert (code, err) == (0, '')
    assert lines[0].startswith('test.py a.py w/round0/train/iter_4.pth --split test')
    code, _, err, lines = train()
    assert (code, lines) == (2, [])
    assert f'was begun with {option[0]}' in err


def test_options__reach_the_commands_that_know_them(train):
    options = ('--precision', 0.75, '--min-region', 9, '--min-kept', 0.2, '--soft')
    more = ('--amp', '--tta', '--part', 'pseudo_mine', '--cfg-options', 'k=1', 'l=2')
    lines = train(*options, *more)[3]
    assert lines[0].endswith('--amp --cfg-options k=1 l=2')
    assert lines[1].endswith('--tta --cfg-options k=1 l=2')
    assert '--part pseudo_mine_round1' in lines[3]
    assert '--precision 0.75 ' in lines[3]
    assert lines[3].endswith('--allow-empty --min-region 9 --min-kept 0.2 --soft')
    start = 'load_from=w/round0/train/iter_4.pth'
    for arm in lines[4], lines[6]:
        assert arm.endswith(f'--amp --cfg-options k=1 l=2 {start}')


def test_fresh__starts_from_the_configs_own_weights(train, tmp_path):
    lines = train('--fresh')[3]
    assert lines[4].endswith('--pseudo-part pseudo_round1 --without-pseudo')
    assert lines[6].endswith('--pseudo-part pseudo_round1')
    remove_run(tmp_path)
    lines = train('--from-scratch')[3]
    assert lines[0].endswith('--from-scratch')
    assert '--from-scratch' not in lines[4]


def test_launcher__starts_the_scripts_that_need_a_model(train, capsys):
    launch = ('--launcher', 'pytorch', '--launch', 'env A=1 python')
    _, out, _, lines = train(*launch)
    assert lines[0].endswith('--data-root data --launcher pytorch')
    assert lines[4].endswith(
        '--launcher pytorch --cfg-options load_from=w/round0/train/iter_4.pth'
    )
    assert '$ env A=1 python home/tools/train.py' in out
    assert '$ python home/utils/gate.py' in out


def anew(line):
    """Return how a step is called that was cut off before."""
    if line.startswith('gate.py'):
        return line
    if line.startswith('train.py'):
        before, sign, after = line.partition(' --cfg-options')
        return f'{before} --resume{sign}{after}'
    return f'{line} --overwrite'


@pytest.mark.parametrize('stop', range(1, len(ONE_ROUND) + 1))
def test_cut_off__goes_on_with_the_same_step(train, monkeypatch, stop):
    monkeypatch.setenv('FAKE_STOP', str(stop))
    code, _, err, lines = train()
    assert (code, lines) == (2, ONE_ROUND[:stop])
    judged = ONE_ROUND[stop - 1].startswith('gate.py')
    told = 'left no w/round1/gate' if judged else 'failed with exit code 1 (stopped)'
    assert told in err
    monkeypatch.delenv('FAKE_STOP')
    code, out, _, lines = train()
    assert code == 0
    assert lines == [anew(ONE_ROUND[stop - 1]), *ONE_ROUND[stop:]]
    assert out.count('done before: ') == stop - 1
    assert train()[3] == []


def test_cut_off__in_training_before_its_first_checkpoint_begins_anew(
    train, monkeypatch, tmp_path
):
    monkeypatch.setenv('FAKE_STOP', '1')
    train()
    monkeypatch.delenv('FAKE_STOP')
    (tmp_path / 'w/round0/train/last_checkpoint').unlink()
    assert train()[3][0] == f'{ONE_ROUND[0]} --overwrite'


def test_arguments__that_changed_are_refused_and_more_rounds_are_not(train, misuse):
    train('--rounds', 1)
    code, _, err, lines = train('--precision', 0.8)
    assert (code, lines) == (2, [])
    assert 'was begun with --precision 0.9, not 0.8; repeat its arguments' in err
    lines = train('--rounds', 2)[3]
    assert len(lines) == EACH
    assert lines[0].endswith('--out w/round2/test')
    # --overwrite begins anew, and replaces what lies in the data root.
    lines = train('--precision', 0.8, '--overwrite')[3]
    assert len(lines) == len(ONE_ROUND)
    assert lines[3].endswith('--overwrite')


def test_arguments__are_free_until_something_is_done(train, monkeypatch, tmp_path):
    """A misspelt option that the first training refuses is no reason to begin anew."""
    monkeypatch.setenv('FAKE_STOP', '1')
    train('--cfg-options', 'end=30')
    (tmp_path / 'w/round0/train/last_checkpoint').unlink()
    monkeypatch.setenv('FAKE_STOP', '2')
    lines = train('--cfg-options', 'end=40')[3]
    assert len(lines) == 1
    assert lines[0].endswith('--overwrite --cfg-options end=40')
    # Now there is a checkpoint, of these options.
    code, _, err, lines = train('--cfg-options', 'end=50')
    assert (code, lines) == (2, [])
    assert 'was begun with --cfg-options end=40, not end=50' in err
    monkeypatch.delenv('FAKE_STOP')
    assert train('--cfg-options', 'end=40')[0] == 0


@pytest.mark.parametrize('options', [(), ('--folds', 2), ('--rounds', 2)])
def test_part__of_another_run_is_never_replaced(train, tmp_path, options):
    last = 'pseudo_fold1_round1' if '--folds' in options else 'pseudo_round1'
    last = 'pseudo_round2' if '--rounds' in options else last
    marker = tmp_path / 'data' / last / 'pseudo.json'
    marker.parent.mkdir()
    marker.write_text('{"mine": 1}')
    for _ in range(2):
        code, _, err, lines = train(*options)
        assert (code, lines) == (2, [])
        assert f'{last}: exists, and is not of this run; name another --part' in err
    assert marker.read_text() == '{"mine": 1}'
    assert train(*options, '--part', 'pseudo_mine', '--overwrite')[0] == 0


def test_part__that_another_run_replaced_is_not_trained_on(
    train, monkeypatch, tmp_path
):
    monkeypatch.setenv('FAKE_STOP', '5')
    train()
    (tmp_path / 'data/pseudo_round1/pseudo.json').write_text('{}')
    monkeypatch.delenv('FAKE_STOP')
    code, _, err, lines = train()
    assert (code, lines) == (2, [])
    assert 'pseudo_round1: its labels are not of w/round1/test; another run' in err


def test_checkpoint__that_is_gone_is_one_line(train, tmp_path):
    train()
    (tmp_path / 'w/round1/train/last_checkpoint').write_text('')
    code, _, err, lines = train('--rounds', 2)
    assert (code, lines) == (2, [])
    assert 'round1/train/last_checkpoint: names no checkpoint; pass' in err


KILLED = """
import sys
from pathlib import Path

from mmsegmentation.command import run_command
from tools import jobs, self_train

jobs.HOME = Path(sys.argv[1])
self_train.check_configs = lambda args: None
run_command(lambda _: self_train.main(sys.argv[2:]))
"""


def start_and_wait(home, calls):
    """Start the cycle as a process, and wait for its command that does not end."""
    argv = ['a.py', '--pseudo-config', 'b.py', '--data-root', 'data']
    process = subprocess.Popen(
        [sys.executable, '-c', KILLED, str(home), *argv, '--work-dir', 'w'],
        env={**os.environ, 'FAKE_WAIT': str(calls)},
        stdout=subprocess.DEVNULL,
    )
    log = Path(os.environ['FAKE_LOG'])
    for _ in range(600):
        if log.exists() and len(log.read_text().splitlines()) == calls:
            return process
        time.sleep(0.05)
    process.kill()
    raise AssertionError('the command was not called')


def test_told_to_end__it_ends_its_command_and_goes_on_later(home, train):
    process = start_and_wait(home, 3)
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 128 + signal.SIGTERM
    assert train()[3] == [anew(ONE_ROUND[2]), *ONE_ROUND[3:]]


def test_killed__nothing_begins_while_its_command_goes_on(home, train, tmp_path):
    process = start_and_wait(home, 3)
    process.kill()
    process.wait()
    code, _, err, lines = train()
    assert (code, lines) == (2, [])
    assert 'by a command that one left behind; wait until it ends' in err
    os.kill(int((tmp_path / 'log.pid').read_text()), signal.SIGKILL)
    time.sleep(0.2)
    assert train()[3] == [anew(ONE_ROUND[2]), *ONE_ROUND[3:]]


def test_misuse__is_one_line_and_leaves_nothing(home, misuse, tmp_path):
    def refuse(message, *argv):
        own = ('a.py', '--pseudo-config', 'b.py', '--work-dir', 'w', *argv)
        misuse(self_train.main, message, *own)
        assert not (tmp_path / 'w').exists()

    refuse('--rounds: is 0', '--rounds', 0)
    refuse('--folds: is 1', '--folds', 1)
    refuse('--precision: 1.5 is not in', '--precision', 1.5)
    refuse('--precision: nan is not in', '--precision', 'nan')
    refuse('--min-kept: -1.0 is not in', '--min-kept', -1)
    refuse('--min-region: -2 is negative', '--min-region', -2)
    refuse('--part mine: is no part for pseudo labels', '--part', 'mine')
    refuse('starts nothing; name the --launcher too', '--launch', 'torchrun')
    refuse('No closing quotation', '--launcher', 'mpi', '--launch', "mpirun 'x")
    refuse('a,b: has a comma', '--work-dir', 'a,b')
    (tmp_path / 'mine').mkdir()
    (tmp_path / 'mine/file').write_text('mine')
    own = ('a.py', '--pseudo-config', 'b.py', '--work-dir', 'mine', '--overwrite')
    misuse(self_train.main, 'is not empty and holds no self_train.json', *own)
    assert [path.name for path in (tmp_path / 'mine').iterdir()] == ['file']


PSEUDO = 'upernet_convnext-mini_1xb8-cutmix-pseudo-90it_drawn-128x128.py'


@pytest.fixture
def configs(write_config):
    return {
        'plain': write_config(name='self_plain'),
        'pseudo': write_config(PSEUDO, name='self_pseudo'),
    }


def test_configs__are_read_before_anything_is_trained(
    configs, data_root, misuse, tmp_path
):
    def refuse(message, first, second, *argv):
        own = (first, '--pseudo-config', second, '--work-dir', tmp_path / 'w')
        own = (*own, '--data-root', data_root)
        misuse(self_train.main, message, *own, *argv)
        assert not (tmp_path / 'w').exists()

    plain, pseudo = configs['plain'], configs['pseudo']
    refuse('no such config', 'nowhere.py', pseudo)
    refuse('trains on pseudo labels', pseudo, plain)
    refuse('is named twice', plain, plain)
    refuse('is named twice', plain, pseudo, '--final-config', pseudo)
    refuse('no key=value pair', plain, pseudo, '--cfg-options', 'x')


class Stop(Exception):
    """What cuts a run off in a test."""


@pytest.fixture
def in_process(monkeypatch):
    """Run the commands in this process; stop before the call of the given number."""
    made = []

    def install(stop):
        def do(script, *arguments, call):
            made.append(script)
            if len(made) == stop:
                raise Stop
            module = importlib.import_module(
                script.removesuffix('.py').replace('/', '.')
            )
            code = module.main([str(argument) for argument in arguments])
            assert code in call.codes

        monkeypatch.setattr(cycle, 'do', do)
        return made

    return install


def test_cycle__with_folds_trains_labels_and_judges(
    configs, own_names, in_process, run, tmp_path
):
    """Real commands on drawn data, cut off and begun again several times."""
    data_root = own_names
    work_dir = tmp_path / 'w'
    argv = [configs['plain'], '--pseudo-config', configs['pseudo'], '--folds', 2]
    argv += ['--final-config', configs['plain'], '--precision', 0]
    argv += ['--data-root', data_root, '--work-dir', work_dir]
    argv += ['--cfg-options', 'train_cfg.max_iters=2']
    for stop in (4, 9, 14):
        in_process(stop)
        with pytest.raises(Stop):
            self_train.main([str(arg) for arg in argv])
    made = in_process(None)
    code, out, _ = run(self_train.main, *argv)
    assert code == 0
    repeated = 3
    counts = {name: made.count(name) for name in SCRIPTS}
    arms = 2 * (2 * 3 + 1)
    assert sum(counts.values()) == 1 + 4 + 1 + 2 * 2 + arms + 3 + repeated
    record = read_json(work_dir / 'round1/gate_pseudo_before.json')
    assert record['images'] == 7
    assert record['verdict'] in ('better', 'worse', 'unclear')
    first = read_json(work_dir / 'round0/out_of_fold/metrics.json')
    assert record['without']['mIoU'] == pytest.approx(first['mIoU'])
    for fold in (0, 1):
        check_labels_of(fold, data_root, work_dir)
    fair = read_json(work_dir / 'round1/gate_pseudo_real.json')
    judge = read_json(work_dir / 'round1/real/out_of_fold/metrics.json')
    assert fair['without']['mIoU'] == pytest.approx(judge['mIoU'])
    assert '\nuse round ' in out


def check_labels_of(fold, data_root, work_dir):
    """Labels are of the fold's model, and what learnt from them knows their origin."""
    from mmsegmentation.checkpoints import check_checkpoint
    from mmsegmentation.files import sha256_of

    part = data_root / f'pseudo_fold{fold}_round1'
    made = read_json(part / 'pseudo.json')
    own = open_folds(data_root / 'folds').check(fold)
    first = work_dir / f'round0/fold{fold}/train'
    checkpoint = first / Path((first / 'last_checkpoint').read_text()).name
    assert made['folds'] == [own.record]
    assert made['checkpoints_sha256'] == [sha256_of(checkpoint)]
    assert made['fit']['images'] == 7 - len(own.image_ids('valid'))
    sha256 = sha256_of(part / 'pseudo.json')
    expected = [{'part': part.name, 'round': 1, 'sha256': sha256}]
    for stage in ('train', 'final'):
        place = work_dir / f'round1/fold{fold}/{stage}'
        name = Path((place / 'last_checkpoint').read_text()).name
        meta = check_checkpoint(str(place / name))['meta']
        assert meta['pseudo'] == expected
        assert meta['fold'] == own.record
    predicted = read_json(work_dir / f'round1/fold{fold}/valid/predictions.json')
    assert predicted['pseudo'] == expected


@pytest.mark.slow
def test_cycle__as_a_process_that_is_killed(configs, own_names, in_process, tmp_path):
    """A first training that is killed in the middle goes on in a second process."""
    work_dir = tmp_path / 'w'
    argv = [configs['plain'], '--pseudo-config', configs['pseudo'], '--data-root']
    argv = [str(arg) for arg in (*argv, own_names, '--work-dir', work_dir)]
    argv += ['--precision', '0']

    def run_until(reached):
        command = [sys.executable, 'tools/self_train.py', *argv]
        with (tmp_path / 'output').open('w') as output:
            process = subprocess.Popen(command, cwd=ROOT, stdout=output)
        while process.poll() is None and not reached():
            time.sleep(0.02)
        process.terminate()
        assert process.wait(60) == 128 + signal.SIGTERM
        return (tmp_path / 'output').read_text()

    def trained():
        steps = read_json(work_dir / 'self_train.json')['steps'].values()
        return any(step['done'] for step in steps)

    run_until((work_dir / 'round0/train/last_checkpoint').exists)
    output = run_until(trained)
    assert sum('--resume' in line for line in output.splitlines()) <= 1
    made = in_process(None)
    assert self_train.main(argv) == 0
    assert len(made) == len(ONE_ROUND) - 1
    content = read_json(work_dir / 'self_train.json')
    assert all(step['done'] for step in content['steps'].values())
    assert len(content['steps']) == len(ONE_ROUND)
    assert content['result']['use_round'] in (0, 1)
