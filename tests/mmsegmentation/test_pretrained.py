"""Search, download and refusal of pretrained weights that a config names."""

import functools
import json
import os
import subprocess
import sys
import time
import urllib.request
from datetime import timedelta
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import torch
from mmengine.config import Config
from mmengine.fileio import PetrelBackend
from mmengine.model import BaseModule
from mmengine.runner import CheckpointLoader
from mmengine.runner import checkpoint as mmengine_checkpoint
from torch import distributed

from mmsegmentation.command import InputError
from mmsegmentation.pretrained import (
    _places,
    describe_pretrained,
    find_pretrained,
    start_from_scratch,
)
from mmsegmentation.runtime import read_config
from tests.forked import run_two

ROOT = Path(__file__).resolve().parents[2]


def pretrained(checkpoint):
    return {'type': 'Pretrained', 'checkpoint': checkpoint}


@pytest.fixture(autouse=True)
def own_places(tmp_path, monkeypatch):
    """Let ``pretrained/`` and torch's cache lie in the test's own folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'cache'))


def test_places__are_found_at_any_depth():
    backbone = {'type': 'A', 'init_cfg': pretrained('a.pth')}
    neck = {'type': 'B', 'init_cfg': pretrained('b.pth')}
    nameless = {'type': 'D', 'init_cfg': {'type': 'Pretrained'}}  # fails when built
    heads = [{'type': 'C', 'init_cfg': {'type': 'Normal'}}, nameless]
    model = {'module': {'backbone': backbone, 'necks': (neck,), 'heads': heads}}
    assert [holder[key] for holder, key in _places(model)] == ['a.pth', 'b.pth']


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


def test_find_pretrained__file_of_this_machine_is_read_where_it_stands(tmp_path):
    """A copy would be found again after the file itself was replaced."""
    (tmp_path / 'far').mkdir()
    (tmp_path / 'far/my weights.pth').write_bytes(b'weights')
    address = (tmp_path / 'far/my weights.pth').as_uri()
    cfg = Config({'model': {}, 'load_from': address})
    assert find_pretrained(cfg) == [str(tmp_path / 'far/my weights.pth')]
    assert not (tmp_path / 'pretrained').exists()


def test_find_pretrained__file_of_the_same_name_from_elsewhere_is_refused(places):
    """As runs have it: s3://runs/a/iter_40000.pth and s3://runs/b/iter_40000.pth."""
    Path(places['']).write_bytes(b'weights')
    cfg = Config({'model': {}})
    for _ in range(2):
        cfg.load_from = 's3://runs/a/iter_9.pth?signature=1'
        assert find_pretrained(cfg) == ['pretrained/iter_9.pth']
    cfg.load_from = 's3://runs/b/iter_9.pth'
    message = (
        r'pretrained/iter_9\.pth: was fetched from s3://runs/a/iter_9\.pth, not from '
        r's3://runs/b/iter_9\.pth; rename or delete it'
    )
    with pytest.raises(InputError, match=message):
        find_pretrained(cfg)
    # One that somebody put there is taken, whatever it is.
    Path('pretrained/iter_9.pth').write_bytes(b'own')
    Path('pretrained/iter_9.pth.from').unlink()
    assert find_pretrained(cfg) == ['pretrained/iter_9.pth']


def test_find_pretrained__others_wait_for_a_download_as_long_as_it_takes(
    tmp_path, monkeypatch
):
    """Longer than a collective operation may: here, one second."""
    cfg = Config({'model': {'pretrained': 'https://127.0.0.1:9/w.pth'}})

    def fetch(address, target):
        assert distributed.get_rank() == 0
        time.sleep(3)
        Path(target).write_text('weights')

    def act(rank):
        distributed.distributed_c10d._set_pg_timeout(timedelta(seconds=1))
        os.environ['LOCAL_RANK'] = str(rank)
        return find_pretrained(cfg), find_pretrained(cfg)

    monkeypatch.setattr(torch.hub, 'download_url_to_file', fetch)
    found = (['pretrained/w.pth'], ['pretrained/w.pth'])
    assert run_two(tmp_path, act) == [found, found]


def test_find_pretrained__others_do_not_wait_for_a_download_that_failed(
    tmp_path, monkeypatch
):
    """A launcher may leave them running when the first process has ended."""
    cfg = Config({'model': {'pretrained': 'https://127.0.0.1:9/w.pth'}})

    def fetch(address, target):
        raise OSError('no network')

    def act(rank):
        os.environ['LOCAL_RANK'] = str(rank)
        with pytest.raises(InputError, match=r'cannot be fetched .no network.'):
            find_pretrained(cfg)
        return 'told'

    monkeypatch.setattr(torch.hub, 'download_url_to_file', fetch)
    monkeypatch.setattr('mmsegmentation.pretrained.PATIENCE', timedelta(seconds=5))
    assert run_two(tmp_path, act) == ['told', 'told']


@pytest.mark.parametrize('name', ['openai', 'facebook/dinov2-base', 'v1.5-base'])
def test_find_pretrained__name_that_a_part_of_others_knows_is_left_to_it(name):
    """Of CLIP's or a hub's weights, for one: it is no path."""
    cfg = Config({'model': {'backbone': {'type': 'Theirs', 'pretrained': name}}})
    assert find_pretrained(cfg) == []
    assert cfg.model.backbone.pretrained == name


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


class Smuggler:
    """Makes a file when it is unpickled by a reader that trusts its file."""

    def __init__(self, witness):
        self.witness = witness

    def __reduce__(self):
        return Path.touch, (self.witness,)


class _Silent(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


class _PlainHttps(urllib.request.HTTPSHandler):
    """Fetches an ``https`` address of the loopback server without encryption."""

    def https_open(self, request):
        address = request.full_url.replace('https://', 'http://', 1)
        return urllib.request.urlopen(urllib.request.Request(address))


@pytest.fixture
def served(tmp_path):
    """Serve a folder on the loopback; return it, and its address without a scheme."""
    folder = tmp_path / 'served'
    folder.mkdir()
    handler = functools.partial(_Silent, directory=str(folder))
    server = ThreadingHTTPServer(('127.0.0.1', 0), handler)
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    urllib.request.install_opener(urllib.request.build_opener(_PlainHttps))
    yield folder, f'127.0.0.1:{server.server_port}'
    urllib.request.install_opener(None)
    server.shutdown()
    server.server_close()


@pytest.fixture
def places(served, tmp_path, monkeypatch):
    """Return an address of one file for each scheme that MMEngine has of its own."""
    folder, host = served
    address = f'http://{host}/w.pth'
    names = {'w': address}
    for table in ('torchvision', 'external', 'mmcls'):
        name = f'get_{table}_models'
        monkeypatch.setattr(mmengine_checkpoint, name, lambda: names)
    monkeypatch.setattr(PetrelBackend, '__init__', lambda *_, **__: None)
    monkeypatch.setattr(
        PetrelBackend, 'get', lambda *_: (folder / 'w.pth').read_bytes()
    )
    return {
        '': str(folder / 'w.pth'),
        'http://': address,
        'https://': f'https://{host}/w.pth',
        **{
            scheme: f'{scheme}w'
            for scheme in (
                *('torchvision://', 'modelzoo://', 'mmcls://'),
                *('open-mmlab://', 'openmmlab://'),
            )
        },
        r'(\S+\:)?s3://': 's3://bucket/w.pth',
        r'(\S+\:)?petrel://': 'cluster:petrel://bucket/w.pth',
    }


@pytest.fixture
def guarded(write_config, monkeypatch):
    """Read a config as a command does, and give back afterwards what that changes."""
    monkeypatch.setattr(CheckpointLoader, '_schemes', {**CheckpointLoader._schemes})
    read_config(write_config('resume = False\n'))


@pytest.fixture
def write_config(tmp_path):
    def write(text):
        (tmp_path / 'c.py').write_text(text)
        return str(tmp_path / 'c.py')

    return write


def test_schemes__none_runs_what_a_file_holds(places, served, guarded, tmp_path):
    """Over all that MMEngine has registered, so that a new one fails here."""
    witness = tmp_path / 'witness'
    torch.save({'state_dict': {}, 'meta': Smuggler(witness)}, served[0] / 'w.pth')
    for scheme in CheckpointLoader._schemes:
        if scheme == 'pavi://':  # of a library that nobody outside can install
            with pytest.raises(InputError, match=r'w: .* cannot be fetched .*pavi'):
                CheckpointLoader.load_checkpoint('pavi://w')
            continue
        with pytest.raises(InputError, match='holds more than weights and numbers'):
            CheckpointLoader.load_checkpoint(places[scheme])
        for path in tmp_path.glob('pretrained/*'):
            path.unlink()
    assert not witness.exists()


def test_schemes__each_gives_the_weights(places, served, guarded):
    weights = {'backbone.a': torch.arange(3.0), 'head.b': torch.ones(1)}
    torch.save({'state_dict': weights}, served[0] / 'w.pth')
    for scheme, address in places.items():
        found = CheckpointLoader.load_checkpoint(address)['state_dict']
        # Of a whole classifier the backbone alone is meant.
        names = ['a'] if scheme == 'mmcls://' else ['backbone.a', 'head.b']
        assert list(found) == names, scheme
        assert found[names[0]].tolist() == [0, 1, 2]
        for path in Path().glob('pretrained/*'):
            path.unlink()


def test_torch_load__is_a_reader_of_data_whoever_calls_it(guarded, tmp_path):
    """The code of timm, torchvision or a plug-in may ask for a trusting reader."""
    witness = tmp_path / 'witness'
    torch.save(Smuggler(witness), tmp_path / 'w.pth')
    address = (tmp_path / 'w.pth').as_uri()
    with pytest.raises(Exception, match='Weights only load failed'):
        torch.load(tmp_path / 'w.pth', weights_only=False)
    with pytest.raises(Exception, match='Weights only load failed'):
        torch.hub.load_state_dict_from_url(address)
    assert not witness.exists()


def test_import__leaves_other_programs_their_reader(tmp_path):
    """Stock tools may name our parts; their checkpoints are read as before."""
    program = """
import pathlib, torch
import mmsegmentation.engine
from mmengine.runner.checkpoint import _load_checkpoint
torch.save({'meta': pathlib.PurePosixPath('of a trusted file')}, 'w.pth')
print(_load_checkpoint('w.pth', map_location='cpu'))
"""
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', program],
        capture_output=True,
        text=True,
        env={**os.environ, 'PYTHONPATH': str(ROOT)},
    )
    assert done.stderr.count('Traceback') == 0, done.stderr
    assert 'of a trusted file' in done.stdout


@pytest.mark.parametrize(
    'address', ['http://{host}/w.pth', 'torchvision://w', 'mmcls://w', 's3://b/w.pth']
)
@pytest.mark.parametrize('at', ['segmentor', 'backbone', 'init_cfg', 'list'])
def test_find_pretrained__fetches_whatever_names_weights(
    places, served, tmp_path, address, at
):
    folder, host = served
    (folder / 'w.pth').write_bytes(b'weights')
    address = address.format(host=host)
    model = {
        'segmentor': {'pretrained': address, 'backbone': {}},
        'backbone': {'backbone': {'pretrained': address}},
        'init_cfg': {'init_cfg': pretrained(address)},
        'list': {'neck': {'init_cfg': [{'type': 'Normal'}, pretrained(address)]}},
    }[at]
    cfg = Config({'model': model})
    assert find_pretrained(cfg) == ['pretrained/w.pth']
    assert (tmp_path / 'pretrained/w.pth').read_bytes() == b'weights'
    # The config keeps an mmcls address: its scheme removes a prefix from the names.
    named = 'mmcls://w' if address == 'mmcls://w' else 'pretrained/w.pth'
    assert repr(named) in str(cfg.model)


def test_find_pretrained__name_that_nobody_knows_is_refused(places):
    cfg = Config({'model': {'pretrained': 'open-mmlab://nothing'}})
    with pytest.raises(InputError, match='open-mmlab://nothing: unknown weights'):
        find_pretrained(cfg)


def test_find_pretrained__files_of_one_name_in_two_repositories_are_two(
    tmp_path, monkeypatch
):
    """All of Hugging Face's are called ``model.safetensors``."""

    def fetch(address, target):
        Path(target).write_text(address)

    monkeypatch.setattr(torch.hub, 'download_url_to_file', fetch)
    addresses = [
        f'https://huggingface.co/timm/{name}/resolve/main/model.safetensors'
        for name in ('resnet18.a1', 'resnet50.a1')
    ]
    cfg = Config({'model': {n: {'pretrained': a} for n, a in enumerate(addresses)}})
    found = find_pretrained(cfg)
    assert [Path(path).read_text() for path in found] == addresses
    assert found[0] == 'pretrained/timm--resnet18.a1--model.safetensors'


def test_start_from_scratch__drops_what_is_pretrained_wherever_it_stands():
    normal = {'type': 'Normal', 'std': 0.01}
    model = {
        'pretrained': 'open-mmlab://resnet50_v1c',
        'backbone': {'type': 'ResNet', 'pretrained': 'https://x/w.pth'},
        'neck': {'init_cfg': [normal, pretrained('n.pth')]},
        'timm': {'type': 'TIMMBackbone', 'checkpoint_path': 't.pth'},
        'other': {'type': 'Own', 'pretrained': True},
        'part': {'init_cfg': {'type': 'Pretrained_Part', 'checkpoint': 'p.pth'}},
    }
    cfg = Config({'model': json.loads(json.dumps(model))})
    start_from_scratch(cfg)
    assert cfg.model == {
        'backbone': {'type': 'ResNet'},
        'neck': {'init_cfg': [normal]},
        # By itself it would fetch them.
        'timm': {'type': 'TIMMBackbone', 'pretrained': False},
        'other': {'type': 'Own', 'pretrained': False},
        'part': {},
    }
    assert find_pretrained(cfg) == []


class Part(BaseModule):
    def __init__(self, init_cfg=None):
        super().__init__(init_cfg)
        self.conv = torch.nn.Conv2d(4, 2, 1)


def part_of(path, **more):
    return torch.nn.ModuleDict({'backbone': Part({**pretrained(str(path)), **more})})


@pytest.fixture
def three_channels(tmp_path):
    """Write weights of a ``Part`` for three channels, and those of its classifier."""
    weights = {'conv.weight': torch.ones(2, 3, 1, 1), 'conv.bias': torch.ones(2)}
    torch.save({**weights, 'fc.bias': torch.ones(5)}, tmp_path / 'w.pth')
    whole = {f'backbone.{name}': value for name, value in weights.items()}
    torch.save({'state_dict': whole}, tmp_path / 'whole.pth')
    return tmp_path


def test_describe_pretrained__names_weights_of_another_shape(three_channels):
    """What a backbone has no use for, such as a classifier, is no news."""
    line = 'not loaded, another shape: conv.weight (2, 3, 1, 1) instead of (2, 4, 1, 1)'
    for path, more in (('w.pth', {}), ('whole.pth', {'prefix': 'backbone.'})):
        path = three_channels / path
        assert describe_pretrained(part_of(path, **more)) == [f'{path}: {line}']


def test_describe_pretrained__file_of_which_nothing_is_taken_is_refused(three_channels):
    message = (
        r'whole\.pth: none of its weights fits backbone, backbone\.conv\.weight first; '
        r".*prefix='backbone\.'"
    )
    with pytest.raises(InputError, match=message):
        describe_pretrained(part_of(three_channels / 'whole.pth'))


def test_describe_pretrained__leaves_parts_that_load_by_themselves_alone(
    three_channels,
):
    class Own(Part):
        def init_weights(self):
            pass

    own = Own(pretrained(str(three_channels / 'whole.pth')))
    assert describe_pretrained(torch.nn.ModuleDict({'backbone': own})) == []
