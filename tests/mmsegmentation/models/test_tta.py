"""Views of an image merged: by hand, and as MMSegmentation does."""

import pytest
import torch
from mmengine.structures import PixelData
from mmseg.models import SegTTAModel
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import nn

from mmsegmentation.models import FastEncoderDecoder, MeanProbabilityTTA


class Segmentor(nn.Module):
    out_channels = 11
    test_step = None


def view(logits, path='x.jpg', label=None):
    sample = SegDataSample(metainfo={'img_path': path})
    sample.seg_logits = PixelData(data=torch.as_tensor(logits))
    if label is not None:
        sample.gt_sem_seg = PixelData(data=torch.as_tensor(label))
    return sample


def merge(*images):
    return MeanProbabilityTTA(module=Segmentor()).merge_preds(images)


def test_tta__is_built_by_name():
    model = MODELS.build({'type': 'MeanProbabilityTTA', 'module': Segmentor()})
    assert isinstance(model, MeanProbabilityTTA)


def test_tta__probabilities_are_averaged_not_logits():
    # By logits class 0 would win: 9 + 0 against 0 + 4.
    sure = torch.tensor([0.6, 0.4]).log()[:, None, None] + 100
    surer = torch.tensor([0.1, 0.9]).log()[:, None, None] - 100
    (merged,) = merge([view(sure), view(surer)])
    assert merged.pred_sem_seg.data.tolist() == [[[1]]]
    chances = merged.seg_logits.data.softmax(0).flatten().tolist()
    assert chances == pytest.approx([0.35, 0.65], abs=1e-5)


def test_tta__one_view_keeps_its_probabilities():
    logits = torch.randn(11, 3, 4, generator=torch.Generator().manual_seed(1))
    (merged,) = merge([view(logits)])
    found = merged.seg_logits.data.softmax(0)
    torch.testing.assert_close(found, logits.softmax(0))
    assert merged.pred_sem_seg.data.shape == (1, 3, 4)


def test_tta__labels_are_those_of_mmsegmentations_own():
    generator = torch.Generator().manual_seed(0)
    logits = 4 * torch.randn(3, 11, 9, 7, generator=generator)
    views = [view(one) for one in logits]
    (ours,) = merge(views)
    with pytest.warns(UserWarning, match='The shape of value will convert'):
        (theirs,) = SegTTAModel(module=Segmentor()).merge_preds([views])
    assert ours.pred_sem_seg.data.tolist() == theirs.pred_sem_seg.data.tolist()
    assert ours.pred_sem_seg.data.tolist() != logits.mean(0).argmax(0)[None].tolist()


def test_tta__images_stay_apart_with_their_path_and_labels():
    zero, one = [[[9.0]], [[0.0]]], [[[0.0]], [[9.0]]]
    first, second = merge(
        [view(zero, 'a.jpg', [[[3]]]), view(zero, 'a.jpg', [[[3]]])],
        [view(one, 'b.jpg'), view(one, 'b.jpg')],
    )
    assert (first.img_path, second.img_path) == ('a.jpg', 'b.jpg')
    assert first.pred_sem_seg.data.item() == 0
    assert second.pred_sem_seg.data.item() == 1
    assert first.gt_sem_seg.data.tolist() == [[[3]]]
    assert 'gt_sem_seg' not in second


@torch.no_grad()
@pytest.mark.parametrize('keep', [True, False])
def test_stock_tta__needs_the_logits_and_says_how_to_keep_them(keep):
    backbone = dict(type='FastBEiT', img_size=32, patch_size=8, embed_dims=8)
    head = dict(type='FCNHead', in_channels=8, channels=8, num_classes=5, num_convs=1)
    model = FastEncoderDecoder(
        backbone=dict(backbone, num_layers=1, num_heads=2, out_indices=(0,)),
        decode_head=dict(head, in_index=0, align_corners=False),
        test_cfg=dict(mode='whole', keep_seg_logits=keep),
    ).eval()
    size = dict(ori_shape=(32, 32), img_shape=(32, 32), img_path='x.jpg')
    images = torch.randn(1, 3, 32, 32)
    views = [model.predict(images, [SegDataSample(metainfo=size)])[0] for _ in range(2)]
    stock = SegTTAModel(module=model)
    if keep:
        with pytest.warns(UserWarning, match='The shape of value will convert'):
            (merged,) = stock.merge_preds([views])
        labels = views[0].pred_sem_seg.data
        assert merged.pred_sem_seg.data.tolist() == labels.tolist()
    else:
        with pytest.raises(AttributeError, match='set keep_seg_logits=True'):
            stock.merge_preds([views])
