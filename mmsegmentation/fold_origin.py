"""What a checkpoint was trained on, so that no model is measured on that."""

from typing import TYPE_CHECKING, Any

from mmsegmentation.command import InputError
from mmsegmentation.folds import Fold

if TYPE_CHECKING:
    from mmengine.config import Config


def trained_on(content: dict[str, Any]) -> dict[str, Any] | None:
    """Return the record of the fold that a checkpoint was trained on, if it has one."""
    meta = content.get('meta')
    record = meta.get('fold') if isinstance(meta, dict) else None
    return record if isinstance(record, dict) else None


def knows_validation(content: dict[str, Any]) -> bool:
    """Return whether a checkpoint says that it was trained on the validation part."""
    meta = content.get('meta')
    return isinstance(meta, dict) and meta.get('knows_validation') is True


def trains_on_validation(
    cfg: 'Config', content: dict[str, Any], fold: Fold | None
) -> bool:
    """Return whether the model of a run knows the validation part at its end.

    A config says so by ``trains_on_validation``, or the run starts from such a model.

    Args:
        content: The checkpoint that the run starts from; empty if there is none.

    Raises:
        InputError: The run would be judged by that part, or is of a fold.
    """
    if not (cfg.get('trains_on_validation') or knows_validation(content)):
        return False
    if cfg.get('val_dataloader'):
        own = cfg.get('trains_on_validation')
        raise InputError(
            cfg.filename if own else cfg.load_from,
            'trains on the validation part, which would judge it'
            if own
            else 'was trained on the validation part, which would judge the run',
            'set val_dataloader, val_cfg and val_evaluator to None',
        )
    if fold:
        raise InputError(cfg.filename, 'leaves no image out', 'leave out --fold')
    return True


def check_start(content: dict[str, Any], path: str, fold: Fold | None) -> None:
    """Refuse to train a fold on from weights that know images it is validated on.

    Weights that were trained on no data root, such as ImageNet's, pass.

    Raises:
        InputError: They were trained on another fold, or on a data root without folds.
    """
    if fold is None or (record := trained_on(content)) == fold.record:
        return
    meta = content.get('meta')
    config = meta.get('cfg') if isinstance(meta, dict) else None
    if record is None and 'RecycleDataset' not in str(config):
        return
    raise InputError(
        path,
        f'{_describe(record, fold)}: it may know images of fold {fold.number}',
        f'start from a checkpoint of fold {fold.number}, or from pretrained weights',
    )


def check_resumed(content: dict[str, Any], path: str, fold: Fold | None) -> None:
    """Refuse to go on with other images than a run began with.

    Raises:
        InputError: The run was of another fold, or of none.
    """
    record = trained_on(content)
    if record == (fold.record if fold else None):
        return
    raise InputError(
        path,
        _describe(record, fold),
        f'pass --fold {record["fold"]}' if record else 'leave out --fold',
    )


def check_predicting(
    content: dict[str, Any], path: str, fold: Fold | None, split: str
) -> None:
    """Refuse a model that was trained on what it would be measured on.

    Raises:
        InputError: It was not trained on this fold; or no fold is named, though it was
            trained on a fold of the part ``split``, ``valid``, or on all of that part.
    """
    record = trained_on(content)
    if fold is None:
        if split == 'valid' and knows_validation(content):
            raise InputError(
                path,
                f'was trained on the images of {split}',
                'predict --split test, and score the checkpoint that it started from',
            )
        if record and split == 'valid' and split in record.get('parts', []):
            raise InputError(
                path,
                f'was trained on images of {split}, all but those of its fold',
                f'pass --fold {record["fold"]}',
            )
    elif record != fold.record:
        raise InputError(
            path,
            _describe(record, fold),
            f'name one of tools/train.py --fold {fold.number}',
        )


def _describe(record: dict[str, Any] | None, fold: Fold | None) -> str:
    if record is None:
        return 'was trained without folds'
    number = record.get('fold')
    if fold and number == fold.number:
        return f'was trained on a fold {number} of other folds than {fold.folds.folder}'
    return f'was trained on fold {number}'
