"""A stacked batch is the batch of MMEngine's collate."""

import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.registry import FUNCTIONS
from mmseg.datasets.transforms import PackSegInputs
from mmseg.models import SegDataPreProcessor
from torch.utils.data import DataLoader

from mmsegmentation.datasets import stacked_collate
from mmsegmentation.datasets.transforms import FastPackSegInputs
from mmsegmentation.models import FastSegDataPreProcessor

pytestmark = pytest.mark.filterwarnings('ignore:This DataLoader will create')


class Packed:
    """Packed samples; of two sizes if asked."""

    def __init__(self, pack, sizes: int = 1) -> None:
        self.pack = pack
        self.sizes = sizes

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> dict:
        rng = np.random.default_rng(index)
        shape = (6, 8 + index % self.sizes)
        return self.pack(
            {
                'img': rng.integers(0, 256, (*shape, 3), dtype=np.uint8),
                'gt_seg_map': rng.integers(0, 11, shape, dtype=np.uint8),
                'img_path': f'{index}.jpg',
                'flip': bool(index),
            }
        )


def check_same(ours: dict, theirs: dict) -> None:
    for our, their in zip(ours['inputs'], theirs['inputs'], strict=True):
        assert torch.equal(our, their)
    pairs = zip(ours['data_samples'], theirs['data_samples'], strict=True)
    for our, their in pairs:
        assert type(our) is type(their)
        assert our.metainfo == their.metainfo
        assert our.keys() == their.keys()
        assert torch.equal(our.gt_sem_seg.data, their.gt_sem_seg.data)
        assert our.gt_sem_seg.data.dtype == their.gt_sem_seg.data.dtype


@pytest.mark.parametrize('workers', [0, 2])
@pytest.mark.parametrize('sizes', [1, 2])
@pytest.mark.parametrize('pack', [FastPackSegInputs(byte_labels=True), PackSegInputs()])
def test_collate__is_the_stock_batch(pack, sizes, workers):
    context = 'fork' if workers else None
    batches = [
        next(
            iter(
                DataLoader(
                    Packed(pack, sizes),
                    4,
                    num_workers=workers,
                    collate_fn=collate,
                    multiprocessing_context=context,
                )
            )
        )
        for collate in (stacked_collate, pseudo_collate)
    ]
    check_same(*batches)
    in_bytes = isinstance(pack, FastPackSegInputs)
    assert isinstance(batches[0]['inputs'], torch.Tensor) == (sizes == 1 and in_bytes)


@pytest.mark.parametrize('training', [True, False])
def test_collate__feeds_both_preprocessors_alike(training):
    options = dict(mean=[1, 2, 3], std=[4, 5, 6], bgr_to_rgb=True, size=(6, 8))
    samples = [Packed(PackSegInputs())[i] for i in range(4)]
    for cls in (SegDataPreProcessor, FastSegDataPreProcessor):
        ours = cls(**options)(stacked_collate(samples), training)
        theirs = cls(**options)(pseudo_collate(samples), training)
        assert torch.equal(ours['inputs'], theirs['inputs'])
        check_same(ours, theirs)


def test_collate__other_fields_travel_too():
    samples = [Packed(FastPackSegInputs(byte_labels=True))[i] for i in range(2)]
    for sample in samples:
        sample['data_samples'].gt_edge_map = sample['data_samples'].gt_sem_seg
    batch = stacked_collate(samples)
    check_same(batch, pseudo_collate(samples))
    assert 'gt_edge_map' in batch['data_samples'][1]


def test_collate__can_be_named_in_a_config():
    assert FUNCTIONS.get('stacked_collate') is stacked_collate
