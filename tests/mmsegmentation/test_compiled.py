"""Loops in machine code: an interruption while one is made."""

import signal

import numpy as np
import pytest
from numba.core.dispatcher import Dispatcher

from mmsegmentation.compiled import compiled


def add_one(values):
    for i in range(len(values)):
        values[i] += 1


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_compiled__a_signal_waits_until_the_code_is_whole(monkeypatch, number):
    def leave(number, frame):
        raise KeyboardInterrupt

    kept = signal.signal(number, leave)
    make, done = Dispatcher.compile, []

    def interrupted(dispatcher, signature):
        signal.raise_signal(number)
        done.append(make(dispatcher, signature))
        return done[-1]

    monkeypatch.setattr(Dispatcher, 'compile', interrupted)
    values, loop = np.zeros(3), compiled(add_one)
    with pytest.raises(KeyboardInterrupt):
        loop(values)
    assert signal.signal(number, kept) is leave
    assert len(done) == 1
    loop(values)
    assert len(done) == 1
    assert values.tolist() == [1, 1, 1]
