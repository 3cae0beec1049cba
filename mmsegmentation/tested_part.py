"""The images that a model is tested on, from a data root or from a config."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmsegmentation.command import InputError
from mmsegmentation.config import type_name
from mmsegmentation.early import is_local, is_ours
from mmsegmentation.fold_config import leaves_of, of_fold
from mmsegmentation.folds import ROLES, Fold

if TYPE_CHECKING:
    from mmengine.config import Config

# Data loaders of the parts, for data that have another layout than a data root.
LOADERS = {
    'train': 'train_dataloader',
    'valid': 'val_dataloader',
    'test': 'test_dataloader',
}


@dataclass(frozen=True)
class Part:
    """The images that are tested.

    Attributes:
        images: The folders of the images.
        labelled: Whether all the images have labels.
    """

    images: tuple[Path, ...]
    labelled: bool


def choose_part(
    cfg: 'Config', split: str, fold: Fold | None = None, *, tta: bool = False
) -> Part:
    """Point the test loader of ``cfg`` at a part of the data.

    In a data root the part is the folder with its name. For other data it is the data
    set of its data loader, such as ``val_dataloader``. If there are no labels, the
    pipeline steps that load them are removed.

    Args:
        cfg: The config. Its ``test_dataloader`` is changed.
        split: ``'train'``, ``'valid'`` or ``'test'``.
        fold: With a fold, the part is the images that it trains or validates on. They
            may lie in other folders.
        tta: Use the ``tta_pipeline``.

    Returns:
        The image folders, and whether all images have labels.

    Raises:
        InputError: The config has no such part.
    """
    dataset = cfg.test_dataloader.get('dataset') or {}
    in_root = _is_in_data_root(dataset, split)
    if in_root:
        folder = next(iter(fold.lists(split))) if fold and split in ROLES else split
        leaves = [_of_data_root(dataset, folder)]
    else:
        leaves = _of_loader(cfg, split)
    for leaf in leaves:
        if tta:
            leaf['pipeline'] = deepcopy(cfg.tta_pipeline)
        if not _is_labelled(leaf):
            leaf['pipeline'] = _without_labels([leaf['pipeline']])[0]
    cfg.test_dataloader.dataset = _join(leaves)
    labelled = all(map(_is_labelled, leaves))
    if not (in_root and fold and split in ROLES):
        return Part(tuple(map(_image_folder, leaves)), labelled)
    root = Path(leaves[0]['data_root'])
    cfg.test_dataloader.dataset = of_fold(
        leaves[0], root, fold, split, 'test_dataloader'
    )
    folders = [root / name for name in fold.lists(split)]
    labelled = all((folder / 'mask').is_dir() for folder in folders)
    return Part(tuple(folder / 'images' for folder in folders), labelled)


def _is_in_data_root(dataset: dict, split: str) -> bool:
    root = dataset.get('data_root')
    if not root:
        return False
    return is_ours(dataset) or (Path(root) / split / 'images').is_dir()


def _of_data_root(dataset: dict, folder: str) -> Any:
    prefix = {'img_path': f'{folder}/images'}
    if (Path(dataset['data_root']) / folder / 'mask').is_dir():
        prefix['seg_map_path'] = f'{folder}/mask'
    dataset['data_prefix'] = prefix
    return dataset


def _of_loader(cfg: 'Config', split: str) -> list[Any]:
    """Return the data sets of the loader of a part, without their wrappers."""
    key = LOADERS[split]
    dataset = (cfg.get(key) or {}).get('dataset')
    if not dataset:
        others = [name for name, other in LOADERS.items() if cfg.get(other)]
        raise InputError(
            key,
            f'is not set, so the images of {split} are unknown',
            f'pass --split {others[-1]}',
        )
    leaves = [deepcopy(leaf) for leaf in leaves_of(dataset)]
    for leaf in leaves:
        if not (leaf.get('data_root') or (leaf.get('data_prefix') or {})):
            raise InputError(
                key,
                'its data set has no data_root to choose a part of',
                'name one RecycleDataset, as _base_/datasets/recycle.py does',
            )
        if split == 'train':  # the training pipeline changes images at random
            leaf['pipeline'] = deepcopy(_test_pipeline(cfg))
    return leaves


def _test_pipeline(cfg: 'Config') -> Any:
    return next(leaves_of(cfg.test_dataloader.dataset))['pipeline']


def _is_labelled(leaf: dict) -> bool:
    folder = (leaf.get('data_prefix') or {}).get('seg_map_path')
    if folder is None:
        return False
    return not is_local(leaf) or Path(leaf['data_root'], folder).is_dir()


def _image_folder(leaf: dict) -> Path:
    prefix = (leaf.get('data_prefix') or {}).get('img_path') or ''
    return Path(leaf.get('data_root') or '', prefix)


def _join(leaves: list[Any]) -> Any:
    if len(leaves) == 1:
        return leaves[0]
    return type(leaves[0])(type='ConcatDataset', datasets=leaves)


def _without_labels(groups: Sequence[Sequence[Any]]) -> list[list]:
    # TestTimeAug does not accept an empty group of alternatives.
    kept = [[s for s in group if type_name(s) != 'LoadAnnotations'] for group in groups]
    for step in (step for group in kept for step in group if 'transforms' in step):
        step['transforms'] = _without_labels(step['transforms'])
    return [group for group in kept if group]
