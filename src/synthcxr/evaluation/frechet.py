"""The Fréchet distance between Gaussians fitted to two samples of features.

On the features of FID's Inception, with its published weights, this distance is called FID (Heusel et al. 2017). On
any other features it is a Fréchet distance on named features, and its numbers compare only with those of the same
extractor.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from synthcxr.evaluation.intervals import Estimate, Floats, Ints, LeftOut, root_interval

ROWS = 4096
"""Features that are worked on at once, so that a large sample needs no copy of itself."""


@dataclass(frozen=True)
class Moments:
    """A Gaussian fitted to features: its mean (D,), and a root (R, D) with rootᵀ root its unbiased covariance.

    R is at most D, and at most the number of features, `count` (None where nobody has said it). Distances are taken
    from roots: a covariance has lost half of the digits of whatever is small in it.
    """

    mean: Floats
    root: Floats
    count: int | None = None

    @property
    def covariance(self) -> Floats:
        """The covariance (D, D), of rank at most R."""
        covariance: Floats = self.root.T @ self.root
        return covariance

    @property
    def spread(self) -> float:
        """The trace of the covariance."""
        return float(np.einsum("ij,ij->", self.root, self.root))


def moments(features: npt.NDArray[np.floating[Any]]) -> Moments:
    """Moments of features (N, D) of any float type, N at least 2.

    Up to D features are their own root, centred. Of more it is found by QR decompositions block by block, so that
    nothing is held that grows with N.
    """
    count, dimension = features.shape
    mean = features.mean(axis=0, dtype=np.float64)
    if count <= dimension:
        return Moments(mean, (features - mean) / (count - 1) ** 0.5, count)
    root = np.zeros((0, dimension))
    for start in range(0, count, max(ROWS, dimension)):
        block = features[start : start + max(ROWS, dimension)] - mean
        root = _triangle(np.concatenate([root, block]))
    return Moments(mean, root / (count - 1) ** 0.5, count)


def _triangle(matrix: Floats) -> Floats:
    """R of a QR decomposition: RᵀR is matrixᵀ matrix."""
    return np.asarray(np.linalg.qr(matrix, mode="r"), np.float64)


def moments_of(mean: Floats, covariance: Floats, count: int | None = None) -> Moments:
    """Moments from a mean (D,) and a covariance (D, D), as statistics files hold them.

    Directions in which rounding is all there is are left out.
    """
    values, vectors = np.linalg.eigh((covariance + covariance.T) / 2)
    kept = values > len(mean) * np.finfo(np.float64).eps * max(float(values[-1]), 0.0)
    root: Floats = (vectors[:, kept] * np.sqrt(values[kept])).T
    return Moments(mean, root, count)


def frechet_distance(real: Moments, synthetic: Moments) -> float:
    """|m1 - m2|² + tr(S1 + S2 - 2 (S1^½ S2 S1^½)^½), in squared feature units, from 0.

    Dowson and Landau 1982. The trace of the root is the sum of singular values of R1 R2ᵀ; unlike a root of
    eigenvalues, which turns rounding of 1e-16 into 1e-8, it keeps its digits for covariances that lack rank.
    Real and finite for covariances of any rank. Its expectation falls as the numbers of images grow, so two values
    compare only at equal numbers.
    """
    cross = real.root @ synthetic.root.T
    return _distance(real.mean - synthetic.mean, real.spread + synthetic.spread, _sum_of_singular_values(cross))


def _distance(shift: Floats, spread: float, cross: float) -> float:
    return max(0.0, float(shift @ shift) + spread - 2.0 * cross)


def _sum_of_singular_values(matrix: Floats) -> float:
    return float(np.linalg.norm(matrix, "nuc")) if matrix.size else 0.0


def frechet_interval(real: Floats, synthetic: Floats, real_groups: Ints, synthetic_groups: Ints) -> Estimate:
    """The Fréchet distance of features (N, D) and (M, D) with its delete-a-group jackknife interval.

    Both sides are jackknifed over their groups of patients, labels (N,) and (M,) from 0. The interval is for
    the expectation of the distance at these N and M, which is larger than the distance between the
    populations.
    """
    one, two = moments(real), moments(synthetic)
    without_real = distances_without(real, real_groups, two)
    without_synthetic = distances_without(synthetic, synthetic_groups, one)
    sides = [
        LeftOut(without_real, np.bincount(real_groups)),
        LeftOut(without_synthetic, np.bincount(synthetic_groups)),
    ]
    return root_interval(frechet_distance(one, two), sides)


def distances_without(features: Floats, groups: Ints, other: Moments) -> Floats:
    """The distance of features (N, D) without each group in turn, labels (N,) from 0, to other moments: (G,).

    All that a group changes is taken from sums over all, less those over the group, in the directions of the other's
    root: (N, R) where there are fewer features than directions, else (R, R). Nothing is fitted anew.
    """
    mean = features.mean(axis=0, dtype=np.float64)
    side = (_Thin if len(features) < len(other.root) else _Wide)(features, mean, other.root)
    squared = _squared_norms(features, mean)
    found = []
    for group in range(int(groups.max()) + 1):
        out = np.flatnonzero(groups == group)
        left = len(features) - len(out)
        shift = -(features[out] - mean).sum(axis=0) / left  # the sum over all is zero
        spread = (squared.sum() - squared[out].sum() - left * float(shift @ shift)) / (left - 1)
        cross = side.cross_without(out, other.root @ shift) / (left - 1) ** 0.5
        found.append(_distance(mean + shift - other.mean, float(spread) + other.spread, cross))
    return np.array(found)


def _squared_norms(features: Floats, mean: Floats) -> Floats:
    norms = [((features[rows] - mean) ** 2).sum(axis=1) for rows in _blocks(len(features))]
    return np.concatenate(norms)


def _blocks(count: int) -> Iterator[slice]:
    return (slice(start, start + ROWS) for start in range(0, count, ROWS))


def _sum_of_roots(gram: Floats) -> float:
    """Sum of square roots of the eigenvalues of a Gram matrix, rounding taken for 0."""
    values = np.linalg.eigvalsh(gram)
    return float(np.sqrt(values[values > len(gram) * np.finfo(np.float64).eps * max(values[-1], 0.0)]).sum())


class _Thin:
    """Fewer features than directions: the products of features are held, (N, N) with N below D."""

    def __init__(self, features: Floats, mean: Floats, root: Floats) -> None:
        self.seen = (features - mean) @ root.T
        self.products = self.seen @ self.seen.T

    def cross_without(self, out: Ints, shift: Floats) -> float:
        """Sum of singular values of the features without some, centred anew by `shift`, in the other's directions."""
        kept = np.delete(np.arange(len(self.seen)), out)
        along = self.seen[kept] @ shift
        gram = self.products[np.ix_(kept, kept)] - along[:, None] - along + float(shift @ shift)
        return _sum_of_roots(gram)


class _Wide:
    """Fewer directions than features: the products of directions are held, (R, R) with R at most D."""

    def __init__(self, features: Floats, mean: Floats, root: Floats) -> None:
        self.features, self.mean, self.root = features, mean, root
        self.products = np.zeros((len(root), len(root)))
        for rows in _blocks(len(features)):
            seen = (features[rows] - mean) @ root.T
            self.products += seen.T @ seen

    def cross_without(self, out: Ints, shift: Floats) -> float:
        """As `_Thin.cross_without`."""
        seen = (self.features[out] - self.mean) @ self.root.T
        left = len(self.features) - len(out)
        return _sum_of_roots(self.products - seen.T @ seen - left * np.outer(shift, shift))
