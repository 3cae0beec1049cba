from collections.abc import Sequence
from typing import Any

import torch
from mmengine.structures import PixelData
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.segmentors import EncoderDecoder
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor
from torch.nn import functional

from mmsegmentation.models.resize_matrix import way_back_matrix
from mmsegmentation.precision import autocast, precision_of

# Windows that are computed together; more gain little and take memory.
WINDOWS = 4


class Prediction(SegDataSample):
    """A sample that says how to keep the logits, where it is asked for and has none."""

    @SegDataSample.seg_logits.getter
    def seg_logits(self) -> PixelData:
        """The logits of all classes, (C, H, W)."""
        try:
            return self._seg_logits
        except AttributeError:
            raise AttributeError(
                'seg_logits were not kept; set keep_seg_logits=True in the test_cfg of '
                "the model (MMSegmentation's SegTTAModel needs them)"
            ) from None


@MODELS.register_module()
class FastEncoderDecoder(EncoderDecoder):
    """MMSegmentation's EncoderDecoder with the same labels, sooner.

    The logits are resized once: both resizings, the removal of padding and the flip in
    between are one matrix per axis. Sliding windows are computed several at a time.
    A prediction holds ``pred_sem_seg`` and ``confidence``, both (1, H, W) uint8, the
    latter 255 x the winner's probability; ``seg_logits`` only if asked for.

    In ``test_cfg``, beside MMSegmentation's keys:

    - ``precision``: ``'fp32'``, ``'bf16'`` or ``'fp16'`` for the forward pass, fp32
      where the device has no such arithmetic;
    - ``keep_seg_logits``: keep the logits of all classes too, (C, H, W) float32, as
      MMSegmentation's ``SegTTAModel`` needs them (ours asks by itself, and
      ``tools/test.py --tta`` for any); who asks for logits that were not kept gets an
      ``AttributeError`` that names this key;
    - ``windows``: how many sliding windows are computed together.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        cfg = self.test_cfg or {}
        self.precision = precision_of(cfg.get('precision', 'fp32'))
        self.keep_seg_logits = False

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
            samples = [Prediction() for _ in inputs]
        else:
            samples = [_prediction_of(sample) for sample in data_samples]
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
            self._decide(sample, self._resize(each, size, sample.metainfo))
        return samples

    def _is_plain(self) -> bool:
        """Tell whether the head resizes its logits as MMSegmentation's heads do."""
        head = type(self.decode_head)
        return (
            self.out_channels > 1
            and head.predict is BaseDecodeHead.predict
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
        return total / count

    def _resize(self, logits: Tensor, size: Sequence[int], meta: dict) -> Tensor:
        """Return the logits of one image, (C, h, w), at the image's own size.

        Args:
            size: Height and width of the network's input, padding included.
            meta: ``ori_shape``, ``padding_size`` and flip, as MMSegmentation's.
        """
        pads = meta.get('img_padding_size', meta.get('padding_size', (0, 0, 0, 0)))
        flipped = meta.get('flip_direction') if meta.get('flip') else None
        if meta.get('flip') and flipped not in ('horizontal', 'vertical'):
            raise ValueError(f'a flip by {flipped!r} cannot be undone')
        axes = ('vertical', pads[2:]), ('horizontal', pads[:2])
        steps = zip(logits.shape[1:], size, meta.get('ori_shape', size), strict=False)
        # In float32, whatever the caller computes in: it decides the labels.
        with torch.autocast(logits.device.type, enabled=False):
            rows, columns = (
                way_back_matrix(step, pad, flipped == axis, logits, self.align_corners)
                for step, (axis, pad) in zip(steps, axes, strict=True)
            )
            return rows @ (logits @ columns.T)

    def _decide(self, sample: SegDataSample, logits: Tensor) -> None:
        """Put labels and confidence into a sample."""
        if self.keep_seg_logits or (self.test_cfg or {}).get('keep_seg_logits'):
            sample.set_data({'seg_logits': PixelData(data=logits)})
        # A maximum with its place; argmax alone is several times slower on a CPU.
        highest, labels = logits.max(dim=0, keepdim=True)
        winner = (logits - highest).exp_().sum(0, keepdim=True).reciprocal_()
        confidence = winner.mul_(255).round_().to(torch.uint8)
        if self.out_channels <= 255:
            labels = labels.to(torch.uint8)
        fields: dict[str, Any] = {'pred_sem_seg': labels, 'confidence': confidence}
        sample.set_data({k: PixelData(data=v) for k, v in fields.items()})


def _prediction_of(sample: SegDataSample) -> Prediction:
    prediction = Prediction(metainfo=sample.metainfo)
    prediction.set_data(dict(sample.items()))
    return prediction


def _starts(size: int, window: int, stride: int) -> list[int]:
    """Return where windows begin: the last one ends with the image."""
    count = max(size - window + stride - 1, 0) // stride + 1
    return [max(min(i * stride + window, size) - window, 0) for i in range(count)]
