"""Folds: the images that a run trains on, and those that it is measured on.

``utils/split.py`` writes them into the data root, the data themselves stay as they are:
``folds.json`` names the fold of each image, and a text file for each fold, role and
part of the data root lists image ids as data sets take them (``ann_file``).
``folds/fold0/valid/train.txt`` names those images of the part ``train`` that fold 0 is
validated on; the run trains on all others.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmsegmentation.command import InputError
from mmsegmentation.files import check_image_id, read_json, sha256_of, write_json

MARKER = 'folds.json'
ROLES = 'train', 'valid'


@dataclass(frozen=True)
class Folds:
    """An opened folder of folds.

    Attributes:
        folder: Where it stands.
        count: How many folds there are.
        images: The fold of each image, by part and image id.
        sha256: Of ``folds.json``.
    """

    folder: Path
    count: int
    images: Mapping[str, Mapping[str, int]]
    sha256: str

    def image_ids(self, fold: int, role: str, part: str) -> list[str]:
        """Return the images of a part that a fold trains on, or is validated on."""
        return [
            image_id
            for image_id, own in self.images[part].items()
            if (own == fold) == (role == 'valid')
        ]

    def list_path(self, fold: int, role: str, part: str) -> Path:
        """Return where the list of these images stands."""
        return self.folder / f'fold{fold}' / role / f'{part}.txt'

    def check(self, fold: object) -> 'Fold':
        """Return the fold of a number, if its lists are as they were written.

        Raises:
            InputError: There is no such fold, or a list was changed or removed.
        """
        if isinstance(fold, bool) or not isinstance(fold, int):
            raise InputError('fold', f'is {fold!r}', 'give a number, 0 for the first')
        if not 0 <= fold < self.count:
            raise InputError(
                f'fold {fold}',
                f'{self.folder} has {self.count} folds',
                f'name one of 0 to {self.count - 1}',
            )
        for role in ROLES:
            for part in self.images:
                if ids := self.image_ids(fold, role, part):
                    _check_list(self.list_path(fold, role, part), ids)
        return Fold(self, fold)


@dataclass(frozen=True)
class Fold:
    """One of the folds: it is left out of training, and validated on.

    Attributes:
        folds: All of them.
        number: Which it is, from 0 on.
    """

    folds: Folds
    number: int

    @property
    def record(self) -> dict[str, Any]:
        """What checkpoints and predictions say about it."""
        return {
            'fold': self.number,
            'folds': self.folds.count,
            'folds_sha256': self.folds.sha256,
            'parts': [*self.folds.images],
        }

    def image_ids(self, role: str) -> list[str]:
        """Return the images that are trained on, or validated on, of all parts."""
        return [
            image_id
            for part in self.folds.images
            for image_id in self.folds.image_ids(self.number, role, part)
        ]

    def lists(self, role: str) -> dict[str, Path]:
        """Return the list of these images in each part that has some."""
        return {
            part: self.folds.list_path(self.number, role, part)
            for part in self.folds.images
            if self.folds.image_ids(self.number, role, part)
        }


def _check_list(path: Path, image_ids: list[str]) -> None:
    try:
        lines = path.read_text('utf-8').splitlines()
    except (OSError, ValueError):
        lines = []
    if lines != image_ids:
        raise InputError(
            path,
            f'does not list the images that {MARKER} names',
            'run utils/split.py again with --overwrite',
        )


def open_folds(folder: Path) -> Folds:
    """Open what ``utils/split.py`` wrote.

    Raises:
        InputError: ``folder`` holds no folds, or they are damaged.
    """
    path = folder / MARKER
    if not path.is_file():
        raise InputError(
            folder, f'holds no folds (no {MARKER})', 'run utils/split.py first'
        )
    content = read_json(path)
    try:
        count = int(content['count'])
        images = {
            str(part): {check_image_id(i): int(fold) for i, fold in folds.items()}
            for part, folds in content['images'].items()
        }
        if set().union(*(part.values() for part in images.values())) != {*range(count)}:
            raise ValueError('images are not in all of its folds')
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            path, f'damaged ({error!r})', 'run utils/split.py again with --overwrite'
        ) from None
    return Folds(folder, count, images, sha256_of(path))


def write_folds(
    folder: Path,
    count: int,
    images: Mapping[str, Mapping[str, int]],
    more: Mapping[str, Any],
) -> None:
    """Write ``folds.json`` and the lists of image ids.

    Args:
        folder: Where to; it is there, and empty.
        count: How many folds there are.
        images: The fold of each image, by part and image id.
        more: What else ``folds.json`` should say.
    """
    write_json(folder / MARKER, {'count': count, **more, 'images': images})
    folds = Folds(folder, count, images, '')
    for fold in range(count):
        for role in ROLES:
            for part in images:
                if ids := folds.image_ids(fold, role, part):
                    path = folds.list_path(fold, role, part)
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_text('\n'.join(ids) + '\n', encoding='utf-8')
