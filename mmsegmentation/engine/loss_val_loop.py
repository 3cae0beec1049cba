from collections.abc import Sequence
from copy import copy
from typing import Any

import torch
from mmengine.dist import broadcast_object_list, collect_results
from mmengine.logging import HistoryBuffer
from mmengine.runner import ValLoop
from mmengine.structures import PixelData
from mmseg.registry import LOOPS
from torch import Tensor, nn
from torch.distributed.fsdp import FullyShardedDataParallel

from mmsegmentation.command import InputError
from mmsegmentation.engine.unwrap import unwrapped
from mmsegmentation.models.by_size import by_size


@LOOPS.register_module()
class LossValLoop(ValLoop):
    """MMEngine's validation, which measures the loss too, as ``val_loss``.

    The loss of an image is that of training (all heads, all terms) in the mode of
    evaluation: no dropout, no augmentation, the labels at their own size, float32. The
    mean over images is logged; each term stands beside it, as ``val_decode.loss_ce``.
    An image without a labelled pixel does not count.

    Each image passes the network a second time. With ``EMAHook`` it is the loss of the
    averaged weights, as the scores are.

    Args: as MMEngine's ``ValLoop``.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._found: list[dict[str, float]] = []

    def run(self) -> dict:
        """Launch validation.

        Raises:
            InputError: The model has no decode head, or a sample has no labels.
        """
        if not hasattr(unwrapped(self.runner.model), 'decode_head'):
            raise InputError(
                'LossValLoop',
                'the model has no decode_head, so its loss cannot be measured',
                "use val_cfg=dict(type='ValLoop')",
            )
        self._found.clear()
        return super().run()

    @torch.no_grad()
    def run_iter(self, idx: int, data_batch: dict[str, Sequence]) -> None:
        """Predict a batch, and find the loss of each of its images."""
        super().run_iter(idx, data_batch)
        self._found += self._losses_of(data_batch)
        if idx + 1 == len(self.dataloader):
            self._note(self._gather())

    def _losses_of(self, data_batch: dict[str, Sequence]) -> list[dict[str, float]]:
        model = unwrapped(self.runner.model)
        losses = []
        for _, part in by_size(data_batch):
            data = model.data_preprocessor(part, False)
            pairs = zip(data['inputs'], data['data_samples'], strict=True)
            losses += [self._loss_of(model, image[None], each) for image, each in pairs]
        return losses

    def _loss_of(self, model: Any, image: Tensor, sample: Any) -> dict[str, float]:
        heads = model.decode_head
        last = heads[-1] if isinstance(heads, nn.ModuleList) else heads
        ignored = getattr(last, 'ignore_index', 255)
        sample = _padded_like(image, _with_long_labels(sample), ignored)
        divided = isinstance(self.runner.model, FullyShardedDataParallel)
        # All processes gather the weights as often, whatever their images are.
        losses = (self.runner.model if divided else model)(image, [sample], mode='loss')
        if (sample.gt_sem_seg.data == ignored).all():
            return {}
        return {
            f'val_{name}': float(sum(map(Tensor.mean, _listed(value))))
            for name, value in losses.items()
            if 'loss' in name
        }

    def _gather(self) -> list[dict[str, float]]:
        """Return what all processes found, each image once."""
        size = len(self.dataloader.dataset)
        box = [collect_results(self._found, size, 'cpu')]
        broadcast_object_list(box)
        return box[0]

    def _note(self, found: list[dict[str, float]]) -> None:
        for row in found:
            for name, value in row.items():
                self.val_loss.setdefault(name, HistoryBuffer()).update(value)
        # MMEngine logs the mean of the last ten values of whatever is called a loss.
        hub = self.runner.message_hub
        for name in (*self.val_loss, 'val_loss'):
            hub.log_scalars.pop(f'val/{name}', None)


def _listed(value: Any) -> Sequence[Tensor]:
    return [value] if isinstance(value, Tensor) else value


def _padded_like(image: Tensor, sample: Any, ignored: int) -> Any:
    """Pad the labels in the same proportion as the preprocessor padded the image.

    Args:
        image: The image with its padding, (1, C, H, W).
        sample: A sample with labels at their own size. It is changed.
        ignored: Class id of the padding.
    """
    meta = sample.metainfo
    pads = meta.get('img_padding_size', meta.get('padding_size', (0, 0, 0, 0)))
    left, right, top, bottom = pads
    if not (left or right or top or bottom):
        return sample
    labels = sample.gt_sem_seg.data
    across = labels.shape[-1] / (image.shape[-1] - left - right)
    down = labels.shape[-2] / (image.shape[-2] - top - bottom)
    sides = left * across, right * across, top * down, bottom * down
    padded = nn.functional.pad(labels, [round(side) for side in sides], value=ignored)
    sample.gt_sem_seg = PixelData(data=padded)
    return sample


def _with_long_labels(sample: Any) -> Any:
    """Return a copy of a sample with int64 labels, which MMSegmentation's heads need.

    Raises:
        InputError: The sample has no labels.
    """
    if 'gt_sem_seg' not in sample:
        raise InputError(
            getattr(sample, 'img_path', 'a sample of the validation'),
            'has no labels after the validation pipeline',
            "add LoadAnnotations to it, or use val_cfg=dict(type='ValLoop')",
        )
    sample = copy(sample)  # the labels of the original stay uint8
    sample.gt_sem_seg = PixelData(data=sample.gt_sem_seg.data.long())
    return sample
