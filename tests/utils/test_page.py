"""The page that all reports are built on, without and within a browser."""

import json
import re

import numpy as np
import pytest
from jinja2 import ChoiceLoader, DictLoader
from PIL import Image

from utils import page as module
from utils.page import (
    DASH,
    Gallery,
    Table,
    chart,
    class_colours,
    embed,
    label,
    mask_colours,
    write_overlay,
    write_page,
    write_photo,
)

HOSTILE = '</script><script>throw 1</script><img src=x onerror=alert(1)>"\'&\u2028한글'
TEMPLATE = """{% extends 'base.html.j2' %}
{% import 'macros.html.j2' as show %}
{% block title %}{{ name }}{% endblock %}
{% block main %}
{{ show.show_chart(chart) }}{{ show.show_table(table) }}{{ show.show_gallery(gallery) }}
{% endblock %}"""


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write a page of one chart, one table and a gallery of 60 pictures."""
    environment = module._environment()
    loader = ChoiceLoader([DictLoader({'test.html.j2': TEMPLATE}), environment.loader])
    monkeypatch.setattr(environment, 'loader', loader)

    def call(name, pictures=60):
        out = tmp_path / 'out'
        size = write_photo(out / 't/p.jpg', np.zeros((300, 600, 3), np.uint8))
        ids = np.zeros((300, 600), np.uint8)
        write_overlay(out / 't/m.png', ids, mask_colours(3))
        items = [
            {
                'name': f'{number:02}{name if number == 0 else ""}',
                'photo': 't/p.jpg',
                'size': size,
                'layers': {'mask': 't/m.png'} if number else {},
                'classes': {'0': 0.5, str(1 + number % 2): number / 100},
                'values': {'bright': number * 7 % 60, 'part': 'ab'[number // 30 % 2]},
            }
            for number in range(pictures)
        ]
        items[3] |= {'outline': 't/m.png', 'note': 'Paper?'}
        classes = list(zip(('Ground', name, 'other'), class_colours(3), strict=True))
        gallery = Gallery(
            'all', 'All.', items, classes, {'bright': 'brightness'}, {'part': 'part'},
            decimals={'bright': 1},
        )  # fmt: skip
        rows = [('b', 2, 'x'), (name, 10, 'x'), ('c', None, 'x'), ('d', 5, 'y')]
        table = Table('numbers', 'Counts.', ('name', 'n', 'kind'), rows, filter='kind')
        bars = {'data': [{'type': 'bar', 'x': [1], 'y': [label(name)]}], 'layout': {}}
        shown = chart('bars', name, 'Images.', bars)
        write_page(
            out / 'index.html',
            'test.html.j2',
            name=name,
            chart=shown,
            table=table,
            gallery=gallery,
        )
        return out / 'index.html'

    return call


def names(page):
    return [text[:2] for text in page.locator('#all .name').all_inner_texts()]


def test_embed__no_text_leaves_the_element():
    made = str(embed({'a': HOSTILE}, 'k"'))
    inner = re.fullmatch(r'<script [^>]*id="k&#34;">(.*)</script>', made)
    assert inner is not None
    assert not re.search('[<>&\u2028]', inner[1])
    assert json.loads(inner[1]) == {'a': HOSTILE}


def test_embed__arrays_are_lists_and_nan_is_refused():
    assert '[1,2]' in embed(np.array([1, 2]))
    with pytest.raises(ValueError, match='not JSON compliant'):
        embed(float('nan'))


def test_photo__is_shrunk_and_never_enlarged(tmp_path):
    image = np.full((10, 20, 3), 90, np.uint8)
    assert write_photo(tmp_path / 'a/1.jpg', image, 8) == (8, 4)
    assert write_photo(tmp_path / 'a/2.jpg', image, 99) == (20, 10)
    with Image.open(tmp_path / 'a/1.jpg') as picture:
        assert (picture.size, picture.format) == ((8, 4), 'JPEG')


def test_overlay__background_is_clear_and_ids_keep_their_colours(tmp_path):
    ids = np.array([[0, 1], [2, 255]], np.uint8).repeat(4, 0).repeat(4, 1)
    write_overlay(tmp_path / 'm.png', ids, mask_colours(3), 2)
    with Image.open(tmp_path / 'm.png') as picture:
        shown = np.asarray(picture.convert('RGBA'))
    assert shown[0, 0, 3] == 0
    assert shown[0, 1].tolist() == [192, 0, 128, 255]
    assert shown[1, 0].tolist() == [0, 128, 192, 255]
    assert shown[1, 1].tolist() == [255, 255, 255, 255]


def test_page__is_replaced_whole_or_not_at_all(write):
    path = write('first')
    before = path.read_bytes()
    with pytest.raises(Exception, match='undefined'):
        write_page(path, 'test.html.j2', name='second')
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir() if p.is_file()] == ['index.html']


@pytest.mark.parametrize('width', [1440, 390])
def test_page__hostile_names_are_text(write, open_page, width):
    page = open_page(write(HOSTILE), width)
    shown = HOSTILE.replace('\u2028', ' ')
    assert page.title().replace('\u2028', ' ') == shown
    assert page.locator('img[src=x]').count() == 0
    for part in ('h1', '#bars h3', '#numbers td', '#all .name', '#all option'):
        texts = page.locator(part).all_text_contents()
        assert any(HOSTILE in text for text in texts), part
    assert '</script>' in page.locator('#bars .ytick').first.text_content()
    assert page.evaluate('document.documentElement.scrollWidth') <= width


def test_chart__toolbar_sends_nothing_and_hides_nothing(write, open_page):
    page = open_page(write('a'))
    page.locator('#bars .plot').hover()
    buttons = page.locator('#bars .modebar-btn')
    names = buttons.evaluate_all('all => all.map(e => e.dataset.title)')
    assert names == ['Download plot as a PNG', 'Zoom in', 'Zoom out', 'Reset axes']
    bar, chart = page.locator('#bars .modebar'), page.locator('#bars .main-svg').first
    below = bar.bounding_box()['y'] + bar.bounding_box()['height']
    assert below <= chart.bounding_box()['y']
    # Above all that is shown there, and not cut off.
    buttons.first.click(trial=True, timeout=20_000)


def test_table__sorts_by_number_and_filters_and_theme_switches(write, open_page):
    page = open_page(write('a'), scheme='dark')
    cells = page.locator('#numbers tbody tr:visible td:nth-child(2)')
    assert cells.all_inner_texts() == ['2', '10', DASH]
    heading = page.get_by_role('button', name='n', exact=True)
    heading.click()
    assert cells.all_inner_texts() == ['10', '2', DASH]
    heading.press('Enter')
    assert cells.all_inner_texts() == ['2', '10', DASH]
    page.get_by_label('kind', exact=True).select_option('y')
    assert cells.all_inner_texts() == ['5']
    tick = page.locator('#bars .xtick text').first
    colour = 'e => getComputedStyle(e).fill'
    dark = tick.evaluate(colour)
    page.get_by_role('button', name='Switch to light colours').click()
    assert page.evaluate('document.documentElement.dataset.theme') == 'light'
    page.evaluate('new Promise(requestAnimationFrame)')
    assert tick.evaluate(colour) != dark


def test_gallery__loads_as_one_scrolls_filters_and_sorts(write, open_page):
    page = open_page(write('a'), 390)
    assert len(names(page)) == 48
    page.locator('#all li').last.scroll_into_view_if_needed()
    page.wait_for_selector('#all li:nth-child(60)')
    told = page.locator('#all .facts').all_inner_texts()
    assert told[2:4] == ['a', 'Paper?']
    page.get_by_label('sort by').select_option('bright')
    assert names(page)[:2] == ['17', '34']  # 7 * 17 % 60 = 59, 7 * 34 % 60 = 58.
    page.get_by_label('order').select_option('up')
    assert names(page)[:2] == ['00', '43']
    page.get_by_label('class', exact=True).select_option('other')
    assert names(page)[:2] == ['59', '57']
    assert '30 of 60 images' in page.locator('#all .status').inner_text()
    page.get_by_label('part').select_option('a')
    assert names(page)[:2] == ['29', '27']
    page.get_by_label('name contains').fill('1')
    assert names(page) == ['21', '19', '17', '15', '13', '11', '01']
    page.evaluate("page.galleries.all.only(['11', '59'], 'two')")
    assert names(page) == ['11']
    page.get_by_role('button', name='show all').click()
    assert len(names(page)) == 7


def test_gallery__fills_a_screen_that_one_need_not_scroll(write, open_page):
    page = open_page(write('a', 150), 390)
    page.set_viewport_size({'width': 3840, 'height': 6000})
    page.reload(wait_until='commit')
    page.wait_for_selector('#all li:nth-child(150)', state='attached', timeout=20_000)


def test_table__short_words_of_names_are_whole(write, open_page):
    page = open_page(write('some_folder_of_a_long_name/convnext'), 761)
    cells = page.locator('#numbers tbody td:first-child')
    # In a table as narrow as can be: a short name in one line, a long one in words.
    narrow = 'caption { display: none; } .table table { width: 1px; min-width: 0; }'
    page.add_style_tag(content=narrow)
    tall = cells.evaluate_all('all => all.map(e => e.offsetHeight)')
    assert tall[0] == tall[2] < tall[1] < 3 * tall[0]
    assert cells.nth(1).text_content().strip() == 'some_folder_of_a_long_name/convnext'
    assert '/<wbr>convnext' in cells.nth(1).inner_html()


def test_lightbox__steps_by_keys_and_closes_and_opacity_is_heard(write, open_page):
    page = open_page(write('x'))
    page.get_by_role('button', name='Enlarge 01').click()
    title = page.locator('#lightbox h2')
    assert title.inner_text() == '01 (2 of 60)'
    page.keyboard.press('ArrowRight')
    assert title.inner_text() == '02 (3 of 60)'
    facts = page.locator('#lightbox li').all_inner_texts()
    assert facts == ['Ground 50 %', 'x 2.0 %', 'part: a', 'brightness: 14.0']
    page.keyboard.press('ArrowRight')
    assert page.locator('#lightbox li').first.inner_text() == 'Paper?'
    pictures = page.locator('#lightbox img').evaluate_all(
        'a => a.map(e => e.className)'
    )
    assert pictures == ['', 'overlay', '']  # An outline is never faint.
    page.keyboard.press('ArrowLeft')
    for _ in range(3):
        page.keyboard.press('ArrowLeft')
    assert title.inner_text() == '00x (1 of 60)'
    page.keyboard.press('Escape')
    assert not page.locator('#lightbox').is_visible()
    overlay = page.locator('#all .overlay').first
    page.locator('#all').get_by_label('opacity').fill('0.2')
    assert overlay.evaluate('e => getComputedStyle(e).opacity') == '0.2'
    page.locator('#all').get_by_label('shown').select_option('photograph only')
    assert page.locator('#all .overlay').count() == 0
