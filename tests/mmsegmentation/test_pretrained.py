"""Weights that a config names: what is found and fetched, and what is refused."""

import pytest
from mmengine.config import Config

from mmsegmentation.command import InputError
from mmsegmentation.pretrained import (
    _pretrained_owners,
    find_pretrained,
    start_from_scratch,
)


def pretrained(checkpoint):
    return {'type': 'Pretrained', 'checkpoint': checkpoint}


@pytest.fixture(autouse=True)
def own_places(tmp_path, monkeypatch):
    """Let ``pretrained/`` and torch's cache lie in the test's own folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'cache'))


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
