"""Several readers, several images, both a sample of more: a mean over readers and images with an honest interval.

N. A. Obuchowski, H. E. Rockette, "Hypothesis testing of diagnostic accuracy for multiple readers and multiple tests",
Communications in Statistics – Simulation 24 (1995) 285–308, with the degrees of freedom of S. L. Hillis, "A comparison
of denominator degrees of freedom methods for multiple observer ROC analysis", Statistics in Medicine 26 (2007) 596–619;
one reading alone as in S. L. Hillis, "A marginal-mean ANOVA approach for analyzing multireader multicase radiological
imaging data", Statistics in Medicine 33 (2014) 330–360.
B. D. Gallas, "One-shot estimate of MRMC variance: AUC", Academic Radiology 13 (2006) 353–362, and B. D. Gallas,
G. A. Pennello, K. J. Myers, "Multireader multicase variance analysis for binary data", JOSA A 24 (2007) B70–B80.

Every array may have leading axes, so that a thousand simulated studies are one call.
"""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from synthcxr.study.statistics.proportion import effective_wilson
from synthcxr.study.statistics.roc import freedom as freedom_of_sum
from synthcxr.study.statistics.roc import logit_interval, place

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Pooled:
    """A mean over readers (...,): its variance, of which `readers` comes from readers and their own errors, and the
    rest, `cases`, from images that are easy or hard for all; its degrees of freedom."""

    value: Floats
    variance: Floats
    readers: Floats
    cases: Floats
    freedom: Floats

    def quantile(self, alpha: float = 0.05) -> Floats:
        """The quantile of t for a two-sided 1 - `alpha` interval."""
        from scipy.stats import t

        return np.asarray(t.ppf(1 - alpha / 2, self.freedom), np.float64)

    def interval(self, alpha: float = 0.05) -> tuple[Floats, Floats]:
        """value ± t·error, as published; for shares and areas see `share_interval`."""
        half = self.quantile(alpha) * np.sqrt(self.variance)
        return self.value - half, self.value + half


def pool(values: npt.ArrayLike, covariance: npt.ArrayLike, case_freedom: npt.ArrayLike = np.inf) -> Pooled:
    """Obuchowski and Rockette's mean over R readers, from their `values` (..., R) and error `covariance` (..., R, R).

    Variance MS(R)/R + max(Cov2, 0), degrees of freedom (MS(R) + R max(Cov2, 0))² (R - 1)/MS(R)². The same function
    compares two groups of images or two modalities: give it the readers' differences and their covariance. Two readers
    are the fewest.

    Two things differ from the papers, for intervals that hold with few readers and near 0 and 1. MS(R) is not let below
    Var(Error) - Cov2, so that the variance between readers is 0 or more. And what comes from images, Cov2 and what that
    floor adds, may have degrees of freedom of its own (`case_freedom`); the readers' R - 1 are those of MS(R) alone.
    """
    values, covariance = np.asarray(values, np.float64), np.asarray(covariance, np.float64)
    readers = values.shape[-1]
    error = np.trace(covariance, axis1=-2, axis2=-1)
    cases = np.maximum((covariance.sum(axis=(-2, -1)) - error) / (readers * (readers - 1)), 0.0)
    seen = values.var(axis=-1, ddof=1) / readers
    own = np.maximum(seen, (error / readers - cases) / readers)
    variance = own + cases
    bottom = seen**2 / (readers - 1) + (variance - seen) ** 2 / np.asarray(case_freedom, np.float64)
    degrees = np.divide(variance**2, bottom, out=np.full(variance.shape, np.inf), where=bottom > 1e-24 * variance**2)
    return Pooled(values.mean(axis=-1), variance, own, cases, np.maximum(degrees, 1.0))


def share_interval(pooled: Pooled, images: int, alpha: float = 0.05) -> tuple[Floats, Floats]:
    """The 1 - `alpha` interval of a share over `images`: Wilson's with the effective number and t's quantile."""
    return effective_wilson(pooled.value, pooled.variance, pooled.quantile(alpha), images)


def area_interval(pooled: Pooled, images: tuple[int, int], alpha: float = 0.05) -> tuple[Floats, Floats]:
    """The 1 - `alpha` interval of a mean area over so many positive and negative `images`, on the logit's scale."""
    return logit_interval(pooled.value, pooled.variance, pooled.quantile(alpha), images)


def covariance_of_means(scores: npt.ArrayLike) -> Floats:
    """Covariance (..., R, R) of R readers' mean scores over images drawn at random; scores (..., R, C), NaN if missing.

    Two readers covary through the images that both have; fewer than two such images give 0, on the diagonal NaN.
    """
    scores = np.asarray(scores, np.float64)
    there = ~np.isnan(scores)
    filled = np.where(there, scores, 0.0)
    count = there.sum(axis=-1, keepdims=True).astype(np.float64)
    centred = np.where(there, filled - filled.sum(axis=-1, keepdims=True) / np.maximum(count, 1), 0.0)
    mask = there.astype(np.float64)
    common = mask @ np.swapaxes(mask, -1, -2)
    products = centred @ np.swapaxes(centred, -1, -2)
    result = products / np.maximum(common - 1, 1) * common / np.maximum(count * np.swapaxes(count, -1, -2), 1)
    alone = np.eye(scores.shape[-2], dtype=bool) & (common < 2)
    return np.where(alone, np.nan, np.where(common < 2, 0.0, result))


def means(strata: list[Floats]) -> tuple[Floats, Floats]:
    """Readers' means (..., R) and their covariance (..., R, R), of scores whose images come in fixed strata.

    `strata` holds scores (..., R, C) each, NaN where a reader did not answer; a stratum (real, synthetic) weighs by its
    C images.
    """
    total = sum(scores.shape[-1] for scores in strata)
    values, covariance = np.zeros(()), np.zeros(())
    for scores in strata:
        weight = scores.shape[-1] / total
        count = np.maximum(np.sum(~np.isnan(scores), axis=-1), 1)
        values = values + weight * np.nansum(scores, axis=-1) / count
        covariance = covariance + weight**2 * covariance_of_means(scores)
    return values, covariance


def pool_means(strata: list[Floats]) -> Pooled:
    """The mean over readers of scores (..., R, C) in fixed strata, as `means` takes them."""
    return pool(*means(strata))


def compare_means(some: list[Floats], others: list[Floats]) -> Pooled:
    """The mean over the same readers of the difference between two groups of images, each in strata."""
    (ours, our_covariance), (theirs, their_covariance) = means(some), means(others)
    return pool(ours - theirs, our_covariance + their_covariance)


def pool_areas(positive: npt.ArrayLike, negative: npt.ArrayLike) -> Pooled:
    """The mean area under the ROC curve of readers' scores (..., R, M) and (..., R, N), with DeLong's covariances."""
    places = place(positive, negative)
    covariance = covariance_of_means(places.positive) + covariance_of_means(places.negative)
    case_freedom = freedom_of_sum(*(average(values) for values in (places.positive, places.negative)))
    return pool(places.area, covariance, case_freedom)


def average(scores: Floats) -> Floats:
    """The mean over the readers of each image (..., R, C) to (..., C); NaN where nobody answered."""
    count = np.sum(~np.isnan(scores), axis=-2)
    return np.where(count > 0, np.nansum(scores, axis=-2) / np.maximum(count, 1), np.nan)


# --- Gallas's U-statistics ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class OneShot:
    """A mean with the U-statistic estimate of its variance, and the moments that it is made of.

    `moments` holds, by which random effects two scores share (indices of the axes), the mean of their product;
    `coefficients` how often such pairs come among all.
    """

    value: Floats
    variance: Floats
    moments: dict[tuple[int, ...], Floats]
    coefficients: dict[tuple[int, ...], Floats]


def one_shot(scores: npt.ArrayLike, effects: int) -> OneShot:
    """The mean of scores over `effects` last axes, each a random effect, and its unbiased variance (it can be below 0).

    Two axes (reader, image) are the moments of Gallas, Pennello and Myers for binary answers; three (reader, positive,
    negative image) with the success 1, ½ or 0 of each pair of images are the eight of the one-shot estimate for the
    area. NaN is a score that is missing.
    """
    scores = np.asarray(scores, np.float64)
    there = (~np.isnan(scores)).astype(np.float64)
    filled = np.where(np.isnan(scores), 0.0, scores)
    everything = tuple(range(effects))
    subsets = [kept for size in range(effects + 1) for kept in combinations(everything, size)]

    def sums(values: Floats) -> dict[tuple[int, ...], Floats]:
        """By shared effects: the sum of products over pairs that share exactly these (Möbius inversion)."""
        squares = {}
        for kept in subsets:
            gone = tuple(axis - effects for axis in everything if axis not in kept)
            left = values.sum(axis=gone) if gone else values
            rest = tuple(range(-len(kept), 0))
            squares[kept] = (left**2).sum(axis=rest) if rest else left**2
        exact: dict[tuple[int, ...], Floats] = {}
        for kept in reversed(subsets):
            exact[kept] = squares[kept] - sum(exact[more] for more in exact if set(kept) < set(more))
        return exact

    products, pairs = sums(filled), sums(there)
    count = there.sum(axis=tuple(range(-effects, 0)))
    moments = {k: np.divide(products[k], pairs[k], out=np.zeros_like(count), where=pairs[k] > 0.5) for k in subsets}
    coefficients = {k: pairs[k] / count**2 for k in subsets}
    squared_mean = moments[()]
    variance = sum(coefficients[k] * moments[k] for k in subsets) - squared_mean
    value = filled.sum(axis=tuple(range(-effects, 0))) / count
    return OneShot(value, np.asarray(variance), moments, coefficients)


def success(positive: npt.ArrayLike, negative: npt.ArrayLike) -> Floats:
    """What each pair of images adds to the area: 1, ½ or 0 (..., R, M, N), from scores (..., R, M) and (..., R, N)."""
    difference = np.asarray(positive, np.float64)[..., :, None] - np.asarray(negative, np.float64)[..., None, :]
    return (np.sign(difference) + 1) / 2
