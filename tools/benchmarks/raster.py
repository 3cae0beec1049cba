"""COCO JSON to masks beside the official loop, on one core.

The official loop is that of the competition's notebook: annotations by area, the
largest first, each painted through ``annToMask``. Beside drawn outlines it is measured
on the raw folders (``train.json`` and ``val.json``) that the environment variable
RECYCLE_RAW names, with ``:`` between.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from functools import partial
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import Any

import numpy as np
from PIL import Image

from mmsegmentation.classes import CLASSES
from mmsegmentation.files import mask_name, write_json, write_mask
from tools.benchmarks.case import Case, LeftOut, Options
from utils.coco import Findings, Part, read_part
from utils.rasterise import paint

Save = Callable[[Path, np.ndarray], None]
VARIABLE = 'RECYCLE_RAW'
SIZE = 512
# Images and objects of the competition.
DRAWN, OBJECTS = 3272, 8


def cases(options: Options) -> Iterator[Case | LeftOut]:
    """Paint all masks of a JSON, then from the JSON to PNG on disk."""
    import cv2

    cv2.setNumThreads(1)
    with TemporaryDirectory() as name:
        path = Path(name) / 'drawn.json'
        count = 32 if options.quick else DRAWN
        write_json(path, draw_outlines(count))
        yield from _of(path, f'{count} drawn images, {SIZE} x {SIZE}', Path(name))
        folders = [Path(p) for p in os.environ.get(VARIABLE, '').split(os.pathsep) if p]
        if not folders:
            why = f'{VARIABLE} names no raw folder'
            yield LeftOut('real photographs', 'official loop', why)
        for folder in folders:
            for path in sorted(folder.glob('*.json')):
                if path.stem in ('train', 'val'):
                    yield from _of(path, f'{folder.name}/{path.name}', Path(name))


def draw_outlines(count: int, seed: int = 0) -> dict[str, Any]:
    """Return COCO JSON of dense contours as the competition has them."""
    rng = np.random.default_rng(seed)
    images: list[dict] = []
    annotations: list[dict] = []
    for number in range(count):
        name = {'id': number, 'file_name': f'{number:04}.jpg'}
        images.append({**name, 'width': SIZE, 'height': SIZE})
        for _ in range(rng.poisson(OBJECTS)):
            annotations.append(
                {
                    'id': len(annotations),
                    'image_id': number,
                    'category_id': int(rng.integers(1, len(CLASSES))),
                    **_draw_object(rng),
                }
            )
    categories = [{'id': i, 'name': name} for i, name in enumerate(CLASSES) if i]
    return {'images': images, 'categories': categories, 'annotations': annotations}


def _draw_object(rng: np.random.Generator) -> dict[str, Any]:
    """Return a ragged blob of log-normal area, in one part or several."""
    import cv2

    canvas = np.zeros((SIZE, SIZE), np.uint8)
    for _ in range(1 + rng.poisson(0.3)):
        radius = np.exp(rng.normal(3.4, 0.8)).clip(2, 200)
        angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)
        radii = radius * rng.uniform(0.6, 1.1, 40)
        circle = np.stack([np.cos(angles), np.sin(angles)], 1) * radii[:, None]
        corners = np.rint(circle + rng.uniform(0, SIZE, 2)).astype(np.int32)
        cv2.fillPoly(canvas, [corners.clip(0, SIZE - 1)], 1)
    contours, _ = cv2.findContours(canvas, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    polygons = [c.ravel().tolist() for c in contours if len(c) >= 3]
    if not polygons:  # a line or a point at the border
        return _draw_object(rng)
    return {'segmentation': polygons, 'area': float(canvas.sum())}


def _of(path: Path, what: str, folder: Path) -> Iterator[Case]:
    part, coco = _read_ours(path), _read_official(path)
    sides = partial(_paint_ours, part), partial(_paint_official, coco)
    yield Case(
        f'paint {what}',
        'official loop',
        sides,
        lambda ours, theirs: _differing(part, coco),
        0,
        'pixels',
    )
    for peer, save in (('Pillow', _save_pillow), ('OpenCV', _save_opencv)):
        yield Case(
            f'JSON to PNG, {what}',
            f'official loop, {peer}',
            (partial(_write_ours, path, folder), partial(_write, path, folder, save)),
            partial(_differing_files, part),
            0,
            'pixels',
        )


def _read_ours(path: Path) -> Part:
    found = Findings()
    part = read_part('train', path, CLASSES, True, found)
    if found.errors:
        raise ValueError(found.errors[0])
    return part


def _read_official(path: Path) -> Any:
    from pycocotools.coco import COCO

    with redirect_stdout(StringIO()):
        return COCO(path)


def _ours(part: Part, row: dict) -> np.ndarray:
    annotations = part.annotations[row['id']]
    return paint(annotations, row['height'], row['width'], part.labels)


def _official(coco: Any, row: dict) -> np.ndarray:
    annotations = coco.loadAnns(coco.getAnnIds(imgIds=row['id']))
    label_map = np.zeros((row['height'], row['width']), np.uint8)
    for annotation in sorted(annotations, key=lambda a: a['area'], reverse=True):
        label_map[coco.annToMask(annotation) == 1] = annotation['category_id']
    return label_map


def _paint_ours(part: Part) -> int:
    return sum(_ours(part, row).size for row in part.images)


def _paint_official(coco: Any) -> int:
    return sum(_official(coco, row).size for row in coco.dataset['images'])


def _differing(part: Part, coco: Any) -> float:
    rows = part.images
    return float(sum((_ours(part, r) != _official(coco, r)).sum() for r in rows))


def _write_ours(path: Path, folder: Path) -> Path:
    # Into a new folder: where a file stands already, it costs less to write over it.
    out = Path(mkdtemp(dir=folder))
    part = _read_ours(path)
    for row in part.images:
        write_mask(out / mask_name(row['file_name']), _ours(part, row))
    return out


def _write(path: Path, folder: Path, save: Save) -> Path:
    out = Path(mkdtemp(dir=folder))
    coco = _read_official(path)
    for row in coco.dataset['images']:
        target = out / mask_name(row['file_name'])
        target.parent.mkdir(parents=True, exist_ok=True)
        save(target, _official(coco, row))
    return out


def _save_pillow(path: Path, label_map: np.ndarray) -> None:
    Image.fromarray(label_map).save(path)


def _save_opencv(path: Path, label_map: np.ndarray) -> None:
    import cv2

    cv2.imwrite(str(path), label_map)


def _differing_files(part: Part, ours: Path, theirs: Path) -> float:
    names = [mask_name(row['file_name']) for row in part.images]
    return float(sum((_ids(ours / n) != _ids(theirs / n)).sum() for n in names))


def _ids(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))
