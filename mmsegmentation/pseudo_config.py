"""Pseudo labels in configs: which part is trained on, and who made its labels."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmsegmentation.command import InputError
from mmsegmentation.files import read_json, sha256_of
from mmsegmentation.fold_config import leaves_of, pseudo_part_of
from mmsegmentation.folds import Fold
from mmsegmentation.parts import PSEUDO_MARKER, check_pseudo_part

if TYPE_CHECKING:
    from mmengine.config import Config

Record = dict[str, Any]


def use_pseudo_part(cfg: 'Config', name: str | None) -> None:
    """Have ``cfg`` train on pseudo labels of another part of its data root.

    Args:
        name: The part, as ``pseudo_fold0``; where not given, the ``pseudo_part`` of
            ``cfg``, or else what its data sets name.

    Raises:
        InputError: It is no part for pseudo labels, or ``cfg`` trains on none.
    """
    name = name or cfg.get('pseudo_part')
    if not name:
        return
    check_pseudo_part(str(name), 'pseudo part')
    sets = pseudo_sets(cfg)
    if not sets:
        raise InputError(
            f'pseudo part {name}',
            'the config trains on no pseudo labels',
            'leave it out, or name a config of configs/pseudo',
        )
    for leaf in sets:
        prefix = leaf['data_prefix']
        for key, folder in list(prefix.items()):
            if folder:
                prefix[key] = str(Path(name, *Path(folder).parts[1:]))
    cfg.pseudo_part = name


def pseudo_sets(cfg: 'Config') -> list[dict]:
    """Return the configs of the data sets of pseudo labels that ``cfg`` trains on."""
    dataset = (cfg.get('train_dataloader') or {}).get('dataset') or {}
    return [leaf for leaf in leaves_of(dataset) if pseudo_part_of(leaf)]


def pseudo_records(cfg: 'Config', fold: Fold | None) -> list[Record]:
    """Return what is to be remembered of the pseudo labels that ``cfg`` trains on.

    Args:
        fold: What the run leaves out, if it is of a fold.

    Returns:
        ``part``, ``round``, and ``sha256`` of ``pseudo.json``, once for each part that
        has such a file.

    Raises:
        InputError: The labels were made by a model that may know images which the run
            is measured on, or nothing says by whom.
    """
    records: list[Record] = []
    for leaf in pseudo_sets(cfg):
        name = str(pseudo_part_of(leaf))
        folder = Path(leaf.get('data_root') or '', name)
        path = folder / PSEUDO_MARKER
        if path.is_file():
            content = read_json(path)
            _check_maker(content, path, fold)
            record = {
                'part': name,
                'round': content.get('round'),
                'sha256': sha256_of(path),
            }
            records += [record] if record not in records else []
        elif fold and folder.is_dir():
            raise InputError(
                folder,
                f'no {PSEUDO_MARKER} says which model made its labels: it may know '
                f'images of fold {fold.number}',
                'make them with utils/pseudo_label.py',
            )
    return records


def _check_maker(content: Any, path: Path, fold: Fold | None) -> None:
    folds = content.get('folds') if isinstance(content, dict) else None
    if not isinstance(folds, list):
        raise InputError(path, 'damaged: names no folds', 'make the labels again')
    if fold and folds != [fold.record]:
        raise InputError(
            path,
            f'its labels were not made by a model of fold {fold.number} alone: it may '
            'know images of that fold',
            'predict with tools/test.py --fold '
            f'{fold.number} --split test, and label these with --part',
        )
    known = [f for f in folds if isinstance(f, dict) and _knows_valid(f)]
    if known and not fold:
        raise InputError(
            path,
            'its labels were made by a model of a fold, which may know images of valid',
            f'pass --fold {known[0].get("fold")}, or label with a model of no fold',
        )


def _knows_valid(fold: Mapping[str, Any]) -> bool:
    parts = fold.get('parts')
    return isinstance(parts, list) and 'valid' in parts


def noted_pseudo(content: Mapping[str, Any]) -> list[Record]:
    """Return what a checkpoint says of pseudo labels that it was trained on."""
    meta = content.get('meta')
    noted = meta.get('pseudo') if isinstance(meta, dict) else None
    if not isinstance(noted, list):
        return []
    return [dict(record) for record in noted if isinstance(record, dict)]


def join_records(
    content: Mapping[str, Any], records: list[Record], path: str, resumed: bool
) -> list[Record]:
    """Return all pseudo labels that a run's model has learnt from, earliest first.

    Args:
        content: The checkpoint that the run starts from; empty if there is none.
        records: Of the run's own pseudo labels.
        path: Of the checkpoint.
        resumed: Whether the run goes on, rather than begins, there.

    Raises:
        InputError: A run would go on with other labels than it began with.
    """
    noted = noted_pseudo(content)
    new = [record for record in records if record not in noted]
    if resumed and new:
        raise InputError(
            path,
            f'was not trained on the pseudo labels that are now in {new[0]["part"]}',
            'name the part that it was trained on, or start a new run',
        )
    return noted + new
