"""Shared memory that a worker of a data loader uses again and again.

A room is in use from ``room_for`` in the worker until the last tensor that the training
process was lent is gone. Its first two bytes say so to both processes.
"""

import os
import weakref
from collections.abc import Sequence
from contextlib import suppress
from math import prod

import torch
from torch import Tensor

IN_USE, KNOWN = 0, 1
# The content starts at a multiple of what vector instructions load at once.
HEAD = 64
Shape = tuple[int, ...]


class SharedRoom:
    """One piece of shared memory.

    Args:
        memory: (N,) uint8, shared; the first ``HEAD`` bytes are the room's own.
        key: Process that made it, and its number there.
    """

    def __init__(self, memory: Tensor, key: tuple[int, int]) -> None:
        self.memory, self.key = memory, key

    def __reduce__(self) -> tuple:
        # The memory itself travels until the other side has it.
        memory = None if self.memory[KNOWN] else self.memory
        return _enter, (self.key, memory)

    def tensors(self, shapes: Sequence[Shape]) -> list[Tensor]:
        """Return uint8 tensors of these shapes, one after another in the room."""
        return _split(self.memory, shapes)

    def lend(self, shapes: Sequence[Shape]) -> list[Tensor]:
        """Return the same; the room is free when the last of them is gone."""
        # NumPy's array is the one thing that all tensors made of it keep alive.
        array = self.memory.numpy()
        weakref.finalize(array, _free, self.memory).atexit = False
        pieces = []
        start = HEAD
        for shape in shapes:
            end = start + prod(shape)
            pieces.append(torch.from_numpy(array[start:end].reshape(shape)))
            start = end
        return pieces


def _split(memory: Tensor, shapes: Sequence[Shape]) -> list[Tensor]:
    sizes = [prod(shape) for shape in shapes]
    pieces = memory[HEAD : HEAD + sum(sizes)].split(sizes)
    return [piece.view(shape) for piece, shape in zip(pieces, shapes, strict=True)]


def _free(memory: Tensor) -> None:
    memory[IN_USE] = 0


# Of a worker: its own rooms. Of the training process: those of its workers.
_own: list[SharedRoom] = []
_entered: dict[tuple[int, int], SharedRoom] = {}


def room_for(shapes: Sequence[Shape]) -> SharedRoom:
    """Return a room that is free and large enough, now in use; a new one if none is."""
    size = HEAD + sum(map(prod, shapes))
    if _own and _own[0].key[0] != os.getpid():
        _own.clear()  # left by the process that this one was forked from
    for room in _own:
        if not room.memory[IN_USE] and len(room.memory) >= size:
            break
    else:
        memory = torch.zeros(size, dtype=torch.uint8).share_memory_()
        room = SharedRoom(memory, (os.getpid(), len(_own)))
        _own.append(room)
    room.memory[IN_USE] = 1
    return room


def _enter(key: tuple[int, int], memory: Tensor | None) -> SharedRoom:
    if memory is not None:
        _leave_dead()
        _entered[key] = SharedRoom(memory, key)
        memory[KNOWN] = 1
    return _entered[key]


def _leave_dead() -> None:
    """Let go of the rooms of workers that have ended."""
    for key in [key for key in _entered if not _is_alive(key[0])]:
        del _entered[key]


def _is_alive(process: int) -> bool:
    with suppress(ProcessLookupError):
        os.kill(process, 0)
        return True
    return False
