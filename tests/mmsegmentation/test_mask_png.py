"""Masks as PNG: every reader gives back the same ids and colours."""

import io

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image

from mmsegmentation.classes import PALETTE, palette_of
from mmsegmentation.mask_png import encode_mask


def opened(content: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(content))
    image.load()
    return image


@given(arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=40)))
def test_encode_mask__any_ids_come_back(label_map):
    image = opened(encode_mask(label_map))
    assert (image.format, image.mode) == ('PNG', 'P')
    np.testing.assert_array_equal(np.asarray(image), label_map)


@pytest.mark.parametrize('shape', [(1, 1), (3, 700), (700, 3), (512, 512)])
@pytest.mark.parametrize('block', [1, 40])
def test_encode_mask__opencv_reads_the_colours(shape, block):
    coarse = np.random.default_rng(0).integers(0, 11, (shape[0], shape[1]), np.uint8)
    label_map = coarse.repeat(block, 0).repeat(block, 1)[: shape[0], : shape[1]]
    content = np.frombuffer(encode_mask(label_map), np.uint8)
    found = cv2.imdecode(content, cv2.IMREAD_COLOR)
    wanted = np.array(PALETTE, np.uint8)[label_map]
    np.testing.assert_array_equal(found[..., ::-1], wanted)


@pytest.mark.parametrize('num_classes', [2, 11, 40])
def test_encode_mask__palette_ends_in_white(num_classes):
    image = opened(
        encode_mask(np.array([[0, num_classes - 1, 255]], np.uint8), num_classes)
    )
    colours = [image.convert('RGB').getpixel((x, 0)) for x in range(3)]
    table = palette_of(num_classes)
    assert colours == [table[0], table[-1], (255, 255, 255)]


def test_encode_mask__each_id_has_its_colour_and_255_alone_is_white():
    """Classes from 11 on were white."""
    image = opened(encode_mask(np.arange(256, dtype=np.uint8)[None]))
    colours = [image.convert('RGB').getpixel((x, 0)) for x in range(256)]
    assert colours == [*palette_of(255), (255, 255, 255)]
    assert len(set(colours)) == 256


@pytest.mark.parametrize(
    'wrong',
    [np.zeros((2, 2, 3), np.uint8), np.zeros((0, 2), np.uint8), np.zeros((2, 2))],
)
def test_encode_mask__refuses_what_is_no_label_map(wrong):
    with pytest.raises(ValueError, match=r'label_map must be uint8 of shape \(H, W\)'):
        encode_mask(wrong)
