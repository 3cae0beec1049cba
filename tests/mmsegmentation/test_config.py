"""Every config that MMSegmentation ships has top-level names that we know."""

import ast
from pathlib import Path

import mmseg
import pytest
from mmengine.config import Config

from mmsegmentation.config import (
    HELPER_KEYS,
    RUNNER_KEYS,
    check_top_level_keys,
    schedule_notes,
    view_notes,
)

FOLDER = Path(mmseg.__file__).parent / '.mim/configs'
STOCK = sorted(FOLDER.rglob('*.py'))


def names_of(path):
    """Return the names that a config gives to its values, without running it."""
    return {
        target.id
        for statement in ast.parse(path.read_text()).body
        if isinstance(statement, ast.Assign)
        for target in statement.targets
        if isinstance(target, ast.Name)
    } - {'_base_'}


def test_stock_configs__are_found():
    assert len(STOCK) > 500
    assert {path.parent.name for path in STOCK} >= {'beit', 'convnext', 'segformer'}


def test_stock_configs__have_no_unknown_name():
    unknown = {
        name: str(path.relative_to(FOLDER))
        for path in STOCK
        for name in names_of(path) - RUNNER_KEYS - HELPER_KEYS
    }
    assert unknown == {}


RUNS = [path for path in STOCK if '_base_' not in path.relative_to(FOLDER).parts]


@pytest.mark.parametrize('path', RUNS[::80], ids=lambda path: path.stem)
def test_stock_config__passes_the_check(path):
    check_top_level_keys(Config.fromfile(path, import_custom_modules=False))


@pytest.mark.parametrize(
    ('loop', 'scheduler', 'said'),
    [
        ({'max_iters': 60}, {'end': 90, 'by_epoch': False}, 'falls until 90'),
        ({'max_iters': 60}, {'end': 30, 'by_epoch': False}, 'is over at 30'),
        (
            {'max_iters': 60},
            {'begin': 60, 'end': 90, 'by_epoch': False},
            'begins at 60, and the run ends at 60: set param_scheduler.1.begin below '
            '60 and param_scheduler.1.end=60',
        ),
        (
            {'max_iters': 60},
            {'begin': 60, 'by_epoch': False},
            'the run ends at 60: set param_scheduler.1.begin below 60',
        ),
        ({'max_epochs': 6}, {'end': 9}, 'set param_scheduler.1.end=6'),
        ({'max_iters': 60}, {'end': 60, 'by_epoch': False}, ''),
        ({'max_epochs': 6}, {'end': 90, 'by_epoch': False}, ''),
        ({'max_iters': 60}, {}, ''),
    ],
)
def test_schedule__that_does_not_end_with_the_run_is_said(loop, scheduler, said):
    warm = {'type': 'LinearLR', 'end': 5, 'by_epoch': False}
    parts = [warm, {'type': 'PolyLR', **scheduler}]
    notes = schedule_notes(Config({'train_cfg': loop, 'param_scheduler': parts}))
    assert len(notes) == bool(said)
    assert all(said in note and '(PolyLR)' in note for note in notes)


SHORT = {'max_iters': 100}
PLACES = {
    'warm-up': (
        {'param_scheduler': [{'type': 'LinearLR', 'end': 1500, 'by_epoch': False}]},
        'param_scheduler.0 (LinearLR) lasts until 1500, and the run ends at 100: set '
        'param_scheduler.0.end=100',
    ),
    'cycle': (
        {
            'param_scheduler': {
                'type': 'OneCycleLR',
                'total_steps': 900,
                'by_epoch': False,
            }
        },
        'param_scheduler (OneCycleLR) falls until 900, and the run ends at 100: set '
        'param_scheduler.total_steps=100',
    ),
    'milestone': (
        {
            'param_scheduler': [
                {'type': 'MultiStepLR', 'milestones': [60, 800], 'by_epoch': False}
            ]
        },
        'param_scheduler.0 (MultiStepLR) has a milestone at 800, and the run ends at '
        '100: set param_scheduler.0',
    ),
    'validation': (
        {'train_cfg': {**SHORT, 'val_begin': 500}},
        'train_cfg.val_begin is 500, and the run ends at 100: it never begins',
    ),
    'checkpoint': (
        {'default_hooks': {'checkpoint': {'save_begin': 200, 'by_epoch': False}}},
        'default_hooks.checkpoint.save_begin is 200, and the run ends at 100: it never '
        'begins',
    ),
    'average': (
        {'custom_hooks': [{'type': 'A'}, {'type': 'EMAHook', 'begin_iter': 300}]},
        'custom_hooks.1.begin_iter is 300, and the run ends at 100: it never begins',
    ),
}


@pytest.mark.parametrize(('places', 'note'), PLACES.values(), ids=PLACES)
def test_length__that_stands_in_other_places_too_is_noted(places, note):
    assert schedule_notes(Config({'train_cfg': SHORT, **places})) == [note]


def test_length__that_fits_all_places_is_not_noted():
    places = {
        'param_scheduler': [
            {'type': 'LinearLR', 'end': 50, 'by_epoch': False},
            {'type': 'PolyLR', 'begin': 50, 'end': 100, 'by_epoch': False},
        ],
        'default_hooks': {'checkpoint': {'save_begin': 100, 'by_epoch': False}},
        'custom_hooks': [{'type': 'EMAHook', 'begin_epoch': 300}],
    }
    assert schedule_notes(Config({'train_cfg': SHORT, **places})) == []


@pytest.mark.parametrize(
    ('resize', 'noted'),
    [
        ([{'scale': (64, 64)}], True),
        ([{'scale': (64, 64)}, {'scale': (32, 32)}], False),
        ([{'scale_factor': 0.5}, {'scale_factor': 1.0}], False),
    ],
    ids=['another', 'both', 'factors'],
)
def test_views__without_the_size_of_the_test_are_noted(resize, noted):
    cfg = Config(
        {
            'test_dataloader': {'dataset': {'pipeline': [{'scale': (32, 32)}]}},
            'tta_pipeline': [{'type': 'TestTimeAug', 'transforms': [resize, [{}]]}],
        }
    )
    note = (
        'tta_pipeline resizes to (64, 64), but test_dataloader to (32, 32); if this '
        'is not intended, set tta_pipeline too'
    )
    assert view_notes(cfg) == [note] * noted
