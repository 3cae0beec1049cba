"""Compiled or not, a model trains the same."""

import copy
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from mmsegmentation.engine import CompileHook

PARTS = ('body', 'head')


def weights(runner):
    return {name: value.clone() for name, value in runner.model.state_dict().items()}


@pytest.fixture(autouse=True)
def forget():
    yield
    torch._dynamo.reset()


# PyTorch looks at gradients while it traces.
@pytest.mark.filterwarnings('ignore:The .grad attribute')
def test_hook__trains_the_same(train, capsys):
    wanted = weights(train([], [1, 2]))
    hook = CompileHook(parts=PARTS, backend='eager')
    runner = train([hook], [1, 2])
    given = weights(runner)
    assert given.keys() == wanted.keys()
    for name, value in wanted.items():
        torch.testing.assert_close(given[name], value)
    assert runner.model.body.forward.compiled is not None
    assert capsys.readouterr().err == ''


def test_hook__says_in_one_line_what_cannot_be_compiled(train, capsys):
    def broken(graph, inputs):
        raise RuntimeError('no compiler\nis installed')

    wanted = weights(train([], [1, 2]))
    capsys.readouterr()
    given = weights(train([CompileHook(parts=['body'], backend=broken)], [1, 2]))
    for name, value in wanted.items():
        assert torch.equal(given[name], value)
    err = capsys.readouterr().err
    assert err.startswith('body cannot be compiled and runs as it is (')
    assert err.count('\n') == 1


def compiled(body, **options):
    """Return a model whose body is compiled at its first call."""
    model = nn.ModuleDict({'body': body})
    hook = CompileHook(parts=['body'], **{'backend': 'eager', **options})
    hook.before_run(SimpleNamespace(model=model))
    return model


class Raises(nn.Module):
    def __init__(self, error):
        super().__init__()
        self.error = error

    def forward(self, x):
        torch._dynamo.graph_break()
        raise self.error


@pytest.mark.parametrize(
    'error',
    [ValueError('mine'), torch.OutOfMemoryError('out of memory'), KeyError('mine')],
    ids=['value', 'memory', 'key'],
)
def test_pass__own_error_goes_through(error, capsys):
    model = compiled(Raises(error))
    with pytest.raises(type(error), match=r'mine|memory'):
        model.body(torch.ones(2))
    assert model.body.forward.compiled is not None
    assert capsys.readouterr().err == ''


def test_pass__wrong_shape_is_told_as_without_compiling(caplog, capsys):
    model = compiled(nn.Linear(4, 3))
    with pytest.raises(RuntimeError, match=r'mat1 and mat2 .* \(2x5 and 4x3\)'):
        model.body(torch.ones(2, 5))
    assert 'cannot be compiled' not in capsys.readouterr().err
    assert model.body(torch.ones(2, 4)).shape == (2, 3)
    assert model.body.forward.compiled is not None


@pytest.mark.parametrize('compiler', ['/none/g++', '/bin/false'])
def test_pass__without_a_compiler_runs_as_it_is(
    compiler, capsys, monkeypatch, tmp_path
):
    from torch._inductor import config

    monkeypatch.setenv('TORCHINDUCTOR_CACHE_DIR', str(tmp_path))
    layer = nn.Linear(4, 3)
    wanted = layer(torch.ones(2, 4))
    model = compiled(nn.Sequential(layer, nn.ReLU()), backend='inductor')
    with config.patch({'cpp.cxx': (None, compiler)}):
        assert torch.equal(model.body(torch.ones(2, 4)), wanted.relu())
    err = capsys.readouterr().err
    assert 'body cannot be compiled and runs as it is (InductorError: ' in err


def test_copy__runs_with_its_own_weights():
    model = compiled(nn.Linear(4, 3))
    x = torch.ones(2, 4)
    wanted = model.body(x)
    twin = copy.deepcopy(model)
    assert twin.body.forward.compiled is not None
    with torch.no_grad():
        for weight in twin.parameters():
            weight.fill_(2)
    assert (twin.body(x) == 10).all()
    assert torch.equal(model.body(x), wanted)


def test_weights__load_into_a_plain_model_and_back():
    plain, model = nn.ModuleDict({'body': nn.Linear(4, 3)}), compiled(nn.Linear(4, 3))
    model.body(torch.ones(2, 4))
    assert list(model.state_dict()) == ['body.weight', 'body.bias']
    plain.load_state_dict(copy.deepcopy(model.state_dict()))
    x = torch.randn(2, 4)
    assert torch.equal(plain.body(x), model.body(x))
    plain.body.weight.data.fill_(3)
    model.load_state_dict(plain.state_dict())
    assert torch.equal(plain.body(x), model.body(x))


def test_hook__trains_with_averaged_weights(train):
    average = {'type': 'EMAHook', 'momentum': 0.5}
    wanted = weights(train([average], [1, 2]))
    given = weights(train([CompileHook(parts=PARTS, backend='eager'), average], [1, 2]))
    assert given.keys() == wanted.keys()
    for name, value in wanted.items():
        torch.testing.assert_close(given[name], value)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'bakend': 'eager'}, 'bakend'),
        ({'backend': 'eagre'}, "Invalid backend: 'eagre'"),
        ({'mode': 'fastest'}, 'Unrecognized mode=fastest'),
    ],
)
def test_hook__refuses_misspelt_options(options, message):
    with pytest.raises((TypeError, RuntimeError), match=message):
        CompileHook(**options)
