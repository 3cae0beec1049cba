"""Turn predictions of the test part into a part to train on.

    python utils/pseudo_label.py PRED --data-root ROOT --threshold .9

Writes ROOT/pseudo/images, ROOT/pseudo/mask, and ROOT/pseudo/pseudo.json, which says
where the labels come from. A pixel is trusted where its confidence reaches the
threshold of its class; every other becomes 255 and is ignored in training. An image
without a trusted pixel is left out.
"""

import argparse
import filecmp
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmsegmentation.classes import ALIASES, IGNORE_INDEX
from mmsegmentation.command import InputError, Parser, progress, run_command
from mmsegmentation.files import (
    link_or_copy,
    list_images,
    mask_name,
    read_image,
    read_json,
    refuse_existing,
    sha256_of,
    whole_folder,
    write_json,
    write_mask,
)
from mmsegmentation.predictions import MARKER, Predictions, open_predictions

PSEUDO = 'pseudo.json'


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(
        prog='utils/pseudo_label.py',
        description='Turn predictions of the test part into a part to train on.',
    )
    add = parser.add_argument
    add('pred', type=Path, metavar='PRED', help='prediction folder of the test part')
    add(
        '--data-root',
        type=Path,
        default=Path(os.environ.get('RECYCLE_DATA', 'input/data')),
        metavar='ROOT',
        help='data root; its test/images is read, its pseudo/ written',
    )
    add('--threshold', type=float, default=0.9, help='least confidence, in [0, 1]')
    add(
        '--class-threshold',
        nargs='+',
        action='extend',
        default=[],
        metavar='NAME=VALUE',
        help='another threshold for one class, such as "Battery=0.6"',
    )
    add('--round', type=int, default=1, help='how often this was done, from 1')
    add('--overwrite', action='store_true', help='replace ROOT/pseudo')
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    args = parse_args(argv)
    out = args.data_root / 'pseudo'
    if args.round < 1:
        raise InputError('--round', f'{args.round} is below 1', 'count from 1')
    refuse_existing(out, args.overwrite)
    predictions = open_predictions(args.pred)
    if out.resolve() in (args.pred.resolve(), *args.pred.resolve().parents):
        raise InputError(out, f'would replace {args.pred}', 'move the predictions')
    thresholds = read_thresholds(
        args.threshold, args.class_threshold, predictions.classes
    )
    check_classes(predictions, args.data_root)
    check_images(predictions, args.data_root)
    labels = PseudoLabels(predictions, args.data_root / 'test/images', thresholds)
    with whole_folder(out, marker=PSEUDO, overwrite=args.overwrite) as folder:
        summary = labels.write(folder, args.round)
    print(kept_table(summary))
    print(f'{len(summary["images"])} images written to {out}')
    if summary['dropped']:
        print(f'{len(summary["dropped"])} without a trusted pixel were left out')
    return 0


def read_thresholds(
    threshold: float, pairs: Sequence[str], classes: Sequence[str]
) -> np.ndarray:
    """Return one threshold by class, in [0, 1], from ``NAME=VALUE`` pairs.

    Raises:
        InputError: A class is unknown or named twice, or a value is out of range.

    >>> read_thresholds(0.9, ['Paper=0.5'], ['Background', 'Paper'])
    array([0.9, 0.5])
    """
    values = dict.fromkeys(classes, _fraction('--threshold', threshold))
    seen = set()
    for pair in pairs:
        name, _, value = pair.rpartition('=')
        name = ALIASES.get(name, name)
        if name not in values or name in seen:
            raise InputError(
                f'--class-threshold {pair}',
                'names no class' if name not in values else 'names its class again',
                f'give NAME=VALUE once for a class of: {", ".join(classes)}',
            )
        seen.add(name)
        values[name] = _fraction(f'--class-threshold {pair}', value)
    return np.array(list(values.values()))


def _fraction(thing: str, text: str | float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = np.nan
    if not 0 <= value <= 1:
        raise InputError(thing, f'{text} is not in [0, 1]', 'give a probability')
    return value


def check_classes(predictions: Predictions, root: Path) -> None:
    """Refuse predictions of other classes than the data root's.

    Raises:
        InputError: The class table in ``dataset.json`` is not that of the predictions.
    """
    path = root / 'dataset.json'
    known = read_json(path).get('classes') if path.is_file() else None
    if known is not None and list(known) != list(predictions.classes):
        raise InputError(
            predictions.folder,
            f'its classes differ from those of {path}',
            'name predictions of a model that was trained on this data root',
        )


def check_images(predictions: Predictions, root: Path) -> None:
    """Refuse images that are not of the test part, or whose labels score models.

    Raises:
        InputError: An image is missing, is in ``train`` or ``valid`` under its name, or
            in ``valid`` under another.
    """
    scored: dict[int, list[Path]] = {}
    images = root / 'valid/images'
    for path in (images / image_id for image_id in list_images(images)):
        scored.setdefault(path.stat().st_size, []).append(path)
    for image_id in predictions.image_ids:
        for part in ('train', 'valid'):
            if (root / part / 'images' / image_id).exists():
                raise InputError(
                    repr(image_id),
                    f'is in {root / part}, which has labels of its own',
                    'predict the test part',
                )
        path = root / 'test/images' / image_id
        if not path.is_file():
            raise InputError(path, 'no such file', 'check --data-root')
        for other in scored.get(path.stat().st_size, ()):
            if filecmp.cmp(path, other, shallow=False):
                raise InputError(
                    path, f'is the same image as {other}', 'leave it out of one part'
                )


@dataclass(frozen=True)
class PseudoLabels:
    """Predictions to be trusted where they are sure.

    Attributes:
        predictions: Class ids and confidence.
        images: Folder of the photographs.
        thresholds: Least confidence by class, in [0, 1].
    """

    predictions: Predictions
    images: Path
    thresholds: np.ndarray

    def write(self, folder: Path, number: int) -> dict[str, Any]:
        """Fill ``folder``; return what ``pseudo.json`` says.

        Raises:
            InputError: Sizes differ, a file is damaged, or nothing is trusted at all.
        """
        classes = self.predictions.classes
        predicted, kept = np.zeros((2, 256), np.int64)
        images: list[str] = []
        dropped: list[str] = []
        for image_id in progress(self.predictions.image_ids, 'pseudo labels'):
            label_map, trusted = self._read(image_id)
            predicted += np.bincount(label_map.ravel(), minlength=256)
            kept += np.bincount(trusted.ravel(), minlength=256)
            if (trusted == IGNORE_INDEX).all():
                dropped.append(image_id)
                continue
            images.append(image_id)
            link_or_copy(self.images / image_id, folder / 'images' / image_id)
            mask = folder / 'mask' / mask_name(image_id)
            write_mask(mask, trusted, len(classes))
        if not images:
            raise InputError(
                self.predictions.folder, 'no pixel is trusted', 'lower --threshold'
            )
        summary = {
            'round': number,
            'predictions': self._origin(),
            'classes': list(classes),
            'thresholds': self.thresholds.tolist(),
            **_shares(predicted[: len(classes)], kept[: len(classes)]),
            'images': images,
            'dropped': dropped,
        }
        write_json(folder / PSEUDO, summary)
        return summary

    def _read(self, image_id: str) -> tuple[np.ndarray, np.ndarray]:
        """Return class ids, as predicted and with 255 where not trusted."""
        label_map = self.predictions.mask(image_id)
        confidence = self.predictions.confidence(image_id)
        size = read_image(self.images / image_id).shape[:2]
        if not label_map.shape == confidence.shape == size:
            raise InputError(
                repr(image_id),
                f'image {size}, mask {label_map.shape} and confidence '
                f'{confidence.shape} differ in size',
                'predict it again',
            )
        return label_map, trust(label_map, confidence, self.thresholds)

    def _origin(self) -> dict[str, Any]:
        folder, origin = self.predictions.folder, self.predictions.origin
        content = {key: origin[key] for key in origin if key not in _LISTED}
        sha256 = sha256_of(folder / MARKER)
        return {'folder': str(folder), 'sha256': sha256, **content}


def _shares(predicted: np.ndarray, kept: np.ndarray) -> dict[str, list]:
    pairs = list(zip(kept.tolist(), predicted.tolist(), strict=True))
    return {
        'predicted_pixels': predicted.tolist(),
        'kept_pixels': kept.tolist(),
        'kept_share': [k / p if p else None for k, p in pairs],
    }


# Keys of predictions.json that pseudo.json has on its own.
_LISTED = ('classes', 'images')


def trust(
    label_map: np.ndarray, confidence: np.ndarray, thresholds: np.ndarray
) -> np.ndarray:
    """Return class ids with 255 where confidence is below the class's threshold.

    Args:
        label_map: Class ids, (H, W) uint8.
        confidence: 255 x the winner's probability, (H, W) uint8.
        thresholds: By class, in [0, 1].

    >>> ids = np.array([[0, 1, 1]], dtype=np.uint8)
    >>> trust(ids, np.array([[250, 128, 127]], dtype=np.uint8), np.array([0.99, 0.5]))
    array([[255,   1, 255]], dtype=uint8)
    """
    doubtful = confidence < 255 * thresholds[label_map]
    return np.where(doubtful, np.uint8(IGNORE_INDEX), label_map)


def kept_table(summary: dict[str, Any]) -> str:
    """Return thresholds and kept shares as text, one line per class."""
    lines = [f'{"class":<16}{"threshold":>10}{"predicted":>14}{"kept":>14}{"share":>8}']
    keys = ('classes', 'thresholds', 'predicted_pixels', 'kept_pixels', 'kept_share')
    for name, limit, predicted, kept, share in zip(
        *(summary[key] for key in keys), strict=True
    ):
        cell = '-' if share is None else f'{share:.1%}'
        lines.append(f'{name:<16}{limit:>10.3f}{predicted:>14,}{kept:>14,}{cell:>8}')
    return '\n'.join(lines)


if __name__ == '__main__':
    run_command(main)
