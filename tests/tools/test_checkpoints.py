"""Checkpoints that cannot be used: each command says so before it replaces anything."""

import shutil

import pytest
import torch

from tools import test, train


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


def test_load_from__missing_or_damaged_is_named(trained, shared_data, misuse, tmp_path):
    torn = tmp_path / 'torn.pth'
    torn.write_bytes((trained[1] / 'iter_4.pth').read_bytes()[:4000])
    new = (trained[0], '--work-dir', tmp_path / 'w', '--cfg-options')
    misuse(train.main, r'none\.pth: no such checkpoint', *new, 'load_from=none.pth')
    misuse(train.main, r'torn\.pth: not a readable', *new, f'load_from={torn}')
    assert not (tmp_path / 'w').exists()


def test_work_dir__that_is_a_file_is_one_line(trained, shared_data, misuse, tmp_path):
    (tmp_path / 'w').write_text('mine')
    for work_dir in (tmp_path / 'w', tmp_path / 'w/deeper'):
        misuse(train.main, '/w.* cannot be used', trained[0], '--work-dir', work_dir)
        misuse(test.main, '/w: ', trained[0], _best(trained), '--out', work_dir)
    assert (tmp_path / 'w').read_text() == 'mine'


def _best(trained):
    return next(trained[1].glob('best_*.pth'))
