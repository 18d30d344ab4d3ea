"""Do readers get better as they go on? Logistic regression of being right on the place in the reader's order.

Each reader has an own level (fixed effect); errors are robust to answers to one image being alike (K.-Y. Liang,
S. L. Zeger, Biometrika 73 (1986) 13–22), so two readers or twenty are treated alike.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FEWEST = 20
"""Images below which no trend is estimated."""


@dataclass(frozen=True)
class Learning:
    """The odds of being right at the last image over those at the first, interval, p; `reason` if there is none."""

    n: int
    odds_ratio: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    reason: str | None = None


def learning(right: npt.ArrayLike, position: npt.ArrayLike, reader: npt.ArrayLike, image: npt.ArrayLike) -> Learning:
    """From one entry an answer (N,): right or wrong, place from 1, codes of reader and image.

    Readers who are always right or always wrong say nothing of it and are left out.
    """
    import statsmodels.api as sm

    right, reader = np.asarray(right, np.float64), np.asarray(reader)
    position, image = np.asarray(position, np.float64), np.asarray(image)
    mixed = [one for one in np.unique(reader) if 0 < right[reader == one].mean() < 1]
    kept = np.isin(reader, mixed)
    if len(np.unique(image[kept])) < FEWEST or np.ptp(position[kept]) == 0:
        return Learning(int(kept.sum()), reason="too few images")
    levels = (reader[kept][:, None] == np.array(mixed)).astype(np.float64)
    design = np.column_stack([(position[kept] - position[kept].min()) / np.ptp(position[kept]), levels])
    codes = np.unique(image[kept], return_inverse=True)[1]
    try:
        fit = sm.GLM(right[kept], design, sm.families.Binomial()).fit(cov_type="cluster", cov_kwds={"groups": codes})
    except (np.linalg.LinAlgError, ValueError) as error:
        return Learning(int(kept.sum()), reason=f"the regression has no solution ({error})")
    ends = np.exp([fit.params[0], *fit.conf_int()[0]])
    if not (fit.converged and np.isfinite(ends).all()):
        return Learning(int(kept.sum()), reason="the regression did not converge")
    odds_ratio, low, high = map(float, ends)
    return Learning(int(kept.sum()), odds_ratio, low, high, float(fit.pvalues[0]))
