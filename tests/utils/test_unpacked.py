"""Lines of files in any packing: known by their content, and read to their end."""

import bz2
import gzip
import lzma
import zipfile

import pytest

from mmsegmentation.command import InputError
from utils.unpacked import read_lines

TEXT = b'one\r\n' + b'x' * 30 + b'\n\nlast'
PACKERS = {'gzip': gzip.compress, 'bzip2': bz2.compress, 'xz': lzma.compress}
WHOLE = [(b'one\r\n', 0), (b'x' * 30 + b'\n', 0), (b'\n', 0), (b'last', 0)]


def write_zip(path, *names: str) -> None:
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, TEXT)


def test_read_lines__of_a_plain_file(tmp_path):
    (tmp_path / 'a.csv').write_bytes(TEXT)
    assert list(read_lines(tmp_path / 'a.csv', 100)) == WHOLE


@pytest.mark.parametrize('packer', PACKERS)
def test_read_lines__whatever_the_file_is_called(tmp_path, packer):
    (tmp_path / 'a.csv').write_bytes(PACKERS[packer](TEXT))
    assert list(read_lines(tmp_path / 'a.csv', 100)) == WHOLE


def test_read_lines__of_a_zip_of_one_file(tmp_path):
    write_zip(tmp_path / 'a.zip', 'deep/', 'deep/a')
    assert list(read_lines(tmp_path / 'a.zip', 100)) == WHOLE


def test_read_lines__cuts_long_lines_and_counts_the_rest(tmp_path):
    (tmp_path / 'a').write_bytes(TEXT)
    assert list(read_lines(tmp_path / 'a', 8)) == [
        (b'one\r\n', 0),
        (b'x' * 8, 22),
        (b'\n', 0),
        (b'last', 0),
    ]


@pytest.mark.parametrize('packer', PACKERS)
def test_read_lines__a_file_that_breaks_off_is_told(tmp_path, packer):
    path = tmp_path / 'a'
    packed = PACKERS[packer](bytes(range(256)) * 40)
    for length in (len(packed) // 2, len(packed) - 1):
        path.write_bytes(packed[:length])
        with pytest.raises(InputError, match='cannot be read to its end'):
            list(read_lines(path, 100))


@pytest.mark.parametrize('packer', PACKERS)
def test_read_lines__a_damaged_file_is_told_or_read(tmp_path, packer):
    packed = PACKERS[packer](TEXT)
    path = tmp_path / 'a'
    for place in range(len(packed)):
        damaged = bytearray(packed)
        damaged[place] ^= 0x55
        path.write_bytes(damaged)
        try:
            lines = list(read_lines(path, 100))
        except InputError as error:
            assert str(path) in str(error)
        else:
            # Not packed any more to the eye, or a byte that says nothing of content.
            assert lines == WHOLE or lines[0][0][:3] == damaged[:3] or place < 10


def test_read_lines__zip_of_several_or_none_is_told(tmp_path):
    write_zip(tmp_path / 'two.zip', 'a', 'b')
    with pytest.raises(InputError, match='is a zip of 2 files; pack the CSV alone'):
        list(read_lines(tmp_path / 'two.zip', 100))
    path = tmp_path / 'cut.zip'
    path.write_bytes((tmp_path / 'two.zip').read_bytes()[:-30])
    with pytest.raises(InputError, match='cannot be unpacked'):
        list(read_lines(path, 100))
    write_zip(tmp_path / 'mac.zip', 'a', '__MACOSX/a')
    assert len(list(read_lines(tmp_path / 'mac.zip', 100))) == 4


def test_read_lines__a_damaged_zip_is_told_or_read(tmp_path):
    write_zip(tmp_path / 'whole.zip', 'deep/a.csv')
    whole = (tmp_path / 'whole.zip').read_bytes()
    path = tmp_path / 'a.zip'
    for place in range(4, len(whole)):
        for value in (0, 8, 0xFF):
            path.write_bytes(whole[:place] + bytes([value]) + whole[place + 1 :])
            try:
                lines = list(read_lines(path, 100))
            except InputError as error:
                assert 'a.zip: cannot be' in str(error) or 'zip of 0' in str(error)
            else:
                assert lines == WHOLE


def test_read_lines__missing_file_or_folder_is_told(tmp_path):
    for path in (tmp_path, tmp_path / 'none', tmp_path / 'none/none'):
        with pytest.raises(InputError, match='cannot be read'):
            list(read_lines(path, 100))


@pytest.mark.parametrize('inner', PACKERS)
@pytest.mark.parametrize('outer', PACKERS)
def test_read_lines__packed_twice_is_told(tmp_path, outer, inner):
    path = tmp_path / 'a.csv'
    path.write_bytes(PACKERS[outer](PACKERS[inner](TEXT)))
    with pytest.raises(InputError, match=r'a\.csv: is packed twice; unpack it'):
        list(read_lines(path, 100))


def test_read_lines__zip_in_a_zip_is_told(tmp_path):
    write_zip(tmp_path / 'in.zip', 'a')
    with zipfile.ZipFile(tmp_path / 'out.zip', 'w') as archive:
        archive.write(tmp_path / 'in.zip')
    with pytest.raises(InputError, match=r'out\.zip: is packed twice; unpack it'):
        list(read_lines(tmp_path / 'out.zip', 100))


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (b'\x28\xb5\x2f\xfd\x24', 'is packed as zstd; unpack it'),
        (b"7z\xbc\xaf'\x1c\0\4", 'is packed as 7z; unpack it'),
        (lzma.compress(TEXT, lzma.FORMAT_ALONE), 'is packed as lzma; unpack it'),
        ('image_id'.encode('utf-16'), 'is UTF-16; save it as UTF-8'),
        (b'PK\x05\x06' + bytes(18), 'is a zip of no file; pack the CSV'),
    ],
)
def test_read_lines__what_is_not_unpacked_is_named(tmp_path, content, message):
    (tmp_path / 'a').write_bytes(content)
    with pytest.raises(InputError, match=message):
        list(read_lines(tmp_path / 'a', 100))
