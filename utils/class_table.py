"""Class tables from a data root, from predictions, from a file, or numbered."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmsegmentation.classes import IGNORE_INDEX
from mmsegmentation.command import InputError
from mmsegmentation.files import list_images, read_json, read_mask
from mmsegmentation.predictions import MARKER, Predictions, open_predictions
from utils.parallel import Workers
from utils.rasterise import ORDERS

DATASET = 'dataset.json'
# The help of the option that names a file of class names.
CLASSES_HELP = (
    'file of class names by id: a text file with one name a line, a JSON list, '
    'dataset.json, or predictions.json'
)


@dataclass(frozen=True)
class Table:
    """What ``dataset.json`` says.

    Attributes:
        classes: Class names, in the order of their ids.
        order: What lies on top, one of ``utils.rasterise.ORDERS``.
        content: The whole content of ``dataset.json``.
    """

    classes: list[str]
    order: str
    content: Mapping[str, Any]


def read_table(root: Path) -> Table | None:
    """Return the class table of a data root, or None if it has no ``dataset.json``.

    Raises:
        InputError: ``dataset.json`` is damaged: it names not 2 to 255 classes, or an
            unknown order.
    """
    path = root / DATASET
    if not path.is_file():
        return None
    again = 'make the data root again'
    content = read_json(path)
    names = content.get('classes') if isinstance(content, dict) else None
    if not isinstance(names, list) or not all(isinstance(n, str) for n in names):
        raise InputError(path, 'has no list of classes', again)
    if not 2 <= len(names) <= IGNORE_INDEX:
        raise InputError(
            path, f'has {len(names)} classes, not 2 to {IGNORE_INDEX}', again
        )
    order = content.get('order', ORDERS[0])
    if order not in ORDERS:
        raise InputError(
            path, f'names the order {order!r}, not one of {", ".join(ORDERS)}', again
        )
    return Table(names, order, content)


def order_of(root: Path) -> str:
    """Return the painting order of the masks of a data root; ``area`` if unknown.

    Raises:
        InputError: Its ``dataset.json`` is damaged.
    """
    table = read_table(root)
    return table.order if table else ORDERS[0]


def read_names(path: Path) -> list[str]:
    """Return class names by id from a file of a kind that ``CLASSES_HELP`` lists.

    Raises:
        InputError: The file is missing, not UTF-8, or not a list of 2 to 255 different
            names.
    """
    if path.suffix == '.json':
        names = read_json(path)
        names = names.get('classes') if isinstance(names, dict) else names
    elif path.is_file():
        try:
            # Editors on Windows write a byte order mark first.
            text = path.read_text('utf-8-sig')
        except UnicodeDecodeError:
            raise InputError(path, 'is not UTF-8', 'save it as UTF-8') from None
        names = [line.strip() for line in text.splitlines() if line.strip()]
    else:
        raise InputError(path, 'no such file', 'check --classes')
    if not isinstance(names, list) or not all(isinstance(n, str) for n in names):
        raise InputError(path, 'is not a list of names', 'write one name a line')
    if not 2 <= len(names) <= IGNORE_INDEX or len(set(names)) != len(names):
        raise InputError(path, 'needs 2 to 255 different names', 'correct the list')
    return names


def number_classes(count: int) -> list[str]:
    """Return numbered names for classes: ``class 0``, ``class 1``, and so on."""
    return [f'class {number}' for number in range(count)]


def names_of_root(root: Path, path: Path | None, workers: Workers) -> list[str]:
    """Return the class names of a data root; without a table they are numbered.

    Args:
        root: The data root.
        path: The user's file of names. It must agree with ``dataset.json``.
        workers: Workers that search the masks for the largest class id if there is no
            table.

    Raises:
        InputError: A file is damaged, or the two tables differ.
    """
    table = read_table(root)
    names = read_names(path) if path else None
    if table and names not in (None, table.classes):
        raise InputError(
            path, f'differs from the classes of {root / DATASET}', 'remove --classes'
        )
    if table or names:
        return table.classes if table else names or []
    print(
        f'{root}: no {DATASET}, so the classes are numbered; pass --classes to name '
        'them'
    )
    masks = [
        (root / part / 'mask' / name,)
        for part in sorted(path.parent.name for path in root.glob('[!.]*/mask'))
        for name in list_images(root / part / 'mask')
    ]
    largest = max(workers.map(_largest_id, masks, 'class ids'), default=0)
    return number_classes(max(2, largest + 1))


def _largest_id(path: Path) -> int:
    """Return the largest class id of a mask; 0 if it is damaged.

    Another check reports damaged masks.
    """
    try:
        label_map = read_mask(path)
    except InputError:
        return 0
    return int(label_map[label_map != IGNORE_INDEX].max(initial=0))


def names_beside(masks: Path) -> list[str] | None:
    """Return the class names that files near a folder of masks hold, or None.

    For the folder ``mask`` in a part of a data root, the file is ``dataset.json`` of
    the root. For other folders it is ``predictions.json`` in the folder or above it.

    Raises:
        InputError: The file is damaged.
    """
    masks = masks.resolve()
    above, root = masks.parent, masks.parent.parent
    if table := read_table(root) if masks.name == 'mask' else None:
        return table.classes
    for folder in (masks, above):
        if (folder / MARKER).is_file():
            return list(open_predictions(folder).classes)
    return None


def check_classes(predictions: Predictions, root: Path) -> None:
    """Refuse predictions of other classes than the data root's.

    Raises:
        InputError: The class table in ``dataset.json`` is not that of the predictions,
            or is damaged.
    """
    table = read_table(root)
    if table and table.classes != list(predictions.classes):
        raise InputError(
            predictions.folder,
            f'its classes differ from those of {root / DATASET}',
            'name predictions of a model that was trained on this data root',
        )
