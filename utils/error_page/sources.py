"""What a report is made of: the models' predictions, photographs and true masks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mmsegmentation.command import InputError
from mmsegmentation.parts import PSEUDO, Place, locate, mask_of, named_parts
from mmsegmentation.predictions import Predictions, open_predictions
from utils.class_table import DATASET, read_table

# How prediction folders are called that are named after their part.
PARTS = ('train', 'valid', 'test')


@dataclass(frozen=True)
class Sources:
    """Predictions of several models on the same images, and what belongs to them.

    Attributes:
        root: The data root.
        models: Opened prediction folders by a short name that tells them apart.
        image_ids: The images that all models hold, sorted.
        photos: Photograph by image id.
        masks: True mask by image id; images without a label are not in it.
        notes: What a reader must know, one sentence each.
    """

    root: Path
    models: dict[str, Predictions]
    image_ids: tuple[str, ...]
    photos: dict[str, Path]
    masks: dict[str, Path]
    notes: list[str] = field(default_factory=list)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, in the order of their ids."""
        return next(iter(self.models.values())).classes


def open_sources(folders: Sequence[Path], root: Path) -> Sources:
    """Open prediction folders, and find their photographs and true masks.

    Raises:
        InputError: A folder is none or named twice, classes differ, no image is common
            to all, they are of different parts, or a photograph or the mask of a
            labelled part is missing.
    """
    resolved = [folder.resolve() for folder in folders]
    for folder, place in zip(folders, resolved, strict=True):
        if resolved.count(place) > 1:
            raise InputError(folder, 'is named twice', 'name each folder once')
    opened = [open_predictions(folder) for folder in folders]
    _check_classes(opened, root)
    image_ids = _common(opened)
    notes = _left_out(opened, len(image_ids))
    names = _common_parts(opened)
    places = locate(root, image_ids, names)
    photos = {image_id: place.photo for image_id, place in places.items()}
    masks = _true_masks(places, all_labelled=names is not None)
    if without := len(image_ids) - len(masks):
        notes.append(_unlabelled(root, names, without, bool(masks)))
    models = dict(zip(short_names(resolved), opened, strict=True))
    return Sources(root, models, image_ids, photos, masks, notes)


def short_names(places: Sequence[Path]) -> list[str]:
    """Return names of folders: their paths without what all of them share.

    One alone has its own name, or that of the folder above if it is named as a part.

    >>> short_names([Path('/runs/convnext/valid'), Path('/runs/beit/valid')])
    ['convnext', 'beit']
    >>> short_names([Path('/runs/a/fold0'), Path('/runs/b')])
    ['a/fold0', 'b']
    >>> short_names([Path('/runs/convnext/valid')]), short_names([Path('/runs/oof')])
    (['convnext'], ['oof'])
    """
    parts = [list(place.parts) for place in places]
    if len(parts) == 1:
        *above, last = parts[0][-2:] or ['.']
        return [above[0] if last in PARTS and above else last]
    for end in (0, -1):
        while all(len(p) > 1 for p in parts) and len({p[end] for p in parts}) == 1:
            for part in parts:
                del part[end]
    return ['/'.join(part) for part in parts]


def _check_classes(opened: Sequence[Predictions], root: Path) -> None:
    table = read_table(root)
    for member in opened:
        if table and table.classes != list(member.classes):
            raise InputError(
                member.folder,
                f'its classes differ from those of {root / DATASET}',
                'name the data root that the model was trained on',
            )
        if member.classes != opened[0].classes:
            raise InputError(
                member.folder,
                f'its classes differ from those of {opened[0].folder}',
                'report on models of one class table together',
            )


def _common(opened: Sequence[Predictions]) -> tuple[str, ...]:
    common = set(opened[0].image_ids).intersection(*(m.image_ids for m in opened))
    if not common:
        raise InputError(
            opened[-1].folder,
            f'holds no image in common with {opened[0].folder}'
            if len(opened) > 1
            else 'holds no image',
            'name predictions of the same part',
        )
    return tuple(sorted(common))


def _left_out(opened: Sequence[Predictions], common: int) -> list[str]:
    if all(len(member.image_ids) == common for member in opened):
        return []
    counts = ', '.join(f'{m.folder}: {len(m.image_ids)}' for m in opened)
    return [
        f'The models hold different images ({counts}). All numbers are over the '
        f'{common} images that every model holds.'
    ]


def _common_parts(opened: Sequence[Predictions]) -> tuple[str, ...] | None:
    """Return the parts that the common images may be in, None for any.

    Raises:
        InputError: No part is common to all models.
    """
    common: tuple[str, ...] | None = None
    for member in opened:
        names = named_parts(member.origin)
        if names is None:
            continue
        common = tuple(n for n in names if common is None or n in common)
        if not common:
            raise InputError(
                member.folder,
                f'is of another part ({", ".join(names)}) than the models before it',
                'name predictions of the same part',
            )
    return common


def _true_masks(places: Mapping[str, Place], all_labelled: bool) -> dict[str, Path]:
    """Return the true masks of images that have one.

    Args:
        all_labelled: Of a part with labels, none may be missing.
    """
    masks: dict[str, Path] = {}
    for image_id, place in places.items():
        labelled = place.part.name != PSEUDO and (place.part / 'mask').is_dir()
        if place.mask or (all_labelled and labelled):
            masks[image_id] = mask_of(place, image_id)
    return masks


def _unlabelled(root: Path, names: Sequence[str] | None, count: int, some: bool) -> str:
    part = f'the part {names[0]!r}' if names and len(names) == 1 else 'them'
    if some:
        return (
            f'{count} images have no true mask in {root}: they are shown, and not '
            'counted in any score.'
        )
    return (
        f'There is no true mask in {root} for {part}: scores, the confusion matrix, '
        'errors and calibration are missing. Class shares, confidence and pictures '
        'are shown.'
    )
