"""A batch to predict that a stock model would stop at."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from mmsegmentation.command import InputError
from mmsegmentation.engine.one_size_hook import OneSizeHook
from mmsegmentation.models import FastEncoderDecoder

STOCK = SimpleNamespace(model=nn.Linear(1, 1))
OURS = SimpleNamespace(model=object.__new__(FastEncoderDecoder))


def batch(*sizes):
    return {'inputs': [torch.zeros(3, *size) for size in sizes]}


@pytest.mark.parametrize('mode', ['val', 'test'])
def test_batch__of_several_sizes_is_refused_for_a_stock_model(mode):
    check = getattr(OneSizeHook(), f'before_{mode}_iter')
    message = rf'{mode}_dataloader.batch_size: .* \[\(4, 4\), \(4, 5\)\].*; set it to 1'
    with pytest.raises(InputError, match=message):
        check(STOCK, 0, batch((4, 5), (4, 4)))


def test_batch__of_one_size_or_for_our_model_passes():
    check = OneSizeHook().before_val_iter
    check(STOCK, 0, batch((4, 4), (4, 4)))
    check(STOCK, 0, {'inputs': torch.zeros(2, 3, 4, 4)})
    check(OURS, 0, batch((4, 5), (4, 4)))
    check(STOCK, 0, {'inputs': [[torch.zeros(3, 4, 5)], [torch.zeros(3, 4, 4)]]})
    check(STOCK, 0, None)
