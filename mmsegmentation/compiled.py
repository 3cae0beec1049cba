from collections.abc import Callable
from typing import Any

import numba

from mmsegmentation.command import signals_later


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
        # Within LLVM an interruption would end the process with a broken memory.
        with signals_later():
            return compile_one(signature)

    made.compile = compile_whole
    return made
