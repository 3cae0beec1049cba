from collections.abc import Sequence
from typing import Any

import torch
from mmengine.dataset import pseudo_collate
from mmengine.registry import FUNCTIONS
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch import Tensor
from torch.utils.data import default_collate


@FUNCTIONS.register_module()
def stacked_collate(batch: Sequence[dict]) -> Any:
    """Return a batch whose images are one tensor, and whose labels travel as one.

    Each tensor that leaves a worker costs it, and the training process, a file of
    shared memory. Here a batch has two. Images of different sizes come as MMEngine's
    ``pseudo_collate`` gives them.

    Args:
        batch: Samples as ``PackSegInputs`` packs them.

    Returns:
        ``inputs``, (N, 3, H, W), and ``data_samples``, a list; what MMSegmentation's
        data preprocessor takes, like ours.
    """
    collated = pseudo_collate(batch)
    if not isinstance(collated, dict) or collated.keys() != {'inputs', 'data_samples'}:
        return collated
    inputs = collated['inputs']
    if all(isinstance(image, Tensor) for image in inputs) and _alike(inputs):
        collated['inputs'] = default_collate(inputs)
    collated['data_samples'] = _Samples(collated['data_samples'])
    return collated


class _Samples(list):
    """Samples that a pickle holds as one tensor of labels and their metadata."""

    def __reduce__(self) -> tuple:
        if not all(_has_labels_alone(sample) for sample in self):
            return list, (list(self),)
        labels = [sample.gt_sem_seg.data for sample in self]
        if not _alike(labels):
            return list, (list(self),)
        return _samples_of, (torch.stack(labels), [s.metainfo for s in self])

    def __reduce_ex__(self, protocol: Any) -> tuple:
        return self.__reduce__()


def _has_labels_alone(sample: Any) -> bool:
    if type(sample) is not SegDataSample or sample.keys() != ['gt_sem_seg']:
        return False
    labels = sample.gt_sem_seg
    return labels.keys() == ['data'] and not labels.metainfo_keys()


def _alike(tensors: Sequence[Tensor]) -> bool:
    return len({(tensor.dtype, tensor.shape) for tensor in tensors}) == 1


def _samples_of(labels: Tensor, metainfos: list[dict]) -> list[SegDataSample]:
    return [
        SegDataSample(metainfo=metainfo, gt_sem_seg=PixelData(data=label))
        for label, metainfo in zip(labels, metainfos, strict=True)
    ]
