"""The command that lists doubtful labels: its files, its words, and wrong input."""

import contextlib
import csv
import io
import json

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from mmsegmentation.files import read_image, write_mask
from mmsegmentation.predictions import finish_predictions, open_predictions
from utils.label_noise import MOST_DRAWN, main, rank_label_noise
from utils.noise.export import polygons
from utils.noise.objects import shape_of
from utils.noise.sheet import around, caption

# pycocotools' own arrays do not know NumPy 2's copy keyword.
pytestmark = pytest.mark.filterwarnings(
    'ignore:__array__ implementation:DeprecationWarning'
)
# Names that a page, a formula or a file list could stumble over.
NAMES = ('Background', '_Can', '<b>$Bag$</b>', '컵, "Cup"')
WRONG, LACKING = 'b 1/<script>"$x$.jpg', '한글/없음.jpg'
SIDE = 48


def canvas(*boxes):
    """Return class ids, (SIDE, SIDE): each box is left, top, width, height, class."""
    label_map = np.zeros((SIDE, SIDE), np.uint8)
    for left, top, width, height, number in boxes:
        label_map[top : top + height, left : left + width] = number
    return label_map


@pytest.fixture
def given(make_predictions, make_part, tmp_path):
    """Write a data root and predictions that contradict it twice; return the words."""
    cup, can, bag = (6, 6, 16, 16, 3), (26, 20, 18, 20, 1), (26, 20, 18, 20, 2)
    pairs = {f'b/{i}.jpg': (canvas(cup, bag), canvas(cup, bag)) for i in range(4)}
    pairs |= {f'c/{i}.jpg': (canvas(cup, can), canvas(cup, can)) for i in range(4)}
    pairs[WRONG] = canvas(cup, can), canvas(cup, bag)
    pairs[LACKING] = canvas(cup), canvas(cup, can)
    pred = make_predictions(
        'pred', {i: p for i, (_, p) in pairs.items()}, 230, NAMES, split='valid'
    )
    root = make_part('valid', {i: label for i, (label, _) in pairs.items()})
    (root / 'dataset.json').write_text(json.dumps({'classes': NAMES}))
    # As the photographs of another size than their masks would be: smaller.
    Image.new('RGB', (30, 30), 'grey').save(root / 'valid/images' / LACKING, 'PNG')
    return pred, '--data-root', root, '--out', tmp_path / 'out', '--jobs', 1


def rows(path):
    with path.open(newline='', encoding='utf-8-sig') as file:
        return list(csv.reader(file))


def test_tables__say_what_and_where(run, given, tmp_path):
    code, said, err = run(main, *given)
    assert (code, err) == (0, '')
    assert '19 labelled objects (connected regions of one class); 2 findings' in said
    assert '    1 missing: an object is predicted where the label has none\n' in said
    assert '    1 wrong class: an object is predicted as another class\n' in said
    # Background 1688 / 1724, cup 1, can 4 / 6, bag 4 / 5.
    assert 'mIoU of the predictions by these labels: 0.861;' in said
    assert f'wrong class: _Can -> <b>$Bag$</b>  {WRONG}' in said
    head, *found = rows(tmp_path / 'out/objects.csv')
    assert head[:6] == ['rank', 'score', 'image', 'kind', 'given', 'suggested']
    assert head[6:] == ['left', 'top', 'width', 'height', 'pixels', 'annotation_id']
    place = ['26', '20', '18', '20', '360', '']
    assert sorted(row[2:] for row in found) == [
        [WRONG, 'wrong class', '_Can', '<b>$Bag$</b>', *place],
        [LACKING, 'missing', 'Background', '_Can', *place],
    ]
    assert [row[0] for row in found] == ['1', '2']
    assert float(found[0][1]) >= float(found[1][1]) > 0.3
    head, *images = rows(tmp_path / 'out/images.csv')
    assert head == ['rank', 'score', 'image', 'findings']
    assert [[*row[:3], '1'] for row in found] == images


def test_coco__is_read_back_by_pycocotools(run, given, tmp_path):
    run(main, *given)
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(tmp_path / 'out/findings.json')
    assert {c['id']: c['name'] for c in coco.cats.values()} == dict(
        enumerate(NAMES[1:], start=1)
    )
    images = {i['file_name']: i for i in coco.imgs.values()}
    assert set(images) == {WRONG, LACKING}
    assert all((i['height'], i['width']) == (SIDE, SIDE) for i in images.values())
    found = {coco.imgs[a['image_id']]['file_name']: a for a in coco.anns.values()}
    for annotation in found.values():
        mask = coco.annToMask(annotation)
        assert np.array_equal(mask, canvas((26, 20, 18, 20, 1)))
        assert annotation['bbox'] == [26, 20, 18, 20]
        assert (annotation['area'], annotation['iscrowd']) == (360, 0)
        assert 0.3 < annotation['score'] <= 1
        values = annotation['attributes'].values()
        assert all(isinstance(value, str | int) for value in values)
    # The labelled class stays, for a person to change; what lacks has the suggested.
    wrong, lacking = found[WRONG], found[LACKING]
    assert (wrong['category_id'], lacking['category_id']) == (1, 1)
    assert wrong['attributes'] | {'rank': 0} == {
        'rank': 0,
        'kind': 'wrong class',
        'given': '_Can',
        'suggested': '<b>$Bag$</b>',
    }
    assert lacking['attributes']['kind'] == 'missing'
    info = json.loads((tmp_path / 'out/findings.json').read_text('utf-8'))['info']
    assert info['predictions'] == str(tmp_path / 'pred')
    assert len(info['predictions_sha256']) == 64


def test_polygons__enclose_the_pixels_and_nothing_else():
    from pycocotools import mask as coco

    art = ['..##....', '.####..#', '..#.#.##', '....#..#', '#.......']
    inside = np.array([[c == '#' for c in line] for line in art])
    shape = shape_of(inside, (slice(2, 7), slice(3, 11)))
    assert (shape.bbox, shape.pixels) == ((3, 2, 8, 5), 14)
    outlines = polygons(shape)
    assert len(outlines) == 3
    painted = coco.decode(coco.merge(coco.frPyObjects(outlines, 9, 12)))
    assert np.array_equal(painted[2:7, 3:11], inside)
    assert painted.sum() == 14


def test_sheet__shows_the_first_findings(run, given, tmp_path):
    run(main, *given)
    both = read_image(tmp_path / 'out/top.png')
    run(main, *given, '--top', 1, '--overwrite')
    one = read_image(tmp_path / 'out/top.png')
    assert both.shape == one.shape
    # The second finding stands in the middle, above the legend.
    middle = both.shape[1] // 2
    assert both[:, middle].std() > 5 > one[: len(one) // 2, middle].std()


def test_sheet__crops_a_square_within_the_image(given):
    ranking = rank_label_noise(
        open_predictions(given[0]), given[2] / 'valid/mask', min_score=0.2
    )
    finding = ranking.findings[0]
    # 1.6 times the longer side, moved into the image.
    assert around(finding) == (slice(14, 46), slice(16, 48))
    assert caption(finding, NAMES).endswith(f'\n{finding.image_id}')


def test_help__says_what_the_kinds_and_the_score_are(run):
    said = ' '.join(run(main, '--help')[1].split())
    for kind in ('wrong class', 'missing', 'superfluous', 'shifted'):
        assert f'{kind}, an object' in said
    assert 'Score: how surely the model contradicts the label, from 0 to 1' in said
    assert 'without it, each connected region of a class is one object' in said


def test_labels__stay_as_they_are(run, given):
    paths = [p for p in given[2].rglob('*') if p.is_file()]
    before = [p.read_bytes() for p in paths]
    run(main, *given)
    assert [p for p in given[2].rglob('*') if p.is_file()] == paths
    assert [p.read_bytes() for p in paths] == before


def test_min_score__leaves_out_what_is_below(run, given, tmp_path):
    said = run(main, *given, '--min-score', 1)[1]
    assert '0 findings in 0 images\n' in said
    assert len(rows(tmp_path / 'out/objects.csv')) == 1
    content = json.loads((tmp_path / 'out/findings.json').read_text('utf-8'))
    assert content['images'] == content['annotations'] == []


def tell(pred, **origin):
    """Have predictions say something else about where they come from."""
    finish_predictions(pred, NAMES, open_predictions(pred).image_ids, origin)


@pytest.mark.parametrize(
    'origin',
    [
        {'folds': 2},
        {
            'split': 'valid',
            'fold': {'fold': 0, 'folds': 2, 'parts': ['train', 'valid']},
        },
    ],
)
def test_folds__find_each_image_in_the_part_that_labels_it(
    run, given, tmp_path, origin
):
    pred, root = given[0], given[2]
    (root / 'train').mkdir()
    for name in ('images', 'mask'):
        (root / 'train' / name).mkdir()
        (root / 'valid' / name / 'c').rename(root / 'train' / name / 'c')
    run(main, *given)
    assert not (tmp_path / 'out').exists()
    tell(pred, **origin)
    code, said, _ = run(main, *given)
    assert (code, '2 findings in 2 images' in said) == (0, True)
    assert len(rows(tmp_path / 'out/objects.csv')) == 3


def test_part__is_the_predicted_one_where_another_has_labels_of_that_name(
    run, given, make_part
):
    pred = given[0]
    # As tools/test.py writes it without a fold; here each label is wrong.
    tell(pred, split='valid', fold=None)
    make_part('train', {WRONG: canvas(), LACKING: canvas(), 'b/0.jpg': canvas()})
    code, said, err = run(main, *given)
    assert (code, err) == (0, '')
    assert '; 2 findings in 2 images' in said


@pytest.mark.parametrize('fold', [None, {'fold': 0, 'parts': ['valid']}])
def test_misuse__images_that_the_model_was_trained_on(misuse, given, tmp_path, fold):
    tell(given[0], split='train', fold=fold)
    misuse(main, 'is --split train, which its model was trained on; train f', *given)
    assert not (tmp_path / 'out').exists()


def test_sheet__of_as_many_as_may_be_drawn_can_be_opened():
    # 242 pixels a row of three, and the legend; Agg draws up to 65,535.
    assert 242 * MOST_DRAWN / 3 + 110 < 2**15


def test_shape__holds_its_box_alone():
    inside = np.zeros((6, 9), bool)
    inside[2:4, 3:8] = True
    inside[2, 3] = False
    shape = shape_of(inside, (slice(100, 106), slice(2000, 2009)))
    assert (shape.bbox, shape.pixels) == ((2003, 102, 5, 2), 9)
    assert shape.rle['size'] == [2, 5]
    assert shape.inside().tolist() == [[0, 1, 1, 1, 1], [1] * 5]


def test_misuse__one_line_and_nothing_written(misuse, given, tmp_path):
    pred, _, root, *_ = given
    misuse(main, 'no prediction folder', root, *given[1:])
    misuse(main, '--top: is 0; give 1 to 300', *given, '--top', 0)
    misuse(main, '--top: is 1000; give 1 to 300', *given, '--top', 1000)
    misuse(main, '--jobs: is 0, give 1 to', *given[:-1], 0)
    misuse(main, r'2.0 is not in \[0, 1\]', *given, '--min-score', 2)
    misuse(main, 'is not in .*train', *given, '--split', 'train')
    misuse(main, 'no such file', *given, '--json', tmp_path / 'none.json')
    other = tmp_path / 'other.json'
    other.write_text(
        json.dumps(
            {'images': [{'id': 1, 'file_name': 'x.jpg', 'width': 9, 'height': 9}]}
        )
    )
    misuse(main, "'b/0.jpg': is not in .*other.json", *given, '--json', other)
    other.write_text(json.dumps({'images': [{'id': 1, 'file_name': '../x.jpg'}]}))
    misuse(main, '1 problems?, first: .*inside its folder', *given, '--json', other)
    misuse(main, f'would replace {pred}', *given[:4], root.parent, '--overwrite')
    misuse(main, f'lies in {root}', *given[:4], root / 'labels')
    (pred / 'probs/b').mkdir(parents=True)
    np.save(pred / 'probs/b/0.npy', np.zeros((3, 12, 12), np.uint8))
    misuse(main, r'shape \(3, 12, 12\), not uint8 of 4 classes', *given)
    (pred / 'probs/b/0.npy').write_bytes(b'\x93NUMPY')
    misuse(main, 'probs/b/0.npy: not readable', *given)
    (pred / 'probs/b/0.npy').unlink()
    mask = root / 'valid/mask/b/0.png'
    write_mask(mask, np.full((SIDE, SIDE), 4, np.uint8))
    misuse(main, 'holds class id 4, but there are only 4 classes', *given)
    write_mask(mask, np.zeros((SIDE, 7), np.uint8))
    misuse(main, "'b/0.jpg': label .* differ in size", *given)
    (root / 'dataset.json').write_text('{"classes": ["Background", "Can"]}')
    misuse(main, 'its classes differ', *given)
    assert not (tmp_path / 'out').exists()
    (root / 'dataset.json').write_text(json.dumps({'classes': NAMES, 'order': []}))
    misuse(main, r'dataset.json: names the order \[\], not one of', *given)
    (root / 'dataset.json').write_text('["Background", "Can"]')
    misuse(main, 'dataset.json: has no list of classes', *given)
    (tmp_path / 'out').mkdir()
    (tmp_path / 'out/mine.txt').write_text('mine')
    misuse(main, 'is not replaced; name another folder', *given)
