"""Charts with a line or a map for each class: Plotly figures of counts."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from utils.data_page.histograms import PART_LOOKS
from utils.data_page.statistics import PartStatistics, position_maps
from utils.page import SERIES, class_colours, label, shorten

OUTLINE = {'color': '#888888', 'width': 1}
SCALE = 'Cividis'
# More columns leave no room for a number in each.
MOST_WITH_TEXT = 14


def class_axis(names: Sequence[str]) -> dict[str, Any]:
    """Return an axis of classes, the first on top, whatever their names hold."""
    return {
        'tickvals': list(range(len(names))),
        'ticktext': [label(name, 20) for name in names],
        'range': [len(names) - 0.5, -0.5],
        'showgrid': False,
    }


def class_height(count: int, each: int = 24) -> int:
    """Return the height of a chart with one line per class, in pixels."""
    return 90 + each * count


def class_bars(
    names: Sequence[str],
    ids: Sequence[int],
    values: np.ndarray,
    unit: str,
    num_classes: int,
) -> go.Figure:
    """Return a bar per class in its colour, with its number and share.

    Args:
        ids: Classes shown.
        values: Counts by class id; shares are of the sum over ``ids``.
        unit: What is counted, as in ``'12 objects'``.
    """
    colours = class_colours(num_classes)
    shown = [names[i] for i in ids]
    counts = values[list(ids)]
    total = max(int(counts.sum()), 1)
    texts = [f'{count:,} ({count / total:.1%})' for count in counts.tolist()]
    bars = go.Bar(
        x=counts.tolist(),
        y=list(range(len(ids))),
        orientation='h',
        marker={'color': [colours[i] for i in ids], 'line': OUTLINE},
        text=texts,
        textposition='outside',
        cliponaxis=False,
        customdata=[label(name, 60) for name in shown],
        hovertemplate=f'%{{customdata}}: %{{x:,}} {unit}<extra></extra>',
    )
    # Room for the text beside the longest bar.
    longest = max(float(counts.max(initial=0)), 1) * 1.55
    return go.Figure(
        bars,
        {
            'height': class_height(len(ids)),
            'xaxis': {'title': {'text': unit}, 'range': [0, longest], 'nticks': 5},
            'yaxis': class_axis(shown),
        },
    )


def part_dots(
    names: Sequence[str], shares: Mapping[str, np.ndarray], unit: str
) -> go.Figure:
    """Return shares per class of several parts side by side, on a log scale.

    Args:
        shares: By part, in [0, 1], one per name; a share of 0 is not drawn.
    """
    dots = []
    for place, (part, values) in enumerate(shares.items()):
        colour, symbol, _ = PART_LOOKS.get(part, tuple(PART_LOOKS.values())[place % 4])
        dots.append(
            go.Scatter(
                x=[value if value > 0 else None for value in values.tolist()],
                y=list(range(len(names))),
                mode='markers',
                name=part,
                marker={'color': colour, 'symbol': symbol, 'size': 11, 'opacity': 0.85},
                customdata=[label(name, 60) for name in names],
                hovertemplate=f'%{{customdata}}, {part}: %{{x:.3%}}<extra></extra>',
            )
        )
    ticks = share_ticks(
        [v for values in shares.values() for v in values.tolist() if v > 0]
    )
    return go.Figure(
        dots,
        {
            'height': class_height(len(names), 28) + 30,
            'xaxis': {
                'type': 'log',
                'title': {'text': unit},
                'tickvals': ticks,
                'tickformat': '~%',
                'range': [math.log10(ticks[0]) - 0.1, math.log10(ticks[-1]) + 0.1],
            },
            'yaxis': class_axis(names) | {'showgrid': True},
        },
    )


def share_ticks(shares: Sequence[float]) -> list[float]:
    """Return the ticks of a log axis around shares: 1, 2, 5 times a power of ten.

    Over three powers and more, the powers alone.

    >>> share_ticks([0.03, 0.4])
    [0.02, 0.05, 0.1, 0.2, 0.5]
    >>> share_ticks([0.0002, 0.4])
    [0.0001, 0.001, 0.01, 0.1, 1.0]
    """
    low, high = min(shares, default=0.01), max(shares, default=1.0)
    steps = (1, 2, 5) if high < 1000 * low else (1,)
    # From text, for powers of 0.1 are not what they are called.
    first = math.floor(math.log10(low))
    ticks = [float(f'{m}e{power}') for power in range(first, 1) for m in steps]
    ticks = [tick for tick in ticks if tick <= 1]
    below = [tick for tick in ticks if tick <= low]
    above = [tick for tick in ticks if tick >= high]
    return [t for t in ticks if below[-1] <= t <= above[0]]


def area_boxes(
    names: Sequence[str], part: PartStatistics, ids: Sequence[int]
) -> go.Figure:
    """Return a box of object areas per class: quartiles, 5 % and 95 % as whiskers."""
    colours = class_colours(part.num_classes)
    table = part.object_table
    boxes = []
    for place, number in enumerate(ids):
        areas = table[table[:, 0] == number, 1]
        if not len(areas):
            continue
        low, q1, median, q3, high = np.quantile(areas, (0.05, 0.25, 0.5, 0.75, 0.95))
        boxes.append(
            go.Box(
                y=[place],
                orientation='h',
                lowerfence=[low],
                q1=[q1],
                median=[median],
                q3=[q3],
                upperfence=[high],
                name=label(f'{names[number]} ({len(areas):,})', 60),
                fillcolor=colours[number],
                width=0.6,
                showlegend=False,
            )
        )
    shown = [names[i] for i in ids]
    axis = {'type': 'log', 'title': {'text': 'area, in pixels'}, 'dtick': 1}
    return go.Figure(
        boxes,
        {
            'height': class_height(len(ids), 26),
            'xaxis': axis,
            'yaxis': class_axis(shown),
        },
    )


def together_map(
    names: Sequence[str], part: PartStatistics, ids: Sequence[int]
) -> go.Figure:
    """Return, of the images that hold the row's class, the share with the column's."""
    shown = [label(names[i], 20) for i in ids]
    few = len(ids) <= MOST_WITH_TEXT
    tiles = _together_tiles(shown, part.together[np.ix_(ids, ids)], few)
    columns = {
        'tickvals': list(range(len(ids))),
        'ticktext': shown,
        'tickangle': -90,
        'showgrid': False,
        'side': 'bottom',
    }
    return go.Figure(
        tiles,
        {
            'height': 170 + 26 * len(ids),
            # Narrower columns have no room for their names: the page scrolls it.
            'width': None if few else 220 + 22 * len(ids),
            'xaxis': columns,
            'yaxis': class_axis([names[i] for i in ids]),
        },
    )


def _together_tiles(
    shown: Sequence[str], counts: np.ndarray, with_text: bool
) -> go.Heatmap:
    own = np.diagonal(counts)[:, None]
    shares = np.divide(counts, own, out=np.zeros(counts.shape), where=own > 0)
    texts = [[f'{100 * value:.0f}' for value in row] for row in shares.tolist()]
    return go.Heatmap(
        z=shares.tolist(),
        customdata=[
            [[a, b, count] for b, count in zip(shown, row, strict=True)]
            for a, row in zip(shown, counts.tolist(), strict=True)
        ],
        text=texts,
        texttemplate='%{text}' if with_text else None,
        textfont={'size': 10},
        colorscale=SCALE,
        zmin=0,
        zmax=1,
        xgap=1,
        ygap=1,
        colorbar={'tickformat': '.0%', 'thickness': 10, 'outlinewidth': 0},
        hovertemplate=(
            'of the images with %{customdata[0]}, %{z:.1%} hold %{customdata[1]} '
            '(%{customdata[2]:,} images)<extra></extra>'
        ),
    )


def place_panels(
    names: Sequence[str], part: PartStatistics, ids: Sequence[int]
) -> list[tuple[str, go.Figure]]:
    """Return a map per class: where in the image it lies, each on its own scale."""
    maps = position_maps(part)
    hidden = {'visible': False, 'fixedrange': True}
    panels = []
    for number in ids:
        tiles = go.Heatmap(
            z=maps[number].round(4).tolist(),
            colorscale=SCALE,
            zmin=0,
            zmax=max(float(maps[number].max()), 0.01),
            zsmooth='best',
            colorbar={
                'tickformat': '.0%',
                'thickness': 6,
                'nticks': 3,
                'tickangle': 0,
                'outlinewidth': 0,
                'orientation': 'h',
                'y': -0.02,
                'yanchor': 'top',
                'tickfont': {'size': 10},
            },
            hovertemplate='%{z:.1%}<extra></extra>',
        )
        layout = {
            'margin': {'l': 0, 'r': 0, 't': 4, 'b': 30},
            'xaxis': hidden,
            'yaxis': hidden | {'autorange': 'reversed'},
        }
        title = (
            f'{shorten(names[number], 24)} ({part.images_by_class[number]:,} images)'
        )
        panels.append((title, go.Figure(tiles, layout)))
    return panels


def changed_bars(names: Sequence[str], rows: Sequence[Mapping]) -> go.Figure:
    """Return the pixels that each class would lose and gain in the other order."""
    traces = []
    for key, colour, sign in (('lost', SERIES[1], -1), ('gained', SERIES[0], 1)):
        counts = [row[key] for row in rows]
        traces.append(
            go.Bar(
                x=[sign * count for count in counts],
                y=list(range(len(rows))),
                orientation='h',
                name=key,
                marker={'color': colour},
                customdata=[
                    [label(row['name'], 60), row[key], row[key] / max(row['pixels'], 1)]
                    for row in rows
                ],
                hovertemplate=(
                    f'%{{customdata[0]}}: %{{customdata[1]:,}} pixels {key} '
                    '(%{customdata[2]:.2%} of its own)<extra></extra>'
                ),
            )
        )
    return go.Figure(
        traces,
        {
            'height': class_height(len(rows)) + 30,
            'barmode': 'relative',
            'xaxis': {'title': {'text': 'pixels lost (left) and gained (right)'}},
            'yaxis': class_axis(names),
        },
    )
