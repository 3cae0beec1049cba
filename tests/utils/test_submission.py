"""The sub-commands, from predicted masks to pictures and back to scores."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmsegmentation.classes import PALETTE
from mmsegmentation.files import write_mask
from mmsegmentation.predictions import write_probs
from utils.listing import read_listing
from utils.submission import main
from utils.submission_csv import find_problems, write_rows
from utils.submission_pictures import LINE, blend

SHARED = Path(__file__).resolve().parents[2] / '../shared/data'
SMALL = ('--size', 2, 2)
ROWS = [[0, 9, 1, 1], [8, 7, 1, 1], [2, 2, 10, 3], [2, 2, 3, 3]]
OTHER = [[5] * 4] * 4


@pytest.fixture
def test_json(tmp_path):
    """Names the images in another order than their names and the folders."""

    def write(*image_ids: str) -> Path:
        path = tmp_path / 'test.json'
        images = [{'id': i, 'file_name': name} for i, name in enumerate(image_ids)]
        path.write_text(json.dumps({'images': images}))
        return path

    return write


@pytest.fixture
def pred(make_predictions):
    return make_predictions('pred', {'b_1/0002.jpg': ROWS, 'b_2/0002.jpg': OTHER})


def lines_of(path: Path) -> list[str]:
    return path.read_text().splitlines()[1:]


def test_write__is_the_same_by_one_thread_and_two(run, make_predictions, tmp_path):
    rng = np.random.default_rng(0)
    maps = {f'{i}.jpg': rng.integers(0, 11, (64, 48), np.uint8) for i in range(40)}
    pred, made = make_predictions('many', maps), []
    for jobs in (1, 2):
        out = tmp_path / f'{jobs}.csv'
        assert run(main, 'write', pred, '--out', out, '--jobs', jobs)[0] == 0
        made.append(out.read_bytes())
    assert made[0] == made[1]
    assert len(made[0]) > 40 * 2 * 65536


def test_write__takes_every_second_pixel(run, pred, tmp_path):
    code, out, err = run(main, 'write', pred, '--out', tmp_path / 's.csv', *SMALL)
    assert (code, err) == (0, '')
    assert '2 rows written' in out
    assert lines_of(tmp_path / 's.csv') == [
        'b_1/0002.jpg,0 1 2 10',
        'b_2/0002.jpg,5 5 5 5',
    ]


def test_write__maximum_only_by_name(run, pred, tmp_path):
    out = tmp_path / 's.csv'
    run(main, 'write', pred, '--out', out, *SMALL, '--resize', 'max')
    assert lines_of(out)[0] == 'b_1/0002.jpg,9 1 2 10'
    run(main, 'write', pred, '--out', out, *SMALL, '--overwrite')
    assert lines_of(out)[0] == 'b_1/0002.jpg,0 1 2 10'


def test_write__logits_decide_between_the_blocks_of_probabilities(run, pred, tmp_path):
    # Of both images: class 7 in the left two columns of pixels, class 3 in the right.
    probs = np.zeros((11, 1, 2), np.uint8)
    probs[7, 0, 0] = probs[3, 0, 1] = 255
    for image_id in ('b_1/0002.jpg', 'b_2/0002.jpg'):
        write_probs(pred, image_id, probs.repeat(2, 1))
    out = tmp_path / 's.csv'
    for jobs in (1, 2):
        write = ('write', pred, '--out', out, '--overwrite', '--jobs', jobs)
        code, text, err = run(main, *write, *SMALL, '--resize', 'logits')
        assert (code, err) == (0, '')
        assert 'resized by logits' in text
        assert lines_of(out) == ['b_1/0002.jpg,7 3 7 3', 'b_2/0002.jpg,7 3 7 3']


def test_write__logits_need_probabilities_that_fit(misuse, pred, tmp_path):
    write = ('write', pred, '--out', tmp_path / 's.csv', *SMALL, '--resize', 'logits')
    misuse(main, 'holds no probs/; predict with --probs', *write)
    write_probs(pred, 'b_1/0002.jpg', np.zeros((11, 2, 2), np.uint8))
    misuse(main, r"'b_2/0002\.jpg': has no file in probs/", *write)
    write_probs(pred, 'b_2/0002.jpg', np.zeros((11, 3, 2), np.uint8))
    misuse(main, r"'b_[12]/0002\.jpg': 3 blocks of one size do not make 4", *write)
    write_probs(pred, 'b_2/0002.jpg', np.zeros((10, 2, 2), np.uint8))
    misuse(main, r'0002\.npy: is uint8 of shape \(10, 2, 2\), not', *write)
    misuse(main, 'no prediction folder', 'write', pred / 'masks', *write[2:])
    assert not (tmp_path / 's.csv').exists()


def test_write__logits_are_for_single_models(misuse, make_predictions, tmp_path):
    members = [{'folder': 'one'}, {'folder': 'two'}]
    vote = make_predictions('vote', {'a.jpg': ROWS}, method='soft', members=members)
    write = ('write', vote, '--out', tmp_path / 's.csv', '--resize', 'logits')
    misuse(main, r'is for a single model, and .*vote is a vote, which', *write)
    joined = {'method': 'out of fold', 'members': members}
    folds = make_predictions('folds', {'a.jpg': ROWS}, **joined)
    misuse(main, 'holds no probs/; predict', 'write', folds, *write[2:])


def test_write__joins_by_name_and_not_by_position(run, pred, test_json, tmp_path):
    listing = test_json('b_2/0002.jpg', 'b_1/0002.jpg')
    out = tmp_path / 's.csv'
    code, *_ = run(main, 'write', pred, '--out', out, '--test-json', listing, *SMALL)
    assert code == 0
    assert lines_of(out) == ['b_2/0002.jpg,5 5 5 5', 'b_1/0002.jpg,0 1 2 10']


def test_write__plain_folder_names_images_by_path_or_by_json(run, test_json, tmp_path):
    write_mask(tmp_path / 'plain/b_1/1.png', np.array(ROWS, np.uint8))
    write_mask(tmp_path / 'plain/b_2/1.png', np.array(OTHER, np.uint8))
    out = tmp_path / 's.csv'
    run(main, 'write', tmp_path / 'plain', '--out', out, *SMALL)
    assert lines_of(out) == ['b_1/1.jpg,0 1 2 10', 'b_2/1.jpg,5 5 5 5']
    listing = test_json('b_2/1.jpeg', 'b_1/1.bmp')
    plain = (tmp_path / 'plain', '--out', out, '--test-json', listing)
    run(main, 'write', *plain, *SMALL, '--overwrite')
    assert lines_of(out) == ['b_2/1.jpeg,5 5 5 5', 'b_1/1.bmp,0 1 2 10']


@pytest.mark.parametrize(
    ('image_ids', 'message'),
    [
        (['b_1/0002.jpg'], "'b_2/0002.jpg': is in .* but not in .*test.json"),
        (
            ['b_1/0002.jpg', 'b_2/0002.jpg', 'b_3/0002.jpg'],
            "'b_3/0002.jpg': is in .*test.json but not in",
        ),
    ],
)
def test_write__missing_or_extra_image_is_named(
    misuse, pred, test_json, tmp_path, image_ids, message
):
    listing = test_json(*image_ids)
    out = tmp_path / 's.csv'
    misuse(main, message, 'write', pred, '--out', out, '--test-json', listing)
    assert not out.exists()


def test_write__mask_of_another_size_than_its_photograph_is_named(
    misuse, run, pred, tmp_path
):
    listing = tmp_path / 'test.json'
    out = ('--out', tmp_path / 's.csv', '--test-json', listing, *SMALL)

    def describe(height, width):
        names = ('b_1/0002.jpg', 'b_2/0002.jpg')
        size = {'height': height, 'width': width}
        images = [{'file_name': name, **size} for name in names]
        listing.write_text(json.dumps({'images': images}))

    describe(4, 6)
    message = r"'b_[12]/0002.jpg': its mask has size \(4, 4\), its photograph \(4, 6\)"
    misuse(main, message, 'write', pred, *out)
    assert not (tmp_path / 's.csv').exists()
    describe(4, 4)
    assert run(main, 'write', pred, *out)[0] == 0
    # Masks that have the size of the CSV already are written as they are.
    describe(8, 8)
    same = ('--overwrite', '--size', 4, 4)
    assert run(main, 'write', pred, *out[:4], *same)[0] == 0
    assert lines_of(tmp_path / 's.csv')[1].split(',')[1] == ' '.join('5' * 16)


@pytest.mark.parametrize('value', [11, 255])
def test_write__id_of_no_class_leaves_nothing(misuse, tmp_path, value):
    folder = tmp_path / 'plain'
    write_mask(folder / 'a.png', np.zeros((4, 4), np.uint8))
    write_mask(folder / 'b.png', np.full((4, 4), value, np.uint8))
    message = f'b.png: holds class id {value}, but there are only 11 classes'
    misuse(main, message, 'write', folder, '--out', tmp_path / 's.csv', *SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ['plain']


def test_help__shows_the_size_as_it_is_given(capsys):
    with pytest.raises(SystemExit):
        main(['write', '--help'])
    text = ' '.join(capsys.readouterr().out.split())
    assert 'in pixels (default: 256 256)' in text
    assert '--out CSV file to write' in text


def test_write__data_root_is_no_folder_of_masks(misuse, make_part, tmp_path):
    for part in ('pseudo', 'train'):
        root = make_part(part, {'b_1/1.png': [[0, 1]]})
    for folder in (root, root / 'train'):
        message = f'{folder}: is a data root, .* such as {root / "train/mask"}'
        misuse(main, message, 'write', folder, '--out', tmp_path / 's.csv')
    assert not (tmp_path / 's.csv').exists()


def test_write__misuse_is_one_line(misuse, pred, tmp_path):
    out = ('--out', tmp_path / 's.csv')
    misuse(main, 'none: no such folder', 'write', tmp_path / 'none', *out)
    (tmp_path / 'empty').mkdir()
    misuse(main, 'holds no PNG mask', 'write', tmp_path / 'empty', *out)
    misuse(main, 'invalid choice', 'write', pred, *out, '--resize', 'mean')
    for wrong in (0, -1, 10_000, 'x'):
        text = f'--size: is {wrong}, give 1 to 9999'
        misuse(main, text, 'write', pred, *out, '--size', wrong, 4)
    misuse(main, 'ids are 8-bit', 'write', pred, *out, '--num-classes', 300)
    misuse(main, 'required', 'write', pred)
    misuse(main, 'required', *())
    assert not (tmp_path / 's.csv').exists()
    (tmp_path / 's.csv').write_text('mine')
    misuse(main, 'exists; pass --overwrite', 'write', pred, *out)
    assert (tmp_path / 's.csv').read_text() == 'mine'
    (pred / 'predictions.json').unlink()
    misuse(main, 'masks/ but no', 'write', pred, '--out', tmp_path / 't.csv')


def test_check__accepts_what_write_wrote(run, pred, test_json, tmp_path):
    listing = test_json('b_2/0002.jpg', 'b_1/0002.jpg')
    out = tmp_path / 's.csv'
    run(main, 'write', pred, '--out', out)
    code, text, err = run(main, 'check', out, '--test-json', listing)
    assert (code, err) == (0, '')
    assert '2 images of 65,536 class ids' in text


def test_check__lists_all_problems_and_leaves_with_2(run, pred, test_json, tmp_path):
    listing = test_json('b_2/0002.jpg', 'c.jpg')
    out = tmp_path / 's.csv'
    run(main, 'write', pred, '--out', out)
    out.write_text(out.read_text()[:-3])
    code, text, err = run(main, 'check', out, '--test-json', listing)
    assert code == 2
    assert text.splitlines() == [
        "line 2 ('b_1/0002.jpg'): is not in the test part",
        "line 3 ('b_2/0002.jpg'): PredictionString has 65535 ids, not 65536",
        "image 'c.jpg' is missing",
    ]
    assert err == f'error: {out}: 3 problems; write it again\n'


def test_check__long_list_is_cut(run, pred, test_json, tmp_path):
    listing = test_json('b_1/0002.jpg', *(f'{i}.jpg' for i in range(100)))
    out = tmp_path / 's.csv'
    run(main, 'write', pred, '--out', out)
    code, text, err = run(main, 'check', out, '--test-json', listing)
    assert (code, err) == (2, f'error: {out}: 101 problems; write it again\n')
    assert len(text.splitlines()) == 41
    assert text.endswith('... and 61 more\n')


def test_check__of_another_json_says_that_no_image_matches(
    run, pred, test_json, tmp_path
):
    listing = test_json(*(f'{i}.jpg' for i in range(100)))
    out = tmp_path / 's.csv'
    run(main, 'write', pred, '--out', out)
    code, text, err = run(main, 'check', out, '--test-json', listing)
    told = f'none of its images is in {listing}; check --test-json: it may be of other'
    assert (code, text) == (2, '')
    assert err.startswith(f'error: {out}: {told}')
    # Where no row can be read, what is wrong with them is told.
    out.write_text('image_id,PredictionString\n\n')
    text = run(main, 'check', out, '--test-json', listing)[1]
    assert text.startswith("line 2: is empty\nimage '0.jpg' is missing\n")


def test_check__names_what_hides_in_the_header(run, pred, test_json, tmp_path):
    listing = test_json('b_1/0002.jpg', 'b_2/0002.jpg')
    out = tmp_path / 's.csv'
    run(main, 'write', pred, '--out', out)
    out.write_bytes(b'\xef\xbb\xbf' + out.read_bytes())
    text = run(main, 'check', out, '--test-json', listing)[1]
    told = 'line 1: begins with a byte order mark: save it as UTF-8 without one\n'
    assert text == told
    out.write_text('')
    text = run(main, 'check', out, '--test-json', listing)[1]
    header = "'image_id,PredictionString'"
    assert text.splitlines()[0] == f'line 1: is empty: the header is missing, {header}'


def test_check__misuse_is_one_line(misuse, test_json, tmp_path):
    listing = test_json('a.jpg')
    misuse(main, 'cannot be read', 'check', tmp_path, '--test-json', listing)
    misuse(main, 'is a folder; give', 'check', listing, '--test-json', tmp_path)
    none = tmp_path / 'none'
    misuse(main, 'cannot be read', 'check', none, '--test-json', listing)
    misuse(main, 'no such file', 'check', none, '--test-json', none)
    misuse(main, 'required', 'check', none)


def test_score__compares_with_masks_of_the_same_name(run, pred, tmp_path):
    out = tmp_path / 's.csv'
    run(main, 'write', pred, '--out', out, *SMALL)
    code, text, err = run(main, 'score', out, pred / 'masks', *SMALL)
    assert (code, err) == (0, '')
    # Each class is in one image alone, which says nothing about other images.
    assert 'mIoU 1.0000  95 % [0.0000, 1.0000]  (pooled, 2 images)' in text
    assert 'mIoU 1.0000  95 % [1.0000, 1.0000]  (mean over images, 2 images)' in text
    assert 'Clothing' in text


def test_score__names_the_classes_that_stand_beside_the_masks(run, make_part, tmp_path):
    root = make_part('valid', {'a.jpg': [[1, 1], [0, 2]]})
    (tmp_path / 's.csv').write_text('image_id,PredictionString\na.jpg,1 1 0 2\n')
    score = ('score', tmp_path / 's.csv', root / 'valid/mask', *SMALL)
    text = run(main, *score)[1]
    assert 'Background' not in text
    assert 'class 2' in text
    assert 'mask has no class names beside it; pass them by --classes' in text
    (root / 'dataset.json').write_text('{"classes": ["sky", "road", "car"]}')
    text = run(main, *score)[1]
    assert [name in text for name in ('sky', 'car', 'class 2')] == [True, True, False]
    (tmp_path / 'names.txt').write_text('one\ntwo\nthree\n')
    assert 'three' in run(main, *score, '--classes', tmp_path / 'names.txt')[1]


def test_score__other_down_sampler_costs_points(run, pred, tmp_path):
    out = tmp_path / 's.csv'
    run(main, 'write', pred, '--out', out, *SMALL, '--resize', 'max')
    # Background became battery in one of eight pixels: both score 0, four others 1.
    text = run(main, 'score', out, pred / 'masks', *SMALL)[1]
    assert 'mIoU 0.6667' in text


def test_score__ignores_255(run, tmp_path):
    write_mask(tmp_path / 'm/a.png', np.array([[1, 1], [255, 255]], np.uint8))
    (tmp_path / 's.csv').write_text('image_id,PredictionString\na.jpg,1 1 0 3\n')
    text = run(main, 'score', tmp_path / 's.csv', tmp_path / 'm', *SMALL)[1]
    assert 'mIoU 1.0000' in text


def test_score__masks_without_a_labelled_pixel_are_one_line(misuse, tmp_path):
    write_mask(tmp_path / 'm/a.png', np.full((2, 2), 255, np.uint8))
    (tmp_path / 's.csv').write_text('image_id,PredictionString\na.jpg,1 1 0 3\n')
    message = 'm: no labelled pixel to score; score labelled images'
    misuse(main, message, 'score', tmp_path / 's.csv', tmp_path / 'm', *SMALL)


def test_score__missing_and_extra_images_are_named(misuse, pred, tmp_path, run):
    out = tmp_path / 's.csv'
    run(main, 'write', pred, '--out', out, *SMALL)
    write_mask(pred / 'masks/c.png', np.zeros((4, 4), np.uint8))
    misuse(main, r'c\.png: has no row in', 'score', out, pred / 'masks', *SMALL)
    (pred / 'masks/b_2/0002.png').unlink()
    misuse(main, r'b_2/0002\.png: no such', 'score', out, pred / 'masks', *SMALL)
    misuse(main, 'run utils/submission.py check', 'score', out, pred / 'masks')


def test_show__draws_the_palette(run, pred, tmp_path):
    run(main, 'write', pred, '--out', tmp_path / 's.csv', *SMALL)
    folder = tmp_path / 'pictures'
    code, text, _ = run(main, 'show', tmp_path / 's.csv', '--out', folder, *SMALL)
    assert code == 0
    assert '2 pictures written' in text
    picture = np.asarray(Image.open(folder / 'b_1/0002.png'))
    wanted = [[PALETTE[0], PALETTE[1]], [PALETTE[2], PALETTE[10]]]
    np.testing.assert_array_equal(picture, wanted)


def test_show__has_a_key_to_its_colours(run, pred, tmp_path):
    run(main, 'write', pred, '--out', tmp_path / 's.csv', *SMALL)
    folder = tmp_path / 'pictures'
    text = run(main, 'show', tmp_path / 's.csv', '--out', folder, *SMALL)[1]
    assert 'their colours: legend.png' in text
    legend = np.asarray(Image.open(folder / 'legend.png'))
    assert len(legend) == 11 * LINE
    for class_id, colour in enumerate(PALETTE):
        row = legend[class_id * LINE + LINE // 2]
        assert tuple(row[2]) == colour
    # Each name is there in black on white, and none is cut off.
    names = legend[:, 2 * LINE :].reshape(11, LINE, -1, 3)
    assert (names.min((1, 2, 3)) < 64).all()
    assert (names[:, :, -4:] == 255).all()


def test_show__has_as_many_classes_as_the_user_names(run, tmp_path):
    (tmp_path / 's.csv').write_text('image_id,PredictionString\na.jpg,1 1 0 2\n')
    show = ('show', tmp_path / 's.csv', *SMALL, '--out')
    assert 'those of recycling; pass' in run(main, *show, tmp_path / 'one')[1]
    (tmp_path / 'names.json').write_text('["sky", "road", "car"]')
    more = ('--classes', tmp_path / 'names.json')
    code, text, _ = run(main, *show, tmp_path / 'two', *more)
    assert (code, 'recycling' in text) == (0, False)
    assert len(np.asarray(Image.open(tmp_path / 'two/legend.png'))) == 3 * LINE


def test_show__blends_with_the_photograph(run, pred, make_part, tmp_path):
    images = make_part('test', {'b_1/0002.jpg': ROWS, 'b_2/0002.jpg': ROWS})
    run(main, 'write', pred, '--out', tmp_path / 's.csv', *SMALL)
    folder = tmp_path / 'pictures'
    show = ('show', tmp_path / 's.csv', '--out', folder, *SMALL)
    code, *_ = run(main, *show, '--images', images / 'test/images')
    assert code == 0
    picture = np.asarray(Image.open(folder / 'b_1/0002.png'))
    assert picture.shape == (4, 4, 3)
    assert picture[0, 0].tolist() == [4, 4, 4]  # background: the photograph
    assert picture[0, 2].tolist() == [2 + 96, 2, 2 + 64]


def test_blend__keeps_white_in_range():
    white = np.full((1, 1, 3), 255, np.uint8)
    colours = np.array([[0, 0, 0], [255, 255, 255]], np.uint8)
    found = blend(white, np.ones((1, 1), np.uint8), colours)
    assert found.tolist() == [[[254, 254, 254]]]


def test_show__misuse_leaves_nothing(misuse, run, pred, tmp_path):
    run(main, 'write', pred, '--out', tmp_path / 's.csv', *SMALL)
    show = ('show', tmp_path / 's.csv', *SMALL, '--out')
    before = sorted(tmp_path.iterdir())
    new = tmp_path / 'new'
    misuse(main, 'no such file', *show, new, '--images', tmp_path / 'none')
    misuse(main, 'holds no pictures.json, so it is not', *show, pred)
    misuse(main, 'holds no pictures.json', *show, pred, '--overwrite')
    misuse(main, 'has 4 ids, not', 'show', tmp_path / 's.csv', '--out', new)
    assert sorted(tmp_path.iterdir()) == before
    assert run(main, *show, new)[0] == 0
    assert run(main, *show, new, '--overwrite')[0] == 0


@pytest.mark.skipif(not SHARED.is_dir(), reason='real photographs are not here')
def test_real_photographs__have_ids_that_the_csv_can_hold(tmp_path):
    image_ids = list(read_listing(SHARED / 'recycle_real/test.json'))
    blank = np.zeros((256, 256), np.uint8)
    path = tmp_path / 's.csv'
    assert write_rows(path, ((i, blank) for i in image_ids)) == len(image_ids) > 50
    assert list(find_problems(path, image_ids)) == []
