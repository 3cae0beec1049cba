from collections.abc import Sequence

import cv2
import numpy as np
from mmcv.transforms import BaseTransform, Pad
from mmseg.datasets.transforms import RandomFlip, RandomRotate
from mmseg.registry import TRANSFORMS

from mmsegmentation.datasets.transforms.fast_resize import FastResize

FLIPS = {'horizontal': 1, 'vertical': 0, 'diagonal': -1}


@TRANSFORMS.register_module()
class FlipRotateResize(BaseTransform):
    """Flip, rotate, pad and resize: one transform for four, and only what is drawn.

    Gives the pixels, labels and metadata of MMSegmentation's ``RandomFlip``,
    ``RandomRotate``, ``Pad`` and ``Resize`` in this order, and draws the same random
    numbers. Nothing is copied where the dice or the sizes ask for nothing.

    Reads and writes: ``img`` (H, W, 3) and the label maps of ``seg_fields`` (H, W).
    The input arrays are not changed.

    Args:
        flip_prob: Chance of a flip, in [0, 1]; with several directions a list.
        direction: ``'horizontal'``, ``'vertical'``, ``'diagonal'`` or a list of these.
        rotate_prob: Chance of a rotation about the centre, in [0, 1].
        degree: Largest angle, or the lower and upper one, in degrees, clockwise.
        pad_val: Colour of what a rotation or the padding lays bare, one number for
            all channels or one each, in [0, 255].
        seg_pad_val: Its label.
        pad_size: Width and height to pad to, at the right and at the bottom; no
            padding if none.
        scale: Width and height to resize to in the end; no resizing if none.
        exact: Rotate, round to 8 bits, resize: bit for bit what the four give.
            Without it, a rotated image is resized by the same warp: interpolated once
            instead of twice, and labelled at the pixels' centres. Most values differ a
            little, and at edges much (measured: 57 % of values, 1.7 % of labels).
    """

    def __init__(
        self,
        flip_prob: float | list[float] = 0.5,
        direction: str | list[str] = 'horizontal',
        rotate_prob: float = 0.8,
        degree: float | tuple[float, float] = 30,
        pad_val: float | Sequence[float] = 0,
        seg_pad_val: int = 255,
        pad_size: tuple[int, int] | None = None,
        scale: tuple[int, int] | None = None,
        exact: bool = True,
    ) -> None:
        if isinstance(pad_val, int | float):
            pad_val = (pad_val,) * 3
        self.pad_val = tuple(pad_val)
        self.seg_pad_val = seg_pad_val
        self.exact = exact
        self.flip = RandomFlip(flip_prob, direction)
        self.rotate = RandomRotate(rotate_prob, degree, self.pad_val, seg_pad_val)
        colours = dict(img=self.pad_val, seg=seg_pad_val)
        self.pad = Pad(tuple(pad_size), pad_val=colours) if pad_size else None
        self.resize = FastResize(tuple(scale)) if scale else None

    def transform(self, results: dict) -> dict:
        direction = self.flip._choose_direction()
        rotated, degree = self.rotate.generate_degree()
        results['flip'] = direction is not None
        results['flip_direction'] = direction
        if direction is not None:
            self._flip(results, FLIPS[direction])
        if rotated and not self.exact and self._pad_is_idle(results):
            return self._rotate_and_resize(results, degree)
        if rotated:
            height, width = results['img'].shape[:2]
            self._warp(results, _rotation(height, width, degree), (width, height))
        self._pad(results)
        return self.resize(results) if self.resize else results

    def _flip(self, results: dict, code: int) -> None:
        results['img'] = cv2.flip(results['img'], code)
        for key in results.get('seg_fields', []):
            results[key] = cv2.flip(results[key], code)
            results['swap_seg_labels'] = None

    def _warp(self, results: dict, matrix: np.ndarray, size: tuple[int, int]) -> None:
        img = results['img']
        # OpenCV warps four channels in half the time of three, to the same values.
        four = img.ndim == 3 and img.shape[2] == 3 and img.dtype == np.uint8
        if four:
            img = cv2.cvtColor(img, cv2.COLOR_BGR2BGRA)
        img = cv2.warpAffine(
            img, matrix, size, flags=cv2.INTER_LINEAR, borderValue=self.pad_val
        )
        results['img'] = cv2.cvtColor(img, cv2.COLOR_BGRA2BGR) if four else img
        for key in results.get('seg_fields', []):
            results[key] = cv2.warpAffine(
                results[key],
                matrix,
                size,
                flags=cv2.INTER_NEAREST,
                borderValue=self.seg_pad_val,
            )

    def _pad_is_idle(self, results: dict) -> bool:
        height, width = results['img'].shape[:2]
        if not self.pad:
            return True
        return self.pad.size[0] <= width and self.pad.size[1] <= height

    def _pad(self, results: dict) -> None:
        if self.pad and not self._pad_is_idle(results):
            self.pad(results)
        elif self.pad:
            results['pad_shape'] = results['img'].shape
            results['pad_fixed_size'] = self.pad.size
            results['pad_size_divisor'] = None
            results['img_shape'] = results['img'].shape[:2]

    def _rotate_and_resize(self, results: dict, degree: float) -> dict:
        self._pad(results)
        height, width = results['img'].shape[:2]
        size = self.resize.scale if self.resize else (width, height)
        matrix = np.vstack([_rotation(height, width, degree), (0, 0, 1)])
        self._warp(results, (_enlargement(width, height, size) @ matrix)[:2], size)
        if self.resize:
            results['scale'] = size
            results['img_shape'] = size[::-1]
            results['scale_factor'] = (size[0] / width, size[1] / height)
            results['keep_ratio'] = False
        return results

    def __repr__(self) -> str:
        parts = self.flip, self.rotate, self.pad, self.resize
        named = ', '.join(str(part) for part in parts if part)
        return f'FlipRotateResize({named}, exact={self.exact})'


def _rotation(height: int, width: int, degree: float) -> np.ndarray:
    # As mmcv.imrotate.
    return cv2.getRotationMatrix2D(((width - 1) * 0.5, (height - 1) * 0.5), -degree, 1)


def _enlargement(width: int, height: int, size: tuple[int, int]) -> np.ndarray:
    """Return the matrix that maps pixel centres to those of the resized image."""
    across, down = size[0] / width, size[1] / height
    moved = (across - 1) / 2, (down - 1) / 2
    return np.array([(across, 0, moved[0]), (0, down, moved[1]), (0, 0, 1)])
