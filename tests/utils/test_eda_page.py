"""The data page in a browser: charts, filters and sorting, at two widths."""

import json

import numpy as np
import pytest
from PIL import Image

from mmsegmentation.classes import CLASSES
from mmsegmentation.files import mask_name, write_mask
from utils.eda import main

HOSTILE = [
    'Background',
    '<script>throw 1</script>',
    '"a" & \'b\'',
    '비닐',
    '%{x} $y$ <b>',
]
NAMES = ['<img src=x onerror=alert(1)>.jpg', '한 글.jpg', '#a?b=1.jpg', '%41 "q".jpg']
CHARTS = (
    'images-per-class',
    'objects-per-class',
    'pixels-per-class',
    'object-sizes',
    'object-sizes-per-class',
    'objects-per-image',
    'classes-per-image',
    'together',
    'places',
    'sizes',
    'brightness',
)


@pytest.fixture
def draw(tmp_path):
    """Write a part of images of different sizes, and masks with a square each."""

    def call(part, names, classes, masks=True):
        rng = np.random.default_rng(len(part))
        root = tmp_path / 'root'
        for number, name in enumerate(names):
            height, width = rng.integers(40, 90, 2).tolist()
            path = root / part / 'images' / name
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = rng.integers(0, 256, (height, width, 3), np.uint8)
            Image.fromarray(pixels).save(path)
            label_map = np.zeros((height, width), np.uint8)
            side = 4 + number
            label_map[5 : 5 + side, 5 : 5 + side] = 1 + number % (len(classes) - 1)
            if masks:
                mask = root / part / 'mask' / mask_name(name)
                write_mask(mask, label_map, len(classes))
        content = {'classes': classes, 'problems': [f'about {classes[1]}']}
        (root / 'dataset.json').write_text(json.dumps(content))
        return root

    return call


@pytest.fixture
def page_of(run, tmp_path, open_page):
    def call(root, *argv, width=1440, scheme='light'):
        out = tmp_path / 'eda'
        code, _, err = run(main, root, '--out', out, '--jobs', 1, *argv)
        assert (code, err) == (0, '')
        return open_page(out / 'index.html', width, scheme)

    return call


def drawn_charts(page):
    """Return the keys of the charts whose every panel is drawn."""
    return page.evaluate(
        """() => [...document.querySelectorAll('figure.chart')]
        .filter((c) => [...c.querySelectorAll('.plot')].every(
            (p) => p.querySelector('svg.main-svg .plot, svg.main-svg .subplot')))
        .map((c) => c.id)"""
    )


def pictures(page):
    return page.locator('#images .name').all_inner_texts()


def test_page__thirty_hostile_classes_and_names(draw, page_of):
    classes = [*HOSTILE, *(f'class {i}' for i in range(5, 30))]
    names = [*NAMES, *(f'{i}.jpg' for i in range(30))]
    draw('train', names, classes)
    draw('valid', NAMES, classes)
    root = draw('test', NAMES[:2], classes, masks=False)
    page = page_of(root, width=390, scheme='dark')
    assert set(drawn_charts(page)) == {*CHARTS, 'parts'}
    assert page.evaluate('document.documentElement.scrollWidth') <= 390
    assert page.locator('img[src=x]').count() == 0
    for place in ('#class-table td', '#images option', '#problems ~ ul li'):
        texts = ' '.join(page.locator(place).all_text_contents())
        assert HOSTILE[1] in texts, place
    ticks = page.locator('#pixels-per-class .ytick text').all_text_contents()
    assert ticks[:2] == ['<script>th…</script>', HOSTILE[2]]
    assert ticks[3] == HOSTILE[4]
    assert page.locator('#places .plot').count() == 30
    assert f'train/{NAMES[0]}' in pictures(page)
    for counted in page.locator('figure.chart .counted').all_inner_texts():
        assert len(counted) > 30


@pytest.mark.parametrize('width', [1440, 390])
def test_page__filters_and_sorts_what_the_masks_hold(draw, page_of, width):
    root = draw('train', [f'{i}.jpg' for i in range(6)], CLASSES[:4])
    draw('valid', ['9.jpg'], CLASSES[:4])
    page = page_of(root, width=width)
    assert set(drawn_charts(page)) == {*CHARTS, 'parts'}
    assert page.evaluate('document.documentElement.scrollWidth') <= width
    rows = page.locator('#class-table tbody tr:visible')
    assert rows.count() == 4
    page.locator('#class-table select').select_option('valid')
    page.get_by_role('button', name='pixels', exact=True).click()
    names = rows.locator('td:first-child').all_inner_texts()
    assert names[:2] == ['Background', 'General trash']
    assert rows.nth(1).locator('td').nth(6).inner_text() == '16'
    page.get_by_label('class', exact=True).select_option('General trash')
    # Squares of 4 and 7 pixels in train (images 0 and 3), and of 4 in valid.
    assert sorted(pictures(page)) == ['train/0.jpg', 'train/3.jpg', 'valid/9.jpg']
    assert pictures(page)[0] == 'train/3.jpg'
    page.locator('#images').get_by_label('part').select_option('valid')
    assert pictures(page) == ['valid/9.jpg']
    page.locator('#images').get_by_label('part').select_option('')
    page.get_by_label('class', exact=True).select_option('all')
    page.get_by_label('sort by').select_option('largest')
    assert pictures(page)[:2] == ['train/5.jpg', 'train/4.jpg']
    page.get_by_label('order').select_option('up')
    assert pictures(page)[:2] == ['train/0.jpg', 'valid/9.jpg']
    page.get_by_role('button', name='Enlarge train/0.jpg').click()
    facts = page.locator('#lightbox li').all_inner_texts()
    assert 'largest piece, in pixels: 16' in facts
    assert page.locator('#lightbox img').count() == 2


@pytest.mark.filterwarnings('ignore:__array__ implementation:DeprecationWarning')
def test_page__leaks_and_overlaps_have_their_sections(raw, accepted, page_of):
    raw.draw('a/2.jpg', 0)
    accepted()
    page = page_of(raw.out, '--raw', raw.folder)
    assert {'orders', 'vertices', *CHARTS} <= set(drawn_charts(page))
    leak = page.locator('#duplicates ~ h3').first
    assert leak.inner_text() == 'Leak between train and valid: the same pixels'
    assert 'Leak: 1 group' in page.locator('.alert').first.inner_text()
