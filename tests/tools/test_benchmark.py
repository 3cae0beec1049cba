"""A benchmark says how fast, and first whether both sides agree."""

import importlib
from argparse import Namespace
from collections import namedtuple

import pytest

from mmsegmentation.command import InputError
from mmsegmentation.files import read_json
from tools import benchmark
from tools.benchmarks import case as case_module
from tools.benchmarks.case import Case, LeftOut, Options, missing

ARGS = Namespace(runs=3, quick=True, device='cpu')
KEYS = {
    'benchmark',
    'case',
    'peer',
    'ours_s',
    'peer_s',
    'ours_range_s',
    'peer_range_s',
    'ratio',
    'difference',
    'difference_of',
    'limit',
    'same',
    'runs',
}


def counting(log, name, result):
    def work():
        log.append(name)
        return result

    return work


def case_of(log, ours=1.0, theirs=1.0, **more):
    sides = counting(log, 'ours', ours), counting(log, 'theirs', theirs)
    return Case('work', 'peer', sides, lambda a, b: abs(a - b), 0.1, **more)


def test_measure__takes_turns_after_a_warm_up():
    log = []
    record = benchmark.measure(case_of(log), ARGS)
    assert log == ['ours', 'theirs'] * 4
    assert (record['runs'], record['same'], record['difference']) == (3, True, 0)
    assert record['ratio'] == record['peer_s'] / record['ours_s']
    low, high = record['ours_range_s']
    assert low <= record['ours_s'] <= high


def test_measure__of_a_long_case_is_its_one_run():
    log = []
    assert benchmark.measure(case_of(log, once=True), ARGS)['runs'] == 1
    assert log == ['ours', 'theirs']


@pytest.mark.parametrize(
    ('spread', 'same', 'limit'), [(0.5, True, 0.5), (0.2, False, 0.2), (0, False, 0.1)]
)
def test_measure__differs_no_more_than_the_peer_from_itself(spread, same, limit):
    asked = []

    def measure_spread(theirs):
        asked.append(theirs)
        return spread

    case = case_of([], ours=1.4, once=True, spread=measure_spread)
    record = benchmark.measure(case, ARGS)
    assert (record['same'], record['limit'], asked) == (same, limit, [1.0])


def test_measure__the_peer_need_not_repeat_what_is_the_same():
    case = case_of([], once=True, spread=lambda theirs: 1 / 0)
    assert benchmark.measure(case, ARGS)['limit'] == 0.1


@pytest.fixture
def one_case(monkeypatch):
    """Let the benchmark of the metric be the given cases."""

    def set_cases(*cases):
        module = importlib.import_module('tools.benchmarks.metric')
        monkeypatch.setattr(module, 'cases', lambda options: iter(cases))

    return set_cases


def test_command__says_where_answers_differ(one_case, capsys):
    one_case(case_of([], theirs=1.2))
    assert benchmark.main(['metric', '--runs', '1']) == 1
    assert 'NOT THE SAME' in ' '.join(capsys.readouterr().out.split())


def test_command__says_what_it_left_out(one_case, capsys):
    one_case(LeftOut('work', 'Peer', 'it is not here'))
    assert benchmark.main(['metric']) == 0
    assert 'Peer left out, it is not here' in capsys.readouterr().out


def test_command__measures_the_metric(tmp_path, capsys):
    path = tmp_path / 'records.json'
    arguments = ['metric', '--quick', '--runs', '1', '--json', str(path)]
    assert benchmark.main(arguments) == 0
    out = capsys.readouterr().out
    assert 'threads: ' in out and 'torch 2' in out
    (record, *_) = read_json(path)
    assert record.keys() == KEYS
    assert (record['peer'], record['difference']) == ('MMSegmentation', 0)
    with pytest.raises(InputError, match='--overwrite'):
        benchmark.main(arguments)


def test_command__its_attention_agrees_with_the_peer(tmp_path):
    path = tmp_path / 'records.json'
    arguments = ['attention', '--quick', '--runs', '1', '--json', str(path)]
    assert benchmark.main(arguments) == 0
    assert all(record['same'] for record in read_json(path))


def test_head__is_measured_at_three_sizes(monkeypatch):
    module = importlib.import_module('tools.benchmarks.head')
    head = namedtuple('Head', 'in_channels eval')([1, 1, 1, 1], lambda: head)
    model = namedtuple('Model', 'decode_head')(head)
    monkeypatch.setattr(module, 'build_pair', lambda *_: (model, model))
    found = [case.name for case in module.cases(Options(quick=True, device='cpu'))]
    assert len(found) == 9
    assert {name.partition(',')[0] for name in found} == {
        '128 x 128',
        '256 x 256',
        '512 x 512',
    }


def test_command__that_is_interrupted_keeps_what_is_done(monkeypatch, tmp_path):
    def measured(name, args):
        if name == 'head':
            raise KeyboardInterrupt
        return [{'benchmark': name, 'same': True}]

    monkeypatch.setattr(benchmark, '_measure_all', measured)
    path = tmp_path / 'records.json'
    with pytest.raises(KeyboardInterrupt):
        benchmark.main(['metric', 'head', '--json', str(path)])
    assert [record['benchmark'] for record in read_json(path)] == ['metric']


def test_command__writes_no_file_in_place_of_a_folder(tmp_path):
    with pytest.raises(InputError, match='is a folder; name a file'):
        benchmark.main(['metric', '--overwrite', '--json', str(tmp_path)])


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['metric', '--runs', '0'], 'not above 0'),
        (['metric', '--threads', '-1'], 'not above 0'),
    ],
)
def test_command__refuses_what_measures_nothing(arguments, message):
    with pytest.raises(InputError, match=message):
        benchmark.main(arguments)


def test_command__needs_a_gpu_for_cuda(monkeypatch):
    monkeypatch.setattr('torch.cuda.is_available', lambda: False)
    # The tests hide a GPU that is there.
    with pytest.raises(InputError, match='hides all GPUs; unset'):
        benchmark.main(['metric', '--device', 'cuda'])


def test_missing__names_the_way_out(monkeypatch):
    assert missing('numpy') is None
    monkeypatch.setattr(case_module, 'find_spec', lambda name: None)
    assert missing('polars') == (
        'polars is not installed: pip install -r requirements-bench.txt'
    )
