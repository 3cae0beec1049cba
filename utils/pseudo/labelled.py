"""The images of a data root that have labels: none of them may be pseudo-labelled."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from mmsegmentation.command import InputError
from mmsegmentation.files import list_images, read_image
from mmsegmentation.folds import MARKER, open_folds
from utils.duplicates import content_of
from utils.folds.labelled import LABELLED
from utils.parallel import Workers


@dataclass(frozen=True)
class Labelled:
    """The images that have labels of their own.

    Attributes:
        root: The data root.
        parts: Where they are.
        contents: The file of each by the digest of its pixels: an image is known
            again under another name, and saved anew without loss.
    """

    root: Path
    parts: tuple[str, ...]
    contents: Mapping[str, Path]

    def check_name(self, image_id: str) -> None:
        """Refuse an image that a labelled part has under the same name.

        Raises:
            InputError: One has.
        """
        for part in self.parts:
            if (self.root / part / 'images' / image_id).exists():
                raise InputError(
                    repr(image_id),
                    f'is in {self.root / part}, which has labels of its own',
                    'predict the test part',
                )

    def refuse(self, path: Path, content: str) -> NoReturn:
        """Refuse an image whose pixels a labelled part has under any name.

        Args:
            content: The digest of its pixels.

        Raises:
            InputError: Always.
        """
        raise InputError(
            path,
            f'is the same image as {self.contents[content]}, which has labels of its '
            'own',
            'leave it out of one part, or pass --skip-labelled',
        )


def find_labelled(root: Path, workers: Workers) -> Labelled:
    """Look at all images of the parts that have labels.

    These are ``train`` and ``valid``, and those that folds were made of.

    Raises:
        InputError: An image is unreadable, or the folds are damaged.
    """
    parts = [*LABELLED]
    if (root / 'folds' / MARKER).is_file():
        parts += open_folds(root / 'folds').images
    parts = list(dict.fromkeys(parts))
    folders = [root / part / 'images' for part in parts]
    paths = [folder / name for folder in folders for name in list_images(folder)]
    photos = workers.map(look_at_photo, [(path,) for path in paths], 'labelled')
    contents = {p.content: path for p, path in zip(photos, paths, strict=True)}
    return Labelled(root, tuple(parts), contents)


@dataclass(frozen=True)
class Photo:
    """What is known of a photograph.

    Attributes:
        content: Digest of its size and pixels.
        size: Height and width.
    """

    content: str
    size: tuple[int, int]


def look_at_photo(path: Path) -> Photo:
    """Return what is known of a photograph.

    Raises:
        InputError: It is missing or unreadable.
    """
    pixels = read_image(path)
    return Photo(content_of(pixels), (pixels.shape[0], pixels.shape[1]))
