"""What stops a run before or while it trains in vain: one line, and nothing lost."""

import json
import re

import pytest
import torch

from mmsegmentation.engine import SampleCheckHook
from mmsegmentation.files import read_json
from mmsegmentation.models import FastEncoderDecoder
from tools import train

NOTE = 'no training mask has these classes: '
NO_CACHE = 'train_dataloader.dataset.dataset.cache=False'


@pytest.fixture
def fails(run):
    """Train until one line of error ends it, after the note on the drawn classes."""

    def call(message, *arguments):
        code, _, err = run(train.main, *arguments)
        assert code == 2
        *before, last = err.splitlines()
        assert [line[: len(NOTE)] for line in before] == [NOTE], err[-3000:]
        assert re.search(message, last), last

    return call


def damage_after_the_start(monkeypatch, path):
    """Cut off a file once the checks before the first step have passed."""

    def before_train(self, runner):
        start(self, runner)
        path.write_bytes(path.read_bytes()[:60])

    start = SampleCheckHook.before_train
    monkeypatch.setattr(SampleCheckHook, 'before_train', before_train)


def test_image__damaged_in_training_is_replaced_or_stops_by_its_share(
    write_config, data_root, run, fails, tmp_path, monkeypatch
):
    path = data_root / 'train/images/batch_0/0.png'
    damage_after_the_start(monkeypatch, path)
    common = (write_config(), '--work-dir', tmp_path / 'w', '--cfg-options', NO_CACHE)
    whole = path.read_bytes()
    message = (
        r'batch_0/0\.png: cannot be trained on \(has changed\), like 1 of 4 in all, '
        r'more than a share of 0\.001; replace those in .*w/quarantine\.jsonl'
    )
    fails(message, *common)
    path.write_bytes(whole)
    share = 'default_hooks.quarantine.share=0.5'
    code, _, err = run(train.main, *common, share, 'train_cfg.max_iters=2')
    assert code == 0
    assert f'{path}: has changed; another image takes its place' in err
    (entry,) = map(json.loads, (tmp_path / 'w/quarantine.jsonl').open())
    assert entry['file'] == str(path)
    # The file is no better, and the run goes on without it.
    code, _, err = run(train.main, *common[:3], '--resume', *common[3:], share)
    assert code == 0, err
    assert (tmp_path / 'w/iter_4.pth').is_file()


def test_loss__that_is_not_finite_stops_with_the_images_and_a_checkpoint(
    write_config, shared_data, fails, tmp_path
):
    rate = 'param_scheduler.0.start_factor=1'
    options = ('--cfg-options', rate, 'optim_wrapper.optimizer.lr=1e30')
    arguments = (write_config(), '--work-dir', tmp_path / 'w', *options)
    message = (
        r'error: step 2: the loss is not finite \(.*nan.*\) on .*\.png, .*iter_1\.pth'
    )
    fails(message, *arguments)
    (record,) = read_json(tmp_path / 'w/not_finite.json')
    assert len(record['images']) == 2
    assert all(name.startswith(str(shared_data)) for name in record['images'])
    assert {p.name for p in (tmp_path / 'w').glob('*.pth')} == {'iter_1.pth'}


def test_memory__that_is_not_there_is_one_line_with_three_ways_out(
    write_config, shared_data, fails, tmp_path, monkeypatch
):
    def too_large(*_, **__):
        return torch.empty(1 << 50, dtype=torch.uint8)

    monkeypatch.setattr(FastEncoderDecoder, 'train_step', too_large)
    message = (
        r'error: step 1: out of memory on the CPU \(asked for 1048576\.00 GiB more\); '
        r'set train_dataloader\.batch_size=1 \(now 2\) with '
        r'optim_wrapper\.accumulative_counts=2 \(now 1\), .*, or --amp \(now '
        r'OptimWrapper, full precision\), or a smaller crop: '
        r'train_dataloader\.dataset\..*scale \(now \(128, 128\)\)'
    )
    fails(message, write_config(), '--work-dir', tmp_path / 'w')


def test_config__that_keeps_what_it_replaces_is_refused(
    write_config, shared_data, misuse, tmp_path
):
    more = "train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=1)\n"
    config = write_config(more=more, name='kept')
    message = r'kept\.py: train_cfg: EpochBasedTrainLoop does not take max_iters'
    misuse(train.main, message, config, '--work-dir', tmp_path / 'w')
    assert not (tmp_path / 'w').exists()
