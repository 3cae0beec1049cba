"""Loops in machine code: an interruption while one is made."""

import signal

import numpy as np
import pytest
from numba.core.dispatcher import Dispatcher

from mmsegmentation.compiled import compiled


def add_one(values):
    for i in range(len(values)):
        values[i] += 1


def test_compiled__ctrl_c_waits_until_the_code_is_whole(monkeypatch):
    make, done = Dispatcher.compile, []

    def interrupted(dispatcher, signature):
        signal.raise_signal(signal.SIGINT)
        done.append(make(dispatcher, signature))
        return done[-1]

    monkeypatch.setattr(Dispatcher, 'compile', interrupted)
    values, loop = np.zeros(3), compiled(add_one)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        loop(values)
    assert signal.getsignal(signal.SIGINT) is before
    assert len(done) == 1
    loop(values)
    assert len(done) == 1
    assert values.tolist() == [1, 1, 1]
