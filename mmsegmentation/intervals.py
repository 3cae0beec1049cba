"""95 % confidence intervals for scores and for differences between scores.

An interval covers the score of the population from which the images were drawn at
random, over the classes that occur in this set. The method is a delete-one jackknife:
each image is left out once, and the changes of the score give its standard error. If a
class occurs in one image only, its score without that image counts as 0. So a gain in a
single image proves nothing. No random numbers are used, and the order of the images
does not matter.

The quantile is that of Student's t distribution. The degrees of freedom of a class are
the number of images over which its pixels are spread (Kish's effective sample size)
minus one. Satterthwaite's rule combines the classes. The result is at most the number
of images minus one. The ends are computed on the logit scale, so that they stay in
range and enclose the score. tests/mmsegmentation/coverage_experiment.py measures how
often such intervals cover the true score.
"""

from typing import NamedTuple

import numpy as np

# Probability below the upper end of a two-sided 95 % interval.
UPPER = 0.975
# Each image's deviation is divided by a power of the share of the class that remains
# without the image. With power 1 it is the jackknife's change of the score. Its square
# is too large on average, and this compensates for the bias of a score: rare classes
# score too low. In a difference the biases cancel, so power 0.5 is used, which is
# unbiased. In regression these are HC3 and HC2 (Bell and McCaffrey 2002).
SCORE_POWER, GAIN_POWER = 1.0, 0.5


class Ratios(NamedTuple):
    """Ratios of sums over images, such as the IoU of each class.

    Attributes:
        parts: Numerators, (images, ratios) float64.
        wholes: Denominators, (images, ratios) float64. A ratio is unknown if its
            denominators sum to 0.
    """

    parts: np.ndarray
    wholes: np.ndarray

    def only(self, number: int) -> 'Ratios':
        """Return the ratio with this index, as (images, 1)."""
        return Ratios(*(values[:, [number]] for values in self))


class Estimate(NamedTuple):
    """A score or a difference with its interval.

    Attributes:
        value: A score in [0, 1], or a difference in [-1, 1].
        interval: Lower and upper end in the same range. If no class occurs in two
            images, the interval is the whole range.
        above: Confidence in [0, 1] that the population's value is above 0.
        below: Confidence in [0, 1] that the population's value is below 0.
    """

    value: float
    interval: tuple[float, float]
    above: float
    below: float


def estimate_mean(ratios: Ratios) -> Estimate:
    """Return the mean of the known ratios with its interval; nan if none is known.

    >>> ratios = Ratios(np.array([[3.0], [1], [2]]), np.array([[4.0], [4], [4]]))
    >>> mean, (low, high), *_ = estimate_mean(ratios)
    >>> mean, round(low, 3), round(high, 3)
    (0.5, 0.046, 0.954)
    """
    spread = _spread(ratios, SCORE_POWER)
    return _estimate(
        spread.mean, spread.deviations, ratios.wholes, spread.judged, least=0
    )


def estimate_gain(one: Ratios, two: Ratios) -> Estimate:
    """Return the mean of ``two`` minus the mean of ``one``, with its interval.

    The difference is paired: both hold the same images in the same order.
    """
    first, second = _spread(one, GAIN_POWER), _spread(two, GAIN_POWER)
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
    """Return the mean ratio and each image's deviation by ratio, (images, ratios).

    ``judged`` is true if the pixels of any ratio lie in at least two images.
    """
    whole = _total(ratios.wholes)
    known = whole > 0
    whole = np.where(known, whole, 1)
    value = _total(ratios.parts) / whole
    rest = (whole - ratios.wholes) / whole
    moved = (ratios.parts - value * ratios.wholes) / whole
    # A ratio without its only image counts as 0, so the deviation is its whole value.
    single = np.broadcast_to(value, rest.shape).copy()
    moved = np.divide(moved, rest**power, out=single, where=rest > 0)
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
    from scipy.special import stdtr, stdtrit

    error = float(np.sqrt(_total(deviations.sum(1) ** 2)))
    if not judged or not error:
        range_ = (value, value) if judged else (float(least), 1.0)
        return Estimate(value, range_, float(value > 0), float(value < 0))
    freedom = _freedom(deviations, wholes)
    low, high = _ends(value, stdtrit(freedom, UPPER) * error, least)
    above = float(stdtr(freedom, value / error))
    return Estimate(value, (low, high), above, 1 - above)


def _ends(value: float, reach: float, least: int) -> tuple[float, float]:
    """Return the ends of an interval around ``value``, between ``least`` and 1.

    Args:
        reach: Half the width on the scale of the value.
    """
    from scipy.special import expit, logit

    span = 1 - least
    place = (value - least) / span
    if place in (0, 1):  # without a logit, such as a perfect score
        return max(value - reach, float(least)), min(value + reach, 1.0)
    centre, reach = logit(place), reach / (span * place * (1 - place))
    ends = least + span * expit(np.array([centre - reach, centre + reach]))
    return float(min(ends[0], value)), float(max(ends[1], value))


def _freedom(deviations: np.ndarray, wholes: np.ndarray) -> float:
    """Return the degrees of freedom of a sum of ratios, by Satterthwaite's rule."""
    variance = _total(deviations**2)
    known = variance > 0
    shares = wholes[:, known] / _total(wholes[:, known])
    freedom = np.maximum(1 / _total(shares**2) - 1, 1)
    variance = variance[known]
    joined = float(variance.sum() ** 2 / (variance**2 / freedom).sum())
    # Classes of one image are correlated, so that many classes in few images do not
    # give more degrees of freedom than the images do.
    images = np.count_nonzero(wholes.any(1))
    return min(joined, images - 1)


def _total(values: np.ndarray) -> np.ndarray:
    """Return the sum over images; the order of the images does not change a bit."""
    return np.sort(values, axis=0).sum(0)
