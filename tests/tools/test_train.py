import json
import re
import shutil

import pytest
import torch
from mmengine.runner import Runner

from mmsegmentation.checkpoints import check_checkpoint
from mmsegmentation.engine import Bf16OptimWrapper
from mmsegmentation.files import read_json, write_mask
from mmsegmentation.models import FastEncoderDecoder
from mmsegmentation.pretrained import find_pretrained
from mmsegmentation.runtime import read_config
from tools import train


def files_of(folder):
    return {
        path: path.read_bytes() for path in sorted(folder.rglob('*')) if path.is_file()
    }


def test_run__keeps_the_best_with_all_its_scores(trained):
    _, work_dir = trained
    scores = read_json(work_dir / 'metrics.json')
    assert (work_dir / scores['checkpoint']).is_file()
    assert scores['checkpoint'].startswith('best_mIoU_iter_')
    assert len(scores['IoU']) == len(scores['Acc']) == len(scores['classes']) == 11
    low, high = scores['mIoU_interval']
    assert 0 <= low <= scores['mIoU'] <= high <= 1


def test_run__log_is_json_and_tensorboard(trained):
    _, work_dir = trained
    path = next(work_dir.glob('*/vis_data/scalars.json'))
    records = [json.loads(line) for line in path.read_text().splitlines()]
    assert any('loss' in record and 'lr' in record for record in records)
    assert [r['step'] for r in records if 'mIoU' in r] == [2, 4]
    assert list(work_dir.glob('*/vis_data/events.out.tfevents.*'))


def test_run__checkpoint_is_read_as_data_only(trained):
    _, work_dir = trained
    content = check_checkpoint(str(work_dir / 'iter_4.pth'))
    assert {'state_dict', 'optimizer', 'message_hub'} <= set(content)


def test_screen__shows_loss_rate_time_and_scores(
    write_config, shared_data, run, tmp_path
):
    options = 'custom_hooks.2.interval=2'
    code, out, err = run(
        train.main,
        *(write_config(), '--work-dir', tmp_path / 'w', '--cfg-options', options),
    )
    assert code == 0
    note, *lines = err.splitlines()
    assert note.startswith('no training mask has these classes: Metal, ')
    assert len(lines) == 4, err
    assert all(word in lines[0] for word in ('2/4', 'loss ', 'lr ', 's/it', 'left 0:'))
    assert lines[1].startswith('  valid  mIoU ')
    assert lines[1].endswith('(best)')
    assert lines[2].split()[0] == '4/4'
    device, first, warm_up, length, last = out.splitlines()
    assert device.startswith('device: CPU, ') and device.endswith('; float32')
    assert first.startswith(f'log: {tmp_path / "w"}')
    # Four steps of a schedule for more.
    assert warm_up.startswith('param_scheduler.0 (LinearLR) lasts until 30, and the')
    assert length.startswith('param_scheduler.1 (PolyLR) begins at 30, and the run')
    assert last.startswith(f'best: {tmp_path / "w" / "best_mIoU_iter_"}')


def test_resume__goes_on_where_the_run_stopped(own_run, shared_data, run):
    config, work_dir = own_run
    options = ('--cfg-options', 'train_cfg.max_iters=6', 'custom_hooks.2.interval=1')
    code, _, err = run(train.main, config, '--work-dir', work_dir, '--resume', *options)
    assert code == 0
    steps = [line.split()[0] for line in err.splitlines() if 'loss' in line]
    assert steps == ['5/6', '6/6']
    assert (work_dir / 'iter_6.pth').is_file()


def test_resume__optimiser_and_counter_are_those_of_the_checkpoint(
    own_run, shared_data, run, monkeypatch
):
    config, work_dir = own_run
    named = work_dir / 'kept.pth'
    shutil.copy(work_dir / 'iter_4.pth', named)
    seen = {}

    def look(self, *args, **kwargs):
        result = load(self, *args, **kwargs)
        state = self.optim_wrapper.optimizer.state_dict()['state']
        seen.update(iteration=self.iter, steps=float(state[0]['step']))
        return result

    load = Runner.load_or_resume
    monkeypatch.setattr(Runner, 'load_or_resume', look)
    arguments = ('--resume', named, '--cfg-options', 'train_cfg.max_iters=5')
    assert run(train.main, config, '--work-dir', work_dir, *arguments)[0] == 0
    assert seen == {'iteration': 4, 'steps': 4.0}


def test_earlier_run__is_only_replaced_when_asked(own_run, shared_data, run, misuse):
    config, work_dir = own_run
    before = files_of(work_dir)
    misuse(train.main, 'holds an earlier run', config, '--work-dir', work_dir)
    assert files_of(work_dir) == before
    options = ('--overwrite', '--cfg-options', 'train_cfg.max_iters=2')
    assert run(train.main, config, '--work-dir', work_dir, *options)[0] == 0
    assert not (work_dir / 'iter_4.pth').exists()
    assert read_json(work_dir / 'metrics.json')['checkpoint'] == 'best_mIoU_iter_2.pth'


@pytest.mark.parametrize('fault', ['mask', 'folder', 'model'])
def test_overwrite__nothing_is_lost_to_a_run_that_cannot_start(
    own_run, data_root, misuse, fault
):
    config, work_dir = own_run
    (work_dir / 'convnext.py').unlink()  # MMEngine writes it anew before all else
    best = files_of(work_dir)
    options, message = [], 'no such folder'
    if fault == 'mask':
        path = data_root / 'valid/mask/batch_0/0.png'
        label_map = torch.zeros(96, 128, dtype=torch.uint8).numpy()
        label_map[3, 5] = 12
        write_mask(path, label_map)
        message = r'valid/mask/batch_0/0\.png: holds class id 12, .* 11 classes'
    elif fault == 'folder':
        shutil.rmtree(data_root / 'train')
    else:
        options, message = ['--cfg-options', 'model.backbone.type=Nope'], 'Nope'
    arguments = (config, '--work-dir', work_dir, '--overwrite', *options)
    misuse(train.main, message, *arguments)
    assert files_of(work_dir).items() >= best.items()
    assert not list(work_dir.glob('*/*.pth'))


WRONG = {
    'scheduler type': ("param_scheduler = [dict(type='NoSuchLR')]", 'NoSuchLR'),
    'scheduler argument': (
        "param_scheduler = [dict(type='PolyLR', powr=1)]",
        "unexpected keyword argument 'powr'",
    ),
    'wrapper type': ("optim_wrapper = dict(type='NoSuchWrapper')", 'NoSuchWrapper'),
    'optimiser type': (
        "optim_wrapper = dict(optimizer=dict(type='NoSuchOptimizer'))",
        'NoSuchOptimizer',
    ),
    'rate scaling': ('auto_scale_lr = dict(enable=True)', 'base_batch_size'),
    'first weights': (
        "model = dict(decode_head=dict(init_cfg=dict(type='NoSuchInit')))",
        'NoSuchInit',
    ),
    'pretrained weights': (
        "model = dict(decode_head=dict(init_cfg=dict(type='Pretrained')))",
        'checkpoint',
    ),
    'hook type': ("default_hooks = dict(timer=dict(type='NoHook'))", 'NoHook'),
    'own hook argument': ("custom_hooks = [dict(type='ScreenHook', n=1)]", "'n'"),
    'hook before the run': (
        "custom_hooks = [dict(type='EMAHook', ema_type='NoEMA')]",
        'NoEMA',
    ),
    'hook before training': (
        "custom_hooks = [dict(type='EMAHook', begin_iter=9)]",
        'begin_iter: 9',
    ),
    'compile mode': (
        "custom_hooks = [dict(type='CompileHook', mode='fastest')]",
        'Unrecognized mode=fastest',
    ),
    'compile option': ('compile = dict(bakend=1)', 'bakend'),
    'visualizer type': ("visualizer = dict(type='NoVisualizer')", 'NoVisualizer'),
    'backend type': (
        "visualizer = dict(vis_backends=[dict(type='NoBackend')])",
        'NoBackend',
    ),
    'backend that is not installed': (
        "visualizer = dict(vis_backends=[dict(type='AimVisBackend')])",
        'pip install aim',
    ),
    'loop type': ("train_cfg = dict(type='NoSuchLoop')", 'NoSuchLoop'),
    'sampler type': (
        "train_dataloader = dict(sampler=dict(type='NoSampler'))",
        'NoSampler',
    ),
    'collate type': (
        "train_dataloader = dict(collate_fn=dict(type='no_collate'))",
        'no_collate',
    ),
    'transform argument': (
        "train_pipeline = [dict(type='RandomFlip', n=1)]\n"
        'train_dataloader = dict(dataset=dict(pipeline=train_pipeline))',
        "'n'",
    ),
    'evaluator type': ("val_evaluator = dict(type='NoMetric')", 'NoMetric'),
    'log processor': ("log_processor = dict(type='NoProcessor')", 'NoProcessor'),
    'log level': ("log_level = 'LOUD'", 'LOUD'),
    'randomness': ('randomness = dict(sed=1)', "'sed'"),
    'layers': ('model = dict(decode_head=dict(channels=-1))', 'negative'),
}


@pytest.mark.parametrize(('more', 'message'), WRONG.values(), ids=WRONG)
def test_overwrite__wrong_part_of_a_config_is_one_line_and_nothing_is_lost(
    own_run, shared_data, misuse, write_config, more, message
):
    _, work_dir = own_run
    before = {path: path.read_bytes() for path in work_dir.glob('*.*')}
    # A name of its own: MMEngine keeps a visualizer by the run's name and second.
    name = 'wrong_' + re.sub(r'\W+', '_', more)[:60]
    config = write_config(more=more, name=name)
    message = rf'{name}\.py: does not (build|start) \(\w+: .*{message}.*; correct the'
    misuse(train.main, message, config, '--work-dir', work_dir, '--overwrite')
    after = {path: path.read_bytes() for path in work_dir.glob('*.*')}
    assert after.items() >= before.items()


@pytest.mark.parametrize('fault', ['image', 'step'])
def test_overwrite__nothing_is_lost_to_a_run_that_fails_at_its_first_batch(
    own_run, data_root, run, monkeypatch, fault
):
    config, work_dir = own_run
    before = {path: path.read_bytes() for path in work_dir.glob('*.pth')}
    arguments = (config, '--work-dir', work_dir, '--overwrite')
    if fault == 'image':
        for path in data_root.glob('train/images/*/*.png'):
            path.write_bytes(path.read_bytes()[:60])
        code, _, err = run(train.main, *arguments)
        assert code == 2
        assert 'cannot be decoded' in err
    else:  # no fault of the config: its traceback is of use
        monkeypatch.setattr(FastEncoderDecoder, 'train_step', lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError, match='division by zero'):
            run(train.main, *arguments)
    assert {path: path.read_bytes() for path in work_dir.glob('*.pth')} == before


def test_amp__computes_in_bfloat16_and_keeps_float32(
    write_config, shared_data, run, tmp_path, monkeypatch
):
    seen = set()
    enter = Bf16OptimWrapper.optim_context

    def watch(self, model):
        context = enter(self, model)
        seen.add(next(model.parameters()).dtype)
        return context

    monkeypatch.setattr(Bf16OptimWrapper, 'optim_context', watch)
    more = "optim_wrapper = dict(type='OptimWrapper')\n"
    config = write_config(more=more, name='fp32')
    arguments = (config, '--work-dir', tmp_path / 'w', '--cfg-options')
    assert run(train.main, *arguments, 'train_cfg.max_iters=2')[0] == 0
    assert not seen
    arguments = (config, '--amp', '--work-dir', tmp_path / 'v', '--cfg-options')
    assert run(train.main, *arguments, 'train_cfg.max_iters=2')[0] == 0
    assert seen == {torch.float32}
    weights = check_checkpoint(str(tmp_path / 'v/iter_2.pth'))['state_dict']
    assert {w.dtype for w in weights.values() if w.is_floating_point()} == seen


FP16 = "dict(type='AmpOptimWrapper', dtype='float16', loss_scale='dynamic')"


def test_fp16__without_a_gpu_is_one_line_or_with_amp_trains(
    write_config, shared_data, run, misuse, tmp_path
):
    config = write_config(more=f'optim_wrapper = {FP16}\n', name='fp16')
    arguments = (config, '--work-dir', tmp_path / 'w')
    misuse(train.main, r'fp16 and needs a GPU; pass --amp, which on a CPU', *arguments)
    assert not (tmp_path / 'w').exists()
    options = ('--amp', '--cfg-options', 'train_cfg.max_iters=2')
    assert run(train.main, *arguments, *options)[0] == 0
    assert (tmp_path / 'w/iter_2.pth').is_file()


def test_sync_batch_norm__becomes_plain_on_one_process(
    write_config, shared_data, run, tmp_path, trained
):
    more = "model = dict(decode_head=dict(norm_cfg=dict(type='SyncBN')))\n"
    config = write_config(more=more, name='sync')
    assert run(train.main, config, '--work-dir', tmp_path / 'w')[0] == 0
    plain = check_checkpoint(str(trained[1] / 'iter_4.pth'))['state_dict']
    synced = check_checkpoint(str(tmp_path / 'w/iter_4.pth'))['state_dict']
    assert plain.keys() == synced.keys()


def test_config__misuse_is_one_line(misuse, write_config, shared_data, tmp_path):
    def refused(message, *arguments):
        work_dir = tmp_path / 'w'
        misuse(train.main, message, *arguments, '--work-dir', work_dir)
        assert not list(work_dir.rglob('*.pth'))

    refused('no such config', tmp_path / 'none.py')
    odd = write_config(more='optim_wraper = 1\n', name='odd')
    refused("'optim_wraper'; write optim_wrapper", odd)
    refused('does not work .*ZeroDivisionError', write_config(more='1 / 0', name='z'))
    config = write_config()
    refused('no key=value pair', config, '--cfg-options', 'lr')
    refused('does not build', config, '--cfg-options', 'optim_wrapper.optimizer=3')
    wrong = 'train_dataloader.dataset.dataset.no_such_argument=3'
    refused('no_such_argument', config, '--cfg-options', wrong)
    options = ('--cfg-options', 'log_level=ERROR', 'train_cfg.max_iter=10')
    message = (
        r'error: --cfg-options train_cfg\.max_iter=10: does not build .*; correct it'
    )
    refused(message, config, *options)
    wrong = 'optim_wrapper.optimizer.type=NoSuchOptimizer'
    refused(f'with --cfg-options {wrong}: does not build', config, options[0], wrong)


def test_arguments__unknown_option_is_one_line(run):
    code, _, err = run(train.main, 'x.py', '--no-such-option')
    assert code == 2
    assert err.startswith('error: arguments: ')
    assert err.count('\n') == 1


def test_data_root__missing_says_how_to_make_it(
    misuse, write_config, monkeypatch, tmp_path
):
    monkeypatch.setenv('RECYCLE_DATA', str(tmp_path / 'nowhere'))
    message = r'nowhere/train/images: no such folder; .*prepare_data\.py.*RECYCLE_DATA'
    misuse(train.main, message, write_config(), '--work-dir', tmp_path / 'w')


def test_data_root__option_goes_before_the_environment(
    write_config, shared_root, run, monkeypatch, tmp_path
):
    monkeypatch.setenv('RECYCLE_DATA', str(tmp_path / 'nowhere'))
    arguments = (write_config(), '--work-dir', tmp_path / 'w')
    options = ('--data-root', shared_root, '--cfg-options', 'train_cfg.max_iters=2')
    assert run(train.main, *arguments, *options)[0] == 0
    assert (tmp_path / 'w/iter_2.pth').is_file()


def test_data_root__config_that_reads_none_says_so(
    misuse, write_config, shared_data, tmp_path
):
    config = write_config(more="data_root = 'mine'\n", name='own-data')
    arguments = ('--work-dir', tmp_path / 'w', '--data-root', shared_data)
    misuse(train.main, 'does not read RECYCLE_DATA', config, *arguments)


def test_launcher__without_torchrun_is_one_line(
    misuse, write_config, shared_data, monkeypatch, tmp_path
):
    for name in ('RANK', 'WORLD_SIZE', 'MASTER_ADDR', 'MASTER_PORT'):
        monkeypatch.delenv(name, raising=False)
    arguments = (write_config(), '--work-dir', tmp_path / 'w', '--launcher', 'pytorch')
    misuse(train.main, 'launcher pytorch: .*RANK.*; start it with torchrun', *arguments)
    assert not (tmp_path / 'w').exists()


def test_pretrained__without_network_says_where_to_put_the_file(
    misuse, write_config, shared_data, tmp_path, monkeypatch, run
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'cache'))
    # Port 9 of this machine, where nobody listens: a download that fails at once.
    address = 'http://127.0.0.1:9/weights/convnext.pth'
    more = f"""model = dict(
        backbone=dict(init_cfg=dict(type='Pretrained', checkpoint={address!r}))
    )\n"""
    config = write_config(more=more, name='pretrained')
    message = (
        rf'convnext\.pth: .* cannot be fetched .*; download {address} to '
        r'pretrained/convnext\.pth, or pass --from-scratch'
    )
    misuse(train.main, message, config, '--work-dir', 'w')
    assert not list(tmp_path.rglob('*.pth'))
    options = ('--from-scratch', '--cfg-options', 'train_cfg.max_iters=2')
    assert run(train.main, config, '--work-dir', 'w', *options)[0] == 0
    (tmp_path / 'pretrained').mkdir(exist_ok=True)
    (tmp_path / 'pretrained/convnext.pth').write_bytes(b'')
    assert find_pretrained(read_config(config)) == ['pretrained/convnext.pth']


def test_checkpoint__is_never_executed(
    misuse, trained, shared_data, smuggled, tmp_path
):
    config, _ = trained
    common = (config, '--work-dir', tmp_path / 'w')
    message = 'holds more than weights and numbers'
    misuse(train.main, message, *common, '--resume', smuggled)
    misuse(train.main, message, *common, '--cfg-options', f'load_from={smuggled}')
    assert not (tmp_path / 'w').exists()


def test_checkpoint__missing_or_damaged_is_named(
    misuse, own_run, shared_data, tmp_path
):
    config, work_dir = own_run
    new = (config, '--work-dir', tmp_path / 'w')
    misuse(train.main, 'holds no run to resume', *new, '--resume')
    misuse(train.main, 'none.pth: no such checkpoint', *new, '--resume', 'none.pth')
    for path in work_dir.glob('iter_*.pth'):
        path.write_bytes(path.read_bytes()[:1000])
    again = (config, '--work-dir', work_dir, '--resume')
    message = (
        r'iter_4\.pth: not a readable checkpoint \(it is cut off\): and no earlier'
    )
    misuse(train.main, message, *again)
    message = r'iter_4\.pth: not a readable checkpoint \(it is cut off\); copy it'
    misuse(train.main, message, *again, work_dir / 'iter_4.pth')
