"""Measure the coverage of 95 % intervals on drawn sets with common and rare classes.

    python tests/mmsegmentation/coverage_experiment.py --sets 2000

The population of each set is known. A set holds images with the correct and wrong
pixels of two models. An image holds each class with a certain probability. The IoU of
the class there depends on the image, on the object and on the model, so that it ranges
from 0 to 1. Missed pixels become background or another class. Background becomes
objects near true ones, and sometimes in images without the class.

An interval covers if it contains the score of the whole population, averaged over the
classes that the set's own score averages. For comparison, percentile intervals are
measured too: of images drawn with replacement, and of weights from a Dirichlet
distribution (the Bayesian bootstrap). The program prints a Markdown table with the
coverage in percent and the mean width in points. It takes six minutes on one core.
"""

import argparse
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mmsegmentation.command import Parser, run_command
from mmsegmentation.intervals import estimate_gain, estimate_mean
from mmsegmentation.scores import (
    image_ratios,
    iou_of_areas,
    mean_known,
    pooled_ratios,
)

READINGS = ('mIoU', 'gain in mIoU', 'mIoU over images', 'gain over images')
METHODS = ('jackknife', 'drawn images', 'Dirichlet')
PIXELS = 256 * 256
ROUNDS = 500
CHUNK = 10_000


class Case(NamedTuple):
    """A kind of set.

    Attributes:
        images: Number of images of a set.
        held: Mean number of images that hold each class, without the background.
    """

    images: int
    held: Sequence[float]


CASES = {
    'common 80': Case(80, (40, 40, 30, 30, 25, 25, 20, 20, 20, 20)),
    'common 300': Case(300, (150,) * 4 + (100,) * 6),
    'five classes 40': Case(40, (20, 16, 12, 8)),
    'two classes 30': Case(30, (12,)),
    'rare 80': Case(80, (40, 40, 25, 20, 15, 10, 5, 4, 3, 2.5)),
    'rare 600': Case(600, (300, 300, 200, 150, 100, 60, 20, 10, 6, 4)),
    'rarer 60': Case(60, (30, 20, 10, 6, 3, 1.5, 1.5, 1, 1, 1)),
    'three 3': Case(3, (3,) * 10),
    'small 20': Case(20, (8, 8, 6, 5, 4, 3, 2, 2, 1, 1)),
    '61 classes 150': Case(150, tuple(np.maximum(0.7, 75 * 0.92 ** np.arange(60)))),
}


def draw_areas(case: Case, images: int, rng: np.random.Generator) -> np.ndarray:
    """Return correct pixels and union of two models on the same images.

    Returns:
        Counts, (2 models, images, 2, classes) float64.
    """
    chance = np.array(case.held) / case.images
    size = images, len(chance)
    held = rng.random(size) < chance
    objects = np.where(held, np.exp(rng.normal(np.log(0.06), 1, size)), 0)
    objects /= np.maximum(objects.sum(1, keepdims=True) / 0.9, 1)
    # The difficulty of a class does not depend on its frequency.
    ease = np.linspace(1.8, -0.6, size[1])[np.arange(size[1]) * 7 % size[1]]
    ease = ease + 0.8 * rng.normal(size=(images, 1)) + 1.4 * rng.normal(size=size)
    return np.stack([predict(objects, chance, ease, better, rng) for better in (0, 1)])


def predict(
    objects: np.ndarray,
    chance: np.ndarray,
    ease: np.ndarray,
    better: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Return correct pixels and union of one model, (images, 2, 1 + classes).

    Args:
        objects: Share of each image's pixels that a class has, (images, classes).
    """
    images, count = size = objects.shape
    ease = ease + 0.15 * better + 0.7 * rng.normal(size=size)
    right = objects / (1 + np.exp(-ease))
    # With two classes, the only other class is the background.
    mixed_up = (rng.random(size) < 0.35) & (count > 1)
    confused = np.where(mixed_up, objects - right, 0)
    steps = rng.integers(1, max(count, 2), size)
    taken_for = (np.arange(count) + steps) % count
    nobody = rng.random(size) < 0.08 * chance
    wrong = objects * np.exp(rng.normal(-2, 0.7, size))
    wrong += nobody * np.exp(rng.normal(np.log(0.02), 1, size))
    ground = 1 - objects.sum(1)
    wrong *= np.minimum(1, 0.5 * ground / np.maximum(wrong.sum(1), 1e-9))[:, None]
    predicted = right + wrong
    rows = np.repeat(np.arange(images), count)
    np.add.at(predicted, (rows, taken_for.ravel()), confused.ravel())
    ground_right = ground - wrong.sum(1)
    hits = np.column_stack([ground_right, right])
    union = np.column_stack(
        [1 - right.sum(1) - confused.sum(1), objects + predicted - right]
    )
    return np.rint(PIXELS * np.stack([hits, np.maximum(union, hits)], 1))


class Population(NamedTuple):
    """Scores of the population: IoU, (2, classes), and mIoU over images, (2,)."""

    iou: np.ndarray
    image: np.ndarray

    def values(self, areas: np.ndarray) -> list[float]:
        """Return the value of each of ``READINGS``, over the classes of a set."""
        held = areas[:, :, 1].sum(1) > 0
        one, two = (self.iou[i, held[i]].mean() for i in (0, 1))
        return [one, two - one, self.image[0], self.image[1] - self.image[0]]


def measure_population(case: Case, images: int = 400_000) -> Population:
    """Return the population of a case, by as many images."""
    rng = np.random.default_rng(10_000)
    total, scores = 0, []
    for _ in range(images // CHUNK):
        areas = draw_areas(case, CHUNK, rng)
        total = total + areas.sum(1)
        scores.append(mean_known(iou_of_areas(areas)).mean(1))
    return Population(iou_of_areas(np.asarray(total)), np.mean(scores, axis=0))


def jackknife(areas: np.ndarray) -> list[tuple[float, float]]:
    """Return the project's interval of each of ``READINGS``."""
    ends = []
    for ratios in (pooled_ratios, image_ratios):
        one, two = (ratios(each) for each in areas)
        ends += [estimate_mean(one).interval, estimate_gain(one, two).interval]
    return ends


def percentiles(areas: np.ndarray, weights: np.ndarray) -> list[tuple[float, float]]:
    """Return the interval of each of ``READINGS`` by weights, (rounds, images)."""
    readings = []
    for each in areas:
        pooled = weights @ each.reshape(len(each), -1)
        pooled_iou = iou_of_areas(pooled.reshape(len(weights), 2, -1))
        by_image = weights @ mean_known(iou_of_areas(each)) / len(each)
        readings.append((mean_known(pooled_iou), by_image))
    (one, one_image), (two, two_image) = readings
    values = [one, two - one, one_image, two_image - one_image]
    return [tuple(np.quantile(v, [0.025, 0.975])) for v in values]


def cover(
    case: Case, population: Population, sets: int, seed: int = 0, *, peers: bool = True
) -> np.ndarray:
    """Return coverage in [0, 1] and mean width, (methods, readings, 2).

    Args:
        peers: Measure the percentile intervals too; else the project's alone.
    """
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(sets):
        areas = draw_areas(case, case.images, rng)
        ends = [jackknife(areas)]
        if peers:
            n = case.images
            drawn = rng.multinomial(n, np.full(n, 1 / n), ROUNDS)
            spread = n * rng.dirichlet(np.ones(n), ROUNDS)
            ends += [percentiles(areas, drawn), percentiles(areas, spread)]
        low, high = np.moveaxis(np.array(ends), 2, 0)
        truth = np.array(population.values(areas))
        found.append(np.stack([(low <= truth) & (truth <= high), high - low], 2))
    return np.mean(found, axis=0)


def main(argv: Sequence[str] | None = None) -> int:
    args = parse_args(argv)
    print('| set | value | ' + ' | '.join(METHODS) + ' |')
    print('| --- ' * (2 + len(METHODS)) + '|')
    for name in args.cases:
        case = CASES[name]
        found = cover(case, measure_population(case), args.sets)
        for reading, row in zip(READINGS, np.moveaxis(found, 1, 0), strict=True):
            cells = (f'{100 * c:.1f} ({100 * w:.1f})' for c, w in row)
            print(f'| {name} | {reading} | ' + ' | '.join(cells) + ' |', flush=True)
    return 0


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(description='Measure the coverage of 95 % intervals.')
    parser.add_argument('--sets', type=int, default=2000, help='drawn for each case')
    parser.add_argument(
        '--cases',
        nargs='+',
        choices=CASES,
        default=[*CASES],
        help='which; all if not given',
    )
    return parser.parse_args(argv)


if __name__ == '__main__':
    run_command(main)
