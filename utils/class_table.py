"""The class table of a data root, and what lay on top when its masks were painted."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmsegmentation.classes import CLASSES, IGNORE_INDEX
from mmsegmentation.command import InputError
from mmsegmentation.files import read_json
from mmsegmentation.predictions import Predictions
from utils.rasterise import ORDERS

DATASET = 'dataset.json'


@dataclass(frozen=True)
class Table:
    """What ``dataset.json`` says.

    Attributes:
        classes: Class names, in the order of their ids.
        order: What lies on top, one of ``utils.rasterise.ORDERS``.
        content: All of it; empty where there is no such file.
    """

    classes: list[str]
    order: str
    content: Mapping[str, Any]


def read_table(root: Path) -> Table:
    """Return the class table of a data root: the recycling one if it has no file.

    Raises:
        InputError: ``dataset.json`` is damaged: it names not 2 to 255 classes, or an
            unknown order.
    """
    path = root / DATASET
    if not path.is_file():
        return Table(list(CLASSES), ORDERS[0], {})
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


def check_classes(predictions: Predictions, root: Path) -> None:
    """Refuse predictions of other classes than the data root's.

    Raises:
        InputError: The class table in ``dataset.json`` is not that of the predictions,
            or is damaged.
    """
    table = read_table(root)
    if table.content and table.classes != list(predictions.classes):
        raise InputError(
            predictions.folder,
            f'its classes differ from those of {root / DATASET}',
            'name predictions of a model that was trained on this data root',
        )
