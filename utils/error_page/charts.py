"""The charts of a report, as Plotly's JSON, from the numbers of ``report.json``."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from utils.error_page.errors import KINDS, OUTCOMES, SIZES
from utils.error_page.measure import ERROR_COLOURS
from utils.page import SERIES, Chart, chart, class_colours, labels

# Beside the colour: models stay apart in grey and on paper.
PATTERNS = ('', '/', '.', 'x', '\\', '-', '+', '|')
DASHES = ('solid', 'dash', 'dot', 'dashdot', 'longdash', 'longdashdot')
GREY = '#808080'
PERCENT = {'tickformat': '.0%', 'rangemode': 'tozero'}
SCORE = {'tickformat': '.1f', 'range': [0, 1.02], 'dtick': 0.2}
Models = Sequence[Mapping[str, Any]]
Curves = Mapping[str, Mapping[str, Sequence[tuple[float, float | None]]]]


def score_chart(models: Models) -> Chart:
    """Both mIoU readings of each model with their intervals."""
    readings = (
        ('mIoU', 'over the pooled pixels', 'circle'),
        ('mIoU_image', 'mean over the images', 'diamond'),
    )
    traces = []
    for number, (key, name, symbol) in enumerate(readings):
        ends = [m[f'{key}_interval'] for m in models]
        values = [m[key] for m in models]
        traces.append(
            {
                'type': 'scatter',
                'mode': 'markers',
                'name': name,
                'orientation': 'h',
                'offsetgroup': key,
                'x': values,
                'y': names_of(models),
                'marker': {'size': 11, 'symbol': symbol, 'color': SERIES[number]},
                'error_x': spread(values, ends),
                'hovertemplate': '%{y}: %{x:.3f}<extra>' + name + '</extra>',
            }
        )
    layout = {
        'height': 110 + 56 * len(models),
        'xaxis': {**SCORE, 'title': {'text': 'mIoU'}},
        'yaxis': {'autorange': 'reversed', 'type': 'category'},
        'scattermode': 'group',
    }
    return chart(
        'scores-chart',
        'mIoU, read twice',
        'Mean IoU over the classes that occur, background included. The bars are 95 % '
        'intervals for all images of this kind.',
        {'data': traces, 'layout': layout},
        csv='scores.csv',
    )


def class_chart(models: Models, classes: Sequence[str]) -> Chart:
    """IoU of each class that occurs."""
    held = [i for i in range(len(classes)) if any(known(m['IoU'][i]) for m in models)]
    shown = labels(classes[i] for i in held)
    traces = []
    for number, (name, model) in enumerate(zip(names_of(models), models, strict=True)):
        values = [model['IoU'][i] for i in held]
        trace = bars(number, name, values, shown)
        trace['error_x'] = spread(values, [model['IoU_interval'][i] for i in held])
        trace['hovertemplate'] = trace['hovertemplate'].replace('.1%', '.3f')
        if len(models) == 1:
            trace['marker'] = by_class(held, len(classes))
        traces.append(trace)
    axis = {'title': {'text': 'IoU'}, **SCORE}
    return chart(
        'class-iou',
        'IoU by class',
        'Pixels that are both true and predicted, of those that are either, over all '
        'images; with 95 % intervals over images.',
        {'data': traces, 'layout': rows_layout(len(held), len(models), axis)},
        csv='classes.csv',
    )


def pixel_chart(
    models: Models, classes: Sequence[str], true: Sequence[int] | None
) -> Chart:
    """Share of the pixels that each class has, in truth and in predictions."""
    pixels_by_model = [model['predicted_pixels'] for model in models]
    named = list(zip(names_of(models), pixels_by_model, strict=True))
    counts = ([('truth', true)] if true else []) + named
    held = [i for i in range(len(classes)) if any(c[i] for _, c in counts)]
    shown = labels(classes[i] for i in held)
    traces = []
    for number, (name, pixels) in enumerate(counts):
        total = sum(pixels) or 1
        values = [pixels[i] / total for i in held]
        trace = bars(number - bool(true), name, values, shown)
        if true and not number:
            trace['marker'] = {'color': GREY}
        elif len(counts) == 1:
            trace['marker'] = by_class(held, len(classes))
        traces.append(trace)
    axis = {'title': {'text': 'share of pixels'}, **PERCENT}
    layout = rows_layout(len(held), len(counts), axis)
    what = (
        'True and predicted pixels of each class, of all labelled pixels.'
        if true
        else 'Predicted pixels of each class, of all pixels.'
    )
    return chart(
        'class-pixels',
        'Pixels by class',
        what,
        {'data': traces, 'layout': layout},
        csv='classes.csv',
    )


def kind_chart(models: Models) -> Chart:
    """What kinds of errors each model makes."""
    traces = []
    for kind, text in zip(KINDS, kind_texts(), strict=True):
        traces.append(
            {
                'type': 'bar',
                'orientation': 'h',
                'name': text,
                'y': names_of(models),
                'x': [m['errors']['kinds'][kind] / pixels_of(m) for m in models],
                'marker': {
                    'color': f'rgb{ERROR_COLOURS[kind]}',
                    'line': {'color': GREY, 'width': 1},
                },
                'hovertemplate': '%{y}: %{x:.2%}<extra>' + text + '</extra>',
            }
        )
    axis = {'title': {'text': 'share of labelled pixels'}, **PERCENT}
    layout = rows_layout(len(models), 1, axis) | {'barmode': 'stack'}
    layout |= {'height': 175 + 40 * len(models), 'showlegend': True}
    return chart(
        'error-kinds',
        'Kinds of errors',
        'Wrong pixels of all labelled pixels: an object taken for background, '
        'background taken for an object, and one class of objects for another.',
        {'data': traces, 'layout': layout},
        csv='scores.csv',
    )


def border_chart(models: Models, near: int) -> Chart:
    """Share of the errors within a distance of a true border."""
    every = np.array(models[0]['errors']['pixels_by_distance'], float)
    steps = list(range(1, len(every)))
    series = [('all labelled pixels', every, GREY, 'dot')]
    for number, (name, model) in enumerate(zip(names_of(models), models, strict=True)):
        wrong = np.array(model['errors']['wrong_by_distance'], float)
        series.append((f'errors of {name}', wrong, *style(number)))
    traces = []
    for name, counts, colour, dash in series:
        if counts.sum():  # A model without errors has them nowhere.
            values = np.cumsum(counts)[:-1] / counts.sum()
            traces.append(line(name, steps, values.tolist(), colour, dash))
    mark = {'type': 'line', 'x0': near, 'x1': near, 'yref': 'paper', 'y0': 0, 'y1': 1}
    layout = {
        'height': 340,
        'xaxis': {'title': {'text': 'closer than … pixels to a true border'}},
        'yaxis': {**PERCENT, 'title': {'text': 'share'}},
        'shapes': [{**mark, 'line': {'color': GREY, 'dash': 'dot', 'width': 1}}],
    }
    return chart(
        'borders',
        'Errors near borders',
        f'Wrong pixels by distance from the nearest true border; the upright line is '
        f'at {near} px. Above the grey line, errors gather at borders.',
        {'data': traces, 'layout': layout},
        csv='borders.csv',
    )


def object_chart(models: Models) -> Chart:
    """How many true objects of each size were found."""
    rows = [
        (name, row)
        for place in range(len(SIZES))
        for name, m in zip(names_of(models), models, strict=True)
        for row in m['objects'][place : place + 1]
    ]
    shown: list = [f'{row["size"]} ({row["objects"]:,})' for _, row in rows]
    if len(models) > 1:
        # Two rows of labels: the size, then the model.
        shown = [shown, [name for name, _ in rows]]
    colours = (SERIES[0], SERIES[1], SERIES[3])
    traces = [
        {
            'type': 'bar',
            'orientation': 'h',
            'name': outcome,
            'y': shown,
            'x': [r[outcome] / r['objects'] if r['objects'] else 0 for _, r in rows],
            'customdata': [r[outcome] for _, r in rows],
            'marker': {'color': colour, 'pattern': hatch(place)},
            'hovertemplate': '%{y}: %{customdata:,} (%{x:.0%})<extra>'
            + f'{outcome}</extra>',
        }
        for place, (outcome, colour) in enumerate(zip(OUTCOMES, colours, strict=True))
    ]
    axis = {'title': {'text': 'share of the objects of a size'}, **PERCENT}
    layout = rows_layout(len(rows), 1, axis)
    kind = 'multicategory' if len(models) > 1 else 'category'
    layout['yaxis'] = {'autorange': 'reversed', 'type': kind}
    layout |= {'barmode': 'stack', 'showlegend': True, 'height': 145 + 27 * len(rows)}
    return chart(
        'object-sizes',
        'Objects found, by size',
        'True objects (connected regions of one class, in brackets how many) by area: '
        f'{size_texts()}. Found: at least half of the pixels have the right class; '
        'otherwise what more of them were taken for.',
        {'data': traces, 'layout': layout},
        csv='object_sizes.csv',
    )


def object_error_chart(models: Models) -> Chart:
    """Where wrong pixels lie: in objects of which size, or in the background."""
    sizes = [f'{name} objects' for name, _ in SIZES] + ['background']

    every = _shares(models[0], 'pixel_share')
    traces = [bars(-1, 'all labelled pixels', every, sizes)]
    traces[0]['marker'] = {'color': GREY}
    for number, (name, model) in enumerate(zip(names_of(models), models, strict=True)):
        wrong = _shares(model, 'error_share')
        traces.append(bars(number, f'errors of {name}', wrong, sizes))
    axis = {'title': {'text': 'share of pixels'}, **PERCENT}
    layout = rows_layout(len(sizes), len(traces), axis)
    return chart(
        'object-errors',
        'Where the wrong pixels lie',
        'Wrong pixels by the true object that they lie in, of all wrong pixels; beside '
        'them all labelled pixels. A longer bar than the grey one: worse than average.',
        {'data': traces, 'layout': layout},
        csv='object_sizes.csv',
    )


def _shares(model: Mapping, key: str) -> list[float | None]:
    """Return shares by size, and what is left for the background."""
    shares = [row[key] for row in model['objects']]
    if None in shares:  # Shares of nothing.
        return [None] * (len(shares) + 1)
    return [*shares, max(0.0, 1 - sum(shares))]


def names_of(models: Models) -> list[str]:
    """Return the models' names for axes and legends, no two alike."""
    return labels(model['name'] for model in models)


def pixels_of(model: Mapping) -> int:
    """Return how many labelled pixels there are."""
    return max(1, sum(model['errors']['pixels_by_distance']))


def kind_texts() -> list[str]:
    """Return what ``KINDS`` mean, in their order."""
    return ['missed object', 'invented object', 'class confused']


def size_texts() -> str:
    """Return the limits of ``SIZES`` in words."""
    texts = [f'{name} from {least:,} px' for name, least in SIZES[1:]]
    return f'{SIZES[0][0]} below {SIZES[1][1]:,} px, ' + ', '.join(texts)


def known(value: float | None) -> bool:
    return value is not None


def by_class(held: Sequence[int], num_classes: int) -> dict[str, Any]:
    """Return bars in the colours of the data set, with a line around black ones."""
    colours = class_colours(num_classes)
    return {
        'color': [colours[i] for i in held],
        'line': {'color': GREY, 'width': 1},
    }


def style(number: int) -> tuple[str, str]:
    """Return colour and dash of a model's lines."""
    return SERIES[number % len(SERIES)], DASHES[number % len(DASHES)]


def hatch(number: int) -> dict[str, str]:
    """Return the pattern of a model's bars."""
    return {'shape': PATTERNS[number % len(PATTERNS)], 'fillmode': 'overlay'}


def spread(values: Sequence, ends: Sequence) -> dict[str, Any]:
    """Return Plotly's error bar between both ``ends`` of each value."""
    pairs = [
        (end[1] - value, value - end[0]) if end and known(value) else (0, 0)
        for value, end in zip(values, ends, strict=True)
    ]
    return {
        'type': 'data',
        'symmetric': False,
        'array': [up for up, _ in pairs],
        'arrayminus': [down for _, down in pairs],
        'thickness': 1.5,
        'width': 4,
        'color': GREY,
    }


def bars(number: int, name: str, values: list, shown: list[str]) -> dict[str, Any]:
    """Return horizontal bars of one model; all texts are labels."""
    return {
        'type': 'bar',
        'orientation': 'h',
        'name': name,
        'x': values,
        'y': shown,
        'marker': {
            'color': SERIES[number % len(SERIES)],
            'pattern': hatch(number),
        },
        'hovertemplate': '%{y}: %{x:.1%}<extra>' + name + '</extra>',
    }


def line(
    name: str, x: Sequence, y: Sequence, colour: str, dash: str, mode: str = 'lines'
) -> dict[str, Any]:
    """Return one line of a chart."""
    return {
        'type': 'scatter',
        'mode': mode,
        'name': name,
        'x': list(x),
        'y': list(y),
        'line': {'color': colour, 'dash': dash, 'width': 2},
    }


def rows_layout(rows: int, series: int, axis: Mapping) -> dict[str, Any]:
    """Return the layout of horizontal bars, a row each, the first on top."""
    return {
        'height': 90 + rows * (16 + 11 * series),
        'barmode': 'group',
        'xaxis': dict(axis),
        'yaxis': {'autorange': 'reversed', 'type': 'category', 'tickmode': 'linear'},
        'showlegend': series > 1,
        'legend': {'traceorder': 'normal'},
    }
