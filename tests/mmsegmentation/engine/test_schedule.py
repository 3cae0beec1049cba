"""Another schedule takes over on resume, and says so."""

import math

import pytest
from mmengine.config import Config

from mmsegmentation.engine import QuietRunner, schedule

POLY = [{'type': 'PolyLR', 'power': 1.0, 'by_epoch': False, 'end': 8}]


@pytest.fixture
def train_with(train):
    """Train by a schedule that the config tells as well; give the learning rate."""

    def call(end, rights, poly=POLY, lr=0.01, unit='iter', per_epoch=9, **more):
        optim = {'optimizer': {'type': 'SGD', 'lr': lr, 'momentum': 0.5}}
        count = {'train_cfg': {f'max_{unit}s': end}}
        cfg = {'param_scheduler': poly, 'optim_wrapper': optim, **count}
        runner = train(
            [],
            rights,
            end=end,
            unit=unit,
            per_epoch=per_epoch,
            runner_type=QuietRunner,
            param_scheduler=poly,
            optim_wrapper=optim,
            cfg=Config(cfg),
            **more,
        )
        return runner, runner.optim_wrapper.optimizer.param_groups[0]

    return call


def test_resume__same_schedule_says_nothing(train_with, capsys, tmp_path):
    _, whole = train_with(6, [1] * 6)
    last = tmp_path / 'run/iter_4.pth'
    capsys.readouterr()
    _, resumed = train_with(6, [1] * 9, load_from=str(last), resume=True)
    assert capsys.readouterr().out == ''
    assert resumed['lr'] == whole['lr']


def test_resume__earlier_checkpoint_is_the_last_from_then_on(train_with, tmp_path):
    train_with(4, [1] * 4)
    last = tmp_path / 'run/last_checkpoint'
    assert last.read_text().endswith('iter_4.pth')
    early = tmp_path / 'run/iter_2.pth'
    train_with(2, [1] * 9, load_from=str(early), resume=True)
    assert last.read_text() == str(early)
    other = dict(work_dir=str(tmp_path / 'other'), experiment_name='other')
    train_with(3, [1] * 9, load_from=str(early), resume=True, **other)
    assert last.read_text() == str(early)


def test_resume__longer_schedule_holds_as_if_from_the_start(train_with, capsys):
    train_with(4, [1] * 4)
    longer = [{**POLY[0], 'end': 15}]
    runner, group = train_with(6, [1] * 9, longer, resume=True)
    said = capsys.readouterr().out
    assert said == (
        'changed since the checkpoint: train_cfg.max_iters 4 -> 6, '
        'param_scheduler.0.end 8 -> 15; at step 4 the learning rate is 0.00714, was '
        '0.00429\n'
    )
    assert runner.iter == 6
    assert math.isclose(group['lr'], 0.01 * (1 - 6 / 14))


def test_resume__optimiser_is_set_as_the_config_says(train_with, capsys):
    train_with(4, [1] * 4)
    _, group = train_with(4, [1] * 9, lr=0.1, resume=True)
    said = capsys.readouterr().out
    assert 'optim_wrapper.optimizer.lr 0.01 -> 0.1; at step 4' in said
    assert math.isclose(group['lr'], 0.1 * (1 - 4 / 7))
    assert group['initial_lr'] == 0.1


def test_resume__rate_that_stays_is_not_told(train_with, capsys):
    train_with(4, [1] * 4, poly=None)
    train_with(6, [1] * 9, poly=None, resume=True)
    said = capsys.readouterr().out
    assert said == 'changed since the checkpoint: train_cfg.max_iters 4 -> 6\n'


def test_resume__other_length_of_an_epoch_counts_steps_anew(train_with, capsys):
    none = {'poly': None, 'unit': 'epoch'}
    train_with(2, [1] * 2, per_epoch=4, **none)
    runner, _ = train_with(3, [1] * 9, per_epoch=6, resume=True, **none)
    assert 'steps of an epoch 4 -> 6' in capsys.readouterr().out
    assert (runner.epoch, runner.iter) == (3, 18)


def test_flatten__names_every_value():
    part = {'a': [{'b': 1}, {'c': (0.9, 0.99)}], 'd': None, 'e': int}
    assert dict(schedule.flatten(part)) == {
        'a.0.b': 1,
        'a.1.c': '[0.9, 0.99]',
        'd': None,
        'e': "<class 'int'>",
    }
