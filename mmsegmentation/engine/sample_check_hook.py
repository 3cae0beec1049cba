import sys
from collections.abc import Iterable
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
from mmsegmentation.datasets.label_counts import class_names, labels_of
from mmsegmentation.datasets.leaves import home_of, infos_of, leaves_of
from mmsegmentation.datasets.quarantine import reads_plain_images, reads_plain_masks
from mmsegmentation.datasets.sample_facts import contents
from mmsegmentation.engine import run_state
from mmsegmentation.engine.unwrap import unwrapped
from mmsegmentation.model_check import num_classes_of


@HOOKS.register_module()
class SampleCheckHook(Hook):
    """Check the samples before the first step, and stop if training would be in vain.

    The run stops in these cases:

    - no pixel of the training masks or of the validation masks has a label;
    - all labelled pixels of the training masks are of one class;
    - after the training pipeline, labels are outside the model's classes, or all pixels
      are ignored;
    - an image of the validation part is also trained on, judged by its pixels.

    The hook prints the classes that no mask has.
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
        total, drawn = None, None
        absent: list[str] = []
        if trained:
            total, absent = self._check_labels(runner, trained)
            self._check_leaks(runner, trained)
            self._note_absent('training', absent)
        if runner.val_loop is not None:
            lacking = _check_validation(runner.val_loop.dataloader.dataset)
            # Classes that the training masks lack too have been printed.
            self._note_absent('validation', [n for n in lacking if n not in absent])
        if hasattr(dataset, '__len__'):
            self._note_repeated(runner, len(dataset))
            if self.samples:
                drawn = self._check_outputs(runner, dataset)
        if total is not None:
            _refuse_one_class(trained[0], total, drawn)

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

    def _check_labels(
        self, runner: Runner, leaves: list[Any]
    ) -> tuple[np.ndarray | None, list[str]]:
        """Return the labelled pixels by class and the names of absent classes.

        The pixels are None if they are unknown for any data set.
        """
        found = [labels_of(leaf) for leaf in leaves]
        total = _sum([pixels for pixels in found if pixels is not None])
        whole = all(pixels is not None for pixels in found)
        if not total.any():
            if whole:
                raise _without_labels(leaves[0], 'training', 'check the masks')
            return None, []
        names = class_names(leaves[0], total)
        shares = _shares(total, names)
        runner.logger.info(f'labels of the training masks: {shares}')
        return total if whole else None, _absent(names, total)

    def _note_absent(self, part: str, names: list[str]) -> None:
        if names:
            self._notes.append(f'no {part} mask has these classes: {", ".join(names)}')

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

    def _check_outputs(self, runner: Runner, dataset: Any) -> np.ndarray | None:
        """Return labelled pixels of samples by id, (256,), or None without labels."""
        places = np.linspace(0, len(dataset) - 1, min(self.samples, len(dataset)))
        draws = [Draw(int(place), 0, int(runner.seed or 0)) for place in places]
        total = np.zeros(256, np.int64)
        state = run_state.random_state()
        try:
            for draw in draws:
                labels, path = _packed(dataset[draw])
                if labels is None:
                    return None
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
        return total


def _check_validation(dataset: Any) -> list[str]:
    """Return the classes that no validation mask has; none if it is unknown.

    Raises:
        InputError: No pixel has a label.
    """
    leaves = [leaf for leaf in leaves_of(dataset) if infos_of(leaf)]
    plain = [leaf for leaf in leaves if reads_plain_masks(leaf)]
    found = [pixels for leaf in plain if (pixels := labels_of(leaf)) is not None]
    if not found or len(found) < len(leaves):
        return []
    total = _sum(found)
    if not total.any():
        way_out = 'check the masks, or train without validation'
        raise _without_labels(leaves[0], 'validation', way_out)
    return _absent(class_names(leaves[0], total), total)


def _absent(names: list[str], total: np.ndarray) -> list[str]:
    return [name for name, n in zip(names, total, strict=False) if not n]


def _sum(counts: list[np.ndarray]) -> np.ndarray:
    total = np.zeros(max(map(len, counts), default=0), np.int64)
    for pixels in counts:
        total[: len(pixels)] += pixels
    return total


def _without_labels(leaf: Any, part: str, way_out: str) -> InputError:
    what = f'no pixel of the {part} masks has a label: all are ignored'
    return InputError(_place(leaf), what, way_out)


def _refuse_one_class(leaf: Any, total: np.ndarray, drawn: np.ndarray | None) -> None:
    """Stop if all labels are of one class, because every model would score 1.0.

    Args:
        leaf: The data set for the message.
        total: Pixels of the masks by class.
        drawn: Pixels of samples after the pipeline by id, or None. A pipeline may
            change labels.

    Raises:
        InputError: All labelled pixels are of one of several classes.
    """
    found = [counts for counts in (total, drawn) if counts is not None]
    if len(total) < 2 or any(np.count_nonzero(counts) > 1 for counts in found):
        return
    number = int(total.argmax())
    raise InputError(
        _place(leaf),
        f'all labelled pixels of the training masks are '
        f'{class_names(leaf, total)[number]!r} (class {number})',
        'check the masks: binary masks must hold 0 and 1, because 255 is ignored',
    )


def _count(labels: np.ndarray, path: str, classes: int, ignored: int) -> np.ndarray:
    """Return the labelled pixels of each id, (256,).

    Raises:
        InputError: An id is no class of the model.
    """
    labelled = labels[labels != ignored].astype(np.int64)
    pixels = np.bincount(labelled & 0xFF, minlength=256)
    outside = np.flatnonzero(pixels[classes:])
    if classes and outside.size:
        raise InputError(
            path,
            f'comes out of the training pipeline with class id {outside[0] + classes}, '
            f'but the model has only {classes} classes',
            'correct num_classes, the masks, or reduce_zero_label',
        )
    return pixels


def _contents_of(leaf: Any) -> dict[str, str]:
    if not (hasattr(leaf, 'class_pixels') or reads_plain_images(leaf)):
        return {}
    return contents(home_of(leaf), [info['img_path'] for info in infos_of(leaf)])


def _place(leaf: Any) -> str:
    prefix = getattr(leaf, 'data_prefix', None) or {}
    return str(prefix.get('seg_map_path') or getattr(leaf, 'data_root', 'data set'))


def _head(model: Any) -> tuple[int, int]:
    """Return number of classes and ignored id of the last head; 0 if there is none."""
    head = getattr(unwrapped(model), 'decode_head', None)
    if isinstance(head, torch.nn.ModuleList):
        head = head[-1]
    ignored = getattr(head, 'ignore_index', IGNORE_INDEX)
    return num_classes_of(head), ignored


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
