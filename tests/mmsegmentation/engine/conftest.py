"""A run of a moment: scripted losses, scripted validations."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.logging import MMLogger
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import DataLoader, Dataset

LOOPS = {
    'iter': {'type': 'IterBasedTrainLoop', 'max_iters': 0, 'val_interval': 1},
    'epoch': {'type': 'EpochBasedTrainLoop', 'max_epochs': 0, 'val_interval': 1},
}


class Images(Dataset):
    metainfo = {'classes': ('Background', 'Paper')}

    def __init__(self, count: int) -> None:
        self.images = torch.rand(count, 3, 8, 8, generator=torch.manual_seed(0))

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> dict:
        return {'image': self.images[index]}


class Scripted(BaseModel):
    """Learns a little, and validates with as many of four pixels right as told."""

    def __init__(self, rights: Sequence[int], losses: Sequence[float]) -> None:
        super().__init__()
        self.body = nn.Conv2d(3, 5, 3)
        self.head = nn.Conv2d(5, 2, 3)
        self.rights, self.losses = iter(rights), iter(losses)

    def forward(self, image: torch.Tensor, mode: str) -> Any:
        found = self.head(self.body(image).relu())
        if mode == 'loss':
            loss = found.square().mean()
            wanted = next(self.losses, None)
            return {'loss': loss if wanted is None else loss - loss.detach() + wanted}
        truth = torch.zeros(1, 1, 4, dtype=torch.uint8)
        guess = (torch.arange(4) >= next(self.rights))[None, None]
        return [{'gt_sem_seg': {'data': truth}, 'pred_sem_seg': {'data': guess}}]


@pytest.fixture(scope='session', autouse=True)
def logger() -> None:
    """Make MMEngine's logger, which keeps the screen of whoever logs first.

    A test's own screen is closed after it.
    """
    MMLogger.get_current_instance()


@pytest.fixture
def train(tmp_path: Path) -> Callable[..., Runner]:
    """Train for as many steps as there are validations; give the runner."""

    def call(
        hooks: Sequence,
        rights: Sequence[int],
        losses: Sequence[float] = (),
        unit: str = 'iter',
        per_epoch: int = 9,
        checkpoint: dict | None = None,
        runner_type: type[Runner] = Runner,
        **more: Any,
    ) -> Runner:
        torch.manual_seed(0)
        loop = {**LOOPS[unit], f'max_{unit}s': more.pop('end', len(rights))}
        saves = {
            'type': 'CheckpointHook',
            'by_epoch': unit == 'epoch',
            'interval': 1,
            'save_best': 'mIoU',
            'rule': 'greater',
        }
        given = {
            'work_dir': str(tmp_path / 'run'),
            'train_dataloader': DataLoader(Images(per_epoch)),
            'val_dataloader': DataLoader(Images(1)),
            'train_cfg': loop,
            'val_cfg': {},
            'val_evaluator': {'type': 'ExactIoUMetric'},
            'optim_wrapper': {
                'optimizer': {'type': 'SGD', 'lr': 0.01},
                'paramwise_cfg': {'custom_keys': {'body': {'lr_mult': 0.1}}},
            },
            'default_hooks': {'checkpoint': checkpoint or saves},
            'custom_hooks': list(hooks),
            'log_level': 'ERROR',
            'default_scope': 'mmseg',
            'experiment_name': f'{tmp_path.name}{len(list(tmp_path.rglob("*.log")))}',
            'randomness': {'seed': 0},
        }
        runner = runner_type(Scripted(rights, losses), **{**given, **more})
        runner.train()
        return runner

    return call
