"""Competition JSON to a data root: nothing wrong gets through, and masks are right."""

import json
from collections import Counter
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco

from mmsegmentation.classes import CLASSES, PALETTE
from mmsegmentation.files import list_images, mask_name, read_json, read_mask
from utils import prepare_data
from utils.prepare_data import main

# pycocotools' own arrays do not know NumPy 2's copy keyword.
pytestmark = pytest.mark.filterwarnings(
    'ignore:__array__ implementation:DeprecationWarning'
)
SAMPLE = Path(__file__).resolve().parents[2] / '../shared/data/recycle_trash_sample'
HEIGHT, WIDTH = 6, 8
PARTS = {'train': 'train.json', 'valid': 'val.json', 'test': 'test.json'}


class Raw:
    """A small raw folder that is right until a test spoils it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.out = folder.parent / 'made' / 'root'
        self.json = {
            'train': part({10: 'a/1.jpg', 3: 'b/1.jpg'}, [(70, 3, 2), (4, 10, 5)]),
            'valid': part({10: 'a/2.jpg'}, [(9, 10, 1)]),
            'test': part({8: 'a/3.jpg'}, []),
        }
        for number, row in enumerate(self.rows('images')):
            self.draw(row['file_name'], 30 * number)
        self.write()

    def rows(self, key: str) -> list[dict]:
        return [row for content in self.json.values() for row in content[key]]

    def draw(self, name: str, grey: int, width: int = WIDTH) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new('RGB', (width, HEIGHT), (grey, grey, grey)).save(path)
        return path

    def write(self) -> None:
        for name, content in self.json.items():
            (self.folder / PARTS[name]).write_text(json.dumps(content))

    @property
    def argv(self) -> tuple:
        return self.folder, '--out', self.out, '--jobs', 1

    def made(self, name: str) -> np.ndarray:
        return read_mask(self.out / name)

    def report(self) -> dict:
        return read_json(self.out / 'dataset.json')


def part(names: dict[int, str], objects: list[tuple[int, int, int]]) -> dict[str, Any]:
    """Return COCO JSON; ``objects`` are annotation, image and category ids."""
    images = [
        {'id': number, 'file_name': name, 'width': WIDTH, 'height': HEIGHT}
        for number, name in names.items()
    ]
    categories = [{'id': i, 'name': n} for i, n in enumerate(CLASSES) if i]
    annotations = [
        {
            'id': number,
            'image_id': image,
            'category_id': category,
            'segmentation': [box(1, 1, 5, 4)],
            'area': 12.0,
        }
        for number, image, category in objects
    ]
    return {'images': images, 'categories': categories, 'annotations': annotations}


def box(left: float, top: float, right: float, bottom: float) -> list[float]:
    return [left, top, right, top, right, bottom, left, bottom]


def mask_of_box(category: int) -> np.ndarray:
    label_map = np.zeros((HEIGHT, WIDTH), np.uint8)
    label_map[1:4, 1:5] = category
    return label_map


@pytest.fixture
def raw(tmp_path: Path) -> Raw:
    return Raw(tmp_path / 'raw')


@pytest.fixture
def refused(run: Callable, raw: Raw) -> Callable[..., str]:
    """Prepare what must be refused: listed in full, one line of error, no output."""

    def call(*listed: str) -> str:
        raw.write()
        code, out, err = run(main, *raw.argv)
        assert code == 2
        assert err.startswith(f'error: {raw.folder}: {len(listed)} problem')
        assert err.count('\n') == 1
        problems = [line for line in out.splitlines() if line.startswith('problem: ')]
        assert len(problems) == len(listed), problems
        for text in listed:
            assert any(text in problem for problem in problems), (text, problems)
        assert not raw.out.parent.exists()
        return out

    return call


@pytest.fixture
def accepted(run: Callable, raw: Raw) -> Callable[..., dict]:
    """Prepare what must be accepted; return ``dataset.json``."""

    def call(*argv: object) -> dict:
        raw.write()
        code, out, err = run(main, *raw.argv, *argv)
        assert (code, err) == (0, '')
        report = raw.report()
        for text in report['problems']:
            assert f'warning: {text}\n' in out
        return report

    return call


# What is refused.


def spoil_image(**fields: object) -> Callable[[Raw], None]:
    return lambda raw: raw.json['train']['images'][0].update(fields)


def spoil_object(**fields: object) -> Callable[[Raw], None]:
    return lambda raw: raw.json['train']['annotations'][0].update(fields)


def spoil_outline(segmentation: object) -> Callable[[Raw], None]:
    return spoil_object(segmentation=segmentation)


def run_lengths(counts: object, size: tuple = (HEIGHT, WIDTH)) -> dict:
    return {'size': list(size), 'counts': counts}


WRONG = {
    'annotation id twice': (spoil_object(id=4), 'annotation id 4 comes more than once'),
    'annotation of no image': (spoil_object(image_id=5), 'no image with id 5'),
    'area in words': (spoil_object(area='big'), "area is 'big'"),
    'area beyond floats': (spoil_object(area=10**400), 'area is 1000'),
    'category of no table': (
        spoil_object(category_id=42),
        'train.json: 1 annotations have the unknown category id 42',
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
    'outline flat': (spoil_outline(box(1, 1, 5, 4)), 'neither polygons nor run'),
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


def test_refused__category_of_another_name(raw, refused):
    raw.json['valid']['categories'].append({'id': 11, 'name': 'Wood'})
    refused("val.json: unknown category 'Wood' (id 11)")


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
    refused('b/1.jpg: a link that leads out of')


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
    refused('the same picture: train/a/1.jpg, test/a/3.png')


def test_refused__several_problems_are_all_listed(raw, refused):
    spoil_image(width=9)(raw)
    spoil_object(area='big')(raw)
    raw.json['valid']['annotations'][0]['category_id'] = 42
    (raw.folder / 'a/3.jpg').unlink()
    refused(
        'train.json: a/1.jpg: is 8x6',
        'train.json: annotation 70: area',
        'val.json: 1 annotations have the unknown category id 42',
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
    misuse(main, 'holds no dataset.json' if argv else 'exists', *raw.argv, *argv)
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


# What is accepted, and said.


def test_warned__leak_that_is_kept(raw, accepted):
    raw.draw('a/3.jpg', 0)
    report = accepted('--leaks', 'keep')
    assert report['problems'] == ['the same picture: train/a/1.jpg, test/a/3.jpg']
    assert (raw.out / 'test/images/a/3.jpg').is_file()


def test_warned__polygon_of_fewer_than_three_points_is_left_out(raw, accepted):
    spoil_outline([[1, 1, 5, 4], box(1, 1, 5, 4)])(raw)
    assert accepted()['problems'] == [
        'train.json: 1 polygons of fewer than three points: left out'
    ]
    np.testing.assert_array_equal(raw.made('train/mask/b/1.png'), mask_of_box(2))


def test_warned__object_without_an_outline_is_left_out(raw, accepted):
    spoil_outline([])(raw)
    assert accepted()['problems'] == [
        'train.json: 1 objects without an outline: left out'
    ]
    assert not raw.made('train/mask/b/1.png').any()


@pytest.mark.parametrize('far', [20, 1e9])
def test_warned__polygon_out_of_bounds_is_clipped(raw, accepted, far):
    spoil_outline([box(1, -far, far, far)])(raw)
    assert accepted()['problems'] == ['train.json: 1 polygons out of bounds: clipped']
    label_map = np.zeros((HEIGHT, WIDTH), np.uint8)
    label_map[:, 1:] = 2
    np.testing.assert_array_equal(raw.made('train/mask/b/1.png'), label_map)


def test_warned__run_lengths_of_both_kinds_are_painted(raw, accepted):
    counts = coco.encode(np.asfortranarray(mask_of_box(1)))['counts'].decode()
    spoil_outline(run_lengths(counts))(raw)
    plain = [7, 3, 3, 3, 3, 3, 3, 3, 20]
    raw.json['train']['annotations'][1]['segmentation'] = run_lengths(plain)
    assert accepted()['problems'] == [
        'train.json: 2 objects in run lengths (RLE): painted'
    ]
    np.testing.assert_array_equal(raw.made('train/mask/b/1.png'), mask_of_box(2))
    np.testing.assert_array_equal(raw.made('train/mask/a/1.png'), mask_of_box(5))


def test_warned__image_without_annotation_is_all_background(raw, accepted):
    raw.json['valid']['annotations'].clear()
    assert accepted()['problems'] == [
        'val.json: 1 images without annotation: kept, all background'
    ]
    assert not raw.made('valid/mask/a/2.png').any()


# What is made.


def test_made__images_and_masks_of_each_part_and_no_mask_of_test(raw, accepted):
    assert accepted()['problems'] == []
    files = {
        path.relative_to(raw.out).as_posix()
        for path in raw.out.rglob('*')
        if path.is_file()
    }
    assert files == {
        'dataset.json',
        'train/images/a/1.jpg',
        'train/images/b/1.jpg',
        'train/mask/a/1.png',
        'train/mask/b/1.png',
        'valid/images/a/2.jpg',
        'valid/mask/a/2.png',
        'test/images/a/3.jpg',
    }
    assert [path.name for path in raw.out.parent.iterdir()] == ['root']


def test_made__same_name_in_two_batches_and_joined_by_id_not_position(raw, accepted):
    accepted()
    np.testing.assert_array_equal(raw.made('train/mask/a/1.png'), mask_of_box(5))
    np.testing.assert_array_equal(raw.made('train/mask/b/1.png'), mask_of_box(2))


def test_made__order_of_the_file_does_not_matter(raw, accepted):
    accepted()
    before = {name: raw.made(f'train/mask/{name}') for name in ('a/1.png', 'b/1.png')}
    for key in ('images', 'annotations', 'categories'):
        raw.json['train'][key].reverse()
    accepted('--overwrite')
    for name, label_map in before.items():
        np.testing.assert_array_equal(raw.made(f'train/mask/{name}'), label_map)


def test_made__order_of_overlaps_is_chosen_and_told(raw, accepted):
    content = raw.json['train']
    above = deepcopy(content['annotations'][0])
    above.update(id=71, category_id=6, area=4.0)
    above['segmentation'] = [[1, 1, 5, 1, 5, 4]]
    content['annotations'].append(above)
    assert accepted()['order'] == 'area'
    assert set(np.unique(raw.made('train/mask/b/1.png'))) == {0, 2, 6}
    assert accepted('--order', 'points', '--overwrite')['order'] == 'points'
    np.testing.assert_array_equal(raw.made('train/mask/b/1.png'), mask_of_box(2))


def test_made__masks_open_as_palette_png(raw, accepted):
    accepted()
    image = Image.open(raw.out / 'train/mask/b/1.png')
    assert (image.format, image.mode) == ('PNG', 'P')
    assert image.convert('RGB').getpixel((2, 2)) == PALETTE[2]


def test_made__images_are_hard_links(raw, accepted):
    accepted()
    assert (raw.out / 'train/images/a/1.jpg').samefile(raw.folder / 'a/1.jpg')
    assert not (raw.out / 'train/images/a/1.jpg').is_symlink()


def test_made__pixel_counts_are_of_pixels_not_of_polygon_vertices(raw, accepted):
    report = accepted()
    for name in ('train', 'valid'):
        pixels: Counter = Counter()
        for path in (raw.out / name / 'mask').rglob('*.png'):
            pixels.update(read_mask(path).ravel().tolist())
        counted = report['parts'][name]['pixels_by_class']
        assert counted == {n: pixels[i] for i, n in enumerate(CLASSES)}
    train = report['parts']['train']
    assert train['pixels_by_class']['Paper'] == 12
    assert train['objects_by_class']['Paper'] == train['images_by_class']['Paper'] == 1
    assert train['images'] == 2


@pytest.mark.parametrize('spelling', ['Backgroud', 'Background'])
def test_made__background_among_the_categories_in_either_spelling(
    raw, accepted, spelling
):
    raw.json['train']['categories'].insert(0, {'id': 0, 'name': spelling})
    assert accepted()['classes'] == list(CLASSES)


@pytest.mark.parametrize('suffix', ['.txt', '.json'])
@pytest.mark.parametrize('encoding', ['utf-8', 'utf-8-sig'])
def test_made__own_classes_are_joined_by_name(
    raw, accepted, tmp_path, suffix, encoding
):
    names = ['Background', 'Wood', 'Stone']
    table = tmp_path / f'classes{suffix}'
    text = json.dumps(names) if suffix == '.json' else '\n'.join(names)
    table.write_text(text, encoding=encoding)
    for content in raw.json.values():
        content['categories'] = [
            {'id': 90, 'name': 'Wood'},
            {'id': 40, 'name': 'Stone'},
        ]
        for annotation in content['annotations']:
            annotation['category_id'] = 40
    assert accepted('--classes', table)['classes'] == names
    np.testing.assert_array_equal(raw.made('train/mask/b/1.png'), mask_of_box(2))


def test_made__two_processes_make_the_same(raw, accepted):
    alone = accepted()
    masks = {path: read_mask(path) for path in raw.out.rglob('*.png')}
    assert accepted('--overwrite', '--jobs', 2) == alone
    for path, label_map in masks.items():
        np.testing.assert_array_equal(read_mask(path), label_map)


def test_interrupted__nothing_is_left(raw, run, monkeypatch):
    whole, done = prepare_data.write_image, []

    def write_one_then_stop(*job: Any) -> dict[int, int]:
        if done:
            raise KeyboardInterrupt
        done.append(job)
        return whole(*job)

    monkeypatch.setattr(prepare_data, 'write_image', write_one_then_stop)
    code, _, err = run(main, *raw.argv)
    assert (code, err) == (130, 'interrupted\n')
    assert done
    assert not list(raw.out.parent.iterdir())


@pytest.mark.skipif(not SAMPLE.is_dir(), reason='needs the sample of the data set')
def test_sample__masks_equal_the_official_loop_pixel_for_pixel(tmp_path, run):
    root = tmp_path / 'root'
    code, _, err = run(main, SAMPLE, '--out', root, '--jobs', 1)
    assert (code, err) == (0, '')
    compared = 0
    for name in ('train', 'valid'):
        content = read_json(SAMPLE / PARTS[name])
        for row in content['images']:
            label_map = np.zeros((row['height'], row['width']), np.uint8)
            rows = [a for a in content['annotations'] if a['image_id'] == row['id']]
            for annotation in sorted(rows, key=lambda a: a['area'], reverse=True):
                outline = coco.frPyObjects(annotation['segmentation'], *label_map.shape)
                label_map[coco.decode(coco.merge(outline)) == 1] = annotation[
                    'category_id'
                ]
            made = read_mask(root / name / 'mask' / mask_name(row['file_name']))
            np.testing.assert_array_equal(made, label_map, row['file_name'])
            compared += 1
        assert len(list_images(root / name / 'images')) == len(content['images'])
    assert compared == 60
