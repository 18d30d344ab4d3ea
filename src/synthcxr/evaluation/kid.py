"""The kernel distance KID: the unbiased squared MMD with a cubic polynomial kernel.

Bińkowski, Sutherland, Arbel and Gretton, "Demystifying MMD GANs", ICLR 2018. On all images at once: no random
subsets, so no noise of their own and no choice of their size. `kid_subsets` is the way that others publish it.
"""

import numpy as np

from synthcxr.evaluation.distances import row_blocks
from synthcxr.evaluation.intervals import Estimate, Floats, Ints, Jackknifed, LeftOut, root_interval


def _kernel(x: Floats, y: Floats) -> Floats:
    """k(x, y) = (xᵀy / D + 1)³ for all pairs of rows."""
    kernel: Floats = (x @ y.T / x.shape[1] + 1.0) ** 3
    return kernel


def _membership(groups: Ints) -> Floats:
    return np.eye(int(groups.max()) + 1)[groups]


def _between(x: Floats, y: Floats, x_groups: Ints, y_groups: Ints) -> Floats:
    """Sums of k over all pairs of a row of x and one of y, by their groups: (Gx, Gy)."""
    x_member, y_member = _membership(x_groups), _membership(y_groups)
    sums = np.zeros((x_member.shape[1], y_member.shape[1]))
    for rows in row_blocks(len(x), len(y)):
        sums += x_member[rows].T @ (_kernel(x[rows], y) @ y_member)
    return sums


def _within(x: Floats, groups: Ints) -> tuple[Floats, float]:
    """Sums of k over all pairs of two different rows of x, by their groups (G, G); and the sum of k(x, x)."""
    norms = np.einsum("ij,ij->i", x, x)
    selves = np.bincount(groups, weights=(norms / x.shape[1] + 1.0) ** 3)
    return _between(x, x, groups, groups) - np.diag(selves), float(selves.sum())


def _pairs_without(within: Floats, sizes: Ints) -> Floats:
    """Mean of k over pairs of different rows without each group: (G,)."""
    kept = sizes.sum() - sizes
    sums = within.sum() - within.sum(axis=0) - within.sum(axis=1) + np.diag(within)
    means: Floats = sums / (kept * (kept - 1))
    return means


def kid_interval(real: Floats, synthetic: Floats, real_groups: Ints, synthetic_groups: Ints) -> Estimate:
    """MMD² of features (N, D) and (M, D) with its delete-a-group jackknife interval.

    Unbiased for independent images, so the interval is for the distance between the populations, which
    can be 0: the value may be negative. Several images of one patient raise the expectation a little, as in
    every published KID.
    """
    found = jackknifed_kid(real, synthetic, real_groups, synthetic_groups)
    return root_interval(found.value, found.sides, found.offset)


def jackknifed_kid(real: Floats, synthetic: Floats, real_groups: Ints, synthetic_groups: Ints) -> Jackknifed:
    """MMD² of features (N, D) and (M, D), and its values without each group of each side.

    The sums of the kernel between groups, taken once and block by block, give them all. The offset is the bias of
    the biased MMD².
    """
    real_sizes, synthetic_sizes = np.bincount(real_groups), np.bincount(synthetic_groups)
    n, m = len(real), len(synthetic)
    xx, xx_selves = _within(real, real_groups)
    yy, yy_selves = _within(synthetic, synthetic_groups)
    xy = _between(real, synthetic, real_groups, synthetic_groups)
    mean_xx, mean_yy, mean_xy = xx.sum() / (n * (n - 1)), yy.sum() / (m * (m - 1)), xy.sum() / (n * m)
    xy_without_real = (xy.sum() - xy.sum(axis=1)) / ((n - real_sizes) * m)
    xy_without_synthetic = (xy.sum() - xy.sum(axis=0)) / ((m - synthetic_sizes) * n)
    sides = (
        LeftOut(_pairs_without(xx, real_sizes) + mean_yy - 2 * xy_without_real, real_sizes),
        LeftOut(mean_xx + _pairs_without(yy, synthetic_sizes) - 2 * xy_without_synthetic, synthetic_sizes),
    )
    # What the biased MMD², a squared norm and so never negative, has more than the unbiased one.
    bias = (xx_selves / n - mean_xx) / n + (yy_selves / m - mean_yy) / m
    return Jackknifed(float(mean_xx + mean_yy - 2 * mean_xy), sides, float(bias))


def kid(real: Floats, synthetic: Floats) -> float:
    """MMD² of features (N, D) and (M, D), N and M at least 2; around 0 for equal distributions."""
    one, two = np.zeros(len(real), np.int64), np.zeros(len(synthetic), np.int64)
    xx = _within(real, one)[0].item() / (len(real) * (len(real) - 1))
    yy = _within(synthetic, two)[0].item() / (len(synthetic) * (len(synthetic) - 1))
    return float(xx + yy - 2 * _between(real, synthetic, one, two).item() / (len(real) * len(synthetic)))


def kid_subsets(real: Floats, synthetic: Floats, subsets: int = 100, size: int = 1000, seed: int = 2020) -> Estimate:
    """The mean MMD² of random subsets of `size` images a side, as torch-fidelity draws them and by its defaults.

    The subsets overlap, so their deviation is no error of the mean: the ends are None. Needs `size` images a side.
    """
    rng, values = np.random.RandomState(seed), []
    for _ in range(subsets):
        chosen = [side[rng.choice(len(side), size, replace=False)] for side in (real, synthetic)]
        values.append(kid(*chosen))
    return Estimate(float(np.mean(values)))
