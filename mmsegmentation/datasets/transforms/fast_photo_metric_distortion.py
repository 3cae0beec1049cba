import math
from collections.abc import Callable
from functools import partial

import cv2
import numpy as np
from mmseg.datasets.transforms import PhotoMetricDistortion
from mmseg.registry import TRANSFORMS

RAMP = np.arange(256, dtype=np.uint8)
GREY_RAMP = np.dstack([RAMP] * 3)  # as an image of one row
# A step takes an image, (H, W, 3) uint8, and returns a changed one.
Step = Callable[[np.ndarray], np.ndarray]
# Truncating x is rounding x - 0.5; the rest keeps whole numbers from falling.
TRUNCATE = -0.5 + 1e-4


@TRANSFORMS.register_module()
class FastPhotoMetricDistortion(PhotoMetricDistortion):
    """MMSegmentation's colour distortion in 8 bits: the same pixels, sooner.

    Draws the same random numbers in the same order. A step maps each of 256 values on
    its own, so MMSegmentation's own arithmetic is run on these alone, which makes a
    lookup table. OpenCV's arithmetic is faster still, and takes the table's place where
    it gives the table's values.

    Reads and writes: ``img`` (H, W, 3), uint8: a new array or, where no step is drawn,
    the same. An image of another kind takes MMSegmentation's way.

    Args:
        brightness_delta: Largest change of brightness, in [0, 255].
        contrast_range: Lower and upper factor of contrast.
        saturation_range: Lower and upper factor of saturation.
        hue_delta: Largest change of hue, in steps of two degrees.
        exact: Go to HSV and back once for saturation and once more for hue, as
            MMSegmentation does: bit for bit the same. Without it, both share one way:
            one rounding to 8 bits instead of two where both are drawn.
    """

    def __init__(
        self,
        brightness_delta: int = 32,
        contrast_range: tuple[float, float] = (0.5, 1.5),
        saturation_range: tuple[float, float] = (0.5, 1.5),
        hue_delta: int = 18,
        exact: bool = True,
    ) -> None:
        super().__init__(brightness_delta, contrast_range, saturation_range, hue_delta)
        self.exact = exact

    def transform(self, results: dict) -> dict:
        img = results['img']
        if img.dtype != np.uint8 or img.ndim != 3 or img.shape[2] != 3:
            return super().transform(results)
        for step in self._sample_steps():
            img = step(img)
        results['img'] = img
        return results

    def _sample_steps(self) -> list[Step]:
        steps = self._sample_brightness()
        contrast_last = np.random.randint(2) == 0
        if not contrast_last:
            steps += self._sample_contrast()
        saturation = self._sample_saturation()
        hue = self._sample_hue()
        if self.exact:
            steps += _in_hsv(saturation) + _in_hsv(hue)
        else:
            steps += _in_hsv(saturation + hue)
        if contrast_last:
            steps += self._sample_contrast()
        return steps

    def _sample_brightness(self) -> list[Step]:
        if not np.random.randint(2):
            return []
        delta = np.random.uniform(-self.brightness_delta, self.brightness_delta)
        table = self.convert(RAMP, beta=delta)
        return [
            _same(partial(_add, math.floor(delta)), table, partial(cv2.LUT, lut=table))
        ]

    def _sample_contrast(self) -> list[Step]:
        if not np.random.randint(2):
            return []
        factor = np.random.uniform(self.contrast_lower, self.contrast_upper)
        table = self.convert(RAMP, alpha=factor)
        arithmetic = partial(cv2.convertScaleAbs, alpha=factor, beta=TRUNCATE)
        return [_same(arithmetic, table, partial(cv2.LUT, lut=table))]

    def _sample_saturation(self) -> list[Step]:
        if not np.random.randint(2):
            return []
        factor = np.random.uniform(self.saturation_lower, self.saturation_upper)
        matrix = np.diag((1, factor, 1, 0))[:3]
        matrix[1, 3] = TRUNCATE
        arithmetic = partial(cv2.transform, m=matrix)
        table = self.convert(RAMP, alpha=factor)
        return [_same(arithmetic, table, partial(_look_up, 1, table))]

    def _sample_hue(self) -> list[Step]:
        if not np.random.randint(2):
            return []
        turn = np.random.randint(-self.hue_delta, self.hue_delta)
        return [
            partial(_look_up, 0, ((RAMP.astype(int) + turn) % 180).astype(np.uint8))
        ]

    def __repr__(self) -> str:
        return f'{super().__repr__()[:-1]}, exact={self.exact})'


def _same(arithmetic: Step, table: np.ndarray, look_up: Step) -> Step:
    """Return ``arithmetic`` where it gives the table's values, else ``look_up``."""
    # The second channel tells: the others are changed like it, or times one.
    found = arithmetic(GREY_RAMP)[0, :, 1]
    return arithmetic if np.array_equal(found, table) else look_up


def _in_hsv(steps: list[Step]) -> list[Step]:
    if not steps:
        return []
    there = partial(cv2.cvtColor, code=cv2.COLOR_BGR2HSV)
    back = partial(cv2.cvtColor, code=cv2.COLOR_HSV2BGR)
    return [there, *steps, back]


def _add(number: int, img: np.ndarray) -> np.ndarray:
    return cv2.add(img, np.full(4, number, np.float64))  # a scalar to OpenCV


def _look_up(channel: int, table: np.ndarray, hsv: np.ndarray) -> np.ndarray:
    """Look up one channel of ``hsv``, which is changed in place."""
    changed = cv2.LUT(cv2.extractChannel(hsv, channel), table)
    return cv2.insertChannel(changed, hsv, channel)
