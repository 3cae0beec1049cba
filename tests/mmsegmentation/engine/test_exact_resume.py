"""A run that is killed at any moment, and resumed, ends as the one that never was."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from torch import nn
from torch.utils.data import DataLoader, Dataset

from mmsegmentation import files, sealed
from mmsegmentation.datasets.draw import chance_of
from mmsegmentation.engine import (
    BestMetricsHook,
    QuietRunner,
    SeededInfiniteSampler,
    SeededSampler,
    run_state,
)
from tests.tools.endings import difference, ending

# MMEngine's, where gradients are gathered over some steps before the first of AdamW.
pytestmark = pytest.mark.filterwarnings('ignore:Detected call of:UserWarning')
IMAGES = 10
LOOPS = {
    'iter': {'type': 'IterBasedTrainLoop', 'max_iters': 14, 'val_interval': 3},
    'epoch': {'type': 'EpochBasedTrainLoop', 'max_epochs': 3, 'val_interval': 1},
}
SAVES = {
    'iterations': ('iter', {'by_epoch': False, 'interval': 3}),
    'between validations': ('iter', {'by_epoch': False, 'interval': 4}),
    'epochs': ('epoch', {'by_epoch': True, 'interval': 1}),
    'within epochs': ('epoch', {'by_epoch': False, 'interval': 3}),
}
AVERAGE = {'ema_type': 'ExponentialMovingAverage', 'momentum': 0.3}
AVERAGES = {
    'iterations': {**AVERAGE, 'update_buffers': True},
    'between validations': {'ema_type': 'StochasticWeightAverage', 'begin_iter': 5},
}


class Killed(BaseException):
    """Nobody catches it; what is on the disk is all that is left."""


class Moment:
    """Counts the moments at which a run may be killed, and kills it at one of them."""

    def __init__(self) -> None:
        self.count, self.last = 0, -1

    def __call__(self) -> None:
        self.count += 1
        if self.count == self.last:
            raise Killed


class Noisy(Dataset):
    metainfo = {'classes': ('Background', 'Paper')}

    def __init__(self) -> None:
        self.images = torch.rand(IMAGES, 3, 6, 6, generator=torch.manual_seed(1))

    def __len__(self) -> int:
        return IMAGES

    def __getitem__(self, index: int) -> dict:
        with chance_of(index):
            noise = torch.from_numpy(np.random.normal(0, 0.2, (3, 6, 6)))
        return {'image': self.images[index] + noise.float()}


class Small(BaseModel):
    """Tells bright pixels from dark ones, through a dropout."""

    def __init__(self, moment: Moment) -> None:
        super().__init__()
        self.moment = moment
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8))
        self.head = nn.Sequential(nn.Dropout2d(0.3), nn.Conv2d(8, 2, 1))

    def forward(self, image, mode):
        self.moment()
        found = self.head(self.body(image).relu())
        truth = (image.mean(1) > 0.5).long()
        if mode == 'loss':
            return {'loss': nn.functional.cross_entropy(found, truth)}
        label_map, truth = found.argmax(1).byte(), truth.byte()
        return [
            {'gt_sem_seg': {'data': t[None]}, 'pred_sem_seg': {'data': g[None]}}
            for t, g in zip(truth, label_map, strict=True)
        ]


@pytest.fixture(scope='module')
def train_in():
    """Train in a folder, from its last checkpoint if it has one."""

    def call(folder: Path, kind: str, moment: Moment, *, more=(), amp=None) -> None:
        unit, saves = SAVES[kind]
        torch.manual_seed(0)
        sampler = {'iter': SeededInfiniteSampler, 'epoch': SeededSampler}[unit]
        data = Noisy()
        schedule = [
            {'type': 'LinearLR', 'start_factor': 0.1, 'by_epoch': False, 'end': 4},
            {'type': 'PolyLR', 'by_epoch': False, 'begin': 4, 'end': 14},
        ]
        last = folder / 'last_checkpoint'
        start = folder / Path(last.read_text()).name if last.is_file() else None
        number = len(list(folder.rglob('*.log')))
        cfg = Config({'param_scheduler': schedule, 'train_cfg': LOOPS[unit]})
        runner = QuietRunner(
            Small(moment),
            work_dir=str(folder),
            train_dataloader=DataLoader(
                data, batch_size=2, sampler=sampler(data, seed=3)
            ),
            val_dataloader=DataLoader(data, batch_size=5),
            train_cfg={**LOOPS[unit], **dict(more)},
            val_cfg={},
            val_evaluator={'type': 'ExactIoUMetric'},
            optim_wrapper={
                'optimizer': {'type': 'AdamW', 'lr': 0.02},
                'accumulative_counts': 2,
                'clip_grad': {'max_norm': 1.0},
                'paramwise_cfg': {'custom_keys': {'body': {'lr_mult': 0.5}}},
            },
            param_scheduler=schedule,
            default_hooks={
                'checkpoint': {
                    'type': 'CheckpointHook',
                    'save_best': 'mIoU',
                    'max_keep_ckpts': 2,
                    **saves,
                },
                'logger': {'type': 'LoggerHook', 'interval': 1},
            },
            custom_hooks=[
                {'type': 'EMAHook', **AVERAGES.get(kind, AVERAGE)},
                # It counts, and never stops.
                {'type': 'EarlyStoppingHook', 'monitor': 'mIoU', 'patience': 99},
                BestMetricsHook(),
            ],
            visualizer={
                'type': 'Visualizer',
                'vis_backends': [{'type': 'LocalVisBackend'}],
            },
            log_level='ERROR',
            default_scope='mmseg',
            experiment_name=f'{folder.parent.name}_{folder.name}{number}',
            randomness={'seed': 0},
            load_from=start and str(start),
            resume=bool(start),
            cfg=cfg,
        )
        sealed.remove_leftovers(folder)
        if not start:  # as tools/train.py does
            run_state.cut_logs(runner, {})
        runner.train()

    return call


@pytest.fixture
def disk(monkeypatch):
    """Let a run be killed before and after each change of a folder."""
    moment = Moment()

    def around(owner, name):
        act = getattr(owner, name)

        def call(*args, **kwargs):
            moment()
            result = act(*args, **kwargs)
            moment()
            return result

        monkeypatch.setattr(owner, name, call)

    around(Path, 'replace')
    around(os, 'remove')
    around(files.json, 'dumps')
    return moment


@pytest.mark.parametrize('kind', SAVES)
def test_run__killed_at_any_moment_ends_the_same(train_in, disk, tmp_path, kind):
    train_in(tmp_path / 'whole', kind, disk)
    wanted, moments = ending(tmp_path / 'whole'), disk.count
    assert len(wanted['log']) > 14
    assert len({line.get('mIoU') for line in wanted['log']}) > 2
    for last in range(2 + len(kind) % 4, moments + 1, moments // 4):
        folder = tmp_path / f'{last}'
        disk.count, disk.last = 0, last
        with pytest.raises(Killed):
            train_in(folder, kind, disk)
        found = sorted(p.name for p in folder.iterdir())
        print(last, found)
        disk.last = -1
        train_in(folder, kind, disk)
        assert difference(wanted, ending(folder)) is None, last
        assert not list(folder.glob('.*'))
