"""The YAML file of a search: what it may say of a config, and what it may not."""

import pytest
from mmengine.config import Config

from mmsegmentation.command import InputError
from tools.tuning.space import label, read_space

CONFIG = Config(
    {
        'optim_wrapper': {'optimizer': {'lr': 0.01, 'betas': (0.9, 0.99)}},
        'train_dataloader': {
            'batch_size': 4,
            'pipeline': [{'type': 'Cut', 'prob': 1.0, 'size': (64, 64)}, {'prob': 0.5}],
        },
        'train_pipeline': [{'prob': 1.0}],
        'flag': True,
        'none': None,
    }
)
LR = 'key: optim_wrapper.optimizer.lr'


@pytest.fixture
def read(tmp_path):
    def call(text):
        path = tmp_path / 'space.yaml'
        path.write_text(text)
        return read_space(str(path), CONFIG)

    return call


def test_ranges__are_of_the_kind_that_is_written(read):
    lr, size = read(f"""
lr:
  {LR}
  low: 1e-4
  high: 1
  log: true
batch:
  key: [train_dataloader.batch_size]
  low: 2
  high: 8
  step: 2
""")
    assert (lr.low, lr.high, lr.log, lr.own) == (0.0001, 1.0, True, 0.01)
    assert (size.low, size.high, size.step, size.own) == (2, 8, 2, 4)
    assert isinstance(size.low, int)
    assert (lr.drawn_own(), size.drawn_own()) == (0.01, 4)


def test_choices__take_the_kind_of_the_config(read):
    (size,) = read("""
size:
  key: train_dataloader.pipeline.0.size
  choices: [[32, 32], [64, 64]]
""")
    assert size.choices == ((32, 32), (64, 64))
    assert size.drawn_own() == '[64, 64]'
    assert size.value('[32, 32]') == (32, 32)
    assert label((1, 2)) == '[1, 2]'


def test_one_value_for_several_keys__has_an_own_one_only_where_they_agree(read):
    (prob,) = read("""
prob:
  key: [train_dataloader.pipeline.0.prob, train_dataloader.pipeline.1.prob]
  low: 0.0
  high: 1.0
""")
    assert len(prob.keys) == 2
    assert (prob.own, prob.drawn_own()) == (None, None)


def test_own_value__outside_of_range_or_between_steps_is_none(read):
    text = f'lr:\n  {LR}\n  low: %s\n  high: 1.0\n'
    assert read(text % 0.1)[0].drawn_own() is None
    assert read(text % 0.0 + '  step: 0.25\n')[0].drawn_own() is None
    assert read(text % 0.0 + '  step: 0.005\n')[0].drawn_own() == 0.01


def test_new_key__is_taken_where_it_is_meant(read):
    text = 'x:\n  key: optim_wrapper.accumulative_counts\n  choices: [1, 2]\n'
    with pytest.raises(InputError, match='or new: true if it is meant'):
        read(text)
    assert read(f'{text}  new: true\n')[0].own is None
    with pytest.raises(InputError, match=r'has no optim\.accumulative_counts'):
        read(text.replace('optim_wrapper', 'optim') + '  new: true\n')


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('', 'names nothing to search'),
        ('[1, 2]', 'names nothing to search'),
        ('a: [', 'not readable as YAML'),
        ('a: !!python/object/apply:os.system [echo]', 'not readable as YAML'),
        ('a: {x: 1}\na: {x: 2}', 'a comes twice'),
        ('!!map [a, b]', 'not readable as YAML'),
        ('a: {x: 2026-13-45}', 'not readable as YAML'),
        ('a: {x: !!bool maybe}', 'not readable as YAML'),
        (f'a: {{{LR}, low: 1, high: 1{"0" * 400}}}', 'has no range'),
        ('a: 1', 'is no name with a key'),
        ('a: {low: 1, high: 2}', 'has no key'),
        (f'a: {{{LR}, lo: 1}}', "unknown word 'lo'; write low"),
        (f'a: {{{LR}}}', 'has no range'),
        (f'a: {{{LR}, low: 1.0, high: 1.0}}', r'low 1.0 is not below high 1.0'),
        (f'a: {{{LR}, low: .nan, high: 1.0}}', 'has no range'),
        (f'a: {{{LR}, low: 0.0, high: 1.0, log: true}}', 'log needs a low above 0'),
        (f'a: {{{LR}, low: 0.0, high: 1.0, log: 1}}', 'write true or false'),
        (f'a: {{{LR}, low: 0.0, high: 1.0, step: 2}}', 'step is 2'),
        (f'a: {{{LR}, low: 0, high: 1}}', r'is 0\.01; write low: 0\.0'),
        (f'a: {{{LR}, choices: [1.0], low: 1}}', 'has choices and a range'),
        (f'a: {{{LR}, choices: [1.0]}}', 'has no two choices'),
        (f'a: {{{LR}, choices: [1, 1.0]}}', 'has the choice 1.0 twice'),
        (f'a: {{{LR}, choices: [1.0, x]}}', "'x' cannot stand for 0.01"),
        (f'a: {{{LR}, choices: [1.0, 2026-01-01]}}', 'give plain values'),
        ('a: {key: flag, choices: [true, 1]}', 'has the choice 1 twice'),
        ('a: {key: flag, choices: [true, 2]}', '2 cannot stand for True of flag'),
        ('a: {key: flag, low: 0, high: 1}', 'a range cannot stand for True of flag'),
        ('a: {key: optim_wrapper.optimiser.lr}', r'write optim_wrapper\.optimizer\.lr'),
        ('a: {key: lr, low: 0.0, high: 1.0}', r'write optim_wrapper\.optimizer\.lr'),
        ('a: {key: train_dataloader.pipeline.2.prob}', r'pipeline\.[01]\.prob'),
        ('a: {key: optim_wrapper.optimizer.betas.0}', 'choices of the whole tuple'),
        ('a: {key: train_pipeline.0.prob}', 'is only a name within the config'),
        (
            f'a: {{{LR}, low: 0.1, high: 1.0}}\nb: {{{LR}, low: 0.1, high: 1.0}}',
            'is of a and of b',
        ),
        (
            f'a: {{{LR}, low: 0.1, high: 1.0}}\n'
            'b: {key: optim_wrapper.optimizer, choices: [{lr: 1}, {lr: 2}]}',
            'is of a and of b',
        ),
    ],
)
def test_wrong_entry__is_named_with_a_way_out(read, text, message):
    with pytest.raises(InputError, match=message):
        read(text)


def test_missing_file__is_one_line(tmp_path):
    with pytest.raises(InputError, match='no such file; see configs/tuning'):
        read_space(str(tmp_path / 'none.yaml'), CONFIG)
