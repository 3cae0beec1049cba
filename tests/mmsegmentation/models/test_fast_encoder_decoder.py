"""The same labels as MMSegmentation's EncoderDecoder, from the same weights."""

import pickle

import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.structures import PixelData
from mmseg.apis import MMSegInferencer
from mmseg.models.segmentors import EncoderDecoder
from mmseg.structures import SegDataSample
from PIL import Image
from torch import nn

from mmsegmentation.models import (
    ConvNeXt,
    FastEncoderDecoder,
    FastSegDataPreProcessor,
    FastUPerHead,
)
from mmsegmentation.models import fast_encoder_decoder as module
from mmsegmentation.models.logit_map import LogitMap
from mmsegmentation.models.on_demand import label_ids

SLIDE = dict(mode='slide', crop_size=(32, 40), stride=(20, 24))
KINDS = EncoderDecoder, FastEncoderDecoder
HEAD = dict(
    type='UPerHead',
    in_channels=[8, 8],
    in_index=[0, 1],
    channels=8,
    num_classes=5,
    norm_cfg=dict(type='BN'),
    align_corners=False,
)
BACKBONE = dict(
    type='ConvNeXt',
    arch=dict(depths=[1, 1], channels=[8, 8]),
    out_indices=(0, 1),
    layer_scale_init_value=1.0,
    gap_before_final_norm=False,
)


def build(kind, test_cfg=None, head=None):
    torch.manual_seed(0)
    model = kind(
        backbone=BACKBONE,
        decode_head=dict(HEAD, **(head or {})),
        train_cfg=dict(),
        test_cfg=ConfigDict(test_cfg or dict(mode='whole')),
    )
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    return model.eval()


def pair(test_cfg=None, **more):
    test_cfg = {'mode': 'whole', **(test_cfg or {}), **more}
    return [build(kind, test_cfg) for kind in KINDS]


def forbid(*args):
    pytest.fail('logits at full size were computed')


def samples(count, **meta):
    return [SegDataSample(metainfo=dict(meta)) for _ in range(count)]


def run(model, images, metas):
    torch.manual_seed(1)
    return model.predict(images, samples(len(images), **metas))


METAS = {
    'same size': dict(ori_shape=(64, 80), img_shape=(64, 80), pad_shape=(64, 80)),
    'larger image': dict(ori_shape=(150, 201), img_shape=(64, 80), pad_shape=(64, 80)),
    'wide image': dict(ori_shape=(50, 600), img_shape=(64, 80), pad_shape=(64, 80)),
    'smaller image': dict(ori_shape=(31, 17), img_shape=(64, 80), pad_shape=(64, 80)),
    'padded': dict(ori_shape=(120, 100), img_shape=(60, 70), padding_size=[4, 6, 1, 3]),
    'padded in the test': dict(
        ori_shape=(60, 70), img_shape=(60, 70), img_padding_size=[0, 10, 0, 4]
    ),
    'flipped': dict(ori_shape=(100, 90), flip=True, flip_direction='horizontal'),
    'upside down': dict(ori_shape=(64, 80), flip=True, flip_direction='vertical'),
}


@torch.no_grad()
@pytest.mark.parametrize('test_cfg', [{'mode': 'whole'}, SLIDE], ids=['whole', 'slide'])
@pytest.mark.parametrize('meta', METAS.values(), ids=METAS)
def test_predict__equals_stock(meta, test_cfg):
    meta = {'img_shape': (64, 80), **meta}
    if 'padding_size' in meta or 'img_padding_size' in meta:
        meta['pad_shape'] = (64, 80)
    images = torch.randn(2, 3, 64, 80)
    stock, fast = (run(model, images, meta) for model in pair(test_cfg))
    for wanted, given in zip(stock, fast, strict=True):
        logits = wanted.seg_logits.data
        assert (given.seg_logits.data - logits).abs().max() <= 1e-5 * logits.abs().max()
        same = given.pred_sem_seg.data == wanted.pred_sem_seg.data
        assert same.float().mean() >= 0.9999
        probability = logits.softmax(0).amax(0)
        off = given.confidence.data[0] / 255 - probability
        assert off.abs().max() <= 0.5 / 255 + 1e-5


@torch.no_grad()
def test_predict__labels_are_bytes_inside_and_int64_to_anybody_else():
    _, fast = pair()
    (sample,) = run(fast, torch.randn(1, 3, 64, 80), METAS['same size'])
    assert label_ids(sample.pred_sem_seg).dtype == torch.uint8
    assert sample.pred_sem_seg.data.dtype == torch.int64
    assert (sample.pred_sem_seg.data - 1 >= -1).all()
    assert sample.to_dict()['pred_sem_seg']['data'].dtype == torch.int64
    assert sample.confidence.data.dtype == torch.uint8


@torch.no_grad()
@pytest.mark.parametrize('given', [True, False])
def test_predict__logits_at_full_size_are_computed_when_read(given, monkeypatch):
    images = torch.randn(1, 3, 64, 80)
    full = LogitMap.full
    monkeypatch.setattr(LogitMap, 'full', forbid)
    stock, fast = pair()
    (sample,) = run(fast, images, METAS['same size']) if given else fast.predict(images)
    fields = sample.to_dict()
    assert 'seg_logits' in sample
    assert sample.seg_logits.shape == (64, 80)
    monkeypatch.setattr(LogitMap, 'full', full)
    wanted = stock.predict(images)[0].seg_logits.data
    torch.testing.assert_close(sample.seg_logits.data, wanted, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(
        fields['seg_logits']['data'], wanted, rtol=1e-4, atol=1e-4
    )
    again = pickle.loads(pickle.dumps(sample))
    assert torch.equal(again.pred_sem_seg.data, sample.pred_sem_seg.data)


HEIGHTS = dict(crop_size=(32, 80), stride=(20, 80))
WIDTHS = dict(crop_size=(64, 40), stride=(64, 24))


@torch.no_grad()
@pytest.mark.parametrize('windows', [HEIGHTS, WIDTHS], ids=['high', 'wide'])
def test_predict__one_side_above_the_window_slides_too(windows):
    images = torch.randn(1, 3, 64, 80)
    (stock,), (fast,) = (
        run(model, images, METAS['same size'])
        for model in pair(dict(mode='slide', **windows))
    )
    torch.testing.assert_close(
        fast.seg_logits.data, stock.seg_logits.data, rtol=1e-4, atol=1e-4
    )


@torch.no_grad()
def test_predict__windows_that_see_padding_alone_give_nothing():
    images = torch.randn(1, 3, 64, 80)
    meta = dict(ori_shape=(24, 30), img_shape=(24, 30), pad_shape=(64, 80))
    meta['img_padding_size'] = [0, 50, 0, 40]
    test_cfg = dict(mode='slide', crop_size=(16, 16), stride=(16, 16))
    (stock,), (fast,) = (run(model, images, meta) for model in pair(test_cfg))
    torch.testing.assert_close(
        fast.seg_logits.data, stock.seg_logits.data, rtol=1e-4, atol=1e-4
    )


@torch.no_grad()
@pytest.mark.parametrize('count', [254, 255, 256, 257, 300])
def test_predict__class_ids_beyond_bytes_are_exact(count):
    # The bias alone decides: by the first image the last class.
    model = build(FastEncoderDecoder, head=dict(num_classes=count))
    nn.init.zeros_(model.decode_head.conv_seg.weight)
    nn.init.zeros_(model.decode_head.conv_seg.bias)
    model.decode_head.conv_seg.bias[-1] = 1
    (sample,) = run(model, torch.randn(1, 3, 64, 80), METAS['larger image'])
    kept = torch.uint8 if count <= 256 else torch.int64
    assert label_ids(sample.pred_sem_seg).dtype == kept
    assert sample.pred_sem_seg.data.unique().tolist() == [count - 1]


@torch.no_grad()
@pytest.mark.parametrize('test_cfg', [{'mode': 'whole'}, SLIDE], ids=['whole', 'slide'])
def test_predict__strips_give_the_labels_of_the_whole(test_cfg, monkeypatch):
    images, meta = torch.randn(1, 3, 64, 80), METAS['padded']
    meta = {**meta, 'pad_shape': (64, 80)}
    _, whole = pair(test_cfg, strip_memory=64)
    _, fine = pair(test_cfg, strip_memory=1 / 2**10)
    (wanted,), (given,) = (run(model, images, meta) for model in (whole, fine))
    assert torch.equal(given.pred_sem_seg.data, wanted.pred_sem_seg.data)
    assert torch.equal(given.confidence.data, wanted.confidence.data)
    assert len(list(given.seg_logits.source.strips())) == 30  # of four rows each


@pytest.mark.filterwarnings('ignore')
def test_inferencer__of_mmsegmentation_takes_our_segmentor(tmp_path):
    pipeline = [dict(type='LoadImageFromFile'), dict(type='PackSegInputs')]
    config = ConfigDict(
        model=dict(
            type='FastEncoderDecoder',
            data_preprocessor=dict(type='SegDataPreProcessor'),
            backbone=BACKBONE,
            decode_head=HEAD,
            test_cfg=dict(mode='whole'),
        ),
        test_dataloader=dict(dataset=dict(pipeline=pipeline)),
        visualizer=dict(type='SegLocalVisualizer', name=tmp_path.name),
    )
    infer = MMSegInferencer(config, device='cpu', show_progress=False)
    image = np.random.default_rng(0).integers(0, 256, (64, 80, 3), dtype=np.uint8)
    (wanted,) = infer(image, return_datasamples=True).pred_sem_seg.data
    found = infer(image, out_dir=str(tmp_path))['predictions']
    assert found.dtype == np.int64
    assert found.tolist() == wanted.tolist()
    written = np.array(Image.open(tmp_path / 'pred/00000000_pred.png'))
    assert written.tolist() == wanted.tolist()


def test_strip_memory__must_be_above_zero():
    with pytest.raises(ValueError, match='strip_memory must be above 0, got 0'):
        build(FastEncoderDecoder, dict(mode='whole', strip_memory=0))


@torch.no_grad()
def test_predict__keeps_what_a_sample_had():
    label = PixelData(data=torch.ones(1, 64, 80, dtype=torch.uint8))
    (sample,) = samples(1, img_path='a.jpg', **METAS['same size'])
    sample.gt_sem_seg = label
    (given,) = pair()[1].predict(torch.randn(1, 3, 64, 80), [sample])
    assert given.img_path == 'a.jpg'
    assert given.gt_sem_seg is label
    assert {'gt_sem_seg', 'pred_sem_seg', 'confidence', 'seg_logits'} == set(
        given.keys()
    )


@torch.no_grad()
def test_predict__without_samples_equals_stock():
    images = torch.randn(2, 3, 64, 80)
    stock, fast = (model.predict(images) for model in pair())
    for wanted, given in zip(stock, fast, strict=True):
        assert torch.equal(wanted.pred_sem_seg.data, given.pred_sem_seg.data)


@torch.no_grad()
@pytest.mark.parametrize('windows', [1, 3, 100])
def test_predict__windows_together_are_windows_alone(windows):
    images = torch.randn(1, 3, 70, 90)
    meta = dict(ori_shape=(70, 90), img_shape=(70, 90))
    stock, fast = (
        run(model, images, meta)[0] for model in pair(SLIDE, windows=windows)
    )
    torch.testing.assert_close(
        fast.seg_logits.data, stock.seg_logits.data, rtol=1e-4, atol=1e-4
    )


@torch.no_grad()
@pytest.mark.parametrize('test_cfg', [{'mode': 'whole'}, SLIDE], ids=['whole', 'slide'])
@pytest.mark.parametrize('meta', ['larger image', 'same size', 'flipped'])
def test_predict__a_head_with_one_channel_equals_stock(meta, test_cfg):
    head = dict(num_classes=2, out_channels=1, threshold=0.4)
    stock, fast = (build(kind, test_cfg, head) for kind in KINDS)
    images = torch.randn(1, 3, 64, 80)
    meta = {'img_shape': (64, 80), **METAS[meta]}
    wanted, given = (run(m, images, meta)[0] for m in (stock, fast))
    labels, chances = wanted.pred_sem_seg.data, wanted.seg_logits.data
    assert labels.unique().tolist() == [0, 1]
    assert torch.equal(given.pred_sem_seg.data, labels.long())
    torch.testing.assert_close(given.seg_logits.data, chances, rtol=1e-4, atol=1e-5)
    off = given.confidence.data - 255 * torch.where(labels > 0, chances, 1 - chances)
    assert off.abs().max() <= 0.5 + 1e-2


@torch.no_grad()
@pytest.mark.parametrize('direction', ['diagonal', None])
def test_predict__refuses_flips_it_cannot_undo(direction):
    meta = dict(ori_shape=(64, 80), flip=True, flip_direction=direction)
    with pytest.raises(ValueError, match='cannot be undone'):
        run(pair()[1], torch.randn(1, 3, 64, 80), meta)


@torch.no_grad()
def test_predict__refuses_an_unknown_mode():
    with pytest.raises(ValueError, match="got 'silde'"):
        run(pair(dict(mode='silde'))[1], torch.randn(1, 3, 64, 80), {})


@torch.no_grad()
def test_predict__decides_in_float32_under_autocast():
    model = pair()[1]
    with torch.autocast('cpu', torch.bfloat16):
        (sample,) = run(model, torch.randn(1, 3, 64, 80), METAS['larger image'])
    assert sample.seg_logits.data.dtype == torch.float32


def test_precision__is_checked():
    with pytest.raises(ValueError, match="got 'half'"):
        build(FastEncoderDecoder, dict(mode='whole', precision='half'))


@torch.no_grad()
def test_precision__bf16_gives_nearly_the_same_labels(monkeypatch):
    monkeypatch.setattr(module, 'precision_of', lambda name: name)
    images = torch.randn(1, 3, 64, 80)
    found = []
    for precision in ('fp32', 'bf16'):
        model = build(FastEncoderDecoder, dict(mode='whole', precision=precision))
        found.append(run(model, images, METAS['same size'])[0])
    labels = [sample.pred_sem_seg.data for sample in found]
    assert (labels[0] == labels[1]).float().mean() > 0.9
    # The rounding shows somewhere: it was bf16.
    assert not torch.equal(*(sample.confidence.data for sample in found))


def test_model__trains_with_labels_as_bytes():
    model = build(FastEncoderDecoder, head=dict(type='FastUPerHead')).train()
    assert isinstance(model.backbone, ConvNeXt)
    assert isinstance(model.decode_head, FastUPerHead)
    labels = torch.from_numpy(np.arange(64 * 80, dtype=np.uint8).reshape(1, 64, 80) % 5)
    batch = [SegDataSample(gt_sem_seg=PixelData(data=labels))] * 2
    losses = model.loss(torch.randn(2, 3, 64, 80), batch)
    assert losses['decode.loss_ce'].isfinite()


def test_model__loses_as_stock_does_over_50_steps():
    curves = []
    for kind, head in zip(KINDS, ('UPerHead', 'FastUPerHead'), strict=True):
        model = build(kind, head=dict(type=head)).train()
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
        generator = torch.Generator().manual_seed(0)
        images = torch.randn(2, 3, 32, 40, generator=generator)
        labels = torch.full((2, 1, 32, 40), 3)
        labels[..., 20:] = 1
        batch = [SegDataSample(gt_sem_seg=PixelData(data=label)) for label in labels]
        torch.manual_seed(0)  # the dice of the dropout
        losses = []
        for _ in range(50):
            loss = model.loss(images, batch)['decode.loss_ce']
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
        curves.append(torch.stack(losses))
    assert curves[0][-1] < 0.98 * curves[0][0]
    torch.testing.assert_close(curves[1], curves[0], rtol=1e-3, atol=0)


@pytest.mark.parametrize('step', ['val_step', 'test_step'])
def test_predict__a_batch_of_several_sizes_is_that_of_each_image(step):
    model = build(FastEncoderDecoder).eval()
    model.data_preprocessor = FastSegDataPreProcessor([1, 2, 3], [4, 5, 6])
    sizes = (40, 48), (64, 32), (40, 48), (1, 50)

    def data(*places):
        return {
            'inputs': [
                torch.full((3, *sizes[i]), 20 * i, dtype=torch.uint8) for i in places
            ],
            'data_samples': [
                SegDataSample(metainfo=dict(ori_shape=sizes[i], img_path=str(i)))
                for i in places
            ],
        }

    with torch.no_grad():
        together = getattr(model, step)(data(0, 1, 2, 3))
        for place, sample in enumerate(together):
            (alone,) = getattr(model, step)(data(place))
            assert sample.img_path == str(place)
            assert sample.pred_sem_seg.data.shape[1:] == sizes[place]
            assert torch.equal(sample.pred_sem_seg.data, alone.pred_sem_seg.data)
