"""The charts of a study, as Plotly's JSON."""

from collections.abc import Mapping, Sequence
from typing import Any

from utils.page import SERIES, Chart, chart, label, labels
from utils.study_page.content import TOP, Axis, StudyRecord, text_of

GREY = '#808080'
BLUE, ORANGE, RED = SERIES[0], SERIES[1], SERIES[5]
# A page of more lines than this is slow, and nobody tells them apart.
LINES = 200


def history_chart(study: StudyRecord) -> Chart:
    """The score of each trial, and the best so far."""
    traces = []
    for state, symbol, colour in (
        ('complete', 'circle', BLUE),
        ('pruned', 'x', ORANGE),
    ):
        shown = [(t, _score(t)) for t in study.of_state(state)]
        shown = [(trial, score) for trial, score in shown if score is not None]
        traces.append(
            {
                'type': 'scatter',
                'mode': 'markers',
                'name': state,
                'x': [trial['number'] for trial, _ in shown],
                'y': [score for _, score in shown],
                'text': [describe(study, trial) for trial, _ in shown],
                'marker': {'size': 9, 'symbol': symbol, 'color': colour},
                'hovertemplate': '%{text}<extra></extra>',
            }
        )
    points = study.best_so_far()
    traces.append(
        {
            'type': 'scatter',
            'mode': 'lines',
            'name': 'best so far',
            'x': [number for number, _ in points],
            'y': [value for _, value in points],
            'line': {'shape': 'hv', 'color': RED, 'width': 2},
            'hoverinfo': 'skip',
        }
    )
    layout = {
        'height': 380,
        'xaxis': {'title': {'text': 'trial'}, 'dtick': _tick(len(study.trials))},
        'yaxis': {'title': {'text': label(study.score)}},
        'showlegend': True,
    }
    return chart(
        'history',
        'History',
        f'Each trial by its number: a complete one by its best validation '
        f'{study.score}, a pruned one by its last.',
        {'data': traces, 'layout': layout},
        csv='trials.csv',
    )


def importance_chart(study: StudyRecord) -> Chart | None:
    """How much each value matters; None where nothing can be told yet."""
    shares = study.content['importances']
    if not shares:
        return None
    ordered = sorted(shares.items(), key=lambda pair: pair[1])
    trace = {
        'type': 'bar',
        'orientation': 'h',
        'y': labels(name for name, _ in ordered),
        'x': [share for _, share in ordered],
        'marker': {'color': BLUE},
        'hovertemplate': '%{y}: %{x:.0%}<extra></extra>',
    }
    layout = {
        'height': 90 + 30 * len(ordered),
        'xaxis': {
            'tickformat': '.0%',
            'rangemode': 'tozero',
            'title': {'text': 'share'},
        },
        'yaxis': {'type': 'category'},
        'showlegend': False,
    }
    count = len(study.of_state('complete'))
    return chart(
        'importances',
        'Importances',
        f'What sets the best tenth of the {count} complete trials apart from all of '
        'them (PED-ANOVA); the shares add up to 1. Of a few dozen trials it is a hint.',
        {'data': [trace], 'layout': layout},
    )


def parallel_chart(study: StudyRecord) -> Chart | None:
    """Parallel coordinates: a line through the values of each complete trial."""
    ranked = study.ranked
    if not ranked:
        return None
    axes = [*study.axes, study.score_axis]
    top = study.top
    groups = (
        ('others', ranked[len(top) :][:LINES], GREY, 1.2, 0.6),
        (f'best {TOP:.0%}', top[1:], BLUE, 2, 1),
        ('best', top[:1], RED, 3, 1),
    )
    traces = [
        _lines(study, axes, name, trials, (colour, width, opacity))
        for name, trials, colour, width, opacity in groups
        if trials
    ]
    notes = [
        {
            'x': place,
            'y': at,
            'text': label(text, 16),
            'showarrow': False,
            'xanchor': 'left' if place < len(axes) - 1 else 'right',
            'xshift': 5 if place < len(axes) - 1 else -5,
            'yshift': 8,
        }
        for place, axis in enumerate(axes)
        for at, text in axis.ends()
    ]
    layout = {
        'height': 460,
        'xaxis': {
            'tickvals': list(range(len(axes))),
            'ticktext': labels((axis.name for axis in axes), 18),
            'showgrid': True,
            'gridwidth': 2,
            'zeroline': False,
            'range': [-0.1, len(axes) - 0.9],
        },
        'yaxis': {'visible': False, 'range': [-0.06, 1.1]},
        'annotations': notes,
        'hovermode': 'closest',
    }
    return chart(
        'parallel',
        'Parallel coordinates',
        f'Each line is a complete trial: its values, and at the right its best '
        f'{study.score}.',
        {'data': traces, 'layout': layout},
        csv='trials.csv',
    )


def _lines(
    study: StudyRecord,
    axes: Sequence[Axis],
    name: str,
    trials: Sequence[Mapping[str, Any]],
    look: tuple[str, float, float],
) -> dict[str, Any]:
    colour, width, opacity = look
    x: list[float | None] = []
    y: list[float | None] = []
    texts: list[str | None] = []
    for trial in trials:
        # A gap between two trials: all of them are one trace.
        x += [*range(len(axes)), None]
        y += [*places(axes, trial), None]
        texts += [describe(study, trial)] * len(axes) + [None]
    return {
        'type': 'scatter',
        'mode': 'lines+markers',
        'name': name,
        'x': x,
        'y': y,
        'text': texts,
        'opacity': opacity,
        'line': {'color': colour, 'width': width},
        'marker': {'size': 5, 'color': colour},
        'hovertemplate': '%{text}<extra></extra>',
    }


def places(axes: Sequence[Axis], trial: Mapping[str, Any]) -> list[float]:
    """Return where a complete trial crosses each axis, the last that of its score."""
    *searched, score = axes
    found = [axis.place(trial['values'][axis.name]) for axis in searched]
    return [*found, score.place(trial['value'])]


def slice_chart(study: StudyRecord) -> Chart | None:
    """Each value against the score, one small panel for each."""
    complete = study.of_state('complete')
    if not complete:
        return None
    panels = []
    for axis in study.axes:
        values = [trial['values'][axis.name] for trial in complete]
        names = labels(map(text_of, axis.choices), 16)
        if axis.choices:
            values = [names[axis.choices.index(value)] for value in values]
        trace = {
            'type': 'scatter',
            'mode': 'markers',
            'x': values,
            'y': [trial['value'] for trial in complete],
            'text': [describe(study, trial) for trial in complete],
            'marker': {'size': 6, 'color': BLUE, 'opacity': 0.8},
            'hovertemplate': '%{text}<extra></extra>',
        }
        kind: dict[str, Any] = {'type': 'log', 'dtick': 1} if axis.log else {}
        if axis.choices:
            kind = {
                'type': 'category',
                'categoryorder': 'array',
                'categoryarray': names,
            }
        layout = {'xaxis': kind, 'yaxis': {'nticks': 5}, 'showlegend': False}
        panels.append((axis.name, {'data': [trace], 'layout': layout}))
    return chart(
        'slices',
        'Value by value',
        f'The complete trials: each searched value, and the {study.score} reached '
        'with it, whatever the other values were.',
        panels,
        csv='trials.csv',
    )


def curve_chart(study: StudyRecord) -> Chart | None:
    """The validation scores of each trial while it trained."""
    shown = [trial for trial in study.trials if trial['scores']][-LINES:]
    if not any(len(trial['scores']) > 1 for trial in shown):
        return None
    traces = []
    for state, colour in (('complete', BLUE), ('pruned', ORANGE)):
        x: list[int | None] = []
        y: list[float | None] = []
        texts: list[str | None] = []
        for trial in shown:
            if trial['state'] == state:
                count = len(trial['scores'])
                x += [*range(1, count + 1), None]
                y += [*trial['scores'], None]
                texts += [describe(study, trial)] * count + [None]
        traces.append(
            {
                'type': 'scatter',
                'mode': 'lines+markers',
                'name': state,
                'x': x,
                'y': y,
                'text': texts,
                'opacity': 0.75,
                'line': {'color': colour, 'width': 1.5},
                'marker': {'size': 5},
                'hovertemplate': '%{text}<extra></extra>',
            }
        )
    layout = {
        'height': 380,
        'xaxis': {
            'title': {'text': 'validation'},
            'dtick': _tick(max(len(trial['scores']) for trial in shown)),
        },
        'yaxis': {'title': {'text': label(study.score)}},
        'showlegend': True,
    }
    return chart(
        'curves',
        'Scores in training',
        f'The {study.score} of each validation; a pruned trial ends where it fell '
        'behind.',
        {'data': traces, 'layout': layout},
    )


def describe(study: StudyRecord, trial: Mapping[str, Any]) -> str:
    """Return a trial for the pointer: its number, score and values."""
    score = _score(trial)
    lines = [f'trial {trial["number"]}, {trial["state"]}']
    lines += [f'{label(study.score)} {score:.4f}'] if score is not None else []
    lines += [
        f'{label(name)} {label(text_of(value), 40)}'
        for name, value in trial['values'].items()
    ]
    return '<br>'.join(lines)


def _score(trial: Mapping[str, Any]) -> float | None:
    if trial['state'] == 'complete':
        return trial['value']
    return trial['scores'][-1] if trial['scores'] else None


def _tick(count: int) -> int:
    """Return a distance of whole numbers on an axis: ten or fewer are there."""
    steps = (1, 2, 5, 10, 20, 50, 100, 200)
    return next((step for step in steps if count <= 10 * step), 1000)
