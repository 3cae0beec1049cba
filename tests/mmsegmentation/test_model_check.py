"""A model that its data cannot train is refused with the right numbers."""

from types import SimpleNamespace

import pytest
import torch
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from torch.utils.data import DataLoader, Dataset

from mmsegmentation.command import InputError
from mmsegmentation.engine import SeededInfiniteSampler
from mmsegmentation.model_check import check_model, num_classes_of

pytestmark = [
    pytest.mark.filterwarnings('ignore:Default ``avg_non_ignore``'),
    pytest.mark.filterwarnings('ignore:For binary segmentation'),
    pytest.mark.filterwarnings('ignore:threshold is not defined'),
]


class Images(Dataset):
    def __init__(self, count, classes):
        self.count = count
        self.metainfo = {'classes': tuple(map(str, range(classes)))}

    def __len__(self):
        return self.count


def check(count=4, batch_size=2, classes=3, sampler=None, aux=None, **head):
    """Check a ConvNeXt with a UPerHead and an FCNHead against images."""
    init_default_scope('mmseg')
    heads = dict(num_classes=3, norm_cfg=dict(type='BN'), channels=8)
    model = MODELS.build(
        dict(
            type='FastEncoderDecoder',
            data_preprocessor=dict(type='FastSegDataPreProcessor', size=(64, 64)),
            backbone=dict(
                type='ConvNeXt',
                arch='femto',
                out_indices=[0, 1, 2, 3],
                gap_before_final_norm=False,
            ),
            decode_head=dict(
                type='FastUPerHead',
                in_channels=[48, 96, 192, 384],
                in_index=[0, 1, 2, 3],
            )
            | heads
            | head,
            auxiliary_head=dict(type='FCNHead', in_channels=192, in_index=2)
            | heads
            | (aux or {}),
        )
    )
    data = Images(count, classes)
    loader = DataLoader(data, batch_size, sampler=sampler and sampler(data))
    check_model(SimpleNamespace(model=model, train_dataloader=loader))
    return model


def refuse(message, **more):
    with pytest.raises(InputError, match=message):
        check(**more)


def test_model__that_fits_keeps_its_state_and_the_random_numbers():
    torch.manual_seed(0)
    before = check().state_dict()
    after = torch.rand(1)
    torch.manual_seed(0)
    model = check()
    assert torch.rand(1) == after
    torch.testing.assert_close(model.state_dict(), before)
    assert all(part.training for part in model.modules())
    assert all(value.device.type == 'cpu' for value in model.state_dict().values())
    norm = model.decode_head.bottleneck.norm
    assert norm.num_batches_tracked == 0


@pytest.mark.parametrize('own', [2, 150])
def test_classes__of_each_head_are_those_of_the_data(own):
    message = (
        rf'model\.%s\.num_classes: the head has {own} classes, .* has 3; set it to 3'
    )
    refuse(message % 'decode_head', num_classes=own)
    refuse(message % 'auxiliary_head', aux=dict(num_classes=own))


def test_classes__one_output_tells_two_apart():
    one = dict(
        num_classes=2,
        out_channels=1,
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=True),
    )
    check(classes=2, aux=one, **one)
    check(classes=2, aux=one, **{**one, 'num_classes': 1})
    refuse('2 classes, .* has 3; set it to 3 and remove out_channels', **one)


@pytest.mark.parametrize(('classes', 'outputs'), [(1, 1), (2, 1), (2, 2), (5, 5)])
def test_classes__that_a_label_may_name(classes, outputs):
    head = SimpleNamespace(num_classes=classes, out_channels=outputs)
    assert num_classes_of(head) == max(2, classes)
    assert num_classes_of(None) == 0


def test_classes__of_data_without_a_table_are_not_known():
    check(classes=0, num_classes=9)


def test_class_weight__has_a_number_for_each_output():
    def loss(count):
        return dict(type='CrossEntropyLoss', class_weight=[1.0] * count)

    check(loss_decode=loss(3))
    refuse('decode_head.*weight: has 2 numbers, .* 3 outputs', loss_decode=loss(2))
    several = [dict(type='CrossEntropyLoss'), loss(4)]
    refuse('auxiliary_head.*has 4 numbers', aux=dict(loss_decode=several))


def test_channels__of_a_head_are_those_of_the_backbone():
    refuse(
        r'model\.decode_head\.in_channels: is \[96, 192, 384, 768\], but the backbone '
        r'returns .*: \[48, 96, 192, 384\]; set it to \[48, 96, 192, 384\]',
        in_channels=[96, 192, 384, 768],
    )
    refuse(r'model\.auxiliary_head\.in_channels: is 384', aux=dict(in_channels=384))
    refuse('in_index: is 4, .*; use indices from 0 to 3', aux=dict(in_index=4))


def test_batch__of_one_image_meets_a_batch_norm():
    refuse('batch_size=1: .*1 x 1 needs two images', batch_size=1)
    check(batch_size=1, norm_cfg=dict(type='GN', num_groups=2))


def test_batch__the_last_one_may_be_of_one_image():
    refuse('train_dataloader: the last batch .*; set drop_last=True', count=5)
    check(count=5, sampler=SeededInfiniteSampler)
