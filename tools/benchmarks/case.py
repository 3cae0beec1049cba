"""What one row of a benchmark is."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any


@dataclass(frozen=True)
class Options:
    """How to measure: less of it for a look, and where."""

    quick: bool
    device: str


@dataclass(frozen=True)
class Case:
    """The same work done by us and by a peer.

    Args:
        name: What is done, with its sizes.
        peer: Who else does it.
        sides: Ours and the peer's: each does it once and returns the answer.
        difference: How far both answers are apart, 0 for equal.
        limit: The largest difference at which they count as the same.
        unit: What the difference is counted in.
        once: Each side runs once, for the difference; the times are of that run.
        spread: How far the peer's answer is from what it gives in another run of its
            own: where that is more than ``limit``, it takes its place. Asked only where
            ``limit`` is passed.
    """

    name: str
    peer: str
    sides: Sequence[Callable[[], Any]]
    difference: Callable[[Any, Any], float]
    limit: float
    unit: str = 'largest difference'
    once: bool = False
    spread: Callable[[Any], float] | None = None


@dataclass(frozen=True)
class LeftOut:
    """A case that cannot be measured here, and why."""

    name: str
    peer: str
    why: str


def missing(package: str) -> str | None:
    """Return why a peer's package cannot be used; None where it can."""
    if find_spec(package):
        return None
    return f'{package} is not installed: pip install -r requirements-bench.txt'
