"""Read what a ranking of doubtful labels is made of, and check that it fits."""

from collections.abc import Mapping
from pathlib import Path

from mmsegmentation.command import InputError
from mmsegmentation.files import mask_name
from mmsegmentation.parts import read_truth
from mmsegmentation.predictions import Predictions
from utils.coco import Findings, read_part
from utils.noise.objects import Evidence, Outlines, weigh


def list_inputs(
    predictions: Predictions,
    masks: Path | Mapping[str, Path],
    annotations: Path | None,
    order: str,
) -> list[tuple[str, Path, Outlines | None]]:
    """Return each image, its labels as a mask, and the outlines of its objects.

    Args:
        masks: Folder of the labels as masks, or the file of each by image id.
        annotations: COCO JSON of the outlines, if they are known.
        order: What lay on top when the masks were painted.

    Raises:
        InputError: There is no image, or the JSON is damaged, or lacks one.
    """
    if not predictions.image_ids:
        raise InputError(predictions.folder, 'holds no image', 'predict again')
    outlines = read_outlines(annotations, predictions, order) if annotations else {}
    return [
        (
            image_id,
            masks / mask_name(image_id) if isinstance(masks, Path) else masks[image_id],
            outlines.get(image_id),
        )
        for image_id in predictions.image_ids
    ]


def weigh_image(
    predictions: Predictions, image_id: str, path: Path, outlines: Outlines | None
) -> Evidence:
    """Compare the labels of one image with its prediction.

    Raises:
        InputError: A file is missing or damaged, or they do not fit together.
    """
    count = len(predictions.classes)
    label_map = read_truth(path, count)
    predicted = predictions.mask(image_id)
    confidence = predictions.confidence(image_id)
    if not label_map.shape == predicted.shape == confidence.shape:
        raise InputError(
            repr(image_id),
            f'label {label_map.shape}, prediction {predicted.shape} and confidence '
            f'{confidence.shape} differ in size',
            'predict it again',
        )
    probs = predictions.probs(image_id)
    return weigh(image_id, label_map, predicted, confidence, count, outlines, probs)


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
