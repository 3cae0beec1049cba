"""The steps of a long run, each taken once: a killed run goes on with the next."""

import errno
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmsegmentation.command import InputError
from mmsegmentation.files import read_json, refuse_file, write_json

LOCK = '.lock'
AGAIN = (
    'repeat its arguments to go on, name another --work-dir, or pass --overwrite to '
    'begin anew'
)


class Steps:
    """What was done of a run; kept in a file.

    Args:
        path: The file.
        content: What stands in it.
    """

    def __init__(self, path: Path, content: dict[str, Any]) -> None:
        self.path = path
        self.content = content

    def take(self, name: str, result: Path, act: Callable[[bool], Any]) -> None:
        """Take a step, unless it was taken and its result is still there.

        Args:
            result: A file that the step leaves, once all is whole.
            act: Does it. It is told whether something may be there already, of an
                earlier try.

        Raises:
            InputError: It left no such file; or that of an earlier run is gone, and
                later steps were taken that came from it.
        """
        known = self.content['steps'].get(name)
        if known and known.get('done'):
            if result.exists():
                print(f'done before: {name}', flush=True)
                return
            if name != [*self.content['steps']][-1]:
                raise InputError(
                    result,
                    'is gone, and later steps came from it',
                    'put it back, or pass --overwrite to begin anew',
                )
        place = os.path.relpath(result, self.path.parent)
        self.content['steps'][name] = {'done': False, 'result': place}
        self.keep()
        start = time.monotonic()
        act(bool(known) or self.content['replaces'])
        if not result.exists():
            raise InputError(name, f'left no {result}', 'see its output above')
        seconds = round(time.monotonic() - start, 1)
        self.content['steps'][name] = {'done': True, 'seconds': seconds}
        self.keep()

    @property
    def begun(self) -> bool:
        """Whether there is anything to go on with: a result, be it of a part."""
        folder = self.path.parent
        return any(
            step.get('done') or (folder / str(step.get('result', ''))).exists()
            for step in self.content['steps'].values()
        )

    def keep(self, **more: Any) -> None:
        """Write the file; ``more`` is added to what stands in it."""
        self.content.update(more)
        write_json(self.path, self.content)


def open_steps(
    folder: Path,
    marker: str,
    arguments: Mapping[str, Any],
    overwrite: bool,
    free: Callable[[Iterable[str]], Mapping[str, Sequence[str]]] = lambda _: {},
) -> Steps:
    """Begin a run, or go on with the one that stands in a folder.

    Args:
        folder: Where it stands, or will; :func:`check_place` has looked at it.
        marker: The name of the file of its steps.
        arguments: Those that decide what is done: they must be the same again, once
            anything is.
        overwrite: Remove an earlier run, and begin anew.
        free: Given the names of the steps that were begun, returns the arguments that
            may change all the same, and for each the steps to take again.

    Raises:
        InputError: The folder holds a run with other arguments, or a damaged one.
    """
    path = folder / marker
    earlier = _read(path) if path.is_file() and not overwrite else None
    if earlier:
        steps = Steps(path, earlier)
        if steps.begun:
            before, changeable = earlier['arguments'], free(earlier['steps'])
            old, new = (
                {k: v for k, v in each.items() if k not in changeable}
                for each in (before, arguments)
            )
            check_same(old, new, folder, AGAIN)
            for name, again in changeable.items():
                if before.get(name) != arguments.get(name):
                    earlier['steps'].update({step: {'done': False} for step in again})
        steps.keep(arguments=dict(arguments))
        return steps
    # The marker goes last: what was half removed can still be replaced.
    for held in sorted(_held(folder), key=lambda path: path.name == marker):
        linked = held.is_symlink()
        shutil.rmtree(held) if held.is_dir() and not linked else held.unlink()
    content = {'arguments': dict(arguments), 'replaces': overwrite, 'steps': {}}
    steps = Steps(path, content)
    steps.keep()
    return steps


def _read(path: Path) -> dict[str, Any]:
    content = read_json(path)
    kinds = {'arguments': dict, 'replaces': bool, 'steps': dict}
    if (
        not isinstance(content, dict)
        or not all(isinstance(content.get(key), kind) for key, kind in kinds.items())
        or not all(isinstance(step, dict) for step in content['steps'].values())
    ):
        raise InputError(path, 'damaged', 'pass --overwrite to begin anew')
    return content


def check_same(
    before: Mapping[str, Any], now: Mapping[str, Any], thing: object, way_out: str
) -> None:
    """Refuse to go on with other arguments.

    Raises:
        InputError: They are not those with which ``thing`` was begun.
    """
    changed = [
        _change(name, before.get(name), now.get(name))
        for name in {**before, **now}
        if before.get(name) != now.get(name)
    ]
    if changed:
        raise InputError(thing, f'was begun {" and ".join(changed)}', way_out)


def _change(name: str, before: Any, now: Any) -> str:
    """Return what is other than before, as one would type it.

    >>> _change('min_kept', 0.5, 0.25), _change('soft', False, True)
    ('with --min-kept 0.5, not 0.25', 'without --soft')
    >>> _change('cfg_options', ['a=1', 'b=2'], []), _change('folds', None, 3)
    ('with --cfg-options a=1 b=2', 'without --folds')
    """
    option = f'--{name.replace("_", "-")}'
    if before in (None, False, []):
        return f'without {option}'
    texts = [' '.join(map(str, v)) if isinstance(v, list) else v for v in (before, now)]
    if before is True or now in (None, []):
        return f'with {option}' if before is True else f'with {option} {texts[0]}'
    return f'with {option} {texts[0]}, not {texts[1]}'


def check_place(folder: Path, marker: str) -> None:
    """Refuse a folder that holds something else than a run.

    Raises:
        InputError: It does.
    """
    refuse_file(folder)
    if _held(folder) and not (folder / marker).is_file():
        raise InputError(
            folder, f'is not empty and holds no {marker}', 'name another folder'
        )


def _held(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return [path for path in folder.iterdir() if path.name != LOCK]


@contextmanager
def locked(folder: Path) -> Iterator[tuple[int, ...]]:
    """Hold a folder for one run alone; give the descriptors that hold it.

    Who inherits them holds it too: while a command of a killed run goes on, no other
    run begins.

    Raises:
        InputError: Another run holds it, or it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / LOCK).open('w')
    except OSError as error:
        raise InputError(
            folder, f'cannot be made ({error.strerror})', 'choose another place'
        ) from None
    with file:
        if not _lock(file.fileno()):
            raise InputError(
                folder,
                'is in use by another run, or by a command that one left behind',
                'wait until it ends',
            )
        yield (file.fileno(),)


def _lock(descriptor: int) -> bool:
    try:
        return try_lock(descriptor)
    except OSError:
        # A system, or a file system, without locks.
        return True


def try_lock(descriptor: int) -> bool:
    """Lock an open file, unless another process holds it; return whether it is locked.

    Raises:
        OSError: This system, or the file system, has no locks.
    """
    try:
        import fcntl
    except ImportError:
        raise OSError(errno.ENOTSUP, 'no locks on this system') from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
