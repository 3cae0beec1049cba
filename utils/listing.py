"""The images that a COCO JSON names: those that a submission must hold."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mmsegmentation.classes import ALIASES, CLASSES
from mmsegmentation.command import InputError
from mmsegmentation.files import check_image_id, mask_name, read_json


@dataclass(frozen=True)
class Listed:
    """An image of the JSON.

    Attributes:
        number: Its ``id``, or None.
        size: Height and width, in pixels; None where the JSON says none.
    """

    number: int | str | None
    size: tuple[int, int] | None


def read_listing(path: Path) -> dict[str, Listed]:
    """Return the images of a COCO JSON by image id (``file_name``), in its order.

    Raises:
        InputError: The file is missing or damaged, or two images share a mask.
    """
    if path.is_dir():
        raise InputError(path, 'is a folder', 'give the COCO JSON itself')
    content = read_json(path)
    try:
        rows = [
            (check_image_id(row['file_name']), _number(row), _size(row))
            for row in content['images']
        ]
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(
            path, f'has no images with file names ({error!r})', 'give a COCO JSON'
        ) from None
    if not rows:
        raise InputError(path, 'names no image', 'give a COCO JSON')
    seen: set[str] = set()
    for image_id, *_ in rows:
        if mask_name(image_id) in seen:
            raise InputError(path, f'has {image_id!r} twice', 'name each image once')
        seen.add(mask_name(image_id))
    return {image_id: Listed(number, size) for image_id, number, size in rows}


def _number(row: Mapping) -> int | str | None:
    number = row.get('id')
    return number if isinstance(number, int | str) else None


def _size(row: Mapping) -> tuple[int, int] | None:
    height, width = row.get('height'), row.get('width')
    if isinstance(height, int) and isinstance(width, int) and min(height, width) > 0:
        return height, width
    return None


def read_categories(path: Path, classes: Sequence[str]) -> dict[int, int] | None:
    """Return category ids by class id, matched by name.

    The background is not a category.

    Returns:
        None if the JSON has no categories.

    Raises:
        InputError: The categories are damaged, an id is not a whole number, or two
            categories share a name or an id.
    """
    rows = read_json(path).get('categories')
    if not rows:
        return None
    try:
        pairs = [(str(row['name']), row['id']) for row in rows]
    except (KeyError, TypeError) as error:
        raise InputError(
            path, f'has categories without name or id ({error!r})', 'name a COCO JSON'
        ) from None
    for name, number in pairs:
        if type(number) is not int:
            raise InputError(
                path,
                f'category {name!r} has the id {number!r}',
                'use whole numbers as ids',
            )
    numbers = {ALIASES.get(name, name): number for name, number in pairs}
    if not len(pairs) == len(numbers) == len(set(numbers.values())):
        raise InputError(
            path,
            'has categories that share a name or an id',
            'give each its own name and id',
        )
    numbers.pop(CLASSES[0], None)
    return {i: numbers[name] for i, name in enumerate(classes) if name in numbers}


def number_masks(listed: dict[str, Listed], path: Path) -> dict[str, int | str]:
    """Return the ``id`` of each image of a listing, by the name of its mask.

    Raises:
        InputError: An image has none, or that of another one.
    """
    owners: dict[int | str, str] = {}
    for image_id, row in listed.items():
        if row.number is None or row.number in owners:
            raise InputError(
                path,
                f'{image_id!r} has no id of its own',
                'give each image another "id"',
            )
        owners[row.number] = mask_name(image_id)
    return {name: number for number, name in owners.items()}


def match_ids(
    held: Iterable[str], wanted: Sequence[str], source: Path, listing: Path
) -> list[str]:
    """Return ``wanted``, if exactly these images are held.

    Raises:
        InputError: An image is missing, or there is one too many.
    """
    names = {mask_name(image_id): image_id for image_id in held}
    for image_id in wanted:
        if names.pop(mask_name(image_id), None) is None:
            raise InputError(
                repr(image_id), f'is in {listing} but not in {source}', 'predict it'
            )
    for image_id in names.values():
        raise InputError(
            repr(image_id),
            f'is in {source} but not in {listing}',
            'check that both are of the same data',
        )
    return list(wanted)


def check_size(
    image_id: str,
    found: tuple[int, ...],
    photograph: tuple[int, int] | None,
    written: Sequence[int],
) -> None:
    """Stop where a mask has the size of neither its photograph nor the CSV.

    Raises:
        InputError: It has another one. Unknown sizes are let through.
    """
    if photograph and found not in (photograph, tuple(written)):
        raise InputError(
            repr(image_id),
            f'its mask has size {found}, its photograph {photograph}',
            'predict at the size of the photograph',
        )
