"""The page of a report in a browser: what answers, does what it says."""

import re

import numpy as np
import pytest
from PIL import Image

from mmsegmentation.files import mask_name, read_json, write_json, write_mask
from mmsegmentation.predictions import finish_predictions, write_prediction
from utils.report import main

HOSTILE = '<script>throw 1</script>"\'&'
CLASSES = ('Background', f'Paper {HOSTILE}', '금속', 'Glass')
IMAGES = [f'a b/{n:02} {"<i>한글" if n == 0 else ""}.jpg' for n in range(30)]
CHARTS = {
    'scores-chart', 'class-iou', 'class-pixels', 'error-kinds', 'borders',
    'object-sizes', 'object-errors', 'reliability', 'confidence', 'pair-images',
    'pair-classes', 'curve-loss', 'curve-mIoU',
}  # fmt: skip


def draw(seed):
    """Return true class ids of one image: two boxes on background, (48, 64)."""
    rng = np.random.default_rng(seed)
    label_map = np.zeros((48, 64), np.uint8)
    for _ in range(2):
        top, left = rng.integers(0, 30), rng.integers(0, 40)
        label_map[top : top + 14, left : left + 20] = rng.integers(1, 4)
    return label_map


@pytest.fixture(scope='module')
def page_of(tmp_path_factory):
    """Return a report on two models of 30 drawn images, and what it says."""
    folder = tmp_path_factory.mktemp('report')
    root = folder / 'root'
    write_json(root / 'dataset.json', {'classes': list(CLASSES)})
    for number, image_id in enumerate(IMAGES):
        label_map = draw(number)
        photo = root / 'valid/images' / image_id
        photo.parent.mkdir(parents=True, exist_ok=True)
        grey = np.repeat(40 + 60 * label_map[..., None], 3, -1)
        Image.fromarray(grey.astype(np.uint8)).save(photo)
        write_mask(root / 'valid/mask' / mask_name(image_id), label_map, 4)
        for model, shift in (('first <b>', number % 7), ('second', number % 4)):
            predicted = np.roll(label_map, shift, 1)
            if number % 5 == 0:
                predicted[predicted == 1] = 3
            sure = np.where(predicted == label_map, 240, 150).astype(np.uint8)
            write_prediction(folder / model / 'valid', image_id, predicted, sure)
    log = folder / 'first <b>/20260101/vis_data/scalars.json'
    log.parent.mkdir(parents=True)
    log.write_text('{"loss": 2, "step": 1}\n{"mIoU": 40, "step": 1}\n')
    preds = [folder / name / 'valid' for name in ('first <b>', 'second')]
    for pred in preds:
        origin = {'checkpoint': str(pred.parent / 'best.pth'), 'split': 'valid'}
        finish_predictions(pred, CLASSES, IMAGES, origin)
    out = folder / 'out <&>'
    argv = [*preds, '--data-root', root, '--out', out, '--jobs', 1]
    assert main([str(arg) for arg in argv]) == 0
    return out / 'index.html', read_json(out / 'report.json')


@pytest.mark.parametrize('width', [1440, 390])
def test_page__shows_every_chart_and_names_as_text(page_of, open_page, width):
    page = open_page(page_of[0], width, 'dark' if width == 390 else 'light')
    drawn = page.eval_on_selector_all(
        'figure.chart',
        "all => all.filter(f => f.querySelector('.main-svg')).map(f => f.id)",
    )
    assert set(drawn) == CHARTS
    assert page.locator('figure.chart').count() == len(CHARTS)
    assert page.locator('#matrix th[scope=row]').nth(1).text_content() == CLASSES[1]
    assert page.title() == 'Report on first <b>, second'
    assert page.evaluate('document.documentElement.scrollWidth') <= width
    names = page.locator('#gallery .name').all_inner_texts()
    assert sorted(names) == sorted(IMAGES)


def test_gallery__pictures_load_filter_and_sort(page_of, open_page):
    page = open_page(page_of[0])
    gallery = page.locator('#gallery')
    gallery.scroll_into_view_if_needed()
    image = gallery.locator('.stack img').first
    image.scroll_into_view_if_needed()
    page.wait_for_function(
        'e => e.complete && e.naturalWidth > 0', arg=image.element_handle()
    )
    gallery.get_by_label('class', exact=True).select_option(label='금속')
    held = sum((draw(n) == 2).any() for n in range(30))
    assert 0 < held < 30
    assert gallery.locator('li').count() == held
    gallery.get_by_label('class', exact=True).select_option(label='all')
    gallery.get_by_label('sort by').select_option(label='mIoU of second')
    gallery.get_by_label('order').select_option('up')
    facts = gallery.locator('.facts').all_inner_texts()
    values = [float(text.rsplit(' ', 1)[1]) for text in facts]
    assert len(values) == 30
    assert values == sorted(values)
    assert values[0] < values[-1]


def test_matrix__answers_to_click_keys_model_and_norm(page_of, open_page):
    path, content = page_of
    page = open_page(path)
    counts = np.array(content['models'][0]['confusion'])
    assert not page.locator('#matrix-viewer').is_visible()
    page.locator('#matrix tbody tr').nth(1).locator('button').nth(3).click()
    said = page.locator('#matrix-status').inner_text()
    assert said.startswith(
        f'true {CLASSES[1]}, predicted Glass: {counts[1, 3]:,} pixels'
    )
    behind = said.split(' in ')[1].split()[0]
    strip = page.locator('#matrix-viewer .strip button:not(.further)')
    assert 0 < strip.count() == int(behind) < 30
    page.keyboard.press('ArrowLeft')
    page.keyboard.press('ArrowUp')
    page.keyboard.press('Enter')
    said = page.locator('#matrix-status').inner_text()
    assert said.startswith(f'true Background, predicted 금속: {counts[0, 2]:,} pixels')

    # Normalised by truth, or by prediction, of the other model.
    counts = np.array(content['models'][1]['confusion'], float)
    page.locator('#matrix-model').select_option(label='second')
    for norm, axis in (('truth', 1), ('prediction', 0)):
        page.locator('#matrix-norm').select_option(norm)
        shown = page.locator('#matrix td button').all_inner_texts()
        expected = (100 * counts / counts.sum(axis, keepdims=True)).ravel()
        for text, value in zip(shown, expected, strict=True):
            assert float(text.replace('<.1', '0.04')) == pytest.approx(value, abs=0.51)
    page.locator('#matrix-norm').select_option('pixels')
    assert page.locator('#matrix td button').first.inner_text().endswith('K')


def test_charts__axes_say_what_they_count(page_of, open_page):
    page = open_page(page_of[0])
    for chart in CHARTS - {'borders', 'confidence', 'reliability'}:
        assert page.locator(f'#{chart} .xtitle').count() == 1, chart
    said = page.locator('#pair-viewer .facts').first
    assert re.fullmatch(r'\+[\d.]+ points', said.inner_text())
    tall = said.evaluate(
        'e => e.offsetHeight / parseFloat(getComputedStyle(e).lineHeight)'
    )
    assert round(tall) == 1
    ends = 'e => [e, e.previousSibling].map(e => e.getBoundingClientRect())'
    below, picture = said.evaluate(ends)
    gap = below['top'] - picture['bottom']
    assert gap >= 4


def test_worst__order_slider_and_blink(page_of, open_page):
    page = open_page(page_of[0], 390)
    viewer = page.locator('#worst-viewer')
    captions = viewer.locator('.strip .facts')
    first = [float(text.split()[1]) for text in captions.all_inner_texts()]
    assert len(first) == 24
    assert first == sorted(first)
    viewer.get_by_role('button', name='6 more').click()
    assert captions.count() == 30
    page.locator('#worst-order').select_option('miou down')
    assert float(captions.first.inner_text().split()[1]) == 1
    slider = viewer.locator('.wipe')
    slider.focus()
    for _ in range(10):
        slider.press('ArrowRight')
    clips = viewer.locator('.stage img.overlay')
    stage = viewer.locator('.stage')
    assert stage.evaluate("s => s.style.getPropertyValue('--at')") == '60%'
    styles = clips.evaluate_all('all => all.map(i => getComputedStyle(i).clipPath)')
    assert styles == ['inset(0px 40% 0px 0px)', 'inset(0px 0px 0px 60%)']
    sources = clips.evaluate_all('all => all.map(i => i.getAttribute("src"))')
    assert [s.split('/')[1] for s in sources] == ['truth', 'errors0']
    blink = viewer.get_by_role('button', name='Blink')
    blink.click()
    assert blink.get_attribute('aria-pressed') == 'true'
    at = "document.querySelector('#worst-viewer .stage').style.getPropertyValue('--at')"
    page.wait_for_function(f"() => {at} === '100%'")
    page.wait_for_function(f"() => {at} === '0%'")
    blink.click()
    assert page.evaluate(at) == '60%'


def test_pair__can_be_turned_round_and_lists_what_changed(page_of, open_page):
    path, content = page_of
    page = open_page(path)
    gain = 100 * content['comparisons'][0]['mIoU']['difference']
    cards = page.locator('#pair-cards strong')
    assert cards.first.inner_text() == f'{gain:+.2f} points'
    before = page.locator('#pair-status').inner_text()
    better = int(before.split(', ')[1].split()[0])
    assert better > 0
    viewer = page.locator('#pair-viewer .strip button:not(.further)')
    assert viewer.count() == min(better, 24)
    page.locator('#pair-two').select_option(label='first <b>')
    assert page.locator('#pair-one').input_value() == '1'
    assert cards.first.inner_text() == f'{-gain:+.2f} points'
    after = page.locator('#pair-status').inner_text()
    assert f'and {better} are worse' in after
    axis = page.locator('#pair-images .ytitle')
    assert axis.text_content() == 'mIoU of first <b>'
    page.locator('#pair-order').select_option('up')
    assert viewer.count() == min(better, 24)
