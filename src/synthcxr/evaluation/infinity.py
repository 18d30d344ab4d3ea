"""FD∞: the Fréchet distance that endless images would have, how far a distance at N lies above it, and the N it takes.

Chong and Forsyth, "Effectively unbiased FID and Inception score", CVPR 2020: the bias of a Fréchet distance falls as
1/N, so a line through its values at several N meets 1/N = 0 without it. They draw 15 random subsets; here the images
are dealt into halves that share none, so every image counts once at either size, and 2 F(N) - F(N/2) is that line.
"""

from dataclasses import dataclass
from math import ceil

import numpy as np

from synthcxr.evaluation.frechet import distances_without, frechet_distance, moments
from synthcxr.evaluation.intervals import Estimate, Floats, Ints, LeftOut, root_interval

DEALS = 2
"""Random ways to deal the groups of patients into halves, averaged over."""
TOLERANCE = 0.1
"""Share of FD∞ below which a bias is small."""
FEWEST_GROUPS = 4


@dataclass(frozen=True)
class Curve:
    """How a Fréchet distance falls with the number of images, and where it would end.

    `sizes` are the images of the smaller side at which `values` are (a quarter, a half, all of them). `limit` is FD∞
    with its interval (it can be negative), `bias` how far the distance at N lies above it. `needed` is the images a
    side at which the bias would be below a tenth of FD∞, None where FD∞ is not told from 0. `warning` says where the
    line is none: FD∞ is then too high, and so is `limit.low` .
    """

    sizes: tuple[int, ...]
    values: tuple[float, ...]
    limit: Estimate
    bias: float
    needed: int | None
    warning: str = ""


def limit_curve(
    real: Floats, synthetic: Floats, real_groups: Ints, synthetic_groups: Ints, seed: int = 0
) -> Curve | None:
    """FD∞ of features (N, D) and (M, D) with the delete-a-group jackknife of the whole extrapolation.

    Groups of patients are labels (N,) and (M,) from 0, as `intervals.assign_groups` gives them. None where a side has
    fewer than 4 groups or 8 images.
    """
    fewest, dimension = min(len(real), len(synthetic)), real.shape[1]
    if fewest < 8 or min(real_groups.max(), synthetic_groups.max()) + 1 < FEWEST_GROUPS:
        return None
    one, two = moments(real), moments(synthetic)
    whole = frechet_distance(one, two)
    whole_without = distances_without(real, real_groups, two), distances_without(synthetic, synthetic_groups, one)
    half, quarter = [], []
    half_without = np.zeros(len(whole_without[0])), np.zeros(len(whole_without[1]))
    rng = np.random.default_rng(seed)
    for _ in range(DEALS):
        deal = _deal(real_groups, rng), _deal(synthetic_groups, rng)
        quarter += [frechet_distance(moments(real[deal[0] == q]), moments(synthetic[deal[1] == q])) for q in range(4)]
        found = [_half(real, synthetic, real_groups, synthetic_groups, deal, part) for part in range(2)]
        half += [value for value, _, _ in found]
        # Without a group one of the two halves changes, and the mean of both by half of that.
        half_without[0][:] += (found[0][0] + found[1][0] + found[0][1] + found[1][1]) / 2
        half_without[1][:] += (found[0][0] + found[1][0] + found[0][2] + found[1][2]) / 2
    bias = float(np.mean(half)) - whole
    sides = [
        LeftOut(2 * all_but - half_but / DEALS, np.bincount(groups))
        for all_but, half_but, groups in zip(whole_without, half_without, (real_groups, synthetic_groups), strict=True)
    ]
    limit = root_interval(whole - bias, sides, offset=max(0.0, bias))
    assert limit.low is not None
    return Curve(
        sizes=(fewest // 4, fewest // 2, fewest),
        values=(float(np.mean(quarter)), float(np.mean(half)), whole),
        limit=limit,
        bias=bias,
        needed=ceil(fewest * bias / (TOLERANCE * limit.value)) if limit.low > 0 and bias > 0 else None,
        warning=_warning(fewest, dimension),
    )


def _warning(fewest: int, dimension: int) -> str:
    if fewest >= 2 * dimension:
        return ""
    return (
        f"With {fewest} images a side and {dimension} features the bias does not fall as 1/N yet: FD∞ is too high, an "
        f"upper bound at best. From {2 * dimension} images a side on it is right."
    )


def _deal(groups: Ints, rng: np.random.Generator) -> Ints:
    """A quarter from 0 to 3 for every image, the same for a whole group; 0 and 2 are one half, 1 and 3 the other."""
    count = int(groups.max()) + 1
    quarters: Ints = rng.permutation(np.arange(count) % 4)[groups]
    return quarters


def _half(
    real: Floats, synthetic: Floats, real_groups: Ints, synthetic_groups: Ints, deal: tuple[Ints, Ints], part: int
) -> tuple[float, Floats, Floats]:
    """The distance between one half of each side, and by how much it changes without each group: 0 for others'."""
    kept = deal[0] % 2 == part, deal[1] % 2 == part
    x, y = real[kept[0]], synthetic[kept[1]]
    one, two = moments(x), moments(y)
    value = frechet_distance(one, two)
    changes = []
    for features, groups, other in ((x, real_groups[kept[0]], two), (y, synthetic_groups[kept[1]], one)):
        codes, labels = np.unique(groups, return_inverse=True)
        total = real_groups if features is x else synthetic_groups
        change = np.zeros(int(total.max()) + 1)
        change[codes] = distances_without(features, labels, other) - value
        changes.append(change)
    return value, changes[0], changes[1]
