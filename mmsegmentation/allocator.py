"""Memory that a run on a CPU keeps for its next arrays."""

import ctypes
import os

# Of <malloc.h> of glibc.
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
# What somebody who sets memory up says on a command line.
VARIABLES = 'MALLOC_', 'GLIBC_TUNABLES', 'LD_PRELOAD'


def keep_freed_memory(at_most: int | None = None) -> bool:
    """Keep what arrays leave behind, in this process and those it forks from now on.

    glibc gives the memory of a large array back to the system as soon as the array is
    gone, and each step of a training asks for the same memory again: page after page,
    each zeroed, which takes as long as the arithmetic on it (measured: two fifths of a
    training step of UPerNet-BEiT-B in bfloat16). Kept, it costs nothing where all steps
    are alike. Arrays of ever other sizes leave gaps, and the process grows: give a
    limit there.

    Does nothing without glibc, and where somebody has set memory up by a variable of
    its own (``MALLOC_*``, ``GLIBC_TUNABLES``, or another library by ``LD_PRELOAD``).

    Args:
        at_most: Bytes that are kept beyond what is in use, below 2 GiB; all if none.

    Returns:
        Whether memory is kept.
    """
    if any(name.startswith(VARIABLES) for name in os.environ):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    # No array in pages of its own, and the heap is cut down late or never.
    kept = -1 if at_most is None else at_most
    return bool(mallopt(M_MMAP_MAX, 0) and mallopt(M_TRIM_THRESHOLD, kept))
