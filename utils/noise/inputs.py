"""Read what a ranking of doubtful labels is made of, and check that it fits."""

from pathlib import Path

import numpy as np

from mmsegmentation.classes import IGNORE_INDEX
from mmsegmentation.command import InputError
from mmsegmentation.files import mask_name, read_mask
from mmsegmentation.predictions import Predictions
from utils.coco import Findings, read_part
from utils.noise.objects import Evidence, Outlines, weigh

LABELLED = ('train', 'valid')


def find_parts(
    root: Path, split: str | None, predictions: Predictions
) -> dict[str, Path]:
    """Return the folder of the part of the data root that each image is labelled in.

    Args:
        split: The part. Without it, what the predictions name; of folds, which come
            from several parts, the one that has the image's label.

    Raises:
        InputError: An image has no label there, or in two parts.
    """
    named = split or predictions.origin.get('split')
    if 'fold' in predictions.origin or 'folds' in predictions.origin:
        named = split
    names = (str(named),) if named else LABELLED
    parts = {}
    for image_id in predictions.image_ids:
        found = [n for n in names if (root / n / 'mask' / mask_name(image_id)).exists()]
        if len(found) != 1:
            where = ' and '.join(str(root / n / 'mask') for n in found or names)
            what = 'has a label in' if found else 'has no label in'
            raise InputError(
                repr(image_id), f'{what} {where}', 'check --data-root, --split'
            )
        parts[image_id] = root / found[0]
    return parts


def weigh_image(
    predictions: Predictions, image_id: str, path: Path, outlines: Outlines | None
) -> Evidence:
    """Compare the labels of one image with its prediction.

    Raises:
        InputError: A file is missing or damaged, or they do not fit together.
    """
    label_map = read_mask(path)
    predicted = predictions.mask(image_id)
    confidence = predictions.confidence(image_id)
    if not label_map.shape == predicted.shape == confidence.shape:
        raise InputError(
            repr(image_id),
            f'label {label_map.shape}, prediction {predicted.shape} and confidence '
            f'{confidence.shape} differ in size',
            'predict it again',
        )
    count = len(predictions.classes)
    outside = label_map[(label_map >= count) & (label_map != IGNORE_INDEX)]
    if outside.size:
        raise InputError(
            path,
            f'holds class id {outside.max()}, but there are only {count} classes',
            'check --data-root',
        )
    probs = read_probs(predictions, image_id)
    return weigh(image_id, label_map, predicted, confidence, count, outlines, probs)


def read_probs(predictions: Predictions, image_id: str) -> np.ndarray | None:
    """Return 255 x the probability of each class, (classes, h, w) uint8, if kept.

    Raises:
        InputError: The file is damaged.
    """
    path = (predictions.folder / 'probs' / mask_name(image_id)).with_suffix('.npy')
    if not path.is_file():
        return None
    try:
        probs = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(path, f'not readable ({error})', 'predict it again') from None
    classes = len(predictions.classes)
    if probs.dtype != np.uint8 or probs.ndim != 3 or len(probs) != classes:
        raise InputError(
            path,
            f'is {probs.dtype} of shape {probs.shape}, not uint8 of {classes} classes',
            'predict it again',
        )
    return probs


def read_outlines(
    path: Path, predictions: Predictions, order: str
) -> dict[str, Outlines]:
    """Return the labelled objects of the predicted images, by image id.

    Raises:
        InputError: The JSON is damaged, or lacks an image.
    """
    found = Findings()
    part = read_part('train', path, predictions.classes, False, found)
    if found.errors:
        raise InputError(
            path,
            f'{len(found.errors)} problems, first: {found.errors[0]}',
            'see utils/prepare_data.py',
        )
    outlines = {
        row['file_name']: Outlines(part.annotations[row['id']], part.labels, order)
        for row in part.images
    }
    for image_id in predictions.image_ids:
        if image_id not in outlines:
            raise InputError(
                repr(image_id),
                f'is not in {path}',
                'name the JSON of the part that was predicted, or train_all.json',
            )
    return outlines
