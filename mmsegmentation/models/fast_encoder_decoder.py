from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.structures import PixelData
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.segmentors import EncoderDecoder
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor

from mmsegmentation.models.by_size import predict_by_size
from mmsegmentation.models.logit_map import (
    STRIP_MEMORY,
    DenseLogits,
    LogitMap,
    WindowedLogits,
)
from mmsegmentation.models.on_demand import Labels, OnDemand
from mmsegmentation.models.resize_matrix import Axis, window_matrices
from mmsegmentation.precision import autocast, precision_of

# Windows that are computed together; more gain little and take memory.
WINDOWS = 4


@MODELS.register_module()
class FastEncoderDecoder(EncoderDecoder):
    """MMSegmentation's EncoderDecoder with the same labels, sooner.

    The logits are resized once: both resizings, the removal of padding and the flip in
    between are one matrix per axis. Sliding windows are computed several at a time.
    A prediction holds ``pred_sem_seg``, (1, H, W) int64, and ``confidence``, (1, H, W)
    uint8, which is 255 x the probability of the pixel's class. ``seg_logits``,
    (channels, H, W) float32, are computed when they are first read. With one output
    channel they are the probabilities of class 1, as in MMSegmentation.

    In ``test_cfg``, beside MMSegmentation's keys:

    - ``precision``: ``'fp32'``, ``'bf16'`` or ``'fp16'`` for the forward pass, fp32
      where the device has no such arithmetic;
    - ``windows``: number of sliding windows that are computed together;
    - ``strip_memory``: upper bound of the memory for logits at full size, in MiB.
      Labels are decided in strips of rows of this size.

    Raises:
        ValueError: ``strip_memory`` is not above 0.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        cfg = self.test_cfg or {}
        self.precision = precision_of(cfg.get('precision', 'fp32'))
        self.strip_memory = cfg.get('strip_memory', STRIP_MEMORY)
        if self.strip_memory <= 0:
            raise ValueError(f'strip_memory must be above 0, got {self.strip_memory}')
        self._decides = True

    @contextmanager
    def undecided(self) -> Iterator[None]:
        """Predict without labels and confidence, so that views can be merged first."""
        self._decides = False
        try:
            yield
        finally:
            self._decides = True

    def val_step(self, data: Any) -> list:
        """Predict a batch. Its images may differ in size."""
        return predict_by_size(super().val_step, data)

    def test_step(self, data: Any) -> list:
        """Predict a batch. Its images may differ in size."""
        return predict_by_size(super().test_step, data)

    def predict(
        self, inputs: Tensor, data_samples: list[SegDataSample] | None = None
    ) -> list[SegDataSample]:
        """Return new samples, with what was in the given ones and the predictions.

        Args:
            inputs: Normalised images, (N, 3, H, W).
            data_samples: Samples whose metainfo says how the images were resized.
        """
        if not self._is_plain():
            return super().predict(inputs, data_samples)
        size = inputs.shape[2:]
        if data_samples is None:
            samples = [SegDataSample() for _ in inputs]
        else:
            samples = [_copy(sample) for sample in data_samples]
            meta = samples[0].metainfo
            size = meta.get('pad_shape', meta.get('img_shape', size))[:2]
        axes = self._axes(inputs, size)
        with autocast(inputs.device.type, self.precision):
            windows = self._windows(inputs, axes)
        if windows.dtype != torch.float64:
            windows = windows.float()
        for sample, each in zip(samples, windows, strict=True):
            logit_map = self._map(each, axes, sample.metainfo)
            sample.seg_logits = OnDemand(logit_map)
            if self._decides:
                put_decision(sample, logit_map)
        return samples

    def _is_plain(self) -> bool:
        """Tell whether the head resizes its logits as MMSegmentation's heads do."""
        head = type(self.decode_head)
        return (
            head.predict is BaseDecodeHead.predict
            and head.predict_by_feat is BaseDecodeHead.predict_by_feat
        )

    def _logits(self, images: Tensor) -> Tensor:
        return self.decode_head.forward(self.extract_feat(images))

    def _axes(self, inputs: Tensor, size: Sequence[int]) -> tuple[Axis, ...]:
        """Return the windows down and across.

        Args:
            inputs: Images, (N, 3, H, W).
            size: Height and width that MMSegmentation takes as the size of the input
                when the network sees the whole image.
        """
        cfg = self.test_cfg or {}
        mode = cfg.get('mode', 'whole')
        if mode not in ('whole', 'slide'):
            raise ValueError(f"mode must be 'whole' or 'slide', got {mode!r}")
        if mode == 'whole':
            return tuple(Axis(side, [0], side) for side in size)
        sides = zip(inputs.shape[2:], cfg['crop_size'], cfg['stride'], strict=True)
        return tuple(
            Axis(side, _starts(side, window, stride), min(window, side))
            for side, window, stride in sides
        )

    def _windows(self, inputs: Tensor, axes: Sequence[Axis]) -> Tensor:
        """Return logits, (N, windows down, windows across, channels, h, w)."""
        down, across = axes
        if len(down.starts) == len(across.starts) == 1:
            return self._logits(inputs)[:, None, None]
        places = [
            (image, slice(top, top + down.window), slice(left, left + across.window))
            for image in range(len(inputs))
            for top in down.starts
            for left in across.starts
        ]
        step = self.test_cfg.get('windows', WINDOWS)
        logits = []
        for start in range(0, len(places), step):
            group = places[start : start + step]
            windows = torch.stack([inputs[i, :, y, x] for i, y, x in group])
            logits.append(self._logits(windows))
        shape = len(inputs), len(down.starts), len(across.starts)
        return torch.cat(logits).unflatten(0, shape)

    def _map(self, windows: Tensor, axes: Sequence[Axis], meta: dict) -> LogitMap:
        """Return the logits of one image at the image's original size.

        Args:
            windows: Logits, (windows down, windows across, channels, h, w).
            meta: ``ori_shape``, ``padding_size`` and flip, as MMSegmentation's.
        """
        pads = meta.get('img_padding_size', meta.get('padding_size', (0, 0, 0, 0)))
        flipped = meta.get('flip_direction') if meta.get('flip') else None
        if meta.get('flip') and flipped not in ('horizontal', 'vertical'):
            raise ValueError(f'a flip by {flipped!r} cannot be undone')
        one = self.out_channels == 1
        options = self.decode_head.threshold if one else None, self.strip_memory
        size = [axis.size for axis in axes]
        small, original = list(windows.shape[3:]), list(meta.get('ori_shape', size)[:2])
        if small == size == original and not any(pads) and flipped is None:
            logits = windows[0, 0]
            return DenseLogits(logits.sigmoid() if one else logits, *options)
        back = (pads[2:], flipped == 'vertical'), (pads[:2], flipped == 'horizontal')
        # Without the caller's autocast, because these numbers decide the labels.
        with torch.autocast(windows.device.type, enabled=False):
            rows, columns = (
                window_matrices(axis, *sizes, *way, windows, self.align_corners)
                for axis, sizes, way in zip(
                    axes, zip(small, original, strict=True), back, strict=True
                )
            )
        return WindowedLogits(windows, rows, columns, *options)


def put_decision(sample: SegDataSample, logit_map: LogitMap) -> None:
    """Put labels and confidence into a sample."""
    labels, confidence = logit_map.decide()
    sample.pred_sem_seg = OnDemand(Labels(labels))
    sample.set_data({'confidence': PixelData(data=confidence)})


def _copy(sample: SegDataSample) -> SegDataSample:
    copy = SegDataSample(metainfo=sample.metainfo)
    copy.set_data(dict(sample.items()))
    return copy


def _starts(size: int, window: int, stride: int) -> list[int]:
    """Return where windows begin: the last one ends with the image."""
    count = max(size - window + stride - 1, 0) // stride + 1
    return [max(min(i * stride + window, size) - window, 0) for i in range(count)]
