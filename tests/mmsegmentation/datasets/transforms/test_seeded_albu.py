"""Albumentations under the run's seed, in one process and in workers."""

from functools import partial

import numpy as np
import pytest
from mmengine.dataset import worker_init_fn
from mmseg.registry import TRANSFORMS
from torch.utils.data import DataLoader

IMAGE = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
STEPS = [
    dict(type='Transpose', p=0.5),
    dict(type='HorizontalFlip', p=0.5),
    dict(type='RandomBrightnessContrast', p=1.0),
    dict(type='GaussNoise', p=1.0),
]


def build(steps: list[dict] = STEPS):
    step = dict(type='SeededAlbu', transforms=steps, _scope_='mmseg')
    return TRANSFORMS.build(step)


def draw(transform) -> np.ndarray:
    label_map = np.zeros((16, 16), np.uint8)
    sample = {'img': IMAGE.copy(), 'gt_seg_map': label_map, 'seg_fields': []}
    return transform(sample)['img']


def test_seeded_albu__same_seed_same_result():
    pictures = []
    for transform in (build(), build()):
        np.random.seed(7)
        pictures.append([draw(transform) for _ in range(3)])
    np.testing.assert_array_equal(*pictures)


def test_seeded_albu__other_seed_and_next_sample_differ():
    np.random.seed(7)
    transform = build()
    first, second = draw(transform), draw(transform)
    np.random.seed(8)
    other = draw(transform)
    assert (first != second).any()
    assert (first != other).any()


def test_seeded_albu__steps_throw_dice_of_their_own():
    np.random.seed(0)
    transform = build([dict(type='Transpose', p=0.5), dict(type='InvertImg', p=0.5)])
    seen = set()
    for _ in range(40):
        picture = draw(transform)
        inverted = [turn for turn in (False, True) if _is(picture, turn, True)]
        plain = [turn for turn in (False, True) if _is(picture, turn, False)]
        seen |= {(turn, True) for turn in inverted} | {(turn, False) for turn in plain}
    assert len(seen) == 4


def _is(picture: np.ndarray, transposed: bool, inverted: bool) -> bool:
    wanted = IMAGE.transpose(1, 0, 2) if transposed else IMAGE
    return bool((picture == (255 - wanted if inverted else wanted)).all())


class Drawn:
    """A data set whose samples are all made of one image."""

    def __init__(self) -> None:
        self.transform = build()

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> np.ndarray:
        return draw(self.transform)


@pytest.mark.parametrize('seed', [0, 1])
def test_seeded_albu__forked_workers_differ_and_follow_the_seed(seed):
    drawn = Drawn()

    def load(seed: int) -> list[np.ndarray]:
        init = partial(worker_init_fn, num_workers=2, rank=0, seed=seed)
        loader = DataLoader(
            drawn,
            batch_size=None,
            num_workers=2,
            worker_init_fn=init,
            multiprocessing_context='fork',
        )
        return [picture.numpy() for picture in loader]

    first, second = load(seed)
    assert (first != second).any()
    np.testing.assert_array_equal([first, second], load(seed))
    assert (first != load(seed + 10)[0]).any()
