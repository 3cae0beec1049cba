"""How many steps a model was trained, over all runs that it has gone through."""

import pytest

from mmsegmentation.trained_steps import noted_steps, steps_before

OURS = "train_dataloader = dict(dataset=dict(type='RecycleDataset'))"


@pytest.mark.parametrize(
    ('content', 'steps'),
    [
        ({'meta': {'steps': 7}}, 7),
        ({'meta': {'iter': 7}}, None),
        ({'meta': {'steps': 'x'}}, None),
        ({'meta': None}, None),
        ({}, None),
    ],
)
def test_noted__is_what_a_checkpoint_says(content, steps):
    assert noted_steps(content) == steps


def test_before__a_run_begins_with_those_of_its_weights():
    assert steps_before({}, False) == 0
    assert (
        steps_before({'meta': {'iter': 300, 'steps': 1300, 'cfg': OURS}}, False) == 1300
    )


def test_before__a_resumed_run_began_with_what_its_own_steps_leave():
    assert steps_before({'meta': {'iter': 300, 'steps': 1300}}, True) == 1000
    assert steps_before({'meta': {'iter': 300}}, True) is None


def test_before__weights_of_elsewhere_count_as_none_and_older_ones_of_ours_as_unknown():
    elsewhere = {'meta': {'iter': 160000, 'cfg': "type='ADE20KDataset'"}}
    assert steps_before(elsewhere, False) == 0
    assert steps_before({'state_dict': {}}, False) == 0
    assert steps_before({'meta': {'iter': 300, 'cfg': OURS}}, False) is None
