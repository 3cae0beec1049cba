"""A run of several processes that is told to stop."""

import os
import signal
import time
from types import SimpleNamespace

import pytest
from mmengine.hooks import EMAHook
from torch import nn

from mmsegmentation.engine import stop_hook
from mmsegmentation.engine.stop_hook import StopHook, Stopped
from mmsegmentation.engine.whole_checkpoint_hook import WholeCheckpointHook


class Slow(WholeCheckpointHook):
    saved = False

    def save_now(self, runner, epoch, step):
        time.sleep(1.2)
        self.saved = True


@pytest.fixture
def hook(monkeypatch):
    monkeypatch.setattr(stop_hook, 'get_world_size', lambda: 2)
    monkeypatch.setattr(stop_hook, 'PATIENCE', 1)
    hook = StopHook()
    hook.before_run(None)
    yield hook
    signal.alarm(0)
    hook.restore()


def test_stop__once_all_agree_saving_may_take_longer_than_waiting(hook, monkeypatch):
    monkeypatch.setattr(stop_hook, 'all_reduce', lambda *_: None)
    runner = SimpleNamespace(hooks=[Slow()], iter=2, epoch=0)
    os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(Stopped) as left:
        hook.after_train_iter(runner, 2)
    assert (left.value.code, left.value.step) == (128 + signal.SIGTERM, 3)
    assert runner.hooks[0].saved


def test_stop__leaves_where_another_process_does_not_answer(hook, monkeypatch):
    monkeypatch.setattr(stop_hook, 'all_reduce', lambda *_: time.sleep(30))
    os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(SystemExit) as left:
        hook.after_train_iter(SimpleNamespace(hooks=[], iter=2, epoch=0), 2)
    assert left.value.code == 143
    assert not isinstance(left.value, Stopped)


def test_stop__in_validation_saves_the_weights_of_training(monkeypatch):
    """EMAHook has put the averaged ones in their place."""
    monkeypatch.setattr(stop_hook, 'get_world_size', lambda: 1)
    model = nn.Linear(1, 1, bias=False)
    average = EMAHook(momentum=0.5)
    runner = SimpleNamespace(model=model, hooks=[average], iter=2, epoch=0)
    average.before_run(runner)
    average.ema_model.module.weight.data.fill_(7)
    model.weight.data.fill_(3)
    average.before_val_epoch(runner)
    assert model.weight.item() == 7
    hook = StopHook()
    hook.signal = signal.SIGTERM
    with pytest.raises(Stopped):
        hook.after_val_iter(runner, 0)
    assert (model.weight.item(), average.ema_model.module.weight.item()) == (3, 7)


def test_stop__closed_terminal_saves_unless_nohup_was_asked_for(monkeypatch):
    monkeypatch.setattr(stop_hook, 'get_world_size', lambda: 1)
    runner = SimpleNamespace(hooks=[], iter=2, epoch=0)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        for ignored in (True, False):
            hook = StopHook()
            hook.before_run(None)
            os.kill(os.getpid(), signal.SIGHUP)
            if ignored:
                hook.after_train_iter(runner, 2)
            else:
                with pytest.raises(Stopped) as left:
                    hook.after_train_iter(runner, 2)
                assert left.value.code == 128 + signal.SIGHUP
            hook.restore()
            signal.signal(signal.SIGHUP, signal.SIG_DFL)
    finally:
        signal.signal(signal.SIGHUP, before)
