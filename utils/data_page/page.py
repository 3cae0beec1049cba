"""The data page: what stands in which section."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from utils.data_page.charts import (
    area_boxes,
    changed_bars,
    class_bars,
    part_dots,
    place_panels,
    together_map,
)
from utils.data_page.histograms import (
    area_histogram,
    brightness_lines,
    count_lines,
    size_bubbles,
)
from utils.data_page.images import ImageFacts
from utils.data_page.statistics import DRAWN, PartStatistics, rarest
from utils.data_page.study import Study
from utils.data_page.tables import channel_table, class_table, how_counted, vertex_table
from utils.page import Chart, Gallery, chart, class_colours, write_page

# More would hide the sections below; the CSV holds all.
SHOWN_GROUPS = 24
SHOWN_OF_GROUP = 8
SHOWN_OF_RARE = 8


def write_study(study: Study, described: Mapping[str, Any], path: Path) -> None:
    """Write the page of a study.

    Args:
        described: What ``eda.json`` says.
    """
    labelled = study.labelled.labelled > 0
    write_page(
        path,
        'eda.html.j2',
        study=study,
        described=described,
        colours=class_colours(len(study.classes)),
        class_table=class_table(study) if labelled else None,
        class_charts=class_charts(study) if labelled else [],
        object_charts=object_charts(study) if labelled else [],
        place_charts=place_charts(study) if labelled else [],
        image_charts=image_charts(study),
        channel_table=channel_table(study),
        config=config_of(study),
        groups=[_shown_group(study, group) for group in study.groups[:SHOWN_GROUPS]],
        overlap_charts=overlap_charts(study, described),
        vertex_table=vertex_table(study, described['vertices'] or []),
        rare=[_rare(study, number) for number in rarest(study.labelled)],
        counted=how_counted(study.labelled),
        gallery=gallery(study),
    )


def class_charts(study: Study) -> list[Chart]:
    """Return images, objects and pixels per class."""
    part, names = study.labelled, study.classes
    background = part.shares(part.pixels)[0]
    bars = [
        (
            'images',
            part.images_by_class,
            'images',
            'Labelled images that hold at least one pixel of the class; an image with '
            'three classes is counted three times, and percentages are of that sum.',
        ),
        ('objects', part.object_counts, 'objects', f'Objects {how_counted(part)}.'),
        (
            'pixels',
            part.pixels,
            'pixels',
            f'Pixels of each class in the masks. {names[0]} holds {background:.1%} of '
            'all pixels and is left out, here and in the percentages.',
        ),
    ]
    charts = [
        chart(
            f'{key}-per-class',
            f'{unit.capitalize()} per class',
            counted,
            class_bars(names, study.class_ids, values, unit, len(names)),
            csv='classes.csv',
        )
        for key, values, unit, counted in bars
    ]
    return [*charts, *_part_charts(study)]


def _part_charts(study: Study) -> list[Chart]:
    names = study.classes
    shares = {
        name: _foreground_shares(one)
        for name, one in study.parts.items()
        if one.labelled
    }
    if len(shares) < 2:
        return []
    figure = part_dots(names[1:], shares, 'share of pixels, log scale')
    counted = (
        f'Share of each class in the pixels of a part, {names[0]} left out; a class '
        'without a dot has no pixel in that part.'
    )
    return [chart('parts', 'Do the parts agree?', counted, figure, csv='classes.csv')]


def _foreground_shares(part: PartStatistics) -> np.ndarray:
    return part.shares(part.pixels[1:])


def object_charts(study: Study) -> list[Chart]:
    """Return object sizes, and objects and classes per image."""
    return [*_size_charts(study), *_count_charts(study)]


def _size_charts(study: Study) -> list[Chart]:
    part = study.labelled
    held = [i for i in study.class_ids if part.components[i]]
    pieces = (
        'Connected pieces of one class in the masks (8 neighbours): objects that touch '
        'are one piece, and an object cut in two by another is two.'
    )
    return [
        chart(
            'object-sizes',
            'Object sizes',
            f'{pieces} Each bar counts the pieces whose area lies in its range.',
            area_histogram(part.object_table[:, 1]),
            csv='objects.csv',
        ),
        chart(
            'object-sizes-per-class',
            'Object sizes per class',
            'The same pieces by class: the box holds the middle half, its line is the '
            'median, the whiskers end at 5 % and 95 %.',
            area_boxes(study.classes, part, held),
            csv='objects.csv',
        ),
    ]


def _count_charts(study: Study) -> list[Chart]:
    parts = {
        name: one for name, one in study.parts.items() if one.labelled and name in DRAWN
    }
    return [
        chart(
            'objects-per-image',
            'Objects in an image',
            'Labelled images by their number of connected pieces.',
            count_lines({n: p.objects_by_image for n, p in parts.items()}, 'pieces'),
            csv='images.csv',
        ),
        chart(
            'classes-per-image',
            'Classes in an image',
            f'Labelled images by their number of classes, {study.classes[0]} left out.',
            count_lines({n: p.classes_by_image for n, p in parts.items()}, 'classes'),
            csv='images.csv',
        ),
    ]


def place_charts(study: Study) -> list[Chart]:
    """Return which classes come together, and where each lies."""
    part = study.labelled
    held = [i for i in range(len(study.classes)) if part.images_by_class[i]]
    return [
        chart(
            'together',
            'Classes that come together',
            'Of the labelled images that hold the class of the row, the percentage '
            'that also holds the class of the column.',
            together_map(study.classes, part, [i for i in held if i]),
            csv='together.csv',
        ),
        chart(
            'places',
            'Where in the image each class lies',
            'Mean share of each place that the class covers, over the labelled images '
            'that hold it, all stretched to one square; each map has its own scale.',
            place_panels(study.classes, part, held),
            csv='positions.csv',
        ),
    ]


def image_charts(study: Study) -> list[Chart]:
    """Return sizes and brightness of the images."""
    parts = {name: part for name, part in study.parts.items() if part.images}
    return [
        chart(
            'sizes',
            'Image sizes',
            'Images by width and height; the area of a mark grows with their number.',
            size_bubbles(parts),
            csv='images.csv',
        ),
        chart(
            'brightness',
            'Brightness',
            'Images by their mean luma (Rec. 601), in bins of 8.',
            brightness_lines({name: part.brightness for name, part in parts.items()}),
            csv='images.csv',
        ),
    ]


def overlap_charts(study: Study, described: Mapping[str, Any]) -> list[Chart]:
    """Return what the order of overlapping objects decides, where it is known."""
    overlaps = described['overlaps']
    if overlaps is None:
        return []
    vertices = described['vertices']
    names = [row['name'] for row in vertices]
    shares = {
        key: np.array([row[f'{key}_share'] for row in vertices])
        for key in ('vertices', 'objects', 'pixels')
    }
    return [
        chart(
            'orders',
            'What the order of overlaps decides',
            'Pixels of train and valid that change their class if the masks are '
            f'painted in the order {overlaps["other_order"]!r} instead of '
            f'{overlaps["order"]!r}.',
            changed_bars(study.classes, overlaps['classes']),
            csv='overlaps.csv',
        ),
        chart(
            'vertices',
            'Vertices are not pixels',
            'Share of each class in all polygon points, in all objects, and in all '
            'pixels but the background, of train and valid.',
            part_dots(names, shares, 'share of all, log scale'),
            csv='vertices.csv',
        ),
    ]


def config_of(study: Study) -> str:
    """Return the lines of a config that use the channels' statistics."""
    name = 'train' if study.parts.get('train') else next(iter(study.parts))
    part = study.parts[name]
    if not part.images:
        part = next(one for one in study.parts.values() if one.images)
    mean, std = (part.channels[key] for key in ('mean', 'std'))
    return (
        f'# Measured on {part.images:,} images of {part.name}, RGB, 0-255.\n'
        'model = dict(\n'
        '    data_preprocessor=dict(\n'
        f'        mean={mean},\n'
        f'        std={std},\n'
        '        bgr_to_rgb=True,\n'
        '    )\n'
        ')\n'
        '# Loaded images are BGR, and padding comes before the normalising: a border\n'
        '# of this colour is zero after it. pad_val of rotations and pads takes it.\n'
        f'mean_bgr = ({", ".join(str(value) for value in reversed(mean))})\n'
    )


def _shown_group(study: Study, group: Any) -> dict[str, Any]:
    images = [study.images[i] for i in group.members]
    return {
        'group': group,
        'images': [_picture(image) for image in images[:SHOWN_OF_GROUP]],
        'more': max(len(images) - SHOWN_OF_GROUP, 0),
    }


def _rare(study: Study, number: int) -> dict[str, Any]:
    part = study.labelled
    held = [
        image
        for image in study.images
        if image.labels and image.part in DRAWN and image.labels.pixels[number]
    ]
    held.sort(key=lambda image: -_share(image, number))
    return {
        'id': number,
        'name': study.classes[number],
        'images': int(part.images_by_class[number]),
        'objects': int(part.object_counts[number]),
        'pixels': int(part.pixels[number]),
        'share': float(part.shares(part.pixels)[number]),
        'pictures': [_picture(image) for image in held[:SHOWN_OF_RARE]],
    }


def _share(image: ImageFacts, number: int) -> float:
    assert image.labels is not None
    return float(image.labels.pixels[number] / (image.size[0] * image.size[1]))


def _picture(image: ImageFacts) -> dict[str, str]:
    return {
        'name': f'{image.part}/{image.image_id}',
        'photo': f'{image.thumbnail}.jpg',
        'mask': f'{image.thumbnail}.png' if image.labels else '',
    }


def gallery(study: Study) -> Gallery:
    """Return all images with their masks."""
    colours = class_colours(len(study.classes))
    return Gallery(
        'images',
        'All images, with their masks laid over; a click enlarges. Shares are of all '
        'pixels of an image.',
        [_item(image) for image in study.images],
        list(zip(study.classes, colours, strict=True)),
        {
            'pieces': 'connected pieces',
            'classes': 'classes',
            'largest': 'largest piece, in pixels',
            'smallest': 'smallest piece, in pixels',
            'brightness': 'brightness',
            'width': 'width, in pixels',
            'height': 'height, in pixels',
        },
        {'part': 'part'},
        {'mask': 'mask'},
    )


def _item(image: ImageFacts) -> dict[str, Any]:
    picture = _picture(image)
    values: dict[str, Any] = {
        'part': image.part,
        'brightness': round(image.brightness, 1),
        'width': image.size[0],
        'height': image.size[1],
    }
    classes: Sequence[int] = ()
    if image.labels is not None:
        classes = image.labels.ids
        areas = image.labels.objects[:, 1]
        values |= {'pieces': len(areas), 'classes': sum(1 for i in classes if i)}
        if len(areas):
            values |= {'largest': int(areas.max()), 'smallest': int(areas.min())}
    return {
        'name': picture['name'],
        'photo': picture['photo'],
        'size': image.thumbnail_size,
        'layers': {'mask': picture['mask']} if picture['mask'] else {},
        'classes': {str(i): round(_share(image, i), 6) for i in classes},
        'values': values,
    }
