"""Locks of a storage: one holder at a time, whom a child may succeed."""

import os
import subprocess
import sys
import threading
import time

import pytest

from mmsegmentation.command import InputError
from tools.tuning.locks import FileLocks, PostgresLocks, queue
from tools.tuning.study import locks_of, parse_url


@pytest.fixture
def pair(storage):
    """Return the locks of a storage twice, as two workers have them."""
    return locks_of(parse_url(storage)), locks_of(parse_url(storage))


def test_hold__is_one_workers_until_it_lets_go(pair):
    one, two = pair
    held = one.hold(7)
    assert held.stands()
    assert two.hold(7) is None
    other = two.hold(8)
    other.release()
    held.release()
    again = two.hold(7)
    assert again is not None
    held.release()  # a second time: nobody else's lock ends
    assert one.hold(7) is None
    again.release()


def test_hold__goes_on_in_a_child_when_the_worker_has_died(pair):
    one, two = pair
    held = one.hold(1)
    # Its lock ends with its last copy; a worker that dies closes its own.
    program = 'import sys; sys.stdin.read()'
    child = subprocess.Popen(
        [sys.executable, '-c', program],
        stdin=subprocess.PIPE,
        pass_fds=held.descriptors,
    )
    _die(held)
    assert two.hold(1) is None
    child.communicate(b'')
    end = time.monotonic() + 10
    while (again := two.hold(1)) is None and time.monotonic() < end:
        time.sleep(0.01)
    assert again is not None
    again.release()


def _die(held):
    """Close the lock's descriptors as a kill does, without a word to the server."""
    for descriptor in held.descriptors:
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, descriptor)
        os.close(null)


def test_queue__lets_one_in_after_the_other(pair):
    inside, most = [], []

    def enter(locks):
        for _ in range(10):
            with queue(locks):
                inside.append(1)
                most.append(len(inside))
                time.sleep(0.002)
                inside.pop()

    threads = [threading.Thread(target=enter, args=(locks,)) for locks in pair]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 20


def test_postgres_hold__is_had_again_after_a_lost_connection(server):
    from sqlalchemy import text

    one, two = (PostgresLocks(parse_url(server)) for _ in range(2))
    held, other = one.hold(3), two.hold(4)
    ask = text('SELECT pid FROM pg_locks WHERE objid = 3 AND classid = 32455')
    end = text('SELECT pg_terminate_backend(:pid, 10000)')
    with one.engine.connect() as connection:
        pid = connection.execute(ask).scalar_one()
        connection.execute(end, {'pid': pid})
    assert held.stands()
    assert two.hold(3) is None
    with one.engine.connect() as connection:
        pid = connection.execute(ask).scalar_one()
        connection.execute(end, {'pid': pid})
    taken = two.hold(3)
    assert taken is not None
    assert not held.stands()
    for hold in (taken, other):
        hold.release()


def test_file_locks__place_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(InputError, match='nothing can be locked there'):
        FileLocks(tmp_path / 'file/study.db').hold(1)
