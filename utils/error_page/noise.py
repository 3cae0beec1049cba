"""The labels that a model contradicts most: a section of its report.

The ranking is that of ``utils/label_noise.py``; here its first findings become
pictures, and the whole list files for a labelling tool.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mmsegmentation.command import InputError
from mmsegmentation.files import read_image, read_mask
from mmsegmentation.parts import check_unseen
from mmsegmentation.predictions import Predictions
from utils.class_table import order_of
from utils.error_page.page import PICTURES
from utils.error_page.sources import Sources
from utils.label_noise import rank_label_noise, say_kinds, say_model, say_objects
from utils.noise.kinds import SCORE
from utils.page import Gallery, class_colours, mask_colours, write_overlay, write_photo
from utils.parallel import Workers

if TYPE_CHECKING:
    from utils.noise.objects import Shape
    from utils.noise.ranking import Finding, Ranking

FOLDER = 'labels'
FILES = {
    'objects.csv': 'the whole list',
    'images.csv': 'by image',
    'findings.json': 'for CVAT (COCO 1.0) and FiftyOne (COCODetectionDataset)',
}


def rank_labels(
    sources: Sources, folder: Path, shown: int, workers: Workers
) -> dict[str, Any]:
    """Rank the labels by the first model; write lists and pictures below ``folder``.

    Args:
        shown: How many findings become pictures.
        workers: Who does the work.

    Returns:
        ``said`` (paragraphs), ``files`` (path and what it is) and ``gallery``.

    Raises:
        InputError: There is no label, or the model wrote no confidence, or was trained
            on these images.
    """
    from utils.noise.export import write_coco, write_tables

    name, member = _first_model(sources)
    order = order_of(sources.root)
    masks = {image_id: sources.masks[image_id] for image_id in member.image_ids}
    ranking = rank_label_noise(member, masks, order=order, workers=workers)
    place = folder / FOLDER
    place.mkdir()
    write_tables(place, ranking)
    write_coco(place / 'findings.json', ranking)
    findings = ranking.findings[:shown]
    items = [
        _draw(sources, member, ranking, finding, folder, number)
        for number, finding in enumerate(findings)
    ]
    return {
        'said': _say(name, ranking, len(findings)),
        'files': [(f'{FOLDER}/{file}', what) for file, what in FILES.items()],
        'gallery': _gallery(ranking, items),
    }


def _first_model(sources: Sources) -> tuple[str, Predictions]:
    """Return the name of the first model, and its predictions of labelled images."""
    name, model = next(iter(sources.models.items()))
    check_unseen(model.folder, model.origin)
    if not sources.masks:
        raise InputError('--label-noise', 'there are no labels to rank', 'leave it out')
    if not (model.folder / 'confidence').is_dir():
        raise InputError(
            model.folder, 'has no confidence/ to rank labels by', 'predict it again'
        )
    ids = tuple(i for i in sources.image_ids if i in sources.masks)
    return name, Predictions(model.folder, model.classes, ids, model.origin)


def _say(name: str, ranking: 'Ranking', shown: int) -> list[str]:
    return [
        f'{name} contradicts labels with confidence {len(ranking.findings):,} times, '
        f'among {say_objects(ranking)}; the first {shown:,} are shown. '
        'No label was changed. This holds only if the model was not trained on these '
        f'images: one that was repeats their labels. {say_model(ranking)}.',
        f'Findings: {say_kinds()}. Score: {SCORE}.',
    ]


def _gallery(ranking: 'Ranking', items: list[dict[str, Any]]) -> Gallery:
    colours = class_colours(len(ranking.classes))
    return Gallery(
        key='noise',
        caption='Each picture is the surroundings of one finding; the outline, white '
        'and black, is the object in question, or the place where one is missing.',
        items=items,
        classes=list(zip(ranking.classes, colours, strict=True)),
        sorts={'score': 'score'},
        filters={
            'kind': 'finding',
            'given': 'labelled as',
            'suggested': 'predicted as',
        },
        layers={'label': 'label', 'prediction': 'prediction'},
        decimals={'score': 3},
        class_heading='any label in view',
        unit='findings',
    )


def _draw(
    sources: Sources,
    member: Predictions,
    ranking: 'Ranking',
    finding: 'Finding',
    folder: Path,
    number: int,
) -> dict[str, Any]:
    """Write what surrounds a finding; return its item of the gallery."""
    from utils.noise.sheet import around, question

    box = around(finding)
    names, colours = ranking.classes, mask_colours(len(ranking.classes))
    image_id = finding.image_id
    place = f'{PICTURES}/{FOLDER}/{number}'
    photo = read_image(sources.photos[image_id])[box]
    size = write_photo(folder / f'{place}.jpg', photo)
    label_map = read_mask(sources.masks[image_id])[box]
    for layer, ids in (
        ('label', label_map),
        ('prediction', member.mask(image_id)[box]),
    ):
        write_overlay(folder / f'{place}-{layer}.png', ids, colours)
    write_outline(folder / f'{place}.svg', finding.shape, box)
    return {
        'name': image_id,
        'photo': f'{place}.jpg',
        'size': list(size),
        'layers': {k: f'{place}-{k}.png' for k in ('label', 'prediction')},
        'outline': f'{place}.svg',
        'note': question(finding, names),
        'classes': _shares(label_map, len(names)),
        'values': {
            'score': round(finding.score, 3),
            'kind': finding.kind,
            'given': names[finding.given],
            'suggested': names[finding.suggested],
        },
    }


def write_outline(path: Path, shape: 'Shape', box: tuple[slice, slice]) -> None:
    """Write the outline of a shape as SVG: sharp however large it is shown.

    Args:
        box: Rows and columns of the image that the drawing covers.
    """
    from utils.noise.export import polygons

    rows, columns = box
    width, height = columns.stop - columns.start, rows.stop - rows.start
    lines = ' '.join(f'M{" ".join(map(str, points))}Z' for points in polygons(shape))
    # As in top.png: white within black is seen on every ground.
    strokes = ''.join(
        f'<path d="{lines}" fill="none" stroke="{colour}" stroke-width="{thickness}" '
        'stroke-linejoin="round" vector-effect="non-scaling-stroke"/>'
        for colour, thickness in (('black', 4), ('white', 2))
    )
    path.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="{columns.start} {rows.start} {width} {height}">{strokes}</svg>\n',
        encoding='utf-8',
    )


def _shares(label_map: np.ndarray, num_classes: int) -> dict[str, float]:
    counts = np.bincount(label_map.ravel(), minlength=256)[:num_classes]
    total = max(int(counts.sum()), 1)
    return {str(i): round(int(counts[i]) / total, 5) for i in counts.nonzero()[0]}
