"""Training on pseudo labels: at a ratio, by confidence, and what is noted of it."""

import shutil

import pytest

from mmsegmentation.checkpoints import check_checkpoint
from mmsegmentation.files import read_json, sha256_of
from mmsegmentation.predictions import open_predictions
from tools import test, train
from utils.pseudo_label import main as pseudo_label

PSEUDO = 'upernet_convnext-mini_1xb8-cutmix-pseudo-90it_drawn-128x128.py'
# All that there is: a ratio, confidence, chosen donors.
ALL = """
_load, *_others = _base_.pseudo_set.pipeline
_pseudo_set = dict(
    _base_.pseudo_set, pipeline=[_load, dict(type='KeepByConfidence'), *_others]
)
_steps = [
    dict(type='CopyPaste', prefer_rare=0.5, flip_prob=0.5, scale_range=(0.5, 1)),
    dict(type='RandomCutMix', patch_scale=(64, 64), donors='real'),
    *_base_.train_pipeline[1:],
]
_mixed = dict(
    _delete_=True,
    type='MixedDataset',
    datasets=[_base_.train_set, _pseudo_set],
    ratio=[1, 1],
)
train_dataloader = dict(
    batch_size=2,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(dataset=_mixed, pipeline=_steps),
)
"""


@pytest.fixture
def label(trained, own_names, run, tmp_path):
    """Label the test part with the model that all tests share."""
    config, work_dir = trained
    data_root = own_names

    def call(*options):
        pred = tmp_path / 'pred'
        if not pred.exists():
            checkpoint = work_dir / 'iter_4.pth'
            argv = (config, checkpoint, '--split', 'test', '--out', pred)
            assert run(test.main, *argv)[0] == 0
        argv = (pred, '--data-root', data_root, '--threshold', 0, '--overwrite')
        code, _, err = run(pseudo_label, *argv, *options)
        assert (code, err) == (0, '')
        return data_root / 'pseudo/pseudo.json'

    return call


@pytest.fixture
def config(write_config):
    return write_config(PSEUDO, ALL, name='all_pseudo')


def records_of(path):
    return check_checkpoint(str(path))['meta'].get('pseudo')


def test_train__on_all_that_there_is(
    label, config, write_config, run, data_root, tmp_path
):
    marker = label('--soft')
    work_dir = tmp_path / 'w'
    code, out, _ = run(train.main, config, '--work-dir', work_dir)
    assert code == 0
    assert 'best: ' in out
    record = {'part': 'pseudo', 'round': 1, 'sha256': sha256_of(marker)}
    assert records_of(work_dir / 'iter_4.pth') == [record]
    # A last stage on real labels remembers what the first has learnt from.
    last = ('--work-dir', tmp_path / 'last', '--cfg-options', 'train_cfg.max_iters=2')
    start = f'load_from={work_dir / "iter_4.pth"}'
    assert run(train.main, write_config(), *last, start)[0] == 0
    assert records_of(tmp_path / 'last/iter_2.pth') == [record]
    meta = check_checkpoint(str(tmp_path / 'last/iter_2.pth'))['meta']
    assert (meta['iter'], meta['steps']) == (2, 4 + 2)
    # What the model predicts knows it too, and so does the next round.
    pred = tmp_path / 'second'
    argv = (config, work_dir / 'iter_4.pth', '--split', 'test', '--out', pred)
    assert run(test.main, *argv)[0] == 0
    assert open_predictions(pred).origin['pseudo'] == [record]
    assert open_predictions(pred).origin['steps'] == 4
    argv = (pred, '--data-root', data_root, '--threshold', 0, '--part', 'pseudo_2')
    assert run(pseudo_label, *argv)[0] == 0
    summary = read_json(data_root / 'pseudo_2/pseudo.json')
    assert (summary['round'], summary['earlier']) == (2, [record])


def test_train__without_the_confidence_is_one_line(label, config, misuse, tmp_path):
    """It is read with the first sample."""
    label()
    message = 'no such file; make the labels with'
    misuse(train.main, message, config, '--work-dir', tmp_path / 'w')


def test_resume__needs_the_same_labels(label, config, run, misuse, tmp_path):
    label('--soft')
    work_dir = tmp_path / 'w'
    argv = (config, '--work-dir', work_dir)
    assert run(train.main, *argv)[0] == 0
    again = (*argv, '--resume', '--cfg-options', 'train_cfg.max_iters=6')
    label('--soft', '--min-region', 2)
    message = 'was not trained on the pseudo labels that are now in pseudo'
    misuse(train.main, message, *again)
    label('--soft')
    assert run(train.main, *again)[0] == 0
    assert len(records_of(work_dir / 'iter_6.pth')) == 1
    assert check_checkpoint(str(work_dir / 'iter_6.pth'))['meta']['steps'] == 6


def test_resume__of_a_finished_run_changes_nothing(trained, shared_data, run, tmp_path):
    """A driver that was killed before it noted the end begins with that."""
    config, finished = trained
    work_dir = tmp_path / 'w'
    shutil.copytree(finished, work_dir)
    before = sha256_of(work_dir / 'iter_4.pth')
    code, _, err = run(train.main, config, '--work-dir', work_dir, '--resume')
    assert (code, err) == (0, '')
    assert sha256_of(work_dir / 'iter_4.pth') == before


# Of 4 real and 2 pseudo-labelled images, in batches of 2: three steps an epoch.
BY_EPOCHS = """
train_cfg = dict(_delete_=True, by_epoch=True, max_epochs=3, val_interval=3)
train_dataloader = dict(
    batch_size=2,
    num_workers=0,
    persistent_workers=False,
    sampler=dict(_delete_=True, type='SeededSampler'),
)
param_scheduler = [dict(type='LinearLR', start_factor=0.5, end=3)]
default_hooks = dict(
    checkpoint=dict(by_epoch=True, interval=1), logger=dict(log_metric_by_epoch=True)
)
log_processor = dict(by_epoch=True)
"""


def test_without_pseudo__as_many_steps_on_real_labels_alone(
    label, config, write_config, run, tmp_path
):
    label('--soft')
    by_epochs = write_config(PSEUDO, BY_EPOCHS, name='pseudo_epochs')
    for path, last in ((config, 'iter_4.pth'), (by_epochs, 'epoch_3.pth')):
        steps = []
        for arm in ((), ('--without-pseudo',)):
            work_dir = tmp_path / f'{last}{len(arm)}'
            assert run(train.main, path, '--work-dir', work_dir, *arm)[0] == 0
            content = check_checkpoint(str(work_dir / last))
            assert bool(content['meta'].get('pseudo')) == (not arm)
            steps.append(content['meta']['iter'])
        assert steps[0] == steps[1]
    assert steps[0] == 9


def test_without_pseudo__goes_on_as_if_never_cut_off(
    label, write_config, run, tmp_path
):
    """From within an epoch, whose passes end elsewhere."""
    import torch

    label()
    options = BY_EPOCHS.replace('by_epoch=True, interval=1', 'interval=4')
    path = write_config(PSEUDO, options, name='pseudo_within')
    shorter = ('--cfg-options', 'train_cfg.max_epochs=2')
    weights = []
    for name, parts in (('whole', [()]), ('cut', [shorter, ('--resume',)])):
        for part in parts:
            argv = (path, '--work-dir', tmp_path / name, '--without-pseudo')
            assert run(train.main, *argv, *part)[0] == 0
        last = tmp_path / name / 'iter_8.pth'
        weights.append(check_checkpoint(str(last))['state_dict'])
    for key, value in weights[0].items():
        assert torch.equal(value, weights[1][key]), key


def test_without_pseudo__of_a_config_without_any_is_one_line(
    write_config, shared_data, misuse, tmp_path
):
    argv = (write_config(), '--without-pseudo', '--work-dir', tmp_path / 'w')
    misuse(train.main, 'the config trains on no pseudo labels; remove it', *argv)
