import hashlib
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS

from mmsegmentation.classes import CLASSES, PALETTE, palette_of
from mmsegmentation.command import InputError
from mmsegmentation.datasets.draw import chance_of
from mmsegmentation.datasets.leaves import without_held
from mmsegmentation.datasets.pixel_cache import PixelCache, open_cache
from mmsegmentation.datasets.quarantine import Quarantine
from mmsegmentation.datasets.sample_facts import (
    MAX_PIXELS,
    check_sizes,
    image_sizes,
    mask_facts,
    translate_ids,
)
from mmsegmentation.datasets.transforms.load_decoded import decode
from mmsegmentation.files import list_images, mask_name, read_json
from mmsegmentation.parts import check_images


@DATASETS.register_module()
class RecycleDataset(BaseSegDataset):
    """A part of a data root as ``utils/prepare_data.py`` writes it.

    Images are listed with their folders (``batch_01_vt/0002.jpg``), and each is joined
    to its mask by that name. Before anything is decoded for training, the header of
    every image and every mask are read: a missing or damaged one, two sizes of one
    sample, or a class id outside the table stops with the file's name. What was read
    is kept in ``.cache`` of the data root, or the user's, until the file changes.

    Args:
        data_root: The data root; ``data_prefix`` is relative to it.
        data_prefix: ``img_path`` and, where labels exist, ``seg_map_path``.
        ann_file: Text file of image ids, one a line: only these are used.
        metainfo: ``classes``, where they are not the recycling table.
        check_labels: Read every header and every mask at the start.
        max_pixels: The most that an image may have; a larger one is not decoded.
        cache: Keep the decoded images and labels in ``.cache`` of the data root, made
            on first use, 4 bytes a pixel, for ``LoadDecoded`` in the pipeline. A file
            that changes is decoded anew at the next start. Where the cache cannot be
            written, one line says so, and the files are read.
        cache_gb: The most that it may take, in GB of disk.
        held: List of files that the run passes over, as ``QuarantineHook`` writes it:
            what is wrong with them, or that they are gone, stops nothing.
        **kwargs: As MMSegmentation's ``BaseSegDataset``.

    Raises:
        InputError: A folder is missing or empty, or an image or a mask is missing or
            wrong.
    """

    METAINFO = dict(classes=CLASSES, palette=[list(colour) for colour in PALETTE])

    def __init__(
        self,
        metainfo: dict | None = None,
        check_labels: bool = True,
        max_pixels: int = MAX_PIXELS,
        cache: bool = False,
        cache_gb: float = 8,
        held: str | None = None,
        **kwargs,
    ) -> None:
        self.check_labels = check_labels
        self.max_pixels = max_pixels
        self.cache = cache
        self.cache_gb = cache_gb
        self.held = set(Quarantine(Path(held)).read()) if held else set()
        self._pixels: PixelCache | None = None
        # Pixels of each class by path of the mask, as the check of all masks found.
        self._counts: dict[str, np.ndarray] = {}
        metainfo = dict(metainfo or {})
        if 'classes' in metainfo and 'palette' not in metainfo:
            colours = palette_of(len(metainfo['classes']))
            metainfo['palette'] = [list(colour) for colour in colours]
        super().__init__(metainfo=metainfo, **kwargs)

    @classmethod
    def get_label_map(cls, new_classes=None) -> None:
        """Masks hold the ids of the data root's own table: nothing to translate."""
        return None

    def full_init(self) -> None:
        """List the data, and open or make their cache where one is asked for."""
        if self._fully_initialized:
            return
        super().full_init()
        # A cache holds the ids of the masks, untranslated.
        translated = self.reduce_zero_label or self.label_map
        if not self.cache or translated or 'seg_map_path' not in self.data_prefix:
            return
        infos = [self.get_data_info(i) for i in range(len(self))]
        infos = without_held(infos, self.held)
        root = Path(self.data_root or '.')
        self._pixels = open_cache(
            root / '.cache',
            self._cache_name(root),
            [(info['img_path'], info['seg_map_path']) for info in infos],
            decode,
            self.cache_gb * 1e9,
        )

    def _cache_name(self, root: Path) -> str:
        parts = [self.data_prefix[key] for key in ('img_path', 'seg_map_path')]
        # NUL stands in no path, so no two pairs of folders give the same bytes.
        key = '\0'.join(os.path.relpath(part, root) for part in parts)
        readable = re.sub(r'[^\w+]+', '-', key.replace('\0', '+'), flags=re.ASCII)[:80]
        return f'{readable}-{hashlib.sha256(os.fsencode(key)).hexdigest()[:8]}'

    def __getitem__(self, idx: int) -> Any:
        # An image in the place of an unreadable one is drawn: of this sample's chance.
        with chance_of(idx):
            return super().__getitem__(idx)

    def prepare_data(self, idx: int) -> Any:
        if self._pixels is None:
            return super().prepare_data(idx)
        info = self.get_data_info(idx)
        info['decoded'] = self._pixels.get(info['img_path'], info['seg_map_path'])
        return self.pipeline(info)

    def load_data_list(self) -> list[dict]:
        images = Path(self.data_prefix['img_path'])
        masks = self.data_prefix.get('seg_map_path')
        data_list = []
        for image_id in self._image_ids(images):
            info = {
                'img_path': str(images / image_id),
                'label_map': self.label_map,
                'reduce_zero_label': self.reduce_zero_label,
                'seg_fields': [],
            }
            if masks:
                info['seg_map_path'] = str(Path(masks) / mask_name(image_id))
            data_list.append(info)
        if self.check_labels:
            self._check_samples(without_held(data_list, self.held), bool(masks))
        return data_list

    def _check_samples(self, data_list: list[dict], labelled: bool) -> None:
        paths = [info['img_path'] for info in data_list]
        sizes = image_sizes(self._home, paths, self.max_pixels)
        if not labelled:
            return
        self._check_classes()
        masks = [info['seg_map_path'] for info in data_list]
        check_sizes(sizes, self._check_masks(masks), zip(paths, masks, strict=True))

    @property
    def _home(self) -> Path | None:
        return Path(self.data_root) if self.data_root else None

    def _image_ids(self, images: Path) -> list[str]:
        check_images(images)
        if self.ann_file:
            path = Path(self.ann_file)
            if not path.is_file():
                raise InputError(path, 'no such file', 'check ann_file')
            lines = path.read_text(encoding='utf-8-sig').splitlines()
            image_ids = [line.strip() for line in lines if line.strip()]
        else:
            # Those that are gone keep their place in the order.
            gone = [path for path in map(Path, self.held) if images in path.parents]
            ids = {path.relative_to(images).as_posix() for path in gone}
            image_ids = sorted(ids.union(list_images(images)))
        if not image_ids:
            raise InputError(images, 'holds no image', 'check the data root')
        return image_ids

    def _check_classes(self) -> None:
        path = Path(self.data_root or '.') / 'dataset.json'
        if not path.is_file():
            return
        known, given = read_json(path).get('classes'), self._metainfo['classes']
        if known and self.reduce_zero_label:
            known = known[1:]
        if known is not None and list(known) != list(given):
            raise InputError(
                path,
                f'classes {list(known)} are not those of the config, {list(given)}',
                'set metainfo=dict(classes=...) of the data set to them',
            )

    def _check_masks(self, paths: list[str]) -> dict[str, tuple[int, int]]:
        """Count the pixels of each class; return width and height of each mask."""
        count = len(self._metainfo['classes'])
        sizes = {}
        verb = 'gives' if self.reduce_zero_label else 'holds'
        after = ' after reduce_zero_label' * self.reduce_zero_label
        for path, (size, found) in mask_facts(self._home, paths).items():
            sizes[path] = size
            pixels = translate_ids(found, self.reduce_zero_label)
            pixels[self.ignore_index] = 0
            self._counts[path] = pixels[:count].copy()
            for i in np.flatnonzero(pixels[count:]).tolist():
                raise InputError(
                    path,
                    f'{verb} class id {i + count}{after}, but there are only {count} '
                    'classes',
                    'correct the mask or the class table',
                )
        return sizes

    def class_pixels(self) -> np.ndarray:
        """Return the labelled pixels of each class, (images, classes) int64.

        They are counted when the masks are checked at the start, or here.
        """
        infos = (self.get_data_info(i) for i in range(len(self)))
        paths = [info['seg_map_path'] for info in infos]
        unknown = [p for p in paths if p not in self._counts and p not in self.held]
        if unknown:
            self._check_masks(unknown)
        none = np.zeros(len(self._metainfo['classes']), np.int64)
        return np.stack([self._counts.get(path, none) for path in paths])
