"""How balanced folds are: beside random splits and a library's stratification."""

import warnings
from pathlib import Path

import numpy as np
import pytest

from mmsegmentation.classes import CLASSES
from mmsegmentation.files import mask_name, read_json, read_mask
from utils.folds.report import largest_deviations
from utils.folds.search import Groups, random_folds, search_folds
from utils.prepare_data import main as prepare
from utils.split import main

# pycocotools' own arrays do not know NumPy 2's copy keyword.
pytestmark = pytest.mark.filterwarnings(
    'ignore:__array__ implementation:DeprecationWarning'
)
SAMPLE = Path(__file__).resolve().parents[2] / '../shared/data/recycle_trash_sample'
SIDE = 512
# Objects by class of the whole data, Background left out, and pixel shares in percent.
# Nothing is known of the share of Battery: objects of the mean area of all.
OBJECTS = 2782, 9311, 659, 562, 610, 3090, 1343, 7643, 63, 177
SHARES = 1.78, 3.89, 0.29, 0.24, 0.44, 2.27, 1.72, 11.65, 0.074, 0.61
IMAGES = 3272
FOLDS = 5


def draw_statistics(seed: int) -> np.ndarray:
    """Return pixels by image and class, (IMAGES, 11), as the masks of the data have.

    Objects an image: quartiles of about 2, 6 and 13; areas are log-normal, their mean
    3.3 times their median.
    """
    rng = np.random.default_rng(seed)
    crowded = rng.gamma(0.9, size=IMAGES)
    pixels = np.zeros((IMAGES, len(CLASSES)), np.int64)
    for class_id, (count, share) in enumerate(zip(OBJECTS, SHARES, strict=True), 1):
        where = rng.choice(IMAGES, count, p=crowded / crowded.sum())
        area = rng.lognormal(0, 1.55, count)
        area *= share / 100 * IMAGES * SIDE**2 / area.sum()
        np.add.at(pixels[:, class_id], where, area.astype(int) + 1)
    over = pixels.sum(1) / (0.95 * SIDE**2)
    pixels = (pixels / np.maximum(over, 1)[:, None]).astype(np.int64)
    pixels[:, 0] = SIDE**2 - pixels.sum(1)
    return pixels


def measure(pixels: np.ndarray, folds: np.ndarray) -> tuple[float, float]:
    """Return the largest deviation of pixel share, absolute and relative, plainly."""
    whole = pixels.sum(0) / pixels.sum()
    absolute, relative = [], []
    for fold in range(FOLDS):
        part = pixels[folds == fold]
        for class_id in np.flatnonzero(whole):
            off = abs(part[:, class_id].sum() / part.sum() - whole[class_id])
            absolute.append(off)
            relative.append(off / whole[class_id])
    return max(absolute), max(relative)


def random_splits(pixels: np.ndarray) -> list[np.ndarray]:
    rng = np.random.default_rng(7)
    return [rng.permutation(len(pixels)) % FOLDS for _ in range(100)]


def library_splits(pixels: np.ndarray, seeds: int) -> list[np.ndarray]:
    """Return the folds of iterative stratification by presence."""
    stratifiers = pytest.importorskip('iterstrat.ml_stratifiers')
    splits = []
    there = pixels[:, 1:] > 0  # Background is everywhere
    for seed in range(seeds):
        folds = np.zeros(len(pixels), int)
        library = stratifiers.MultilabelStratifiedKFold(
            FOLDS, shuffle=True, random_state=seed
        )
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            for fold, (_, left_out) in enumerate(library.split(pixels, there)):
                folds[left_out] = fold
        splits.append(folds)
    return splits


def assert_best(pixels: np.ndarray, folds: np.ndarray, seeds: int) -> None:
    others = random_splits(pixels) + library_splits(pixels, seeds)
    assert len(others) == 100 + seeds
    best = np.min([measure(pixels, other) for other in others], axis=0)
    # A class in one image alone has the same deviation everywhere, but for rounding.
    assert (np.array(measure(pixels, folds)) <= best * (1 + 1e-9)).all(), best


def count_images(pixels: np.ndarray) -> Groups:
    ones = np.ones(len(pixels), np.int64)
    return Groups(pixels, (pixels > 0).astype(np.int64), ones)


def test_drawn__statistics_are_those_of_the_data():
    pixels = draw_statistics(0)
    share = 100 * pixels.sum(0) / pixels.sum()
    # Large areas are cut off at the size of the image.
    assert share[1:].tolist() == pytest.approx(SHARES, rel=0.4)
    assert share[0] == pytest.approx(77, abs=3)
    assert 30 < (pixels[:, 9] > 0).sum() <= 63
    assert (pixels.sum(1) == SIDE**2).all()


def test_drawn__no_other_split_is_better_balanced():
    pixels = draw_statistics(0)
    folds = search_folds(count_images(pixels), FOLDS, seed=0)
    sizes = np.bincount(folds, minlength=FOLDS)
    assert np.abs(sizes - IMAGES / FOLDS).max() <= 1
    assert_best(pixels, folds, seeds=2)
    # By far: a quarter of the best random split.
    absolute = min(measure(pixels, other)[0] for other in random_splits(pixels))
    assert measure(pixels, folds)[0] < absolute / 4
    images = np.stack([(pixels[folds == f] > 0).sum(0) for f in range(FOLDS)])
    expected = (pixels > 0).sum(0) / FOLDS
    assert (np.abs(images - expected) <= np.maximum(2, 0.05 * expected)).all()


@pytest.mark.skipif(not SAMPLE.is_dir(), reason='the real photographs are not here')
def test_sample__no_other_split_is_better_balanced(run, tmp_path):
    root = tmp_path / 'root'
    run(prepare, SAMPLE, '--out', root, '--jobs', 1)
    code, out, err = run(main, root, '--folds', FOLDS, '--jobs', 1)
    assert code == 0, err
    content = read_json(root / 'folds/folds.json')
    rows, folds = [], []
    for part, images in content['images'].items():
        for image_id, fold in images.items():
            label_map = read_mask(root / part / 'mask' / mask_name(image_id))
            rows.append(np.bincount(label_map.ravel(), minlength=len(CLASSES)))
            folds.append(fold)
    pixels = np.stack(rows)
    assert pixels.shape == (60, 11)
    assert_best(pixels, np.array(folds), seeds=10)
    said = [content['balance'][key] for key in ('absolute', 'relative')]
    assert said == pytest.approx(measure(pixels, np.array(folds)))
    assert 'fewer images than folds: Glass 2, Clothing 2; some folds' in out
    assert out.count('fewer images') == 1
    sizes = np.bincount(folds, minlength=FOLDS)
    assert np.abs(sizes - 12).max() <= 1


def test_search__same_seed_same_folds_and_another_seed_others():
    pixels = draw_statistics(1)[:40]
    first, again, other = (search_folds(count_images(pixels), 4, s) for s in (3, 3, 4))
    assert first.tolist() == again.tolist()
    assert first.tolist() != other.tolist()


def test_search__two_rare_images_are_in_two_folds():
    pixels = np.full((10, 2), (100, 0))
    pixels[[3, 4]] = 90, 10
    folds = search_folds(count_images(pixels), 2, seed=0)
    assert folds[3] != folds[4]
    assert np.bincount(folds).tolist() == [5, 5]


def test_search__pixels_count_and_not_images_alone():
    pixels = np.full((4, 2), (0, 100))
    pixels[:, 0] = 10, 20, 30, 40
    folds = search_folds(count_images(pixels), 2, seed=0)
    assert folds[0] == folds[3] != folds[1] == folds[2]


@pytest.mark.parametrize('sizes', [[9, 3, 3, 2, 2, 2, 1, 1, 1], [40, 40, 30, 20, 10]])
def test_search__fold_sizes_are_within_one_group(sizes):
    sizes = np.array(sizes)
    rng = np.random.default_rng(0)
    pixels = rng.integers(1, 100, (len(sizes), 3)) * sizes[:, None]
    groups = Groups(pixels, np.minimum(sizes[:, None], 9).repeat(3, 1), sizes)
    folds = search_folds(groups, 3, seed=0)
    filled = np.bincount(folds, sizes, minlength=3)
    assert np.abs(filled - sizes.sum() / 3).max() <= sizes.max()


def test_random_folds__are_equally_large():
    rng = np.random.default_rng(0)
    folds = random_folds(np.ones(62, int), 5, rng)
    assert sorted(np.bincount(folds).tolist()) == [12, 12, 12, 13, 13]
    assert folds.tolist() != random_folds(np.ones(62, int), 5, rng).tolist()


def test_deviation__of_a_class_that_is_nowhere_is_not_relative():
    pixels = np.array([[3, 0, 1], [1, 0, 3]])
    found = largest_deviations(pixels, np.array([0, 1]), 2)
    assert found['absolute'].tolist() == [0.25, 0, 0.25]
    np.testing.assert_array_equal(found['relative'], [0.5, np.nan, 0.5])


@pytest.mark.parametrize('size', [1, 3])
@pytest.mark.parametrize('count', [2, 4, 5])
def test_search__no_fold_is_empty_where_groups_are_as_many_as_folds(count, size):
    for seed in range(8):
        rng = np.random.default_rng(seed)
        pixels = rng.integers(0, 4000, (count, 3))
        pixels[rng.random((count, 3)) < 0.4] = 0
        pixels[0, 0] = 900
        there = (pixels > 0).astype(np.int64) * size
        groups = Groups(pixels, there, np.full(count, size))
        folds = search_folds(groups, count, seed=0)
        assert sorted(folds.tolist()) == list(range(count)), seed


def test_search__four_images_are_in_four_folds():
    pixels = np.array([[109, 368, 0], [298, 2400, 0], [413, 0, 2914], [814, 0, 752]])
    folds = search_folds(count_images(pixels), 4, seed=0)
    assert sorted(folds.tolist()) == [0, 1, 2, 3]
