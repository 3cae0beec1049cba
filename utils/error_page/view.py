"""The page of a report: which charts, tables and pictures stand in which section."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from utils.error_page import charts
from utils.error_page import curve_charts as more
from utils.error_page.measure import ERROR_COLOURS, IGNORED
from utils.error_page.page import make_data, make_gallery
from utils.error_page.summary import Summary
from utils.error_page.tables import class_table, score_table
from utils.page import Chart, Table, class_colours, css_colour


def page_context(
    summary: Summary, content: Mapping[str, Any], curves: more.Curves
) -> dict[str, Any]:
    """Return what ``report.html.j2`` shows."""
    models, classes = content['models'], content['classes']
    levels = {m.name: m.levels[0] for m in summary.models if m.levels is not None}
    context: dict[str, Any] = {
        'content': content,
        'title': _title(models),
        'gallery': make_gallery(summary),
        'data': make_data(summary, content),
        'legend_classes': _legend(summary),
        'error_legend': _error_legend(),
        'confidence': more.confidence_chart(levels, bool(summary.labelled)),
        'curves': more.curve_charts(curves),
        'pseudo': _pseudo_table(content['pseudo_labels'], classes),
        'labelled': bool(summary.labelled),
        'several': len(models) > 1,
    }
    if not summary.labelled:
        return context | {'pixels': charts.pixel_chart(models, classes, None)}
    true = summary.models[0].confusion.sum(1).tolist()
    return context | {
        'pixels': charts.pixel_chart(models, classes, true),
        'scores': score_table(content),
        'score_chart': charts.score_chart(models),
        'class_table': class_table(content),
        'class_chart': charts.class_chart(models, classes),
        'error_charts': [
            charts.kind_chart(models),
            charts.border_chart(models, summary.near),
            charts.object_chart(models),
            charts.object_error_chart(models),
        ],
        'reliability': more.reliability_chart(models),
        'pair_charts': _pair_charts(summary, content),
    }


def _title(models: charts.Models) -> str:
    names = ', '.join(model['name'] for model in models)
    return f'Report on {names}'


def _legend(summary: Summary) -> list[tuple[str, str]]:
    """Return name and colour of every class that a picture shows."""
    pixels = np.sum([model.predicted_anywhere for model in summary.models], axis=0)
    if summary.labelled:
        pixels = pixels + summary.models[0].confusion.sum(1)
    pairs = zip(summary.classes, class_colours(len(summary.classes)), strict=True)
    return [pair for pair, count in zip(pairs, pixels, strict=True) if count]


def _error_legend() -> list[tuple[str, str]]:
    colours = [css_colour(colour) for colour in ERROR_COLOURS.values()]
    pairs = list(zip(charts.kind_texts(), colours, strict=True))
    return [*pairs, ('not labelled', css_colour(IGNORED[:3]))]


def _pair_charts(summary: Summary, content: Mapping[str, Any]) -> list[Chart]:
    if len(summary.models) < 2:
        return []
    one, two = summary.models[:2]
    points = [
        (name, value, two.image_miou[name]) for name, value in one.image_miou.items()
    ]
    figure = more.pair_figure(content['comparisons'][0], 1)
    return [more.image_chart(one.name, two.name, points), more.pair_chart(figure)]


def _pseudo_table(pseudo: Mapping[str, Any] | None, classes: list[str]) -> Table | None:
    if not pseudo:
        return None
    colours = dict(zip(classes, class_colours(len(classes)), strict=True))
    caption = 'Pixels of the test part that were confident enough to be trained on.'
    if pseudo['without']:
        caption += f' None were kept of: {", ".join(pseudo["without"])}.'
    return Table(
        key='pseudo-table',
        caption=caption,
        columns=['class', 'threshold', 'kept pixels', 'kept share'],
        rows=pseudo['rows'],
        formats={'threshold': '.3f', 'kept share': '.1%'},
        colours=[colours.get(row[0], '#808080') for row in pseudo['rows']],
    )
