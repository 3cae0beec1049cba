"""Weights as safetensors: the same numbers, and they say where they come from."""

import errno
import json
import os

import torch
from safetensors import safe_open

from mmsegmentation.checkpoints import check_checkpoint
from mmsegmentation.classes import CLASSES
from mmsegmentation.files import sha256_of
from tools import average, convert_checkpoint, export, test, train


def test_export__has_the_weights_bit_for_bit(trained, run, tmp_path):
    source = trained[1] / 'iter_4.pth'
    out = tmp_path / 'out.safetensors'
    code, said, _ = run(export.main, source, '--out', out)
    weights = check_checkpoint(str(source))['state_dict']
    assert (code, said) == (0, f'written: {out}, {len(weights)} weights\n')
    with safe_open(out, 'pt') as file:
        assert set(file.keys()) == set(weights)
        for name, value in weights.items():
            found = file.get_tensor(name)
            assert found.dtype == value.dtype
            assert torch.equal(found, value)
        told = file.metadata()
    assert json.loads(told['classes']) == list(CLASSES)
    assert told['source_sha256'] == sha256_of(source)
    assert (told['source'], told['iter']) == ('iter_4.pth', '4')


def test_export__comes_back_as_a_checkpoint(trained, run, tmp_path):
    out, back = tmp_path / 'out.safetensors', tmp_path / 'back.pth'
    assert run(export.main, trained[1] / 'iter_4.pth', '--out', out)[0] == 0
    arguments = (out, '--config', trained[0], '--out', back)
    assert run(convert_checkpoint.main, *arguments)[0] == 0
    weights = check_checkpoint(str(trained[1] / 'iter_4.pth'))['state_dict']
    found = check_checkpoint(str(back))['state_dict']
    assert all(torch.equal(found[name], value) for name, value in weights.items())


def test_export__is_taken_wherever_a_checkpoint_is(
    trained, shared_data, run, misuse, tmp_path
):
    config, work_dir = trained
    out = tmp_path / 'out.safetensors'
    assert run(export.main, work_dir / 'iter_4.pth', '--out', out)[0] == 0
    for checkpoint, name in ((work_dir / 'iter_4.pth', 'p'), (out, 'q')):
        arguments = (config, checkpoint, '--out', tmp_path / name)
        assert run(test.main, *arguments)[0] == 0
    masks = [sorted((tmp_path / name / 'masks').rglob('*.png')) for name in 'pq']
    assert len(masks[0]) == 3
    for one, other in zip(*masks, strict=True):
        assert one.read_bytes() == other.read_bytes()
    means = (out, work_dir / 'iter_2.pth', '--out', tmp_path / 'mean.pth')
    code, said, _ = run(average.main, config, *means, '--anyway')
    assert (code, f'{out}: mIoU' in said) == (0, True)
    again = tmp_path / 'again.safetensors'
    assert run(export.main, out, '--out', again)[0] == 0
    new = (config, '--work-dir', tmp_path / 'w', '--cfg-options')
    short = 'train_cfg.max_iters=1'
    assert run(train.main, *new, short, f'load_from={out}')[0] == 0
    message = r'out\.safetensors: no run can go on from it, it has no .*optimizer'
    misuse(train.main, message, config, '--resume', out)


def test_export__keeps_what_the_model_must_not_be_measured_on(
    trained, shared_data, run, misuse, tmp_path
):
    content = torch.load(trained[1] / 'iter_4.pth', weights_only=False)
    content['meta']['knows_validation'] = True
    torch.save(content, tmp_path / 'final.pth')
    out = tmp_path / 'final.safetensors'
    assert run(export.main, tmp_path / 'final.pth', '--out', out)[0] == 0
    arguments = (trained[0], out, '--out', tmp_path / 'p')
    misuse(test.main, 'final.safetensors: was trained on the images', *arguments)


def test_export__misuse_is_one_line(trained, misuse, tmp_path):
    source = trained[1] / 'iter_4.pth'
    wrong = ('--out', tmp_path / 'out.onnx')
    misuse(export.main, r'out\.onnx: names no known format', source, *wrong)
    (tmp_path / 'o.safetensors').write_text('mine')
    there = ('--out', tmp_path / 'o.safetensors')
    misuse(export.main, r'exists; pass --overwrite', source, *there)
    torch.save({'state_dict': {'a': 1}}, tmp_path / 'odd.pth')
    odd = (tmp_path / 'odd.pth', '--out', tmp_path / 'p.safetensors')
    misuse(export.main, r'a: is no weight', *odd)
    assert (tmp_path / 'o.safetensors').read_text() == 'mine'


def test_export__full_disk_is_one_line(trained, misuse, monkeypatch, tmp_path):
    def full(*_):
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(os, 'write', full)
    out = tmp_path / 'full.safetensors'
    message = 'full.safetensors: cannot be written .No space left on device.; choose'
    misuse(export.main, message, trained[1] / 'iter_4.pth', '--out', out)
    assert list(tmp_path.iterdir()) == []
