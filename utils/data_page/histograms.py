"""Charts of how images and objects spread: sizes, counts, brightness."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from utils.data_page.statistics import PartStatistics
from utils.page import SERIES

# Of one look and one symbol each, so that no part is told by its colour alone.
PART_LOOKS = {
    'train': (SERIES[0], 'circle', 'solid'),
    'valid': (SERIES[1], 'diamond', 'dash'),
    'test': (SERIES[3], 'square', 'dot'),
    'pseudo': (SERIES[2], 'triangle-up', 'dashdot'),
}


def area_histogram(areas: np.ndarray) -> go.Figure:
    """Return how many objects have which area, in bins that double."""
    edges = 2 ** np.arange(0, max(int(areas.max(initial=1)), 2).bit_length() + 1)
    counts = np.histogram(areas, np.append(edges, np.inf))[0][: len(edges) - 1]
    ranges = [
        f'{low:,} to {high - 1:,} pixels'
        for low, high in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)
    ]
    bars = go.Bar(
        x=list(range(len(counts))),
        y=counts.tolist(),
        marker={'color': SERIES[0]},
        customdata=ranges,
        hovertemplate='%{customdata}: %{y:,} pieces<extra></extra>',
    )
    every = range(0, len(counts), 2)
    axis = {
        'title': {'text': 'area from, in pixels (each bar to twice that)'},
        'tickvals': list(every),
        'ticktext': [_short(int(edges[i])) for i in every],
    }
    return go.Figure(
        bars,
        {'height': 320, 'xaxis': axis, 'yaxis': {'title': {'text': 'pieces'}}},
    )


def _short(number: int) -> str:
    for power, letter in ((20, 'M'), (10, 'k')):
        if number >= 1 << power:
            return f'{number >> power}{letter}'
    return str(number)


def count_lines(
    counts: Mapping[str, Sequence[int]], unit: str, most: int = 40
) -> go.Figure:
    """Return the share of images with 0, 1, 2 ... of something, by part.

    Args:
        most: Larger counts share the last bar.
    """
    highest = min(max((max(v, default=0) for v in counts.values()), default=0), most)
    bars = []
    for part, values in counts.items():
        held = np.bincount(np.minimum(values, highest), minlength=highest + 1)
        bars.append(
            go.Bar(
                x=list(range(highest + 1)),
                y=(held / max(len(values), 1)).tolist(),
                name=part,
                marker={'color': PART_LOOKS[part][0]},
                customdata=held.tolist(),
                hovertemplate=(
                    f'%{{x}} {unit}, {part}: %{{customdata:,}} images (%{{y:.1%}})'
                    '<extra></extra>'
                ),
            )
        )
    text = f'{unit} in an image'
    if highest == most:
        text += f' ({most}: or more)'
    return go.Figure(bars, _share_layout(text) | {'showlegend': len(bars) > 1})


def _share_layout(title: str) -> dict[str, Any]:
    return {
        'height': 320,
        'xaxis': {'title': {'text': title}},
        'yaxis': {'title': {'text': 'share of images'}, 'tickformat': '.0%'},
    }


def brightness_lines(values: Mapping[str, Sequence[float]]) -> go.Figure:
    """Return the share of images by mean luma, by part, in bins of 8."""
    edges = np.arange(0, 257, 8)
    lines = []
    for part, numbers in values.items():
        counts = np.histogram(numbers, edges)[0]
        colour, _, dash = PART_LOOKS[part]
        lines.append(
            go.Scatter(
                x=(edges[:-1] + 4).tolist(),
                y=(counts / max(len(numbers), 1)).tolist(),
                name=part,
                mode='lines',
                line={'color': colour, 'dash': dash, 'shape': 'hvh', 'width': 2},
                customdata=counts.tolist(),
                hovertemplate=(
                    f'about %{{x}}, {part}: %{{customdata:,}} images<extra></extra>'
                ),
            )
        )
    layout = _share_layout('mean brightness, 0 (black) to 255 (white)')
    layout['xaxis'] |= {'range': [0, 256], 'tickvals': list(range(0, 257, 64))}
    return go.Figure(lines, layout | {'showlegend': len(lines) > 1})


def size_bubbles(parts: Mapping[str, PartStatistics]) -> go.Figure:
    """Return image widths and heights; a bubble's area is the number of images."""
    most = max(max(part.sizes.values(), default=1) for part in parts.values())
    bubbles = [
        go.Scatter(
            x=[width for width, _ in part.sizes],
            y=[height for _, height in part.sizes],
            mode='markers',
            name=name,
            marker={
                'size': list(part.sizes.values()),
                'sizemode': 'area',
                'sizeref': 2 * most / 24**2,
                'sizemin': 5,
                'color': PART_LOOKS[name][0],
                'symbol': PART_LOOKS[name][1],
                'opacity': 0.6,
            },
            customdata=list(part.sizes.values()),
            hovertemplate=(
                f'%{{x}} x %{{y}} pixels, {name}: %{{customdata:,}} images'
                '<extra></extra>'
            ),
        )
        for name, part in parts.items()
        if part.images
    ]
    axis = {'rangemode': 'tozero', 'nticks': 6}
    return go.Figure(
        bubbles,
        {
            'height': 320,
            'xaxis': axis | {'title': {'text': 'width, in pixels'}},
            'yaxis': axis | {'title': {'text': 'height, in pixels'}},
            'showlegend': len(bubbles) > 1,
            'legend': {'itemsizing': 'constant'},
        },
    )
