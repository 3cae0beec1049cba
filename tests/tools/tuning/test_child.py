"""Config files of trials: they read as the config whose values were changed."""

from copy import deepcopy
from pathlib import Path

import pytest
from mmengine.config import Config
from mmseg.registry import TRANSFORMS

from mmsegmentation.runtime import read_config
from tools.tuning.child import write_child
from tools.tuning.space import read_space

ROOT = Path(__file__).resolve().parents[3]
SPACES = {
    'demo_convnext': 'demo/*convnext*360it*.py',
    'convnext_cutmix': 'convnext/*-cutmix-*.py',
    'beit_copypaste': 'beit/*copypaste*.py',
    'small_copypaste': 'small/*-copypaste-*0it_*.py',
}


def test_every_space_is_listed():
    found = {path.stem for path in (ROOT / 'configs/tuning').glob('*.yaml')}
    assert found == set(SPACES)


@pytest.mark.parametrize('name', SPACES)
def test_space__fits_its_configs_and_holds_their_own_values(name, tmp_path):
    paths = sorted((ROOT / 'configs').glob(SPACES[name]))
    paths = [path for path in paths if '-pseudo-' not in path.name]
    assert paths
    for path in paths:
        cfg = read_config(str(path))
        space = read_space(str(ROOT / f'configs/tuning/{name}.yaml'), cfg)
        assert None not in [searched.drawn_own() for searched in space]
    changed = deepcopy(cfg)
    changed.merge_from_dict(
        {key: (s.choices or [s.high])[-1] for s in space for key in s.keys}
    )
    keys = [key for searched in space for key in searched.keys]
    write_child(tmp_path / 'child.py', str(path), cfg, changed, keys, 'A trial.')
    child = read_config(str(tmp_path / 'child.py'))
    assert child.to_dict() == changed.to_dict()
    assert child.to_dict() != cfg.to_dict()
    for searched in space:
        for value in searched.choices or (searched.low, searched.high):
            changed = deepcopy(cfg)
            changed.merge_from_dict(dict.fromkeys(searched.keys, value))
            data = changed.train_dataloader.dataset
            for part in (*data.pipeline, *data.dataset.pipeline):
                TRANSFORMS.build(part)  # refuses what is out of range


@pytest.fixture
def child_of(tmp_path):
    """Write a config and a child of it with changes; return the child as read."""

    def call(base, changes, folder=''):
        parent = tmp_path / 'parent.py'
        lines = [f'{name} = {value!r}' for name, value in base.items()]
        parent.write_text('\n'.join(lines) + '\n')
        cfg = Config.fromfile(parent)
        changed = deepcopy(cfg)
        changed.merge_from_dict(changes)
        path = tmp_path / folder / 'child.py'
        path.parent.mkdir(parents=True, exist_ok=True)
        write_child(path, str(parent), cfg, changed, list(changes), 'A """\nchild.')
        read = Config.fromfile(path)
        assert read.to_dict() == changed.to_dict()
        return read, path.read_text()

    return call


def test_child__says_only_what_changes(child_of):
    base = {'a': {'b': {'c': 1, 'd': 2}, 'e': (1, 2)}, 'f': 3}
    read, text = child_of(base, {'a.b.c': 5, 'a.e': (3, 4)}, 'deeper/down')
    assert read.to_dict()['a'] == {'b': {'c': 5, 'd': 2}, 'e': (3, 4)}
    assert text.split('\n')[4:] == [
        "_base_ = '../../parent.py'",
        'a = dict(b=dict(c=5), e=(3, 4))',
        '',
    ]


def test_child__lists_are_whole_and_mappings_merge_or_replace(child_of):
    base = {'a': [{'type': 'X', 'p': 0.5}, {'type': 'Y'}], 'b': {'c': {'d': 1}}}
    read, _ = child_of(base, {'a.0.p': 0.1, 'a.1.q': 'z', 'b.c': {'e': 2}})
    assert read.a == [{'type': 'X', 'p': 0.1}, {'type': 'Y', 'q': 'z'}]
    assert read.b.c == {'d': 1, 'e': 2}
    read, _ = child_of(base, {'b.c': {'_delete_': True, 'e': 2}, 'n.m': None})
    assert read.b.c == {'e': 2}
    assert read.n == {'m': None}


def test_child__below_a_link_names_its_parent_in_full(child_of, tmp_path):
    (tmp_path / 'real/far/away').mkdir(parents=True)
    (tmp_path / 'link').symlink_to(tmp_path / 'real/far/away')
    _, text = child_of({'a': 1}, {'a': 2}, 'link')
    assert f"_base_ = '{tmp_path}/parent.py'" in text


def test_child__long_lines_are_broken(child_of):
    words = [{'type': f'Transform{n}', 'value': n * 0.1} for n in range(6)]
    _, text = child_of({'pipeline': words}, {'pipeline.0.more': {'a.b': 1}})
    assert max(map(len, text.split('\n'))) <= 88
    assert "    dict(type='Transform1', value=0.1),\n" in text
