"""Pixel data that are computed when they are first read."""

from collections.abc import ItemsView, Iterator, Mapping, ValuesView
from typing import Any, Protocol

import torch
from mmengine.structures import PixelData
from torch import Tensor


class Source(Protocol):
    """An object that computes pixel data."""

    shape: tuple[int, ...]

    def full(self) -> Tensor:
        """Return the data, (channels, H, W)."""


class OnDemand(PixelData):
    """Pixel data whose ``data`` are computed at the first access and then kept.

    From then on they are ordinary: whoever has them may change them.

    Args:
        source: The object that computes the data. Without one, the object is ordinary
            pixel data.
        metainfo: As in ``PixelData``.
    """

    def __init__(
        self, source: Source | None = None, *, metainfo: dict | None = None
    ) -> None:
        super().__init__(metainfo=metainfo)
        if source is not None:
            self.__dict__['source'] = source
            self._data_fields.add('data')

    def __getattr__(self, name: str) -> Any:
        """Compute the data."""
        if name != 'data' or 'source' not in self.__dict__:
            raise AttributeError(f'{type(self).__name__} has no {name!r}')
        self.__dict__['data'] = self.source.full()
        del self.__dict__['source']
        return self.__dict__['data']

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name == 'data':
            self.__dict__.pop('source', None)

    def __delattr__(self, name: str) -> None:
        getattr(self, name)  # there must be something to delete
        super().__delattr__(name)

    __delitem__ = __delattr__

    def pop(self, name: str, *default: Any) -> Any:
        """Take data out, computed if they were not."""
        getattr(self, name, None)
        return super().pop(name, *default)

    @property
    def shape(self) -> tuple[int, ...] | None:
        """Height and width."""
        if 'source' in self.__dict__:
            return tuple(self.source.shape[-2:])
        return super().shape

    def to_dict(self) -> dict:
        """Return a dictionary that also computes the data at the first access."""
        if 'source' in self.__dict__:
            return _Fields(data=self)
        return super().to_dict()


class _Fields(dict[str, Any]):
    """A dictionary that replaces pixel data on demand with their data when read."""

    def _compute(self) -> None:
        for key in self:
            if isinstance(value := super().__getitem__(key), OnDemand):
                self[key] = value.data

    def __getitem__(self, key: str) -> Any:
        self._compute()
        return super().__getitem__(key)

    def __iter__(self) -> Iterator[str]:
        # Because of this method, dict(fields) and {**fields} call __getitem__.
        return super().__iter__()

    def get(self, key: str, default: Any = None) -> Any:
        self._compute()
        return super().get(key, default)

    def pop(self, *args: Any) -> Any:
        self._compute()
        return super().pop(*args)

    def items(self) -> ItemsView[str, Any]:  # type: ignore[override]
        self._compute()
        return super().items()

    def values(self) -> ValuesView[Any]:  # type: ignore[override]
        self._compute()
        return super().values()

    def __reduce__(self) -> tuple:
        return dict, (dict(self.items()),)


def source_of(pixel_data: PixelData | Mapping) -> Any:
    """Return the source of data on demand or of their ``to_dict``, or None.

    Data that somebody has read or replaced have no source.
    """
    if isinstance(pixel_data, _Fields):
        pixel_data = dict.get(pixel_data, 'data', {})
    return getattr(pixel_data, '__dict__', {}).get('source')


class Labels:
    """Class ids that are stored as uint8 and read as int64.

    Arithmetic with uint8 could overflow in code that uses the labels.

    Args:
        ids: Class ids, (1, H, W), of any integer type.
    """

    def __init__(self, ids: Tensor) -> None:
        self.ids = ids
        self.shape = tuple(ids.shape)

    def full(self) -> Tensor:
        """Return the class ids, (1, H, W) int64."""
        return self.ids.to(torch.int64)


def label_ids(pixel_data: PixelData | Mapping) -> Tensor:
    """Return class ids, (1, H, W), in the integer type in which they are stored."""
    source = source_of(pixel_data)
    if isinstance(source, Labels):
        return source.ids
    return data_of(pixel_data)


def data_of(pixel_data: PixelData | Mapping) -> Tensor:
    """Return the data of a field of a sample, or of the sample's ``to_dict``."""
    return pixel_data['data'] if isinstance(pixel_data, Mapping) else pixel_data.data
