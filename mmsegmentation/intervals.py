"""95 % intervals of scores and of their differences, over images.

An interval speaks of the population that the images were drawn from at random: of the
score that a set without end would have, over the classes that occur in this set. It is
a delete-one jackknife: the score changes a little with each image left out, and these
changes give its standard error. No class is ever lost: without the one image that is
all of it, a class counts as 0. So a gain in one image alone proves nothing. Nothing is
drawn at random, and the order of the images does not matter.

The quantile is that of Student's t. A class counts with the number of images that its
pixels are spread over (Kish's effective size) less one as degrees of freedom;
Satterthwaite's rule joins the classes, to no more than all images less one. The ends
are found on the logit scale, so they stay in range and around the score. How often such
intervals cover is measured by tests/mmsegmentation/coverage_experiment.py.
"""

from typing import NamedTuple

import numpy as np

UPPER = 0.975
# How much the deviation of an image grows with its share of a class: by 1 it is the
# change of the score without it. Its square is too large on average, which pays for the
# bias of a score: rare classes score too low. Biases cancel in a difference, for which
# the unbiased half serves (HC3 and HC2 of regression, Bell and McCaffrey 2002).
OF_SCORE, OF_GAIN = 1.0, 0.5


class Ratios(NamedTuple):
    """Ratios of sums over images, such as the IoU of each class.

    Attributes:
        parts: Numerators, (images, ratios) float64.
        wholes: Denominators, likewise. A ratio without any is unknown.
    """

    parts: np.ndarray
    wholes: np.ndarray

    def only(self, number: int) -> 'Ratios':
        """Return one ratio alone."""
        return Ratios(*(values[:, [number]] for values in self))


class Estimate(NamedTuple):
    """A score or a difference with its interval.

    Attributes:
        value: In [0, 1], a difference in [-1, 1].
        interval: Lower and upper end in the same range. The whole range where no class
            is in two images: one image says nothing about others.
        above: Confidence in [0, 1] that the population's value is above 0.
        below: Likewise below 0.
    """

    value: float
    interval: tuple[float, float]
    above: float
    below: float


def estimate_mean(ratios: Ratios) -> Estimate:
    """Return the mean of the known ratios and its interval.

    >>> ratios = Ratios(np.array([[3.0], [1], [2]]), np.array([[4.0], [4], [4]]))
    >>> mean, (low, high), *_ = estimate_mean(ratios)
    >>> mean, round(low, 3), round(high, 3)
    (0.5, 0.046, 0.954)
    """
    spread = _spread(ratios, OF_SCORE)
    return _estimate(
        spread.mean, spread.deviations, ratios.wholes, spread.judged, least=0
    )


def estimate_gain(one: Ratios, two: Ratios) -> Estimate:
    """Return how much higher the mean of ``two`` is than that of ``one``.

    Both are of the same images in the same order: the difference is paired.
    """
    first, second = _spread(one, OF_GAIN), _spread(two, OF_GAIN)
    return _estimate(
        second.mean - first.mean,
        second.deviations - first.deviations,
        one.wholes + two.wholes,
        first.judged or second.judged,
        least=-1,
    )


class _Spread(NamedTuple):
    mean: float
    deviations: np.ndarray
    judged: bool


def _spread(ratios: Ratios, power: float) -> _Spread:
    """Return the mean ratio, and by how much each image moves it through each ratio.

    ``judged`` is whether any ratio has its pixels in two images.
    """
    whole = _total(ratios.wholes)
    known = whole > 0
    whole = np.where(known, whole, 1)
    value = _total(ratios.parts) / whole
    rest = (whole - ratios.wholes) / whole
    moved = (ratios.parts - value * ratios.wholes) / whole
    # Without the image that is all of it, a ratio counts as 0.
    all_of_it = np.broadcast_to(value, rest.shape).copy()
    moved = np.divide(moved, rest**power, out=all_of_it, where=rest > 0)
    count = max(int(known.sum()), 1)
    mean = float(value.sum() / count) if known.any() else np.nan
    judged = bool(((ratios.wholes > 0) & (rest > 0)).any())
    return _Spread(mean, moved / count, judged)


def _estimate(
    value: float,
    deviations: np.ndarray,
    wholes: np.ndarray,
    judged: bool,
    *,
    least: int,
) -> Estimate:
    from scipy.special import expit, stdtr, stdtrit

    error = float(np.sqrt(_total(deviations.sum(1) ** 2)))
    if not judged or not error:
        range_ = (value, value) if judged else (float(least), 1.0)
        return Estimate(value, range_, float(value > 0), float(value < 0))
    freedom = _freedom(deviations, wholes)
    # Its logit is that of its place in the range from ``least`` to 1.
    span = 1 - least
    place = (value - least) / span
    centre = np.log(place / (1 - place))
    reach = stdtrit(freedom, UPPER) * error / (span * place * (1 - place))
    ends = least + span * expit([centre - reach, centre + reach])
    low, high = float(min(ends[0], value)), float(max(ends[1], value))
    above = float(stdtr(freedom, value / error))
    return Estimate(value, (low, high), above, 1 - above)


def _freedom(deviations: np.ndarray, wholes: np.ndarray) -> float:
    """Return the degrees of freedom of the sum of some ratios' deviations."""
    variance = _total(deviations**2)
    known = variance > 0
    shares = wholes[:, known] / _total(wholes[:, known])
    freedom = np.maximum(1 / _total(shares**2) - 1, 1)
    variance = variance[known]
    joined = float(variance.sum() ** 2 / (variance**2 / freedom).sum())
    # Classes are right or wrong together: many of them in few images are no more.
    images = np.count_nonzero(wholes.any(1))
    return min(joined, images - 1)


def _total(values: np.ndarray) -> np.ndarray:
    """Return the sum over images, the same bit by bit in any order of them."""
    return np.sort(values, axis=0).sum(0)
