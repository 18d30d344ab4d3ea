"""Do readers agree, with each other and with themselves?

Kappa: J. Cohen, Educational and Psychological Measurement 20 (1960) 37–46, its error of J. L. Fleiss, J. Cohen,
B. S. Everitt, Psychological Bulletin 72 (1969) 323–327. Among several readers: J. L. Fleiss, Psychological Bulletin 76
(1971) 378–382. Intraclass correlation: P. E. Shrout, J. L. Fleiss, Psychological Bulletin 86 (1979) 420–428;
K. O. McGraw, S. P. Wong, Psychological Methods 1 (1996) 30–46.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Agreement:
    """An agreement with its interval over `n` images; None where it is not defined."""

    n: int
    value: float | None = None
    low: float | None = None
    high: float | None = None


def kappa(first: npt.ArrayLike, second: npt.ArrayLike, alpha: float = 0.05) -> Agreement:
    """Cohen's kappa of two readings (N,) of the same images; undefined where both know only one answer."""
    from scipy.stats import norm
    from statsmodels.stats.inter_rater import cohens_kappa

    first, second = np.asarray(first), np.asarray(second)
    labels, codes = np.unique(np.concatenate([first, second]), return_inverse=True)
    if len(labels) < 2:
        return Agreement(len(first))
    table = np.zeros((len(labels), len(labels)))
    np.add.at(table, (codes[: len(first)], codes[len(first) :]), 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        found = cohens_kappa(table)
    if not np.isfinite(found.std_kappa):
        return Agreement(len(first), float(found.kappa))
    value, half = float(found.kappa), float(norm.ppf(1 - alpha / 2) * found.std_kappa)
    return Agreement(len(first), value, max(-1.0, value - half), min(1.0, value + half))


def fleiss(answers: npt.ArrayLike, alpha: float = 0.05) -> Agreement:
    """Fleiss's kappa of answers (N, R) without gaps; the interval is a jackknife over images."""
    from scipy.stats import t
    from statsmodels.stats.inter_rater import aggregate_raters, fleiss_kappa

    table, labels = aggregate_raters(np.asarray(answers))
    images = len(table)
    if len(labels) < 2:
        return Agreement(images)
    value = float(fleiss_kappa(table))
    total, readers = table.sum(axis=0), table[0].sum()
    alike = ((table**2).sum(axis=1) - readers) / (readers * (readers - 1))
    observed = (alike.sum() - alike) / max(images - 1, 1)
    expected = (((total - table) / (readers * max(images - 1, 1))) ** 2).sum(axis=1)
    if images < 3 or np.any(expected > 1 - 1e-12):
        return Agreement(images, value)
    pseudo = images * value - (images - 1) * (observed - expected) / (1 - expected)
    half = float(t.ppf(1 - alpha / 2, images - 1) * pseudo.std(ddof=1) / np.sqrt(images))
    return Agreement(images, value, value - half, min(1.0, value + half))


def intraclass(ratings: npt.ArrayLike, alpha: float = 0.05) -> tuple[Agreement, Agreement]:
    """ICC(2,1), agreement of random readers, and ICC(3,1), consistency of these; ratings (N, R) without gaps."""
    from scipy.stats import f

    ratings = np.asarray(ratings, np.float64)
    n, k = ratings.shape
    if n < 2 or k < 2 or np.ptp(ratings) == 0:
        return Agreement(n), Agreement(n)
    mean = ratings.mean()
    rows, columns = ratings.mean(axis=1), ratings.mean(axis=0)
    between = k * ((rows - mean) ** 2).sum() / (n - 1)
    readers = n * ((columns - mean) ** 2).sum() / (k - 1)
    error = ((ratings - rows[:, None] - columns + mean) ** 2).sum() / ((n - 1) * (k - 1))
    agreement = (between - error) / (between + (k - 1) * error + k * (readers - error) / n)
    consistency = (between - error) / (between + (k - 1) * error)
    if error <= 1e-12 * between:
        return Agreement(n, float(agreement)), Agreement(n, float(consistency))

    ratio, freedom = between / error, (n - 1) * (k - 1)
    low_ratio = ratio / f.ppf(1 - alpha / 2, n - 1, freedom)
    high_ratio = ratio * f.ppf(1 - alpha / 2, freedom, n - 1)
    second = Agreement(
        n,
        float(consistency),
        float((low_ratio - 1) / (low_ratio + k - 1)),
        float((high_ratio - 1) / (high_ratio + k - 1)),
    )
    a = k * agreement / (n * (1 - agreement))
    b = 1 + k * agreement * (n - 1) / (n * (1 - agreement))
    v = (a * readers + b * error) ** 2 / ((a * readers) ** 2 / (k - 1) + (b * error) ** 2 / freedom)
    low_f, high_f = f.ppf(1 - alpha / 2, n - 1, v), f.ppf(1 - alpha / 2, v, n - 1)
    spread = k * readers + (k * n - k - n) * error
    low = n * (between - low_f * error) / (low_f * spread + n * between)
    high = n * (high_f * between - error) / (spread + n * high_f * between)
    return Agreement(n, float(agreement), float(low), float(high)), second
