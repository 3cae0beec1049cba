"""Configs of one fold: the data sets of a config are given the images of the fold."""

from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmsegmentation.command import InputError
from mmsegmentation.folds import Fold, Folds, open_folds
from mmsegmentation.parts import PSEUDO, is_pseudo

if TYPE_CHECKING:
    from mmengine.config import Config

LOADERS = {'train_dataloader': 'train', 'val_dataloader': 'valid'}
# What says where a data set lies, and nothing of how it is loaded.
PLACES = 'data_root', 'data_prefix', 'ann_file'


def use_fold(cfg: 'Config', number: int | None, folder: str | None) -> Fold | None:
    """Have ``cfg`` train on all folds but one, and be validated on that one.

    The data sets of its data root, whatever their parts, are replaced by those of the
    fold; wrappers, pipelines, pseudo labels and other data sets stay. Without a number
    it does so where ``cfg`` has a ``fold``.

    Args:
        number: Of the fold, from 0 on.
        folder: The folds; where not given, the ``folds`` of ``cfg``, within the data
            root, else ``folds`` there.

    Returns:
        The fold, or None where none is named.

    Raises:
        InputError: There are no folds, or none of this number, or a data set cannot
            be replaced, or holds the images of the data root among others.
    """
    number = cfg.get('fold') if number is None else number
    if number is None:
        if folder or cfg.get('folds'):
            raise InputError('folds', 'no fold of them is named', 'pass --fold 0')
        return None
    root = _find_root(cfg)
    folds = open_folds(Path(folder) if folder else root / cfg.get('folds', 'folds'))
    fold = folds.check(number)
    for key, role in LOADERS.items():
        if loader := cfg.get(key):
            loader.dataset = of_fold(loader.dataset, root, fold, role, key)
    cfg.fold, cfg.folds = fold.number, str(folds.folder.absolute())
    return fold


def of_fold(dataset: dict, root: Path, fold: Fold, role: str, key: str) -> Any:
    """Return the config of a data set with the images of a fold in place of its own.

    Args:
        dataset: A data set, or wrappers around some.
        root: The data root of the folds: data sets of others stay.
        role: ``'train'`` or ``'valid'``.
        key: What to call ``dataset`` in an error.
    """
    homes = _image_folders(root)
    own = [leaf for leaf in leaves_of(dataset) if _is_of(leaf, root, homes, key)]
    if not own:
        raise InputError(
            key, f'has no data set of {root}', 'leave out --fold, or name its data_root'
        )
    for leaf in own:
        _check_replaceable(leaf, own[0], fold.folds, key)
    parts = [
        _part_of_fold(own[0], root, path, part)
        for part, path in fold.lists(role).items()
    ]
    return _as_one(_rebuild(dataset, own, parts))


def _find_root(cfg: 'Config') -> Path:
    for key in (*LOADERS, 'test_dataloader'):
        for leaf in leaves_of((cfg.get(key) or {}).get('dataset') or {}):
            if leaf.get('data_root') and not pseudo_part_of(leaf):
                return Path(leaf['data_root'])
    raise InputError(
        cfg.filename or 'config', 'no data set has a data_root', 'leave out --fold'
    )


def leaves_of(dataset: dict) -> Iterator[dict]:
    """Yield the configs of the data sets that a config joins or wraps."""
    inner = [*dataset.get('datasets', [])]
    if dataset.get('dataset'):
        inner.append(dataset['dataset'])
    for part in inner:
        yield from leaves_of(part)
    if not inner:
        yield dataset


def _prefix(leaf: dict) -> str:
    # MMSegmentation's data sets may have None here.
    return (leaf.get('data_prefix') or {}).get('img_path') or ''


def pseudo_part_of(leaf: dict) -> str | None:
    """Return the part of a data set's images, if their labels are a model's."""
    first = Path(_prefix(leaf)).parts[:1]
    return first[0] if first and is_pseudo(first[0]) else None


def _image_folders(root: Path) -> list[Path]:
    """Return where images of a data root may really lie: its parts may be links."""
    return [root.resolve(), *(path.resolve() for path in root.glob('*/images'))]


def _is_of(leaf: dict, root: Path, homes: list[Path], key: str) -> bool:
    """Return whether a data set's images are of the data root, however it is spelt.

    Raises:
        InputError: Only some of them are.
    """
    prefix = _prefix(leaf)
    if not (leaf.get('data_root') or prefix):
        return False
    folder = Path(leaf.get('data_root') or '', prefix).resolve()
    if _holds_pseudo(root, folder):
        return False
    if any(folder.is_relative_to(home) for home in homes):
        return True
    if any(home.is_relative_to(folder) for home in homes):
        raise InputError(
            key,
            f'its data set of {folder} holds images of {root} among others',
            'name a folder beside the data root',
        )
    return False


def _holds_pseudo(root: Path, folder: Path) -> bool:
    """Return whether a folder is of a part with a model's labels; parts may be links.

    Args:
        folder: Resolved.
    """
    home = root.resolve()
    inside = folder.relative_to(home) if folder.is_relative_to(home) else Path()
    if any(map(is_pseudo, inside.parts[:1])):
        return True
    parts = (path for path in root.glob(f'{PSEUDO}*') if is_pseudo(path.name))
    return any(folder.is_relative_to(path.resolve()) for path in parts)


def _check_replaceable(leaf: dict, first: dict, folds: Folds, key: str) -> None:
    listed = leaf.get('ann_file')
    if listed and folds.folder.resolve() not in _resolve(leaf, listed).parents:
        raise InputError(
            key,
            f'its data set has images of its own, {listed}',
            'leave out --fold or ann_file',
        )

    def settings(of: dict) -> dict:
        return {k: v for k, v in of.items() if k not in PLACES}

    if settings(leaf) != settings(first):
        raise InputError(
            key,
            'its parts of the data root are loaded in different ways',
            'leave out --fold, or give them one pipeline',
        )


def _resolve(leaf: dict, listed: str) -> Path:
    return Path(leaf.get('data_root') or '', listed).resolve()


def _part_of_fold(leaf: dict, root: Path, listed: Path, part: str) -> dict:
    new = deepcopy(leaf)
    new['data_root'] = str(root)
    new['data_prefix'] = type(leaf)(
        new.get('data_prefix') or {},
        img_path=f'{part}/images',
        seg_map_path=f'{part}/mask',
    )
    listed, root = listed.absolute(), root.absolute()
    inside = listed.is_relative_to(root)
    new['ann_file'] = str(listed.relative_to(root) if inside else listed)
    return new


def _rebuild(dataset: dict, own: list[dict], parts: list[dict]) -> list[dict]:
    """Return ``dataset`` with ``parts`` for the first of ``own``, and no more of it."""
    if dataset is own[0]:
        return parts
    if any(dataset is leaf for leaf in own):
        return []
    new = type(dataset)(dataset)
    if dataset.get('datasets'):
        pieces = [_rebuild(d, own, parts) for d in dataset['datasets']]
        if dataset.get('ratio'):
            pieces = _one_each(pieces)
        new['datasets'] = [part for piece in pieces for part in piece]
        return [new] if new['datasets'] else []
    if dataset.get('dataset'):
        inner = _rebuild(dataset['dataset'], own, parts)
        if inner:
            new['dataset'] = _as_one(inner)
        return [new] if inner else []
    return [dataset]


def _one_each(pieces: list[list[dict]]) -> list[list[dict]]:
    """Join what replaces each data set, so that the ratio of them keeps its meaning.

    Raises:
        InputError: One is replaced by nothing: its images are in another one.
    """
    if not all(pieces):
        raise InputError(
            'ratio',
            'mixes parts of the data root, which a fold puts together',
            'join them by a ConcatDataset of their own',
        )
    return [[_as_one(piece)] for piece in pieces]


def _as_one(parts: list[dict]) -> dict:
    if len(parts) == 1:
        return parts[0]
    return type(parts[0])(type='ConcatDataset', datasets=parts)
