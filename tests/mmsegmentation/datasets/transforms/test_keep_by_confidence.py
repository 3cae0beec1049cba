"""Pixels that count by their confidence: how often, and what a loss makes of it."""

import numpy as np
import pytest
import torch
from mmseg.models.losses import CrossEntropyLoss
from mmseg.registry import DATASETS
from PIL import Image

from mmsegmentation.command import InputError
from mmsegmentation.datasets.draw import Draw, chance_of
from mmsegmentation.datasets.transforms import KeepByConfidence
from mmsegmentation.files import write_mask

NAME = 'a/1'


@pytest.fixture
def root(tmp_path):
    """Write one pseudo-labelled image: four rows of confidence 0, 51, 204 and 255."""
    part = tmp_path / 'pseudo'
    for kind in ('images', 'mask', 'confidence'):
        (part / kind / 'a').mkdir(parents=True)
    labels = np.tile(np.arange(100, dtype=np.uint8) % 3, (4, 1))
    confidence = np.repeat(np.array([[0], [51], [204], [255]], np.uint8), 100, 1)
    Image.new('RGB', (100, 4)).save(part / 'images' / f'{NAME}.jpg')
    write_mask(part / 'mask' / f'{NAME}.png', labels)
    Image.fromarray(confidence).save(part / 'confidence' / f'{NAME}.png')
    return tmp_path


def build(root, **more):
    prefix = dict(img_path='pseudo/images', seg_map_path='pseudo/mask')
    steps = [dict(type='LoadDecoded', copy=False), dict(type='KeepByConfidence')]
    return DATASETS.build(
        dict(
            type='RecycleDataset',
            data_root=str(root),
            data_prefix=prefix,
            pipeline=[{**step, '_scope_': 'mmseg'} for step in steps],
            _scope_='mmseg',
            **more,
        )
    )


@pytest.mark.parametrize('cache', [True, False])
def test_pixel__takes_part_with_the_chance_of_its_confidence(root, cache):
    np.random.seed(0)
    dataset = build(root, cache=cache)
    labels = np.arange(100) % 3
    taken = np.zeros(4, int)
    for _ in range(100):
        found = dataset[0]['gt_seg_map']
        kept = found != 255
        assert (found[kept] == np.tile(labels, (4, 1))[kept]).all()
        taken += kept.sum(1)
    assert (taken[0], taken[3]) == (0, 10_000)
    assert taken[1] == pytest.approx(2000, abs=100)
    assert taken[2] == pytest.approx(8000, abs=100)


def test_loss__is_on_average_the_one_that_is_weighted_by_confidence(root):
    """Loss and gradient, of MMSegmentation's cross entropy."""
    np.random.seed(0)
    torch.manual_seed(0)
    dataset = build(root)
    loss = CrossEntropyLoss()
    logits = torch.randn(1, 3, 4, 100, dtype=torch.float64, requires_grad=True)
    truth = torch.from_numpy(np.tile(np.arange(100) % 3, (1, 4, 1)))
    weight = torch.tensor([0, 0.2, 0.8, 1], dtype=torch.float64)[None, :, None]
    weighted = loss(logits, truth, weight=weight.expand(1, 4, 100))
    (expected,) = torch.autograd.grad(weighted, logits)
    losses, gradients = [], []
    for _ in range(400):
        labels = torch.from_numpy(dataset[0]['gt_seg_map'].astype(np.int64))[None]
        value = loss(logits, labels, ignore_index=255)
        losses.append(value.item())
        gradients.append(torch.autograd.grad(value, logits)[0])
    assert np.mean(losses) == pytest.approx(weighted.item(), rel=0.01)
    found = torch.stack(gradients).mean(0)
    assert (found - expected).norm() < 0.1 * expected.norm()


def test_chance__follows_from_the_sample(root):
    dataset = build(root)
    found = []
    for turn in (0, 0, 1):
        with chance_of(Draw(0, turn, 5)):
            found.append(dataset[0]['gt_seg_map'].tolist())
    assert found[0] == found[1] != found[2]


def test_misuse__confidence_that_is_missing_or_of_another_size(root):
    path = root / f'pseudo/confidence/{NAME}.png'
    Image.new('L', (4, 4)).save(path)
    with pytest.raises(InputError, match=r'1\.png: has size \(4, 4\), its labels'):
        build(root)[0]
    path.unlink()
    with pytest.raises(
        InputError, match=r'no such file; make the labels with .*--soft'
    ):
        build(root)[0]
    assert 'KeepByConfidence' in repr(KeepByConfidence())
