"""The loss of validation, with the heads of any project."""

from types import SimpleNamespace

import pytest
import torch
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import nn

from mmsegmentation.command import InputError
from mmsegmentation.engine import LossValLoop

pytestmark = pytest.mark.filterwarnings('ignore:Default ``avg_non_ignore``')


def model_of(fast: str) -> nn.Module:
    init_default_scope('mmseg')
    torch.manual_seed(0)
    return MODELS.build(
        dict(
            type=f'{fast}EncoderDecoder',
            data_preprocessor=dict(type=f'{fast}SegDataPreProcessor'),
            backbone=dict(
                type='ConvNeXt',
                arch=dict(depths=[1], channels=[4]),
                gap_before_final_norm=False,
            ),
            decode_head=dict(
                type=f'{fast}FCNHead',
                in_channels=4,
                in_index=0,
                channels=4,
                num_classes=3,
                norm_cfg=dict(type='BN'),
            ),
        )
    ).eval()


def batch_of(dtype=torch.uint8, sizes=((32, 32), (32, 32))) -> dict:
    inputs, samples = [], []
    for i, size in enumerate(sizes):
        inputs.append(torch.full((3, *size), 9 * i, dtype=torch.uint8))
        labels = torch.full((1, *size), i, dtype=dtype)
        samples.append(SegDataSample(gt_sem_seg=PixelData(data=labels)))
    return {'inputs': inputs, 'data_samples': samples}


def losses_of(model: nn.Module, batch: dict) -> list[dict[str, float]]:
    loop = object.__new__(LossValLoop)
    loop._runner = SimpleNamespace(model=model)
    with torch.no_grad():
        return loop._losses_of(batch)


@pytest.mark.parametrize('dtype', [torch.uint8, torch.int64])
def test_loss__of_stock_heads_is_that_of_ours(dtype):
    stock, ours = model_of(''), model_of('Fast')
    batch = batch_of(dtype)
    found = losses_of(stock, batch)
    assert [list(row) for row in found] == [['val_decode.loss_ce']] * 2
    for row, wanted in zip(found, losses_of(ours, batch_of()), strict=True):
        assert row == pytest.approx(wanted, rel=1e-6)
    assert batch['data_samples'][0].gt_sem_seg.data.dtype == dtype


def test_loss__of_a_batch_of_several_sizes_is_that_of_each_image():
    model = model_of('Fast')
    found = losses_of(model, batch_of(sizes=((32, 32), (32, 64))))
    alone = losses_of(model, batch_of(sizes=((32, 32), (32, 32))))
    assert found[0] == pytest.approx(alone[0])
    assert len(found) == 2


def test_loss__of_an_image_without_a_labelled_pixel_does_not_count():
    model, batch = model_of('Fast'), batch_of()
    wanted = losses_of(model, batch)
    batch['data_samples'][0].gt_sem_seg.data[:] = 255
    assert losses_of(model, batch) == [{}, wanted[1]]


def test_loss__leaves_out_the_padding_of_the_preprocessor():
    model = model_of('Fast')
    model.data_preprocessor.test_cfg = dict(size=(64, 96))
    found = losses_of(model, batch_of(sizes=((32, 48),)))
    model.data_preprocessor.test_cfg = None
    padded = batch_of(sizes=((32, 48),))
    (image,), (sample,) = padded['inputs'], padded['data_samples']
    padded['inputs'] = [nn.functional.pad(image, (0, 48, 0, 32))]
    labels = nn.functional.pad(sample.gt_sem_seg.data, (0, 48, 0, 32), value=255)
    sample.gt_sem_seg = PixelData(data=labels)
    assert found[0] == pytest.approx(losses_of(model, padded)[0])


def test_loss__of_images_without_labels_is_refused():
    batch = batch_of()
    del batch['data_samples'][1].gt_sem_seg
    with pytest.raises(InputError, match=r'has no labels after .*; add LoadAnnot'):
        losses_of(model_of('Fast'), batch)


def test_loss__of_a_model_without_a_decode_head_is_refused():
    loop = object.__new__(LossValLoop)
    loop._runner = SimpleNamespace(model=nn.Linear(1, 1))
    with pytest.raises(InputError, match=r'no decode_head.*; use val_cfg=dict'):
        loop.run()
