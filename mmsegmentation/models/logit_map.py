"""The logits of an image at its original size, computed in strips of rows.

The logits of a large photograph need gigabytes: 12 megapixels x 61 classes in float32
are 2.9 GB. Without strips each step of the decision would need as much again.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence

import torch
from mmengine.structures import PixelData
from torch import Tensor

from mmsegmentation.models.on_demand import data_of, source_of

# Upper bound of the memory of one strip of logits in MiB. Such a strip fits into the
# cache of a CPU core. A decision needs about three times as much.
STRIP_MEMORY = 4
# Number of columns that are resized together.
COLUMNS = 256


class LogitMap(ABC):
    """Logits of one image, (channels, H, W), computed in strips of rows.

    For a head with one channel they are the probabilities of class 1, after the
    sigmoid, as in MMSegmentation.

    Args:
        shape: Channels, height and width.
        threshold: For a head with one channel: a pixel with a higher probability is of
            class 1. None for several channels.
        memory: Upper bound of one strip in MiB. A strip has at least four rows.
    """

    def __init__(
        self,
        shape: Sequence[int],
        threshold: float | None = None,
        memory: float = STRIP_MEMORY,
    ) -> None:
        self.shape = tuple(shape)
        self.threshold = threshold
        self.memory = memory

    @abstractmethod
    def logits(self, rows: slice) -> Tensor:
        """Return the logits of some rows, (channels, rows, W)."""

    def probabilities(self, rows: slice) -> Tensor:
        """Return the probabilities of some rows, (channels, rows, W)."""
        logits = self.logits(rows)
        return logits.softmax(0) if self.shape[0] > 1 else logits

    def winners(self, rows: slice) -> tuple[Tensor, Tensor]:
        """Return class ids, int64, and their probabilities, both (1, rows, W)."""
        if self.threshold is not None:
            return above(self.probabilities(rows), self.threshold)
        logits = self.logits(rows)
        # max with its index is several times faster than argmax on a CPU.
        highest, labels = logits.max(dim=0, keepdim=True)
        sums = (logits - highest).exp_().sum(0, keepdim=True)
        return labels, sums.reciprocal_()

    def strips(self, multiple: int = 1) -> Iterator[slice]:
        """Yield the rows of each strip.

        Args:
            multiple: Each strip but the last has a multiple of this number of rows.
        """
        channels, height, width = self.shape
        rows = int(self.memory * 2**20 / (4 * channels * width))
        rows = max(rows, 4) // multiple * multiple
        for start in range(0, height, rows):
            yield slice(start, min(start + rows, height))

    def full(self) -> Tensor:
        """Return all logits, (channels, H, W)."""
        return torch.cat([self.logits(rows) for rows in self.strips()], dim=1)

    def decide(self) -> tuple[Tensor, Tensor]:
        """Return class ids and confidence, both (1, H, W).

        Class ids are uint8, or int64 with more than 256 classes. Confidence is uint8,
        255 x the probability of the pixel's class.
        """
        dtype = torch.uint8 if self.shape[0] <= 256 else torch.int64
        strips = []
        for rows in self.strips():
            labels, chances = self.winners(rows)
            confidence = chances.mul_(255).round_().to(torch.uint8)
            strips.append((labels.to(dtype), confidence))
        labels, confidence = (
            torch.cat(maps, dim=1) for maps in zip(*strips, strict=True)
        )
        return labels, confidence


class DenseLogits(LogitMap):
    """Logits that already exist at full size, (channels, H, W).

    MMSegmentation's segmentors return one channel as probabilities. So one channel with
    all values in [0, 1] is not changed. Any other single channel gets the sigmoid.
    """

    def __init__(
        self,
        values: Tensor,
        threshold: float | None = None,
        memory: float = STRIP_MEMORY,
    ) -> None:
        super().__init__(values.shape, threshold, memory)
        if len(values) == 1 and ((values < 0) | (values > 1)).any():
            values = values.sigmoid()
        self.values = values

    def logits(self, rows: slice) -> Tensor:
        """Return the logits of some rows as float32 or float64."""
        strip = self.values[:, rows]
        return strip if strip.dtype == torch.float64 else strip.float()


class WindowedLogits(LogitMap):
    """Logits of windows at the network's output size, resized and added on demand.

    A network that sees the whole image has one window.

    Args:
        windows: Logits, (windows down, windows across, channels, h, w).
        rows: For each window down, the matrix that maps its rows to those of the image,
            (H, h).
        columns: For each window across, the matrix that maps its columns to those of
            the image, (W, w).
    """

    def __init__(
        self,
        windows: Tensor,
        rows: Sequence[Tensor],
        columns: Sequence[Tensor],
        threshold: float | None = None,
        memory: float = STRIP_MEMORY,
    ) -> None:
        shape = windows.shape[2], len(rows[0]), len(columns[0])
        super().__init__(shape, threshold, memory)
        self.windows = windows
        single = windows.shape[:2] == (1, 1)
        self.rows, self.columns = (
            [NarrowMatrix(matrix, full=single) for matrix in matrices]
            for matrices in (rows, columns)
        )

    def logits(self, rows: slice) -> Tensor:
        """Return the logits of some rows, resized in float32."""
        # Without the caller's autocast, because these numbers decide the labels.
        with torch.autocast(self.windows.device.type, enabled=False):
            if self.windows.shape[:2] == (1, 1):
                parts = self._parts(0, 0, rows)
                strip = torch.cat([part for _, _, part in parts], dim=2)
            else:
                strip = self._add_up(rows)
        return strip if self.shape[0] > 1 else strip.sigmoid_()

    def _add_up(self, rows: slice) -> Tensor:
        channels, _, width = self.shape
        size = channels, rows.stop - rows.start, width
        strip = self.windows.new_zeros(size)
        for i in range(len(self.rows)):
            for j in range(len(self.columns)):
                for down, across, part in self._parts(i, j, rows):
                    places = slice(down.start - rows.start, down.stop - rows.start)
                    strip[:, places, across] += part
        return strip

    def _parts(
        self, i: int, j: int, rows: slice
    ) -> Iterator[tuple[slice, slice, Tensor]]:
        """Yield the resized logits of a window for some rows, by blocks of columns.

        Yields:
            Rows and columns in the image, and the logits, (channels, rows, columns).
        """
        down = self.rows[i].within(rows)
        if down.start >= down.stop:
            return
        sources, weights = self.rows[i].part(down)
        band = self.windows[i, j, :, sources]
        whole = self.columns[j].within(slice(0, self.shape[2]))
        for start in range(whole.start, whole.stop, COLUMNS):
            across = slice(start, min(start + COLUMNS, whole.stop))
            columns, column_weights = self.columns[j].part(across)
            part = weights @ (band[:, :, columns] @ column_weights.T)
            yield down, across, part


class NarrowMatrix:
    """A matrix, (targets, sources), whose rows have few values that are not 0.

    These values are neighbours, as in the matrix of a linear resize.

    Args:
        matrix: The weights.
        full: Whether every target is known to have a source. If not, the matrix is
            searched.
    """

    def __init__(self, matrix: Tensor, full: bool) -> None:
        self.matrix = matrix
        self._ends: tuple[Tensor, Tensor] | None = None
        self.targets = slice(0, len(matrix))
        if not full:
            used = (matrix != 0).any(1).nonzero().flatten().tolist()
            self.targets = slice(used[0], used[-1] + 1) if used else slice(0, 0)

    def within(self, targets: slice) -> slice:
        """Return the part of a range of targets that has sources."""
        own = self.targets
        return slice(max(targets.start, own.start), min(targets.stop, own.stop))

    def part(self, targets: slice) -> tuple[slice, Tensor]:
        """Return the sources of a range of targets, and their weights."""
        if targets == self.targets:
            return slice(None), self.matrix[targets]
        first, last = (ends[targets] for ends in self._find_ends())
        sources = slice(int(first.min()), int(last.max()) + 1)
        return sources, self.matrix[targets, sources]

    def _find_ends(self) -> tuple[Tensor, Tensor]:
        """Return the first and the last source of each target."""
        if self._ends is None:
            used = (self.matrix != 0).to(torch.uint8)
            first = used.argmax(1).cpu()
            last = used.shape[1] - 1 - used.flip(1).argmax(1).cpu()
            self._ends = first, last
        return self._ends


class MeanOfViews(LogitMap):
    """The mean of the class probabilities of several views of an image.

    The logits are the logarithm of this mean. With one channel they are the mean
    itself.
    """

    def __init__(self, views: Sequence[LogitMap], threshold: float | None) -> None:
        super().__init__(views[0].shape, threshold, views[0].memory)
        self.views = views

    def probabilities(self, rows: slice) -> Tensor:
        """Return the mean probabilities of some rows."""
        total = self.views[0].probabilities(rows)
        for view in self.views[1:]:
            total = total + view.probabilities(rows)
        return total / len(self.views)

    def logits(self, rows: slice) -> Tensor:
        """Return the logits of some rows; their softmax is the mean probability."""
        mean = self.probabilities(rows)
        return mean.log() if self.shape[0] > 1 else mean

    def winners(self, rows: slice) -> tuple[Tensor, Tensor]:
        """Return class ids and their mean probabilities."""
        mean = self.probabilities(rows)
        if self.threshold is not None:
            return above(mean, self.threshold)
        chances, labels = mean.max(dim=0, keepdim=True)
        return labels, chances


def above(chances: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    """Return class ids, 0 or 1, and the probabilities of these classes.

    Args:
        chances: Probabilities of class 1.
        threshold: A pixel with a higher probability is of class 1.
    """
    labels = chances > threshold
    return labels.long(), torch.where(labels, chances, 1 - chances)


def logit_map_of(pixel_data: PixelData | Mapping) -> LogitMap:
    """Return the logit map of ``seg_logits``.

    Args:
        pixel_data: The field of a sample, or of the sample's ``to_dict``.
    """
    source = source_of(pixel_data)
    if isinstance(source, LogitMap):
        return source
    return DenseLogits(data_of(pixel_data))
