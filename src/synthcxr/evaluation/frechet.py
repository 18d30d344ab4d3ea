"""The Fréchet distance between Gaussians fitted to two samples of features.

On the features of ImageNet's Inception this distance is called FID (Heusel et al. 2017). On any other
features it is a Fréchet distance on named features, and its numbers compare only with those of the same
encoder.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from synthcxr.evaluation.intervals import Estimate, Floats, Ints, LeftOut, root_interval


@dataclass(frozen=True)
class Moments:
    """Mean (D,) and unbiased covariance (D, D), of rank at most count - 1, of `count` feature vectors."""

    mean: Floats
    covariance: Floats
    count: int


def moments(features: Floats) -> Moments:
    """Moments of features (N, D), N at least 2."""
    mean = features.mean(axis=0)
    centred = features - mean
    return Moments(mean, centred.T @ centred / (len(features) - 1), len(features))


def moments_without(features: Floats, groups: Ints) -> Iterator[Moments]:
    """Moments of features (N, D) without each group in turn: sums over all, less those over the group."""
    centre = features.mean(axis=0)
    centred = features - centre  # the sum over all is then zero, and nothing large cancels
    scatter = centred.T @ centred
    for group in range(int(groups.max()) + 1):
        out = centred[groups == group]
        n = len(features) - len(out)
        mean = -out.sum(axis=0) / n
        covariance = (scatter - out.T @ out - n * np.outer(mean, mean)) / (n - 1)
        yield Moments(mean + centre, covariance, n)


def _factor(m: Moments) -> Floats:
    """F (rank, D) with FᵀF the covariance, without the directions in which rounding is all there is."""
    values, vectors = np.linalg.eigh(m.covariance)
    rank = min(m.count - 1, len(values))
    values, vectors = values[-rank:], vectors[:, -rank:]
    kept = values > len(m.mean) * np.finfo(np.float64).eps * max(float(values[-1]), 0.0)
    factor: Floats = (vectors[:, kept] * np.sqrt(values[kept])).T
    return factor


def _distance(one: Moments, f1: Floats, two: Moments, f2: Floats) -> float:
    # The sum of singular values of F1 F2ᵀ is tr sqrt(S1^½ S2 S1^½); unlike a root of eigenvalues, which turns
    # rounding of 1e-16 into 1e-8, it keeps its digits for covariances that lack rank.
    shift = one.mean - two.mean
    cross = float(np.linalg.norm(f1 @ f2.T, "nuc")) if f1.size and f2.size else 0.0
    spread = float(np.trace(one.covariance) + np.trace(two.covariance))
    return max(0.0, float(shift @ shift) + spread - 2.0 * cross)


def frechet_distance(real: Moments, synthetic: Moments) -> float:
    """|m1 - m2|² + tr(S1 + S2 - 2 (S1^½ S2 S1^½)^½), in squared feature units, from 0.

    Dowson and Landau 1982. Real and finite for covariances of any rank. Its expectation falls as the numbers
    of images grow, so two values compare only at equal numbers.
    """
    return _distance(real, _factor(real), synthetic, _factor(synthetic))


def frechet_interval(real: Floats, synthetic: Floats, real_groups: Ints, synthetic_groups: Ints) -> Estimate:
    """The Fréchet distance of features (N, D) and (M, D) with its delete-a-group jackknife interval.

    Both sides are jackknifed over their groups of patients, labels (N,) and (M,) from 0. The interval is for
    the expectation of the distance at these N and M, which is larger than the distance between the
    populations.
    """
    one, two = moments(real), moments(synthetic)
    f1, f2 = _factor(one), _factor(two)
    value = _distance(one, f1, two, f2)
    without_real = [_distance(m, _factor(m), two, f2) for m in moments_without(real, real_groups)]
    without_synthetic = [_distance(one, f1, m, _factor(m)) for m in moments_without(synthetic, synthetic_groups)]
    sides = [
        LeftOut(np.array(without_real), np.bincount(real_groups)),
        LeftOut(np.array(without_synthetic), np.bincount(synthetic_groups)),
    ]
    return root_interval(value, sides)


LIMIT_SIZES = 10


def frechet_limit(real: Floats, synthetic: Floats, seed: int = 0) -> float:
    """FD∞: the distance that endless images would have, by a line through its values at smaller numbers.

    Chong and Forsyth, CVPR 2020: the bias falls as 1/N, so the line's value at 1/N = 0 is free of it to first
    order. `LIMIT_SIZES` sizes from a half to all of the smaller side (of at least 4 images), each a random subset of
    both sides. The value scatters more than a distance at fixed N and can be negative.
    """
    rng = np.random.default_rng(seed)
    fewest = min(len(real), len(synthetic))
    sizes = np.unique(np.linspace(max(2, fewest // 2), fewest, LIMIT_SIZES).astype(int))
    values = [
        frechet_distance(
            moments(real[rng.permutation(len(real))[:size]]),
            moments(synthetic[rng.permutation(len(synthetic))[:size]]),
        )
        for size in sizes
    ]
    return float(np.polyfit(1 / sizes, values, 1)[1])
