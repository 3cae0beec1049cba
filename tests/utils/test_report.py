"""The command that reports on predictions: numbers, truth, several models, refusals."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

from mmsegmentation.classes import PALETTE
from mmsegmentation.files import read_json
from mmsegmentation.predictions import score_predictions
from utils.ensemble import main as ensemble
from utils.error_page.measure import ERROR_COLOURS
from utils.error_page.sources import short_names
from utils.pseudo_label import main as pseudo_label
from utils.report import main

CLASSES = ('Background', 'Paper', 'Metal')
NAMED = {'classes': CLASSES}
A = [[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 0, 255]]
CLEAN = [[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 0, 0]]
B = [[0, 1, 1, 0], [2, 2, 0, 0], [0, 0, 0, 0]]
TRUTH = {'x/1.jpg': A, 'x/2.jpg': B}
WRONG = {'x/1.jpg': [[0, 1, 1, 2], [0, 0, 1, 1], [0, 0, 0, 2]], 'x/2.jpg': B}
WORSE = {'x/1.jpg': [[1] * 4] * 3, 'x/2.jpg': [[0] * 4] * 3}


@pytest.fixture
def report(run, tmp_path):
    """Report on prediction folders of the data root; return output, JSON and folder."""

    def call(*argv):
        out = tmp_path / 'report'
        options = ('--data-root', tmp_path / 'root', '--out', out, '--jobs', 1)
        code, text, err = run(main, *argv, *options)
        assert (code, err) == (0, '')
        return text, read_json(out / 'report.json'), out

    return call


@pytest.fixture
def root(make_part):
    make_part('train', {'other.jpg': A})
    return make_part('valid', TRUTH)


def rows_of(path):
    with path.open(newline='', encoding='utf-8-sig') as file:
        return list(csv.DictReader(file))


def test_numbers__are_those_of_metrics_json(root, make_predictions, report):
    pred = make_predictions('p', WRONG, **NAMED, split='valid')
    told = score_predictions(pred, root / 'valid/mask')
    text, content, _ = report(pred)
    (model,) = content['models']
    for key in ('mIoU', 'mIoU_image', 'mAcc', 'aAcc', 'IoU', 'Acc', 'confusion'):
        assert model[key] == told[key], key
    for key in ('mIoU_interval', 'mIoU_image_interval'):
        assert model[key] == pytest.approx(told[key])
    assert f'mIoU {told["mIoU"]:.4f}' in text
    # Paper: 5 of 6 predicted pixels are right; Metal: 2 of 3, one more is ignored.
    assert model['Precision'][1:] == pytest.approx([5 / 6, 2 / 3])
    assert content['labelled_images'] == 2


def test_errors__are_counted_by_kind_border_and_size(root, make_predictions, report):
    _, content, out = report(make_predictions('p', WRONG, **NAMED), '--boundary', 1)
    errors = content['models'][0]['errors']
    assert errors['wrong_pixels'] == 4
    assert errors['kinds'] == {'missed': 2, 'invented': 1, 'confused': 1}
    # All but the pixel in the upper right corner touch a border.
    assert errors['near_border_share'] == 3 / 4
    found = {r['size']: r for r in content['models'][0]['objects']}
    assert found['tiny']['objects'] == 4
    assert (found['tiny']['found'], found['tiny']['taken for background']) == (3, 1)
    assert found['tiny']['error_share'] == 3 / 4
    judged = [list(r.values())[-1] for r in rows_of(out / 'objects.csv')]
    assert sorted(judged) == ['found'] * 3 + ['taken for background']


def test_csv__names_are_no_formulas(make_part, make_predictions, report):
    make_part('valid', {'@a.jpg': A})
    _, _, out = report(make_predictions('p', {'@a.jpg': CLEAN}, **NAMED))
    (row,) = rows_of(out / 'images.csv')
    assert (row['image'], row['mIoU']) == ("'@a.jpg", '1.0')
    assert (out / 'images.csv').read_bytes()[:3] == b'\xef\xbb\xbf'


def test_truth__of_joined_folds_is_the_part_that_holds_the_image(
    root, make_predictions, report
):
    joined = make_predictions(
        'p', {'other.jpg': CLEAN, 'x/1.jpg': CLEAN, 'x/2.jpg': B}, **NAMED
    )
    _, content, out = report(joined)
    assert content['labelled_images'] == 3
    assert content['models'][0]['mIoU'] == 1
    assert [r['mIoU'] for r in rows_of(out / 'images.csv')] == ['1.0'] * 3


def colour_of(picture):
    with Image.open(picture) as image:
        return np.asarray(image.convert('L')).mean()


def of_fold(split, *parts):
    return {'split': split, 'fold': {'fold': 0, 'folds': 2, 'parts': parts}}


def test_fold__images_left_out_are_found_in_the_parts_that_were_split(
    root, make_predictions, report
):
    maps = {'other.jpg': CLEAN, 'x/1.jpg': CLEAN}
    _, content, _ = report(
        make_predictions('p', maps, **NAMED, **of_fold('valid', 'train', 'valid'))
    )
    assert content['labelled_images'] == 2
    assert content['models'][0]['mIoU'] == 1


def test_photograph__is_of_the_part_that_holds_the_mask(
    root, make_part, make_predictions, report
):
    # By the alphabet, this one would come first.
    make_part('test', {'y.jpg': B, 'x.jpg': B, 'other.jpg': A}, masks=False)
    joined = make_predictions('p', {'other.jpg': CLEAN}, **NAMED, folds=2)
    _, content, out = report(joined)
    assert content['labelled_images'] == 1
    (photo,) = (out / 'pictures').glob('*/0.jpg')
    # The value that make_part draws in train: 5; in test it is 24.
    assert colour_of(photo) == pytest.approx(5, abs=3)


def test_photograph__of_one_name_in_two_parts_without_masks_is_refused(
    make_part, make_predictions, misuse, tmp_path
):
    for part in ('test', 'more'):
        root = make_part(part, {'a.jpg': A}, masks=False)
    argv = ('--data-root', root, '--out', tmp_path / 'o')
    pred = make_predictions('p', {'a.jpg': CLEAN}, **NAMED)
    misuse(main, "'a.jpg': is in more and test; rename", pred, *argv)
    named = make_predictions('q', {'a.jpg': CLEAN}, **NAMED, split='test')
    other = make_predictions('r', {'a.jpg': CLEAN}, **NAMED, split='more')
    misuse(main, r'r: is of another part \(more\)', named, other, *argv)


def test_class_table__that_is_damaged_is_named(
    root, make_predictions, misuse, tmp_path
):
    pred = make_predictions('p', WRONG, **NAMED)
    (root / 'dataset.json').write_text('{"classes": 3}')
    argv = (pred, '--data-root', root, '--out', tmp_path / 'o')
    misuse(main, 'dataset.json: has no list of classes', *argv)


def test_label_noise__of_images_that_the_model_was_trained_on_is_refused(
    root, make_predictions, misuse, tmp_path
):
    argv = ('--data-root', root, '--out', tmp_path / 'o', '--jobs', 1)
    seen = {'other.jpg': CLEAN}
    whole = make_predictions('p', seen, **NAMED, split='train', fold=None)
    misuse(main, 'which its model was trained on', whole, *argv, '--label-noise', 2)
    fold = make_predictions('q', WRONG, **NAMED, **of_fold('train', 'valid'))
    misuse(main, 'which its model was trained on', fold, *argv, '--label-noise', 2)
    assert not (tmp_path / 'o').exists()


def test_without_truth__shows_what_it_can_and_says_why(
    make_part, make_predictions, report
):
    make_part('test', TRUTH, masks=False)
    pred = make_predictions('p', WRONG, **NAMED, split='test')
    text, content, out = report(pred)
    assert 'note: There is no true mask in' in text and "part 'test'" in text
    (model,) = content['models']
    assert 'mIoU' not in model
    assert model['predicted_pixels'] == [14, 6, 4]
    assert model['mean_confidence'] == pytest.approx(200 / 255)
    assert not (out / 'scores.csv').exists()
    page = (out / 'index.html').read_text('utf-8')
    assert 'id="class-pixels"' in page and 'id="confidence"' in page
    assert 'id="matrix"' not in page


def test_labels__of_a_model_are_no_truth(make_part, make_predictions, report, run):
    root = make_part('test', TRUTH, masks=False)
    make_part('valid', {'v.jpg': [[0] * 9]})
    pred = make_predictions('p', WRONG, 250, classes=(*CLASSES, 'Glass'))
    assert run(pseudo_label, pred, '--data-root', root)[0] == 0
    _, content, out = report(pred)
    assert content['labelled_images'] == 0
    assert ['round', '1'] in content['pseudo_labels']['facts']
    text = (out / 'index.html').read_text('utf-8')
    assert 'Pseudo labels of the data root' in text
    assert 'trained on. None were kept of: Glass.' in text


def test_images__without_a_mask_are_shown_but_not_counted(
    root, make_part, make_predictions, report
):
    make_part('test', {'free.jpg': A}, masks=False)
    text, content, out = report(
        make_predictions('p', {**WRONG, 'free.jpg': CLEAN}, **NAMED)
    )
    assert '1 images have no true mask' in text
    assert (content['images'], content['labelled_images']) == (3, 2)
    assert (out / 'pictures/predicted0/0.png').exists()
    assert not (out / 'pictures/truth/0.png').exists()


def test_models__are_compared_on_common_images(
    root, make_predictions, report, tmp_path
):
    one = make_predictions('one', {'other.jpg': CLEAN, **WRONG}, **NAMED)
    two = make_predictions('two', WORSE, **NAMED)
    text, content, out = report(one, two)
    assert 'All numbers are over the 2 images that every model holds' in text
    assert content['images'] == 2
    (pair,) = content['comparisons']
    assert (pair['one'], pair['two']) == ('one', 'two')
    scores = [m['mIoU'] for m in content['models']]
    assert pair['mIoU']['difference'] == pytest.approx(scores[1] - scores[0])
    assert 0 < pair['mIoU']['better'] < 0.5 < pair['mIoU']['worse'] < 1
    rows = rows_of(out / 'comparisons.csv')
    assert [r['what'] for r in rows][:3] == ['mIoU', 'mIoU_image', 'IoU Background']


def test_origin__of_a_vote_names_its_members(
    root, make_predictions, report, run, tmp_path
):
    sha = {'checkpoint_sha256': '1a2b', 'config': 'some.py'}
    one = make_predictions('one', WRONG, **NAMED, **sha)
    two = make_predictions('two', WORSE, **NAMED)
    vote = tmp_path / 'vote'
    assert run(ensemble, one, two, '--out', vote)[0] == 0
    (two / 'predictions.json').write_text('{}')
    _, content, out = report(vote)
    first, second = content['provenance'][0]['members']
    assert [first['name'], second['name']] == ['one', 'two']
    assert ['config', 'some.py'] in first['facts']
    assert second['facts'][-1][0] == 'now'
    assert '1a2b' in (out / 'index.html').read_text('utf-8')


def test_curves__come_from_the_checkpoints_work_directory_or_logs(
    root, make_predictions, report, tmp_path
):
    log = tmp_path / 'work/20260101/vis_data/scalars.json'
    log.parent.mkdir(parents=True)
    log.write_text(json.dumps({'loss': 3, 'step': 5}))
    beside = make_predictions(
        'a', WRONG, **NAMED, checkpoint=str(tmp_path / 'work/best.pth')
    )
    _, _, out = report(beside)
    expected = [{'model': 'x', 'curve': 'loss', 'step': '5.0', 'value': '3.0'}]
    rows = rows_of(out / 'curves.csv')
    assert [{**row, 'model': 'x'} for row in rows] == expected
    named = make_predictions('b', WRONG, **NAMED)
    _, _, out = report(named, '--overwrite', '--logs', log)
    assert len(rows_of(out / 'curves.csv')) == 1
    _, _, out = report(named, '--overwrite', '--logs', log, log.parent)
    assert len({row['model'] for row in rows_of(out / 'curves.csv')}) == 2
    second = make_predictions('c', WRONG, **NAMED)
    _, _, out = report(beside, second, '--overwrite')
    assert [row['model'] for row in rows_of(out / 'curves.csv')] == ['a']
    assert 'No log of training: c.' in (out / 'index.html').read_text('utf-8')


@pytest.mark.filterwarnings('ignore:__array__ implementation:DeprecationWarning')
def test_label_noise__lists_and_pictures_of_contradicted_labels(
    make_part, make_predictions, report
):
    square = np.zeros((40, 40), np.uint8)
    square[5:30, 5:30] = 1
    labels = {f'{n}.jpg': square * (1 + n % 2) for n in range(12)}
    make_part('valid', labels)
    maps = labels | {'4.jpg': 2 * square}
    pred = make_predictions('p', maps, 250, **NAMED)
    _, _, out = report(pred, '--label-noise', 5)
    first = rows_of(out / 'labels/objects.csv')[0]
    assert (first['image'], first['given'], first['suggested']) == (
        '4.jpg',
        'Paper',
        'Metal',
    )
    assert (out / 'pictures/labels/0.jpg').exists()
    outline = (out / 'pictures/labels/0.svg').read_text('utf-8')
    assert outline.count('d="M5 5 5 30 30 30 30 5Z"') == 2
    assert 'viewBox="0 0 40 40"' in outline
    text = (out / 'index.html').read_text('utf-8')
    section = text[text.index('id="noise-section"') :]
    section = section[: section.index('id="training-section"')]
    assert '"outline":"pictures/labels/0.svg","note":"Paper, or Metal?"' in section
    assert (
        'mIoU of the predictions by these labels: 0.897' in section
    )  # (1 + 5 / 6 + 6 / 7) / 3.
    assert 'shifted, an object is predicted, but in part elsewhere' in section
    assert 'aria-label="Classes"' in section


def test_error_colours__are_no_class_s():
    colours = np.array(list(ERROR_COLOURS.values()))
    apart = np.linalg.norm(colours[:, None] - np.array(PALETTE), axis=-1)
    assert apart.min() > 80


def test_pictures__errors_have_the_colours_of_the_legend(
    root, make_predictions, report
):
    _, _, out = report(make_predictions('p', WRONG, **NAMED))
    with Image.open(out / 'pictures/errors0/0.png') as picture:
        shown = np.asarray(picture.convert('RGBA'))
    assert shown[0, 0, 3] == 0
    assert shown[0, 1].tolist() == [255, 255, 0, 255]
    assert shown[0, 3].tolist() == [255, 128, 0, 255]
    assert shown[2, 0].tolist() == [0, 255, 255, 255]


def test_report__is_replaced_only_when_asked(root, make_predictions, report, misuse):
    pred = make_predictions('p', WRONG, **NAMED)
    _, _, out = report(pred)
    argv = (pred, '--data-root', root, '--out', out)
    misuse(main, 'exists; pass --overwrite', *argv)
    report(pred, '--overwrite')


def test_misuse__is_refused_before_anything_is_written(
    root, make_part, make_predictions, misuse, tmp_path
):
    pred = make_predictions('p', WRONG, **NAMED, split='valid')
    out = ('--data-root', root, '--out', tmp_path / 'o', '--jobs', 1)
    misuse(main, 'named twice', pred, pred, *out)
    misuse(main, 'no prediction folder', tmp_path, *out)
    misuse(main, 'boundary: is 0; give 1 to', pred, *out, '--boundary', 0)
    misuse(main, '1 for 2 folders', pred, root, *out, '--logs', 'a')
    misuse(main, 'holds no vis_data', pred, *out, '--logs', root)
    misuse(main, 'would replace', pred, *out[:2], '--out', tmp_path, '--overwrite')
    misuse(main, 'r: lies in .*root;', pred, *out[:2], '--out', root / 'r')
    misuse(main, f'r: lies in {pred};', pred, *out[:2], '--out', pred / 'r')
    misuse(
        main, 'none: no such folder', pred, '--data-root', tmp_path / 'none', *out[2:]
    )
    other = make_predictions('q', WRONG, classes=(*CLASSES, 'Glass'))
    misuse(main, 'classes differ', pred, other, *out)
    strange = make_predictions('r', {'strange.jpg': CLEAN}, **NAMED)
    misuse(main, "'strange.jpg': is not in any part", strange, *out)
    misuse(main, 'no image in common', pred, strange, *out)
    large = make_predictions('s', {**WRONG, 'x/2.jpg': [[0] * 9]}, **NAMED)
    misuse(main, r'has size \(1, 9\), its photograph \(3, 4\)', large, *out)
    (root / 'valid/mask/x/2.png').unlink()
    misuse(main, "'x/2.jpg': has no mask in", pred, *out)
    assert not (tmp_path / 'o').exists()


def test_names__of_folders_tell_them_apart(tmp_path):
    places = [tmp_path / name for name in ('a/fold/valid', 'a/other/valid', 'b/valid')]
    assert short_names(places) == ['a/fold', 'a/other', 'b']
