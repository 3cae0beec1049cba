"""A run with all that may better it: what is logged, kept and judged."""

import contextlib
import io
import json
import os
import re

import numpy as np
import pytest
import torch
from mmengine.config import Config
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from mmsegmentation.checkpoints import check_checkpoint
from mmsegmentation.files import read_json, read_mask
from tests.tools.loss_by_hand import loss_by_hand
from tools import test, train
from tools.soup import Mean

PARTS = """
custom_hooks = [
    dict(type='EMAHook', ema_type='ExponentialMovingAverage', momentum=0.5),
    dict(type='ClassWeightHook', power=0.5, limit=2.0),
    dict(type='EarlyStoppingHook', monitor='mIoU', min_delta=1000.0, patience=1),
    *_base_.custom_hooks,
]
train_dataloader.update(sampler=dict(type='RareClassInfiniteSampler', prefer_rare=0.5))
model = dict(decode_head=dict(loss_decode=dict(avg_non_ignore=True)))
train_cfg = dict(max_iters=4, val_interval=1)
val_cfg = dict(type='LossValLoop')
val_dataloader.update(batch_size=2)
default_hooks = dict(checkpoint=dict(interval=1))
"""
FINAL = """
_train = _base_.train_set
_valid = dict(
    _train, data_prefix=dict(img_path='valid/images', seg_map_path='valid/mask')
)
trains_on_validation = True
train_dataloader.update(
    dataset=dict(
        dataset=dict(_delete_=True, type='ConcatDataset', datasets=[_train, _valid])
    )
)
train_cfg = dict(max_iters=1)
val_dataloader = None
val_evaluator = None
val_cfg = None
default_hooks = dict(checkpoint=dict(interval=1, save_best=None))
"""


@pytest.fixture(scope='module')
def bettered(shared_root, write_config):
    """Train once with all of it; give the config, the folder and what was printed."""
    config = write_config(more=PARTS, name='bettered')
    work_dir = shared_root.parent / 'bettered'
    earlier, said = dict(os.environ), io.StringIO()
    os.environ['RECYCLE_DATA'] = str(shared_root)
    with contextlib.redirect_stdout(said):
        train.main([config, '--work-dir', str(work_dir)])
    os.environ.clear()
    os.environ.update(earlier)
    return config, work_dir, said.getvalue()


def weights_by_hand(root):
    pixels = np.zeros(11)
    for path in (root / 'train/mask').rglob('*.png'):
        pixels += np.bincount(read_mask(path).ravel(), minlength=256)[:11]
    root_of = np.sqrt(pixels[0] / pixels.clip(1)).clip(max=2)
    return torch.tensor(root_of / root_of[pixels > 0].mean(), dtype=torch.float32)


def test_validation__loss_is_that_by_hand_in_log_and_tensorboard(bettered, shared_data):
    config, work_dir, _ = bettered
    (path,) = work_dir.glob('*/vis_data/scalars.json')
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines = {line['step']: line for line in lines if 'mIoU' in line}
    events = EventAccumulator(str(next(work_dir.glob('*/vis_data')))).Reload()
    curve = {event.step: event.value for event in events.Scalars('val_loss')}
    assert curve.keys() == lines.keys() == {1, 2}
    class_weight = weights_by_hand(shared_data)
    for step, line in lines.items():
        path = work_dir / f'iter_{step}.pth'
        main, aux = loss_by_hand(config, path, class_weight)
        assert line['val_decode.loss_ce'] == pytest.approx(main, rel=1e-4)
        assert line['val_aux.loss_ce'] == pytest.approx(aux, rel=1e-4)
        assert line['val_loss'] == pytest.approx(main + aux, rel=1e-4)
        assert curve[step] == pytest.approx(main + aux, rel=1e-4)
    assert lines[1]['val_loss'] != pytest.approx(lines[2]['val_loss'], rel=1e-3)


def test_screen__weights_and_the_early_stop_are_told(bettered, shared_data):
    said = bettered[2]
    assert 'stopped early at step 2: the monitored metric did not improve' in said
    (line,) = re.findall('class weights: (.*)', said)
    shown = [float(part.rsplit(' ', 1)[1]) for part in line.split(', ')]
    wanted = weights_by_hand(shared_data).tolist()
    assert shown == pytest.approx(wanted, abs=0.01)
    assert shown[1] > shown[0]


def test_ema__best_checkpoint_is_judged_and_used_as_the_average(
    bettered, shared_data, run, tmp_path
):
    config, work_dir, _ = bettered
    scores = read_json(work_dir / 'metrics.json')
    best = work_dir / scores['checkpoint']
    out = tmp_path / 'pred'
    code, _, err = run(test.main, config, best, '--out', out)
    assert code == 0, err
    again = read_json(out / 'metrics.json')
    assert again['confusion'] == scores['confusion']
    # Momentum 0.5: the average is the mean of the first step's and the second's.
    first, second = (
        check_checkpoint(str(work_dir / f'iter_{step}.pth')) for step in (1, 2)
    )
    name = 'backbone.downsample_layers.0.0.weight'
    raw = second['ema_state_dict'][f'module.{name}']
    mean = Mean({name: first['state_dict'][name]}).result({name: raw})[name]
    assert not torch.equal(raw, second['state_dict'][name])
    torch.testing.assert_close(second['state_dict'][name], mean)


@pytest.fixture(scope='module')
def final(shared_root, write_config, trained):
    """Train on both parts, from a checkpoint."""
    config = write_config(more=FINAL, name='final')
    work_dir = shared_root.parent / 'final'
    earlier, said = dict(os.environ), io.StringIO()
    os.environ['RECYCLE_DATA'] = str(shared_root)
    with contextlib.redirect_stdout(said):
        start = f'load_from={trained[1] / "iter_4.pth"}'
        train.main([config, '--work-dir', str(work_dir), '--cfg-options', start])
    os.environ.clear()
    os.environ.update(earlier)
    return config, work_dir, said.getvalue()


def test_final__has_no_best_and_says_what_it_learnt(final):
    _, work_dir, said = final
    assert 'trains on the validation part too: no scores, no best checkpoint' in said
    assert 'without a trained model' not in said
    assert [path.name for path in work_dir.glob('*.pth')] == ['iter_1.pth']
    content = check_checkpoint(str(work_dir / 'iter_1.pth'))
    assert content['meta']['knows_validation'] is True


def test_final__that_starts_from_nothing_is_said(capsys):
    cfg = Config(dict(train_cfg=dict(max_iters=1), optim_wrapper=dict()))
    train._say_start(cfg, 'log', final=True)
    assert '--cfg-options load_from=...' in capsys.readouterr().out


def test_final__no_command_takes_its_training_images_for_a_judge(
    final, trained, shared_data, misuse, run, tmp_path
):
    config, last = final[0], final[1] / 'iter_1.pth'
    out = ('--out', tmp_path / 'pred')
    message = r'iter_1\.pth: was trained on the images of valid; predict --split test'
    misuse(test.main, message, config, last, *out)
    code, _, err = run(test.main, config, last, '--split', 'test', *out)
    assert code == 0, err
    options = ('--work-dir', tmp_path / 'w', '--cfg-options', f'load_from={last}')
    message = r'iter_1\.pth: was trained on the validation part, which would judge the'
    misuse(train.main, message, trained[0], *options)
    options = (*options[:2], '--cfg-options', 'trains_on_validation=True')
    message = 'trains on the validation part, which would judge it; set val_dataloader'
    misuse(train.main, message, trained[0], *options)
