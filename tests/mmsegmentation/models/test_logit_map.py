"""Strips of logits at full size: their height, and the same values as all at once."""

import pytest
import torch

from mmsegmentation.models.logit_map import DenseLogits, MeanOfViews, WindowedLogits


@pytest.mark.parametrize(
    ('memory', 'multiple', 'starts'),
    [
        (64, 1, [0]),
        (7 * 2 * 8 * 4 / 2**20, 1, [0, 7, 14]),  # seven rows
        (7 * 2 * 8 * 4 / 2**20, 4, [0, 4, 8, 12]),  # in whole cells of four
        (1 / 2**20, 1, [0, 4, 8, 12]),  # at least four
    ],
)
def test_strips__are_bounded_and_whole_multiples(memory, multiple, starts):
    logit_map = DenseLogits(torch.zeros(2, 15, 8), memory=memory)
    strips = list(logit_map.strips(multiple))
    assert [strip.start for strip in strips] == starts
    assert [strip.stop for strip in strips] == [*starts[1:], 15]


@torch.no_grad()
def test_decision__never_holds_more_than_its_strip(monkeypatch):
    sizes = []
    logits = WindowedLogits.logits
    monkeypatch.setattr(
        WindowedLogits,
        'logits',
        lambda self, rows: sizes.append((s := logits(self, rows)).numel()) or s,
    )
    generator = torch.Generator().manual_seed(0)
    small = torch.randn(1, 1, 61, 8, 8, generator=generator)
    down, across = (torch.randn(n, 8, generator=generator) for n in (400, 300))
    views = [WindowedLogits(small, [down], [across], memory=1) for _ in range(2)]
    labels, confidence = MeanOfViews(views, None).decide()
    assert max(sizes) <= 2**20 / 4
    whole = (down @ (small[0, 0] @ across.T)).softmax(0).max(0)
    assert (labels[0] == whole.indices).float().mean() > 0.9999
    assert (confidence[0] - 255 * whole.values).abs().max() <= 0.51
