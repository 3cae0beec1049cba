from collections.abc import Sequence
from typing import Any

import numpy as np
from mmseg.datasets import MultiImageMixDataset
from mmseg.registry import DATASETS

from mmsegmentation.datasets.draw import chance_of


@DATASETS.register_module()
class SeededMixDataset(MultiImageMixDataset):
    """MMSegmentation's mixing wrapper without copies, and with chance of its own.

    A data set makes each sample anew, so copying it is in vain. What could be shared,
    an array out of a cache, is read-only; it is copied once no further step mixes,
    and only if the sample still holds it. Mixing transforms must therefore write into
    new arrays, as ours do.

    Where the sampler yields a ``Draw`` (``SeededSampler``, ``SeededInfiniteSampler``),
    a sample's randomness follows from seed, pass and index alone: it is the same with
    any number of workers, in any order, and after a resume.

    Transforms that choose whom they mix with look at the data once, when this is built.

    Args: as MMSegmentation's ``MultiImageMixDataset``.
    """

    def full_init(self) -> None:
        """Make the data and the transforms ready."""
        if self._fully_initialized:
            return
        super().full_init()
        for transform in self.pipeline:
            if hasattr(transform, 'prepare'):
                transform.prepare(self.dataset)

    def __getitem__(self, index: int) -> Any:
        with chance_of(index):
            return self._sample(int(index))

    def _sample(self, index: int) -> Any:
        results = dict(self.dataset[index])
        for transform, name in zip(self.pipeline, self.pipeline_types, strict=True):
            if name in (self._skip_type_keys or ()):
                continue
            if hasattr(transform, 'get_indices'):
                indices = transform.get_indices(self.dataset)
                if not isinstance(indices, Sequence):
                    indices = [indices]
                results['mix_results'] = [dict(self.dataset[i]) for i in indices]
            else:
                _own_arrays(results)
            results = transform(results)
            results.pop('mix_results', None)
        return results


def _own_arrays(results: dict) -> None:
    for key, value in results.items():
        if isinstance(value, np.ndarray) and not value.flags.writeable:
            results[key] = value.copy()
