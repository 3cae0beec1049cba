"""Data sets joined at a ratio: how many samples of each, and which."""

from collections import Counter

import numpy as np
import pytest
from mmseg.datasets import MultiImageMixDataset
from mmseg.registry import DATASETS
from PIL import Image

from mmsegmentation.datasets import SeededMixDataset
from mmsegmentation.datasets.draw import Draw
from mmsegmentation.engine import SeededInfiniteSampler, SeededSampler
from mmsegmentation.files import write_mask

COUNTS = {'train': 8, 'pseudo': 3, 'extra': 2}


@pytest.fixture
def root(tmp_path):
    """Draw images whose red says the part, and whose green says the number."""
    for place, (part, count) in enumerate(COUNTS.items()):
        for number in range(count):
            path = tmp_path / part / f'images/{number}.png'
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new('RGB', (4, 4), (place, number, 0)).save(path)
            mask = np.full((4, 4), place, np.uint8)
            write_mask(tmp_path / part / f'mask/{number}.png', mask)
    return tmp_path


def part(root, name):
    return dict(
        type='RecycleDataset',
        data_root=str(root),
        data_prefix=dict(img_path=f'{name}/images', seg_map_path=f'{name}/mask'),
        pipeline=[dict(type='LoadDecoded', _scope_='mmseg')],
        _scope_='mmseg',
    )


def config(root, ratio, names=('train', 'pseudo')):
    parts = [part(root, name) for name in names]
    return dict(type='MixedDataset', datasets=parts, ratio=ratio, _scope_='mmseg')


def build(root, ratio, names=('train', 'pseudo')):
    return DATASETS.build(config(root, ratio, names))


def image_of(sample):
    """Return part and number."""
    blue, green, red = sample['img'][0, 0].tolist()
    assert blue == 0
    return [*COUNTS][red], green


def taken(dataset, indices):
    return [image_of(dataset[i]) for i in indices]


@pytest.mark.parametrize(
    ('ratio', 'expected'),
    [([2, 1], 4), ([1, 1], 8), ([1, 2], 16), ([4, 1], 2), ([0.5, 0.25], 4)],
)
def test_pass__has_each_real_image_once_and_others_by_the_ratio(root, ratio, expected):
    dataset = build(root, ratio)
    assert len(dataset) == 8 + expected
    images = taken(dataset, range(len(dataset)))
    assert images[:8] == [('train', number) for number in range(8)]
    assert [name for name, _ in images[8:]] == ['pseudo'] * expected


def test_pass__may_be_of_three_data_sets(root):
    dataset = build(root, [4, 2, 1], ('train', 'pseudo', 'extra'))
    names = Counter(name for name, _ in taken(dataset, range(len(dataset))))
    assert names == {'train': 8, 'pseudo': 4, 'extra': 2}


def test_pass__a_small_share_is_one_sample_at_the_least(root):
    assert len(build(root, [100, 1])) == 9


def test_drawn__all_images_of_a_set_are_as_likely(root):
    np.random.seed(0)
    dataset = build(root, [1, 1])
    drawn = Counter(taken(dataset, [8 + i % 8 for i in range(1200)]))
    assert set(drawn) == {('pseudo', number) for number in range(3)}
    assert all(330 < count < 470 for count in drawn.values())


def test_drawn__follows_from_seed_pass_and_index(root):
    dataset = build(root, [1, 1])

    def drawn(seed, turn, order):
        draws = [Draw(i, turn, seed) for i in order]
        return dict(zip(order, taken(dataset, draws), strict=True))

    places = list(range(8, 16))
    first = drawn(3, 0, places)
    np.random.seed(99)
    assert drawn(3, 0, places[::-1]) == first
    assert drawn(3, 1, places) != first
    assert drawn(4, 0, places) != first


def test_images__have_an_index_of_their_own_after_those_of_a_pass(root):
    dataset = build(root, [2, 1])
    images = taken(dataset, range(len(dataset), len(dataset) + 11))
    expected = [('train', n) for n in range(8)] + [('pseudo', n) for n in range(3)]
    assert images == expected
    assert dataset.get_data_info(len(dataset) + 9)['img_path'].endswith('1.png')


@pytest.mark.parametrize('cls', [SeededMixDataset, MultiImageMixDataset])
def test_wrapped__partners_come_at_the_ratio_too(root, cls):
    """In the stock wrapper as in ours, all chance is NumPy's."""
    steps = [dict(type='RandomCutMix', prob=1.0, patch_scale=(4, 4), _scope_='mmseg')]
    dataset = cls(config(root, [3, 1]), steps)
    rounds = 100
    np.random.seed(1)
    partners = Counter(
        int(dataset[i % 8]['gt_seg_map'][0, 0]) for i in range(8 * rounds)
    )
    assert set(partners) == {0, 1}
    assert 0.2 < partners[1] / (8 * rounds) < 0.3
    drawn = []
    for _ in range(2):
        np.random.seed(5)
        drawn.append([dataset[i]['gt_seg_map'].tolist() for i in range(11)])
    assert drawn[0] == drawn[1]


@pytest.mark.parametrize('sampler', [SeededSampler, SeededInfiniteSampler])
def test_samplers__of_ours_go_through_it(root, sampler):
    dataset = SeededMixDataset(config(root, [2, 1]), [])
    indices = iter(sampler(dataset, seed=0))
    names = Counter(image_of(dataset[next(indices)])[0] for _ in range(12))
    assert names == {'train': 8, 'pseudo': 4}


def test_misuse__ratio_that_is_none(root):
    for ratio in ([1], [1, 2, 3], [1, 0], [1, -1], [1, float('nan')], [1, np.inf]):
        with pytest.raises(ValueError, match='ratio must be a positive number for'):
            build(root, ratio)
