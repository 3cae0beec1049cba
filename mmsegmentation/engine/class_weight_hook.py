from typing import Any

import numpy as np
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import HOOKS
from torch import nn

from mmsegmentation.command import InputError
from mmsegmentation.datasets.transforms.donors import class_pixels


@HOOKS.register_module()
class ClassWeightHook(Hook):
    """Weigh classes in the losses by how rare they are in what is trained on.

    The pixels are counted in the training masks themselves, those of a fold where one
    is left out. All losses of the heads that take a ``class_weight`` get it:
    MMSegmentation's ``CrossEntropyLoss`` and ``LovaszLoss``. A weighted cross entropy
    is divided by the sum of the weights of the labelled pixels of all processes, with
    or without ``avg_non_ignore``. Checkpoints hold no weights: a resumed run counts
    again.

    Args:
        power: 1 weighs a class by the inverse of its pixels, 0.5 by that of their root,
            0 all classes alike.
        limit: The most that one class may weigh in relation to another; what does not
            occur weighs as much.

    Raises:
        ValueError: ``power`` is outside [0, 1], or ``limit`` is below 1.
    """

    def __init__(self, power: float = 0.5, limit: float = 10.0) -> None:
        if not (0 <= power <= 1 and limit >= 1):
            raise ValueError(
                f'power must be in [0, 1], and limit 1 or more, got {power} and {limit}'
            )
        self.power = power
        self.limit = limit

    def before_train(self, runner: Runner) -> None:
        """Count, and give the weights to the losses."""
        losses = [part for part in losses_of(runner.model) if _takes_weights(part)]
        if not losses:
            raise InputError(
                'ClassWeightHook',
                'no loss of the model takes a class_weight',
                'use CrossEntropyLoss, or leave the hook out',
            )
        dataset = runner.train_dataloader.dataset
        while hasattr(dataset, 'pipeline') and hasattr(dataset, 'dataset'):
            dataset = dataset.dataset  # of a wrapper that mixes its samples
        pixels = class_pixels(dataset).sum(0)
        weights = class_weights(pixels, self.power, self.limit).tolist()
        for loss in losses:
            loss.class_weight = weights
            # With weights it changes nothing but that MMSegmentation fails.
            loss.avg_non_ignore = False
        if is_main_process():
            names = getattr(dataset, 'metainfo', {}).get('classes', range(len(weights)))
            pairs = zip(names, weights, strict=True)
            shown = ', '.join(f'{name} {weight:.2f}' for name, weight in pairs)
            print(f'class weights: {shown}', flush=True)


def losses_of(model: nn.Module) -> list[Any]:
    """Return the loss modules of all heads."""
    found: list[Any] = []
    for head in model.modules():
        if isinstance(head, BaseDecodeHead):
            parts = head.loss_decode
            found += parts if isinstance(parts, nn.ModuleList) else [parts]
    return found


def _takes_weights(loss: Any) -> bool:
    if getattr(loss, 'class_weight', None) is not None:
        raise InputError(
            'ClassWeightHook',
            f'a {type(loss).__name__} has a class_weight of its own',
            'leave out one of both',
        )
    return hasattr(loss, 'class_weight')


def class_weights(pixels: np.ndarray, power: float, limit: float) -> np.ndarray:
    """Return the weight of each class; the mean over those that occur is 1.

    Args:
        pixels: Labelled pixels of each class, not all 0.
        power: Exponent of the inverse share.
        limit: Of the largest weight to the smallest.

    >>> class_weights(np.array([64, 16, 1, 0]), 0.5, 4.0).round(3).tolist()
    [0.429, 0.857, 1.714, 1.714]
    """
    present = pixels > 0
    weights = np.full(len(pixels), float(limit if power else 1))
    rarity = pixels.max() / pixels[present]
    weights[present] = np.minimum(rarity**power, limit)
    return weights / weights[present].mean()
