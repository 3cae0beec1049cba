"""The picture of photographs, truth and predictions."""

import pytest

from mmsegmentation.classes import CLASSES, PALETTE
from mmsegmentation.files import read_image
from utils.picture import choose_images, draw_grid, main, masks_of

ROWS = [[0, 1], [8, 255]]


@pytest.fixture
def root(make_part):
    return make_part('valid', {'b_1/0002.jpg': ROWS, 'b_2/0002.jpg': [[5, 5], [5, 5]]})


def test_draw_grid__colours_are_those_of_the_classes(root):
    masks = root / 'valid/mask'
    figure = draw_grid(
        root / 'valid/images', {'Truth': masks}, ['b_1/0002.jpg'], CLASSES
    )
    image, truth = figure.axes
    assert (image.get_title(), truth.get_title()) == ('Image', 'Truth')
    assert truth.images[0].get_array().tolist() == [
        [list(PALETTE[0]), list(PALETTE[1])],
        [list(PALETTE[8]), [255, 255, 255]],
    ]
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == list(CLASSES)


def test_picture__a_row_per_image_and_a_column_per_folder(
    run, root, make_predictions, tmp_path
):
    pred = make_predictions('pred', {'b_1/0002.jpg': ROWS})
    columns = (f'Truth={root}/valid/mask', f'ConvNeXt={pred}')
    out = tmp_path / 'new/p.png'
    given = ('--images', root / 'valid/images', '--columns', *columns, '--out', out)
    code, said, err = run(main, *given)
    # Only one image is predicted: it alone is drawn.
    assert (code, said, err) == (0, f'1 images drawn in {out}\n', '')
    two_columns = read_image(out)
    assert two_columns.std() > 10
    run(main, *given[:3], columns[0], '--out', out, '--overwrite')
    assert read_image(out).shape[0] > two_columns.shape[0]


def test_masks_of__names_are_those_of_the_data_root_or_the_predictions(
    root, make_predictions
):
    masks = root / 'valid/mask'
    assert masks_of(masks) == (masks, None)
    (root / 'dataset.json').write_text('{"classes": ["sky", "road"]}')
    assert masks_of(masks) == (masks, ('sky', 'road'))
    pred = make_predictions('pred', {'1.jpg': ROWS}, classes=['a', 'b'])
    assert masks_of(pred) == masks_of(pred / 'masks') == (pred / 'masks', ('a', 'b'))


def test_choose_images__all_if_few_and_one_if_asked():
    assert choose_images({'b.jpg', 'a.jpg'}, 6) == ['a.jpg', 'b.jpg']
    assert choose_images({'b.jpg', 'a.jpg'}, 1) == ['a.jpg']


def test_misuse__one_line_and_nothing_written(misuse, root, make_predictions, tmp_path):
    out = tmp_path / 'p.png'
    images, truth = root / 'valid/images', f'Truth={root}/valid/mask'
    given = ('--images', images, '--out', out, '--columns')
    misuse(main, 'no NAME=FOLDER pair', *given, 'Truth')
    misuse(main, 'no such folder', *given, 'Truth=nowhere')
    misuse(main, 'name comes twice', *given, truth, truth)
    misuse(main, 'has no mask of the images', *given, f'Truth={tmp_path}')
    misuse(main, 'c.jpg: is not in every folder', *given, truth, '--names', 'c.jpg')
    misuse(main, 'need 1 and 20-600', *given, truth, '--count', 0)
    others = make_predictions('other', {'b_1/0002.jpg': ROWS[:1]}, classes=['a', 'b'])
    here = make_predictions('here', {'b_1/0002.jpg': ROWS[:1]})
    misuse(main, 'different classes', *given, f'a={others}', f'b={here}')
    assert not out.exists()
    out.write_bytes(b'mine')
    misuse(main, 'pass --overwrite', *given, truth)
    assert out.read_bytes() == b'mine'
