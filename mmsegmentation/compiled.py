import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numba


def compiled(function: Callable) -> Callable:
    """Compile a loop over arrays, one that lets go of the interpreter.

    The machine code is kept beside the source or in the user's cache. Where neither can
    be written, each process compiles it anew. numba takes half a second to import:
    modules that use this are imported where they are needed, never at start.
    """
    made: Any
    try:
        made = numba.njit(function, nogil=True, cache=True)
    except RuntimeError:
        made = numba.njit(function, nogil=True)
    compile_one = made.compile

    def compile_whole(signature: Any) -> Any:
        with interrupts_later():
            return compile_one(signature)

    made.compile = compile_whole
    return made


@contextmanager
def interrupts_later() -> Iterator[None]:
    """Let Ctrl-C wait: within LLVM it would end the process with a broken memory."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: came.append(number))
    try:
        yield
    finally:
        # None is a handler that Python did not set.
        signal.signal(signal.SIGINT, before or signal.SIG_DFL)
    if came:
        signal.raise_signal(signal.SIGINT)
