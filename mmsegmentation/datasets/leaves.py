"""The data sets that read files, under all wrappers."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any


def leaves_of(dataset: Any) -> Iterator[Any]:
    """Yield each data set that others join, repeat or mix; itself, if it is one."""
    inner = [*(getattr(dataset, 'datasets', None) or [])]
    if getattr(dataset, 'dataset', None) is not None:
        inner.append(dataset.dataset)
    for part in inner:
        yield from leaves_of(part)
    if not inner:
        yield dataset


def home_of(leaf: Any) -> Path | None:
    """Return the ``data_root`` of a data set, or None if it has none."""
    root = getattr(leaf, 'data_root', None)
    return Path(root) if root else None


def without_held(infos: list[dict], held: set[str]) -> list[dict]:
    """Return the samples of which no file is held."""
    keys = 'img_path', 'seg_map_path'
    if not held:
        return infos
    return [i for i in infos if not any(i.get(key) in held for key in keys)]


def infos_of(leaf: Any) -> list[dict]:
    """Return what a data set knows of its samples; none where they are no files here.

    Stock data sets may read them out of a server or an archive. Those that a run passes
    over are left out.
    """
    if not hasattr(leaf, 'get_data_info'):
        return []
    infos = [leaf.get_data_info(i) for i in range(len(leaf))]
    infos = without_held(infos, getattr(leaf, 'held', set()))
    here = infos and Path(str(infos[0].get('img_path', ''))).is_file()
    return infos if here else []
