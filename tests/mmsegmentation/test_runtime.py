"""Configs: what is read of them, and what is refused."""

import subprocess
import sys
import warnings

import pytest
from mmengine.config import Config

from mmsegmentation.checkpoints import check_checkpoint
from mmsegmentation.command import InputError
from mmsegmentation.early import check_are_checkpoints
from mmsegmentation.runtime import quiet, read_config


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


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


def test_read_config__preprocessor_is_the_models_own_or_else_the_named_one(
    write_config,
):
    named = "data_preprocessor = dict(type='Named')\n"
    own = read_config(write_config(f'{named}model = dict(data_preprocessor=dict(a=1))'))
    assert own.model.data_preprocessor == {'a': 1}
    assert 'data_preprocessor' not in own
    bare = read_config(write_config(f'{named}model = dict(b=2)'))
    assert bare.model == {'b': 2, 'data_preprocessor': {'type': 'Named'}}


def test_read_config__preprocessor_is_set_by_the_models_name(write_config):
    path = write_config('model = dict(data_preprocessor=dict(std=[1]))')
    assert read_config(path, ['model.data_preprocessor.std=2']).model.data_preprocessor
    message = r'data_preprocessor\.std: .*; set model\.data_preprocessor\.std'
    with pytest.raises(InputError, match=message):
        read_config(path, ['data_preprocessor.std=2'])


def test_read_config__data_root_is_put_where_configs_find_it(write_config, monkeypatch):
    monkeypatch.setenv('RECYCLE_DATA', 'elsewhere')
    path = write_config("data_root = '{{$RECYCLE_DATA:input/data}}'\n")
    assert read_config(path).data_root == 'elsewhere'
    assert read_config(path, data_root='here').data_root == 'here'
    with pytest.raises(InputError, match='does not read RECYCLE_DATA; leave out'):
        read_config(write_config('resume = False\n'), data_root='here')


STOCK = """
data_root = 'data/ade'
inner = dict(type='A', data_root=data_root)
train_dataloader = dict(dataset=dict(type='RepeatDataset', dataset=inner))
val_dataloader = dict(dataset=inner)
test_dataloader = dict(dataset=inner)
"""


@pytest.mark.parametrize(
    ('needs', 'keys'),
    [
        (
            ('model', 'train_dataloader'),
            'train_dataloader.dataset.dataset.data_root=here '
            'val_dataloader.dataset.data_root=here',
        ),
        (('model', 'test_dataloader'), 'test_dataloader.dataset.data_root=here'),
    ],
)
def test_read_config__data_root_of_a_stock_config_is_set_by_these_keys(
    write_config, needs, keys
):
    path = write_config(STOCK)
    with pytest.raises(InputError) as caught:
        read_config(path, needs=needs, data_root='here')
    assert str(caught.value).endswith(
        f'does not read RECYCLE_DATA; pass --cfg-options {keys} in place of --data-root'
    )


def test_read_config__part_that_is_missing_is_to_be_added(write_config):
    path = write_config('model = dict()\n')
    with pytest.raises(InputError, match='has no train_dataloader; add it'):
        read_config(path, needs=['model', 'train_dataloader'])


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
    with pytest.raises(InputError, match='no such config; check the path'):
        read_config(str(tmp_path / 'none.py'))
    with pytest.raises(InputError, match='is a folder; name a config file'):
        read_config(str(tmp_path))


def test_check_are_checkpoints__folder_is_refused_as_one(tmp_path):
    for check in (check_are_checkpoints, lambda paths: check_checkpoint(paths[0])):
        with pytest.raises(InputError, match='is a folder; name a checkpoint file'):
            check([str(tmp_path)])
        with pytest.raises(InputError, match='no such checkpoint; check the path'):
            check([str(tmp_path / 'none.pth')])


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


def test_read_config__without_imports_has_our_parts_and_no_noise_of_libraries(
    write_config,
):
    program = (
        'from mmsegmentation.runtime import read_config, silence\n'
        f'silence()\nread_config({write_config("resume = False")!r})\n'
        'import mmsegmentation.engine, mmsegmentation.evaluation\n'
    )
    done = subprocess.run(
        [sys.executable, '-c', program], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, '', '')
