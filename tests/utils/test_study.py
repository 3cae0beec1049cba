"""The page of a study: its numbers, its picture, and how it looks in a browser."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

from utils.study import main
from utils.study_page.charts import importance_chart, parallel_chart, slice_chart
from utils.study_page.content import open_study

HOSTILE = '<script>throw 1</script>$x$"\'&'
SPACE = {
    'lr': {'keys': ['a.lr'], 'low': 1e-4, 'high': 1e-2, 'log': True, 'step': None},
    f'kind {HOSTILE}': {'keys': ['a.b'], 'choices': ['x', f'y{HOSTILE}', '[1, 2]']},
    'size': {'keys': ['c', 'd'], 'low': 2, 'high': 8, 'log': False, 'step': 2},
}
CHARTS = ['history', 'curves', 'importances', 'parallel', 'slices']


def trial(number, state='complete', value=None, scores=(), reason=''):
    rng = np.random.default_rng(number)
    kinds = SPACE[f'kind {HOSTILE}']['choices']
    values = (10 ** rng.uniform(-4, -2), kinds[number % 3], 2 + 2 * (number % 4))
    ended = None if state in ('running', 'waiting') else '2026-01-01T00:01:30'
    return {
        'number': number,
        'state': state,
        'value': value,
        'reason': reason,
        'values': dict(zip(SPACE, values, strict=True)),
        'scores': list(scores),
        'started': '2026-01-01T00:00:00',
        'ended': ended,
        'worker': 'a:1',
        'work_dir': f'trial_{number:04}',
    }


@pytest.fixture
def study(tmp_path):
    """Write a study of a dozen trials of every kind; return its folder and content."""
    trials = [
        trial(n, 'complete', 0.3 + n % 5 / 10, (0.1, 0.3 + n % 5 / 10))
        for n in range(8)
    ]
    trials += [
        trial(8, 'pruned', None, (0.05,), 'mIoU 0.0500 at validation 1'),
        trial(9, 'failed', None, (), f'KeyError: {HOSTILE}'),
        trial(10, 'running', None, (0.2,)),
    ]
    trials.append({**trial(11, 'waiting'), 'values': {}, 'started': None})
    content = {
        'id': 'x',
        'study': f'study {HOSTILE}',
        'config': 'configs/a.py',
        'score': 'mIoU',
        'minimize': False,
        'sampler': 'tpe',
        'pruner': 'median',
        'seed': 0,
        'wanted': 20,
        'validations': 2,
        'space': SPACE,
        'best': 4,
        'importances': dict(zip(SPACE, (0.5, 0.3, 0.2), strict=True)),
        'trials': trials,
    }
    folder = tmp_path / 'study <&>'
    folder.mkdir()
    (folder / 'study.json').write_text(json.dumps(content))
    return folder, content


def test_page__is_written_with_table_and_picture(study, run):
    folder, _ = study
    code, out, err = run(main, folder)
    assert (code, err) == (0, '')
    assert 'index.html' in out
    with (folder / 'trials.csv').open(encoding='utf-8-sig') as file:
        rows = list(csv.DictReader(file))
    assert [row['trial'] for row in rows] == [str(n) for n in range(12)]
    assert rows[4]['mIoU'] == '0.7'
    assert rows[8]['mIoU'] == '0.05'
    assert (rows[9]['mIoU'], rows[9]['reason']) == ('', f'KeyError: {HOSTILE}')
    assert (rows[4]['minutes'], rows[10]['minutes']) == ('1.5', '')
    picture = np.asarray(Image.open(folder / 'study.png').convert('RGB'))
    assert min(picture.shape[:2]) > 500
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 50
    assert run(main, folder)[0] == 0  # again, over its own


def test_page__of_a_study_without_a_complete_trial(study, run):
    folder, content = study
    content.update(trials=content['trials'][8:], best=None, importances={})
    (folder / 'study.json').write_text(json.dumps(content))
    assert run(main, folder)[0] == 0
    assert 'No trial is complete yet.' in (folder / 'index.html').read_text()
    record = open_study(folder)
    assert parallel_chart(record) is None
    assert importance_chart(record) is None


@pytest.mark.parametrize('minimize', [False, True])
def test_record__ranks_by_the_direction(study, minimize):
    folder, content = study
    content['minimize'] = minimize
    (folder / 'study.json').write_text(json.dumps(content))
    record = open_study(folder)
    numbers = [trial['number'] for trial in record.ranked]
    assert numbers == (
        [0, 5, 1, 6, 2, 7, 3, 4] if minimize else [4, 3, 2, 7, 1, 6, 0, 5]
    )
    assert [trial['number'] for trial in record.top] == numbers[:2]
    best = [round(value, 3) for _, value in record.best_so_far()]
    assert best == ([0.3] * 8 if minimize else [0.3, 0.4, 0.5, 0.6, *[0.7] * 4])


def test_slices__choices_that_are_shortened_alike_stay_apart(study):
    folder, content = study
    name = f'kind {HOSTILE}'
    long = [f'schedule {n} of a longer run' for n in range(2)]
    content['space'] = {**SPACE, name: {'keys': ['a.b'], 'choices': long}}
    for one in content['trials']:
        if one['values']:
            one['values'] = {**one['values'], name: long[one['number'] % 2]}
    (folder / 'study.json').write_text(json.dumps(content))
    panels = dict(slice_chart(open_study(folder)).panels)
    shown = panels[name]['data'][0]['x']
    order = panels[name]['layout']['xaxis']['categoryarray']
    assert len(set(order)) == 2
    assert shown == [order[n % 2] for n in range(8)]


def test_parallel__crosses_each_axis_at_the_value(study):
    record = open_study(study[0])
    others, top, best = parallel_chart(record).panels[0][1]['data']
    assert [trace['name'] for trace in (others, top, best)] == [
        'others',
        'best 20%',
        'best',
    ]
    assert best['x'] == [0, 1, 2, 3, None]
    lr = record.trials[4]['values']['lr']
    place = (np.log10(lr) + 4) / 2
    # Trial 4 has the second of three kinds, size 2 of 2 to 8, and the best score.
    assert best['y'] == [pytest.approx(place, abs=1e-5), 0.5, 0.0, 1.0, None]
    assert others['x'].count(None) == 6


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'trials': [{}]}, 'damaged .KeyError.*; start tools/tune.py again'),
        ({'space': []}, 'damaged'),
        ({'importances': None}, 'damaged'),
        ({'trials': None}, 'damaged'),
        ({'best': 99}, 'damaged'),
        ({'best': 8}, 'best is 8'),
        ({'study': 1}, 'study is 1'),
        ({'importances': {'lr': 'x'}}, "share is 'x'"),
        ({'trials': [trial(0, 'complete', 'x')]}, "value is 'x'"),
        ({'trials': [trial(0, scores=['x'], value=0.5)]}, "score is 'x'"),
        ({'trials': [{**trial(0, 'failed'), 'started': 'x'}]}, 'damaged'),
        ({'trials': [{**trial(0, value=0.5), 'values': {}}]}, 'damaged'),
        ({'space': {'lr': {'keys': [1], 'choices': []}}}, 'damaged'),
    ],
)
def test_damaged_study__is_one_line(study, misuse, change, message):
    folder, content = study
    (folder / 'study.json').write_text(json.dumps({**content, **change}))
    misuse(main, message, folder)
    assert not (folder / 'index.html').exists()


def test_other_folder__is_one_line(tmp_path, misuse):
    misuse(main, r'holds no study\.json; name the folder of a study', tmp_path)
    misuse(main, 'none: no such folder', tmp_path / 'none')


@pytest.mark.parametrize('width', [1440, 390])
def test_page__shows_every_chart_and_names_as_text(study, run, open_page, width):
    folder, content = study
    run(main, folder)
    page = open_page(folder / 'index.html', width, 'dark' if width == 390 else 'light')
    drawn = page.eval_on_selector_all(
        'figure.chart',
        "all => all.filter(f => f.querySelector('.main-svg')).map(f => f.id)",
    )
    assert drawn == CHARTS
    assert page.title() == f'Study: {content["study"]}'
    assert page.evaluate('document.documentElement.scrollWidth') <= width
    names = page.locator('#parallel .xtick').all_text_contents()
    assert len(names) == 4
    assert '<scr…t>$x$' in names[1]
    rows = page.locator('#trials tbody tr')
    assert rows.count() == 12
    page.locator('#trials th button').nth(1).click()
    assert rows.first.locator('td').nth(1).text_content().strip() == '0.7000'
