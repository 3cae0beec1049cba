"""Compiled or not, a model trains the same."""

import pytest
import torch

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


def test_hook__refuses_misspelt_options():
    with pytest.raises(TypeError):
        CompileHook(bakend='eager')
