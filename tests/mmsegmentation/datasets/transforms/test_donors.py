"""Whom the mixing transforms take pixels from."""

from collections import Counter

import numpy as np
import pytest
from mmseg.registry import DATASETS
from PIL import Image

from mmsegmentation.datasets import CopyPaste, RandomCutMix, SeededMixDataset
from mmsegmentation.datasets.transforms.donors import chances, find_donors
from mmsegmentation.files import write_mask

# Pixels of classes 0 to 3 of each image, 16 in all.
PIXELS = {
    'train': [(16, 0, 0, 0), (8, 8, 0, 0), (14, 0, 2, 0), (8, 4, 4, 0)],
    'pseudo': [(10, 4, 0, 2), (16, 0, 0, 0)],
}
both_transforms = pytest.mark.parametrize('cls', [CopyPaste, RandomCutMix])


@pytest.fixture
def root(tmp_path):
    for part, rows in PIXELS.items():
        for number, counts in enumerate(rows):
            path = tmp_path / part / f'images/{number}.png'
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new('RGB', (4, 4)).save(path)
            label_map = np.repeat(np.arange(4), counts).reshape(4, 4)
            mask = tmp_path / part / f'mask/{number}.png'
            write_mask(mask, label_map.astype(np.uint8))
    return tmp_path


def part(root, name, **more):
    return dict(
        type='RecycleDataset',
        data_root=str(root),
        data_prefix=dict(img_path=f'{name}/images', seg_map_path=f'{name}/mask'),
        pipeline=[dict(type='LoadDecoded', _scope_='mmseg')],
        _scope_='mmseg',
        **more,
    )


def config(root, kind='ConcatDataset', **more):
    parts = [part(root, name) for name in PIXELS]
    more['ratio'] = [2, 1]
    if kind == 'ConcatDataset':
        del more['ratio']
    return dict(type=kind, datasets=parts, _scope_='mmseg', **more)


def place_of(dataset, index):
    """Return part and number of an image."""
    *_, name, _, file = dataset.get_data_info(index)['img_path'].split('/')
    return name, int(file.removesuffix('.png'))


def drawn_from(transform, dataset, times=1):
    np.random.seed(0)
    places = [
        place_of(dataset, index)
        for _ in range(times)
        for index in transform.get_indices(dataset)
    ]
    return Counter(places)


@both_transforms
@pytest.mark.parametrize('kind', ['ConcatDataset', 'MixedDataset'])
def test_donors__are_of_the_named_kind_and_all_of_it(root, cls, kind):
    dataset = DATASETS.build(config(root, kind))
    for donors, part_name in (('real', 'train'), ('pseudo', 'pseudo')):
        found = drawn_from(cls(donors=donors), dataset, 200)
        expected = {(part_name, number) for number in range(len(PIXELS[part_name]))}
        assert set(found) == expected
    assert {name for name, _ in drawn_from(cls(), dataset, 200)} == set(PIXELS)


@pytest.mark.parametrize('kind', ['ConcatDataset', 'MixedDataset'])
def test_prefer_rare__each_class_is_as_likely_then_its_images_by_pixels(root, kind):
    """Class 1: 8, 4 and 4 pixels; class 2: 2 and 4; class 3: all in one image."""
    dataset = DATASETS.build(config(root, kind))
    donors = find_donors(dataset, 'all', 1.0)
    shares = np.diff(donors.ends, prepend=0)
    found = {
        place_of(dataset, index): share
        for index, share in zip(donors.indices.tolist(), shares.tolist(), strict=True)
    }
    assert found == pytest.approx(
        {
            ('train', 0): 0,
            ('train', 1): (8 / 16) / 3,
            ('train', 2): (2 / 6) / 3,
            ('train', 3): (4 / 16 + 4 / 6) / 3,
            ('pseudo', 0): (4 / 16 + 1) / 3,
            ('pseudo', 1): 0,
        }
    )


def test_prefer_rare__counts_among_the_donors_alone(root):
    dataset = DATASETS.build(config(root))
    shares = np.diff(find_donors(dataset, 'real', 1.0).ends, prepend=0)
    expected = [0, (8 / 12) / 2, (2 / 6) / 2, (4 / 12 + 4 / 6) / 2]
    assert shares.tolist() == pytest.approx(expected)


def test_prefer_rare__is_drawn_as_often_as_it_says(root):
    dataset = DATASETS.build(config(root))
    half = drawn_from(CopyPaste(prefer_rare=0.5), dataset, 6000)
    assert half['pseudo', 0] / 6000 == pytest.approx(0.5 / 6 + 0.5 * 1.25 / 3, abs=0.02)
    assert half['train', 0] / 6000 == pytest.approx(0.5 / 6, abs=0.02)
    whole = drawn_from(CopyPaste(prefer_rare=1.0), dataset, 2000)
    assert ('train', 0) not in whole
    assert ('pseudo', 1) not in whole


def test_prefer_rare__knows_the_images_of_a_list(root):
    (root / 'list.txt').write_text('3.png\n1.png\n')
    dataset = DATASETS.build(part(root, 'train', ann_file='list.txt'))
    pixels = np.array([PIXELS['train'][3], PIXELS['train'][1]])
    np.testing.assert_array_equal(dataset.class_pixels()[:, :4], pixels)
    unchecked = part(root, 'train', ann_file='list.txt', check_labels=False)
    found = DATASETS.build(unchecked).class_pixels()
    np.testing.assert_array_equal(found[:, :4], pixels)


def test_prefer_rare__ignored_pixels_are_of_no_class(root):
    write_mask(root / 'train/mask/0.png', np.full((4, 4), 255, np.uint8))
    dataset = DATASETS.build(part(root, 'train'))
    assert not dataset.class_pixels()[0].any()


def test_chances__without_any_object_are_equal():
    assert chances(np.array([[5, 0], [7, 0]])).tolist() == [0.5, 0.5]


@both_transforms
def test_default__draws_what_it_always_drew(root, cls):
    dataset = DATASETS.build(config(root))
    np.random.seed(7)
    found = [cls(prob=0.5).get_indices(dataset) for _ in range(50)]
    np.random.seed(7)
    expected = [
        [int(np.random.randint(6))] if np.random.random() < 0.5 else []
        for _ in range(50)
    ]
    assert found == expected


def test_repeated__data_sets_give_their_images_once(root):
    parts = [
        dict(type='RepeatDataset', times=3, dataset=part(root, 'train')),
        part(root, 'pseudo'),
    ]
    dataset = DATASETS.build(
        dict(type='ConcatDataset', datasets=parts, _scope_='mmseg')
    )
    assert find_donors(dataset, 'pseudo', 0.0).indices.tolist() == [12, 13]
    assert find_donors(dataset, 'real', 0.0).indices.tolist() == [0, 1, 2, 3]


def test_found__once_for_a_data_set(root, monkeypatch):
    dataset = DATASETS.build(config(root))
    first = find_donors(dataset, 'real', 1.0)
    monkeypatch.setattr(type(dataset.datasets[0]), 'class_pixels', None)
    assert find_donors(dataset, 'real', 1.0) is first


def test_wrapper__finds_them_before_the_first_sample(root):
    steps = [dict(type='CopyPaste', donors='pseudo', _scope_='mmseg')]
    with pytest.raises(ValueError, match="donors='pseudo', but the data set holds no"):
        SeededMixDataset(part(root, 'train'), steps)


def test_misuse__data_sets_that_cannot_be_told_apart(root):
    nested = dict(type='ConcatDataset', datasets=[config(root, 'MixedDataset')])
    dataset = DATASETS.build({**nested, '_scope_': 'mmseg'})
    with pytest.raises(ValueError, match='cannot be told apart in a MixedDataset'):
        find_donors(dataset, 'real', 0.0)
    with pytest.raises(ValueError, match='needs a RecycleDataset'):
        find_donors(Plain(), 'all', 1.0)


class Plain:
    def __len__(self):
        return 2


@both_transforms
def test_misuse__arguments_out_of_range(cls):
    with pytest.raises(ValueError, match='donors must be one of'):
        cls(donors='fake')
    for value in (-0.1, 1.1, float('nan')):
        with pytest.raises(ValueError, match=r'prefer_rare must be in \[0, 1\]'):
            cls(prefer_rare=value)
