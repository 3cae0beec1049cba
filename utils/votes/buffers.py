"""Arrays that are overwritten image after image.

Fresh memory comes from the system a page at a time, which for maps of a few bytes a
pixel takes longer than the work on them.
"""

import threading

import numpy as np


class _Kept(threading.local):
    def __init__(self) -> None:
        self.arrays: dict[str, np.ndarray] = {}


_KEPT = _Kept()


def buffer(name: str, size: int, dtype: type) -> np.ndarray:
    """Return an array to overwrite, of the same memory at each call in a thread."""
    held = _KEPT.arrays.get(name)
    if held is None or held.size < size:
        held = _KEPT.arrays[name] = np.empty(size, dtype)
    return held[:size]
