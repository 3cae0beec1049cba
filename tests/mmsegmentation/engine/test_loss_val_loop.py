"""The loss of a validation: the mean over images that have a label."""

from types import SimpleNamespace

import pytest
import torch
from mmengine.logging import MessageHub
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch import nn

from mmsegmentation.engine import LossValLoop


class Bright(nn.Module):
    """Has the mean of an image for its loss."""

    def __init__(self):
        super().__init__()
        self.decode_head = SimpleNamespace(ignore_index=255)
        self.data_preprocessor = lambda batch, training: batch

    def forward(self, image, samples, mode):
        return {'decode.loss_ce': image.mean(), 'decode.acc_seg': torch.ones(1)}


@pytest.fixture
def loop():
    """Return the loop without what it takes to predict."""
    loop = LossValLoop.__new__(LossValLoop)
    hub = MessageHub.get_instance('loss_val_loop')
    loop._runner = SimpleNamespace(model=Bright(), message_hub=hub)
    loop.val_loss = {}
    return loop


def batch(*images):
    """Return images of one grey each, and whether they have a label."""
    labels = [
        torch.tensor([[[0, 255]]]) if known else torch.full((1, 1, 2), 255)
        for _, known in images
    ]
    return {
        'inputs': torch.stack([torch.full((3, 1, 2), float(x)) for x, _ in images]),
        'data_samples': [SegDataSample(gt_sem_seg=PixelData(data=x)) for x in labels],
    }


def test_mean__leaves_out_images_without_a_labelled_pixel(loop):
    found = loop._losses_of(batch((1, True), (100, False), (2, True)))
    assert found == [{'val_decode.loss_ce': 1.0}, {}, {'val_decode.loss_ce': 2.0}]
    loop._note(found)
    assert loop.val_loss['val_decode.loss_ce'].mean() == 1.5
