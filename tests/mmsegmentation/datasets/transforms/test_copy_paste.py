import numpy as np
import pytest

from mmsegmentation.datasets import CopyPaste


def sample(label_map: np.ndarray) -> dict:
    label_map = label_map.astype(np.uint8)
    return {'img': np.repeat(label_map[..., None], 3, -1), 'gt_seg_map': label_map}


def blank(height: int, width: int) -> dict:
    return sample(np.zeros((height, width)))


def paste(transform, ours: dict, theirs: dict) -> dict:
    return transform({**ours, 'mix_results': [theirs]})


def test_copy_paste__objects_move_and_background_stays():
    theirs = sample(np.array([[0, 0], [3, 0]]))
    theirs['img'][0] = 9
    result = paste(CopyPaste(patch_scale_ratio=1.0), sample(np.ones((2, 2))), theirs)
    assert result['gt_seg_map'].tolist() == [[1, 1], [3, 1]]
    assert result['img'][..., 0].tolist() == [[1, 1], [3, 1]]


def test_copy_paste__labels_are_only_those_of_the_donor():
    """The 2023 system shrank labels bilinearly, which invents classes."""
    donor = np.zeros((64, 64))
    donor[8:56, 8:56] = 10
    for _ in range(20):
        result = paste(CopyPaste(), blank(64, 64), sample(donor))
        assert set(np.unique(result['gt_seg_map'])) == {0, 10}


@pytest.mark.parametrize('shape', [(30, 60), (60, 30)])
def test_copy_paste__rectangular_images_keep_their_proportions(shape):
    """The 2023 system swapped width and height."""
    result = paste(
        CopyPaste(patch_scale_ratio=0.5), blank(*shape), sample(np.ones(shape))
    )
    rows, cols = np.nonzero(result['gt_seg_map'])
    assert (np.ptp(rows) + 1, np.ptp(cols) + 1) == (shape[0] // 2, shape[1] // 2)
    assert result['img'].shape == (*shape, 3)


@pytest.mark.parametrize('mode', ['all', 'one'])
def test_copy_paste__donor_without_objects_changes_nothing(mode):
    """In the 2023 system mode 'one' died on an empty mask."""
    empty = np.zeros((4, 4))
    empty[0] = 255
    result = paste(CopyPaste(mode=mode), sample(np.ones((4, 4))), sample(empty))
    assert (result['gt_seg_map'] == 1).all()


def test_copy_paste__mode_one_pastes_a_single_class():
    donor = np.repeat([[1, 2, 3, 4]], 4, 0)
    seen = set()
    for _ in range(60):
        result = paste(CopyPaste(1.0, 'one', 1.0), blank(4, 4), sample(donor))
        pasted = set(np.unique(result['gt_seg_map'])) - {0}
        assert len(pasted) == 1
        seen |= pasted
    assert seen == {1, 2, 3, 4}


def test_copy_paste__last_row_and_column_are_reached():
    """The 2023 system drew the place with an exclusive upper bound."""
    np.random.seed(0)
    transform = CopyPaste(patch_scale_ratio=0.5)
    hit = sum(
        paste(transform, blank(4, 4), sample(np.ones((4, 4))))['gt_seg_map']
        for _ in range(64)
    )
    assert (hit > 0).all()


def test_copy_paste__donor_at_full_size_is_no_error():
    result = paste(
        CopyPaste(patch_scale_ratio=1.0), blank(3, 5), sample(np.ones((3, 5)))
    )
    assert (result['gt_seg_map'] == 1).all()


def test_copy_paste__larger_donor_is_shrunk_until_it_fits():
    result = paste(CopyPaste(), blank(4, 8), sample(np.ones((40, 40))))
    rows, cols = np.nonzero(result['gt_seg_map'])
    assert (np.ptp(rows) + 1, np.ptp(cols) + 1) == (4, 4)


def test_copy_paste__inputs_are_not_changed():
    ours, theirs = blank(4, 4), sample(np.ones((4, 4)))
    paste(CopyPaste(), ours, theirs)
    assert not ours['img'].any()
    assert not ours['gt_seg_map'].any()
    assert (theirs['gt_seg_map'] == 1).all()


def test_copy_paste__unknown_mode_is_refused():
    with pytest.raises(ValueError, match="mode must be 'all' or 'one'"):
        CopyPaste(mode='some')


def test_copy_paste__ratio_out_of_range_is_refused():
    with pytest.raises(ValueError, match='patch_scale_ratio must be'):
        CopyPaste(patch_scale_ratio=0.0)


def test_copy_paste__mirrored_donor_moves_image_and_labels_together():
    donor = sample(np.array([[1, 2, 3], [4, 5, 6]]))
    transform = CopyPaste(patch_scale_ratio=1.0, flip_prob=1.0)
    result = paste(transform, blank(2, 3), donor)
    assert result['gt_seg_map'].tolist() == [[3, 2, 1], [6, 5, 4]]
    assert result['img'][..., 0].tolist() == [[3, 2, 1], [6, 5, 4]]
    assert donor['gt_seg_map'].tolist() == [[1, 2, 3], [4, 5, 6]]


def test_copy_paste__donor_is_mirrored_as_often_as_asked():
    np.random.seed(0)
    transform = CopyPaste(patch_scale_ratio=1.0, flip_prob=0.3)
    donor = sample(np.array([[1, 2]]))
    flips = sum(
        paste(transform, blank(1, 2), donor)['gt_seg_map'][0, 0] == 2
        for _ in range(1000)
    )
    assert 250 < flips < 350


def test_copy_paste__size_is_drawn_from_the_range():
    np.random.seed(0)
    transform = CopyPaste(scale_range=(0.25, 0.5), patch_scale_ratio=1.0)
    sides = set()
    for _ in range(200):
        result = paste(transform, blank(40, 40), sample(np.ones((40, 40))))
        sides.add(int(np.sqrt((result['gt_seg_map'] == 1).sum())))
    assert (min(sides), max(sides)) == (10, 19)
    assert len(sides) == 10


def test_copy_paste__without_new_options_the_draws_are_the_old_ones():
    """A class, then a place: nothing is drawn for size and direction."""
    donor = sample(np.repeat([[1, 2, 3, 4]], 4, 0))
    np.random.seed(3)
    found = [paste(CopyPaste(mode='one'), blank(4, 4), donor) for _ in range(9)]
    np.random.seed(3)
    for result in found:
        # Three of the four columns are left at three quarters of the size.
        class_id = np.random.choice([1, 2, 3])
        top, left = np.random.randint(2), np.random.randint(2)
        expected = np.zeros((4, 4), int)
        expected[top : top + 3, left + class_id - 1] = class_id
        np.testing.assert_array_equal(result['gt_seg_map'], expected)


@pytest.mark.parametrize('scale_range', [(0, 1), (0.5, 0.4), (0.5, 1.1), (0.5,)])
def test_copy_paste__range_that_is_none_is_refused(scale_range):
    with pytest.raises(ValueError, match='scale_range must be'):
        CopyPaste(scale_range=scale_range)


def test_copy_paste__flip_probability_out_of_range_is_refused():
    with pytest.raises(ValueError, match=r'flip_prob must be in \[0, 1\]'):
        CopyPaste(flip_prob=1.5)
