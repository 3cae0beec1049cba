"""Files that training passes over, since they cannot be read or have changed."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mmcv.transforms import LoadAnnotations, LoadImageFromFile
from mmseg.datasets.transforms import LoadAnnotations as LoadLabels

from mmsegmentation.datasets.transforms.load_decoded import LoadDecoded

State = tuple[int, int] | None
# Where the list stands in the work folder.
LIST = 'quarantine.jsonl'
LOADS = LoadAnnotations, LoadDecoded, LoadImageFromFile


class TooManyError(RuntimeError):
    """More files are held than a run may lack."""


class Quarantine:
    """The list of files that are passed over, which all processes of a run write.

    Args:
        path: The list: one JSON object a line, appended.
        limit: How many files may be held before ``hold`` raises.
    """

    def __init__(self, path: Path, limit: int = 0) -> None:
        self.path, self.limit = path, limit
        self.held: set[str] = set()

    def hold(self, path: str, reason: str) -> None:
        """Add a file to the list.

        Raises:
            TooManyError: There are more than ``limit`` now.
        """
        if path in self.held:
            return
        self.held.add(path)
        line = json.dumps({'file': path, 'reason': reason, 'state': state_of(path)})
        # In one piece: other processes append, too.
        with self.path.open('ab', buffering=0) as file:
            file.write(f'{line}\n'.encode())
        if len(self.held) > self.limit:
            raise TooManyError(f'{len(self.held)} files cannot be read')

    def read(self) -> dict[str, dict[str, Any]]:
        """Return what stands in the list, by file; a torn line is passed over."""
        found: dict[str, dict[str, Any]] = {}
        text = self.path.read_text('utf-8') if self.path.is_file() else ''
        for line in text.splitlines():
            try:
                entry = json.loads(line)
                found.setdefault(str(entry['file']), entry)
            except (ValueError, LookupError, TypeError):
                continue
        return found


class GuardedLoad:
    """A loading step that gives None for a file which is held, or has to be.

    MMEngine's data sets then draw another of their images. Within the chance of a
    sample, as ``SeededMixDataset`` has it, this one follows from seed, pass and index.

    Args:
        load: The step.
        known: Size and time of modification of each file as they were at the start.
        quarantine: Takes what cannot be read.
    """

    def __init__(
        self,
        load: Callable[[dict], dict | None],
        known: dict[str, State],
        quarantine: Quarantine,
    ) -> None:
        self.load, self.known, self.quarantine = load, known, quarantine

    def __call__(self, results: dict) -> dict | None:
        """Load, or hold the file and give None.

        Raises:
            TooManyError: Too many files are held.
        """
        if results.get('decoded') is not None:  # out of the cache, not of a file
            return self.load(results)
        paths = self._paths(results)
        for path in paths:
            if path in self.quarantine.held:
                return None
            now = state_of(path)
            if path in self.known and now != self.known[path]:
                self.quarantine.hold(path, 'gone' if now is None else 'has changed')
                return None
        try:
            loaded = self.load(results)
        except MemoryError:
            raise
        except Exception as error:  # decoders raise anything
            path = self._culprit(paths, str(error))
            self.quarantine.hold(path, f'{type(error).__name__}: {error}'[:300])
            return None
        if loaded is None:  # LoadImageFromFile(ignore_empty=True) hides it
            self.quarantine.hold(paths[0], 'cannot be loaded')
        return loaded

    def __repr__(self) -> str:
        return repr(self.load)

    def _paths(self, results: dict) -> list[str]:
        keys = ['img_path', 'seg_map_path']
        if isinstance(self.load, LoadImageFromFile):
            keys = keys[:1]
        elif isinstance(self.load, LoadAnnotations):
            keys = keys[1:]
        return [str(results[key]) for key in keys if key in results] or ['?']

    def _culprit(self, paths: list[str], message: str) -> str:
        return next((path for path in paths if path in message), paths[0])


def guard(leaf: Any, known: dict[str, State], quarantine: Quarantine) -> None:
    """Guard the loading steps of a data set."""
    for number, step in enumerate(_steps(leaf)):
        if isinstance(step, LOADS):
            leaf.pipeline.transforms[number] = GuardedLoad(step, known, quarantine)


def reads_plain_images(leaf: Any) -> bool:
    """Tell whether a data set reads its images as OpenCV does, in colour."""
    return any(
        type(step) in (LoadDecoded, LoadImageFromFile)
        and getattr(step, 'color_type', 'color') == 'color'
        and getattr(step, 'imdecode_backend', 'cv2') == 'cv2'
        for step in _steps(leaf)
    )


def reads_plain_masks(leaf: Any) -> bool:
    """Tell whether the ids of masks are those of the files, as MMSegmentation has it.

    Another project's step may change them.
    """
    steps = _steps(leaf)
    known = 'mmcv.', 'mmseg.', 'mmsegmentation.'
    return any(type(step) in (LoadDecoded, LoadLabels) for step in steps) and all(
        type(step).__module__.startswith(known) for step in steps
    )


def _steps(leaf: Any) -> list[Any]:
    steps = getattr(getattr(leaf, 'pipeline', None), 'transforms', [])
    return [step.load if isinstance(step, GuardedLoad) else step for step in steps]


def state_of(path: str) -> State:
    """Return size and time of modification in nanoseconds; None if there is none."""
    try:
        stat = os.stat(path)  # noqa: PTH116 at each load
    except OSError:
        return None
    return stat.st_size, stat.st_mtime_ns
