"""What a checkpoint was trained on, so that no model is measured on that."""

from typing import Any

from mmsegmentation.command import InputError
from mmsegmentation.folds import Fold


def trained_on(content: dict[str, Any]) -> dict[str, Any] | None:
    """Return the record of the fold that a checkpoint was trained on, if it has one."""
    meta = content.get('meta')
    record = meta.get('fold') if isinstance(meta, dict) else None
    return record if isinstance(record, dict) else None


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
            trained on a fold of the part ``split``, ``valid``.
    """
    record = trained_on(content)
    if fold is None:
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
