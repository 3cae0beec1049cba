"""Label maps in another size: equal to OpenCV, albumentations and Pillow."""

import albumentations
import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from utils.resize import resize_labels, sample_labels


def test_resize_labels__nearest_equals_opencv_for_any_size():
    rng = np.random.default_rng(0)
    for height, width in rng.integers(1, 700, (150, 2)):
        label_map = rng.integers(0, 11, (height, width), np.uint8)
        size = tuple(map(int, rng.integers(1, 300, 2)))
        wanted = cv2.resize(label_map, size[::-1], interpolation=cv2.INTER_NEAREST)
        np.testing.assert_array_equal(resize_labels(label_map, size), wanted)


def test_resize_labels__nearest_equals_albumentations():
    label_map = np.random.default_rng(0).integers(0, 11, (480, 640), np.uint8)
    resize = albumentations.Resize(256, 256)
    image = np.zeros((480, 640, 3), np.uint8)
    wanted = resize(image=image, mask=label_map)['mask']
    np.testing.assert_array_equal(resize_labels(label_map), wanted)


def test_resize_labels__nearest_has_phase_0():
    label_map = np.random.default_rng(0).integers(0, 11, (512, 512), np.uint8)
    np.testing.assert_array_equal(resize_labels(label_map), label_map[::2, ::2])


def test_resize_labels__nearest_exact_equals_pillow():
    label_map = np.random.default_rng(0).integers(0, 11, (512, 300), np.uint8)
    wanted = Image.fromarray(label_map).resize((100, 256), Image.Resampling.NEAREST)
    found = resize_labels(label_map, (256, 100), 'nearest-exact')
    np.testing.assert_array_equal(found, np.asarray(wanted))


def test_resize_labels__is_not_the_maximum_of_2x2():
    label_map = np.array([[0, 9], [8, 7]], np.uint8)
    assert resize_labels(label_map, (1, 1)).tolist() == [[0]]
    assert resize_labels(label_map, (1, 1), 'max').tolist() == [[9]]


def test_resize_labels__max_takes_each_block():
    label_map = np.random.default_rng(0).integers(0, 11, (6, 8), np.uint8)
    wanted = label_map.reshape(3, 2, 4, 2).max((1, 3))
    np.testing.assert_array_equal(resize_labels(label_map, (3, 4), 'max'), wanted)


def test_resize_labels__refuses_colours():
    with pytest.raises(ValueError, match=r'of shape \(H, W\), got uint8 of shape'):
        resize_labels(np.zeros((4, 4, 3), np.uint8))


@pytest.mark.parametrize('stride', [1, 2, 4])
def test_sample_labels__equals_the_argmax_of_upsampled_probabilities(stride):
    probs = np.random.default_rng(0).integers(0, 256, (5, 24, 32), np.uint8)
    whole = torch.nn.functional.interpolate(
        torch.from_numpy(probs)[None].float(),
        scale_factor=stride,
        mode='bilinear',
        align_corners=False,
    )[0]
    shape = 24 * stride, 32 * stride
    every = whole.argmax(0).numpy().astype(np.uint8)
    for size in (shape, (12 * stride, 16 * stride), (17, 40)):
        found = sample_labels(probs, shape, size)
        np.testing.assert_array_equal(found, resize_labels(every, size))
        assert found.dtype == np.uint8


def test_sample_labels__last_block_may_be_cut():
    # 13 pixels in blocks of 4: the last is of one pixel, and so is its middle.
    probs = np.array([[[8, 8, 8, 0]], [[0, 0, 0, 8]]], np.uint8)
    assert sample_labels(probs, (1, 13), (1, 13)).tolist() == [[0] * 12 + [1]]


def test_sample_labels__tie_goes_to_the_lower_id():
    probs = np.full((3, 2, 2), 85, np.uint8)
    probs[0] = 0
    assert sample_labels(probs, (8, 8), (2, 2)).tolist() == [[1, 1], [1, 1]]


@pytest.mark.parametrize('shape', [(4, 7), (3, 8), (1, 8)])
def test_sample_labels__refuses_probabilities_of_another_label_map(shape):
    with pytest.raises(ValueError, match='blocks of one size do not make'):
        sample_labels(np.zeros((2, 2, 5), np.uint8), shape, (2, 2))
