import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dist import get_world_size, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS

from mmsegmentation.classes import IGNORE_INDEX
from mmsegmentation.command import InputError
from mmsegmentation.datasets.draw import Draw
from mmsegmentation.datasets.leaves import infos_of, leaves_of
from mmsegmentation.datasets.quarantine import reads_plain_images, reads_plain_masks
from mmsegmentation.datasets.sample_facts import contents, image_sizes, mask_facts
from mmsegmentation.engine import run_state
from mmsegmentation.engine.unwrap import unwrapped

# Masks of a stock data set that are read; a RecycleDataset reads all of its own.
MASKS = 1000


@HOOKS.register_module()
class SampleCheckHook(Hook):
    """Look at the samples before the first step, and stop where training is in vain.

    It stops where no pixel has a label, where labels that come out of the training
    pipeline are outside the model's classes or ignored everywhere, and where a picture
    of the validation is trained on, by its pixels. It says which classes no label has.
    A ``RecycleDataset`` has checked headers and class ids by then; of other data sets
    they are checked here, the ids in up to 1,000 masks, where MMSegmentation's own
    steps read them: what others make of a file is not known. The log gets the labels'
    shares before and after the transforms. The run's random numbers stay what they
    were.

    Args:
        samples: How many samples are drawn from the training pipeline.
        leaks: ``'stop'`` where a picture of the validation is trained on, ``'say'`` so,
            or ``'pass'``, which reads no picture.

    Raises:
        InputError: The data cannot be trained on.
        ValueError: An argument is out of range.
    """

    # Before a resumed run validates.
    priority = 'ABOVE_NORMAL'

    def __init__(self, samples: int = 16, leaks: str = 'stop') -> None:
        if samples < 0:
            raise ValueError(f'samples must be >= 0, got {samples}')
        if leaks not in ('stop', 'say', 'pass'):
            raise ValueError(f"leaks must be 'stop', 'say' or 'pass', got {leaks!r}")
        self.samples, self.leaks = samples, leaks
        self._notes: list[str] = []

    def before_train(self, runner: Runner) -> None:
        """Check all, or stop."""
        dataset = runner.train_dataloader.dataset
        trained = [leaf for leaf in leaves_of(dataset) if infos_of(leaf)]
        if trained:
            self._check_labels(runner, trained)
            self._check_leaks(runner, trained)
        if hasattr(dataset, '__len__'):
            self._note_repeated(runner, len(dataset))
            if self.samples:
                self._check_outputs(runner, dataset)

    def before_train_epoch(self, runner: Runner) -> None:
        """Say once what stops nothing: all is ready now."""
        notes, self._notes = self._notes, []
        if is_main_process() and not runner._resume:
            for note in notes:
                print(note, file=sys.stderr)

    def _note_repeated(self, runner: Runner, images: int) -> None:
        batch = (runner.train_dataloader.batch_size or 0) * get_world_size()
        if batch > images:
            self._notes.append(
                f'a batch holds {batch} samples, and there are {images} images: it '
                'repeats them'
            )

    def _check_labels(self, runner: Runner, leaves: list[Any]) -> None:
        found = [_labels_of(leaf) for leaf in leaves]
        counted = [pixels for pixels in found if pixels is not None]
        if not counted:
            return
        total = np.zeros(max(map(len, counted)), np.int64)
        for pixels in counted:
            total[: len(pixels)] += pixels
        if not total.any():
            raise InputError(
                _place(leaves[0]),
                'no pixel of the training masks has a label: all are ignored',
                'check the masks',
            )
        names = list((leaves[0].metainfo or {}).get('classes') or range(len(total)))
        shares = _shares(total, names)
        runner.logger.info(f'labels of the training masks: {shares}')
        absent = [str(name) for name, n in zip(names, total, strict=False) if not n]
        if absent:
            self._notes.append(
                f'no training mask has these classes: {", ".join(absent)}'
            )

    def _check_leaks(self, runner: Runner, leaves: list[Any]) -> None:
        loop = runner.val_loop
        if self.leaks == 'pass' or loop is None:
            return
        of_valid = {
            content: path
            for leaf in leaves_of(loop.dataloader.dataset)
            for path, content in _contents_of(leaf).items()
        }
        found = [
            (path, of_valid[content])
            for leaf in leaves
            for path, content in _contents_of(leaf).items()
            if content in of_valid
        ]
        if not found:
            return
        path, other = found[0]
        what = 'is trained on, and is the same picture as one of the validation, '
        more = f' (such pictures: {len(found)})'
        way_out = (
            'remove one of them, or train all the same with '
            'default_hooks.sample_check.leaks=say'
        )
        if self.leaks == 'stop':
            raise InputError(path, f'{what}{other}{more}', way_out)
        self._notes.append(f'{path}: {what}{other}{more}')

    def _check_outputs(self, runner: Runner, dataset: Any) -> None:
        places = np.linspace(0, len(dataset) - 1, min(self.samples, len(dataset)))
        draws = [Draw(int(place), 0, int(runner.seed or 0)) for place in places]
        total = np.zeros(256, np.int64)
        state = run_state.random_state()
        try:
            for draw in draws:
                labels, path = _packed(dataset[draw])
                if labels is None:
                    return
                total += _count(labels, path, *_head(runner.model))
        finally:
            run_state.restore_random_state(state)
        if not total.any():
            raise InputError(
                _place(next(iter(leaves_of(dataset)))),
                f'{len(draws)} samples of the training pipeline have no label: all '
                'pixels are ignored',
                'check the pipeline: sizes, padding, reduce_zero_label',
            )
        shares = _shares(total, range(256))
        runner.logger.info(f'labels of {len(draws)} training samples, by id: {shares}')


def _count(labels: np.ndarray, path: str, classes: int, ignored: int) -> np.ndarray:
    """Return the labelled pixels of each id, (256,).

    Raises:
        InputError: An id is no class of the model.
    """
    pixels = np.bincount(labels.ravel().astype(np.int64) & 0xFF, minlength=256)
    if 0 <= ignored < 256:
        pixels[ignored] = 0
    outside = np.flatnonzero(pixels[classes:])
    if classes and outside.size:
        raise InputError(
            path,
            f'comes out of the training pipeline with class id {outside[0] + classes}, '
            f'but the model has only {classes} classes',
            'correct num_classes, the masks, or reduce_zero_label',
        )
    return pixels


def _labels_of(leaf: Any) -> np.ndarray | None:
    """Return the labelled pixels of each class, (classes,); None where none can tell.

    Raises:
        InputError: A mask holds an id that is no class, or an image cannot be used.
    """
    if hasattr(leaf, 'class_pixels'):
        return leaf.class_pixels().sum(0)
    infos = infos_of(leaf)
    root = Path(leaf.data_root) if getattr(leaf, 'data_root', None) else None
    if reads_plain_images(leaf):
        image_sizes(root, [info['img_path'] for info in infos])
    if not reads_plain_masks(leaf):
        return None
    classes = (leaf.metainfo or {}).get('classes')
    chosen = infos[:: max(1, -(-len(infos) // MASKS))]
    masks = [str(info.get('seg_map_path', '')) for info in chosen]
    if not classes or not all(Path(mask).is_file() for mask in masks):
        return None
    total = np.zeros(len(classes), np.int64)
    try:
        found = mask_facts(root, masks)
    except InputError:
        return None  # no 8-bit masks: its own transform may read them
    for info in chosen:
        pixels = _translate(found[str(info['seg_map_path'])][1], info)
        pixels[getattr(leaf, 'ignore_index', IGNORE_INDEX)] = 0
        outside = np.flatnonzero(pixels[len(classes) :])
        if outside.size:
            raise InputError(
                info['seg_map_path'],
                f'gives class id {outside[0] + len(classes)}, but there are only '
                f'{len(classes)} classes',
                'correct the mask, the classes, or reduce_zero_label',
            )
        total += pixels[: len(classes)]
    return total


def _translate(pixels: np.ndarray, info: dict) -> np.ndarray:
    """Return the counts of a mask after MMSegmentation's own changes of its ids."""
    pixels = pixels.copy()
    if info.get('reduce_zero_label'):
        moved = np.zeros_like(pixels)
        moved[:254] = pixels[1:255]
        moved[255] = pixels[0] + pixels[255]
        pixels = moved
    if info.get('label_map'):
        old, pixels = pixels, pixels.copy()
        pixels[list(info['label_map'])] = 0
        for before, after in info['label_map'].items():
            pixels[after] += old[before]
    return pixels


def _contents_of(leaf: Any) -> dict[str, str]:
    if not (hasattr(leaf, 'class_pixels') or reads_plain_images(leaf)):
        return {}
    root = Path(leaf.data_root) if getattr(leaf, 'data_root', None) else None
    return contents(root, [info['img_path'] for info in infos_of(leaf)])


def _place(leaf: Any) -> str:
    prefix = getattr(leaf, 'data_prefix', None) or {}
    return str(prefix.get('seg_map_path') or getattr(leaf, 'data_root', 'data set'))


def _head(model: Any) -> tuple[int, int]:
    """Return number of classes and ignored id of the last head; 0 if there is none."""
    head = getattr(unwrapped(model), 'decode_head', None)
    if isinstance(head, torch.nn.ModuleList):
        head = head[-1]
    ignored = getattr(head, 'ignore_index', IGNORE_INDEX)
    return getattr(head, 'num_classes', 0), ignored


def _packed(sample: Any) -> tuple[np.ndarray | None, str]:
    packed = sample.get('data_samples') if isinstance(sample, dict) else None
    labels = getattr(getattr(packed, 'gt_sem_seg', None), 'data', None)
    return (
        None if labels is None else labels.numpy(),
        str(getattr(packed, 'img_path', 'a sample')),
    )


def _shares(pixels: np.ndarray, names: Iterable) -> str:
    whole = pixels.sum()
    named = zip(names, pixels, strict=False)
    return ', '.join(f'{name} {100 * n / whole:.2f} %' for name, n in named if n)
