"""Images that must lie in one fold: look-alikes, folders, groups out of a file."""

import csv
from collections.abc import Hashable, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from mmsegmentation.command import InputError

HEADER = ['image_id', 'group']


def join_groups(count: int, pairs: np.ndarray) -> np.ndarray:
    """Return the group of each of ``count`` images, (count,) int, from 0 on.

    Args:
        pairs: Images that belong together, (pairs, 2); so do those of a chain of pairs.

    >>> join_groups(5, np.array([[0, 3], [3, 4]])).tolist()
    [0, 1, 2, 0, 0]
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    links = np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])
    graph = coo_array(links, shape=(count, count))
    return connected_components(graph, directed=False)[1]


def same_label(labels: Sequence[Hashable | None]) -> np.ndarray:
    """Return pairs of the images that share a label, (pairs, 2) int64.

    None is no label.

    >>> same_label(['a', None, 'b', 'a', None]).tolist()
    [[0, 3]]
    """
    first: dict[Hashable, int] = {}
    pairs = [
        (first.setdefault(label, number), number)
        for number, label in enumerate(labels)
        if label is not None
    ]
    pairs = [pair for pair in pairs if pair[0] != pair[1]]
    return np.array(pairs, np.int64).reshape(-1, 2)


def folder_of(image_id: str) -> str | None:
    """Return the folder in an image's id, None where it has none.

    >>> folder_of('batch_01_vt/0002.jpg')
    'batch_01_vt'
    """
    parent = PurePosixPath(image_id).parent
    return None if parent == PurePosixPath() else str(parent)


def read_groups(path: Path, image_ids: Sequence[str]) -> list[str | None]:
    """Return the group that a file names for each image, None for one not in it.

    Args:
        path: CSV, ``image_id,group`` a line; that line itself may be the first.

    Raises:
        InputError: The file is missing or no such CSV, or names an image twice or one
            that is not among ``image_ids``.
    """
    known = set(image_ids)
    groups: dict[str, str] = {}
    try:
        with path.open(encoding='utf-8-sig', newline='') as file:
            rows = [row for row in csv.reader(file) if row]
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(path, 'no such file', 'check the path') from None
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(path, f'not readable as CSV ({error})', 'repair it') from None
    for number, row in enumerate(rows):
        if number == 0 and row == HEADER:
            continue
        if len(row) != 2:
            raise InputError(
                path,
                f'row {number + 1} has {len(row)} fields',
                'write image_id,group; an id with a comma in quotes',
            )
        image_id, group = row
        if number == 0 and image_id not in known:
            raise InputError(
                path,
                f'begins with {",".join(row)!r}, which is neither {",".join(HEADER)!r} '
                'nor an image that is split',
                f'head it {",".join(HEADER)}, or correct it, or --parts',
            )
        if image_id not in known:
            raise InputError(
                path,
                f'names {image_id!r}, which is in no part that is split',
                'correct the file, or --parts',
            )
        if image_id in groups:
            raise InputError(path, f'names {image_id!r} twice', 'name it once')
        groups[image_id] = group
    return [groups.get(image_id) for image_id in image_ids]
