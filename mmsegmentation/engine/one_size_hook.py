from collections.abc import Sequence
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS
from torch import Tensor

from mmsegmentation.command import InputError
from mmsegmentation.engine.unwrap import unwrapped
from mmsegmentation.models.fast_encoder_decoder import FastEncoderDecoder


@HOOKS.register_module()
class OneSizeHook(Hook):
    """Refuse a batch with images of several sizes that the model cannot predict.

    MMSegmentation's models stop at such a batch with an assertion.
    ``FastEncoderDecoder`` predicts it.
    """

    def before_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None
    ) -> None:
        """Check a batch of the validation part."""
        _check(runner, data_batch, 'val_dataloader')

    def before_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None
    ) -> None:
        """Check a batch of the test part."""
        _check(runner, data_batch, 'test_dataloader')


def _check(runner: Runner, batch: Any, loader: str) -> None:
    images = batch.get('inputs') if isinstance(batch, dict) else None
    if not isinstance(images, Sequence) or len(images) < 2:
        return
    sizes = {tuple(i.shape[-2:]) for i in images if isinstance(i, Tensor)}
    if len(sizes) < 2 or isinstance(unwrapped(runner.model), FastEncoderDecoder):
        return
    raise InputError(
        f'{loader}.batch_size',
        f'a batch holds images of several sizes, as {sorted(sizes)[:2]}, which '
        f'{type(unwrapped(runner.model)).__name__} cannot predict together',
        'set it to 1, or use FastEncoderDecoder',
    )
