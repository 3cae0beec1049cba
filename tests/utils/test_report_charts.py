"""What the charts of a report hold: rows that stay apart, counts that agree."""

import csv

import numpy as np
import pytest

from mmsegmentation.files import read_json
from mmsegmentation.scores import areas_of
from utils.error_page.charts import (
    border_chart,
    class_chart,
    kind_chart,
    object_chart,
    object_error_chart,
    pixel_chart,
    score_chart,
)
from utils.error_page.comparison import compare
from utils.error_page.curve_charts import curve_charts, pair_figure
from utils.error_page.page import _say
from utils.report import main

# Alike in their first 29 characters; the last two in their last 29, too.
LONG = 'upernet_convnext-base_640x640'
ENDS = ('_fold-0', '_fold-1', f'+more_{LONG}', f'+less_{LONG}')
NAMES = [LONG + end for end in ENDS]
CLASSES = ('Background', 'Paper', 'mIoU')
TRUTH = [[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 0, 255]]
RIGHT = [[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 0, 1]]
WRONG = [[0, 1, 1, 2], [0, 0, 1, 1], [0, 0, 0, 2]]


@pytest.fixture
def report(run, make_part, make_predictions, tmp_path):
    """Report on models by name: what each predicts for a labelled image and another."""

    def call(maps, unlabelled=None):
        root = make_part('valid', {'a.jpg': TRUTH})
        if unlabelled:
            make_part('test', {'b.jpg': unlabelled}, masks=False)
        preds = []
        for name, label_map in maps.items():
            images = {'a.jpg': label_map}
            images |= {'b.jpg': unlabelled} if unlabelled else {}
            preds.append(make_predictions(name, images, classes=CLASSES))
        out = tmp_path / 'report'
        argv = (*preds, '--data-root', root, '--out', out, '--jobs', 1)
        code, _, err = run(main, *argv)
        assert (code, err) == (0, '')
        return read_json(out / 'report.json'), out

    return call


def rows_of(path):
    with path.open(newline='', encoding='utf-8-sig') as file:
        return list(csv.DictReader(file))


def traces(chart):
    return chart.panels[0][1]['data']


def test_names__that_begin_and_end_alike_have_a_row_each(report):
    content, _ = report(dict.fromkeys(NAMES, WRONG))
    models = content['models']
    assert [m['name'].rsplit('/')[-1] for m in models] == NAMES
    for chart in (score_chart(models), kind_chart(models)):
        for trace in traces(chart):
            assert len(set(trace['y'])) == 4, chart.key
    for chart in (
        class_chart(models, CLASSES),
        pixel_chart(models, CLASSES, [7, 4, 2]),
        border_chart(models, 5),
        object_error_chart(models),
    ):
        names = [trace['name'] for trace in traces(chart)]
        assert len(set(names)) == len(names) >= 4, chart.key
    for trace in traces(object_chart(models)):
        rows = list(zip(*trace['y'], strict=True))
        assert len(set(rows)) == len(rows) > 4
    (curves,) = curve_charts({name: {'loss': [(1, 2.0)]} for name in NAMES})
    assert len({trace['name'] for trace in traces(curves)}) == 4


def test_names__of_long_classes_and_of_one_called_as_a_score_have_a_row_each():
    gain = {'difference': 0.1, 'interval': [0, 0.2], 'better': 1, 'worse': 0}
    pair = {'mIoU': gain, 'mIoU_image': gain}
    figure = pair_figure({**pair, 'IoU': dict.fromkeys((*NAMES, 'mIoU'), gain)}, 1)
    rows = figure['data'][0]['y']
    assert rows[:2] == ['mIoU', 'mIoU, mean over images']
    assert len(set(rows)) == 7


def test_predicted_pixels__are_the_labelled_ones_wherever_they_are_told(report):
    content, out = report({'p': WRONG}, unlabelled=[[1, 1, 2]])
    (model,) = content['models']
    # Of 12 pixels one is ignored; the image without a label counts nowhere.
    assert model['predicted_pixels'] == [6, 4, 1]
    assert model['predicted_pixels'] == np.sum(model['confusion'], 0).tolist()
    rows = rows_of(out / 'classes.csv')
    assert [int(row['predicted_pixels']) for row in rows] == [6, 4, 1]
    assert sum(int(row['true_pixels']) for row in rows) == 11
    # Confidence, too.
    assert sum(int(row['pixels']) for row in rows_of(out / 'confidence.csv')) == 11


def test_models__that_are_equal_are_not_ahead():
    areas = areas_of(np.array([[[5, 1], [i, 4]] for i in range(6)]))
    gain = compare(areas, areas, ('Background', 'Paper'))['mIoU']
    assert (gain['better'], gain['worse']) == (0, 0)
    for sign in (1, -1):
        assert _say(gain, sign) == ['+0.00', '+0.00 to +0.00', '0%']


def test_models__turned_round_are_ahead_where_the_other_is_behind():
    gain = {'difference': -0.02, 'interval': [-0.05, 0], 'better': 0.1, 'worse': 0.7}
    assert _say(gain, 1) == ['-2.00', '-5.00 to +0.00', '10%']
    assert _say(gain, -1) == ['+2.00', '+0.00 to +5.00', '70%']


def test_errors__of_a_model_without_any_lie_nowhere(report):
    content, _ = report({'p': RIGHT})
    every, errors = traces(object_error_chart(content['models']))
    assert every['x'][-1] == pytest.approx(5 / 11)
    assert errors['x'] == [None] * len(every['x'])
    assert [t['name'] for t in traces(border_chart(content['models'], 5))] == [
        'all labelled pixels'
    ]
