"""One HTML page that works from disk: charts, tables, a gallery, no foreign request.

``write_page`` renders a template of ``utils/templates`` with everything in it but the
pictures: style, scripts, Plotly and all numbers. Pictures are thumbnails beside it.
Every text from outside is escaped: by Jinja in the page, by ``embed`` in JSON, by
``label`` in charts.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from mmsegmentation.classes import IGNORE_INDEX, palette_of
from mmsegmentation.files import whole_file

if TYPE_CHECKING:
    from markupsafe import Markup

TEMPLATES = Path(__file__).with_name('templates')
SCRIPTS = ('page.js', 'gallery.js')
# Told apart by people who cannot tell red from green (Okabe and Ito), light and dark.
SERIES = ('#0072B2', '#E69F00', '#56B4E9', '#CC79A7', '#009E73', '#D55E00')
DASH = '\N{EN DASH}'


@dataclass(frozen=True)
class Chart:
    """A chart of a page: one Plotly figure, or several small ones of one kind.

    Attributes:
        key: Id in the page; letters, digits and hyphens.
        title: Heading.
        counted: One sentence that says what is counted.
        panels: Title ('' for a single one) and figure, as Plotly's JSON.
        csv: File beside the page with the same numbers, '' if there is none.
    """

    key: str
    title: str
    counted: str
    panels: Sequence[tuple[str, dict]]
    csv: str = ''


@dataclass(frozen=True)
class Table:
    """A table whose columns sort by a click on their heading.

    Attributes:
        key: Id in the page.
        caption: What is counted.
        columns: Headings.
        rows: A value per column: text, a number (shown by ``formats``), or None.
        formats: Format of a column's numbers by heading, as in ``format(3.5, '.1f')``.
        colours: CSS colour of a row's swatch, shown in the first column, if any.
        filter: Heading of the column by whose values a select filters, or ''.
        csv: File beside the page with the same numbers, '' if there is none.
    """

    key: str
    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    formats: Mapping[str, str] = field(default_factory=dict)
    colours: Sequence[str] = ()
    filter: str = ''
    csv: str = ''

    def cell(self, column: str, value: Any) -> str:
        """Return a value as it is shown: a dash for None, numbers as ``formats`` say.

        >>> table = Table('t', '', ['share'], [], {'share': '.1%'})
        >>> table.cell('share', 0.25), table.cell('share', 'all')
        ('25.0%', 'all')
        """
        if value is None:
            return DASH
        if isinstance(value, str):
            return value
        return format(value, self.formats.get(column, ','))


@dataclass(frozen=True)
class Gallery:
    """Pictures that are loaded as one scrolls, filtered and sorted in the page.

    Attributes:
        key: Id in the page.
        caption: What is shown.
        items: In the order that is called "name", one dict each: ``name``; ``photo``
            (path beside the page); ``size`` (width and height of the thumbnail,
            pixels); ``layers`` (path by layer key; a picture of the same size that is
            laid over the photo); ``classes`` (share of pixels in [0, 1] by class id,
            as text); ``values`` (numbers and texts by key, for ``sorts`` and
            ``filters``). May be left out: ``outline`` (path of a picture that lies
            over all layers) and ``note`` (one line, in the place of the filters'
            values below the picture).
        classes: Name and CSS colour by class id.
        sorts: Heading by key of ``values``; the page adds name and chosen class.
        filters: Heading by key of ``values``: selects that pick one value.
        layers: Heading by layer key; the first is shown first.
        decimals: How many of a number are shown, by key of ``values``.
        class_heading: Heading of the select that picks a class.
        unit: What an item is, as in ``'12 of 60 images'``.
    """

    key: str
    caption: str
    items: Sequence[Mapping[str, Any]]
    classes: Sequence[tuple[str, str]]
    sorts: Mapping[str, str] = field(default_factory=dict)
    filters: Mapping[str, str] = field(default_factory=dict)
    layers: Mapping[str, str] = field(default_factory=lambda: {'mask': 'mask'})
    decimals: Mapping[str, int] = field(default_factory=dict)
    class_heading: str = 'class'
    unit: str = 'images'

    def content(self) -> dict[str, Any]:
        """Return what ``gallery.js`` reads."""
        return {
            'items': list(self.items),
            'classes': [list(pair) for pair in self.classes],
            'sorts': dict(self.sorts),
            'filters': dict(self.filters),
            'layers': dict(self.layers),
            'decimals': dict(self.decimals),
            'classHeading': self.class_heading,
            'unit': self.unit,
        }


def chart(
    key: str,
    title: str,
    counted: str,
    figure: Any,
    *,
    csv: str = '',
) -> Chart:
    """Return a chart of a Plotly figure.

    Args:
        counted: One sentence that says what is counted, shown above the chart.
        figure: A Plotly figure or its dict; or a list of ``(title, figure)``, shown
            as small panels side by side.
        csv: File beside the page with the same numbers.
    """
    panels = figure if isinstance(figure, list) else [('', figure)]
    return Chart(
        key, title, counted, [(name, _plain(panel)) for name, panel in panels], csv
    )


def _plain(figure: Any) -> dict:
    content = json.loads(figure.to_json()) if hasattr(figure, 'to_json') else figure
    # The page has its own template, light and dark.
    content.get('layout', {}).pop('template', None)
    return content


def label(text: str, longest: int = 28) -> str:
    """Return a text for Plotly, which would read ``<`` as the start of a tag.

    >>> label('<b>Paper</b> & more')
    '&lt;b&gt;Paper&lt;/b&gt; &amp; more'
    >>> label('a very long name of a class', 10)
    'a ver…lass'
    """
    text = shorten(text, longest)
    # Between two dollar signs it would look for TeX.
    for char, entity in (('&', 'amp'), ('<', 'lt'), ('>', 'gt'), ('$', '#36')):
        text = text.replace(char, f'&{entity};')
    return text


def labels(texts: Iterable[str], longest: int = 28) -> list[str]:
    """Return a label of each text, no two alike: Plotly joins rows of one name.

    >>> labels(['same', 'same', 'other'])
    ['same', 'same (2)', 'other']
    """
    made: list[str] = []
    for text in texts:
        first = label(text, longest)
        others = (f'{first} ({number})' for number in count(2))
        made.append(next(name for name in chain([first], others) if name not in made))
    return made


def shorten(text: str, longest: int = 28) -> str:
    """Return a text of at most ``longest`` characters, cut in the middle.

    Long names of one family begin alike: what tells them apart stands at the end.
    """
    if len(text) <= longest:
        return text
    tail = (longest - 1) // 2
    return f'{text[: longest - 1 - tail]}…{text[-tail:]}'


def css_colour(colour: Sequence[int]) -> str:
    """Return an RGB colour, 0-255, as CSS has it.

    >>> css_colour((192, 0, 128))
    '#c00080'
    """
    return '#{:02x}{:02x}{:02x}'.format(*colour)


def class_colours(num_classes: int) -> list[str]:
    """Return the CSS colour of each class: the palette of the data set."""
    return [css_colour(colour) for colour in palette_of(num_classes)]


def embed(value: Any, key: str = '') -> 'Markup':
    """Return JSON in a ``<script type="application/json">`` that no text can leave.

    Args:
        key: Id of the element, '' for none.

    Raises:
        ValueError: A number is not finite.

    >>> print(embed('</script>'))
    <script type="application/json">"\\u003c/script\\u003e"</script>
    """
    from markupsafe import Markup, escape

    text = json.dumps(value, allow_nan=False, separators=(',', ':'), default=_listed)
    # All but ASCII is escaped already, U+2028 with it.
    for char in '<>&':
        text = text.replace(char, f'\\u{ord(char):04x}')
    name = Markup(' id="{}"').format(escape(key)) if key else Markup('')
    return Markup('<script type="application/json"{}>{}</script>').format(
        name, Markup(text)
    )


def _listed(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f'no JSON for {type(value)}')


def write_page(path: Path, template: str, **context: Any) -> None:
    """Write the page of a template, whole or not at all; ``path`` is replaced.

    Args:
        template: File of ``utils/templates``.
        context: What it shows.
    """
    page = _environment().get_template(template)
    text = page.render(assets=_assets(), **context)
    with whole_file(path, overwrite=True) as beside:
        beside.write_text(text, encoding='utf-8')


@cache
def _environment() -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(embed=embed)
    environment.filters['format_number'] = lambda number: f'{number:,}'
    environment.filters['breakable'] = breakable
    return environment


def breakable(text: str) -> 'Markup':
    """Return a text for HTML that a line may break after any ``/`` and ``_``.

    >>> print(breakable('<a>/b_c'))
    &lt;a&gt;/<wbr>b_<wbr>c
    """
    from markupsafe import Markup, escape

    words = re.split('(?<=[/_])(?=.)', text, flags=re.DOTALL)
    return Markup('<wbr>').join(escape(word) for word in words)


@cache
def _assets() -> dict[str, 'Markup']:
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    scripts = [(TEMPLATES / name).read_text('utf-8') for name in SCRIPTS]
    return {
        'css': Markup((TEMPLATES / 'page.css').read_text('utf-8')),
        'js': Markup('\n'.join(scripts)),
        'plotly': Markup(get_plotlyjs()),
    }


def write_photo(path: Path, image: np.ndarray, longest: int = 256) -> tuple[int, int]:
    """Write a JPEG thumbnail; return its width and height.

    Args:
        image: RGB, (H, W, 3) uint8; never enlarged.
        longest: Longest side, in pixels.
    """
    height, width = image.shape[:2]
    size = thumbnail_size(width, height, longest)
    picture = Image.fromarray(image)
    picture.thumbnail(size, Image.Resampling.BILINEAR, reducing_gap=2.0)
    picture = picture if picture.size == size else picture.resize(size)
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, format='JPEG', quality=80)
    return size


def write_overlay(
    path: Path, ids: np.ndarray, colours: np.ndarray, longest: int = 256
) -> None:
    """Write ids as a small palette PNG to lie over a photo's thumbnail.

    Args:
        ids: (H, W) uint8; shrunk by nearest neighbour.
        colours: RGBA by id, (256, 4) uint8.
        longest: Longest side, in pixels; as the photo's.
    """
    height, width = ids.shape
    picture = Image.fromarray(ids)
    picture = picture.resize(
        thumbnail_size(width, height, longest), Image.Resampling.NEAREST
    )
    picture.putpalette(colours[:, :3].tobytes())
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, format='PNG', transparency=colours[:, 3].tobytes())


def mask_colours(num_classes: int) -> np.ndarray:
    """Return RGBA by class id, (256, 4) uint8: background clear, 255 (ignore) white."""
    colours = np.zeros((256, 4), np.uint8)
    colours[1:num_classes, :3] = palette_of(num_classes)[1:]
    colours[1:num_classes, 3] = 255
    colours[IGNORE_INDEX] = 255
    return colours


def thumbnail_size(width: int, height: int, longest: int = 256) -> tuple[int, int]:
    """Return width and height with a longest side of at most ``longest`` pixels.

    >>> thumbnail_size(1000, 500)
    (256, 128)
    """
    scale = min(1.0, longest / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))
