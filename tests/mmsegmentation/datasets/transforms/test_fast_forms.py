"""The fast transforms give what MMSegmentation's give under the same seed."""

from collections.abc import Callable

import cv2
import numpy as np
import pytest
import torch
from mmcv.transforms import Pad
from mmseg.datasets.transforms import (
    LoadAnnotations,
    PackSegInputs,
    PhotoMetricDistortion,
    RandomFlip,
    RandomRotate,
    Resize,
)
from mmseg.models import SegDataPreProcessor
from mmseg.models.decode_heads import FCNHead

from mmsegmentation.datasets.transforms import (
    FastPackSegInputs,
    FastPhotoMetricDistortion,
    FastResize,
    FlipRotateResize,
)
from mmsegmentation.files import write_mask
from mmsegmentation.models import FastSegDataPreProcessor

MEAN = (103.53, 116.28, 123.675)
SHAPES = [(64, 64), (48, 80), (1, 37), (37, 1), (1, 1), (4, 1)]
Chain = list[Callable[[dict], dict]]


def sample(shape: tuple[int, int], seed: int = 0) -> dict:
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (5, 5, 3), dtype=np.uint8)
    img = cv2.resize(small, shape[::-1], interpolation=cv2.INTER_LINEAR)
    img = cv2.add(img, rng.integers(0, 20, img.shape, dtype=np.uint8))
    labels = rng.integers(0, 11, shape, dtype=np.uint8)
    labels[: shape[0] // 4] = 255
    return {
        'img': img,
        'gt_seg_map': labels,
        'seg_fields': ['gt_seg_map'],
        'img_path': 'a.jpg',
        'seg_map_path': 'a.png',
        'ori_shape': shape,
        'img_shape': shape,
        'reduce_zero_label': False,
    }


def run(chain: Chain, results: dict, seed: int) -> tuple[dict, float]:
    """Return the result, and the next random number: it tells how many were drawn."""
    np.random.seed(seed)
    results = {**results, 'seg_fields': list(results['seg_fields'])}
    for transform in chain:
        results = transform(results)
    return results, np.random.random()


def check_same(fast: Chain, stock: Chain, given: dict, seed: int) -> None:
    for array in (given['img'], given['gt_seg_map']):
        array.flags.writeable = False  # a change in place would raise
    ours, our_next = run(fast, given, seed)
    theirs, their_next = run(stock, given, seed)
    assert our_next == their_next
    assert ours.keys() == theirs.keys()
    for key, value in theirs.items():
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(ours[key], value, err_msg=key)
            assert ours[key].dtype == value.dtype
        else:
            assert ours[key] == value, key


def rotation(size: tuple[int, int] | None, scale: tuple[int, int] | None) -> Chain:
    chain = [RandomFlip(0.5), RandomRotate(0.8, 30, MEAN, 255)]
    if size:
        chain.append(Pad(size, pad_val=dict(img=MEAN, seg=255)))
    if scale:
        chain.append(Resize(scale))
    return chain


@pytest.mark.parametrize('shape', SHAPES)
def test_photo_metric_distortion__is_bit_exact(shape):
    fast, stock = FastPhotoMetricDistortion(), PhotoMetricDistortion()
    for seed in range(60):
        check_same([fast], [stock], sample(shape, seed), seed)


def test_photo_metric_distortion__wide_ranges_are_bit_exact():
    ranges = dict(brightness_delta=255, contrast_range=(0, 9), saturation_range=(0, 9))
    fast, stock = FastPhotoMetricDistortion(**ranges), PhotoMetricDistortion(**ranges)
    for seed in range(60):
        check_same([fast], [stock], sample((16, 16), seed), seed)


def test_photo_metric_distortion__every_value_of_a_channel_is_mapped_the_same():
    ramp = np.dstack([np.arange(256, dtype=np.uint8)[None]] * 3)
    given = {**sample((1, 256)), 'img': ramp}
    for seed in range(300):
        check_same(
            [FastPhotoMetricDistortion()], [PhotoMetricDistortion()], given, seed
        )


def test_photo_metric_distortion__float_images_take_the_stock_way():
    given = sample((8, 8))
    given['img'] = given['img'].astype(np.float32)
    check_same([FastPhotoMetricDistortion()], [PhotoMetricDistortion()], given, 1)


def test_photo_metric_distortion__one_round_trip_stays_near():
    fast, stock = FastPhotoMetricDistortion(exact=False), PhotoMetricDistortion()
    apart = 0
    for seed in range(60):
        (ours, after), (theirs, next_) = (
            run([step], sample((64, 64), seed), seed) for step in (fast, stock)
        )
        assert after == next_
        gap = np.abs(ours['img'].astype(int) - theirs['img'])
        apart += (gap > 0).mean() / 60
        assert gap.max() <= 8
    assert apart < 0.15


@pytest.mark.parametrize('shape', SHAPES)
@pytest.mark.parametrize('size', [None, (64, 72)])
@pytest.mark.parametrize('scale', [None, (80, 80)])
def test_flip_rotate_resize__is_bit_exact(shape, size, scale):
    fast = FlipRotateResize(pad_val=MEAN, pad_size=size, scale=scale)
    for seed in range(25):
        check_same([fast], rotation(size, scale), sample(shape, seed), seed)


@pytest.mark.parametrize('direction', ['vertical', 'diagonal'])
def test_flip_rotate_resize__other_directions_are_bit_exact(direction):
    fast = FlipRotateResize(0.7, direction, 0.5, (-90, 10), MEAN)
    stock = [RandomFlip(0.7, direction), RandomRotate(0.5, (-90, 10), MEAN, 255)]
    for seed in range(25):
        check_same([fast], stock, sample((20, 31), seed), seed)


def test_flip_rotate_resize__ignored_pixels_stay_ignored():
    given = sample((32, 32))
    given['gt_seg_map'][:] = 255
    for seed in range(10):
        result, _ = run([FlipRotateResize(scale=(40, 40))], given, seed)
        assert (result['gt_seg_map'] == 255).all()


def test_flip_rotate_resize__one_warp_draws_and_records_the_same():
    fast = FlipRotateResize(pad_val=MEAN, scale=(80, 80), exact=False)
    for seed in range(25):
        given = sample((64, 64), seed)
        ours, after = run([fast], given, seed)
        theirs, next_ = run(rotation(None, (80, 80)), given, seed)
        assert after == next_
        arrays = {'img', 'gt_seg_map'}
        for key in theirs.keys() - arrays:
            assert ours[key] == theirs[key]
        for key in arrays:
            assert ours[key].shape == theirs[key].shape


@pytest.mark.parametrize('keep_ratio', [True, False])
@pytest.mark.parametrize('shape', [(64, 64), (48, 64), (64, 32), (10, 20)])
def test_resize__is_bit_exact_and_copies_only_what_changes(shape, keep_ratio):
    given = sample(shape)
    options = dict(scale=(64, 64), keep_ratio=keep_ratio)
    check_same([FastResize(**options)], [Resize(**options)], given, 0)
    result, _ = run([FastResize(**options)], given, 0)
    same_size = result['img'].shape == given['img'].shape
    assert (result['img'] is given['img']) == same_size


@pytest.mark.parametrize(
    ('shape', 'wanted'), [((1, 2000), (1, 64)), ((2000, 1), (64, 1))]
)
def test_resize__a_thin_picture_keeps_a_pixel(shape, wanted):
    given = sample(shape)
    resize = FastResize(scale=(64, 64), keep_ratio=True)
    result, _ = run([resize], given, 0)
    assert result['img'].shape[:2] == result['gt_seg_map'].shape == wanted
    assert result['img_shape'] == wanted
    assert result['keep_ratio'] and resize.scale == (64, 64)


def test_resize__a_thin_picture_is_resized_as_it_is_said():
    given = sample((2, 2000))
    given['img'][:, ::2] = 255
    given['img'][:, 1::2] = 0
    nearest = FastResize(scale=(64, 64), keep_ratio=True, interpolation='nearest')
    result, _ = run([nearest], given, 0)
    assert result['img'].shape[:2] == (1, 64)
    assert {*np.unique(result['img'])} <= {0, 255}  # no grey between them


@pytest.mark.parametrize('shape', [(1, 7), (7, 1), (1, 1)])
def test_pack__labels_of_one_row_are_a_map(shape, tmp_path):
    given = sample(shape)
    wanted = np.full(shape, 3, np.uint8)
    given |= dict(seg_map_path=str(tmp_path / 'a.png'), seg_fields=[])
    write_mask(tmp_path / 'a.png', wanted)
    given['img_shape'] = (5, 64)  # labels are loaded after the resize
    loaded = LoadAnnotations()(given)
    assert loaded['gt_seg_map'].ndim < 2
    packed = FastPackSegInputs()(loaded)['data_samples']
    assert packed.gt_sem_seg.data.tolist() == wanted[None].tolist()


@pytest.mark.parametrize('byte_labels', [False, True])
@pytest.mark.parametrize('shape', SHAPES)
def test_pack__same_tensors_with_labels_of_one_byte_on_request(shape, byte_labels):
    given = sample(shape)
    ours = FastPackSegInputs(byte_labels=byte_labels)(given)
    theirs = PackSegInputs()(given)
    assert list(ours) == list(theirs)
    assert torch.equal(ours['inputs'], theirs['inputs'])
    assert ours['inputs'].is_contiguous()
    our_sample, their_sample = ours['data_samples'], theirs['data_samples']
    assert our_sample.metainfo == their_sample.metainfo
    labels = our_sample.gt_sem_seg.data
    assert labels.dtype == (torch.uint8 if byte_labels else torch.int64)
    assert torch.equal(labels.long(), their_sample.gt_sem_seg.data)


@pytest.mark.parametrize('channels', [1, 4, 5, 128, 129, 600])
def test_pack__of_any_number_of_channels_equals_stock(channels):
    given = sample((4, 6))
    rng = np.random.default_rng(0)
    given['img'] = rng.integers(0, 256, (4, 6, channels), np.uint8)
    ours, theirs = FastPackSegInputs()(given), PackSegInputs()(given)
    assert torch.equal(ours['inputs'], theirs['inputs'])
    ours['inputs'].zero_()
    assert given['img'].any()


@pytest.mark.parametrize('preprocessor', [SegDataPreProcessor, FastSegDataPreProcessor])
@pytest.mark.parametrize('pack', [PackSegInputs, FastPackSegInputs])
def test_pack__each_half_of_the_pair_works_with_a_stock_head(pack, preprocessor):
    packed = pack()(sample((8, 8)))
    batch = {key: [value] for key, value in packed.items()}
    data = preprocessor(mean=MEAN, std=(1, 1, 1), size=(8, 8))(batch, training=True)
    head = FCNHead(in_channels=3, channels=4, num_classes=11, norm_cfg=dict(type='BN'))
    losses = head.loss([data['inputs']], data['data_samples'], train_cfg={})
    assert losses['loss_ce'] > 0


def test_pack__owns_its_memory_and_takes_read_only_arrays():
    given = sample((4, 6))
    given['gt_seg_map'].flags.writeable = given['img'].flags.writeable = False
    packed = FastPackSegInputs()(given)
    packed['data_samples'].gt_sem_seg.data.zero_()
    packed['inputs'].zero_()
    assert given['gt_seg_map'].any()
    assert given['img'].any()


def test_pack__without_labels_and_with_other_kinds():
    given = sample((4, 6))
    del given['gt_seg_map']
    assert 'gt_sem_seg' not in FastPackSegInputs()(given)['data_samples']
    given['img'] = given['img'][..., 0].astype(np.float32)
    assert FastPackSegInputs()(given)['inputs'].shape == (1, 4, 6)
