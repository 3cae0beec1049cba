import struct
import zlib

import numpy as np
import pytest
from mmseg.datasets.transforms import LoadAnnotations
from PIL import Image

from mmsegmentation.command import InputError
from mmsegmentation.datasets.sample_facts import (
    contents,
    image_sizes,
    mask_checksums,
    mask_facts,
    translate_ids,
)
from mmsegmentation.files import write_mask


def png_header(width, height):
    """Return a PNG that says to be of this size, and has no such pixels."""
    body = b'IHDR' + struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack('>I', 13) + body + struct.pack('>I', zlib.crc32(body))
    end = struct.pack('>I', 0) + b'IEND' + struct.pack('>I', zlib.crc32(b'IEND'))
    idat = b'IDAT' + zlib.compress(b'\0' * 10)
    data = struct.pack('>I', len(idat) - 4) + idat + struct.pack('>I', zlib.crc32(idat))
    return b'\x89PNG\r\n\x1a\n' + chunk + data + end


def test_size__above_the_limit_is_refused_from_the_header(tmp_path):
    path = tmp_path / 'bomb.png'
    path.write_bytes(png_header(60_000, 60_000))  # 10.8 GB, if it were decoded
    message = r'bomb\.png: (has 60000 x 60000 pixels, more|cannot be decoded .*exceeds)'
    with pytest.raises(InputError, match=message):
        image_sizes(tmp_path, [str(path)])
    path.write_bytes(png_header(300, 200))
    assert image_sizes(tmp_path, [str(path)]) == {str(path): (300, 200)}
    with pytest.raises(InputError, match=r'300 x 200 pixels, more .* 59999; .*max'):
        image_sizes(tmp_path, [str(path)], 59_999)


@pytest.mark.parametrize('suffix', ['jpg', 'png'])
def test_image__cut_off_is_refused(tmp_path, suffix):
    rng = np.random.default_rng(0)
    path = tmp_path / f'a.{suffix}'
    Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(path)
    assert image_sizes(tmp_path, [str(path)]) == {str(path): (64, 64)}
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(InputError, match=rf'a\.{suffix}: cannot be decoded'):
        image_sizes(tmp_path, [str(path)])


def test_image__turned_by_exif_has_the_size_it_is_decoded_to(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new('RGB', (30, 20)).save(tmp_path / 'a.jpg', exif=exif)
    path = str(tmp_path / 'a.jpg')
    assert image_sizes(tmp_path, [path]) == {path: (20, 30)}


def test_image__of_16_bits_is_refused(tmp_path):
    Image.fromarray(np.zeros((4, 4), np.uint16)).save(tmp_path / 'a.png')
    with pytest.raises(InputError, match=r'16-bit or float image'):
        image_sizes(tmp_path, [str(tmp_path / 'a.png')])


def test_mask__pixels_are_counted(tmp_path):
    label_map = np.array([[0, 3, 3], [255, 3, 0]], np.uint8)
    write_mask(tmp_path / 'a.png', label_map)
    path = str(tmp_path / 'a.png')
    for _ in range(2):  # measured, then kept
        size, pixels = mask_facts(tmp_path, [path])[path]
        assert size == (3, 2)
        np.testing.assert_array_equal(pixels, np.bincount(label_map.ravel()))


@pytest.mark.parametrize('reduced', [False, True])
@pytest.mark.parametrize(
    'label_map',
    [None, {0: 1, 1: 0, 2: 255, 7: 1}, {i: 299 - i for i in range(50, 300)}],
    ids=['as they are', 'some left out', 'of 300 classes'],
)
def test_ids__are_translated_as_mmsegmentation_loads_them(tmp_path, label_map, reduced):
    ids = np.array([[0, 1, 1, 2], [7, 60, 254, 255]], np.uint8)
    write_mask(tmp_path / 'a.png', ids)
    # Of the ids that stay below 256.
    label_map = label_map and {a: b for a, b in label_map.items() if b < 256}
    info = {'seg_map_path': str(tmp_path / 'a.png'), 'seg_fields': []}
    info |= {'label_map': label_map, 'reduce_zero_label': reduced}
    loaded = LoadAnnotations().transform(info)['gt_seg_map']
    pixels = np.bincount(ids.ravel(), minlength=256)
    found = translate_ids(pixels, reduced, label_map)
    assert found.tolist() == np.bincount(loaded.ravel(), minlength=256).tolist()


def test_checksum__is_that_of_the_ids_and_tells_a_moved_object(tmp_path):
    label_map = np.array([[0, 3, 3], [255, 3, 0]], np.uint8)
    write_mask(tmp_path / 'a.png', label_map)
    Image.fromarray(label_map).save(tmp_path / 'b.png')  # grey, without a palette
    write_mask(tmp_path / 'c.png', label_map[:, ::-1])  # as many pixels of each id
    paths = [str(tmp_path / name) for name in ('a.png', 'b.png', 'c.png')]
    a, b, c = mask_checksums(tmp_path, paths).values()
    assert a == b != c
    assert mask_checksums(tmp_path, paths) == dict(zip(paths, (a, b, c), strict=True))


def test_content__is_that_of_the_pixels(tmp_path):
    image = Image.new('RGB', (5, 4), (1, 2, 3))
    image.save(tmp_path / 'a.png')
    image.save(tmp_path / 'b.bmp')
    Image.new('RGB', (4, 5), (1, 2, 3)).save(tmp_path / 'c.png')
    a, b, c = contents(tmp_path, [str(p) for p in sorted(tmp_path.iterdir())]).values()
    assert a == b != c
