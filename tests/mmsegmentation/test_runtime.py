"""Configs, pretrained weights and checkpoints: what is found, and what is refused."""

import warnings

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.logging import HistoryBuffer

from mmsegmentation.command import InputError
from mmsegmentation.runtime import (
    _pretrained_owners,
    check_checkpoint,
    check_weights,
    find_pretrained,
    quiet,
    read_config,
    start_from_scratch,
)


def pretrained(checkpoint):
    return {'type': 'Pretrained', 'checkpoint': checkpoint}


@pytest.fixture(autouse=True)
def own_places(tmp_path, monkeypatch):
    """Let ``pretrained/`` and torch's cache lie in the test's own folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'cache'))


@pytest.fixture
def write_config(tmp_path):
    def write(text, name='c.py'):
        (tmp_path / name).write_text(text)
        return str(tmp_path / name)

    return write


def test_quiet__hides_notices_and_then_no_more(capsys):
    before = list(warnings.filters)
    with quiet():
        print('a notice')
        warnings.warn('of a library', UserWarning, stacklevel=1)
    print('after')
    assert capsys.readouterr() == ('after\n', '')
    assert warnings.filters == before


def test_read_config__options_change_values_by_their_kind(write_config):
    path = write_config("work_dir = 'a'\ntrain_cfg = dict(max_iters=1, by=[1])\n")
    cfg = read_config(
        path,
        [
            *('train_cfg.max_iters=7', 'train_cfg.by=[2,x]', 'work_dir=b=c'),
            *('train_cfg.rate=1e-3', 'resume=True', 'load_from=None'),
        ],
    )
    assert cfg.train_cfg == {'max_iters': 7, 'by': [2, 'x'], 'rate': 1e-3}
    assert (cfg.work_dir, cfg.resume, cfg.load_from) == ('b=c', True, None)


@pytest.mark.parametrize('option', ['lr', '=3', ''])
def test_read_config__option_without_key_and_value_is_refused(write_config, option):
    with pytest.raises(InputError, match=f'--cfg-options {option}: no key=value pair'):
        read_config(write_config('resume = False\n'), [option])


@pytest.mark.parametrize(
    ('key', 'way_out'),
    [
        ('data_root', 'pass --data-root'),
        ('max_iters', r'name the part that uses it, such as train_cfg\.max_iters'),
        ('train_pipeline.0.prob', 'name the part'),
        ('_train_set.data_root', 'name the part'),
    ],
)
def test_read_config__option_that_would_change_nothing_is_refused(
    write_config, key, way_out
):
    with pytest.raises(InputError, match=f'{key}: changes nothing, .*; {way_out}'):
        read_config(write_config('resume = False\n'), [f'{key}=1'])


def test_read_config__data_root_is_put_where_configs_find_it(write_config, monkeypatch):
    monkeypatch.setenv('RECYCLE_DATA', 'elsewhere')
    path = write_config("data_root = '{{$RECYCLE_DATA:input/data}}'\n")
    assert read_config(path).data_root == 'elsewhere'
    assert read_config(path, data_root='here').data_root == 'here'
    with pytest.raises(InputError, match='does not read RECYCLE_DATA; leave out'):
        read_config(write_config('resume = False\n'), data_root='here')


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('resume = (\n', 'does not work .*SyntaxError'),
        ("_base_ = './none.py'\n", r'does not work .*none\.py'),
        ("custom_imports = dict(imports=['nope'])\n", '.*nope; correct custom_imports'),
    ],
    ids=['syntax', 'base', 'custom import'],
)
def test_read_config__fault_is_named(write_config, text, message):
    with pytest.raises(InputError, match=rf'c\.py: {message}'):
        read_config(write_config(text))


def test_read_config__file_of_another_kind_is_refused(write_config, tmp_path):
    with pytest.raises(InputError, match=r'c\.txt: does not work'):
        read_config(write_config('resume = False\n', 'c.txt'))
    with pytest.raises(InputError, match='no such config'):
        read_config(str(tmp_path))


def test_read_config__custom_imports_are_made_and_may_be_none(
    write_config, tmp_path, monkeypatch
):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / 'plug_in_of_test.py').write_text("open('imported', 'w').close()\n")
    read_config(write_config("custom_imports = dict(imports=['plug_in_of_test'])\n"))
    assert (tmp_path / 'imported').exists()
    assert read_config(write_config('custom_imports = None\n')).custom_imports is None


def test_read_config__text_is_written_at_once_and_reads_as_the_same(
    write_config, tmp_path, monkeypatch
):
    """Each checkpoint holds the text of its config."""

    def refuse(*_, **__):
        raise AssertionError('laid out')

    monkeypatch.setattr('yapf.yapflib.yapf_api.FormatCode', refuse)
    cfg = read_config(
        write_config('_a = [dict(x=(1, 2), y="z"), None]\n_b = {"c d": 1}')
    )
    cfg.deeper = {'e': [[1.5], 'f']}
    cfg.dump(tmp_path / 'dumped.py')
    again = Config.fromfile(tmp_path / 'dumped.py')
    assert again.to_dict() == cfg.to_dict()


def test_pretrained_owners__are_found_at_any_depth():
    backbone = {'type': 'A', 'init_cfg': pretrained('a.pth')}
    neck = {'type': 'B', 'init_cfg': pretrained('b.pth')}
    nameless = {'type': 'D', 'init_cfg': {'type': 'Pretrained'}}  # fails when built
    heads = [{'type': 'C', 'init_cfg': {'type': 'Normal'}}, nameless]
    model = {'module': {'backbone': backbone, 'necks': (neck,), 'heads': heads}}
    owners = list(_pretrained_owners(model))
    assert len(owners) == 2
    assert owners[0] is backbone
    assert owners[1] is neck


def test_find_pretrained__takes_files_over_addresses(tmp_path):
    for place in ('pretrained/a.pth', 'cache/hub/checkpoints/a.pth', 'own/c.pth'):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).touch()
    cached = tmp_path / 'cache/hub/checkpoints/b.pth'
    cached.touch()
    model = {
        'one': {'init_cfg': pretrained('https://127.0.0.1:9/x/a.pth?download=1')},
        'two': {'init_cfg': pretrained('https://127.0.0.1:9/x/b.pth')},
    }
    cfg = Config({'model': model, 'load_from': 'own/c.pth'})
    found = find_pretrained(cfg)
    assert found == ['pretrained/a.pth', str(cached), 'own/c.pth']
    assert cfg.model.one.init_cfg.checkpoint == 'pretrained/a.pth'
    assert cfg.model.two.init_cfg.checkpoint == str(cached)
    assert find_pretrained(cfg) == found


def test_find_pretrained__fetches_whole_files_to_its_folder(tmp_path):
    (tmp_path / 'far').mkdir()
    (tmp_path / 'far/w.pth').write_bytes(b'weights')
    cfg = Config({'model': {}, 'load_from': (tmp_path / 'far/w.pth').as_uri()})
    assert find_pretrained(cfg) == ['pretrained/w.pth']
    assert cfg.load_from == 'pretrained/w.pth'
    folder = tmp_path / 'pretrained'
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == {'w.pth': b'weights'}


def test_find_pretrained__missing_path_is_named():
    cfg = Config({'model': {'init_cfg': pretrained('none/w.pth')}})
    with pytest.raises(InputError, match=r'none/w\.pth: no such checkpoint; .*scratch'):
        find_pretrained(cfg)


def test_start_from_scratch__drops_files_and_keeps_other_starts():
    normal = {'type': 'Normal', 'std': 0.01}
    model = {'a': {'init_cfg': pretrained('a.pth')}, 'b': {'init_cfg': normal}}
    cfg = Config({'model': model, 'load_from': 'c.pth'})
    start_from_scratch(cfg)
    assert cfg.model == {'a': {}, 'b': {'init_cfg': normal}}
    assert find_pretrained(cfg) == []


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


@pytest.mark.parametrize(
    ('change', 'new_classes', 'wrong'),
    [
        ({}, False, None),
        ({'head.conv_seg.bias': torch.zeros(9)}, True, None),
        ({'head.conv_seg.bias': torch.zeros(9)}, False, r'head\.conv_seg\.bias'),
        ({'body.bias': torch.zeros(9)}, True, r'body\.bias'),
        ({'module.body.bias': torch.zeros(9)}, True, r'body\.bias'),
    ],
    ids=['all fit', 'classes may differ', 'classes', 'shape', 'of many processes'],
)
def test_check_weights__names_what_does_not_fit(change, new_classes, wrong):
    head = torch.nn.ModuleDict({'conv_seg': torch.nn.Linear(2, 3)})
    model = torch.nn.ModuleDict({'body': torch.nn.Linear(2, 2), 'head': head})
    content = {'state_dict': {**model.state_dict(), **change}}
    if wrong:
        message = rf'w\.pth: does not fit the model: 1 of 4 weights .* {wrong} first'
        with pytest.raises(InputError, match=message):
            check_weights(model, content, 'w.pth', new_classes=new_classes)
    else:
        weights = check_weights(model, content, 'w.pth', new_classes=new_classes)
        assert weights.keys() == model.state_dict().keys()


TEXTS = [b'', b'<!DOCTYPE html>', b'version https://git-lfs.github.com/spec/v1', b'PK']


@pytest.mark.parametrize('content', TEXTS, ids=['empty', 'page', 'pointer', 'zip'])
def test_check_checkpoint__file_of_another_kind_is_called_unreadable(tmp_path, content):
    (tmp_path / 'w.pth').write_bytes(content)
    with pytest.raises(InputError, match=r'w\.pth: not a readable checkpoint'):
        check_checkpoint(str(tmp_path / 'w.pth'))


@pytest.mark.parametrize('archive', [True, False])
def test_check_checkpoint__cut_off_anywhere_it_is_one_error(tmp_path, archive):
    # What torch says of a bare pickle depends on where it ends.
    message = r'w\.pth: not a readable' + ('' if archive else '|holds more than')
    path = tmp_path / 'w.pth'
    content = {'state_dict': {'w': torch.ones(2, 2)}}
    torch.save(content, path, _use_new_zipfile_serialization=archive)
    whole = path.read_bytes()
    for end in range(0, len(whole), 23):
        path.write_bytes(whole[:end])
        with pytest.raises(InputError, match=message):
            check_checkpoint(str(path))
