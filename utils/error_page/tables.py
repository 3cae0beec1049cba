"""The tables of a report: in the page and, whole, as CSV files."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from utils.error_page.curve_charts import Curves
from utils.error_page.errors import KINDS, OUTCOMES, SIZES, outcome_of, size_of
from utils.error_page.summary import Model, Summary, mean_confidence, share
from utils.page import DASH, Table, class_colours
from utils.tables import write_csv

Rows = Iterable[Sequence[Any]]
BY_CLASS = ('IoU', 'Acc', 'Precision')
BORDER = (
    'near_border_share',
    'near_border_pixel_share',
    'error_rate_near',
    'error_rate_far',
)


def score_table(content: Mapping[str, Any]) -> Table:
    """Return the scores of the models, one row each."""
    columns = [
        'model', 'mIoU', '95 % interval', 'mIoU, mean over images', '95 % interval ',
        'mean accuracy', 'pixel accuracy', 'ECE', 'errors near borders',
        'small objects found',
    ]  # fmt: skip
    rows = []
    for model in content['models']:
        small = [r for r in model['objects'] if r['size'] in ('tiny', 'small')]
        count = sum(r['objects'] for r in small)
        found = sum(r['found'] for r in small)
        rows.append(
            [
                model['name'],
                model['mIoU'],
                _between(model['mIoU_interval']),
                model['mIoU_image'],
                _between(model['mIoU_image_interval']),
                model['mAcc'],
                model['aAcc'],
                (model['calibration'] or {}).get('ece'),
                model['errors']['near_border_share'],
                found / count if count else None,
            ]
        )
    shares = dict.fromkeys(columns[8:], '.1%')
    return Table(
        key='scores',
        caption=f'Scores over {content["labelled_images"]:,} labelled images. Near: '
        f'within {content["boundary_px"]} px of a true border. Small: objects below '
        f'{SIZES[2][1]:,} px.',
        columns=columns,
        rows=rows,
        formats=dict.fromkeys(columns, '.4f') | shares,
        csv='scores.csv',
    )


def class_table(content: Mapping[str, Any]) -> Table:
    """Return the scores of each class that occurs, one row by model and class."""
    classes, models = content['classes'], content['models']
    colours = class_colours(len(classes))
    several = len(models) > 1
    columns = ['class', *['model'] * several, 'IoU', 'accuracy', 'precision']
    columns += ['mean confidence', 'true pixels', 'predicted pixels']
    rows, swatches = [], []
    for i, name in enumerate(classes):
        for model in models:
            true = sum(model['confusion'][i])
            predicted = model['predicted_pixels'][i]
            if not true and not any(m['predicted_pixels'][i] for m in models):
                continue
            sure = (model['calibration'] or {}).get('by_class') or [None] * len(classes)
            shares = [model[key][i] for key in BY_CLASS]
            row = [name, *[model['name']] * several, *shares, sure[i], true, predicted]
            rows.append(row)
            swatches.append(colours[i])
    formats = {'true pixels': ',', 'predicted pixels': ','}
    return Table(
        key='classes-table',
        caption='Accuracy: share of the true pixels of a class that were predicted as '
        'it. Precision: share of the pixels predicted as it that are. Mean confidence '
        'above precision: surer than right.',
        columns=columns,
        rows=rows,
        formats=dict.fromkeys(columns, '.3f') | formats,
        colours=swatches,
        csv='classes.csv',
    )


def _between(ends: Sequence[float] | None) -> str | None:
    if not ends:
        return None
    # No line break within.
    return f'{ends[0]:.3f}\N{WORD JOINER}{DASH}\N{WORD JOINER}{ends[1]:.3f}'


def write_tables(
    folder: Path, summary: Summary, content: Mapping[str, Any], curves: Curves
) -> list[str]:
    """Write the CSV files; return their names."""
    tables = {'images.csv': image_rows(summary), 'confidence.csv': level_rows(summary)}
    if summary.labelled:
        tables |= {
            'scores.csv': score_rows(content),
            'confusion.csv': confusion_rows(content),
            'borders.csv': border_rows(content),
            'object_sizes.csv': size_rows(content),
            'objects.csv': object_rows(summary),
            'calibration.csv': calibration_rows(content),
        }
    if content['comparisons']:
        tables['comparisons.csv'] = comparison_rows(content)
    if curves:
        tables['curves.csv'] = curve_rows(curves)
    tables['classes.csv'] = class_rows(content)
    for name, rows in tables.items():
        write_csv(folder / name, rows)
    return sorted(tables)


def score_rows(content: Mapping[str, Any]) -> Rows:
    readings = 'mIoU', 'mIoU_image'
    names = [n for key in readings for n in (key, f'{key}_low', f'{key}_high')]
    yield ['model', *names, 'mAcc', 'aAcc', 'ece', 'wrong_pixels', *KINDS, *BORDER]
    for model in content['models']:
        errors = model['errors']
        scores = [v for k in readings for v in (model[k], *model[f'{k}_interval'])]
        yield [
            model['name'],
            *scores,
            model['mAcc'],
            model['aAcc'],
            (model['calibration'] or {}).get('ece'),
            errors['wrong_pixels'],
            *errors['kinds'].values(),
            *(errors[key] for key in BORDER),
        ]


def class_rows(content: Mapping[str, Any]) -> Rows:
    yield [
        'class', 'model', 'IoU', 'IoU_low', 'IoU_high', 'accuracy', 'precision',
        'true_pixels', 'predicted_pixels',
    ]  # fmt: skip
    for i, name in enumerate(content['classes']):
        for model in content['models']:
            scores: list = [None] * 6
            if 'IoU' in model:
                ends = model['IoU_interval'][i] or [None, None]
                scores = [model['IoU'][i], *ends, model['Acc'][i]]
                scores += [model['Precision'][i], sum(model['confusion'][i])]
            yield [name, model['name'], *scores, model['predicted_pixels'][i]]


def confusion_rows(content: Mapping[str, Any]) -> Rows:
    yield ['model', 'true', 'predicted', 'pixels']
    for model in content['models']:
        for true, row in zip(content['classes'], model['confusion'], strict=True):
            for predicted, pixels in zip(content['classes'], row, strict=True):
                yield [model['name'], true, predicted, pixels]


def border_rows(content: Mapping[str, Any]) -> Rows:
    yield ['model', 'distance_from', 'pixels', 'wrong_pixels']
    for model in content['models']:
        errors = model['errors']
        counts = errors['pixels_by_distance'], errors['wrong_by_distance']
        for distance, pair in enumerate(zip(*counts, strict=True)):
            yield [model['name'], distance, *pair]


def size_rows(content: Mapping[str, Any]) -> Rows:
    yield ['model', *content['models'][0]['objects'][0]]
    for model in content['models']:
        for row in model['objects']:
            yield [model['name'], *row.values()]


def object_rows(summary: Summary) -> Rows:
    names = [model.name for model in summary.models]
    yield ['image', 'class', 'area', 'left', 'top', 'width', 'height', 'size', *names]
    for image in summary.images:
        areas = image.objects[:, 1]
        sizes = size_of(areas)
        outcomes = [outcome_of(areas, p.objects) for p in image.models]
        for place, row in enumerate(image.objects.tolist()):
            judged = [OUTCOMES[o[place]] for o in outcomes]
            size = SIZES[sizes[place]][0]
            yield [image.image_id, summary.classes[row[0]], *row[1:], size, *judged]


def calibration_rows(content: Mapping[str, Any]) -> Rows:
    yield ['model', 'bin', 'pixels', 'mean_confidence', 'accuracy']
    for model in content['models']:
        if curve := model['calibration']:
            columns = (curve[k] for k in ('pixels', 'confidence', 'accuracy'))
            for number, row in enumerate(zip(*columns, strict=True)):
                yield [model['name'], number, *row]


def level_rows(summary: Summary) -> Rows:
    yield ['model', 'confidence', 'pixels', 'right_pixels']
    for model in summary.models:
        if (levels := model.levels) is not None:
            for level, (pixels, right) in enumerate(levels.T.tolist()):
                known = right if summary.labelled else None
                yield [model.name, level / 255, pixels, known]


def comparison_rows(content: Mapping[str, Any]) -> Rows:
    yield ['one', 'two', 'what', 'difference', 'low', 'high', 'two_better', 'two_worse']
    for pair in content['comparisons']:
        gains = {'mIoU': pair['mIoU'], 'mIoU_image': pair['mIoU_image']}
        gains |= {f'IoU {name}': gain for name, gain in pair['IoU'].items()}
        for what, gain in gains.items():
            if gain:
                ends = gain['interval']
                values = [gain['difference'], *ends, gain['better'], gain['worse']]
                yield [pair['one'], pair['two'], what, *values]


def curve_rows(curves: Curves) -> Rows:
    yield ['model', 'curve', 'step', 'value']
    for model, held in curves.items():
        for name, points in held.items():
            for step, value in points:
                yield [model, name, step, value]


def image_rows(summary: Summary) -> Rows:
    yield ['image', 'model', 'mIoU', 'wrong_share', 'mean_confidence']
    for image in summary.images:
        for model in summary.models:
            yield [image.image_id, model.name, *image_values(image, model)]


def image_values(image: Any, model: Model) -> list[float | None]:
    """Return an image's mIoU, share of wrong pixels and mean confidence."""
    prediction = image.models[model.place]
    sure = mean_confidence(prediction.levels)
    if not image.scored:
        return [None, None, sure]
    wrong = share(prediction.border.sum(), image.border.sum())
    return [model.image_miou[image.image_id], wrong, sure]
