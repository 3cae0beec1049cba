from collections.abc import Callable

import numba


def compiled(function: Callable) -> Callable:
    """Compile a loop over arrays, one that lets go of the interpreter.

    The machine code is kept beside the source or in the user's cache. Where neither can
    be written, each process compiles it anew. numba takes half a second to import:
    modules that use this are imported where they are needed, never at start.
    """
    try:
        return numba.njit(function, nogil=True, cache=True)
    except RuntimeError:
        return numba.njit(function, nogil=True)
