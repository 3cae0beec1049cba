"""What is known of each file of a data set, kept until the file changes.

One JSON file holds numbers and digests by path, beside size and times of change of the
file that they are of. It is read as data, and not trusted: an entry that is no such
thing is measured anew, and so are a few that look right, by chance; if one of these
differs, all are.
"""

import hashlib
import json
import logging
import os
import random
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from mmengine.logging import print_log

from mmsegmentation.command import InputError, progress, usable_cpus
from mmsegmentation.files import write_whole

Facts = list[int | str]
Signature = tuple[int, int, int]
# Entries that are measured again although nothing says that they are wrong.
PROBES = 8
VERSION = 1
# What reading something else as a store may raise.
NO_STORE = (
    ArithmeticError,
    AttributeError,
    LookupError,
    OSError,
    RecursionError,
    TypeError,
    ValueError,
)


def signature(path: str) -> Signature:
    """Return size and times of change of a file, in bytes and nanoseconds.

    Raises:
        InputError: There is none.
    """
    try:
        stat = os.stat(path)  # noqa: PTH116 a Path for each costs more than the call
    except OSError:
        raise InputError(path, 'no such file', 'check the path') from None
    # Tools set the time of modification as they like, but not that of the inode.
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


def read_facts(
    folder: Path | None,
    kind: str,
    paths: Iterable[str],
    measure: Callable[[str], Facts],
    is_sound: Callable[[Facts], bool],
) -> dict[str, Facts]:
    """Return the facts of each file, measured where they are not known yet.

    Args:
        folder: The data root, in whose ``.cache`` they are kept; where that cannot be
            written, in the user's cache. None keeps nothing.
        kind: What is measured: the name of the file that keeps it.
        measure: Returns numbers and texts; called by several threads.
        is_sound: Tells whether what was kept can be the facts of a file.

    Raises:
        InputError: A file is missing, or ``measure`` raises it.
    """
    signatures = {path: signature(path) for path in dict.fromkeys(paths)}
    full = {path: os.path.abspath(path) for path in signatures}  # noqa: PTH100
    stores = _stores(folder, kind)
    kept = _load_all(stores, {full[path]: now for path, now in signatures.items()})
    known = {
        path: kept[full[path]][1]
        for path, now in signatures.items()
        if full[path] in kept
        and kept[full[path]][0] == now
        and is_sound(kept[full[path]][1])
    }
    probes = random.Random().sample(sorted(known), min(PROBES, len(known)))
    if any(measure(path) != known[path] for path in probes):
        print_log(f'{kind}: what was kept is wrong', 'current', logging.WARNING)
        kept, known = {}, {}
    new = [path for path in signatures if path not in known]
    if new:
        with ThreadPoolExecutor(usable_cpus()) as pool:
            measured = progress(pool.map(measure, new), f'checking {kind}', len(new))
            known.update(zip(new, measured, strict=True))
        found = {full[path]: (signatures[path], known[path]) for path in new}
        _save(stores, {**kept, **found})
    return known


def _stores(folder: Path | None, kind: str) -> list[Path]:
    if folder is None:
        return []
    root = folder.resolve()
    home = Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache')
    name = hashlib.sha256(os.fsencode(root)).hexdigest()[:16]
    return [
        root / '.cache/facts' / f'{kind}.json',
        home / 'recycle-segmentation' / f'{name}-{kind}.json',
    ]


def _load_all(
    stores: list[Path], now: dict[str, Signature]
) -> dict[str, tuple[Signature, Facts]]:
    """Return what any of the stores keeps, but for files that have changed since.

    The first one may be of a time when it could be written, or of other paths.
    """
    kept = {}
    for store in reversed(stores):
        for path, entry in _load(store).items():
            if entry[0] == now.get(path, entry[0]):
                kept[path] = entry
    return kept


def _load(store: Path) -> dict[str, tuple[Signature, Facts]]:
    try:
        content = json.loads(store.read_text(encoding='utf-8'))
        if content['version'] != VERSION:
            return {}
        return {
            str(path): ((int(size), int(mtime), int(ctime)), facts)
            for path, (size, mtime, ctime, *facts) in content['files'].items()
        }
    except NO_STORE:
        return {}


def _save(stores: list[Path], files: dict[str, tuple[Signature, Facts]]) -> None:
    content: dict[str, Any] = {
        'version': VERSION,
        'files': {path: [*sign, *facts] for path, (sign, facts) in files.items()},
    }
    for store in stores:
        # What cannot be kept is measured again the next time.
        with suppress(InputError, OSError):
            write_whole(store, json.dumps(content).encode())
            return
