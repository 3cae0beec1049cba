"""The images of a data root that have labels: none of them may be pseudo-labelled."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mmsegmentation.command import InputError
from mmsegmentation.files import list_images, read_image
from mmsegmentation.folds import MARKER, open_folds
from utils.duplicates import Look, first_alike, look_at
from utils.folds.labelled import LABELLED
from utils.parallel import Workers

# Of 120 real photographs saved anew (JPEG of quality 30, WebP of 50, half the size)
# none fell below 0.994; two different ones of 531 reached 0.931.
SAVED_ANEW = 0.99


@dataclass(frozen=True)
class Photo:
    """What is known of a photograph.

    Attributes:
        look: What it is recognised by.
        size: Height and width.
    """

    look: Look
    size: tuple[int, int]


@dataclass(frozen=True)
class Labelled:
    """The images that have labels of their own.

    Attributes:
        root: The data root.
        parts: Where they are.
    """

    root: Path
    parts: tuple[str, ...]

    def part_of(self, image_id: str) -> Path | None:
        """Return the part that has an image under this name, if one has."""
        parts = [self.root / part for part in self.parts]
        return next((p for p in parts if (p / 'images' / image_id).exists()), None)

    def check_names(self, image_ids: Sequence[str]) -> None:
        """Refuse images that a labelled part has under the same name.

        Raises:
            InputError: One has.
        """
        for image_id in image_ids:
            if part := self.part_of(image_id):
                raise InputError(
                    repr(image_id),
                    f'is in {part}, which has labels of its own',
                    'check --data-root and that the test part was predicted, or pass '
                    '--skip-labelled',
                )

    def same_as(self, photos: Sequence[Photo], workers: Workers) -> list[Path | None]:
        """Return for each photograph the labelled one that is the same image, if any.

        An image is known again under another name, and saved anew, with loss or in
        another size.

        Raises:
            InputError: A labelled image is unreadable.
        """
        folders = [self.root / part / 'images' for part in self.parts]
        paths = [folder / name for folder in folders for name in list_images(folder)]
        known = workers.map(look_at_photo, [(path,) for path in paths], 'labelled')
        found = first_alike(
            [photo.look for photo in photos],
            [photo.look for photo in known],
            SAVED_ANEW,
        )
        return [None if place is None else paths[place] for place in found]


def find_labelled(root: Path) -> Labelled:
    """Find the parts that have labels.

    These are ``train`` and ``valid``, and those that folds were made of.

    Raises:
        InputError: The folds are damaged.
    """
    parts = [*LABELLED]
    if (root / 'folds' / MARKER).is_file():
        parts += open_folds(root / 'folds').images
    return Labelled(root, tuple(dict.fromkeys(parts)))


def look_at_photo(path: Path) -> Photo:
    """Return what is known of a photograph.

    Raises:
        InputError: It is missing or unreadable.
    """
    pixels = read_image(path)
    return Photo(look_at(pixels), (pixels.shape[0], pixels.shape[1]))
