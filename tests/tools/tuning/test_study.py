"""The trials of a study, whoever works on it and however often its workers die."""

import multiprocessing
import os
import signal
import time
from collections import Counter

import pytest

from mmsegmentation.command import InputError
from tests.tools.tuning.conftest import SPACE
from tools.tuning.space import Searched
from tools.tuning.study import TRIES, parse_url


def finish_all(study):
    """Finish what is left, each trial with its number as score; return the draws."""
    drawn = {}
    while taken := study.take():
        drawn[taken.number] = taken.drawn
        study.finish(taken, 'complete', float(taken.number), {})
    return drawn


def test_study__has_as_many_trials_as_told_and_may_have_more_later(
    open_study, tmp_path
):
    storage = f'sqlite:///{tmp_path}/s.db'
    assert sorted(finish_all(open_study(storage, 3))) == [0, 1, 2]
    assert finish_all(open_study(storage, 3)) == {}
    assert sorted(finish_all(open_study(storage, 5))) == [3, 4]
    states = [trial.state.name for trial in open_study(storage, 5).trials()]
    assert states == ['COMPLETE'] * 5


def test_first_trial__is_the_config_as_it_is(open_study, tmp_path):
    drawn = finish_all(open_study(f'sqlite:///{tmp_path}/s.db', 2))
    assert drawn[0] == {'lr': 0.01, 'kind': 'b'}
    assert drawn[1] != drawn[0]


def test_first_trial__is_drawn_where_the_config_lies_outside(open_study, tmp_path):
    space = [Searched('lr', ('a',), 7.0, (), 0.1, 1.0)]
    study = open_study(f'sqlite:///{tmp_path}/s.db', 1, space=space)
    assert 0.1 <= finish_all(study)[0]['lr'] <= 1.0


def test_dead_workers_trial__is_taken_up_with_the_same_values(open_study, storage):
    dead, living = open_study(storage), open_study(storage)
    first = dead.take()
    second = dead.take()
    assert living.take().number == 2
    second.hold.release()  # as when its worker dies
    again = living.take()
    assert (again.number, again.drawn) == (1, second.drawn)
    first.hold.release()
    assert living.take().number == 0
    assert living.take().number == 3


def test_trial__that_ends_while_one_looks_for_it_is_not_taken_up(
    open_study, storage, monkeypatch
):
    ending, looking = open_study(storage, 1), open_study(storage, 1)
    taken = ending.take()
    hold = looking.locks.hold

    def late(number, wait=False):
        if number:
            ending.finish(taken, 'complete', 1.0, {})
        return hold(number, wait)

    monkeypatch.setattr(looking.locks, 'hold', late)
    assert looking.take() is None


def test_draws__follow_from_number_and_history_whoever_draws(open_study, tmp_path):
    def draws(name, disturbed):
        url, found = f'sqlite:///{tmp_path}/{name}.db', {}
        study = open_study(url, 12, sampler='tpe')
        while taken := study.take():
            if disturbed and taken.number in (2, 11):
                taken.hold.release()
                study = open_study(url, 12, sampler='tpe')
                taken = study.take()
            found[taken.number] = taken.drawn
            study.finish(taken, 'complete', -abs(taken.drawn['lr'] - 0.1), {})
        return found

    whole = draws('whole', False)
    assert draws('disturbed', True) == whole
    assert len({drawn['lr'] for drawn in whole.values()}) == 12


def test_hyperband__ends_trials_that_fall_behind_and_no_leader(open_study, tmp_path):
    study = open_study(
        f'sqlite:///{tmp_path}/s.db', 8, pruner='hyperband', validations=3
    )
    ended = {}
    while taken := study.take():
        # Each trial is worse than all before it, by its number.
        for step in range(1, 4):
            taken.trial.report(1 / (1 + taken.number), step)
            if taken.trial.should_prune():
                break
        ended[taken.number] = step
        pruned = step < 3
        study.finish(
            taken, 'pruned' if pruned else 'complete', None if pruned else 1.0, {}
        )
    assert ended[0] == 3
    assert sum(step < 3 for step in ended.values()) >= 2


def test_seeds__give_other_draws(open_study, tmp_path):
    found = [
        finish_all(open_study(f'sqlite:///{tmp_path}/{seed}.db', 4, seed=seed))
        for seed in (0, 1)
    ]
    values = [drawn['lr'] for study in found for n, drawn in study.items() if n]
    assert len(set(values)) == 6


def work(open_study, storage, log, slow):
    """Work until nothing is left; the slow one never finishes what it takes."""
    study = open_study(storage, 16)
    while taken := study.take():
        with log.open('a') as file:
            file.write(f'{taken.number}\n')
        if slow:
            time.sleep(60)
        time.sleep(0.02)
        study.finish(taken, 'complete', 1.0, {})
    os._exit(0)


def test_workers_at_once__share_all_trials_though_one_is_killed(
    open_study, storage, tmp_path
):
    fork = multiprocessing.get_context('fork')
    logs = [tmp_path / name for name in ('dead', 'one', 'two', 'three')]
    started = [
        fork.Process(target=work, args=(open_study, storage, log, not number))
        for number, log in enumerate(logs)
    ]
    started[0].start()
    while not logs[0].is_file():
        time.sleep(0.01)
    for process in started[1:]:
        process.start()
    os.kill(started[0].pid, signal.SIGKILL)
    for process in started:
        process.join()
    assert [process.exitcode for process in started] == [-signal.SIGKILL, 0, 0, 0]
    # On a busy machine one may come when nothing is left.
    lines = [log.read_text() for log in logs[1:] if log.is_file()]
    counts = Counter(int(number) for text in lines for number in text.split())
    assert counts == dict.fromkeys(range(16), 1)
    states = Counter(trial.state.name for trial in open_study(storage, 16).trials())
    assert states == {'COMPLETE': 16}


def test_tries__count_the_workers_that_ended_before_it_got_further(
    open_study, tmp_path
):
    url, place = f'sqlite:///{tmp_path}/s.db', ['']
    tries = []
    for number in range(TRIES + 2):
        if number == 3:
            place[0] = 'iter_5.pth'
        taken = open_study(url, progress=lambda _: place[0]).take()
        tries.append(taken.tries)
        taken.hold.release()
    assert tries == [0, 1, 2, 0, 1, 2, 3]


def test_reported_scores__are_known_to_who_takes_the_trial_up(open_study, tmp_path):
    study = open_study(f'sqlite:///{tmp_path}/s.db')
    taken = study.take()
    for step in (1, 2):
        taken.trial.report(0.5, step)
    taken.hold.release()
    assert study.take().reported == (1, 2)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'config': 'b.py'}, r'begun with --config a\.py, not b\.py; repeat its'),
        ({'amp': True}, 'begun without --amp'),
        ({'space': SPACE[:1]}, r'SPACE: kind: the study .* was begun with'),
        (
            {'space': (*SPACE, Searched('x', ('x',), 1, (), 0, 2))},
            'SPACE: x: the study .* was begun without it',
        ),
    ],
)
def test_study__is_gone_on_with_only_as_it_was_begun(
    open_study, tmp_path, changes, message
):
    storage = f'sqlite:///{tmp_path}/s.db'
    open_study(storage)
    with pytest.raises(InputError, match=message):
        open_study(storage, **changes)


def test_study__of_someone_else_is_left_alone(open_study, tmp_path):
    import optuna

    url = f'sqlite:///{tmp_path}/s.db'
    study = optuna.create_study(storage=url, study_name=tmp_path.name)
    study.add_trial(optuna.create_trial(value=1.0))
    with pytest.raises(InputError, match=r'not of tools/tune\.py; name another'):
        open_study(url, minimize=True)


@pytest.mark.parametrize(
    ('url', 'message'),
    [
        ('study.db', 'is no address of a database'),
        ('sqlite://', 'cannot be shared'),
        ('sqlite:///:memory:', 'cannot be shared'),
        ('mysql://me:secret@host/x', r'mysql://me:\*\*\*@host/x cannot be shared'),
        ('mysql://host/x?password=secret', 'mysql://host/x cannot be shared'),
    ],
)
def test_storage__of_another_kind_is_refused(url, message):
    with pytest.raises(InputError, match=message):
        parse_url(url)


def test_storage__without_its_driver_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr('importlib.util.find_spec', lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'psycopg\[binary\]'"):
        parse_url('postgresql://host/name')


def test_storage__that_cannot_be_used_is_one_line(open_study, tmp_path):
    (tmp_path / 's.db').write_text('no database at all, but text' * 99)
    with pytest.raises(InputError, match=r'cannot be used \(file is not'):
        open_study(f'sqlite:///{tmp_path}/s.db')
    with pytest.raises(InputError, match=r'x:\*\*\*@127.*cannot be used .connection'):
        open_study('postgresql://x:secret@127.0.0.1:1/none')
