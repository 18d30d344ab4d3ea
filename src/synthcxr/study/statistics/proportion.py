"""Shares and their intervals.

E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927) 209–212.
N. Dean, M. Pagano, "Evaluating confidence interval methods for binomial proportions in clustered surveys", Journal of
Survey Statistics and Methodology 3 (2015) 484–503: the same with an effective number, for answers that are correlated.
"""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def wilson(right: npt.ArrayLike, n: npt.ArrayLike, alpha: float = 0.05) -> tuple[Floats, Floats]:
    """The ends of the 1 - `alpha` interval of `right` of `n` independent answers; `n` is 1 or more."""
    from statsmodels.stats.proportion import proportion_confint

    low, high = proportion_confint(np.asarray(right), np.asarray(n), alpha=alpha, method="wilson")
    return np.maximum(0.0, low), np.minimum(1.0, high)


def effective_wilson(
    value: npt.ArrayLike, variance: npt.ArrayLike, quantile: npt.ArrayLike, images: float
) -> tuple[Floats, Floats]:
    """Wilson's interval of a share (0 to 1) known to a `variance`, at a `quantile` of the normal or of t.

    The effective number value(1 - value)/variance takes the place of n. It keeps to 0 and 1, and covers near them where
    value ± quantile·error does not. A share of 0 or 1 shows no variance: n is then the number of `images`.
    """
    value, variance, quantile = (np.asarray(x, np.float64) for x in (value, variance, quantile))
    spread = value * (1 - value)
    inverse = np.divide(
        variance, spread, out=np.full(np.broadcast(value, variance).shape, 1 / images), where=spread > 0
    )
    share = quantile**2 * inverse
    centre = (value + share / 2) / (1 + share)
    half = np.sqrt(share * spread + share**2 / 4) / (1 + share)
    return np.clip(centre - half, 0.0, 1.0), np.clip(centre + half, 0.0, 1.0)
