"""Competition JSON that is not right: nothing wrong gets through."""

from collections.abc import Callable
from operator import methodcaller

import pytest
from PIL import Image

from mmsegmentation.classes import CLASSES
from utils import prepare_data
from utils.prepare_data import main

# pycocotools' own arrays do not know NumPy 2's copy keyword.
pytestmark = pytest.mark.filterwarnings(
    'ignore:__array__ implementation:DeprecationWarning'
)
HEIGHT, WIDTH = 6, 8


def spoil_image(**fields: object) -> Callable:
    return methodcaller('spoil_image', **fields)


def spoil_object(**fields: object) -> Callable:
    return methodcaller('spoil_object', **fields)


def spoil_outline(segmentation: object) -> Callable:
    return methodcaller('spoil_outline', segmentation)


def run_lengths(counts: object, size: tuple = (HEIGHT, WIDTH)) -> dict:
    return {'size': list(size), 'counts': counts}


WRONG = {
    'annotation id twice': (spoil_object(id=4), 'annotation id 4 comes more than once'),
    'annotation of no image': (spoil_object(image_id=5), 'no image with id 5'),
    'area in words': (spoil_object(area='big'), "area is 'big'"),
    'area beyond floats': (spoil_object(area=10**400), 'area is 1000'),
    'category of no table': (
        spoil_object(category_id=42),
        'train.json: 1 annotation with the unknown category id 42 (annotation 70 of b/',
    ),
    'category in words': (spoil_object(category_id='2'), "unknown category id '2'"),
    'file name upwards': (
        spoil_image(file_name='../raw/a/1.jpg'),
        'must stay inside its folder',
    ),
    'file name absolute': (
        spoil_image(file_name='/etc/passwd.jpg'),
        'must stay inside its folder',
    ),
    'file name roundabout': (spoil_image(file_name='a//1.jpg'), 'plainly, as a/1.jpg'),
    'file name unprintable': (spoil_image(file_name='\ud800.jpg'), 'cannot be shown'),
    'file name of no image': (spoil_image(file_name='train.json'), 'not one of .jpg'),
    'width missing': (spoil_image(width=None), 'width and height are (None, 6)'),
    'width differs': (spoil_image(width=9), 'a/1.jpg: is 8x6, the JSON says 9x6'),
    'outline missing': (spoil_outline(None), 'neither polygons nor run lengths'),
    'outline flat': (spoil_outline([1, 1, 5, 1, 5, 4]), 'neither polygons nor run'),
    'polygon odd': (spoil_outline([[1, 1, 5, 1, 5, 4, 2]]), 'list of x, y pairs'),
    'polygon NaN': (
        spoil_outline([[1, 1, 5, 1, 5, float('nan')]]),
        'no list of x, y pairs',
    ),
    'polygon beyond floats': (
        spoil_outline([[1, 1, 5, 1, 5, 10**400]]),
        'no list of x, y pairs',
    ),
    'polygon in words': (spoil_outline([['1'] * 6]), 'no list of x, y pairs'),
    'run lengths turned': (
        spoil_outline(run_lengths([48], size=(WIDTH, HEIGHT))),
        'run lengths of size [8, 6], the image has [6, 8]',
    ),
    'run lengths short': (spoil_outline(run_lengths([10, 5])), 'do not add up'),
    'run lengths negative': (
        spoil_outline(run_lengths([50, -2])),
        'do not add up to the image',
    ),
    'run lengths missing': (spoil_outline({'size': [HEIGHT, WIDTH]}), 'not readable'),
    'compressed short': (spoil_outline(run_lengths('1')), 'do not add up'),
    'compressed negative': (spoil_outline(run_lengths('`1L2')), 'do not add up'),
    'compressed garbage': (spoil_outline(run_lengths('\x01é{}')), 'not readable'),
    'compressed huge': (spoil_outline(run_lengths('oooooo0')), 'do not add up'),
    'compressed endless': (spoil_outline(run_lengths('`1' + 'o' * 9)), 'not readable'),
    'compressed broken off': (spoil_outline(run_lengths('`1P')), 'not readable'),
}


@pytest.mark.parametrize('kind', WRONG)
def test_refused__one_wrong_value(raw, refused, kind):
    spoil, listed = WRONG[kind]
    spoil(raw)
    refused(listed)


@pytest.mark.parametrize('first', [0, 1])
def test_refused__edition_of_12_classes_with_unknown(raw, refused, first):
    names = ['UNKNOWN', *CLASSES[1:]]
    raw.json['train']['categories'] = [
        {'id': i, 'name': name} for i, name in enumerate(names, first)
    ]
    refused('train.json: the edition of 12 classes with UNKNOWN')


def test_refused__missing_folder_is_named_as_such(raw, run):
    missing = raw.folder / 'no'
    code, _, err = run(main, missing, *raw.argv[1:])
    wanted = f'error: {missing}: no such folder; name the folder of the JSON files\n'
    assert (code, err) == (2, wanted)


def test_refused__file_in_the_place_of_the_folder(raw, run):
    code, _, err = run(main, raw.folder / 'train.json', *raw.argv[1:])
    assert (code, 'train.json: is a file, not a folder; ' in err) == (2, True)


def test_refused__category_of_another_name(raw, refused):
    raw.json['valid']['categories'].append({'id': 11, 'name': 'Wood'})
    refused(
        "val.json: unknown category 'Wood' (id 11); the class table is Background, "
        'General trash, Paper, Paper pack, Metal, Glass, Plastic, Styrofoam, '
        'Plastic bag, Battery, Clothing: pass your own by --classes'
    )


def test_refused__category_that_is_misspelt_names_the_nearest(raw, refused):
    raw.json['valid']['categories'][2]['name'] = 'paper pak'
    raw.json['valid']['annotations'].clear()
    refused("val.json: unknown category 'paper pak' (id 3, nearest 'Paper pack');")


def test_refused__category_of_another_name_is_told_once(raw, run):
    table = raw.folder / 'names.txt'
    table.write_text('Background\ncan\n')
    code, out, _ = run(main, *raw.argv, '--classes', table)
    lines = out.splitlines()
    assert code == 2
    # All ten of a file in one line; no annotation of theirs, no image without one.
    assert len(lines) == 3
    assert all(
        "unknown category 'General trash' (id 1), 'Pap" in line for line in lines
    )
    assert all('table is Background, can: correct --classes' in line for line in lines)


def test_refused__names_and_ids_that_disagree(raw, refused):
    metal, glass = raw.json['test']['categories'][3:5]
    metal['id'], glass['id'] = 5, 4
    refused("'Metal' has id 5, the table has 4", "'Glass' has id 4, the table has 5")


def test_refused__image_id_twice(raw, refused):
    raw.json['test']['images'].append({**raw.json['test']['images'][0]})
    raw.json['test']['images'][1]['file_name'] = 'a/4.jpg'
    raw.draw('a/4.jpg', 200)
    refused('test.json: image id 8 comes 2 times')


def test_refused__file_name_twice(raw, refused):
    raw.json['test']['images'].append({**raw.json['test']['images'][0], 'id': 9})
    refused('test.json: file name a/3.jpg comes 2 times')


def test_refused__two_images_that_share_a_mask(raw, refused):
    row = {**raw.json['train']['images'][0], 'id': 11, 'file_name': 'a/1.png'}
    raw.json['train']['images'].append(row)
    raw.draw('a/1.png', 200)
    refused('two images would share the mask a/1.png')


def test_refused__missing_image(raw, refused):
    (raw.folder / 'b/1.jpg').unlink()
    refused('b/1.jpg: no such file')


def test_refused__truncated_image(raw, refused):
    path = raw.folder / 'b/1.jpg'
    path.write_bytes(path.read_bytes()[:-60])
    refused('b/1.jpg: not a readable image')


def test_refused__link_out_of_the_folder(raw, refused):
    path = raw.folder / 'b/1.jpg'
    path.rename(raw.folder.parent / 'elsewhere.jpg')
    path.symlink_to(raw.folder.parent / 'elsewhere.jpg')
    refused(f'{raw.folder}/b: holds links that lead out of {raw.folder} (images: 1')


def test_refused__folders_of_links_are_one_line_each(raw, refused):
    elsewhere = raw.folder.rename(raw.folder.parent / 'elsewhere')
    raw.folder.mkdir()
    for name in ('a', 'b'):
        (raw.folder / name).symlink_to(elsewhere / name)
    refused(
        f'raw/a: holds links that lead out of {raw.folder} (images: 3, a/1.jpg first); '
        f'cp -rL {raw.folder} COPY',
        'raw/b: holds links',
    )


def test_refused__link_to_itself(raw, refused):
    path = raw.folder / 'b/1.jpg'
    path.unlink()
    path.symlink_to(path)
    refused('b/1.jpg: a link that leads to itself')


@pytest.mark.parametrize('size', [(WIDTH, HEIGHT), (HEIGHT, HEIGHT)])
@pytest.mark.parametrize('suffix', ['jpg', 'png'])
def test_refused__exif_orientation_that_not_all_programs_apply(
    raw, refused, size, suffix
):
    exif = Image.Exif()
    exif[0x0112] = 6
    name = f'b/turned.{suffix}'
    Image.new('RGB', size).save(raw.folder / name, exif=exif)
    image = raw.json['train']['images'][1]
    # As the programs say that turn it; its pixels stand the other way.
    image.update(file_name=name, width=size[1], height=size[0])
    refused(f'{name}: has EXIF orientation 6')


def test_refused__image_of_16_bits(raw, refused):
    Image.new('I;16', (WIDTH, HEIGHT), 300).save(raw.folder / 'b/deep.png')
    spoil = raw.json['train']['images'][1]
    spoil['file_name'] = 'b/deep.png'
    refused('b/deep.png: a 16-bit or float image (mode I;16)')


def test_refused__test_image_that_is_also_trained_on(raw, refused):
    # Another file with the same pixels, so names and bytes do not tell.
    Image.open(raw.folder / 'a/1.jpg').save(raw.folder / 'a/3.png')
    raw.json['test']['images'][0]['file_name'] = 'a/3.png'
    refused(
        'the same picture: train/a/1.jpg, test/a/3.png; remove it from one of them, or '
        'pass --leaks keep'
    )


def test_refused__several_problems_are_all_listed(raw, refused):
    raw.spoil_image(width=9)
    raw.spoil_object(area='big')
    raw.json['valid']['annotations'][0]['category_id'] = 42
    (raw.folder / 'a/3.jpg').unlink()
    refused(
        'train.json: a/1.jpg: is 8x6',
        'train.json: annotation 70: area',
        'val.json: 1 annotation with the unknown category id 42 (annotation 9 of',
        'a/3.jpg: no such file',
    )


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('{"images": [', 'val.json: not readable as JSON'),
        ('[]', "val.json: 'images' is no list of objects"),
        ('{}', 'val.json: names no images'),
        ('{"images": [1]}', "val.json: 'images' is no list of objects"),
    ],
)
def test_refused__broken_json(raw, misuse, text, message):
    (raw.folder / 'val.json').write_text(text)
    misuse(main, message, *raw.argv)
    assert not raw.out.parent.exists()


def test_refused__no_train_json(raw, misuse):
    (raw.folder / 'train.json').unlink()
    misuse(main, 'holds no train.json', *raw.argv)
    assert not raw.out.parent.exists()


@pytest.mark.parametrize('argv', [(), ('--overwrite',)])
def test_refused__folder_that_is_no_data_root_is_left_alone(raw, misuse, argv):
    raw.out.mkdir(parents=True)
    (raw.out / 'thesis.txt').write_text('mine')
    misuse(main, 'holds no dataset.json', *raw.argv, *argv)
    assert [path.name for path in raw.out.parent.rglob('*')] == ['root', 'thesis.txt']


def test_refused__data_root_stands_unless_overwrite_is_given(raw, accepted, misuse):
    accepted()
    (raw.out / 'old').touch()
    misuse(main, 'exists; pass --overwrite', *raw.argv)
    assert (raw.out / 'old').exists()
    accepted('--overwrite')
    assert not (raw.out / 'old').exists()
    assert (raw.out / 'train/mask/a/1.png').is_file()


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ('Background\nWood\nWood\n', 'different names'),
        ('Wood\nBackground\n', "begins with 'Wood'"),
        (b'Background\nW\xe9tal\n', r'classes\.txt: is not UTF-8; save it as UTF-8'),
        ('Background\n', 'needs 2 to 255'),
        (None, 'no such file'),
    ],
)
def test_refused__class_table(raw, misuse, tmp_path, content, message):
    table = tmp_path / 'classes.txt'
    if content:
        table.write_bytes(content if isinstance(content, bytes) else content.encode())
    misuse(main, message, *raw.argv, '--classes', table)
    assert not raw.out.parent.exists()


@pytest.mark.parametrize('inside', ['', 'raw', 'deep/raw'])
def test_refused__source_that_would_be_replaced(raw, accepted, misuse, inside):
    accepted()
    place = raw.out / inside
    if inside:
        place.parent.mkdir(exist_ok=True)
        raw.folder.rename(place)
    message = 'lies in .* and would be replaced; move it elsewhere'
    misuse(main, message, place, '--out', raw.out, '--overwrite')
    assert (raw.out / 'dataset.json').is_file()


def test_refused__classes_that_would_be_replaced(raw, accepted, misuse):
    accepted()
    table = raw.out / 'classes.txt'
    table.write_text('\n'.join(CLASSES))
    message = r'classes\.txt: lies in .* and would be replaced'
    misuse(main, message, *raw.argv, '--overwrite', '--classes', table)
    assert table.is_file()


def test_help__overwrite_takes_pseudo_labels_too(run):
    text = ' '.join(run(main, '--help')[1].split())
    assert 'replace an earlier data root with all in it, its pseudo labels too' in text


def test_refused__failure_in_a_worker_is_one_line(raw, misuse, monkeypatch):
    # Gone between check and painting, so that the worker is the first to see it.
    monkeypatch.setattr(prepare_data, 'check_images', lambda *_: None)
    (raw.folder / 'b/1.jpg').unlink()
    message = r'b/1\.jpg: no such file'
    misuse(main, message, raw.folder, '--out', raw.out, '--jobs', 2)
    assert list(raw.out.parent.iterdir()) == []


def test_refused__no_processes(raw, misuse):
    misuse(main, '--jobs: is 0', raw.folder, '--out', raw.out, '--jobs', 0)
