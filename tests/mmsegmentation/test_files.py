"""Files: whole or absent, named by image id, refused where they are something else."""

import hashlib
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmsegmentation.classes import PALETTE
from mmsegmentation.command import InputError
from mmsegmentation.files import (
    check_image_id,
    link_or_copy,
    list_images,
    mask_name,
    read_image,
    read_json,
    read_mask,
    read_orientation,
    refuse_existing,
    sha256_of,
    whole_file,
    whole_folder,
    write_json,
    write_mask,
    write_whole,
)

LABELS = np.array([[0, 1, 10], [255, 9, 3]], np.uint8)


def names(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob('*'))


@pytest.fixture
def umask():
    """Set the umask that groups use to share files, and give back the earlier one."""
    earlier = os.umask(0o027)
    yield
    os.umask(earlier)


@pytest.mark.parametrize('image_id', ['a.jpg', 'b_1/a.jpg', 'a/./b.jpg', '..a/b..jpg'])
def test_image_id__may_lie_in_folders(image_id):
    assert check_image_id(image_id) == image_id


HOSTILE = [
    *('', '.', '/etc/passwd', '..', '../a.jpg', 'a/../../b.jpg', 'a/..'),
    *('C:a.jpg', 'C:/a.jpg'),
]


@pytest.mark.parametrize('image_id', HOSTILE)
@pytest.mark.parametrize('reader', [check_image_id, mask_name])
def test_image_id__stays_inside_its_folder(reader, image_id):
    with pytest.raises(InputError, match='must stay inside its folder'):
        reader(image_id)


@pytest.mark.parametrize(
    'image_id', ['..\\a.jpg', '\\\\host\\share\\a.jpg', 'b\\a.jpg']
)
@pytest.mark.parametrize('reader', [check_image_id, mask_name])
def test_image_id__with_a_backslash_is_told_of_the_slash(reader, image_id):
    with pytest.raises(InputError, match='has a backslash; use / between folders'):
        reader(image_id)


@pytest.mark.parametrize(
    ('image_id', 'why'),
    [
        ('a\0.jpg', 'has a NUL'),
        (os.fsdecode(b'\xff.jpg'), r'udcff\.jpg.: is not UTF-8'),
    ],
)
@pytest.mark.parametrize('reader', [check_image_id, mask_name])
def test_image_id__that_is_no_text_is_told(reader, image_id, why):
    with pytest.raises(InputError, match=f'{why}.*; rename it'):
        reader(image_id)


def test_mask_name__keeps_folders_and_all_but_the_last_suffix():
    assert mask_name('b_1/0.v2.jpeg') == 'b_1/0.v2.png'
    assert mask_name('0') == '0.png'


def test_list_images__finds_all_depths_in_order_and_nothing_else(tmp_path):
    wanted = ['a.png', 'b/10.jpg', 'b/2.JPG', 'b/c/d.webp', 'c.jpeg', 'd.bmp', 'e.png']
    for name in [*wanted[::-2], 'b/notes.txt', 'x', *wanted[-2::-2]]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / 'folder.png').mkdir()
    assert list_images(tmp_path) == wanted


def test_write_mask__round_trips_as_a_palette_png(tmp_path):
    path = tmp_path / 'deep/m.png'
    write_mask(path, LABELS)
    found = read_mask(path)
    assert found.tolist() == LABELS.tolist()
    assert found.dtype == np.uint8
    with Image.open(path) as image:
        assert (image.format, image.mode) == ('PNG', 'P')
    shown = read_image(path).tolist()
    assert shown[0] == [list(PALETTE[i]) for i in (0, 1, 10)]
    assert shown[1][0] == [255, 255, 255]


def test_write_mask__replaces_an_earlier_one(tmp_path):
    write_mask(tmp_path / 'm.png', LABELS)
    write_mask(tmp_path / 'm.png', LABELS.T)
    assert read_mask(tmp_path / 'm.png').tolist() == LABELS.T.tolist()
    assert names(tmp_path) == ['m.png']


def test_read_mask__accepts_grey(tmp_path):
    Image.fromarray(LABELS).save(tmp_path / 'm.png')
    assert read_mask(tmp_path / 'm.png').tolist() == LABELS.tolist()


@pytest.mark.parametrize('mode', ['RGB', 'RGBA', 'LA', '1', 'I;16'])
def test_read_mask__refuses_colours_and_other_depths(tmp_path, mode):
    Image.new(mode, (2, 2)).save(tmp_path / 'm.png')
    with pytest.raises(InputError, match=rf'm\.png: .* this file has mode {mode}'):
        read_mask(tmp_path / 'm.png')


@pytest.mark.parametrize('reader', [read_image, read_mask])
def test_images__missing_or_damaged_are_named(tmp_path, reader):
    path = tmp_path / 'm.png'
    with pytest.raises(InputError, match=r'm\.png: no such file'):
        reader(path)
    write_mask(path, LABELS)
    content = path.read_bytes()
    for broken in (b'', b'text', content[:40], content[:-30]):
        path.write_bytes(broken)
        with pytest.raises(InputError, match=r'm\.png: not a readable image'):
            reader(path)


def test_read_image__gives_rgb_in_stored_orientation(tmp_path):
    pixels = np.zeros((2, 3, 3), np.uint8)
    pixels[0, 2] = 10, 20, 30
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(tmp_path / 'i.png', exif=exif)
    assert read_image(tmp_path / 'i.png').tolist() == pixels.tolist()


@pytest.mark.parametrize(('mode', 'name'), [('I;16', 'i.png'), ('F', 'f.tiff')])
def test_read_image__more_than_8_bits_are_refused_not_cut_off(tmp_path, mode, name):
    Image.new(mode, (2, 2), 300).save(tmp_path / name)
    message = rf'{name}: a 16-bit or float image \(mode {mode}\); convert it to 8 bit'
    with pytest.raises(InputError, match=message):
        read_image(tmp_path / name)


@pytest.mark.parametrize('suffix', ['jpg', 'png', 'webp'])
@pytest.mark.parametrize(('told', 'wanted'), [(1, 1), (3, 3), (8, 8), (0, 1), (9, 1)])
def test_read_orientation__is_what_exif_tells(tmp_path, suffix, told, wanted):
    exif = Image.Exif()
    exif[0x0112] = told
    Image.new('RGB', (3, 2)).save(tmp_path / f'i.{suffix}', exif=exif)
    assert read_orientation(tmp_path / f'i.{suffix}') == wanted


@pytest.mark.parametrize('exif', [b'', b'Exif\0\0nonsense', b'Exif\0\0II*\0\0'])
def test_read_orientation__missing_or_damaged_exif_turns_nothing(tmp_path, exif):
    Image.new('RGB', (3, 2)).save(tmp_path / 'i.jpg', exif=exif)
    assert read_orientation(tmp_path / 'i.jpg') == 1


def test_read_image__damaged_exif_is_read_in_silence(tmp_path):
    path = tmp_path / 'i.jpg'
    Image.new('RGB', (3, 2)).save(path, exif=b'Exif\0\0II*\0\x08\0\0\0\x09\0')
    # In a process of its own: here, all warnings are errors.
    read = 'import sys; from pathlib import Path; from mmsegmentation.files import *; '
    read += 'path = Path(sys.argv[1]); print(read_image(path).size); '
    read += 'print(read_orientation(path))'
    command = [sys.executable, '-c', read, str(path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ('18\n1\n', '')


def test_json__round_trips_as_readable_utf8(tmp_path):
    content = {'name': '비닐', 'values': [1, None, 0.5]}
    write_json(tmp_path / 'deep/a.json', content)
    assert read_json(tmp_path / 'deep/a.json') == content
    assert '비닐' in (tmp_path / 'deep/a.json').read_text(encoding='utf-8')


def test_read_json__byte_order_mark_of_windows_is_skipped(tmp_path):
    (tmp_path / 'a.json').write_text('{"a": 1}', encoding='utf-8-sig')
    assert read_json(tmp_path / 'a.json') == {'a': 1}


def test_write_json__failure_keeps_the_earlier_file(tmp_path):
    write_json(tmp_path / 'a.json', 1)
    with pytest.raises(TypeError, match='not JSON serializable'):
        write_json(tmp_path / 'a.json', {'a': object()})
    assert read_json(tmp_path / 'a.json') == 1
    assert names(tmp_path) == ['a.json']


@pytest.mark.parametrize('text', [b'', b'{"a": 1', b'\xff\xfe', b'[' * 100_000])
def test_read_json__unreadable_is_named(tmp_path, text):
    (tmp_path / 'a.json').write_bytes(text)
    with pytest.raises(InputError, match=r'a\.json: not readable as JSON'):
        read_json(tmp_path / 'a.json')


def test_read_json__missing_or_a_folder_is_named(tmp_path):
    (tmp_path / 'file').touch()
    for path in (tmp_path / 'none', tmp_path / 'file/below'):
        with pytest.raises(InputError, match='no such file'):
            read_json(path)
    with pytest.raises(InputError, match='not readable as JSON'):
        read_json(tmp_path)


def test_sha256_of__is_the_digest_of_all_chunks(tmp_path):
    content = bytes(range(256)) * 5000
    (tmp_path / 'f').write_bytes(content)
    assert sha256_of(tmp_path / 'f') == hashlib.sha256(content).hexdigest()


def test_refuse_existing__an_empty_folder_is_free(tmp_path):
    refuse_existing(tmp_path / 'none', overwrite=False)
    refuse_existing(tmp_path, overwrite=False)
    (tmp_path / 'f').touch()
    for path in (tmp_path, tmp_path / 'f'):
        refuse_existing(path, overwrite=True)
        with pytest.raises(InputError, match='exists; pass --overwrite to replace it'):
            refuse_existing(path, overwrite=False)


@pytest.mark.parametrize('stop', [ValueError('stop'), KeyboardInterrupt('stop')])
def test_whole_file__failure_leaves_what_was_there(tmp_path, stop):
    path = tmp_path / 'f'
    with pytest.raises(type(stop), match='stop'), whole_file(path) as beside:
        beside.write_text('half')
        raise stop
    assert names(tmp_path) == []
    path.write_text('old')
    with (
        pytest.raises(type(stop), match='stop'),
        whole_file(path, overwrite=True) as beside,
    ):
        beside.write_text('half')
        assert path.read_text() == 'old'
        raise stop
    assert path.read_text() == 'old'
    assert names(tmp_path) == ['f']


def test_whole_file__appears_when_complete(tmp_path, umask):
    path = tmp_path / 'deep/f'
    with whole_file(path) as beside:
        beside.write_text('new')
        assert not path.exists()
    assert path.read_text() == 'new'
    assert names(tmp_path) == ['deep', 'deep/f']
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_whole_file__refuses_before_anything_is_written(tmp_path):
    def refused(message, path, **options):
        with pytest.raises(InputError, match=message), whole_file(path, **options):
            pytest.fail('was entered')

    (tmp_path / 'f').write_text('old')
    (tmp_path / 'folder').mkdir()
    refused('exists; pass --overwrite', tmp_path / 'f')
    refused('folder: is a folder; name a file', tmp_path / 'folder', overwrite=True)
    refused(r'f/below: cannot be made \(.*\); choose', tmp_path / 'f/below')
    assert names(tmp_path) == ['f', 'folder']


@pytest.mark.parametrize('maker', [(os, 'open'), (Path, 'mkdir')])
def test_whole__place_without_permission_is_one_error(tmp_path, monkeypatch, maker):
    def refuse(*_, **__):
        raise PermissionError(13, 'Permission denied')

    monkeypatch.setattr(*maker, refuse)
    path = tmp_path / 'out'
    context = whole_file(path) if maker[0] is os else whole_folder(path, marker='m')
    with pytest.raises(InputError, match=r'out: cannot be made \(Permission denied\)'):
        context.__enter__()


@pytest.mark.parametrize('kind', ['file', 'whole', 'folder'])
def test_whole__a_folder_that_takes_nothing_is_one_error(tmp_path, monkeypatch, kind):
    """As /proc, which is there, can be written, and answers ENOENT to all."""
    calls, mkdir = [], Path.mkdir

    def refuse(path, *args, **kwargs):
        calls.append(path)
        assert len(calls) < 9, 'tried for ever'
        if path == tmp_path:
            return mkdir(path, *args, **kwargs)
        raise FileNotFoundError(2, 'No such file or directory')

    def make(path):
        if kind == 'whole':
            write_whole(path, b'')
        elif kind == 'file':
            whole_file(path).__enter__()
        else:
            whole_folder(path, marker='m').__enter__()

    monkeypatch.setattr('mmsegmentation.files._create', refuse)
    monkeypatch.setattr(Path, 'mkdir', refuse)
    message = r'out: cannot be made \(No such file or directory\); choose another'
    with pytest.raises(InputError, match=message):
        make(tmp_path / 'out')
    assert names(tmp_path) == []


def test_write_whole__replaces_and_makes_folders(tmp_path):
    path = tmp_path / 'deep/f'
    for content in (b'old', b'new' * 100_000, b''):
        write_whole(path, content)
        assert path.read_bytes() == content
    assert names(tmp_path) == ['deep', 'deep/f']


def test_write_whole__failure_leaves_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / 'f'
    path.write_bytes(b'old')
    (tmp_path / 'folder').mkdir()
    with pytest.raises(InputError, match='folder: is a folder; name a file'):
        write_whole(tmp_path / 'folder', b'new')
    with pytest.raises(InputError, match=r'f/below: cannot be made \(.*\); choose'):
        write_whole(path / 'below', b'new')

    def fill(*_):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(os, 'write', fill)
    with pytest.raises(InputError, match=r'f: cannot be written \(No space left'):
        write_whole(path, b'new')
    assert path.read_bytes() == b'old'
    assert names(tmp_path) == ['f', 'folder']


@pytest.fixture
def written(tmp_path):
    """Return a folder that an earlier command wrote."""
    folder = tmp_path / 'out'
    with whole_folder(folder, marker='marker.json') as beside:
        (beside / 'marker.json').write_text('old')
        (beside / 'part').mkdir()
        assert not folder.exists()
    return folder


def replace(folder, text='new', stop=None):
    with whole_folder(folder, marker='marker.json', overwrite=True) as beside:
        (beside / 'marker.json').write_text(text)
        if stop:
            raise stop


def test_whole_folder__appears_when_complete(umask, written, tmp_path):
    assert names(tmp_path) == ['out', 'out/marker.json', 'out/part']
    assert stat.S_IMODE(written.stat().st_mode) == 0o750


def test_whole_folder__is_replaced_with_all_its_content(written, tmp_path):
    replace(written)
    assert (written / 'marker.json').read_text() == 'new'
    assert names(tmp_path) == ['out', 'out/marker.json']


@pytest.mark.parametrize('stop', [ValueError('stop'), KeyboardInterrupt('stop')])
def test_whole_folder__failure_leaves_what_was_there(written, tmp_path, stop):
    for folder in (written, tmp_path / 'other'):
        with pytest.raises(type(stop), match='stop'):
            replace(folder, stop=stop)
    assert (written / 'marker.json').read_text() == 'old'
    assert names(tmp_path) == ['out', 'out/marker.json', 'out/part']


def test_whole_folder__errors_within_name_the_folder_to_be(tmp_path, monkeypatch):
    def fill(*_):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(os, 'write', fill)
    message = rf'^{tmp_path}/out/deep/m\.png: cannot be written \(No space left'
    with (
        pytest.raises(InputError, match=message),
        whole_folder(tmp_path / 'out', marker='m') as folder,
    ):
        write_mask(folder / 'deep/m.png', LABELS)
    assert names(tmp_path) == []


@pytest.mark.parametrize('failing', [1, 2], ids=['old away', 'new there'])
@pytest.mark.parametrize(
    'stop', [OSError(16, 'Device busy'), KeyboardInterrupt('stop')]
)
def test_whole_folder__failed_rename_leaves_what_was_there(
    written, tmp_path, monkeypatch, failing, stop
):
    rename, calls = Path.replace, []

    def replace_or_fail(path, target):
        calls.append(target)
        if len(calls) == failing:
            raise stop
        return rename(path, target)

    def replace_all():
        with whole_folder(written, marker='marker.json', overwrite=True):
            monkeypatch.setattr(Path, 'replace', replace_or_fail)

    if isinstance(stop, OSError):
        message = r'out: cannot be replaced \(Device busy\)'
        with pytest.raises(InputError, match=message):
            replace_all()
    else:
        with pytest.raises(KeyboardInterrupt, match='stop'):
            replace_all()
    assert len(calls) == (1 if failing == 1 else 3)
    assert (written / 'marker.json').read_text() == 'old'
    assert names(tmp_path) == ['out', 'out/marker.json', 'out/part']


def test_whole_folder__refuses_what_no_command_wrote(written, tmp_path):
    def refused(message, path, overwrite=True):
        with (
            pytest.raises(InputError, match=message),
            whole_folder(path, marker='marker.json', overwrite=overwrite),
        ):
            pytest.fail('was entered')

    (tmp_path / 'mine').mkdir()
    (tmp_path / 'mine/thesis').write_text('mine')
    before = names(tmp_path)
    refused('exists; pass --overwrite', written, overwrite=False)
    for overwrite in (True, False):
        message = r'mine: holds no marker\.json, so it is not replaced; name another'
        refused(message, tmp_path / 'mine', overwrite)
    refused('thesis: is a file; name a folder', tmp_path / 'mine/thesis')
    refused('cannot be made', tmp_path / 'mine/thesis/below')
    assert names(tmp_path) == before


def test_whole_folder__fills_an_empty_folder(tmp_path):
    (tmp_path / 'out').mkdir()
    with whole_folder(tmp_path / 'out', marker='marker.json') as beside:
        (beside / 'marker.json').touch()
    assert names(tmp_path) == ['out', 'out/marker.json']


@pytest.mark.parametrize('there', [True, False], ids=['full', 'dangling'])
def test_whole_folder__a_link_stays_and_its_target_is_replaced(tmp_path, there):
    (tmp_path / 'disk').mkdir()
    if there:
        replace(tmp_path / 'disk/big', 'old')
    (tmp_path / 'out').symlink_to('disk/big')
    replace(tmp_path / 'out')
    assert (tmp_path / 'out').is_symlink()
    assert (tmp_path / 'disk/big/marker.json').read_text() == 'new'
    assert names(tmp_path) == ['disk', 'disk/big', 'disk/big/marker.json', 'out']


def test_link_or_copy__links_where_possible(tmp_path):
    (tmp_path / 'a').write_bytes(b'content')
    link_or_copy(tmp_path / 'a', tmp_path / 'deep/b')
    assert (tmp_path / 'deep/b').samefile(tmp_path / 'a')


def test_link_or_copy__copies_where_links_are_refused(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError('no links here')

    monkeypatch.setattr(os, 'link', refuse)
    (tmp_path / 'a').write_bytes(b'content')
    link_or_copy(tmp_path / 'a', tmp_path / 'b')
    assert (tmp_path / 'b').read_bytes() == b'content'
    assert not (tmp_path / 'b').samefile(tmp_path / 'a')


def test_link_or_copy__full_disk_is_no_fault_of_the_file(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(os, 'link', refuse)
    monkeypatch.setattr(shutil, 'copyfile', refuse)
    (tmp_path / 'a').write_bytes(b'content')
    with (
        pytest.raises(InputError, match=r'made: cannot be written \(No space left'),
        whole_folder(tmp_path / 'made', marker='m') as folder,
    ):
        link_or_copy(tmp_path / 'a', folder / 'b')
    assert names(tmp_path) == ['a']


def test_link_or_copy__follows_links(tmp_path):
    (tmp_path / 'a').write_bytes(b'content')
    (tmp_path / 'link').symlink_to('a')
    link_or_copy(tmp_path / 'link', tmp_path / 'deep/b')
    assert not (tmp_path / 'deep/b').is_symlink()
    assert (tmp_path / 'deep/b').read_bytes() == b'content'


def test_link_or_copy__refuses_a_missing_file_and_a_taken_place(tmp_path):
    with pytest.raises(InputError, match='no such file'):
        link_or_copy(tmp_path / 'none', tmp_path / 'b')
    (tmp_path / 'a').write_bytes(b'a')
    (tmp_path / 'b').write_bytes(b'b')
    with pytest.raises(FileExistsError, match='b exists'):
        link_or_copy(tmp_path / 'a', tmp_path / 'b')
    assert (tmp_path / 'b').read_bytes() == b'b'
