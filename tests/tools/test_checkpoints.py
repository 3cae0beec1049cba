"""Checkpoints that cannot be used: each command says so before it replaces anything."""

import re
import shutil
from pathlib import Path

import pytest
import torch

from tools import test, train

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def content(trained):
    return torch.load(trained[1] / 'iter_4.pth', weights_only=False)


@pytest.fixture
def spoiled(content, tmp_path):
    """Write the trained checkpoint with other weights."""

    def write(change):
        weights = content['state_dict']
        change(weights)
        path = tmp_path / 'spoiled.pth'
        torch.save({**content, 'state_dict': weights}, path)
        return path

    return write


@pytest.mark.parametrize('options', [(), ('--tta',)], ids=['plain', 'tta'])
def test_test__weight_that_is_missing_is_named(
    trained, shared_data, spoiled, misuse, tmp_path, options
):
    path = spoiled(lambda weights: weights.pop('decode_head.conv_seg.weight'))
    message = (
        r'spoiled\.pth: does not fit the model: 1 of \d+ weights are missing or of '
        r'another shape, decode_head\.conv_seg\.weight first'
    )
    misuse(test.main, message, trained[0], path, '--out', tmp_path / 'p', *options)
    assert not (tmp_path / 'p').exists()


def test_test__weight_of_another_shape_is_named(
    trained, shared_data, spoiled, misuse, tmp_path
):
    def shrink(weights):
        weights['decode_head.conv_seg.bias'] = torch.zeros(12)

    path = spoiled(shrink)
    message = r'decode_head\.conv_seg\.bias first'
    misuse(test.main, message, trained[0], path, '--out', tmp_path / 'p')


def test_test__auxiliary_head_may_be_missing(
    trained, shared_data, spoiled, run, tmp_path
):
    def slim(weights):
        for name in [n for n in weights if n.startswith('auxiliary_head.')]:
            weights.pop(name)

    out = ('--out', tmp_path / 'p')
    assert run(test.main, trained[0], spoiled(slim), *out)[0] == 0


def test_resume__checkpoint_of_another_model_is_refused(
    own_run, trained_beit, shared_data, misuse
):
    config, work_dir = own_run
    shutil.copy(trained_beit[1] / 'iter_4.pth', work_dir / 'iter_4.pth')
    before = {path: path.read_bytes() for path in work_dir.glob('*.pth')}
    arguments = (config, '--work-dir', work_dir, '--resume')
    misuse(train.main, r'iter_4\.pth: does not fit the model', *arguments)
    assert {path: path.read_bytes() for path in before} == before


def test_resume__of_a_copied_run_leaves_the_original_alone(
    own_run, trained, shared_data, run
):
    config, work_dir = own_run
    content = torch.load(work_dir / 'iter_4.pth', weights_only=False)
    info = content['message_hub']['runtime_info']
    assert Path(info['best_ckpt']).parent == trained[1]
    info['best_score'] = -1.0  # so that the next one is better
    torch.save(content, work_dir / 'iter_4.pth')
    before = sorted(trained[1].rglob('*'))
    arguments = (config, '--work-dir', work_dir, '--resume', '--cfg-options')
    assert run(train.main, *arguments, 'train_cfg.max_iters=6')[0] == 0
    assert sorted(trained[1].rglob('*')) == before
    assert [p.name for p in work_dir.glob('best_*')] == ['best_mIoU_iter_6.pth']


def test_resume__runs_no_text_of_the_checkpoint(
    own_run, content, shared_data, run, tmp_path
):
    config, work_dir = own_run
    # MMEngine reads a config there, as the Python that it is.
    content['meta']['config'] = f"open({str(tmp_path / 'witness')!r}, 'w').close()\n"
    # Without our hooks, MMEngine would delete it, in the original's folder.
    content['message_hub']['runtime_info'].pop('best_ckpt')
    torch.save(content, work_dir / 'iter_4.pth')
    arguments = (config, '--work-dir', work_dir, '--resume', '--cfg-options')
    options = ('train_cfg.max_iters=5', 'custom_hooks=[]')
    assert run(train.main, *arguments, *options)[0] == 0
    assert (work_dir / 'iter_5.pth').is_file()
    assert not (tmp_path / 'witness').exists()


def test_resume__best_checkpoint_has_weights_alone(own_run, shared_data, misuse):
    config, work_dir = own_run
    best = _best(own_run)
    message = (
        rf'{best.name}: no run can go on from it, it has no optimizer, '
        rf'param_schedulers; .*--cfg-options load_from={best}'
    )
    misuse(train.main, message, config, '--work-dir', work_dir, '--resume', best)


@pytest.mark.parametrize('lack', ['meta', 'message_hub', 'count'])
def test_resume__checkpoint_without_all_of_a_run_is_refused(
    trained, content, shared_data, misuse, tmp_path, lack
):
    if lack == 'count':
        content['meta'].pop('iter')
    else:
        content.pop(lack)
    torch.save(content, tmp_path / 'part.pth')
    new = (trained[0], '--work-dir', tmp_path / 'w')
    message = rf'part\.pth: no run can go on from it, it has no {lack};'
    misuse(train.main, message, *new, '--resume', tmp_path / 'part.pth')
    options = ('resume=True', f'load_from={tmp_path / "part.pth"}')
    misuse(train.main, message, *new, '--cfg-options', *options)
    assert not (tmp_path / 'w').exists()


def test_load_from__of_a_bare_backbone_is_refused(
    trained, content, shared_data, misuse, tmp_path
):
    weights = content['state_dict']
    start = 'backbone.'
    bare = {n.removeprefix(start): w for n, w in weights.items() if n.startswith(start)}
    torch.save({'state_dict': bare}, tmp_path / 'bare.pth')
    new = (trained[0], '--work-dir', tmp_path / 'w', '--cfg-options')
    message = r'bare\.pth: none of its weights fits the model, .*init_cfg'
    misuse(train.main, message, *new, f'load_from={tmp_path / "bare.pth"}')
    assert not list((tmp_path / 'w').rglob('*.pth'))


@pytest.fixture
def train_from(trained, shared_data, run, tmp_path):
    """Train from a checkpoint at a rate of 0; return the standard error."""

    def call(path):
        arguments = (trained[0], '--work-dir', tmp_path / 'w', '--cfg-options')
        options = (f'load_from={path}', 'optim_wrapper.optimizer.lr=0.0')
        code, _, err = run(train.main, *arguments, *options)
        assert code == 0
        return err

    return call


def test_load_from__may_hold_a_backbone_alone(spoiled, train_from, tmp_path):
    def of_backbone(weights):
        for name in [n for n in weights if not n.startswith('backbone.')]:
            weights.pop(name)
        weights['backbone.downsample_layers.0.0.bias'].fill_(7)

    path = spoiled(of_backbone)
    err = train_from(path)
    assert re.search(r"spoiled\.pth: \d+ of the model's \d+ weights are loaded", err)
    said = r'keep their initial weights: decode_head \(\d+ modules\), auxiliary_head'
    assert re.search(said, err), err
    weights = torch.load(tmp_path / 'w/iter_4.pth', weights_only=False)['state_dict']
    assert (weights['backbone.downsample_layers.0.0.bias'] == 7).all()


def test_load_from__may_have_other_classes(spoiled, train_from, tmp_path):
    def other_classes(weights):
        weights['decode_head.conv_seg.bias'] = torch.zeros(150)
        weights['decode_head.conv_seg.weight'] = torch.zeros(150, 48, 1, 1)
        weights.pop('auxiliary_head.conv_seg.bias')
        weights['backbone.downsample_layers.0.0.bias'].fill_(7)

    path = spoiled(other_classes)
    err = train_from(path)
    assert (
        'not loaded, another shape: '
        'decode_head.conv_seg.weight (150, 48, 1, 1) instead of (11, 48, 1, 1), '
        'decode_head.conv_seg.bias (150,) instead of (11,)'
    ) in err
    assert 'keep their initial weights: auxiliary_head.conv_seg' in err
    weights = torch.load(tmp_path / 'w/iter_4.pth', weights_only=False)['state_dict']
    assert weights['decode_head.conv_seg.bias'].shape == (11,)
    assert (weights['backbone.downsample_layers.0.0.bias'] == 7).all()


def test_overwrite__keeps_what_no_run_wrote(own_run, shared_data, run):
    config, work_dir = own_run
    shutil.copy(work_dir / 'iter_4.pth', work_dir / 'mine.pth')
    arguments = (config, '--work-dir', work_dir, '--overwrite', '--cfg-options')
    options = ('train_cfg.max_iters=2', f'load_from={work_dir / "mine.pth"}')
    assert run(train.main, *arguments, *options)[0] == 0
    assert (work_dir / 'mine.pth').is_file()
    assert not (work_dir / 'iter_4.pth').exists()


@pytest.mark.parametrize('key', ['load_from', 'init_cfg'])
def test_overwrite__refuses_to_remove_what_the_run_starts_from(
    own_run, shared_data, misuse, tmp_path, key
):
    config, work_dir = own_run
    before = {path: path.read_bytes() for path in work_dir.glob('*.pth')}
    (tmp_path / 'link.pth').symlink_to(work_dir / 'iter_4.pth')
    if key == 'load_from':
        options = [f'load_from={tmp_path / "link.pth"}']
    else:
        start = 'model.backbone.init_cfg'
        path = work_dir / 'iter_4.pth'
        options = [f'{start}.type=Pretrained', f'{start}.checkpoint={path}']
    arguments = (config, '--work-dir', work_dir, '--overwrite')
    message = r'\.pth: the run starts from it, and --overwrite would remove it'
    misuse(train.main, message, *arguments, '--cfg-options', *options)
    assert {path: path.read_bytes() for path in work_dir.glob('*.pth')} == before


def test_load_from__missing_or_damaged_is_named(trained, shared_data, misuse, tmp_path):
    torn = tmp_path / 'torn.pth'
    torn.write_bytes((trained[1] / 'iter_4.pth').read_bytes()[:4000])
    new = (trained[0], '--work-dir', tmp_path / 'w', '--cfg-options')
    misuse(train.main, r'none\.pth: no such checkpoint', *new, 'load_from=none.pth')
    misuse(train.main, r'torn\.pth: not a readable', *new, f'load_from={torn}')
    assert not (tmp_path / 'w').exists()


@pytest.mark.parametrize('text', ['', 'model = 3', 'train_cfg = dict(max_iters=1)'])
def test_config__that_is_no_whole_run_is_one_line(trained, misuse, tmp_path, text):
    part = tmp_path / 'part.py'
    part.write_text(text)
    message = r'part\.py: has no model; add it, or name the config of a whole run'
    misuse(train.main, message, part, '--work-dir', tmp_path / 'w')
    misuse(test.main, message, part, _best(trained), '--out', tmp_path / 'p')
    assert [path.name for path in tmp_path.iterdir()] == ['part.py']


def test_config__of_a_model_alone_is_no_run(trained, misuse, tmp_path):
    part = ROOT / '_base_/models/upernet_beit.py'
    misuse(train.main, 'has no train_dataloader', part, '--work-dir', tmp_path / 'w')
    message = 'has no test_dataloader'
    misuse(test.main, message, part, _best(trained), '--out', tmp_path / 'p')
    assert list(tmp_path.iterdir()) == []


def test_work_dir__that_is_a_file_is_one_line(trained, shared_data, misuse, tmp_path):
    (tmp_path / 'w').write_text('mine')
    message = '/w.*: (is a file|cannot be made)'
    for work_dir in (tmp_path / 'w', tmp_path / 'w/deeper'):
        misuse(train.main, message, trained[0], '--work-dir', work_dir)
        misuse(test.main, '/w', trained[0], _best(trained), '--out', work_dir)
    assert (tmp_path / 'w').read_text() == 'mine'


def _best(trained):
    return next(trained[1].glob('best_*.pth'))
