"""The area under the ROC curve and its covariances between readers.

E. R. DeLong, D. M. DeLong, D. L. Clarke-Pearson, "Comparing the areas under two or more correlated receiver operating
characteristic curves", Biometrics 44 (1988) 837–845; by ranks as in X. Sun, W. Xu, "Fast implementation of DeLong's
algorithm", IEEE Signal Processing Letters 21 (2014) 1389–1393. The interval is taken on the scale of the logit:
M. S. Pepe, The statistical evaluation of medical tests (2003), section 5.2.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Placements:
    """Areas (...,) and what each image adds to them: `positive` (..., M) and `negative` (..., N), both of mean area."""

    area: Floats
    positive: Floats
    negative: Floats


def place(positive: npt.ArrayLike, negative: npt.ArrayLike) -> Placements:
    """Areas from scores (..., M) of positive and (..., N) of negative images; ties count half.

    NaN is an image without a score: its placement is NaN, and no other image is held against it.
    """
    from scipy.stats import rankdata

    positive, negative = np.asarray(positive, np.float64), np.asarray(negative, np.float64)

    def ranks(scores: Floats) -> Floats:  # NaN goes to the end and so changes no other rank
        return np.asarray(rankdata(np.where(np.isnan(scores), np.inf, scores), axis=-1))

    m = np.sum(~np.isnan(positive), axis=-1, keepdims=True)
    n = np.sum(~np.isnan(negative), axis=-1, keepdims=True)
    together = ranks(np.concatenate([positive, negative], axis=-1))
    split = positive.shape[-1]
    with np.errstate(invalid="ignore", divide="ignore"):
        v10 = (together[..., :split] - ranks(positive)) / n
        v01 = 1 - (together[..., split:] - ranks(negative)) / m
    v10, v01 = np.where(np.isnan(positive), np.nan, v10), np.where(np.isnan(negative), np.nan, v01)
    area = np.nansum(v10, axis=-1) / np.maximum(m[..., 0], 1)
    return Placements(np.where((m[..., 0] > 0) & (n[..., 0] > 0), area, np.nan), v10, v01)


def variance(places: Placements) -> Floats:
    """DeLong's variance of each area (...,); NaN below two images of a kind."""
    return spread(places.positive)[0] + spread(places.negative)[0]


def spread(values: Floats) -> tuple[Floats, Floats]:
    """Variance of the mean over images (..., M) and its degrees of freedom 2M/(kurtosis - 1), M for the normal.

    Near the end of the scale a few hard images carry all of the variance, which is then known badly: the kurtosis says
    so. (F. E. Satterthwaite, Biometrics Bulletin 2 (1946) 110–114, with the variance of a sample variance.)
    """
    count = np.sum(~np.isnan(values), axis=-1)
    deviation = values - np.nansum(values, axis=-1, keepdims=True) / np.maximum(count, 1)[..., None]
    second, fourth = (np.nansum(deviation**power, axis=-1) / np.maximum(count, 1) for power in (2, 4))
    kurtosis = np.divide(fourth, second**2, out=np.full(second.shape, 3.0), where=second > 0)
    freedom = 2 * count / np.maximum(kurtosis - 1, 2 / np.maximum(count, 1))
    return np.where(count > 1, second / np.maximum(count - 1, 1), np.nan), freedom


def freedom(positive: Floats, negative: Floats) -> Floats:
    """Satterthwaite's degrees of freedom of both kinds' variances together, from what images add (..., M), (..., N)."""
    (one, its), (other, others) = spread(positive), spread(negative)
    bottom = one**2 / its + other**2 / others
    full = np.full(one.shape, np.inf)
    return np.asarray(np.divide((one + other) ** 2, bottom, out=full, where=bottom > 0))


def interval(places: Placements, alpha: float = 0.05) -> tuple[Floats, Floats]:
    """The 1 - `alpha` interval of each area, on the logit's scale."""
    from scipy.stats import t

    quantile = t.ppf(1 - alpha / 2, np.maximum(1.0, freedom(places.positive, places.negative)))
    sizes = places.positive.shape[-1], places.negative.shape[-1]
    return logit_interval(places.area, variance(places), quantile, sizes)


def logit_interval(
    area: npt.ArrayLike, variance: npt.ArrayLike, quantile: npt.ArrayLike, images: tuple[int, int]
) -> tuple[Floats, Floats]:
    """The interval of an area on the logit's scale, at a `quantile` of the normal or of t.

    An area of 0 or 1 shows no variance. Its interval is R. G. Newcombe's, Statistics in Medicine 25 (2006) 559–573,
    method 5, for so many positive and negative `images`, at the normal's quantile for 95 %.
    """
    area, variance, quantile = (np.asarray(x, np.float64) for x in (area, variance, quantile))
    inside = (area > 0) & (area < 1)
    safe = np.where(inside, area, 0.5)
    logit = np.log(safe / (1 - safe))
    half = quantile * np.sqrt(variance) / (safe * (1 - safe))
    bound = perfect_bound(*images)
    low = np.where(inside, 1 / (1 + np.exp(half - logit)), np.where(area == 1, bound, np.where(area == 0, 0.0, np.nan)))
    high = np.where(
        inside, 1 / (1 + np.exp(-half - logit)), np.where(area == 1, 1.0, np.where(area == 0, 1 - bound, np.nan))
    )
    return low, high


def perfect_bound(positive: int, negative: int) -> float:
    """The lowest area whose 95 % score interval still reaches 1 (Newcombe 2006, method 5)."""
    from scipy.optimize import brentq

    more = (positive + negative) / 2 - 1

    def distance(area: float) -> float:
        shape = 1 + more * ((1 - area) / (2 - area) + area / (1 + area))
        return (1 - area) - 1.959964 * float(np.sqrt(area * (1 - area) * shape / (positive * negative)))

    return float(brentq(distance, 0.0, 1 - 1e-9))
