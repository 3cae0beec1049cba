"""More charts of a report: calibration, two models against each other, training."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from utils.error_page.calibration import BINS, LEVELS
from utils.error_page.charts import (
    GREY,
    PERCENT,
    Models,
    line,
    names_of,
    rows_layout,
    style,
)
from utils.page import SERIES, Chart, chart, label, labels

Curves = Mapping[str, Mapping[str, Sequence[tuple[float, float | None]]]]
# Of a log: what is drawn first, and under which heading.
HEADINGS = {
    'loss': 'Loss in training',
    'val_loss': 'Loss in validation, mean over images',
    'mIoU': 'Validation mIoU, pooled pixels (%)',
    'mIoU_image': 'Validation mIoU, mean over images (%)',
    'mAcc': 'Validation accuracy, mean over classes (%)',
    'lr': 'Learning rate',
    'grad_norm': 'Norm of the gradient',
}


def reliability_chart(models: Models) -> Chart | None:
    """Share of right pixels against confidence; None where no model wrote any."""
    traces = [line('right as often as sure', [0, 1], [0, 1], GREY, 'dot')]
    for number, (name, model) in enumerate(zip(names_of(models), models, strict=True)):
        curve = model['calibration']
        if not curve:
            continue
        trace = line(
            f'{name} (ECE {curve["ece"]:.3f})',
            curve['confidence'],
            curve['accuracy'],
            *style(number),
            mode='lines+markers',
        )
        trace['customdata'] = curve['pixels']
        trace['connectgaps'] = True
        trace['hovertemplate'] = (
            'confidence %{x:.3f}, right %{y:.3f}, %{customdata:,} pixels'
            f'<extra>{name}</extra>'
        )
        traces.append(trace)
    if len(traces) == 1:
        return None
    axis = {'range': [0, 1.02], 'dtick': 0.2}
    layout = {
        'height': 380,
        'xaxis': {**axis, 'title': {'text': 'mean confidence'}},
        'yaxis': {**axis, 'title': {'text': 'share of right pixels'}},
    }
    return chart(
        'reliability',
        'Reliability',
        f'Labelled pixels in {BINS} bins of confidence of equal width: mean confidence '
        'and the share that is right. Below the grey line: surer than right. ECE is '
        'the mean distance from that line over all pixels.',
        {'data': traces, 'layout': layout},
        csv='calibration.csv',
    )


def confidence_chart(named: Mapping[str, np.ndarray], labelled: bool) -> Chart | None:
    """How sure each model is; None where no model wrote confidence.

    Args:
        named: Pixels by confidence, (LEVELS,), by the name of the model.
        labelled: Whether only labelled pixels were counted.
    """
    if not named:
        return None
    width = LEVELS // 16
    centres = [(place + 0.5) / 16 for place in range(16)]
    traces = []
    shown = zip(labels(named), named.values(), strict=True)
    for number, (name, levels) in enumerate(shown):
        counts = levels.reshape(16, width).sum(1) / max(levels.sum(), 1)
        trace = line(name, centres, counts.tolist(), *style(number))
        trace['line']['shape'] = 'hvh'
        trace['hovertemplate'] = (
            f'confidence %{{x:.2f}}: %{{y:.1%}}<extra>{name}</extra>'
        )
        traces.append(trace)
    layout = {
        'height': 380,
        'xaxis': {'range': [0, 1], 'title': {'text': 'confidence'}},
        'yaxis': {**PERCENT, 'title': {'text': 'share of pixels'}},
        'showlegend': True,
    }
    return chart(
        'confidence',
        'How sure',
        f'{"Labelled" if labelled else "All"} pixels by confidence, the probability of '
        'the predicted class, in 16 bins of equal width.',
        {'data': traces, 'layout': layout},
        csv='confidence.csv',
    )


def image_chart(
    one: str, two: str, points: Sequence[tuple[str, float, float]]
) -> Chart:
    """Each image's mIoU under one model and under another.

    Args:
        points: Image id and both scores.
    """
    traces = [
        line('equal', [0, 1], [0, 1], GREY, 'dot'),
        {
            'type': 'scatter',
            'mode': 'markers',
            'name': 'image',
            'x': [point[1] for point in points],
            'y': [point[2] for point in points],
            'text': [label(point[0], 60) for point in points],
            'marker': {'size': 7, 'opacity': 0.8, 'color': SERIES[0]},
            'hovertemplate': '%{text}<br>%{x:.3f} → %{y:.3f}<extra></extra>',
        },
    ]
    axis = {'range': [-0.02, 1.02], 'dtick': 0.2}
    first, second = labels((one, two))
    layout = {
        'height': 420,
        'xaxis': {**axis, 'title': {'text': f'mIoU of {first}'}},
        'yaxis': {**axis, 'title': {'text': f'mIoU of {second}'}},
        'showlegend': False,
    }
    return chart(
        'pair-images',
        'Image by image',
        'Each point is an image: its own mIoU under the first model and under the '
        'second. Above the grey line the second is better; a click shows the image.',
        {'data': traces, 'layout': layout},
        csv='images.csv',
    )


def pair_chart(figure: dict) -> Chart:
    """Difference of IoU by class between two models."""
    return chart(
        'pair-classes',
        'Class by class',
        'IoU of the second model minus that of the first, in points, with 95 % '
        'intervals paired by image. Right of 0 the second model is better. If an '
        'interval contains 0, the difference may be chance.',
        figure,
        csv='comparisons.csv',
    )


def pair_figure(pair: Mapping[str, Any], sign: int) -> dict:
    """Return the figure of ``pair_chart``.

    Args:
        pair: Of ``comparisons``.
        sign: -1 turns it round.
    """
    rows = [('mIoU', pair['mIoU']), ('mIoU, mean over images', pair['mIoU_image'])]
    rows += pair['IoU'].items()
    kept = [(n, g) for n, g in rows if g and g['difference'] is not None]
    # Never -0, which would be shown so.
    values = [sign * 100 * gain['difference'] + 0.0 for _, gain in kept]
    ends = [[sign * 100 * end for end in gain['interval']] for _, gain in kept]
    trace = {
        'type': 'scatter',
        'mode': 'markers',
        'x': values,
        'y': labels(name for name, _ in kept),
        'marker': {'size': 10, 'color': SERIES[0]},
        'error_x': {
            'type': 'data',
            'symmetric': False,
            'array': [max(e) - v for e, v in zip(ends, values, strict=True)],
            'arrayminus': [v - min(e) for e, v in zip(ends, values, strict=True)],
            'thickness': 1.5,
            'width': 4,
            'color': GREY,
        },
        'hovertemplate': '%{y}: %{x:+.1f} points<extra></extra>',
    }
    layout = rows_layout(len(kept), 1, {'title': {'text': 'points of IoU'}})
    layout['xaxis']['zerolinewidth'] = 2
    layout['height'] += 40
    return {'data': [trace], 'layout': layout}


def curve_charts(curves: Curves) -> list[Chart]:
    """Return one chart for each curve that a log holds.

    Args:
        curves: By model and name of the curve, (step, value).
    """
    names = list(dict.fromkeys(name for held in curves.values() for name in held))
    charts = []
    for name in [n for n in HEADINGS if n in names]:
        traces = []
        shown = zip(labels(curves), curves.values(), strict=True)
        for number, (model, held) in enumerate(shown):
            points = held.get(name, ())
            if not points:
                continue
            steps, values = zip(*points, strict=True)
            mode = 'lines+markers' if len(points) < 30 else 'lines'
            trace = line(model, steps, values, *style(number), mode=mode)
            traces.append(trace)
        layout = {
            'height': 300,
            'xaxis': {'title': {'text': 'step'}, 'rangemode': 'tozero'},
            # As in a config: 4e-4, not 400µ.
            'yaxis': {'rangemode': 'tozero', 'exponentformat': 'e'},
            'showlegend': len(curves) > 1,
        }
        charts.append(
            chart(
                f'curve-{name.replace("_", "-")}',
                HEADINGS[name],
                f'“{name}” of the log, by step of training.',
                {'data': traces, 'layout': layout},
                csv='curves.csv',
            )
        )
    return charts
