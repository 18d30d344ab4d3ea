"""Intervals for statistics of two samples: groups of patients, the jackknife over them, Wilson's interval.

A percentile bootstrap of a distance between samples covers nothing: drawing with replacement repeats images,
which moves the distance itself. Leaving groups out repeats none.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

GROUPS = 20
LEVEL = 0.95


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval; `low` and `high` are None where there are too few images for one."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class LeftOut:
    """A statistic without each group of one side, `values` (G,), and the groups' `sizes` (G,) in images."""

    values: Floats
    sizes: Ints


@dataclass(frozen=True)
class Jackknifed:
    """A statistic, and its values without each group of each side, the real one first.

    `offset` is what makes a squared distance that may be negative one that has a root (see `root_interval`).
    """

    value: float
    sides: tuple[LeftOut, LeftOut]
    offset: float = 0.0


def assign_groups(patients: Ints, groups: int, rng: np.random.Generator) -> Ints:
    """Deal patients out to groups of nearly equal numbers of images; a patient is never divided.

    Takes patient codes (N,) and gives group labels (N,) from 0 to min(groups, patients) - 1.
    """
    codes, sizes = np.unique(patients, return_counts=True)
    shuffled = rng.permutation(len(codes))
    largest_first = shuffled[np.argsort(-sizes[shuffled], kind="stable")]
    filled = np.zeros(min(groups, len(codes)), np.int64)
    home = np.empty(len(codes), np.int64)
    for patient in largest_first:
        home[patient] = np.argmin(filled)
        filled[home[patient]] += sizes[patient]
    return home[np.searchsorted(codes, patients)]


def jackknife_variance(value: float, left_out: LeftOut) -> float:
    """Variance of a statistic by the delete-m_j jackknife for groups of unequal size.

    Busing, Meijer and van der Leeden, "Delete-m jackknife for unequal m", Statistics and Computing 1999, eq.
    6-8, in their symbols. A bias in 1/n, which a Fréchet distance has, drops out of the pseudo-values
    whatever the sizes.
    """
    h = left_out.sizes.sum() / left_out.sizes
    pseudo = h * value - (h - 1) * left_out.values
    mean = float(np.sum(pseudo / h))
    return float(np.mean((pseudo - mean) ** 2 / (h - 1)))


def _variance_and_t(value: float, sides: Sequence[LeftOut]) -> tuple[float, float]:
    """The summed variance of both sides, and Student's t for the side with fewer groups."""
    from scipy.stats import t

    variance = sum(jackknife_variance(value, side) for side in sides)
    return variance, float(t.ppf((1 + LEVEL) / 2, min(len(side.sizes) for side in sides) - 1))


def jackknife_interval(value: float, sides: Sequence[LeftOut], minimum: float = -np.inf) -> Estimate:
    """A value and its t interval, from the statistic without each group of each side.

    It covers the expectation of the statistic at these numbers of images, not its limit for endless data.
    """
    variance, t = _variance_and_t(value, sides)
    return Estimate(value, max(minimum, value - t * variance**0.5), value + t * variance**0.5)


def root_interval(value: float, sides: Sequence[LeftOut], offset: float = 0.0) -> Estimate:
    """The jackknife interval of a squared distance, made for its root, sqrt(value + offset), and squared.

    A squared distance scatters the more the larger it is, so that an interval made for it directly is too
    narrow just where the value came out too small: it misses one to two times in a hundred more.
    """
    roots = [LeftOut(np.sqrt(np.maximum(0.0, side.values + offset)), side.sizes) for side in sides]
    root = jackknife_interval(max(0.0, value + offset) ** 0.5, roots, minimum=0.0)
    assert root.low is not None and root.high is not None
    return Estimate(value, root.low**2 - offset, root.high**2 - offset)


def paired_difference(one: Jackknifed, other: Jackknifed) -> tuple[Estimate, float]:
    """One less the other, both jackknifed over the same groups of real patients, with its interval and p value.

    What the choice of real patients does to both alike drops out. The p value is of a t test that the expectations
    are equal. Where no group moves either, two shares of 0 or of 1, there is no interval, and p is 1.
    """
    from scipy.stats import t

    value = one.value - other.value
    (shared, own), (other_shared, other_own) = one.sides, other.sides
    sides = [
        LeftOut(shared.values - other_shared.values, shared.sizes),
        LeftOut(own.values - other.value, own.sizes),
        LeftOut(one.value - other_own.values, other_own.sizes),
    ]
    error = sum(jackknife_variance(value, side) for side in sides) ** 0.5
    freedom = min(len(side.sizes) for side in sides) - 1
    if error == 0:
        return Estimate(value), 1.0
    return jackknife_interval(value, sides), 2 * float(t.sf(abs(value) / error, freedom))


def difference(one: Estimate, other: Estimate) -> Estimate:
    """One less the other, of separate patients, its interval from theirs, whatever these are of.

    Zou and Donner, "Construction of confidence limits about effect measures", Statistics in Medicine 2008 (MOVER): for
    two Wilson intervals this is Newcombe's. Where some patients are in both it is, for figures that they move
    alike, a little wide. Without both intervals it has none.
    """
    value = one.value - other.value
    if one.low is None or one.high is None or other.low is None or other.high is None:
        return Estimate(value)
    below = ((one.value - one.low) ** 2 + (other.high - other.value) ** 2) ** 0.5
    above = ((one.high - one.value) ** 2 + (other.value - other.low) ** 2) ** 0.5
    return Estimate(value, value - below, value + above)


def pairs_interval(values: Floats, members: Ints) -> Estimate:
    """The mean of `values` (P,), each of a pair of `members` (P, 2), with its t interval.

    Pairs that share a member go together: the dyadic variance of Fafchamps and Gubert (2007), the sum over members of
    the square of what their pairs add, less what was counted twice. Needs 3 members for an interval.
    """
    from scipy.stats import t

    mean = float(values.mean())
    codes = np.unique(members, return_inverse=True)[1].reshape(members.shape)
    count = int(codes.max()) + 1
    if count < 3:
        return Estimate(mean)
    errors = values - mean
    sums = sum(np.bincount(codes[:, side], weights=errors, minlength=count) for side in (0, 1))
    # A member that is both ends would be counted twice; the second term can be the larger one by chance alone.
    variance = max(float(np.sum(sums**2) - np.sum(errors**2)), float(np.sum(errors**2))) / len(values) ** 2
    reach = float(t.ppf((1 + LEVEL) / 2, count - 1)) * (variance * count / (count - 1)) ** 0.5
    return Estimate(mean, mean - reach, mean + reach)


def share_interval(value: float, sides: Sequence[LeftOut], count: float) -> Estimate:
    """A share with Wilson's interval at the effective number of images.

    That number is the one at which a plain share has the jackknife's variance (as for surveys: Korn and
    Graubard, 1998), at most `count`, the images that the share rests on. So a share of 0 or 1
    keeps an interval.
    """
    from scipy.stats import norm

    variance, t = _variance_and_t(value, sides)
    binomial = value * (1 - value)
    effective = min(float(count), binomial / variance) if variance > 0 and binomial > 0 else float(count)
    effective *= (float(norm.ppf((1 + LEVEL) / 2)) / t) ** 2
    low, high = wilson(value * effective, effective)
    return Estimate(value, low, high)


def wilson(successes: float, count: float) -> tuple[float, float]:
    """Wilson's interval of a share, by statsmodels."""
    from statsmodels.stats.proportion import proportion_confint

    low, high = proportion_confint(successes, count, alpha=1 - LEVEL, method="wilson")
    # at the ends the formula leaves rounding of 1e-16
    return (0.0 if successes <= 0 else float(low)), (1.0 if successes >= count else float(high))


def median_interval(values: Floats) -> Estimate:
    """A median with its interval from order statistics: exact coverage of at least 95 % for any distribution.

    Takes (N,). With fewer than 6 values not even the whole range covers 95 %, and there is no interval.
    """
    from scipy.stats import binom

    ordered = np.sort(values)
    rank = int(binom.ppf((1 - LEVEL) / 2, len(ordered), 0.5))
    if len(ordered) < 6:
        return Estimate(float(np.median(ordered)))
    return Estimate(float(np.median(ordered)), float(ordered[rank - 1]), float(ordered[-rank]))
