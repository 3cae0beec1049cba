"""What a report is made of: the models' predictions, photographs and true masks."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmsegmentation.command import InputError
from mmsegmentation.files import mask_name, read_json
from mmsegmentation.predictions import Predictions, open_predictions

# Labels that a model made; a score against them says nothing.
NOT_TRUE = ('pseudo',)


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
            to all, or a photograph or the mask of a labelled part is missing.
    """
    places = [folder.resolve() for folder in folders]
    for folder, place in zip(folders, places, strict=True):
        if places.count(place) > 1:
            raise InputError(folder, 'is named twice', 'name each folder once')
    opened = [open_predictions(folder) for folder in folders]
    _check_classes(opened, root)
    image_ids = _common(opened)
    notes = _left_out(opened, len(image_ids))
    parts = _parts_of(root)
    split = _split_of(opened)
    photos = {i: _find_photo(root, parts, split, i) for i in image_ids}
    masks = _find_masks(root, parts, split, image_ids)
    if len(masks) < len(image_ids):
        notes.append(_unlabelled(root, split, len(image_ids) - len(masks), bool(masks)))
    names = short_names(places)
    models = dict(zip(names, opened, strict=True))
    return Sources(root, models, image_ids, photos, masks, notes)


def short_names(places: Sequence[Path]) -> list[str]:
    """Return names of folders: their paths without what all of them share.

    >>> short_names([Path('/runs/convnext/valid'), Path('/runs/beit/valid')])
    ['convnext', 'beit']
    >>> short_names([Path('/runs/a/fold0'), Path('/runs/b')])
    ['a/fold0', 'b']
    >>> short_names([Path('/runs/convnext/valid')])
    ['convnext/valid']
    """
    parts = [list(place.parts) for place in places]
    if len(parts) == 1:
        return ['/'.join(place.parts[-2:]).replace('//', '/') for place in places]
    for end in (0, -1):
        while all(len(p) > 1 for p in parts) and len({p[end] for p in parts}) == 1:
            for part in parts:
                del part[end]
    return ['/'.join(part) for part in parts]


def _check_classes(opened: Sequence[Predictions], root: Path) -> None:
    path = root / 'dataset.json'
    content = read_json(path) if path.is_file() else None
    known = content.get('classes') if isinstance(content, dict) else None
    for member in opened:
        if known is not None and list(known) != list(member.classes):
            raise InputError(
                member.folder,
                f'its classes differ from those of {path}',
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


def _parts_of(root: Path) -> list[Path]:
    parts = sorted(p.parent for p in root.glob('*/images') if p.is_dir())
    if not parts:
        raise InputError(root, 'holds no part with images', 'check --data-root')
    return parts


def _split_of(opened: Sequence[Predictions]) -> str | None:
    """Return the part that was predicted, where the models agree on one."""
    splits: set[Any] = {member.origin.get('split') for member in opened}
    split = splits.pop()
    return split if isinstance(split, str) and not splits else None


def _find_photo(
    root: Path, parts: Sequence[Path], split: str | None, image_id: str
) -> Path:
    named = [part for part in parts if part.name == split] or parts
    for part in named:
        if (path := part / 'images' / image_id).is_file():
            return path
    where = (
        root / named[0].name / 'images' if len(named) == 1 else f'any part of {root}'
    )
    raise InputError(repr(image_id), f'is not in {where}', 'check --data-root')


def _find_masks(
    root: Path, parts: Sequence[Path], split: str | None, image_ids: Sequence[str]
) -> dict[str, Path]:
    """Return true masks: of the predicted part, or of the part that holds the image."""
    named = [part for part in parts if part.name == split]
    labelled = [
        part
        for part in named or parts
        if part.name not in NOT_TRUE and (part / 'mask').is_dir()
    ]
    masks: dict[str, Path] = {}
    for image_id in image_ids:
        found = [
            path
            for part in labelled
            if (path := part / 'mask' / mask_name(image_id)).is_file()
        ]
        if len(found) > 1:
            raise InputError(
                repr(image_id), f'has masks {found[0]} and {found[1]}', 'remove one'
            )
        if found:
            masks[image_id] = found[0]
        elif named and labelled:
            raise InputError(
                repr(image_id), f'has no mask in {named[0]}', 'make the data root again'
            )
    return masks


def _unlabelled(root: Path, split: str | None, count: int, some: bool) -> str:
    part = f'the part {split!r}' if split else 'they'
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
