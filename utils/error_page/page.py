"""What the page of a report shows beside charts and tables."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmsegmentation.command import InputError
from mmsegmentation.files import read_json, sha256_of
from mmsegmentation.predictions import MARKER, Predictions
from utils.error_page.curve_charts import pair_figure
from utils.error_page.sources import Sources, short_names
from utils.error_page.summary import Summary
from utils.error_page.tables import image_values
from utils.lineage import entry_of
from utils.page import Gallery, class_colours

PICTURES = 'pictures'
# Of predictions.json: shown elsewhere, or too long.
NOT_SHOWN = ('classes', 'images', 'members', 'accuracy')
# Votes of votes of votes: further down nobody reads.
DEEPEST = 4


def make_gallery(summary: Summary) -> Gallery:
    """Return all images with their layers, to be filtered and sorted."""
    several = len(summary.models) > 1
    sorts: dict[str, str] = {}
    layers: dict[str, str] = {}
    if summary.labelled:
        layers['truth'] = 'truth'
    for model in summary.models:
        of = f' of {model.name}' if several else ''
        if summary.labelled:
            sorts |= {
                f'miou{model.place}': f'mIoU{of}',
                f'wrong{model.place}': f'share of wrong pixels{of}',
            }
            layers[f'errors{model.place}'] = f'errors{of}'
        if model.levels is not None:
            sorts[f'sure{model.place}'] = f'mean confidence{of}'
        layers[f'predicted{model.place}'] = f'prediction{of}'
    names = zip(summary.classes, class_colours(len(summary.classes)), strict=True)
    what = 'true' if summary.labelled else 'predicted'
    first = '' if summary.labelled or not several else f' by {summary.models[0].name}'
    return Gallery(
        key='gallery',
        caption=f'All {len(summary.images):,} images. A class chooses the images that '
        f'have it, as {what}{first}.',
        items=make_items(summary),
        classes=list(names),
        sorts=sorts,
        layers=layers,
        decimals=dict.fromkeys(sorts, 3),
    )


def make_items(summary: Summary) -> list[dict[str, Any]]:
    """Return the gallery's items, in the order of ``summary.images``."""
    items = []
    first = summary.models[0]
    for number, image in enumerate(summary.images):
        keys = [f'predicted{model.place}' for model in summary.models]
        if image.labelled:
            keys += ['truth', *(f'errors{model.place}' for model in summary.models)]
        pixels = image.models[0].predicted
        if image.scored:
            pixels = first.confusion_of(image.models[0]).sum(1)
        values: dict[str, float] = {}
        for model in summary.models:
            for key, value in zip(
                ('miou', 'wrong', 'sure'), image_values(image, model), strict=True
            ):
                if value is not None:
                    values[f'{key}{model.place}'] = round(value, 3)
        total = max(int(pixels.sum()), 1)
        items.append(
            {
                'name': image.image_id,
                'photo': f'{PICTURES}/photo/{number}.jpg',
                'size': list(image.size),
                'layers': {key: f'{PICTURES}/{key}/{number}.png' for key in keys},
                'classes': {
                    str(i): round(int(pixels[i]) / total, 5)
                    for i in pixels.nonzero()[0]
                },
                'values': values,
            }
        )
    return items


def make_data(summary: Summary, content: Mapping[str, Any]) -> dict[str, Any]:
    """Return what ``report.js`` reads beside the gallery.

    ``cells`` holds, by model and image, index and pixels of each cell of the confusion
    matrix in turn; ``pairs`` the comparison of every two models, both ways round.
    """
    data: dict[str, Any] = {
        'models': [model.name for model in summary.models],
        'classes': list(summary.classes),
        'labelled': bool(summary.labelled),
    }
    if not summary.labelled:
        return data
    data['confusion'] = [model['confusion'] for model in content['models']]
    data['cells'] = [
        [_cells(image.models[model.place]) for image in summary.images]
        for model in summary.models
    ]
    data['pairs'] = {}
    places = {model.name: model.place for model in summary.models}
    for pair in content['comparisons']:
        one, two = places[pair['one']], places[pair['two']]
        for key, sign in ((f'{one}-{two}', 1), (f'{two}-{one}', -1)):
            data['pairs'][key] = {
                'figure': pair_figure(pair, sign),
                'texts': [_say(pair[k], sign) for k in ('mIoU', 'mIoU_image')],
            }
    return data


def _cells(prediction: Any) -> list[int]:
    pairs = zip(prediction.cells.tolist(), prediction.pixels.tolist(), strict=True)
    return [number for pair in pairs for number in pair]


def _say(gain: Mapping[str, Any], sign: int) -> list[str]:
    low, high = sorted(sign * end for end in gain['interval'])
    # Draws in which both are equal are nobody's.
    ahead = gain['better' if sign > 0 else 'worse']
    return [
        _points(sign * gain['difference']),
        f'{_points(low)} to {_points(high)}',
        f'{ahead:.0%}',
    ]


def _points(share: float) -> str:
    """Return a difference in points.

    >>> _points(0.123), _points(-0.00001)
    ('+12.30', '+0.00')
    """
    return f'{round(100 * share, 2) + 0.0:+.2f}'


def provenance(name: str, predictions: Predictions) -> dict[str, Any]:
    """Return where a prediction folder comes from, its members' folders included.

    Returns:
        ``name``, ``facts`` (pairs of texts) and ``members`` (of the same kind).
    """
    told = entry_of(predictions.folder, predictions.origin)
    return {**_told(told, 0), 'name': name}


def _told(told: Mapping[str, Any], depth: int) -> dict[str, Any]:
    """Return what is told of predictions, and whether they are still there."""
    folder = Path(str(told.get('folder', '')))
    facts = [
        (str(key).replace('_', ' '), _text(value))
        for key, value in told.items()
        if key not in NOT_SHOWN
    ]
    if depth and (now := _change(folder, told.get('predictions_sha256'))):
        facts.append(('now', now))
    members = told.get('members')
    held = members if isinstance(members, list) and depth < DEEPEST else []
    entries = [e if isinstance(e, dict) else {'folder': e} for e in held]
    names = _member_names([str(entry.get('folder', '')) for entry in entries])
    return {
        'facts': facts,
        'members': [
            {'name': name, **_told(entry, depth + 1)}
            for name, entry in zip(names, entries, strict=True)
        ],
    }


def _member_names(folders: list[str]) -> list[str]:
    """Return short names that tell members apart; of one folder, the whole path."""
    if len(set(folders)) < len(folders):
        return folders
    return short_names([Path(folder) for folder in folders])


def _change(folder: Path, sha256: Any) -> str | None:
    if sha256 is None:
        return None
    try:
        same = sha256_of(folder / MARKER) == sha256
    except (OSError, ValueError):
        return 'the folder is not there any more'
    return None if same else 'the folder holds other predictions than those used'


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ', '.join(f'{key} {_text(item)}' for key, item in value.items())
    if isinstance(value, list):
        return ' '.join(map(_text, value)) or 'none'
    if isinstance(value, bool):
        return 'yes' if value else 'no'
    return 'none' if value is None else str(value)


def pseudo_labels(sources: Sources) -> dict[str, Any] | None:
    """Return where the data root's pseudo labels come from; None where it has none.

    Raises:
        InputError: ``pseudo.json`` is damaged.
    """
    path = sources.root / 'pseudo/pseudo.json'
    if not path.is_file():
        return None
    content = read_json(path)
    try:
        every = zip(*(content[k] for k in _PSEUDO), strict=True)
        rows = [list(row) for row in every if row[2] or row[3]]
        facts = [
            ('round', str(content['round'])),
            ('images', f'{len(content["images"]):,}'),
            ('left out', f'{len(content["dropped"]):,}'),
            *(
                (key.replace('_', ' '), _text(value))
                for key, value in content['predictions'].items()
                if key not in NOT_SHOWN
            ),
        ]
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise InputError(
            path, f'damaged ({error!r})', 'make the labels again'
        ) from None
    held = [row[0] for row in rows]
    without = [name for name in content['classes'] if name not in held]
    return {'facts': facts, 'rows': rows, 'without': without}


_PSEUDO = ('classes', 'thresholds', 'kept_pixels', 'kept_share')
