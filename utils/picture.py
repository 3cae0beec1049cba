"""Set photographs, true masks and predictions side by side in one picture."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mmsegmentation.classes import CLASSES, palette_of
from mmsegmentation.command import InputError, Parser, progress, run_command
from mmsegmentation.files import (
    list_images,
    mask_name,
    read_image,
    read_mask,
    refuse_existing,
    require_folder,
    whole_file,
)
from mmsegmentation.predictions import MARKER, open_predictions
from utils.class_table import names_beside

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def choose_images(held: set[str], count: int) -> list[str]:
    """Return ``count`` image ids, spread evenly over all in the order of their names.

    >>> choose_images({'a.jpg', 'b.jpg', 'c.jpg', 'd.jpg', 'e.jpg'}, 3)
    ['a.jpg', 'c.jpg', 'e.jpg']
    """
    names = sorted(held)
    places = np.linspace(0, len(names) - 1, min(count, len(names)))
    return [names[round(place)] for place in places.tolist()]


def common_images(images: Path, columns: dict[str, Path]) -> set[str]:
    """Return the ids of the images for which every column has a mask.

    Raises:
        InputError: There is none.
    """
    held = set(list_images(images))
    for name, folder in columns.items():
        found = {
            image_id for image_id in held if (folder / mask_name(image_id)).exists()
        }
        if not found:
            raise InputError(
                f'{name}={folder}', f'has no mask of the images in {images}', 'check it'
            )
        held = found
    if not held:
        raise InputError(images, 'holds no image', 'check the path')
    return held


def masks_of(folder: Path) -> tuple[Path, tuple[str, ...] | None]:
    """Return where the masks of ``folder`` stand, and their class names if it says.

    Args:
        folder: A prediction folder, or a folder of masks.
    """
    if (folder / MARKER).is_file():
        return folder / 'masks', open_predictions(folder).classes
    names = names_beside(folder)
    return folder, tuple(names) if names else None


def draw_grid(
    images: Path,
    columns: dict[str, Path],
    image_ids: Sequence[str],
    classes: Sequence[str],
) -> 'Figure':
    """Return a figure: a row per image, a column per folder of masks, a legend below.

    Args:
        columns: Title and folder of masks; white is 255, what counts for nothing.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    colours = np.full((256, 3), 255, np.uint8)
    colours[: len(classes)] = palette_of(len(classes))
    titles = ['Image', *columns]
    height = 1.75 * len(image_ids) + 0.9
    figure = Figure(
        figsize=(max(1.75 * len(titles), 5.5), height), layout='constrained'
    )
    grid = figure.subplots(len(image_ids), len(titles), squeeze=False)
    for row, image_id in zip(grid, progress(image_ids, 'draw'), strict=True):
        row[0].imshow(read_image(images / image_id))
        for axes, folder in zip(row[1:], columns.values(), strict=True):
            axes.imshow(colours[read_mask(folder / mask_name(image_id))])
    for axes, title in zip(grid[0], titles, strict=True):
        axes.set_title(title, fontsize=9)
    for axes in grid.flat:
        axes.set_axis_off()
    patches = [
        Patch(facecolor=colours[i] / 255, edgecolor='0.5', label=name)
        for i, name in enumerate(classes)
    ]
    across = max(len(titles), 3)
    figure.legend(handles=patches, loc='outside lower center', ncols=across, fontsize=8)
    return figure


def read_columns(pairs: Sequence[str]) -> dict[str, Path]:
    """Read ``NAME=FOLDER`` pairs.

    Raises:
        InputError: One is none, or names a column twice or a missing folder.
    """
    columns: dict[str, Path] = {}
    for pair in pairs:
        name, _, folder = pair.partition('=')
        if not (name and folder):
            raise InputError(f'--columns {pair}', 'no NAME=FOLDER pair', 'write both')
        if name in columns:
            raise InputError(f'--columns {pair}', 'the name comes twice', 'change it')
        require_folder(Path(folder))
        columns[name] = Path(folder)
    return columns


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(prog='utils/picture.py', description=__doc__)
    add = parser.add_argument
    add('--images', type=Path, required=True, metavar='FOLDER', help='photographs')
    add(
        '--columns',
        nargs='+',
        required=True,
        metavar='NAME=FOLDER',
        help='prediction folders or folders of masks, from left to right',
    )
    add('--out', type=Path, required=True, metavar='PNG', help='picture to write')
    add('--count', type=int, default=6, help='how many images')
    add('--names', nargs='+', metavar='IMAGE', help='these images, not a choice')
    add('--dpi', type=int, default=110, help='dots an inch; an image is 1.6 inches')
    add('--overwrite', action='store_true', help='replace --out')
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    args = parse_args(argv)
    refuse_existing(args.out, args.overwrite)
    if args.count < 1 or not 20 <= args.dpi <= 600:
        raise InputError('--count, --dpi', 'need 1 and 20-600', 'change them')
    columns: dict[str, Path] = {}
    tables: set[tuple[str, ...]] = set()
    for name, folder in read_columns(args.columns).items():
        columns[name], classes = masks_of(folder)
        tables |= {classes} if classes else set()
    if len(tables) > 1:
        raise InputError('--columns', 'have different classes', 'draw them apart')
    require_folder(args.images)
    held = common_images(args.images, columns)
    if missing := sorted(set(args.names or ()) - held):
        raise InputError(missing[0], 'is not in every folder', 'check --names')
    image_ids = args.names or choose_images(held, args.count)
    figure = draw_grid(args.images, columns, image_ids, *tables or [CLASSES])
    with whole_file(args.out, overwrite=args.overwrite) as beside:
        figure.savefig(beside, format='png', dpi=args.dpi)
    print(f'{len(image_ids)} images drawn in {args.out}')
    if not tables:
        print('class names are those of recycling, because no column has others')
    return 0


if __name__ == '__main__':
    run_command(main)
