"""From photographs to masks on disk: our test loop beside MMSegmentation's."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from mmengine.runner import Runner
from PIL import Image
from torch import nn

from mmsegmentation.classes import CLASSES
from mmsegmentation.files import read_mask
from mmsegmentation.precision import has_bf16
from tools.benchmarks.case import Case, LeftOut, Options, missing
from tools.benchmarks.networks import SIZES, TITLES, build_pair

PEER = 'MMSegmentation'
# As the competition's photographs.
SIDE = 512


def cases(options: Options) -> Iterator[Case | LeftOut]:
    """Predict a few photographs with both networks, fp32 and bf16 beside fp32."""
    with TemporaryDirectory() as folder:
        for name, full in SIZES.items():
            size = 128 if options.quick else full
            count = 2 if name == 'beit' else 4
            _draw(Path(folder, name), 1 if options.quick else count)
            models = build_pair(name, size, options.device)
            title = f'{TITLES[name]}, {size} x {size}'
            sides = _loops(models, Path(folder, name), size)
            unit = 'of the labels'
            yield Case(f'{title}, fp32', PEER, sides, _differing, 1e-4, unit)
            if name == 'convnext':
                yield _beside_transformers(title, Path(folder, name), size, options)
            title += ', bf16 beside fp32'
            if not has_bf16():
                yield LeftOut(title, PEER, 'this CPU has no bfloat16 arithmetic')
                continue
            models[0].precision = 'bf16'
            yield Case(title, PEER, sides, _differing, 0.05, unit)


def _beside_transformers(
    title: str, root: Path, size: int, options: Options
) -> Case | LeftOut:
    title, peer = f'{title}, fp32', 'transformers'
    if why := missing('transformers'):
        return LeftOut(title, peer, why)
    if size != SIDE:
        return LeftOut(title, peer, 'it resizes on its own')
    from tools.benchmarks import transformers_peer

    models = build_pair('convnext', size, options.device)
    theirs = transformers_peer.build_peer(models[0], options.device)
    ours = _loops(models, root, size)[0]
    sides = ours, transformers_peer.loop(theirs, root, options.device)
    return Case(title, peer, sides, _differing, 1e-4, 'of the labels')


def _draw(folder: Path, count: int) -> None:
    """Write photographs of coloured fields and noise."""
    images = folder / 'test/images'
    images.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(count):
        fields = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        image = np.asarray(Image.fromarray(fields).resize((SIDE, SIDE)))
        noise = rng.integers(0, 24, image.shape, dtype=np.uint8)
        Image.fromarray(image // 2 + noise).save(images / f'{number}.jpg')


def _loops(
    models: tuple[Any, Any], root: Path, size: int
) -> list[Callable[[], list[np.ndarray]]]:
    """Return two functions that predict all images and return the masks they wrote."""
    resize = dict(type='Resize', scale=(size, size), keep_ratio=False)
    pipeline = [dict(type='LoadImageFromFile'), resize, dict(type='PackSegInputs')]
    data = dict(
        data_root=str(root),
        data_prefix=dict(img_path='test/images'),
        pipeline=pipeline,
        test_mode=True,
    )
    # MMSegmentation is told the classes, and writes masks by its metric.
    named = dict(data, metainfo=dict(classes=CLASSES), type='BaseSegDataset')
    writers: tuple[dict, dict] = (
        dict(
            type='PredictionWriter',
            out_dir=str(root / 'ours'),
            images=str(root / 'test/images'),
        ),
        dict(type='IoUMetric', format_only=True, output_dir=str(root / 'theirs')),
    )
    sets: tuple[dict, dict] = (dict(data, type='RecycleDataset'), named)
    found = root / 'ours/masks', root / 'theirs'
    return [
        partial(_predict, _runner(model, dataset, writer, root), masks)
        for model, dataset, writer, masks in zip(
            models, sets, writers, found, strict=True
        )
    ]


def _runner(model: nn.Module, dataset: dict, writer: dict, root: Path) -> Runner:
    loader: dict[str, Any] = dict(
        batch_size=1,
        num_workers=1,
        persistent_workers=True,
        sampler=dict(type='DefaultSampler', shuffle=False),
        dataset=dataset,
    )
    return Runner(
        model,
        work_dir=str(root / 'log'),
        test_dataloader=loader,
        test_cfg=dict(),
        test_evaluator=writer,
        default_hooks=dict(checkpoint=None, logger=None),
        default_scope='mmseg',
        experiment_name=f'{root.name}_{writer["type"]}_{id(model)}',
        log_level='ERROR',
    )


def _predict(runner: Runner, masks: Path) -> list[np.ndarray]:
    runner.test()
    return [read_mask(path) for path in sorted(masks.glob('*.png'))]


def _differing(ours: list[np.ndarray], theirs: list[np.ndarray]) -> float:
    """Return the share of pixels with another label."""
    return float(np.mean([a != b for a, b in zip(ours, theirs, strict=True)]))
