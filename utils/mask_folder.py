"""Masks by image id, from a prediction folder or a plain folder of PNG files."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from mmsegmentation.classes import IGNORE_INDEX
from mmsegmentation.command import InputError
from mmsegmentation.files import list_images, mask_name, read_mask, require_folder
from mmsegmentation.parts import is_pseudo
from mmsegmentation.predictions import MARKER, open_predictions


def open_masks(
    folder: Path, num_classes: int, option: str = '--num-classes'
) -> tuple[list[str], Callable[[str], np.ndarray]]:
    """Return the image ids of a folder of masks, and what reads one of them.

    A prediction folder names its images; in a plain folder the id is the mask's own
    path with ``.jpg``.

    Args:
        num_classes: Ids in a plain folder are below it.
        option: What the command's user sets it by.

    Raises:
        InputError: There is no mask, one ends in .PNG, which would not be found by the
            image id, or the folder is a prediction folder in part, or a data root or
            one of its parts.
    """
    require_folder(folder)
    if (folder / MARKER).is_file():
        predictions = open_predictions(folder)
        return list(predictions.image_ids), predictions.mask
    if (folder / 'masks').is_dir():
        raise InputError(
            folder,
            f'has masks/ but no {MARKER}',
            'predict again, or name its masks/',
        )
    if held := _masks_below(folder):
        raise InputError(
            folder,
            'is a data root, or a part of one, and no folder of masks',
            f'name predictions, or a folder of masks such as {held}',
        )
    names = [name for name in list_images(folder) if name.lower().endswith('.png')]
    for name in names:
        if not name.endswith('.png'):
            raise InputError(folder / name, 'does not end in .png', 'rename it')
    if not names:
        raise InputError(folder, 'holds no PNG mask', 'check the path')
    read = MaskFolder(folder, num_classes, option=option)
    return [f'{name[:-4]}.jpg' for name in names], read


def _masks_below(folder: Path) -> Path | None:
    """Return a folder of true masks, if ``folder`` is a data root or one of its parts.

    Below it, masks would be named after the part: train/mask/1.jpg.
    """
    parts = [folder, *(path for path in folder.iterdir() if path.is_dir())]
    held = [part for part in parts if (part / 'images').is_dir()]
    masks = [part / 'mask' for part in held if (part / 'mask').is_dir()]
    return min(
        masks, key=lambda mask: (is_pseudo(mask.parent.name), mask), default=None
    )


class MaskFolder:
    """Reads masks of a plain folder by image id, refusing ids of no class.

    Args:
        folder: Where they stand.
        num_classes: Ids are below it.
        ignore: 255 is an id too.
        option: What the command's user sets the number of classes by.
    """

    def __init__(
        self,
        folder: Path,
        num_classes: int,
        *,
        ignore: bool = False,
        option: str = '--num-classes',
    ) -> None:
        self.folder = folder
        self.num_classes = num_classes
        self.ignore = ignore
        self.option = option

    def __call__(self, image_id: str) -> np.ndarray:
        """Return class ids, (H, W) uint8.

        Raises:
            InputError: The mask is missing, unreadable, or has an unknown id.
        """
        path = self.folder / mask_name(image_id)
        label_map = read_mask(path)
        others = label_map[label_map >= self.num_classes]
        if self.ignore:
            others = others[others != IGNORE_INDEX]
        if others.size:
            raise InputError(
                path,
                f'holds class id {others[0]}, but there are only '
                f'{self.num_classes} classes',
                f'repair the mask, or pass {self.option}',
            )
        return label_map
