"""Weights in another order in memory, and the same numbers."""

import torch

from mmsegmentation.engine import ChannelsLastHook


def test_hook__training_gives_the_same_numbers(train):
    plain, reordered = (
        {name: w.clone() for name, w in train(hooks, [1] * 3).model.named_parameters()}
        for hooks in ([], [ChannelsLastHook()])
    )
    assert plain.keys() == reordered.keys()
    for name, weight in plain.items():
        torch.testing.assert_close(reordered[name], weight)


def test_hook__weights_stay_in_channels_last_order(train):
    for hooks, expected in (([], False), ([ChannelsLastHook()], True)):
        model = train(hooks, [1]).model
        for layer in (model.body, model.head):
            order = torch.channels_last
            assert layer.weight.is_contiguous(memory_format=order) is expected


def test_hook__optimiser_goes_on_with_the_same_weights(train):
    one, two = (
        train([ChannelsLastHook()], [1] * steps).model.head.weight for steps in (1, 2)
    )
    assert (one - two).abs().max() > 1e-6
