"""Pseudo labels: what is trusted, what is refused, and what is written down."""

import json

import numpy as np
import pytest
from PIL import Image

from mmsegmentation.files import read_json, read_mask, sha256_of
from mmsegmentation.folds import write_folds
from utils.pseudo.labels import drop_small, trust
from utils.pseudo.thresholds import given_thresholds
from utils.pseudo_label import main

CLASSES = ('Background', 'Paper', 'Metal')
MAPS = {'b_1/1.jpg': [[0, 1], [1, 2]], 'b_2/1.jpg': [[0, 0], [0, 0]]}
SURE = {'b_1/1.jpg': [[255, 230], [229, 200]], 'b_2/1.jpg': [[9, 9], [9, 9]]}


@pytest.fixture
def pred(make_predictions):
    return make_predictions('pred', MAPS, SURE, CLASSES, checkpoint_sha256='1a')


@pytest.fixture
def root(make_part):
    return make_part('test', MAPS, masks=False)


def write_folds_of(root, images):
    folder = root / 'folds'
    folder.mkdir(parents=True)
    write_folds(folder, 2, images, {})


def test_pixels__below_the_threshold_become_255(run, pred, root):
    code, out, err = run(main, pred, '--data-root', root)
    assert (code, err) == (0, '')
    # 0.9 x 255 = 229.5
    mask = read_mask(root / 'pseudo/mask/b_1/1.png')
    assert mask.tolist() == [[0, 1], [255, 255]]
    photograph = 'images/b_1/1.jpg'
    wanted = (root / 'test' / photograph).read_bytes()
    assert (root / 'pseudo' / photograph).read_bytes() == wanted
    assert '1 images written' in out


def test_image__without_a_trusted_pixel_is_dropped_and_counted(run, pred, root):
    out = run(main, pred, '--data-root', root)[1]
    assert out.splitlines()[-1] == 'left out: 1 without a trusted pixel'
    assert not (root / 'pseudo/images/b_2').exists()
    assert not (root / 'pseudo/mask/b_2').exists()
    summary = read_json(root / 'pseudo/pseudo.json')
    assert (summary['images'], summary['dropped']) == (['b_1/1.jpg'], ['b_2/1.jpg'])


def test_labels__of_background_alone_are_warned_of(run, make_predictions, root):
    told = 'warning: of the kept pixels, 0 of 4 are another class than Background: '
    pred = make_predictions('bare', {'b_1/1.jpg': [[0, 0], [0, 0]]}, 255)
    assert told in run(main, pred, '--data-root', root)[1]
    pred = make_predictions('rich', {'b_1/1.jpg': [[0, 0], [0, 1]]}, 255)
    assert told not in run(main, pred, '--data-root', root, '--overwrite')[1]


def test_images__that_are_all_kept_are_all_that_is_told(run, pred, root):
    out = run(main, pred, '--data-root', root, '--threshold', 0)[1]
    assert out.splitlines()[-1] == f'2 images written to {root / "pseudo"}'


def test_classes__of_another_data_root_are_refused(misuse, pred, root):
    table = {'classes': ['Background', 'can', 'jar']}
    (root / 'dataset.json').write_text(json.dumps(table))
    misuse(main, 'its classes differ from those of', pred, '--data-root', root)
    assert not (root / 'pseudo').exists()


def test_class_threshold__moves_one_class(run, pred, root):
    lower = ('--class-threshold', 'Metal=0.5', 'Paper=0')
    run(main, pred, '--data-root', root, *lower)
    assert read_mask(root / 'pseudo/mask/b_1/1.png').tolist() == MAPS['b_1/1.jpg']


def test_summary__says_where_labels_come_from(run, pred, root):
    run(main, pred, '--data-root', root, '--round', 2, '--class-threshold', 'Metal=.95')
    summary = read_json(root / 'pseudo/pseudo.json')
    assert summary['round'] == 2
    assert summary['predictions'] == {
        'folder': str(pred),
        'sha256': sha256_of(pred / 'predictions.json'),
        'checkpoint_sha256': '1a',
    }
    assert summary['classes'] == list(CLASSES)
    assert summary['thresholds'] == [0.9, 0.9, 0.95]
    assert summary['predicted_pixels'] == [5, 2, 1]
    assert summary['kept_pixels'] == [1, 1, 0]
    assert summary['kept_share'] == [0.2, 0.5, 0.0]


def test_table__shows_kept_share_by_class(run, pred, root):
    lines = run(main, pred, '--data-root', root)[1].splitlines()
    assert lines[0].split() == ['class', 'threshold', 'predicted', 'kept', 'share']
    assert lines[2].split() == ['Paper', '0.900', '2', '1', '50.0%']


@pytest.mark.parametrize('part', ['train', 'valid'])
def test_refused__images_with_labels(misuse, pred, root, make_part, part):
    make_part(part, {'b_2/1.jpg': [[1, 1], [1, 1]]})
    misuse(main, f"'b_2/1.jpg': is in .*{part}", pred, '--data-root', root)
    assert not (root / 'pseudo').exists()


@pytest.mark.parametrize('part', ['train', 'valid', 'extra'])
@pytest.mark.parametrize('saved', ['copied', 'anew'])
def test_refused__labelled_image_under_another_name(misuse, pred, root, part, saved):
    write_folds_of(root, {part: {'z.png': 0, 'y.png': 1}})
    image = root / 'test/images/b_1/1.jpg'
    other = root / part / 'images/z.png'
    other.parent.mkdir(parents=True)
    if saved == 'copied':
        other.write_bytes(image.read_bytes())
    else:
        Image.open(image).save(other, compress_level=0)
        assert other.read_bytes() != image.read_bytes()
    message = r'is the same image as .*z\.png, .* or pass --skip-labelled'
    misuse(main, message, pred, '--data-root', root)
    assert not (root / 'pseudo').exists()


@pytest.fixture
def scenes(make_predictions, tmp_path):
    """Return a data root with two photographs that have something to see."""
    rng = np.random.default_rng(0)
    maps = {name: np.ones((96, 128), np.uint8) for name in ('가 b/1.jpg', 'c.jpg')}
    for name in maps:
        path = tmp_path / 'scenes/test/images' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse = rng.integers(0, 255, (6, 8, 3)).astype(np.uint8)
        Image.fromarray(coarse).resize((128, 96)).save(path, quality=95)
    make_predictions('of_scenes', maps, 255, CLASSES)
    return tmp_path / 'scenes'


@pytest.mark.parametrize(
    ('size', 'options'),
    [
        ((128, 96), {'format': 'JPEG', 'quality': 30}),
        ((64, 48), {'format': 'JPEG', 'quality': 85}),
        ((128, 96), {'format': 'WEBP', 'quality': 50}),
    ],
)
def test_refused__labelled_image_that_was_saved_anew_with_loss(
    run, misuse, scenes, tmp_path, size, options
):
    other = scenes / 'valid/images/z.png'
    other.parent.mkdir(parents=True)
    Image.open(scenes / 'test/images/c.jpg').resize(size).save(other, **options)
    argv = (tmp_path / 'of_scenes', '--data-root', scenes)
    misuse(main, r'c\.jpg: is the same image as .*valid/images/z\.png', *argv)
    assert run(main, *argv, '--skip-labelled')[0] == 0
    summary = read_json(scenes / 'pseudo/pseudo.json')
    assert (summary['images'], summary['labelled']) == (['가 b/1.jpg'], ['c.jpg'])


def test_skip_labelled__leaves_out_what_a_part_has_under_the_same_name(
    run, pred, root, make_part
):
    """As in an edition of the data that holds test images in its training part."""
    make_part('train', {'b_2/1.jpg': [[1, 1], [1, 1]]})
    argv = (pred, '--data-root', root, '--threshold', 0, '--skip-labelled')
    code, out, _ = run(main, *argv)
    assert code == 0
    assert out.splitlines()[-1] == 'left out: 1 that a labelled part holds too'
    assert read_json(root / 'pseudo/pseudo.json')['labelled'] == ['b_2/1.jpg']


def test_options__are_checked_before_any_photograph_is_read(misuse, pred, root):
    (root / 'test/images/b_1/1.jpg').write_text('damaged')
    argv = (pred, '--data-root', root)
    misuse(main, 'names no class', *argv, '--class-threshold', 'Wood=0.5')
    misuse(main, 'no prediction folder', *argv, '--fit', root)
    (root / 'pseudo').mkdir()
    (root / 'pseudo/mine.txt').write_text('mine')
    misuse(main, 'holds no pseudo.json', *argv, '--overwrite')
    (root / 'pseudo/mine.txt').unlink()
    misuse(main, 'not a readable image', *argv)


def test_skip_labelled__leaves_such_images_out_and_counts_them(run, pred, root):
    other = root / 'valid/images/z.png'
    other.parent.mkdir(parents=True)
    other.write_bytes((root / 'test/images/b_2/1.jpg').read_bytes())
    argv = (pred, '--data-root', root, '--threshold', 0, '--skip-labelled')
    code, out, _ = run(main, *argv)
    assert code == 0
    assert out.splitlines()[-1] == 'left out: 1 that a labelled part holds too'
    summary = read_json(root / 'pseudo/pseudo.json')
    assert summary['images'] == ['b_1/1.jpg']
    assert summary['labelled'] == ['b_2/1.jpg']
    assert summary['predicted_pixels'] == [1, 2, 1]
    assert not (root / 'pseudo/mask/b_2').exists()


def test_skip_labelled__with_nothing_left_is_one_line(misuse, pred, root):
    for number in (1, 2):
        other = root / f'valid/images/{number}.png'
        other.parent.mkdir(parents=True, exist_ok=True)
        other.write_bytes((root / f'test/images/b_{number}/1.jpg').read_bytes())
    message = 'holds no image without labels'
    misuse(main, message, pred, '--data-root', root, '--skip-labelled')


def test_refused__images_of_a_part_that_folds_were_made_of(misuse, pred, root):
    """Test images that someone labelled: each is left out by some fold."""
    write_folds_of(root, {'test': {'b_1/1.jpg': 0, 'b_2/1.jpg': 1}})
    message = 'is in .*test, which has labels of its own; check --data-root'
    misuse(main, message, pred, '--data-root', root)


def test_accepted__other_labelled_images_are_no_hindrance(run, pred, root, make_part):
    make_part('train', {'b_9/1.jpg': [[0]]})
    make_part('valid', {'b_8/1.jpg': [[0], [1]]})
    assert run(main, pred, '--data-root', root)[0] == 0


def test_min_kept__image_with_a_smaller_share_is_left_out(run, pred, root):
    argv = (pred, '--data-root', root, '--min-kept', 0.5)
    assert run(main, *argv)[0] == 0  # 2 of 4 pixels: not below
    argv = (pred, '--data-root', root, '--class-threshold', 'Paper=1', '--overwrite')
    code, out, _ = run(main, *argv, '--min-kept', 0.25)
    assert code == 0
    assert out.splitlines()[-1] == 'left out: 1 with less than 25.0% trusted'


def test_min_kept__no_image_is_enough(misuse, pred, root):
    message = 'no image is kept; lower thresholds, --precision or --min-kept'
    misuse(main, message, pred, '--data-root', root, '--min-kept', 0.51)


def test_min_region__small_regions_of_a_kept_class_become_255(
    run, make_predictions, make_part
):
    rows = [[1, 1, 0, 2], [0, 1, 0, 2], [1, 0, 0, 0]]
    pred = make_predictions('regions', {'a.jpg': rows}, 255, CLASSES)
    root = make_part('test', {'a.jpg': rows}, masks=False)
    run(main, pred, '--data-root', root, '--min-region', 3)
    expected = [[1, 1, 0, 255], [255, 1, 0, 255], [255, 0, 0, 0]]
    assert read_mask(root / 'pseudo/mask/a.png').tolist() == expected
    assert read_json(root / 'pseudo/pseudo.json')['kept_pixels'] == [5, 3, 0]


def test_drop_small__pixels_that_touch_at_a_corner_are_two_regions():
    label_map = np.array([[3, 0], [0, 3]], np.uint8)
    assert drop_small(label_map, 2).tolist() == [[255, 255], [255, 255]]
    assert drop_small(label_map, 1) is label_map


def test_drop_small__what_is_not_trusted_stays_so():
    label_map = np.full((3, 3), 255, np.uint8)
    label_map[1, 1] = 0
    assert (drop_small(label_map, 2) == 255).all()


def test_part__has_its_own_folder(run, misuse, pred, root):
    argv = (pred, '--data-root', root, '--part')
    assert run(main, *argv, 'pseudo_fold0')[0] == 0
    assert (root / 'pseudo_fold0/mask/b_1/1.png').is_file()
    assert read_json(root / 'pseudo_fold0/pseudo.json')['part'] == 'pseudo_fold0'
    assert not (root / 'pseudo').exists()
    for name in ('train', 'pseudonym', 'pseudo_/x', '../pseudo', '', 'pseudo_..', '.'):
        misuse(main, 'is no part for pseudo labels', *argv, name)
    assert sorted(path.name for path in root.iterdir()) == ['pseudo_fold0', 'test']


def test_soft__keeps_the_confidence_of_what_is_written(run, pred, root):
    argv = (pred, '--data-root', root)
    run(main, *argv)
    assert not (root / 'pseudo/confidence').exists()
    run(main, *argv, '--soft', '--overwrite')
    kept = read_mask(root / 'pseudo/confidence/b_1/1.png')
    assert kept.tolist() == SURE['b_1/1.jpg']
    assert not (root / 'pseudo/confidence/b_2').exists()
    assert read_json(root / 'pseudo/pseudo.json')['soft'] is True


def test_jobs__any_number_gives_the_same_bytes(run, pred, root):
    written = []
    for jobs in (1, 3):
        argv = (pred, '--data-root', root, '--threshold', 0, '--overwrite')
        assert run(main, *argv, '--jobs', jobs)[0] == 0
        files = sorted(p for p in (root / 'pseudo').rglob('*') if p.is_file())
        written.append({p.relative_to(root): p.read_bytes() for p in files})
    assert written[0] == written[1]
    assert len(written[0]) == 5


def test_made__doubtful_pixels_are_ignored_and_not_taken():
    label_map = np.array([[1, 1, 0, 2]], np.uint8)
    confidence = np.array([[0, 127, 128, 255]], np.uint8)
    found = trust(label_map, confidence, np.full(3, 0.5))
    assert found.tolist() == [[255, 255, 0, 2]]
    assert found.dtype == np.uint8
    assert trust(label_map, confidence, np.zeros(3)).tolist() == [[1, 1, 0, 2]]
    assert trust(label_map, confidence, np.ones(3)).tolist() == [[255, 255, 255, 2]]


def test_made__labels_are_joined_by_name(run, make_predictions, root):
    turned = dict(reversed(MAPS.items()))
    run(main, make_predictions('turned', turned, 255, CLASSES), '--data-root', root)
    for name, rows in MAPS.items():
        mask = root / 'pseudo/mask' / name.replace('jpg', 'png')
        assert read_mask(mask).tolist() == rows


def test_overwrite__replaces_an_earlier_round(run, pred, root, misuse):
    run(main, pred, '--data-root', root)
    again = (pred, '--data-root', root, '--threshold', 0, '--round', 2)
    misuse(main, 'pseudo: exists; pass --overwrite', *again)
    assert not (root / 'pseudo/mask/b_2').exists()
    assert run(main, *again, '--overwrite')[0] == 0
    assert (root / 'pseudo/mask/b_2/1.png').is_file()
    assert sorted(p.name for p in root.iterdir()) == ['pseudo', 'test']


def test_overwrite__keeps_a_folder_that_it_did_not_write(misuse, pred, root):
    (root / 'pseudo').mkdir()
    (root / 'pseudo/mine.txt').write_text('mine')
    message = 'holds no pseudo.json'
    misuse(main, message, pred, '--data-root', root, '--overwrite')
    assert (root / 'pseudo/mine.txt').read_text() == 'mine'


def test_given_thresholds__accept_the_official_spelling():
    found = given_thresholds(0.9, ['Backgroud=0.5'], CLASSES)
    assert found.tolist() == [0.5, 0.9, 0.9]


def test_misuse__is_one_line_and_leaves_nothing(misuse, pred, root, tmp_path):
    given = (pred, '--data-root', root)
    misuse(main, '1.5 is not in', *given, '--threshold', 1.5)
    misuse(main, 'nan is not in', *given, '--threshold', 'nan')
    misuse(main, 'invalid float', *given, '--threshold', 'high')
    misuse(main, 'names no class', *given, '--class-threshold', 'Wood=0.5')
    misuse(main, 'names no class', *given, '--class-threshold', '0.5')
    misuse(main, 'much is not in', *given, '--class-threshold', 'Metal=much')
    twice = ('Metal=0.5', 'Metal=0.6')
    misuse(main, 'names its class again', *given, '--class-threshold', *twice)
    misuse(main, '0 is below 1', *given, '--round', 0)
    misuse(main, '-1 is negative', *given, '--min-region', -1)
    misuse(main, '--min-kept: 2.0 is not in', *given, '--min-kept', 2)
    misuse(main, 'is of --fit, which is missing', *given, '--precision', 0.9)
    both = ('--fit', pred, '--threshold', 0.5)
    misuse(main, '--fit finds the thresholds', *given, *both)
    misuse(main, 'no prediction folder', root, '--data-root', root)
    misuse(main, 'no such folder', pred, '--data-root', tmp_path / 'none')
    assert sorted(path.name for path in root.iterdir()) == ['test']
    assert not (tmp_path / 'none').exists()


def test_misuse__predictions_that_do_not_fit(misuse, make_predictions, root):
    def refuse(message, maps, confidence=255, *argv):
        folder = make_predictions('odd', maps, confidence, CLASSES)
        misuse(main, message, folder, '--data-root', root, *argv)

    refuse('c.jpg: no such file', {'c.jpg': [[0]]})
    refuse(r"'b_1/1.jpg': image \(2, 2\), mask \(1, 2\)", {'b_1/1.jpg': [[0, 1]]})
    refuse('no pixel is trusted', MAPS, 100)
    other = {name: [[255]] for name in MAPS}
    refuse(r'and confidence \(1, 1\) differ in size', MAPS, other)
    assert sorted(path.name for path in root.iterdir()) == ['test']


def test_misuse__predictions_without_confidence(misuse, make_predictions, root):
    folder = make_predictions('bare', MAPS, None, CLASSES)
    message = r'confidence/b_[12]/1.png: no such file'  # whichever comes first
    misuse(main, message, folder, '--data-root', root)


def test_misuse__predictions_below_the_folder_that_is_replaced(misuse, run, pred, root):
    run(main, pred, '--data-root', root)
    inner = root / 'pseudo/pred'
    pred.rename(inner)
    misuse(main, 'would replace', inner, '--data-root', root, '--overwrite')
    assert (inner / 'predictions.json').is_file()
