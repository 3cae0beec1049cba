"""The fast preprocessor gives MMSegmentation's batch, bit for bit."""

import copy

import pytest
import torch
from mmengine.structures import PixelData
from mmseg.models import SegDataPreProcessor
from mmseg.structures import SegDataSample

from mmsegmentation.models import FastSegDataPreProcessor

NORM = dict(
    mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], bgr_to_rgb=True
)


def batch(*sizes: tuple[int, int], dtype: torch.dtype = torch.uint8) -> dict:
    generator = torch.Generator().manual_seed(0)
    inputs, samples = [], []
    for size in sizes:
        image = torch.randint(
            0, 256, (3, *size), generator=generator, dtype=torch.uint8
        )
        labels = torch.randint(0, 11, (1, *size), generator=generator)
        labels[:, :2] = 255
        inputs.append(image.to(dtype))
        samples.append(SegDataSample(gt_sem_seg=PixelData(data=labels)))
    return {'inputs': inputs, 'data_samples': samples}


def bytes_of(data: dict) -> dict:
    """Return a copy whose labels are bytes."""
    data = copy.deepcopy(data)
    for sample in data['data_samples']:
        sample.gt_sem_seg.data = sample.gt_sem_seg.data.to(torch.uint8)
    return data


def check_same(data: dict, training: bool, **options) -> None:
    options = {**NORM, **options}
    ours = FastSegDataPreProcessor(**options)(bytes_of(data), training)
    theirs = SegDataPreProcessor(**options)(copy.deepcopy(data), training)
    assert torch.equal(ours['inputs'], theirs['inputs'])
    assert ours['inputs'].dtype == torch.float32
    for our, their in zip(ours['data_samples'], theirs['data_samples'], strict=True):
        kind = torch.int64 if training else torch.uint8
        assert our.gt_sem_seg.data.dtype == kind
        assert torch.equal(our.gt_sem_seg.data, their.gt_sem_seg.data)
        assert our.metainfo == their.metainfo


@pytest.mark.parametrize('bgr_to_rgb', [True, False])
@pytest.mark.parametrize('dtype', [torch.uint8, torch.float32])
@pytest.mark.parametrize(
    ('sizes', 'options'),
    [
        ([(8, 8), (8, 8)], dict(size=(8, 8))),
        ([(6, 8), (6, 8)], dict(size=(8, 8), pad_val=3, seg_pad_val=7)),
        ([(6, 8), (8, 5)], dict(size=(8, 8))),
        ([(12, 10), (12, 10)], dict(size=(8, 8))),
        ([(8, 12), (8, 12)], dict(size_divisor=4)),
        ([(7, 12), (8, 11)], dict(size_divisor=4)),
        ([(1, 9)], dict(size_divisor=1)),
    ],
)
def test_training__is_bit_exact(sizes, options, dtype, bgr_to_rgb):
    check_same(batch(*sizes, dtype=dtype), True, bgr_to_rgb=bgr_to_rgb, **options)


@pytest.mark.parametrize('test_cfg', [None, dict(size=(10, 12)), dict(size_divisor=8)])
def test_test__is_bit_exact(test_cfg):
    sizes = ((39, 38), (39, 38)) if test_cfg is None else ((9, 8), (9, 8))
    check_same(batch(*sizes), False, size=(8, 8), test_cfg=test_cfg)


@pytest.mark.parametrize('size', [(1, 40), (40, 1), (1, 1), (31, 33)])
def test_test__small_images_are_padded_to_the_stride_of_the_backbone(size):
    preprocessor = FastSegDataPreProcessor(**NORM)
    ours = preprocessor(batch(size, size), False)
    padded = SegDataPreProcessor(**NORM, test_cfg=dict(size=(32, 32)))
    theirs = padded(batch(size, size), False)
    assert torch.equal(ours['inputs'], theirs['inputs'])
    for our, their in zip(ours['data_samples'], theirs['data_samples'], strict=True):
        assert our.metainfo == their.metainfo
    assert not preprocessor.test_cfg


def test_test__images_of_two_sizes_are_refused():
    preprocessor = FastSegDataPreProcessor(**NORM)
    with pytest.raises(AssertionError, match='image size in a batch'):
        preprocessor(batch((8, 8), (8, 9)), False)


def test_test__needs_no_labels():
    data = {'inputs': batch((8, 8))['inputs'], 'data_samples': None}
    assert FastSegDataPreProcessor(**NORM)(data)['inputs'].shape == (1, 3, 8, 8)


def test_batch__of_the_loader_is_not_changed():
    data = bytes_of(batch((8, 8)))
    before = copy.deepcopy(data)
    FastSegDataPreProcessor(size=(8, 8), **NORM)(data, True)
    assert torch.equal(data['inputs'][0], before['inputs'][0])
    assert data['data_samples'][0].gt_sem_seg.data.dtype == torch.uint8
    assert data['data_samples'][0].metainfo == before['data_samples'][0].metainfo
