"""The training pipelines on decoded samples, on one core.

Both sides mix with our transforms, for MMSegmentation has none, and draw the same
random numbers. Its side is its own wrapper, which copies each sample, and its own
transforms. Albumentations has other arithmetic and dice of its own: with it, the steps,
their chances and ranges are the same, the pixels are not.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import cv2
import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmengine.registry import init_default_scope
from torch import Tensor

from tools.benchmarks.case import Case, LeftOut, Options, missing

SIZE = 512
MEAN = (103.53, 116.28, 123.675)
Batch = list[tuple[Tensor, Tensor]]
CUT_MIX = dict(type='RandomCutMix', prob=1.0, patch_scale=(256, 256))
COPY_PASTE = dict(type='CopyPaste', prob=1.0, mode='all', patch_scale_ratio=0.75)


def cases(options: Options) -> Iterator[Case | LeftOut]:
    """Augment many samples, one after the other."""
    # One core, as a worker of a data loader has it.
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    init_default_scope('mmseg')
    count = 8 if options.quick else 48
    named = ('CutMix', CUT_MIX, None), ('CopyPaste', COPY_PASTE, None)
    for title, mix, scale in (*named, ('CutMix', CUT_MIX, (640, 640))):
        name = f'{count} samples, {title}, {SIZE} x {SIZE}'
        name += f' to {scale[0]} x {scale[1]}' if scale else ''
        ours = _work(False, [mix, *ours_steps(scale)], count)
        stock = _work(True, [mix, *stock_steps(scale)], count)
        yield Case(
            name, 'MMSegmentation', (ours, stock), largest_difference, 0, 'of 255'
        )
        if why := missing('albumentations'):
            yield LeftOut(name, 'albumentations', why)
            continue
        peer = _work(False, [mix, dict(type=_Albumentations, scale=scale)], count)
        unit = 'tensors of another shape or type'
        yield Case(name, 'albumentations', (ours, peer), _other_kinds, 0, unit)


def ours_steps(scale: tuple[int, int] | None) -> list[dict]:
    """Return our steps behind the mixing, as in ``_base_/datasets``."""
    turned = dict(type='FlipRotateResize', pad_val=MEAN, pad_size=(SIZE, SIZE))
    return [
        dict(type='FastPhotoMetricDistortion'),
        {**turned, 'scale': scale},
        dict(type='FastPackSegInputs', byte_labels=True),
    ]


def stock_steps(scale: tuple[int, int] | None) -> list[dict]:
    """Return MMSegmentation's steps behind the mixing."""
    rotation = dict(prob=0.8, degree=30, pad_val=MEAN, seg_pad_val=255)
    return [
        dict(type='PhotoMetricDistortion'),
        dict(type='RandomFlip', prob=0.5),
        dict(type='RandomRotate', **rotation),
        dict(type='Pad', size=(SIZE, SIZE), pad_val=dict(img=MEAN, seg=255)),
        *([dict(type='Resize', scale=scale)] if scale else []),
        dict(type='PackSegInputs'),
    ]


def draw_sample(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return a picture with smooth shades and noise, and labels in patches."""
    shades = rng.integers(0, 256, (12, 12, 3), dtype=np.uint8)
    image = cv2.resize(shades, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)
    noise = rng.normal(0, 6, image.shape)
    image = np.clip(image + noise, 0, 255).astype(np.uint8)
    # Three quarters of a photograph are background.
    patches = rng.integers(0, 11, (12, 12), dtype=np.uint8)
    patches[rng.random(patches.shape) < 0.75] = 0
    labels = cv2.resize(patches, (SIZE, SIZE), interpolation=cv2.INTER_NEAREST)
    return image, labels


def tensors_of(packed: dict) -> tuple[Tensor, Tensor]:
    """Return image and labels of a packed sample."""
    return packed['inputs'], packed['data_samples'].gt_sem_seg.data


def largest_difference(ours: Batch, theirs: Batch) -> float:
    """Return by how much two values or labels differ at most, 0 to 255."""
    pairs = zip(ours, theirs, strict=True)
    return max(
        float((a.long() - b.long()).abs().max())
        for our, their in pairs
        for a, b in zip(our, their, strict=True)
    )


class _Decoded:
    """A data set in memory."""

    metainfo: dict = {}

    def __init__(self, count: int) -> None:
        rng = np.random.default_rng(0)
        self.samples = [draw_sample(rng) for _ in range(count)]

    def full_init(self) -> None:
        """There is nothing to list."""

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> dict:
        image, labels = self.samples[index]
        shape = image.shape[:2]
        return {
            'img_path': f'{index}.jpg',
            'seg_map_path': f'{index}.png',
            'img': image,
            'gt_seg_map': labels,
            'seg_fields': ['gt_seg_map'],
            'img_shape': shape,
            'ori_shape': shape,
            'reduce_zero_label': False,
        }


def _work(stock: bool, steps: Sequence[dict], count: int) -> Callable[[], Batch]:
    from mmseg.datasets import MultiImageMixDataset

    from mmsegmentation.datasets import SeededMixDataset

    wrapper = MultiImageMixDataset if stock else SeededMixDataset
    dataset = wrapper(dict(type=_Decoded, count=count), steps)

    def work() -> Batch:
        batch = []
        for index in range(count):
            np.random.seed(index)
            batch.append(tensors_of(dataset[index]))
        return batch

    return work


class _Albumentations(BaseTransform):
    """The same steps by albumentations, and its own way to tensors."""

    def __init__(self, scale: tuple[int, int] | None) -> None:
        import albumentations as A
        from albumentations.pytorch import ToTensorV2

        light = dict(brightness_limit=32 / 255, contrast_limit=0.0, p=0.5)
        contrast = dict(brightness_limit=0.0, contrast_limit=0.5, p=0.5)
        rest = dict(brightness=0, contrast=0)
        filled = dict(border_mode=cv2.BORDER_CONSTANT, fill=MEAN, fill_mask=255)
        pad = dict(min_height=SIZE, min_width=SIZE, position='top_left')
        self.steps = A.Compose(
            [
                A.RandomBrightnessContrast(**light),
                A.RandomBrightnessContrast(**contrast),
                A.ColorJitter(**rest, saturation=(0.5, 1.5), hue=0, p=0.5),
                A.ColorJitter(**rest, saturation=0, hue=(-0.1, 0.1), p=0.5),
                A.HorizontalFlip(p=0.5),
                A.Rotate(limit=30, p=0.8, **filled),
                A.PadIfNeeded(**pad, **filled),
                *([A.Resize(scale[1], scale[0])] if scale else []),
                ToTensorV2(),
            ],
            seed=0,
        )

    def transform(self, results: dict) -> dict[str, Any]:
        from mmengine.structures import PixelData
        from mmseg.structures import SegDataSample

        done = self.steps(image=results['img'], mask=results['gt_seg_map'])
        labels = PixelData(data=done['mask'][None])
        sample = SegDataSample(gt_sem_seg=labels)
        return {'inputs': done['image'], 'data_samples': sample}


def _other_kinds(ours: Batch, theirs: Batch) -> float:
    """Return how many tensors have another shape or type than the peer's."""
    pairs = zip(ours, theirs, strict=True)
    return sum(
        (a.shape, a.dtype) != (b.shape, b.dtype)
        for our, their in pairs
        for a, b in zip(our, their, strict=True)
    )
