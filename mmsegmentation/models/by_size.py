"""Batches with images of several sizes, split into parts of one size each."""

from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor


def by_size(data: dict) -> Iterator[tuple[list[int], dict]]:
    """Split a collated batch into parts in which all images have the same size.

    Args:
        data: ``inputs``, a tensor (N, C, H, W) or a list of tensors (C, H, W), and
            optionally ``data_samples``, a list.

    Yields:
        The indices of the part's images in the batch, and the part.
    """
    images = data['inputs']
    places: dict[tuple, list[int]] = {}
    for place, image in enumerate(images):
        places.setdefault(tuple(image.shape), []).append(place)
    if isinstance(images, Tensor) or len(places) == 1:
        yield list(range(len(images))), data
        return
    for chosen in places.values():
        part = {
            key: [values[i] for i in chosen] if isinstance(values, list) else values
            for key, values in data.items()
        }
        yield chosen, part


def predict_by_size(step: Callable[[dict], list], data: Any) -> list:
    """Return the predictions of ``step`` for a batch, computed size by size."""
    if not isinstance(data, dict) or 'inputs' not in data:
        return step(data)
    results: dict[int, Any] = {}
    for places, part in by_size(data):
        results.update(zip(places, step(part), strict=True))
    return [results[place] for place in sorted(results)]
