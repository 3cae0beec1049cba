"""A training step of both networks beside MMSegmentation's, and their loss curves."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch import nn

from mmsegmentation.engine import Bf16OptimWrapper
from mmsegmentation.precision import has_bf16
from tools.benchmarks.case import Case, LeftOut, Options
from tools.benchmarks.networks import SIZES, TITLES, build_pair

PEER = 'MMSegmentation'
CURVE_STEPS = 50
# Of the configs of ConvNeXt.
LR, WARM_UP, WARM_UP_FROM = 8e-5, 1500, 1e-6


def cases(options: Options) -> Iterator[Case | LeftOut]:
    """Train on one batch: steps at the size of the configs, curves at a quarter."""
    on_gpu = options.device == 'cuda'
    for name, full in SIZES.items():
        small = full // 4
        size, batch = (small, 2) if options.quick else (full, 16 if on_gpu else 2)
        steps = 3 if options.quick else CURVE_STEPS
        yield _curve(name, small, steps, options.device)
        title = f'{TITLES[name]}, batch {batch}, {size} x {size}, '
        if on_gpu:
            pairs = {'fp16': (AmpOptimWrapper, AmpOptimWrapper)}
        else:
            pairs = {'fp32': (OptimWrapper, OptimWrapper)}
            if has_bf16():
                pairs['bf16 beside fp32'] = (Bf16OptimWrapper, OptimWrapper)
            else:
                why = 'this CPU has no bfloat16 arithmetic'
                yield LeftOut(title + 'bf16', PEER, why)
        for precision, wrappers in pairs.items():
            steps_of = _steps(name, size, batch, wrappers, options.device)
            limit = 0.01 if precision == 'fp32' else 0.1
            unit = 'of the loss'
            yield Case(title + precision, PEER, steps_of, _relative, limit, unit)


def _curve(name: str, size: int, steps: int, device: str) -> Case:
    """Compare the losses of a run from the same weights, with the same dice."""
    both = _steps(name, size, 2, (OptimWrapper, OptimWrapper), device)

    def run(step: Any) -> torch.Tensor:
        return torch.tensor([step() for _ in range(steps)])

    def spread(theirs: torch.Tensor) -> float:
        threads = torch.get_num_threads()
        # Sums are taken in another order.
        torch.set_num_threads(1 if threads > 1 else 2)
        stock = _steps(name, size, 2, (OptimWrapper, OptimWrapper), device)[1]
        difference = _largest(run(stock), theirs)
        torch.set_num_threads(threads)
        return difference

    title = f'{TITLES[name]}, losses of {steps} steps, batch 2, {size} x {size}, fp32'
    runs = [partial(run, step) for step in both]
    limit, unit = 1e-3, 'of a loss'
    return Case(title, PEER, runs, _largest, limit, unit, once=True, spread=spread)


def _steps(name: str, size: int, batch: int, wrappers: tuple, device: str) -> list:
    """Return two functions that train one step and return the loss."""
    data = _batch(size, batch, device)
    return [
        partial(_Step(model.train(), wrapper), data)
        for model, wrapper in zip(build_pair(name, size, device), wrappers, strict=True)
    ]


class _Step:
    """Trains a model, with dice that fall the same for every model.

    The optimiser is that of the configs, its warm-up included.
    """

    def __init__(self, model: Any, wrapper: type[OptimWrapper]) -> None:
        self.model, self.count = model, 0
        optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.05)
        self.wrapper = wrapper(optimizer=optimizer)

    def __call__(self, data: dict) -> float:
        torch.manual_seed(self.count)
        rate = LR * max(min(self.count / WARM_UP, 1), WARM_UP_FROM)
        for group in self.wrapper.param_groups:
            group['lr'] = rate
        self.count += 1
        return float(self.model.train_step(data, self.wrapper)['loss'])


def _batch(size: int, batch: int, device: str) -> dict[str, list]:
    """Return blurred noise and labels in large fields."""
    torch.manual_seed(0)
    images = nn.functional.interpolate(
        torch.rand(batch, 3, size // 8, size // 8) * 255, size=(size, size)
    ).byte()
    fields = torch.randint(0, 11, (batch, 1, 8, 8)).float()
    labels = nn.functional.interpolate(fields, size=(size, size)).byte()
    samples = [
        SegDataSample(
            gt_sem_seg=PixelData(data=label.long()),
            metainfo=dict(img_shape=(size, size), ori_shape=(size, size)),
        )
        for label in labels
    ]
    return {'inputs': list(images), 'data_samples': samples}


def _relative(ours: float, theirs: float) -> float:
    return abs(ours - theirs) / abs(theirs)


def _largest(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return float(((ours - theirs).abs() / theirs).max())
