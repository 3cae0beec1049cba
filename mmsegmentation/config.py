"""Checks of a config before anything is built."""

from difflib import get_close_matches
from typing import TYPE_CHECKING

from mmsegmentation.command import InputError

if TYPE_CHECKING:
    from mmengine.config import Config

# What Runner.from_cfg and our commands read.
RUNNER_KEYS = frozenset(
    {
        'model',
        'work_dir',
        'train_dataloader',
        'val_dataloader',
        'test_dataloader',
        'train_cfg',
        'val_cfg',
        'test_cfg',
        'auto_scale_lr',
        'optim_wrapper',
        'param_scheduler',
        'val_evaluator',
        'test_evaluator',
        'default_hooks',
        'custom_hooks',
        'data_preprocessor',
        'load_from',
        'resume',
        'launcher',
        'env_cfg',
        'log_processor',
        'log_level',
        'visualizer',
        'default_scope',
        'randomness',
        'experiment_name',
        'custom_imports',
        'tta_model',
        'tta_pipeline',
    }
)
# Names that configs give to parts of themselves, as MMSegmentation's own do.
HELPER_KEYS = frozenset(
    {
        'albu_train_transforms',
        'checkpoint_file',
        'crop_size',
        'data_root',
        'dataset_type',
        'dataset_train',
        'img_ratios',
        'img_scale',
        'load_pipeline',
        'max_iters',
        'mean_bgr',
        'metainfo',
        'norm_cfg',
        'num_classes',
        'optimizer',
        'pretrained',
        'pseudo_set',
        'test_pipeline',
        'train_pipeline',
        'train_set',
        'val_pipeline',
        'vis_backends',
    }
)


def check_top_level_keys(cfg: 'Config') -> None:
    """Refuse a top-level key that nothing reads: most often a misspelt one.

    A name that starts with an underscore is the config's own.

    Raises:
        InputError: A key is unknown; the message says which it may have been.
    """
    known = RUNNER_KEYS | HELPER_KEYS
    for key in cfg:
        if key not in known and not key.startswith('_'):
            near = get_close_matches(key, known, n=1)
            hint = f'write {near[0]}' if near else 'begin its name with an underscore'
            raise InputError(
                cfg.filename or 'config', f'unknown top-level key {key!r}', hint
            )
