import numpy as np
import pytest

from mmsegmentation.datasets import RandomCutMix


def sample(value: int, height: int = 4, width: int = 6) -> dict:
    return {
        'img': np.full((height, width, 3), value, np.uint8),
        'gt_seg_map': np.full((height, width), value, np.uint8),
    }


def mixed(transform, ours: dict, theirs: dict) -> np.ndarray:
    result = transform({**ours, 'mix_results': [theirs]})
    assert (result['img'] == result['gt_seg_map'][..., None]).all()
    return result['gt_seg_map']


def test_cut_mix__rectangle_has_the_given_height_and_width():
    label_map = mixed(RandomCutMix(1.0, (2, 5)), sample(1), sample(2))
    rows, cols = np.nonzero(label_map == 2)
    assert (np.ptp(rows) + 1, np.ptp(cols) + 1) == (2, 5)
    assert (label_map == 2).sum() == 10


def test_cut_mix__last_row_and_column_are_reached():
    np.random.seed(0)
    transform = RandomCutMix(1.0, (1, 1))
    hit = sum((mixed(transform, sample(0, 2, 2), sample(1, 2, 2))) for _ in range(64))
    assert (hit > 0).all()


def test_cut_mix__patch_as_large_as_the_image_replaces_it():
    label_map = mixed(RandomCutMix(1.0, (256, 256)), sample(1), sample(2))
    assert (label_map == 2).all()


def test_cut_mix__partner_of_another_size_gives_what_both_have():
    label_map = mixed(RandomCutMix(1.0, (9, 9)), sample(1, 4, 6), sample(2, 3, 9))
    assert label_map.tolist() == [[2] * 6] * 3 + [[1] * 6]


def test_cut_mix__inputs_are_not_changed():
    ours, theirs = sample(1), sample(2)
    RandomCutMix(1.0, (2, 2))({**ours, 'mix_results': [theirs]})
    assert (ours['img'] == 1).all()
    assert (ours['gt_seg_map'] == 1).all()
    assert (theirs['img'] == 2).all()


def test_cut_mix__probability_is_applied_once():
    np.random.seed(0)
    transform = RandomCutMix(0.5, (2, 2))
    mixes = 0
    for _ in range(2000):
        chosen = [sample(2) for _ in transform.get_indices(range(7))]
        result = transform({**sample(1), 'mix_results': chosen})
        mixes += (result['gt_seg_map'] == 2).any()
    assert 0.46 < mixes / 2000 < 0.54


@pytest.mark.parametrize('prob', [-0.1, 1.5])
def test_cut_mix__probability_out_of_range_is_refused(prob):
    with pytest.raises(ValueError, match=r'prob must be in \[0, 1\]'):
        RandomCutMix(prob)


def test_cut_mix__empty_patch_is_refused():
    with pytest.raises(ValueError, match='patch_scale must be'):
        RandomCutMix(1.0, (0, 3))


def test_cut_mix__outside_a_wrapper_says_so():
    with pytest.raises(ValueError, match='MultiImageMixDataset'):
        RandomCutMix()(sample(1))
