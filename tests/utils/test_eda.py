"""The numbers of the data page: counted a second time, or by hand."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmsegmentation.classes import CLASSES
from mmsegmentation.files import mask_name, read_image, read_json, read_mask
from utils.data_page.images import read_labels
from utils.eda import main
from utils.prepare_data import main as prepare

# pycocotools' own, under NumPy 2.
pytestmark = pytest.mark.filterwarnings(
    'ignore:__array__ implementation:DeprecationWarning'
)
SAMPLE = Path(__file__).resolve().parents[2] / '../shared/data/recycle_trash_sample'


@pytest.fixture
def look(run, tmp_path):
    """Run the command; return ``eda.json`` and what was printed."""

    def call(root, *argv):
        out, names = tmp_path / 'eda', tmp_path / 'names.json'
        if not (root / 'dataset.json').is_file():
            names.write_text(json.dumps(CLASSES))
            argv += ('--classes', names)
        code, text, err = run(main, root, '--out', out, '--jobs', 1, *argv)
        assert (code, err) == (0, '')
        return read_json(out / 'eda.json'), text

    return call


def by_name(rows):
    return {row['name']: row for row in rows}


def table(path):
    with path.open(newline='', encoding='utf-8-sig') as file:
        return list(csv.DictReader(file))


def test_pixels__equal_a_plain_count(look, make_part):
    make_part('train', {'a/1.jpg': [[0, 1, 1, 255]] * 3, 'b/1.jpg': [[8], [8]]})
    root = make_part('valid', {'1.jpg': [[2, 2], [10, 0]]})
    found = look(root)[0]
    train, valid = (found['parts'][name] for name in ('train', 'valid'))
    assert [row['pixels'] for row in train['classes']] == [3, 6, *[0] * 6, 2, 0, 0]
    assert [row['id'] for row in valid['classes'] if row['pixels']] == [0, 2, 10]
    assert (train['pixels'], train['ignored'], train['images']) == (11, 3, 2)
    everything = by_name(found['all_labelled'])
    assert everything['Background']['pixels'] == 4
    assert everything['Paper']['share'] == 2 / 15
    assert everything['Paper']['share_without_background'] == 2 / 11
    assert [row['images'] for row in train['classes'][:3]] == [1, 1, 0]


@pytest.mark.skipif(not SAMPLE.is_dir(), reason='needs the photographs')
def test_pixels__of_photographs_equal_a_plain_count(run, look, tmp_path):
    root = tmp_path / 'root'
    assert run(prepare, SAMPLE, '--out', root, '--jobs', 1)[0] == 0
    found = look(root, '--raw', SAMPLE, '--thumbnail', 32)[0]
    for part in ('train', 'valid'):
        counts = np.zeros(256, int)
        for path in (root / part / 'mask').rglob('*.png'):
            counts += np.bincount(read_mask(path).ravel(), minlength=256)
        rows = found['parts'][part]['classes']
        assert [row['name'] for row in rows] == list(CLASSES)
        assert [row['pixels'] for row in rows] == counts[: len(CLASSES)].tolist()
        assert found['parts'][part]['objects_counted'] == 'annotations'
    content = [json.loads((SAMPLE / f'{n}.json').read_text()) for n in ('train', 'val')]
    objects = [row for part in content for row in part['annotations']]
    points = sum(len(p) // 2 for row in objects for p in row['segmentation'])
    assert sum(row['objects'] for row in found['vertices']) == len(objects)
    assert sum(row['vertices'] for row in found['vertices']) == points
    assert found['overlaps']['images_painted_otherwise'] == 0
    assert found['overlaps']['pixels_changed'] > 0


def test_objects__are_pieces_with_eight_neighbours():
    label_map = np.array([[1, 0, 2], [0, 1, 2], [3, 0, 0], [0, 0, 3]], np.uint8)
    labels = read_labels(label_map, 4)
    assert sorted(map(tuple, labels.objects.tolist())) == [
        (1, 2),
        (2, 2),
        (3, 1),
        (3, 1),
    ]


def test_objects__are_those_of_the_json_where_it_is_known(look, raw, accepted):
    # Two boxes of one class at the same place: one piece, two objects.
    raw.json['train']['annotations'].append(
        raw.json['train']['annotations'][0] | {'id': 71}
    )
    accepted()
    found = look(raw.out)[0]
    train = found['parts']['train']
    assert train['objects_counted'] == 'annotations'
    row = train['classes'][2]
    assert (row['objects'], row['components']) == (2, 1)
    page = (raw.out.parents[1] / 'eda/index.html').read_text('utf-8')
    assert 'as annotated in the source JSON' in page


def test_objects__are_pieces_where_masks_changed_since(look, raw, accepted):
    accepted()
    path = raw.out / 'train/mask/a/1.png'
    Image.fromarray(np.full((6, 8), 4, np.uint8)).save(path)
    found, text = look(raw.out)
    assert found['parts']['train']['objects_counted'] == 'components'
    assert found['parts']['train']['classes'][4]['objects'] == 1
    assert any('are not those of dataset.json' in p for p in found['problems'])
    assert 'warning: train: 3 classes whose pixels' in text


def test_together__counts_images_with_both(look, make_part):
    maps = {'1.jpg': [[1, 2]], '2.jpg': [[1, 2]], '3.jpg': [[1, 0]]}
    found = look(make_part('train', maps))[0]
    counts = np.array(found['parts']['train']['images_with_both_classes'])
    assert counts[:3, :3].tolist() == [[1, 1, 0], [1, 3, 2], [0, 2, 2]]
    assert found['parts']['train']['classes_per_image']['mean'] == 5 / 3


def test_places__are_the_share_of_a_cell_in_images_that_hold_the_class():
    label_map = np.zeros((64, 128), np.uint8)
    label_map[:32, :64] = 1
    label_map[32, 64] = 2
    labels = read_labels(label_map, 3)
    assert labels.ids == [0, 1, 2]
    assert labels.places[1, :16, :16].min() == 1
    assert labels.places[1].mean() == 0.25
    assert labels.places[2, 16, 16] == 1 / 8
    small = read_labels(np.array([[1, 0]], np.uint8), 2)
    assert small.places[1, :, :16].min() == 1
    assert small.places[1].mean() == 0.5


def test_channels__mean_and_std_of_all_pixels_and_the_config(look, tmp_path):
    rng = np.random.default_rng(0)
    folder = tmp_path / 'root/train/images'
    folder.mkdir(parents=True)
    pixels = []
    for name, size in (('a.png', (9, 7)), ('b.png', (30, 4))):
        image = rng.integers(0, 256, (*size, 3), np.uint8)
        image[..., 2] //= 2
        Image.fromarray(image).save(folder / name)
        pixels.append(read_image(folder / name).reshape(-1, 3))
    found = look(tmp_path / 'root')[0]['parts']['train']
    both = np.concatenate(pixels).astype(float)
    assert found['channels']['mean'] == pytest.approx(both.mean(0), abs=1e-3)
    assert found['channels']['std'] == pytest.approx(both.std(0), abs=1e-3)
    assert {(s['width'], s['height']) for s in found['sizes']} == {(7, 9), (4, 30)}
    page = (tmp_path / 'eda/index.html').read_text('utf-8')
    config: dict = {}
    exec(page.split('<pre tabindex="0">')[1].split('</pre>')[0], config)
    mean = config['model']['data_preprocessor']['mean']
    assert mean == found['channels']['mean']
    assert config['mean_bgr'] == tuple(reversed(mean))


def overlapping(raw):
    """Two objects, 24 and 4 pixels; the small one has fewer points."""
    raw.json['train']['annotations'] = [
        {
            'id': 1,
            'image_id': 10,
            'category_id': 2,
            'segmentation': [[0, 0, 3, 0, 6, 0, 6, 4, 0, 4]],
            'area': 24.0,
        },
        {
            'id': 2,
            'image_id': 10,
            'category_id': 5,
            'segmentation': [raw.box(1, 1, 3, 3)],
            'area': 4.0,
        },
    ]


def test_overlaps__other_order_changes_the_covered_pixels(look, raw, accepted):
    overlapping(raw)
    accepted()
    found = look(raw.out, '--raw', raw.folder)[0]
    overlaps = found['overlaps']
    assert (overlaps['order'], overlaps['other_order']) == ('area', 'points')
    assert (overlaps['images_changed'], overlaps['pixels_changed']) == (1, 4)
    assert overlaps['pixels_covered_again'] == 4
    rows = by_name(overlaps['classes'])
    assert (rows['Glass']['lost'], rows['Paper']['gained']) == (4, 4)
    vertices = by_name(found['vertices'])
    assert (vertices['Paper']['vertices'], vertices['Glass']['vertices']) == (5, 4)
    # One more object in valid: General trash, 4 points, 12 pixels.
    assert vertices['Paper']['vertices_share'] == 5 / 13
    assert vertices['Paper']['pixels_share'] == 20 / 36


def test_overlaps__need_the_json_that_made_the_root(misuse, raw, accepted, tmp_path):
    accepted()
    out = ('--out', tmp_path / 'eda')
    misuse(main, 'no such file', raw.out, *out, '--raw', tmp_path)
    overlapping(raw)
    raw.write()
    message = r'train\.json: is not the file that the data root was made of'
    misuse(main, message, raw.out, *out, '--raw', raw.folder)
    (raw.out / 'dataset.json').unlink()
    misuse(main, 'needs a dataset', raw.out, *out, '--raw', raw.folder)
    assert not (tmp_path / 'eda').exists()


def test_overlaps__masks_painted_otherwise_are_a_problem(look, raw, accepted):
    overlapping(raw)
    accepted()
    path = raw.out / 'train/mask/a/1.png'
    Image.fromarray(np.zeros((6, 8), np.uint8)).save(path)
    found = look(raw.out, '--raw', raw.folder)[0]
    assert any('not what order' in text for text in found['problems'])


def test_parts__without_labels_or_images_are_shown(look, make_part, tmp_path):
    root = make_part('test', {'1.jpg': [[0, 1]]}, masks=False)
    (root / 'train/images').mkdir(parents=True)
    found, text = look(root)
    assert found['parts']['test']['classes'] == []
    assert found['parts']['test']['objects_counted'] is None
    assert found['parts']['train']['images'] == 0
    assert 'test: 1 images, 0 labelled' in text
    assert table(tmp_path / 'eda/classes.csv') == []
    assert 'or test has a mask' in (tmp_path / 'eda/index.html').read_text('utf-8')


def test_gaps__name_classes_that_a_part_lacks(look, make_part):
    make_part('train', {'1.jpg': [[0, 1]]})
    found = look(make_part('valid', {'2.jpg': [[0, 2]]}))[0]
    assert 'General trash: not in valid: no IoU there' in found['gaps']
    assert 'Paper: not in train: cannot be learned' in found['gaps']
    assert any(t.startswith('Paper pack, ') for t in found['gaps'])


def test_classes__are_numbered_where_no_table_is_known(run, make_part, tmp_path):
    """They were called by the names of recycling, and class 0 the background."""
    make_part('train', {'1.jpg': [[0, 255, 2]]})
    root = make_part('valid', {'2.jpg': [[3, 0, 0]]})
    out = tmp_path / 'eda'
    _, text, err = run(main, root, '--out', out, '--jobs', 1)
    assert err == ''
    assert f'{root}: no dataset.json, so the classes are numbered' in text
    found = read_json(out / 'eda.json')
    assert found['classes'] == ['class 0', 'class 1', 'class 2', 'class 3']
    assert [row['pixels'] for row in found['all_labelled']] == [3, 0, 1, 1]
    assert "'class 0'" in (out / 'index.html').read_text('utf-8').replace('"', "'")


def test_classes__of_the_user_must_be_those_of_the_root(
    run, misuse, raw, accepted, tmp_path
):
    accepted()
    names = tmp_path / 'names.txt'
    names.write_text('sky\nroad\n')
    message = r'names\.txt: differs from the classes of .*dataset\.json; remove'
    misuse(main, message, raw.out, '--out', tmp_path / 'eda', '--classes', names)
    # The table of a data root is itself a file of names.
    same = ('--classes', raw.out / 'dataset.json', '--jobs', 1)
    assert run(main, raw.out, '--out', tmp_path / 'eda', *same)[0] == 0


def test_problems__are_told_and_do_not_stop(look, make_part):
    rows = [[0, 1]]
    root = make_part('train', {f'{i}.jpg': rows for i in range(6)})
    masks = root / 'train/mask'
    (masks / '1.png').unlink()
    (masks / 'lone.png').write_bytes((masks / '2.png').read_bytes())
    (root / 'train/images/2.jpg').write_bytes(b'no image')
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(masks / '3.png')
    Image.fromarray(np.full((1, 2), 11, np.uint8)).save(masks / '4.png')
    (masks / '5.png').write_bytes(b'no mask')
    (root / 'dataset.json').write_text(
        json.dumps({'classes': CLASSES, 'problems': ['told before']})
    )
    found = look(root)[0]
    for text in (
        'told before',
        'train: 1 images without a mask: not counted, first: 1.jpg',
        'train: 1 masks without an image: left out, first: lone.png',
        'images/2.jpg: not a readable image',
        'mask/3.png: is 9x9, the image 2x1',
        'mask/4.png: holds class id 11, but there are only 11 classes',
        'mask/5.png: not a readable image',
    ):
        assert any(text in problem for problem in found['problems']), text
    assert found['parts']['train']['labelled'] == 1
    assert found['parts']['train']['images'] == 5


def test_masks__of_two_images_belong_to_neither(look, make_part):
    root = make_part('train', {'a.jpg': [[0, 1]], 'b.jpg': [[0, 2]]})
    photo = root / 'train/images/a.jpg'
    photo.with_suffix('.png').write_bytes(photo.read_bytes())
    found = look(root)[0]
    train = found['parts']['train']
    assert (train['images'], train['labelled']) == (3, 1)
    assert [row['pixels'] for row in train['classes'][:3]] == [1, 0, 1]
    text = 'train: 2 images that share one mask: not counted, first: a.jpg'
    assert text in found['problems']


def test_names__with_rare_spaces_are_shown_and_with_controls_refused(
    look, misuse, make_part, tmp_path
):
    name = 'Screenshot 1.00\u202fPM.jpg'
    root = make_part('train', {name: [[0, 1]]})
    look(root)
    assert table(tmp_path / 'eda/images.csv')[0]['id'] == name
    for wrong in ('a\n.jpg', 'b\udcff.jpg'):
        path = root / 'train/images' / name
        path = path.rename(path.with_name(wrong))
        out = ('--out', tmp_path / 'other')
        misuse(main, 'has characters that cannot be shown', root, *out)
        path.rename(path.with_name(name))


def test_pseudo__alone_makes_a_page(look, make_part, tmp_path):
    found = look(make_part('pseudo', {'1.jpg': [[2, 255]]}))[0]
    assert found['parts']['pseudo']['labelled'] == 1
    assert found['all_labelled'] == []
    assert 'or test has a mask' in (tmp_path / 'eda/index.html').read_text('utf-8')


def test_pseudo__is_shown_and_left_out_of_sums(look, make_part):
    make_part('train', {'1.jpg': [[0, 1]]})
    found = look(make_part('pseudo', {'2.jpg': [[2, 255]]}))[0]
    assert found['parts']['pseudo']['classes'][2]['pixels'] == 1
    assert by_name(found['all_labelled'])['Paper']['pixels'] == 0


def test_csv__holds_the_numbers_of_the_json(look, make_part, tmp_path):
    maps = {'a,"1.jpg': [[0, 1, 1]], '2.jpg': [[2, 0, 2]]}
    found = look(make_part('train', maps))[0]
    rows = table(tmp_path / 'eda/classes.csv')
    assert [int(r['pixels']) for r in rows if r['part'] == 'train'] == [
        row['pixels'] for row in found['parts']['train']['classes']
    ]
    images = {row['id']: row for row in table(tmp_path / 'eda/images.csv')}
    assert images['a,"1.jpg']['pixels_1'] == '2'
    objects = table(tmp_path / 'eda/objects.csv')
    assert [(r['class'], r['area']) for r in objects] == [
        ('Paper', '1'),
        ('Paper', '1'),
        ('General trash', '2'),
    ]
    text = (tmp_path / 'eda/duplicates.csv').read_text('utf-8-sig')
    assert text == 'group,exact,leak,correlation,part,id\n'


def test_csv__names_are_no_formulas_and_an_image_without_a_mask_has_no_counts(
    look, make_part, tmp_path
):
    maps = {'=1+1.jpg': [[0, 1]], '한글.jpg': [[1, 1]]}
    root = make_part('train', maps)
    (root / 'train/mask/한글.png').unlink()
    look(root)
    assert (tmp_path / 'eda/images.csv').read_bytes()[:3] == b'\xef\xbb\xbf'
    rows = table(tmp_path / 'eda/images.csv')
    assert [(r['id'], r['pixels_1']) for r in rows] == [
        ("'=1+1.jpg", '1'),
        ('한글.jpg', ''),
    ]


def test_thumbnails__stand_beside_the_page(look, make_part, tmp_path):
    rows = np.zeros((40, 80), np.uint8)
    look(make_part('train', {'#?&.jpg': rows}), '--thumbnail', 32)
    with Image.open(tmp_path / 'eda/thumbs/train/000000.jpg') as picture:
        assert picture.size == (32, 16)
    with Image.open(tmp_path / 'eda/thumbs/train/000000.png') as picture:
        assert picture.size == (32, 16)


def test_misuse__is_one_line_and_leaves_nothing(misuse, make_part, tmp_path):
    root = make_part('train', {'1.jpg': [[0, 1]]})
    out = ('--out', tmp_path / 'eda')
    misuse(main, 'no such folder', tmp_path / 'none', *out)
    misuse(main, 'is no data root', tmp_path, *out)
    misuse(main, 'would replace', root, '--out', tmp_path, '--overwrite')
    misuse(main, r'eda: lies in .*root; choose another', root, '--out', root / 'eda')
    misuse(main, 'holds no eda.json, so it is not replaced', root, '--out', root)
    misuse(main, '--jobs: is 0', root, *out, '--jobs', 0)
    misuse(main, r'9 is not in \[32, 1024\]', root, *out, '--thumbnail', 9)
    (root / 'dataset.json').write_text('{"classes": ["a"]}')
    misuse(main, 'has 1 classes, not 2 to 255', root, *out)
    (root / 'dataset.json').write_text('{"classes": ["a", "b"], "order": "x"}')
    misuse(main, "names the order 'x', not one of area", root, *out)
    (root / 'dataset.json').unlink()
    (root / 'train/images/1.jpg').unlink()
    misuse(main, 'holds no image', root, *out)
    deep = np.full((4, 4), 999, np.uint16)
    Image.fromarray(deep).save(root / 'train/images/1.png')
    misuse(main, 'holds no readable image; .*convert it to 8 bit', root, *out)
    assert [p.name for p in tmp_path.iterdir()] == ['root']


def test_overwrite__replaces_an_earlier_page_alone(run, make_part, tmp_path):
    root = make_part('train', {'1.jpg': [[0, 1]]})
    out = tmp_path / 'eda'
    assert run(main, root, '--out', out)[0] == 0
    (out / 'stale.txt').touch()
    assert run(main, root, '--out', out)[0] == 2
    assert run(main, root, '--out', out, '--overwrite')[0] == 0
    assert not (out / 'stale.txt').exists()
    (out / 'eda.json').unlink()
    assert run(main, root, '--out', out, '--overwrite')[0] == 2


def test_mask_names__join_by_image_id(look, make_part):
    root = make_part('train', {'a/1.jpg': [[1, 1]], 'b/1.jpg': [[2, 0]]})
    assert (root / 'train/mask' / mask_name('b/1.jpg')).is_file()
    found = look(root)[0]
    pixels = [row['pixels'] for row in found['parts']['train']['classes'][:3]]
    assert pixels == [1, 2, 1]
