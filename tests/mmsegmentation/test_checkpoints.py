"""Checkpoints are read as data only; other content is refused."""

import pickle
from argparse import Namespace
from contextlib import nullcontext
from zipfile import ZipFile

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from safetensors.torch import save_file

from mmsegmentation.checkpoints import check_checkpoint, check_weights, describe_start
from mmsegmentation.command import InputError


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_check_checkpoint__reads_weights_numbers_and_loss_history(tmp_path):
    history = HistoryBuffer([3.0, 1.0], [1, 1])
    torch.save(
        {
            'state_dict': {'w': torch.arange(3)},
            'message_hub': {'log_scalars': {'loss': history}},
            'meta': {'seed': 0, 'score': np.float64(0.5), 'iou': np.ones(2, 'f4')},
        },
        tmp_path / 'w.pth',
    )
    content = check_checkpoint(str(tmp_path / 'w.pth'))
    assert content['state_dict']['w'].tolist() == [0, 1, 2]
    found = content['message_hub']['log_scalars']['loss']
    assert (found.mean(), found.statistics('min')) == (2.0, 1.0)
    assert content['meta']['score'] == 0.5
    assert content['meta']['iou'].tolist() == [1, 1]


@pytest.mark.parametrize('archive', [True, False])
def test_check_checkpoint__reads_what_numpy_1_wrote(tmp_path, archive):
    """Its arrays and scalars are of a module that NumPy 2 calls another name."""
    path = tmp_path / 'w.pth'
    history = HistoryBuffer([3.0, 1.0], [1, 1])
    content = {'state_dict': {}, 'history': history, 'score': np.float64(0.5)}
    torch.save(content, path, _use_new_zipfile_serialization=archive)
    now, then = b'cnumpy._core.multiarray', b'cnumpy.core.multiarray'
    with ZipFile(path) if archive else nullcontext() as source:
        if source:
            entries = {name: source.read(name) for name in source.namelist()}
            with ZipFile(path, 'w') as target:
                for name, entry in entries.items():
                    target.writestr(name, entry.replace(now, then))
        else:
            path.write_bytes(path.read_bytes().replace(now, then))
    assert then in path.read_bytes()
    found = check_checkpoint(str(path))
    assert (found['history'].mean(), found['score']) == (2.0, 0.5)


def test_check_checkpoint__reads_the_arguments_that_training_scripts_keep(tmp_path):
    """Such as torchvision's: ``{'model': ..., 'args': Namespace(...)}``."""
    args = Namespace(lr=0.1, name='a')
    torch.save({'model': {'w': torch.ones(1)}, 'args': args}, tmp_path / 'w.pth')
    assert check_checkpoint(str(tmp_path / 'w.pth'))['args'] == args


class Call:
    """Unpickled by a trusting reader, it calls ``function``."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    'smuggled',
    [
        Call(eval, "open('witness', 'w')"),
        Call(exec, "open('witness', 'w')"),
        Call(getattr, HistoryBuffer, '__init__'),
        Call(getattr, HistoryBuffer, '_statistics_methods'),
        Call(getattr, np.ndarray, 'tofile'),
        Call(getattr, torch.Tensor, 'min'),
    ],
    ids=['eval', 'exec', 'constructor', 'private', 'numpy', 'tensor'],
)
@pytest.mark.parametrize('archive', [True, False])
def test_check_checkpoint__looks_nothing_else_up(tmp_path, smuggled, archive):
    path = tmp_path / 'w.pth'
    content = {'state_dict': {}, 'meta': smuggled}
    torch.save(content, path, _use_new_zipfile_serialization=archive)
    with pytest.raises(InputError, match='holds more than weights and numbers'):
        check_checkpoint(str(path))
    assert not (tmp_path / 'witness').exists()


def small_model():
    head = torch.nn.ModuleDict({'conv_seg': torch.nn.Linear(2, 3)})
    return torch.nn.ModuleDict({'body': torch.nn.Linear(2, 2), 'head': head})


@pytest.mark.parametrize('name', ['head.conv_seg.bias', 'body.bias'])
def test_check_weights__names_what_does_not_fit(name):
    model = small_model()
    weights = dict(model.state_dict())
    assert check_weights(model, {'state_dict': weights}, 'w.pth') == weights
    weights[name] = torch.zeros(9)
    message = rf'w\.pth: does not fit the model: 1 of 4 weights .* {name} first'
    with pytest.raises(InputError, match=message):
        check_weights(model, {'state_dict': weights}, 'w.pth')


def test_describe_start__is_silent_where_all_fits():
    model = small_model()
    assert describe_start(model, {'state_dict': model.state_dict()}, 'w.pth') == []


def test_describe_start__names_what_is_left_out():
    model = small_model()
    weights = dict(model.state_dict())
    weights['head.conv_seg.bias'] = torch.zeros(150)
    del weights['body.bias']
    weights['neck.scale'] = torch.zeros(1)
    assert describe_start(model, {'state_dict': weights}, 'w.pth') == [
        "w.pth: 2 of the model's 4 weights are loaded",
        'not loaded, another shape: head.conv_seg.bias (150,) instead of (3,)',
        'missing in the checkpoint, these parts keep their initial weights: body',
        'not loaded, the model has no such parts: neck',
    ]


def test_describe_start__many_of_another_shape_are_counted():
    model = torch.nn.Sequential(*(torch.nn.Linear(2, 1) for _ in range(9)))
    weights = {name: torch.zeros(7) for name in model.state_dict()}
    weights['0.bias'] = torch.zeros(1)
    lines = describe_start(model, weights, 'w.pth')
    assert lines[0] == "w.pth: 1 of the model's 18 weights are loaded"
    assert lines[1].endswith(', 3.weight (7,) instead of (1, 2), and 11 more')


def test_describe_start__weights_of_which_none_fits_are_refused():
    """Such as those of a bare backbone, whose names lack its prefix."""
    weights = {'weight': torch.zeros(2, 2)}
    message = r'w\.pth: none of its weights fits the model, weight first; .*init_cfg'
    with pytest.raises(InputError, match=message):
        describe_start(small_model(), {'state_dict': weights}, 'w.pth')


TEXTS = [b'', b'<!DOCTYPE html>', b'version https://git-lfs.github.com/spec/v1', b'PK']


@pytest.mark.parametrize('content', TEXTS, ids=['empty', 'page', 'pointer', 'zip'])
def test_check_checkpoint__file_of_another_kind_is_called_unreadable(tmp_path, content):
    (tmp_path / 'w.pth').write_bytes(content)
    with pytest.raises(InputError, match=r'w\.pth: not a readable checkpoint'):
        check_checkpoint(str(tmp_path / 'w.pth'))


@pytest.mark.parametrize(
    ('content', 'what'),
    [
        ([1], 'holds no state_dict'),
        ({'state_dict': [1]}, 'holds no state_dict'),
        ({'state_dict': None}, 'holds no state_dict'),
        ({'state_dict': torch.ones(2)}, 'holds no state_dict'),
        ({'state_dict': {'a': torch.ones(1), 1: torch.ones(1)}}, 'holds no state_dict'),
        ({'a': torch.ones(2, device='meta')}, 'not a readable checkpoint'),
    ],
)
def test_check_checkpoint__what_is_no_set_of_weights_is_one_error(
    tmp_path, content, what
):
    torch.save(content, tmp_path / 'w.pth')
    with pytest.raises(InputError, match=rf'w\.pth: {what}'):
        check_checkpoint(str(tmp_path / 'w.pth'))


@pytest.mark.parametrize('archive', [True, False])
def test_check_checkpoint__cut_off_anywhere_it_is_one_error(tmp_path, archive):
    # The message of torch for a damaged bare pickle depends on the position of the cut.
    message = r'w\.pth: not a readable' + ('' if archive else '|holds more than')
    path = tmp_path / 'w.pth'
    content = {'state_dict': {'w': torch.ones(2, 2)}}
    torch.save(content, path, _use_new_zipfile_serialization=archive)
    whole = path.read_bytes()
    for end in range(0, len(whole), 23):
        path.write_bytes(whole[:end])
        with pytest.raises(InputError, match=message):
            check_checkpoint(str(path))


@pytest.mark.parametrize(
    ('names', 'more'),
    [
        (['module.a.w', 'module.b.w'], {}),
        (['_orig_mod.a.w', '_orig_mod.b.w'], {}),
        (['module._orig_mod.a.w', 'module._orig_mod.b.w'], {}),
        (['a._orig_mod.w', 'b.w'], {'meta': {'iter': 1}}),
        (['_fsdp_wrapped_module.a.w', 'b._fsdp_wrapped_module.w'], {}),
        (['a._checkpoint_wrapped_module.w', 'b.w'], {}),
        (['model.a.w', 'model.b.w'], {}),
        (['model._orig_mod.a.w', 'model.b.w'], {'pytorch-lightning_version': '2.5'}),
        (['model.a.w', 'b.w'], {'pytorch-lightning_version': '2.5'}),
    ],
)
@pytest.mark.parametrize('kind', ['state_dict', 'bare', 'safetensors'])
def test_check_checkpoint__weights_have_their_plain_names(tmp_path, names, more, kind):
    weights = {name: torch.full((2,), float(n)) for n, name in enumerate(names)}
    path = tmp_path / ('w.safetensors' if kind == 'safetensors' else 'w.pth')
    if kind == 'safetensors':
        save_file(weights, path)
    else:
        torch.save(weights if kind == 'bare' else {'state_dict': weights, **more}, path)
    if kind != 'state_dict' and {'model.a.w', 'b.w'} == set(names):
        return  # that they are Lightning's is not told
    content = check_checkpoint(str(path))
    found = content if kind == 'bare' else content['state_dict']
    assert {name: value.tolist() for name, value in found.items()} == {
        'a.w': [0, 0],
        'b.w': [1, 1],
    }


def test_check_checkpoint__no_weight_is_lost_to_another_of_its_plain_name(tmp_path):
    weights = {'a.w': torch.ones(1), 'module.a.w': torch.zeros(1)}
    torch.save(weights, tmp_path / 'w.pth')
    assert check_checkpoint(str(tmp_path / 'w.pth')) == weights


def test_check_checkpoint__names_of_an_own_run_stay(tmp_path):
    """A model may be a part called ``model``; MMEngine writes its name as it is."""
    weights = {'model.a.w': torch.ones(1)}
    torch.save({'meta': {'iter': 1}, 'state_dict': weights}, tmp_path / 'w.pth')
    found = check_checkpoint(str(tmp_path / 'w.pth'))['state_dict']
    assert list(found) == ['model.a.w']


def test_check_checkpoint__reads_safetensors_and_what_export_notes(tmp_path):
    told = {'meta': '{"fold": {"fold": 1}}', 'format': 'pt'}
    save_file({'a': torch.arange(3)}, tmp_path / 'w.safetensors', told)
    content = check_checkpoint(str(tmp_path / 'w.safetensors'))
    assert content['state_dict']['a'].tolist() == [0, 1, 2]
    assert content['meta'] == {'fold': {'fold': 1}}
    for text in ('no JSON', '[1]'):
        save_file({'a': torch.ones(1)}, tmp_path / 'w.safetensors', {'meta': text})
        assert check_checkpoint(str(tmp_path / 'w.safetensors'))['meta'] == {}


def test_check_checkpoint__pickle_that_is_called_safetensors_is_not_run(tmp_path):
    path = tmp_path / 'w.safetensors'
    torch.save({'a': Call(eval, "open('witness', 'w')")}, path)
    with pytest.raises(InputError, match=r'w\.safetensors: not a readable checkpoint'):
        check_checkpoint(str(path))
    assert not (tmp_path / 'witness').exists()


@pytest.mark.parametrize('value', [float('nan'), float('inf'), -float('inf')])
@pytest.mark.parametrize('dtype', [torch.float32, torch.float16, torch.bfloat16])
def test_check_checkpoint__weight_that_is_not_finite_is_named(tmp_path, value, dtype):
    weights = {'a.w': torch.ones(3), 'b.w': torch.ones(3, dtype=dtype)}
    weights['b.w'][1] = value
    torch.save({'state_dict': weights}, tmp_path / 'w.pth')
    message = r'w\.pth: its weight b\.w is not finite; use an earlier checkpoint'
    with pytest.raises(InputError, match=message):
        check_checkpoint(str(tmp_path / 'w.pth'))


def test_check_checkpoint__large_numbers_and_masks_are_no_fault(tmp_path):
    large = torch.full((4,), 3e38)  # their sum is infinite
    mask = torch.tensor([0.0, -float('inf')])
    weights = {'a.w': large, 'attn_mask': mask, 'count': torch.tensor(3)}
    torch.save({'state_dict': weights}, tmp_path / 'w.pth')
    assert check_checkpoint(str(tmp_path / 'w.pth'))['state_dict'].keys() == (
        weights.keys()
    )


@pytest.mark.parametrize('protocol', [2, 4, 5])
def test_check_checkpoint__plain_pickle_is_no_file_of_pytorch(tmp_path, protocol):
    path = tmp_path / 'w.pth'
    path.write_bytes(pickle.dumps({'state_dict': {'a': [1.0]}}, protocol))
    with pytest.raises(InputError, match='not a checkpoint of PyTorch; name one that'):
        check_checkpoint(str(path))
    path.write_bytes(pickle.dumps({'a': HistoryBuffer}, protocol))
    with pytest.raises(InputError, match='holds more than weights and numbers'):
        check_checkpoint(str(path))
