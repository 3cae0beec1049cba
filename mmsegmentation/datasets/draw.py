"""Chance that belongs to a sample: the same whatever process draws it, and when."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np


class Draw(int):
    """An index of a data set that says in which pass, and of which run, it comes.

    A sampler yields it, it passes through a data loader into its workers, and to a
    data set it is an index like another.

    Args:
        index: The index.
        turn: How often the data were gone through before; the epoch.
        seed: The run's seed.
    """

    turn: int
    seed: int

    def __new__(cls, index: int, turn: int, seed: int) -> 'Draw':
        self = super().__new__(cls, index)
        self.turn = turn
        self.seed = seed
        return self

    def __reduce__(self) -> tuple:
        return Draw, (int(self), self.turn, self.seed)


@contextmanager
def chance_of(index: int) -> Iterator[None]:
    """Seed NumPy's and Python's generators by a ``Draw``, and give them back after.

    A plain index changes nothing: the generators go on as they are.
    """
    if not isinstance(index, Draw):
        yield
        return
    states = np.random.get_state(), random.getstate()
    sequence = np.random.SeedSequence((index.seed, index.turn, int(index)))
    words = sequence.generate_state(8)
    np.random.seed(words)
    random.seed(words.tobytes())
    try:
        yield
    finally:
        np.random.set_state(states[0])
        random.setstate(states[1])
