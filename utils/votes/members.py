"""The members of a vote: prediction folders, or plain folders of PNG masks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmsegmentation.classes import CLASSES, IGNORE_INDEX
from mmsegmentation.command import InputError
from mmsegmentation.files import mask_name, require_folder
from mmsegmentation.predictions import MARKER, Predictions, open_predictions
from utils.class_table import read_names
from utils.join import check_places
from utils.mask_folder import MaskFolder, open_masks


@dataclass(frozen=True)
class Member:
    """What one model said; light, so that it travels to other processes.

    Attributes:
        folder: As the user named it.
        place: The same folder, absolute.
        classes: Class names, in the order of their ids.
        plain: It is a plain folder of masks.
    """

    folder: Path
    place: Path
    classes: tuple[str, ...]
    plain: bool

    def mask(self, image_id: str) -> np.ndarray:
        """Return class ids, (H, W) uint8.

        Raises:
            InputError: The mask is missing, unreadable, or has an unknown id.
        """
        if self.plain:
            count = len(self.classes)
            return MaskFolder(self.place, count, option='--classes')(image_id)
        return self._predictions.mask(image_id)

    def confidence(self, image_id: str) -> np.ndarray:
        """Return 255 x the winner's probability, (H, W) uint8.

        Raises:
            InputError: The file is missing or unreadable.
        """
        return self._predictions.confidence(image_id)

    def probs(self, image_id: str) -> np.ndarray:
        """Return 255 x the probability of each class, (classes, h, w) uint8.

        Raises:
            InputError: The file is missing or unreadable.
        """
        probs = self._predictions.probs(image_id)
        if probs is None:
            path = self.place / 'probs' / mask_name(image_id)
            raise InputError(
                path.with_suffix('.npy'), 'no such file', 'predict with --probs'
            )
        return probs

    def has(self, kind: str) -> bool:
        """Return whether it keeps ``confidence`` or ``probs``."""
        return not self.plain and (self.place / kind).is_dir()

    @property
    def _predictions(self) -> Predictions:
        return Predictions(self.place, self.classes, (), {})


@dataclass(frozen=True)
class Voters:
    """Members that hold the same images and classes.

    Attributes:
        members: In the order in which they were named.
        origins: What each one's ``predictions.json`` says; nothing of a plain folder.
        image_ids: The images, as the first prediction folder names them.
    """

    members: tuple[Member, ...]
    origins: tuple[Mapping[str, Any], ...]
    image_ids: tuple[str, ...]

    @property
    def classes(self) -> tuple[str, ...]:
        """Return class names, in the order of their ids."""
        return self.members[0].classes

    def choose(self, indices: Sequence[int]) -> 'Voters':
        """Return some of the members, in this order."""
        return Voters(
            tuple(self.members[i] for i in indices),
            tuple(self.origins[i] for i in indices),
            self.image_ids,
        )

    def all_have(self, kind: str) -> bool:
        """Return whether each member keeps ``confidence`` or ``probs``."""
        return all(member.has(kind) for member in self.members)

    def require(self, kind: str, thing: str) -> None:
        """Refuse members without ``confidence`` or ``probs``.

        Args:
            thing: What needs it.

        Raises:
            InputError: One has none.
        """
        for member in self.members:
            if not member.has(kind):
                option = ' --probs' if kind == 'probs' else ''
                raise InputError(
                    member.folder,
                    f'has no {kind}/, which {thing} needs',
                    f'predict with tools/test.py{option}, or vote otherwise',
                )


def open_voters(
    folders: Sequence[Path], classes: Path | None, *, least: int = 2
) -> Voters:
    """Open the members of a vote.

    Args:
        classes: File of class names, for plain folders; without it, their ids are those
            of the first prediction folder, or of the recycling table.
        least: How many there must be.

    Raises:
        InputError: There are fewer, one comes twice or cannot be read, or classes or
            images differ.
    """
    if len(folders) < least:
        raise InputError('PRED', 'one folder is no vote', 'name two or more')
    opened = [
        open_predictions(folder) if (folder / MARKER).is_file() else None
        for folder in folders
    ]
    first = next(filter(None, opened), None)
    names = _class_names(classes, first)
    source = classes or (first.folder if first else None)
    if not 1 <= len(names) <= IGNORE_INDEX:
        what = f'names {len(names)} classes, a vote has 1 to {IGNORE_INDEX}'
        raise InputError(source, what, f'{IGNORE_INDEX} stands for no class')
    members, images = [], []
    for folder, predictions in zip(folders, opened, strict=True):
        if predictions is None:
            ids = open_masks(folder, len(names), '--classes')[0]
        else:
            _check_classes(predictions, names, source)
            ids = list(predictions.image_ids)
        members.append(Member(folder, folder.resolve(), names, predictions is None))
        images.append(ids)
    main = opened.index(first) if first else 0
    if not images[main]:
        raise InputError(folders[main], 'holds no image', 'predict again')
    for folder, ids in zip(folders, images, strict=True):
        _check_alike(folders[main], images[main], folder, ids)
    origins = tuple({} if p is None else p.origin for p in opened)
    return Voters(tuple(members), origins, tuple(images[main]))


def check_folders(folders: Sequence[Path], out: Path) -> None:
    """Refuse a folder that is not there, comes twice, or would be replaced.

    Raises:
        InputError: There is such a folder.
    """
    for folder in folders:
        require_folder(folder)
    check_places(folders, out)


def _class_names(path: Path | None, first: Predictions | None) -> tuple[str, ...]:
    if path is not None:
        return tuple(read_names(path))
    return first.classes if first else CLASSES


def _check_classes(
    predictions: Predictions, names: Sequence[str], source: Path | None
) -> None:
    if predictions.classes != names:
        raise InputError(
            predictions.folder,
            f'its classes differ from those of {source}',
            'predict all with one class table',
        )


def _check_alike(
    one: Path, one_ids: Sequence[str], two: Path, two_ids: Sequence[str]
) -> None:
    first = {mask_name(image_id): image_id for image_id in one_ids}
    second = {mask_name(image_id): image_id for image_id in two_ids}
    for held, folder, others, other in (
        (first, one, second, two),
        (second, two, first, one),
    ):
        if left := sorted(held[name] for name in held.keys() - others.keys()):
            raise InputError(
                repr(left[0]),
                f'is in {folder} but not in {other}',
                'predict the same images with each model',
            )
