"""A training on real labels alone, with which pseudo labels are compared."""

from typing import TYPE_CHECKING, Any

from mmsegmentation.command import InputError
from mmsegmentation.fold_config import pseudo_part_of
from mmsegmentation.pseudo_config import pseudo_sets

if TYPE_CHECKING:
    from mmengine.config import Config


def use_real_labels_alone(cfg: 'Config') -> None:
    """Remove the pseudo labels from ``cfg``, and keep its number of steps.

    Schedule, batch size, hooks and wrappers do not change. A ratio of data sets keeps
    the entries of the remaining ones. In a run by epochs, the sampler makes several
    passes over the data, so that an epoch has the same number of steps as with pseudo
    labels. A transform that takes pixels only from pseudo-labelled images takes them
    from all images.

    Raises:
        InputError: ``cfg`` trains on no pseudo labels, or on pseudo labels only.
    """
    if not pseudo_sets(cfg):
        raise InputError(
            '--without-pseudo',
            'the config trains on no pseudo labels',
            'remove it, or use a config of configs/pseudo',
        )
    loader = cfg.train_dataloader
    real = _real_part(loader.dataset)
    if real is None:
        raise InputError(
            cfg.filename or 'config',
            'trains on pseudo labels only, so nothing is left without them',
            'add real labels, as in configs/pseudo',
        )
    if 'max_epochs' in cfg.train_cfg:
        loader.sampler = {
            'type': 'LongEpochSampler',
            'sampler': loader.sampler,
            'like': _without_pipelines(loader.dataset),
        }
    loader.dataset = real


def _real_part(dataset: Any) -> Any:
    """Return a data set's config without pseudo labels, or None if nothing is left."""
    if dataset.get('datasets'):
        pairs = [(i, _real_part(part)) for i, part in enumerate(dataset['datasets'])]
        pairs = [(i, part) for i, part in pairs if part is not None]
        new = type(dataset)(dataset, datasets=[part for _, part in pairs])
        if dataset.get('ratio'):
            new['ratio'] = [dataset['ratio'][i] for i, _ in pairs]
        return new if pairs else None
    if dataset.get('dataset'):
        inner = _real_part(dataset['dataset'])
        new = type(dataset)(dataset, dataset=inner)
        if dataset.get('pipeline'):
            new['pipeline'] = [_with_real_donors(step) for step in dataset['pipeline']]
        return None if inner is None else new
    return None if pseudo_part_of(dataset) else dataset


def _with_real_donors(step: Any) -> Any:
    return type(step)(step, donors='all') if step.get('donors') == 'pseudo' else step


def _without_pipelines(part: Any) -> Any:
    """Return a config of data sets whose samples are counted but never read."""
    if isinstance(part, list | tuple):
        return [_without_pipelines(each) for each in part]
    if not isinstance(part, dict):
        return part
    own = {key: _without_pipelines(value) for key, value in part.items()}
    return {**own, 'pipeline': []} if 'pipeline' in own else own
