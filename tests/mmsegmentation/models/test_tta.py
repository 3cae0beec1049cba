"""Views of an image merged: by hand, and as MMSegmentation does."""

import pytest
import torch
from mmengine.structures import PixelData
from mmseg.models import SegTTAModel
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import nn

from mmsegmentation.models import FastEncoderDecoder, MeanProbabilityTTA
from mmsegmentation.models.logit_map import LogitMap, MeanOfViews

IMAGES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(3))


@torch.no_grad()
def segmentor(**head):
    """Build our segmentor on a small BEiT, with logits around 0 of a spread of 1."""
    torch.manual_seed(0)
    backbone = dict(type='FastBEiT', img_size=32, patch_size=8, embed_dims=8)
    model = FastEncoderDecoder(
        backbone=dict(backbone, num_layers=1, num_heads=2, out_indices=(0,)),
        decode_head=dict(
            type='FCNHead',
            in_channels=8,
            in_index=0,
            channels=8,
            num_convs=1,
            align_corners=False,
            **head,
        ),
        test_cfg=dict(mode='whole'),
    )
    model.eval()
    last = model.decode_head.conv_seg
    nn.init.normal_(last.weight)
    last.weight /= model(IMAGES).std()
    last.bias -= model(IMAGES).mean((0, 2, 3))
    return model


def place():
    size = dict(ori_shape=(32, 32), img_shape=(32, 32), img_path='x.jpg')
    return SegDataSample(metainfo=size)


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


def test_tta__keeps_what_mmsegmentation_keeps():
    views = [view(torch.zeros(11, 3, 4), f'{i}.jpg', [[[i]]]) for i in range(2)]
    for i, each in enumerate(views):
        each.set_metainfo(dict(ori_shape=(3, 4), reduce_zero_label=True, flip=bool(i)))
        each.gt_edge_map = PixelData(data=torch.full((1, 3, 4), i))
    (ours,) = merge(views)
    with pytest.warns(UserWarning, match='The shape of value will convert'):
        (theirs,) = SegTTAModel(module=Segmentor()).merge_preds([views])
    assert ours.metainfo == theirs.metainfo
    assert {*theirs.keys()} == {*ours.keys()} - {'confidence'}
    for key in ('gt_sem_seg', 'gt_edge_map'):
        assert torch.equal(ours.get(key).data, theirs.get(key).data)


@torch.no_grad()
def test_stock_tta__takes_our_segmentor_as_it_is():
    model = segmentor(num_classes=5)
    views = [model.predict(image[None], [place()])[0] for image in IMAGES]
    (ours,) = MeanProbabilityTTA(module=model).merge_preds([views])
    with pytest.warns(UserWarning, match='The shape of value will convert'):
        (theirs,) = SegTTAModel(module=model).merge_preds([views])
    assert theirs.pred_sem_seg.data.tolist() == ours.pred_sem_seg.data.tolist()


ONE = dict(num_classes=2, out_channels=1, threshold=0.4)


@torch.no_grad()
@pytest.mark.parametrize('head', [dict(num_classes=5), ONE], ids=['five', 'one'])
def test_tta__one_view_is_the_plain_prediction(head):
    model = segmentor(**head)
    data = dict(inputs=[IMAGES[:1]], data_samples=[[place()]])
    (merged,) = MeanProbabilityTTA(module=model).test_step(data)
    (plain,) = model.predict(IMAGES[:1], [place()])
    assert plain.pred_sem_seg.data.float().std() > 0
    assert torch.equal(merged.pred_sem_seg.data, plain.pred_sem_seg.data)
    off = merged.confidence.data.int() - plain.confidence.data.int()
    assert off.abs().max() <= 1


@torch.no_grad()
def test_tta__views_are_not_decided_one_by_one(monkeypatch):
    model, decided = segmentor(num_classes=5), []
    decide = LogitMap.decide
    monkeypatch.setattr(LogitMap, 'decide', lambda m: decided.append(m) or decide(m))
    data = dict(inputs=[IMAGES[:1], IMAGES[1:]], data_samples=[[place()], [place()]])
    MeanProbabilityTTA(module=model).test_step(data)
    assert [type(one) for one in decided] == [MeanOfViews]
    assert 'pred_sem_seg' in model.predict(IMAGES[:1])[0]


@torch.no_grad()
def test_tta__mean_of_one_channel_is_that_of_its_sigmoids():
    # 0.1 and 0.8: the mean is above 0.4, and that of the values before is not.
    before = torch.tensor([0.1, 0.8]).logit()
    model = segmentor(**ONE)
    for views in (before, before.sigmoid()):  # of other segmentors, and of stock
        views = [view(one.reshape(1, 1, 1)) for one in views]
        (merged,) = MeanProbabilityTTA(module=model).merge_preds([views])
        assert merged.pred_sem_seg.data.tolist() == [[[1]]]
        assert merged.seg_logits.data.item() == pytest.approx(0.45)
        assert merged.confidence.data.item() == round(255 * 0.45)


@torch.no_grad()
def test_tta__labels_of_one_channel_are_mmsegmentations():
    # It applies a sigmoid here, so the views hold what comes before.
    model = segmentor(**ONE)
    generator = torch.Generator().manual_seed(0)
    views = [view(one) for one in 4 * torch.randn(3, 1, 9, 7, generator=generator)]
    (ours,) = MeanProbabilityTTA(module=model).merge_preds([views])
    (theirs,) = SegTTAModel(module=model).merge_preds([views])
    assert ours.pred_sem_seg.data.float().tolist() == theirs.pred_sem_seg.data.tolist()
    assert ours.pred_sem_seg.data.unique().tolist() == [0, 1]
