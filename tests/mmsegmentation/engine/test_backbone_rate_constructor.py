"""The backbone learns at its own rate; all else of the groups stays."""

import pytest
from mmengine.config import ConfigDict
from mmengine.optim import build_optim_wrapper
from torch import nn

import mmsegmentation.engine  # noqa: F401
from mmsegmentation.runtime import quiet

RULES = dict(norm_decay_mult=0.0, bias_decay_mult=0.0, bias_lr_mult=2.0)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
        self.decode_head = nn.Sequential(nn.Conv2d(4, 2, 1), nn.BatchNorm2d(2))


def groups_of(**more):
    wrapper = dict(
        type='OptimWrapper',
        optimizer=dict(type='AdamW', lr=0.1, weight_decay=0.05),
        **more,
    )
    with quiet():
        model = Net()
        built = build_optim_wrapper(model, ConfigDict(wrapper))
    names = {id(value): name for name, value in model.named_parameters()}
    return {names[id(g['params'][0])]: g for g in built.optimizer.param_groups}


def test_backbone__learns_at_a_tenth_and_decays_as_before():
    constructor = 'mmseg.BackboneRateConstructor'
    paramwise = dict(RULES, backbone_lr_mult=0.1)
    ours = groups_of(constructor=constructor, paramwise_cfg=paramwise)
    stock = groups_of(paramwise_cfg=RULES)
    assert len(ours) == 8
    for name, group in ours.items():
        factor = 0.1 if name.startswith('backbone.') else 1
        assert group['lr'] == pytest.approx(stock[name]['lr'] * factor)
        assert group['weight_decay'] == stock[name]['weight_decay']


@pytest.mark.parametrize('factor', [None, 0, -1, 'low'])
def test_backbone__wrong_factor_is_told(factor):
    paramwise = {} if factor is None else dict(backbone_lr_mult=factor)
    with pytest.raises(ValueError, match='needs backbone_lr_mult above 0, got'):
        groups_of(constructor='mmseg.BackboneRateConstructor', paramwise_cfg=paramwise)
