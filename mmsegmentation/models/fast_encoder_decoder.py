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
from torch.nn import functional

from mmsegmentation.models.logit_map import (
    STRIP_MEMORY,
    DenseLogits,
    LogitMap,
    ResizedLogits,
)
from mmsegmentation.models.on_demand import Labels, OnDemand
from mmsegmentation.models.resize_matrix import way_back_matrix
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
    channel they are the probabilities of class 1, as MMSegmentation's are.

    In ``test_cfg``, beside MMSegmentation's keys:

    - ``precision``: ``'fp32'``, ``'bf16'`` or ``'fp16'`` for the forward pass, fp32
      where the device has no such arithmetic;
    - ``windows``: how many sliding windows are computed together;
    - ``strip_memory``: bound of the logits at full size, in MiB. Labels are decided
      from strips of rows of this size.
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
        """Leave predictions without labels and confidence, for who merges several."""
        self._decides = False
        try:
            yield
        finally:
            self._decides = True

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
        with autocast(inputs.device.type, self.precision):
            if self._slides(inputs):
                logits, size = self._slide(inputs), inputs.shape[2:]
            else:
                logits = self._logits(inputs)
        if logits.dtype != torch.float64:
            logits = logits.float()
        for sample, each in zip(samples, logits, strict=True):
            logit_map = self._map(each, size, sample.metainfo)
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

    def _slides(self, inputs: Tensor) -> bool:
        """Tell whether more than one window is needed."""
        cfg = self.test_cfg or {}
        mode = cfg.get('mode', 'whole')
        if mode not in ('whole', 'slide'):
            raise ValueError(f"mode must be 'whole' or 'slide', got {mode!r}")
        if mode == 'whole':
            return False
        return any(map(int.__gt__, inputs.shape[2:], cfg['crop_size']))

    def _slide(self, inputs: Tensor) -> Tensor:
        """Return the mean logits of windows that overlap, at the size of the images."""
        n, _, height, width = inputs.shape
        cfg = self.test_cfg
        rows = _starts(height, cfg['crop_size'][0], cfg['stride'][0])
        columns = _starts(width, cfg['crop_size'][1], cfg['stride'][1])
        rows_in, columns_in = map(min, cfg['crop_size'], (height, width))
        places = [
            (image, slice(top, top + rows_in), slice(left, left + columns_in))
            for top in rows
            for left in columns
            for image in range(n)
        ]
        total = inputs.new_zeros((n, self.out_channels, height, width))
        count = inputs.new_zeros((n, 1, height, width))
        step = cfg.get('windows', WINDOWS)
        for start in range(0, len(places), step):
            group = places[start : start + step]
            windows = torch.stack([inputs[i, :, y, x] for i, y, x in group])
            logits = functional.interpolate(
                self._logits(windows).float(),
                size=windows.shape[2:],
                mode='bilinear',
                align_corners=self.align_corners,
            )
            for (i, y, x), each in zip(group, logits, strict=True):
                total[i, :, y, x] += each
                count[i, :, y, x] += 1
        return total.div_(count)

    def _map(self, logits: Tensor, size: Sequence[int], meta: dict) -> LogitMap:
        """Return the logits of one image, (C, h, w), led to the image's own size.

        Args:
            size: Height and width of the network's input, padding included.
            meta: ``ori_shape``, ``padding_size`` and flip, as MMSegmentation's.
        """
        pads = meta.get('img_padding_size', meta.get('padding_size', (0, 0, 0, 0)))
        flipped = meta.get('flip_direction') if meta.get('flip') else None
        if meta.get('flip') and flipped not in ('horizontal', 'vertical'):
            raise ValueError(f'a flip by {flipped!r} cannot be undone')
        one = self.out_channels == 1
        options = self.decode_head.threshold if one else None, self.strip_memory
        original = tuple(meta.get('ori_shape', size)[:2])
        moved = any(pads) or flipped
        if not moved and tuple(logits.shape[1:]) == tuple(size) == original:
            return DenseLogits(logits.sigmoid() if one else logits, *options)
        axes = ('vertical', pads[2:]), ('horizontal', pads[:2])
        sizes = zip(logits.shape[1:], size, original, strict=True)
        # In float32, whatever the caller computes in: it decides the labels.
        with torch.autocast(logits.device.type, enabled=False):
            rows, columns = (
                way_back_matrix(steps, pad, flipped == axis, logits, self.align_corners)
                for steps, (axis, pad) in zip(sizes, axes, strict=True)
            )
        return ResizedLogits(logits, rows, columns, *options)


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
