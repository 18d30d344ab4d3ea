"""Is a mean over readers as good as a constant? Two one-sided tests.

D. J. Schuirmann, "A comparison of the two one-sided tests procedure and the power approach for assessing the
equivalence of average bioavailability", Journal of Pharmacokinetics and Biopharmaceutics 15 (1987) 657–680.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Equivalence:
    """The 1 - 2 alpha interval `low` to `high` (...,), and whether it lies inside target ± margin."""

    low: Floats
    high: Floats
    equivalent: npt.NDArray[np.bool_]


def equivalence(low: npt.ArrayLike, high: npt.ArrayLike, target: float, margin: float) -> Equivalence:
    """Both one-sided tests at alpha, from a 1 - 2 alpha interval's ends (...,): inside `target` ± `margin` or not."""
    low, high = np.asarray(low, np.float64), np.asarray(high, np.float64)
    return Equivalence(low, high, (low > target - margin) & (high < target + margin))
