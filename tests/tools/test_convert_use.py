"""A converted file in the commands that take checkpoints."""

import re

import torch

from mmsegmentation.checkpoints import check_checkpoint
from tools import convert_checkpoint, test, train

# facebookresearch's names for parts of ours.
NAMES = {'depthwise_conv': 'dwconv', 'pointwise_conv': 'pwconv'}


def facebooks_name(name):
    return re.sub('|'.join(NAMES), lambda match: NAMES[match[0]], name)


def read(path):
    return check_checkpoint(str(path))['state_dict']


def test_commands__take_what_is_written(trained, shared_data, run, tmp_path):
    config, work_dir = trained
    weights = read(next(work_dir.glob('best_*.pth')))
    source = {facebooks_name(name): value for name, value in weights.items()}
    source['backbone.downsample_layers.0.0.bias'].fill_(7)
    torch.save({'model': source}, tmp_path / 'source.pth')
    ours = tmp_path / 'ours.pth'
    arguments = (tmp_path / 'source.pth', '--config', config, '--out', ours)
    assert run(convert_checkpoint.main, *arguments)[0] == 0
    assert run(test.main, config, ours, '--out', tmp_path / 'p')[0] == 0
    start = 'model.backbone.init_cfg'
    options = [f'{start}.type=Pretrained', f'{start}.checkpoint={ours}']
    options += [f'{start}.prefix=backbone.', 'optim_wrapper.optimizer.lr=0.0']
    arguments = (config, '--work-dir', tmp_path / 'w', '--cfg-options')
    assert run(train.main, *arguments, *options, 'train_cfg.max_iters=1')[0] == 0
    begun = read(tmp_path / 'w/iter_1.pth')
    for name, value in read(ours).items():
        if name.startswith('backbone.'):
            torch.testing.assert_close(begun[name], value)
