"""Each config of ``configs/training`` changes what it asks about, and nothing else."""

from functools import cache
from pathlib import Path

import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.optim import build_optim_wrapper
from mmengine.structures import PixelData
from mmseg.models.decode_heads import UPerHead
from mmseg.registry import DATA_SAMPLERS, LOOPS
from mmseg.structures import SegDataSample
from mmseg.utils import register_all_modules

import mmsegmentation.datasets
import mmsegmentation.engine  # noqa: F401
from mmsegmentation.engine.class_weight_hook import class_weights
from mmsegmentation.engine.schedule import changes, flatten
from mmsegmentation.models import FastUPerHead
from mmsegmentation.runtime import quiet

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / 'configs/training'
SMALL = (
    ROOT
    / 'configs/small/upernet_convnext-atto_1xb8-copypaste-4000it_recycle-128x128.py'
)
TINY = (
    ROOT / 'configs/convnext/upernet_convnext-tiny_1xb4-cutmix-60e_recycle-512x512.py'
)
# By the change in its name: the keys that differ from the parent.
SCHEDULE = 'optim_wrapper.optimizer.lr', 'param_scheduler.', 'train_cfg.max_'
FINAL = (
    'trains_on_validation',
    'train_dataloader.dataset.dataset.',
    'val_',
    'default_hooks.checkpoint.',
    *SCHEDULE,
)
CHANGED = {
    'noema': ('custom_hooks.',),
    'swa': ('custom_hooks.0.',),
    'dice': ('model.decode_head.loss_decode.',),
    'lovasz': ('model.decode_head.loss_decode.',),
    'focal': ('model.decode_head.loss_decode.',),
    'classweight': ('custom_hooks.4.',),
    'rareclass': ('train_dataloader.sampler.',),
    'earlystop': ('custom_hooks.4.',),
    'valloss': ('val_cfg.type',),
    'trainval': FINAL,
    'ema': ('custom_hooks.',),
    'backbone0.1': ('optim_wrapper.constructor', 'optim_wrapper.paramwise_cfg.'),
}
CONFIGS = sorted(ROOT.glob('configs/**/*.py'))
PATHS = sorted(FOLDER.glob('*.py'))


@cache
def read(path: Path) -> Config:
    return Config.fromfile(path, import_custom_modules=False)


def child(change: str, parent: Path = SMALL) -> Config:
    (path,) = (
        p for p in PATHS if f'-{change}-' in p.name and parent.name[:20] in p.name
    )
    return read(path)


@pytest.fixture(autouse=True)
def scope() -> None:
    register_all_modules(init_default_scope=True)


def test_training__every_change_has_a_config() -> None:
    assert {path.name.split('-')[3] for path in PATHS} == set(CHANGED)


@pytest.mark.parametrize('path', PATHS, ids=lambda path: path.stem)
def test_training__nothing_else_changes(path: Path) -> None:
    parent = TINY if 'tiny' in path.name else SMALL
    found = changes(*(dict(flatten(dict(read(p).items()))) for p in (parent, path)))
    allowed = CHANGED[path.name.split('-')[3]]
    found = {key for key in found if not key.startswith(('_', 'max_iters'))}
    assert found
    assert [key for key in found if not key.startswith(allowed)] == []


def test_average__of_weights_takes_the_statistics_of_batch_norm_too() -> None:
    """Those of the last weights would not fit the averaged ones."""
    averages = {
        path.name: hook.get('update_buffers')
        for path in CONFIGS
        for hook in read(path).get('custom_hooks', [])
        if hook.type == 'EMAHook'
    }
    assert len(averages) > 2
    assert {name for name, updates in averages.items() if not updates} == set()


def head_of(kind: type, loss: dict | list) -> torch.nn.Module:
    torch.manual_seed(0)
    with quiet():
        return kind(
            in_channels=[4, 8],
            in_index=[0, 1],
            pool_scales=(1, 2),
            channels=4,
            num_classes=11,
            norm_cfg=dict(type='BN'),
            align_corners=False,
            dropout_ratio=0.0,
            loss_decode=loss,
        )


def losses_of(head: torch.nn.Module) -> tuple[dict, list]:
    generator = torch.Generator().manual_seed(1)
    sizes = [(2, 4, 8, 8), (2, 8, 4, 4)]
    maps = [torch.randn(size, generator=generator) for size in sizes]
    labels = torch.randint(11, (2, 1, 16, 16), generator=generator)
    labels[:, :, 3:5] = 255
    samples = [SegDataSample(gt_sem_seg=PixelData(data=each)) for each in labels]
    losses = head.loss(maps, samples, {})
    sum(value for name, value in losses.items() if 'loss' in name).backward()
    return losses, [weight.grad for weight in head.parameters()]


@pytest.mark.parametrize(
    ('change', 'names'),
    [
        ('dice', {'loss_ce', 'loss_dice'}),
        ('lovasz', {'loss_ce', 'loss_lovasz'}),
        ('focal', {'loss_focal'}),
        ('classweight', {'loss_ce'}),
    ],
)
def test_losses__of_the_fast_head_are_those_of_the_stock_one(change, names) -> None:
    loss = child(change).model.decode_head.loss_decode
    found = []
    for kind in (UPerHead, FastUPerHead):
        head = head_of(kind, loss)
        if change == 'classweight':
            head.loss_decode.class_weight = [0.1, *[1.0] * 9, 3.0]
        found.append(losses_of(head))
    (wanted, slopes), (given, own) = found
    assert {name for name in given if name.startswith('loss')} == names
    torch.testing.assert_close(given, wanted)
    torch.testing.assert_close(own, slopes, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize('change', ['dice', 'lovasz', 'focal'])
def test_losses__work_in_bfloat16(change) -> None:
    head = head_of(FastUPerHead, child(change).model.decode_head.loss_decode)
    with torch.autocast('cpu', torch.bfloat16):
        losses, slopes = losses_of(head)
    assert all(value.isfinite().all() for value in (*losses.values(), *slopes))


def test_ema__full_size_and_small_differ_in_their_hooks() -> None:
    hooks = {
        change: [hook.type for hook in child(change, parent).custom_hooks]
        for change, parent in (('noema', SMALL), ('swa', SMALL), ('ema', TINY))
    }
    assert 'EMAHook' not in hooks['noema']
    assert hooks['swa'].count('EMAHook') == hooks['ema'].count('EMAHook') == 1
    swa = child('swa')
    assert swa.custom_hooks[0].begin_iter == 0.75 * swa.train_cfg.max_iters


def test_backbone__learns_at_a_tenth_of_the_heads_rate() -> None:
    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.backbone = torch.nn.Conv2d(3, 4, 1)
            self.decode_head = torch.nn.Conv2d(4, 2, 1)

    wrapper = dict(child('backbone0.1', TINY).optim_wrapper)
    for key in ('dtype', 'loss_scale'):
        del wrapper[key]
    wrapper['type'] = 'OptimWrapper'
    with quiet():
        built = build_optim_wrapper(Model(), ConfigDict(wrapper))
    groups = built.optimizer.param_groups
    assert [group['lr'] for group in groups] == pytest.approx([8e-6] * 2 + [8e-5] * 2)
    assert [group['weight_decay'] for group in groups] == [0.05, 0, 0.05, 0]


def test_rareclass__prefers_images_of_rare_classes() -> None:
    sampler = child('rareclass').train_dataloader.sampler
    assert DATA_SAMPLERS.get(sampler.type) is not None
    assert (sampler.prefer_rare, sampler.shuffle) == (0.5, True)


def test_classweight__battery_weighs_ten_times_the_background() -> None:
    hook = child('classweight').custom_hooks[4]
    pixels = torch.tensor([7700, 180, 390, 29, 24, 44, 230, 170, 1170, 1, 61]).numpy()
    weights = class_weights(pixels, hook.power, hook.limit)
    assert weights[9] == pytest.approx(10 * weights[0])
    assert weights[8] == pytest.approx(weights[0] * (7700 / 1170) ** 0.5)


def test_valloss__is_a_validation_loop() -> None:
    assert LOOPS.get(child('valloss').val_cfg.type).__name__ == 'LossValLoop'


@pytest.mark.parametrize('parent', [SMALL, TINY], ids=['small', 'tiny'])
def test_trainval__both_parts_are_named_and_nothing_is_left_to_choose_by(
    parent,
) -> None:
    cfg = child('trainval', parent)
    parts = cfg.train_dataloader.dataset.dataset.datasets
    found = [dict(part.pop('data_prefix')) for part in parts]
    assert found == [
        dict(img_path=f'{part}/images', seg_map_path=f'{part}/mask')
        for part in ('train', 'valid')
    ]
    assert parts[0] == parts[1]
    assert cfg.trains_on_validation is True
    assert cfg.val_dataloader is cfg.val_evaluator is cfg.val_cfg is None
    assert cfg.default_hooks.checkpoint.save_best is None
    lengths = [cfg.train_cfg.get(key) for key in ('max_iters', 'max_epochs')]
    assert cfg.param_scheduler[-1].end in lengths
