"""Start-up failures: one line that names the key to set."""

import pytest
from mmengine.config import Config
from torch.utils.data import DataLoader

from mmsegmentation.blame import blame


@pytest.mark.parametrize(
    ('option', 'way_out'),
    [
        ({'persistent_workers': True}, 'persistent_workers=False'),
        ({'prefetch_factor': 4}, 'prefetch_factor=None'),
    ],
)
def test_blame__option_of_workers_without_workers_is_named(option, way_out):
    with pytest.raises(ValueError, match='num_workers') as caught:
        DataLoader([1], num_workers=0, **option)
    loaders = {
        'train_dataloader': {'num_workers': 0, **option},
        'val_dataloader': {'num_workers': 2, **option},
    }
    given = ['train_dataloader.num_workers=0']
    cfg = Config(loaders, filename=None)
    error = blame(caught.value, cfg, given, 'does not build')
    assert str(error).endswith(f'; set train_dataloader.{way_out}')
    assert 'val_dataloader' not in str(error)
