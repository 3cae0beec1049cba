"""Which part of a data root holds an image: its photograph, and its true mask."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmsegmentation.classes import IGNORE_INDEX
from mmsegmentation.command import InputError
from mmsegmentation.files import mask_name, read_mask, require_folder
from mmsegmentation.folds import ROLES

# What utils/pseudo_label.py writes: labels that a model made, which are no truth, of
# photographs that are in another part. There may be more of them, as pseudo_fold0.
PSEUDO = 'pseudo'
# What says in such a part where its labels come from.
PSEUDO_MARKER = 'pseudo.json'


def is_pseudo(part: str) -> bool:
    """Return whether a part holds labels that a model made: its name says so.

    >>> [is_pseudo(name) for name in ('pseudo', 'pseudo_fold0', 'pseudonym', 'train')]
    [True, True, False, False]
    """
    return re.fullmatch(rf'{PSEUDO}([_-].*)?', part) is not None


def check_pseudo_part(name: str, thing: str) -> str:
    """Return the name of a part for labels that a model made.

    Args:
        thing: What to call the name in an error.

    Raises:
        InputError: It is none, or no name of a folder.
    """
    if not re.fullmatch(rf'{PSEUDO}([_-][\w-]+)?', name):
        raise InputError(
            f'{thing} {name}',
            'is no part for pseudo labels',
            f'name it {PSEUDO}, or {PSEUDO}_ and letters, digits or lines after that',
        )
    return name


def check_images(images: Path) -> None:
    """Refuse an image folder of a data root that is missing.

    Raises:
        InputError: It is missing. The message names the command that creates it.
    """
    if images.is_dir():
        return
    part = images.parent
    if is_pseudo(part.name):
        way_out = 'make it with utils/pseudo_label.py'
    elif part.name == 'valid' and (part.with_name('train') / 'images').is_dir():
        way_out = (
            'make folds with utils/split.py and pass --fold 0, or train without '
            'validation: --cfg-options val_dataloader=None val_cfg=None '
            'val_evaluator=None'
        )
    else:
        way_out = (
            'make the data root with utils/prepare_data.py, and name it by '
            'RECYCLE_DATA or data_root'
        )
    raise InputError(images, 'no such folder', way_out)


@dataclass(frozen=True)
class Place:
    """Where an image stands.

    Attributes:
        part: The folder of its part.
        photo: Its photograph, which is there.
        mask: Its true mask, None where it has none.
    """

    part: Path
    photo: Path
    mask: Path | None


def named_parts(
    origin: Mapping[str, Any], split: str | None = None
) -> tuple[str, ...] | None:
    """Return the parts that predictions are of, or None where nothing says so.

    Args:
        origin: What ``predictions.json`` says.
        split: The part, whatever ``origin`` says.

    >>> named_parts({'split': 'valid', 'fold': None})
    ('valid',)
    >>> named_parts({'split': 'valid', 'fold': {'fold': 0, 'parts': ['train']}})
    ('train',)
    """
    if split:
        return (split,)
    split, fold = origin.get('split'), origin.get('fold')
    if isinstance(fold, dict) and split in ROLES:
        # Of a fold, these are roles: its images lie in any part that was split.
        parts = fold.get('parts')
        return tuple(map(str, parts)) if isinstance(parts, list) else None
    return (split,) if isinstance(split, str) else None


def locate(
    root: Path, image_ids: Sequence[str], names: Sequence[str] | None
) -> dict[str, Place]:
    """Return where each predicted image stands.

    Where several parts may hold it, it is in the one that has its mask too.

    Args:
        root: The data root.
        names: The parts it may be in, as of :func:`named_parts`; None for any.

    Raises:
        InputError: An image is in no part, or in two that are alike.
    """
    require_folder(root, 'check --data-root')
    # What a command that was killed left behind begins with a dot.
    found = root.glob('[!.]*/images')
    parts = sorted(path.parent for path in found if path.is_dir())
    if not parts:
        raise InputError(root, 'holds no part with images', 'check --data-root')
    if names is None:
        parts = [part for part in parts if not is_pseudo(part.name)]
    else:
        parts = [root / name for name in names]
    return {image_id: _locate_one(root, parts, image_id) for image_id in image_ids}


def _locate_one(root: Path, parts: Sequence[Path], image_id: str) -> Place:
    places = [
        Place(part, part / 'images' / image_id, _true_mask(part, image_id))
        for part in parts
        if (part / 'images' / image_id).is_file()
    ]
    places = [place for place in places if place.mask] or places
    if not places:
        where = parts[0] / 'images' if len(parts) == 1 else f'any part of {root}'
        raise InputError(
            repr(image_id), f'is not in {where}', 'check --data-root and the part'
        )
    if len(places) > 1:
        what = 'has a mask in' if places[0].mask else 'is in'
        names = ' and '.join(place.part.name for place in places)
        raise InputError(repr(image_id), f'{what} {names}', 'rename one of the images')
    return places[0]


def _true_mask(part: Path, image_id: str) -> Path | None:
    path = part / 'mask' / mask_name(image_id)
    return path if not is_pseudo(part.name) and path.is_file() else None


def find_masks(
    root: Path, image_ids: Sequence[str], names: Sequence[str] | None
) -> dict[str, Path]:
    """Return the true mask of each predicted image; as :func:`locate`.

    Raises:
        InputError: An image has none, or stands nowhere or twice.
    """
    return {
        image_id: mask_of(place, image_id)
        for image_id, place in locate(root, image_ids, names).items()
    }


def mask_of(place: Place, image_id: str) -> Path:
    """Return the true mask of an image.

    Raises:
        InputError: It has none.
    """
    if place.mask is None:
        raise InputError(
            repr(image_id),
            f'has no mask in {place.part / "mask"}',
            'check --data-root and the part',
        )
    return place.mask


def read_truth(path: Path, num_classes: int) -> np.ndarray:
    """Return the true class ids of an image, (H, W) uint8, 255 where there is none.

    Raises:
        InputError: It is missing or damaged, or has an id outside the class table.
    """
    truth = read_mask(path)
    outside = truth[(truth >= num_classes) & (truth != IGNORE_INDEX)]
    if outside.size:
        raise InputError(
            path,
            f'holds class id {outside.max()}, but there are only {num_classes} classes',
            'check --data-root',
        )
    return truth


def check_unseen(folder: Path, origin: Mapping[str, Any]) -> None:
    """Refuse predictions of the images that their model was trained on.

    It repeats their labels, so that nothing is learnt about these.

    Args:
        folder: The predictions.
        origin: What their ``predictions.json`` says.

    Raises:
        InputError: They are of a training part, or the training images of a fold.
    """
    if origin.get('split') == 'train':
        raise InputError(
            folder,
            'is --split train, which its model was trained on',
            'train folds of utils/split.py, predict each with tools/test.py --fold K '
            '--split valid, and join them',
        )
