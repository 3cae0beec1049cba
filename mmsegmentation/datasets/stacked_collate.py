from collections.abc import Sequence
from typing import Any

import torch
from mmengine.dataset import pseudo_collate
from mmengine.registry import FUNCTIONS
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch import Tensor
from torch.utils.data import get_worker_info

from mmsegmentation.datasets.shared_room import SharedRoom, room_for


@FUNCTIONS.register_module()
def stacked_collate(batch: Sequence[dict]) -> Any:
    """Return a batch whose images are one tensor, and which travels in warm memory.

    Each tensor that leaves a worker costs it and the training process a new file of
    shared memory, whose pages are made one by one: for small images more than all the
    rest. Here images and labels lie in one piece of shared memory that the worker uses
    again once the batch is gone. Batches of other than bytes, or of images of different
    sizes, come as MMEngine's ``pseudo_collate`` gives them.

    Args:
        batch: Samples as ``PackSegInputs`` packs them, those of ``FastPackSegInputs``
            in bytes.

    Returns:
        ``inputs``, (N, 3, H, W) uint8, and ``data_samples``, a list; what
        MMSegmentation's data preprocessor takes, like ours.
    """
    if not all(_is_plain(sample) for sample in batch):
        return pseudo_collate(batch)
    images = [sample['inputs'] for sample in batch]
    labels = [sample['data_samples'].gt_sem_seg.data for sample in batch]
    if not (_alike(images) and _alike(labels)):
        return pseudo_collate(batch)
    metainfos = [sample['data_samples'].metainfo for sample in batch]
    shapes = [(len(batch), *tensors[0].shape) for tensors in (images, labels)]
    if get_worker_info() is None:
        return _batch_of(torch.stack(images), torch.stack(labels), metainfos)
    room = room_for(shapes)
    for place, tensors in zip(room.tensors(shapes), (images, labels), strict=True):
        torch.stack(tensors, out=place)
    return _Parcel(room, shapes, metainfos)


class _Parcel:
    """A batch on its way to the training process, where it is a dictionary."""

    def __init__(
        self, room: SharedRoom, shapes: list[tuple], metainfos: list[dict]
    ) -> None:
        self.content = room, shapes, metainfos

    def __reduce__(self) -> tuple:
        return _unpack, self.content


def _unpack(
    room: SharedRoom, shapes: list[tuple], metainfos: list[dict]
) -> dict[str, Any]:
    inputs, labels = room.lend(shapes)
    return _batch_of(inputs, labels, metainfos)


def _is_plain(sample: Any) -> bool:
    if not isinstance(sample, dict) or sample.keys() != {'inputs', 'data_samples'}:
        return False
    packed = sample['data_samples']
    if type(packed) is not SegDataSample or packed.keys() != ['gt_sem_seg']:
        return False
    labels = packed.gt_sem_seg
    if labels.keys() != ['data'] or labels.metainfo_keys():
        return False
    return all(
        isinstance(t, Tensor) and t.dtype == torch.uint8
        for t in (sample['inputs'], labels.data)
    )


def _alike(tensors: Sequence[Tensor]) -> bool:
    return len({tensor.shape for tensor in tensors}) == 1


def _batch_of(inputs: Tensor, labels: Tensor, metainfos: list[dict]) -> dict[str, Any]:
    samples = [
        SegDataSample(metainfo=metainfo, gt_sem_seg=PixelData(data=label))
        for label, metainfo in zip(labels, metainfos, strict=True)
    ]
    return {'inputs': inputs, 'data_samples': samples}
