"""From files to batches, by a data loader with two workers, the cache warm.

Both sides draw the same random numbers, from the generators that MMEngine seeds in its
workers. (In a run ours seeds each sample, which takes 0.05 ms more.) The first pass is
kept and compared; the timed ones let each batch go, as training does.
"""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
import torch
from mmengine.dataset import pseudo_collate, worker_init_fn
from mmengine.registry import init_default_scope
from torch.utils.data import DataLoader

from mmsegmentation.datasets import stacked_collate
from mmsegmentation.files import write_mask
from tools.benchmarks.augment import (
    CUT_MIX,
    SIZE,
    Batch,
    draw_sample,
    largest_difference,
    ours_steps,
    stock_steps,
)
from tools.benchmarks.case import Case, LeftOut, Options

WORKERS, BATCH_SIZE = 2, 4


def cases(options: Options) -> Iterator[Case | LeftOut]:
    """Load all samples once: with mixing alone, and with the whole pipeline."""
    init_default_scope('mmseg')
    images = 16 if options.quick else 96
    with TemporaryDirectory() as name:
        root = Path(name)
        _draw(root, images)
        for title, first in (('CutMix', -1), ('whole pipeline', 0)):
            sides = (
                _work(
                    _ours(root, [CUT_MIX, *ours_steps(None)[first:]]), stacked_collate
                ),
                _work(
                    _stock(root, [CUT_MIX, *stock_steps(None)[first:]]), pseudo_collate
                ),
            )
            what = f'{images} JPEG and PNG, {SIZE} x {SIZE}, {title}, {WORKERS} workers'
            yield Case(what, 'MMSegmentation', sides, largest_difference, 0, 'of 255')


def _draw(root: Path, count: int) -> None:
    rng = np.random.default_rng(0)
    for part in ('images', 'mask'):
        (root / 'train' / part).mkdir(parents=True)
    for i in range(count):
        image, labels = draw_sample(rng)
        cv2.imwrite(str(root / f'train/images/{i:04}.jpg'), image)
        write_mask(root / f'train/mask/{i:04}.png', labels)


def _source(root: Path, steps: list[dict], **more: Any) -> dict:
    return dict(
        type='RecycleDataset',
        data_root=str(root),
        data_prefix=dict(img_path='train/images', seg_map_path='train/mask'),
        pipeline=steps,
        **more,
    )


def _ours(root: Path, steps: list[dict]) -> Any:
    from mmsegmentation.datasets import SeededMixDataset

    loaded: list[dict] = [
        dict(type='LoadDecoded', copy=False),
        dict(type='FastResize', scale=(SIZE, SIZE), keep_ratio=True),
    ]
    return SeededMixDataset(_source(root, loaded, cache=True), steps)


def _stock(root: Path, steps: list[dict]) -> Any:
    from mmseg.datasets import MultiImageMixDataset

    loaded: list[dict] = [
        dict(type='LoadImageFromFile'),
        dict(type='LoadAnnotations'),
        dict(type='Resize', scale=(SIZE, SIZE), keep_ratio=True),
    ]
    return MultiImageMixDataset(_source(root, loaded), steps)


def _work(dataset: Any, collate: Callable) -> Callable[[], Batch]:
    loader = DataLoader(
        dataset,
        batch_size=BATCH_SIZE,
        num_workers=WORKERS,
        persistent_workers=True,
        collate_fn=collate,
        worker_init_fn=partial(_start, num_workers=WORKERS, rank=0, seed=0),
        multiprocessing_context='fork',
    )

    passes = count()

    def work() -> Batch:
        kept: Batch = []
        first = next(passes) == 0
        for loaded in loader:
            samples = zip(loaded['inputs'], loaded['data_samples'], strict=True)
            pairs = [(image, sample.gt_sem_seg.data) for image, sample in samples]
            kept += pairs if first else []
        return kept

    return work


def _start(worker_id: int, **seeds: int) -> None:
    # As MMEngine's processes are set up.
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    worker_init_fn(worker_id, **seeds)
