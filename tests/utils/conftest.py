"""Small prediction folders and data roots."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmsegmentation.classes import CLASSES
from mmsegmentation.files import mask_name, write_mask
from mmsegmentation.predictions import finish_predictions, write_prediction


@pytest.fixture
def make_predictions(tmp_path: Path) -> Callable[..., Path]:
    """Write a prediction folder; ``confidence`` is one value, maps by id, or None."""

    def make(
        name: str,
        label_maps: dict[str, Sequence],
        confidence: int | dict[str, Sequence] | None = 200,
        classes: Sequence[str] = CLASSES,
        **origin: object,
    ) -> Path:
        folder = tmp_path / name
        for image_id, rows in label_maps.items():
            label_map = np.array(rows, np.uint8)
            sure = None
            if isinstance(confidence, dict):
                sure = np.array(confidence[image_id], np.uint8)
            elif confidence is not None:
                sure = np.full_like(label_map, confidence)
            write_prediction(folder, image_id, label_map, sure)
        finish_predictions(folder, classes, list(label_maps), origin)
        return folder

    return make


@pytest.fixture
def make_part(tmp_path: Path) -> Callable[..., Path]:
    """Write one part of a data root: photographs by size, or masks by rows."""

    def make(part: str, label_maps: dict[str, Sequence], masks: bool = True) -> Path:
        root = tmp_path / 'root'
        for number, (image_id, rows) in enumerate(label_maps.items()):
            label_map = np.array(rows, np.uint8)
            path = root / part / 'images' / image_id
            path.parent.mkdir(parents=True, exist_ok=True)
            grey = np.full((*label_map.shape, 3), 10 * number + len(part), np.uint8)
            Image.fromarray(grey).save(path, format='PNG')
            if masks:
                write_mask(root / part / 'mask' / mask_name(image_id), label_map)
        return root

    return make
