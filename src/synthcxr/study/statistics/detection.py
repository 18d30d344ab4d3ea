"""Signal detection: how far apart the two kinds look to a reader (d′), and which way the reader leans (criterion).

D. M. Green, J. A. Swets, Signal detection theory and psychophysics (1966). Half an answer is added to each cell and one
to each row: M. J. Hautus, "Corrections for extreme proportions and their biasing effects on estimated values of d′",
Behavior Research Methods 27 (1995) 46–51. Variances: V. Gourevitch, E. Galanter, "A significance test for one parameter
isosensitivity functions", Psychometrika 32 (1967) 25–33.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Detection:
    """d′ with its interval, and the criterion c with its: above 0 leans to real, below 0 to synthetic."""

    d_prime: float
    d_prime_low: float
    d_prime_high: float
    criterion: float
    criterion_low: float
    criterion_high: float


def detection(hits: int, signals: int, false_alarms: int, noises: int, alpha: float = 0.05) -> Detection:
    """From synthetic images called so (`hits` of `signals`) and real ones called so (`false_alarms` of `noises`)."""
    from scipy.stats import norm

    def corrected(called: int, images: int) -> tuple[float, float]:
        rate = (called + 0.5) / (images + 1)
        score = float(norm.ppf(rate))
        return score, rate * (1 - rate) / ((images + 1) * float(norm.pdf(score)) ** 2)

    (hit, hit_variance), (alarm, alarm_variance) = corrected(hits, signals), corrected(false_alarms, noises)
    half = float(norm.ppf(1 - alpha / 2)) * (hit_variance + alarm_variance) ** 0.5
    d_prime, criterion = hit - alarm, -(hit + alarm) / 2
    return Detection(d_prime, d_prime - half, d_prime + half, criterion, criterion - half / 2, criterion + half / 2)
