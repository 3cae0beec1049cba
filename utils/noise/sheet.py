"""Draw doubtful labels: the photograph, the label and the prediction, side by side."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.text import Text

from mmsegmentation.classes import IGNORE_INDEX, palette_of
from mmsegmentation.command import progress
from mmsegmentation.files import read_image, read_mask
from mmsegmentation.predictions import Predictions
from utils.noise.ranking import Finding, Ranking

ACROSS = 3
PANELS = ('Photograph', 'Label', 'Prediction')
OPACITY = 0.6
# Those that hold Korean, where one is installed.
FONTS = ('Noto Sans CJK KR', 'NanumGothic', 'Malgun Gothic', 'AppleGothic')


def draw_sheet(
    path: Path,
    ranking: Ranking,
    top: int,
    photos: Mapping[str, Path],
    masks: Mapping[str, Path],
    predictions: Predictions,
) -> None:
    """Write a PNG of the first ``top`` findings, three panels each.

    The outline in white and black is the object in question; colours are the classes',
    as the legend says, white is 255, and the background shows the photograph.

    Args:
        photos: The file of each photograph, by image id.
        masks: The file of each true mask, by image id.
    """
    findings = ranking.findings[:top]
    rows = max(-(-len(findings) // ACROSS), 1)
    figure = Figure(figsize=(5.4 * ACROSS, 2.2 * rows + 1.0), layout='constrained')
    frames = figure.subfigures(rows, ACROSS, squeeze=False, wspace=0.02)
    for number, finding in enumerate(progress(findings, 'draw')):
        axes = frames.flat[number].subplots(1, len(PANELS))
        frames.flat[number].suptitle(
            f'{number + 1}. {caption(finding, ranking.classes)}',
            fontsize=8,
        )
        label_map = read_mask(masks[finding.image_id])
        photo = read_image(photos[finding.image_id])
        maps = (None, label_map, predictions.mask(finding.image_id))
        for place, title, classes in zip(axes, PANELS, maps, strict=True):
            _draw_panel(place, photo, classes, finding, len(ranking.classes))
            place.set_title(title, fontsize=7)
    _add_legend(figure, ranking.classes)
    _save(figure, path)


def caption(finding: Finding, classes: Sequence[str]) -> str:
    """Return what is said of a finding, in two lines."""
    number = '' if finding.annotation_id is None else f'  #{finding.annotation_id}'
    asked = question(finding, classes)
    return f'{asked}  {finding.score:.2f}\n{finding.image_id}{number}'


def question(finding: Finding, classes: Sequence[str]) -> str:
    """Return what a person is asked by a finding, in one line."""
    given, suggested = classes[finding.given], classes[finding.suggested]
    return {
        'wrong class': f'{given}, or {suggested}?',
        'missing': f'{suggested} missing here? (label: {given})',
        'superfluous': f'{given}, or nothing?',
        'shifted': f'{given}: is this the outline?',
    }[finding.kind]


def _draw_panel(
    axes: Axes,
    photo: np.ndarray,
    label_map: np.ndarray | None,
    finding: Finding,
    num_classes: int,
) -> None:
    height, width = finding.size
    # Masks decide the size; a photograph drawn smaller still shows what it is.
    if photo.shape[:2] != finding.size:
        photo = cv2.resize(photo, (width, height), interpolation=cv2.INTER_AREA)
    box = around(finding)
    shown = photo[box].astype(np.float64)
    if label_map is not None:
        ids = label_map[box]
        colours = np.full((IGNORE_INDEX + 1, 3), 255.0)
        colours[:num_classes] = palette_of(num_classes)
        cover = np.where(ids[..., None] > 0, OPACITY, 0)
        shown = shown * (1 - cover) + colours[ids] * cover
    axes.imshow(shown.round().astype(np.uint8), interpolation='nearest')
    inside = _mask_of(finding)[box]
    framed = np.pad(inside, 1)
    steps = [np.arange(length) - 1 for length in framed.shape[::-1]]
    for colour, thickness in (('black', 2.2), ('white', 1.0)):
        axes.contour(*steps, framed, [0.5], colors=colour, linewidths=thickness)
    axes.set_xlim(-0.5, inside.shape[1] - 0.5)
    axes.set_ylim(inside.shape[0] - 0.5, -0.5)
    axes.set_axis_off()


def _mask_of(finding: Finding) -> np.ndarray:
    left, top, width, height = finding.bbox
    mask = np.zeros(finding.size, np.uint8)
    mask[top : top + height, left : left + width] = finding.shape.inside()
    return mask


def around(finding: Finding) -> tuple[slice, slice]:
    """Return rows and columns around a finding: a square if the image allows one."""
    left, top, width, height = finding.bbox
    side = max(round(1.6 * max(width, height)), min(finding.size) // 4)
    spans = []
    for start, length, limit in zip(
        (top, left), (height, width), finding.size, strict=True
    ):
        first = start + length // 2 - side // 2
        first = max(min(first, limit - side), 0)
        spans.append(slice(first, min(first + side, limit)))
    return spans[0], spans[1]


def _add_legend(figure: Figure, classes: Sequence[str]) -> None:
    patches = [
        Patch(facecolor=(r / 255, g / 255, b / 255), edgecolor='0.5', label=' ')
        for r, g, b in palette_of(len(classes))[1:]
    ]
    legend = figure.legend(
        handles=patches, loc='outside lower center', ncols=6, fontsize=8
    )
    # Afterwards: a label that begins with an underscore would be left out.
    for text, name in zip(legend.get_texts(), classes[1:], strict=True):
        text.set_text(name)


def _save(figure: Figure, path: Path) -> None:
    known = {font.name for font in font_manager.fontManager.ttflist}
    fonts = ['DejaVu Sans', *(name for name in FONTS if name in known)]
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        text.set_fontfamily(fonts)
        # A dollar sign in a name begins no formula.
        text.set_parse_math(False)
    with warnings.catch_warnings():
        # A letter that no font has becomes a box; the tables have the name.
        warnings.filterwarnings('ignore', 'Glyph .* missing', UserWarning)
        figure.savefig(path, format='png', dpi=110)
