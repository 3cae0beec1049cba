"""A long run in steps: each is taken once, by one run at a time."""

import json
import subprocess
import sys

import pytest

from mmsegmentation.command import InputError
from tools.steps import check_place, locked, open_steps

ARGUMENTS = {'precision': 0.9, 'folds': None}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / 'run').mkdir()
    return tmp_path / 'run'


# Steps that are none.
ODD = '{"arguments": {}, "replaces": false, "steps": {"first": 3}}'


def begin(folder, arguments=ARGUMENTS, overwrite=False):
    return open_steps(folder, 'run.json', arguments, overwrite)


def writer(path, seen):
    def act(again):
        seen.append(again)
        path.write_text('made')

    return act


def test_step__is_taken_once(folder, capsys):
    seen = []
    for _ in range(2):
        steps = begin(folder)
        steps.take('first', folder / 'out', writer(folder / 'out', seen))
    assert seen == [False]
    assert capsys.readouterr().out == 'done before: first\n'
    content = json.loads((folder / 'run.json').read_text())
    assert content['steps']['first']['done'] is True
    assert content['arguments'] == ARGUMENTS


def test_step__that_was_cut_off_is_taken_again_and_told(folder):
    seen = []

    def cut_off(again):
        seen.append(again)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        begin(folder).take('first', folder / 'out', cut_off)
    begin(folder).take('first', folder / 'out', writer(folder / 'out', seen))
    assert seen == [False, True]


def test_step__that_leaves_no_result_is_not_done(folder):
    steps = begin(folder)
    with pytest.raises(InputError, match=r'first: left no .*out; see its output above'):
        steps.take('first', folder / 'out', lambda again: None)
    assert begin(folder).content['steps']['first'] == {
        'done': False,
        'result': 'out',
    }


def test_step__whose_result_is_gone_is_taken_again(folder):
    seen = []
    begin(folder).take('first', folder / 'out', writer(folder / 'out', seen))
    (folder / 'out').unlink()
    begin(folder).take('first', folder / 'out', writer(folder / 'out', seen))
    assert seen == [False, True]


def test_step__whose_result_is_gone_is_not_taken_again_below_later_ones(folder):
    """They came from it; anew it may come out otherwise."""
    seen = []
    steps = begin(folder)
    for name in ('first', 'second'):
        steps.take(name, folder / name, writer(folder / name, seen))
    (folder / 'first').unlink()
    with pytest.raises(InputError, match=r'first: is gone, and later steps came from'):
        begin(folder).take('first', folder / 'first', writer(folder / 'first', seen))
    assert seen == [False, False]


def test_overwrite__leaves_what_a_link_leads_to(folder, tmp_path):
    (tmp_path / 'disk').mkdir()
    (tmp_path / 'disk/file').write_text('mine')
    begin(folder)
    (folder / 'round0').symlink_to(tmp_path / 'disk')
    begin(folder, overwrite=True)
    assert sorted(path.name for path in folder.iterdir()) == ['run.json']
    assert (tmp_path / 'disk/file').read_text() == 'mine'


def test_overwrite__begins_anew_and_replaces_all(folder):
    seen = []
    begin(folder).take('first', folder / 'out', writer(folder / 'out', seen))
    (folder / 'more').mkdir()
    (folder / 'more/file').write_text('old')
    steps = begin(folder, {'precision': 0.5}, overwrite=True)
    assert sorted(path.name for path in folder.iterdir()) == ['run.json']
    steps.take('first', folder / 'out', writer(folder / 'out', seen))
    assert seen == [False, True]


def test_arguments__that_changed_are_refused_with_the_way_out(folder):
    begin(folder).take('first', folder / 'out', writer(folder / 'out', []))
    message = (
        r'was begun with --precision 0\.9, not 0\.8 and without --folds; repeat '
        'its arguments to go on, name another --work-dir, or pass --overwrite'
    )
    with pytest.raises(InputError, match=message):
        begin(folder, {'precision': 0.8, 'folds': 3})
    with pytest.raises(InputError, match='was begun without --min-kept; repeat'):
        begin(folder, {**ARGUMENTS, 'min_kept': 1})
    begin(folder)


def test_arguments__are_free_while_there_is_nothing_to_go_on_with(folder):
    begin(folder)
    with pytest.raises(InputError, match='left no'):
        begin(folder, {'precision': 0.8}).take('first', folder / 'out', lambda _: None)
    steps = begin(folder, {'precision': 0.7})
    assert steps.content['arguments'] == {'precision': 0.7}
    assert begin(folder, {'precision': 0.7}).content == steps.content
    (folder / 'out').write_text('a part of it')
    with pytest.raises(InputError, match=r'was begun with --precision 0\.7, not 0\.6'):
        begin(folder, {'precision': 0.6})


@pytest.mark.parametrize('text', ['[]', '{}', '{"steps": 3}', '{', ODD])
def test_file__that_is_damaged_is_one_line(folder, text):
    (folder / 'run.json').write_text(text)
    with pytest.raises(InputError, match=r'run\.json: (damaged|not readable)'):
        begin(folder)
    begin(folder, overwrite=True)


def test_place__of_something_else_is_left_alone(folder):
    (folder / 'mine.txt').write_text('mine')
    with pytest.raises(InputError, match=r'is not empty and holds no run\.json'):
        check_place(folder, 'run.json')
    with pytest.raises(InputError, match='is a file; name a folder'):
        check_place(folder / 'mine.txt', 'run.json')
    check_place(folder / 'new', 'run.json')
    assert not (folder / 'new').exists()


def test_lock__is_for_one_run(folder):
    with locked(folder), pytest.raises(InputError, match='is in use by another run'):
        locked(folder).__enter__()
    with locked(folder):
        pass


def test_lock__is_held_by_a_command_that_was_left_behind(folder):
    text = 'import sys; print("on", flush=True); sys.stdin.read()'
    with locked(folder) as descriptors:
        left = subprocess.Popen(
            [sys.executable, '-c', text],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=descriptors,
        )
        left.stdout.readline()
    with pytest.raises(InputError, match='a command that one left behind'):
        locked(folder).__enter__()
    left.communicate()
    with locked(folder):
        pass


def test_lock__in_a_place_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / 'file').write_text('mine')
    with pytest.raises(InputError, match='cannot be made'):
        locked(tmp_path / 'file/deeper').__enter__()
