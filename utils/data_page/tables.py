"""The tables of the data page, and the same numbers as CSV files."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from utils.data_page.images import CELLS
from utils.data_page.statistics import PartStatistics, describe_classes, position_maps
from utils.data_page.study import Study
from utils.page import Table, class_colours
from utils.tables import write_csv

Rows = list[dict[str, Any]]
# Of tables that may have no row: a file without a heading cannot be read.
COLUMNS = {
    'objects.csv': ('part', 'image', 'class', 'area'),
    'positions.csv': ('class', 'row', 'column', 'share'),
    'classes.csv': ('part', 'id', 'name', 'images', 'objects', 'pixels'),
    'duplicates.csv': ('group', 'exact', 'leak', 'correlation', 'part', 'id'),
    'problems.csv': ('problem',),
}


def labelled_parts(study: Study) -> list[PartStatistics]:
    """Return the sums over all that people labelled, then each part with labels."""
    parts = [part for part in study.parts.values() if part.labelled]
    drawn = [part for part in parts if part.name != 'pseudo']
    return [study.labelled, *parts] if len(drawn) > 1 else parts


def class_table(study: Study) -> Table:
    """Return images, objects and pixels per class, by part."""
    palette = class_colours(len(study.classes))
    found = [
        (part.name, row)
        for part in labelled_parts(study)
        for row in describe_classes(part, study.classes)
    ]
    columns = (
        'class', 'part', 'id', 'images', 'objects', 'pieces', 'pixels', 'share',
        'share without background', 'median piece',
    )  # fmt: skip
    caption = (
        'Images that hold a pixel of the class; objects '
        f'{how_counted(study.labelled)}; connected pieces in the masks; pixels in the '
        'masks, 255 (ignore) left out; area of the median piece, in pixels.'
    )
    return Table(
        'class-table',
        caption,
        columns,
        [_class_cells(part, row) for part, row in found],
        {'share': '.3%', columns[8]: '.3%', 'median piece': ',.0f'},
        [palette[row['id']] for _, row in found],
        'part',
        'classes.csv',
    )


def _class_cells(part: str, row: Mapping[str, Any]) -> tuple:
    area = row['component_area']
    # The background is no object.
    counts = [row[key] if row['id'] else None for key in ('objects', 'components')]
    return (
        row['name'],
        part,
        row['id'],
        row['images'],
        *counts,
        row['pixels'],
        row['share'],
        row['share_without_background'],
        area and area['q50'],
    )


def how_counted(part: PartStatistics) -> str:
    """Return what is counted as an object, in words."""
    if part.annotated is None:
        return 'as connected pieces of one class in a mask (8 neighbours)'
    return 'as annotated in the source JSON, which dataset.json tells'


def channel_table(study: Study) -> Table:
    """Return mean and standard deviation of the channels, by part."""
    rows = [
        (name, part.images, *part.channels['mean'], *part.channels['std'])
        for name, part in study.parts.items()
        if part.images
    ]
    columns = (
        'part',
        'images',
        *(f'{kind} {c}' for kind in ('mean', 'std') for c in 'RGB'),
    )
    formats = dict.fromkeys(columns[2:], '.2f')
    caption = 'Over all pixels of all images of a part, 0-255.'
    return Table('channels', caption, columns, rows, formats, csv='channels.csv')


def vertex_table(study: Study, rows: Sequence[Mapping]) -> Table:
    """Return the share of vertices, objects and pixels per class, side by side."""
    palette = class_colours(len(study.classes))
    shown = [
        (
            row['name'],
            row['vertices'],
            row['objects'],
            row['pixels'],
            row['vertices_share'],
            row['objects_share'],
            row['pixels_share'],
        )
        for row in rows
    ]
    columns = (
        'class',
        'vertices',
        'objects',
        'pixels',
        'share of vertices',
        'share of objects',
        'share of pixels',
    )
    return Table(
        'vertex-table',
        'Polygon points and objects in the source JSON, pixels in the masks that it '
        'paints; train and valid, background left out.',
        columns,
        shown,
        dict.fromkeys(columns[4:], '.2%'),
        [palette[row['id']] for row in rows],
        csv='vertices.csv',
    )


def write_tables(study: Study, described: Mapping[str, Any], out: Path) -> None:
    """Write all numbers of the page as CSV files into ``out``."""
    tables: dict[str, Any] = {
        'classes.csv': _class_rows(study),
        'images.csv': _image_rows(study),
        'objects.csv': _object_rows(study),
        'together.csv': _together_rows(study),
        'positions.csv': _position_rows(study),
        'channels.csv': _channel_rows(study),
        'duplicates.csv': _group_rows(described['duplicates']['groups']),
        'problems.csv': [{'problem': text} for text in study.problems],
    }
    if described['overlaps']:
        tables['overlaps.csv'] = described['overlaps']['classes']
        tables['vertices.csv'] = described['vertices']
    for name, rows in tables.items():
        write_csv(out / name, _lines(list(rows), COLUMNS.get(name, ())))


def _lines(rows: Rows, columns: Sequence[str]) -> Iterator[list[Any]]:
    # Rows may lack a value, as those of images without a mask do.
    columns = list(dict.fromkeys(key for row in rows for key in row)) or columns
    yield list(columns)
    for row in rows:
        yield [row.get(key) for key in columns]


def _class_rows(study: Study) -> Rows:
    rows = []
    for part in labelled_parts(study):
        for row in describe_classes(part, study.classes):
            area = row.pop('component_area') or {}
            row |= {f'component_area_{key}': value for key, value in area.items()}
            rows.append({'part': part.name, **row, 'objects_counted': part.counted})
    return rows


def _image_rows(study: Study) -> Iterator[dict[str, Any]]:
    for facts in study.images:
        labels = facts.labels
        row: dict[str, Any] = {
            'part': facts.part,
            'id': facts.image_id,
            'width': facts.size[0],
            'height': facts.size[1],
            'brightness': round(facts.brightness, 3),
            'sha256': facts.look.content,
            'phash': f'{facts.look.phash:016x}',
        }
        if labels is not None:
            row |= {'pieces': len(labels.objects), 'ignored': labels.ignored}
            counts = labels.pixels.tolist()
            row |= {f'pixels_{i}': count for i, count in enumerate(counts)}
        yield row


def _object_rows(study: Study) -> Iterator[dict[str, Any]]:
    for facts in study.images:
        for number, area in facts.labels.objects.tolist() if facts.labels else ():
            yield {
                'part': facts.part,
                'image': facts.image_id,
                'class': study.classes[number],
                'area': area,
            }


def _together_rows(study: Study) -> Rows:
    counts = study.labelled.together.tolist()
    return [
        {'class': name, 'other': other, 'images_with_both': count}
        for name, row in zip(study.classes, counts, strict=True)
        for other, count in zip(study.classes, row, strict=True)
    ]


def _position_rows(study: Study) -> Rows:
    maps = position_maps(study.labelled)
    return [
        {'class': name, 'row': row, 'column': column, 'share': round(share, 5)}
        for name, cells in zip(study.classes, maps, strict=True)
        for row in range(CELLS)
        for column in range(CELLS)
        if (share := float(cells[row, column])) == share
    ]


def _channel_rows(study: Study) -> Rows:
    return [
        {'part': name, 'channel': channel, 'mean': mean, 'std': std}
        for name, part in study.parts.items()
        if part.images
        for channel, mean, std in zip(
            'RGB', part.channels['mean'], part.channels['std'], strict=True
        )
    ]


def _group_rows(groups: Sequence[Mapping]) -> Rows:
    return [
        {
            'group': number,
            'exact': group['exact'],
            'leak': group['leak'],
            'correlation': group['correlation'],
            **image,
        }
        for number, group in enumerate(groups)
        for image in group['images']
    ]
