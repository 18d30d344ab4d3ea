"""Precision, recall, density and coverage by k-nearest-neighbour balls.

Precision and recall: Kynkäänniemi et al., NeurIPS 2019. Density and coverage: Naeem et al., ICML 2020.
Defined as in the `prdc` package of the latter: a ball reaches to the k-th neighbour of its centre, itself
left out, and is open.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from synthcxr.evaluation.distances import distance_blocks
from synthcxr.evaluation.intervals import (
    Bools,
    Estimate,
    Floats,
    Ints,
    Jackknifed,
    LeftOut,
    jackknife_interval,
    share_interval,
)

NAMES = ("precision", "recall", "density", "coverage")
OPEN = 1 - 1e-9
"""What a radius is multiplied with, so that rounding puts nothing that lies on a ball's edge into it: where images are
copies of each other, much does."""
NOBODY = -1
"""The label of an image in no group: with it alone, nothing is left out."""


def _radii(features: Floats, k: int, groups: Ints, count: int) -> Floats:
    """Distance to the k-th neighbour without each of `count` groups, and last without none: (N, count + 1).

    An image of the group that is left out has the radius -1: an empty ball.
    """
    radii = np.empty((len(features), count + 1))
    for rows, block in distance_blocks(features, features):
        here = np.arange(rows.start, rows.stop)
        block[here - rows.start, here] = np.inf
        radii[rows] = OPEN * _kth_without(block, k, groups, count)
        if count:
            radii[here, groups[rows]] = -1.0
    return radii


def _kth_without(block: Floats, k: int, groups: Ints, count: int) -> Floats:
    """The k-th smallest of each row (B, N) without the columns of each group, and last of all: (B, count + 1)."""
    if not count:
        block.partition(k - 1, axis=1)
        kth: Floats = block[:, k - 1 : k]
        return kth
    reach = min(block.shape[1], 4 * k)  # few groups have so many of a row's nearest that k others lie beyond
    nearest = np.argpartition(block, reach - 1, axis=1)[:, :reach]
    distances = np.take_along_axis(block, nearest, axis=1)
    order = np.argsort(distances, axis=1)
    distances, owners = np.take_along_axis(distances, order, axis=1), groups[np.take_along_axis(nearest, order, axis=1)]
    found = np.empty((len(block), count + 1))
    found[:, count] = distances[:, k - 1]
    for group in range(count):
        others = np.cumsum(owners != group, axis=1)
        found[:, group] = distances[np.arange(len(block)), (others >= k).argmax(axis=1)]
        for row in np.flatnonzero(others[:, -1] < k):
            found[row, group] = np.partition(block[row, groups != group], k - 1)[k - 1]
    return found


def _least_without(block: Floats, starts: Ints) -> Floats:
    """The smallest of each row (B, M) without the columns of each group, and last of all: (B, groups + 1).

    The columns of a group lie side by side, from its start.
    """
    if not len(starts):
        return np.asarray(block.min(axis=1, keepdims=True))
    least = np.minimum.reduceat(block, starts, axis=1)
    rows, owner = np.arange(len(block)), least.argmin(axis=1)
    found = np.repeat(least.min(axis=1, keepdims=True), len(starts) + 1, axis=1)
    least[rows, owner] = np.inf
    found[rows, owner] = least.min(axis=1)
    return found


@dataclass(frozen=True)
class _Balls:
    """What the four metrics count, without each group and (last) without none; N real, M synthetic images."""

    radii: Floats  # (N, Gr + 1), of the real images, without a real group
    inside: Ints  # (Gr + 1, M), real balls that hold a synthetic image, without a real group
    reached: Bools  # (N, Gs + 1), whether some synthetic ball holds a real image, without a synthetic group
    nearest: Floats  # (N, Gs + 1), distance of the nearest synthetic image, without a synthetic group


def _balls(real: Floats, synthetic: Floats, k: int, real_groups: Ints, synthetic_groups: Ints) -> _Balls:
    """All that is counted, in one pass over the distances; synthetic images come in the order of their groups."""
    gr, gs = int(real_groups.max()) + 1, int(synthetic_groups.max()) + 1
    radii, synthetic_radii = _radii(real, k, real_groups, gr), _radii(synthetic, k, synthetic_groups, gs)
    inside = np.zeros((gr + 1, len(synthetic)), np.int64)
    reached = np.zeros((len(real), gs + 1), np.bool_)
    nearest = np.zeros((len(real), gs + 1))
    starts = np.searchsorted(synthetic_groups, np.arange(gs))
    for rows, block in distance_blocks(real, synthetic):
        for group in range(gr + 1):
            inside[group] += np.count_nonzero(block < radii[rows, group, None], axis=0)
        for group in range(gs + 1):
            reached[rows, group] = (block < synthetic_radii[:, group]).any(axis=1)
        nearest[rows] = _least_without(block, starts)
    return _Balls(radii, inside, reached, nearest)


def _four(inside: npt.NDArray[np.int64], reached: Bools, covered: Bools, k: int) -> tuple[float, float, float, float]:
    return float((inside > 0).mean()), float(reached.mean()), float(inside.mean() / k), float(covered.mean())


def prdc(real: Floats, synthetic: Floats, k: int) -> dict[str, float]:
    """Precision, recall, density and coverage of features (N, D) and (M, D), N and M more than k.

    Shares from 0 to 1, but density, which is from 0 and about 1 for equal distributions.
    """
    nobody = np.full(len(real), NOBODY), np.full(len(synthetic), NOBODY)
    balls = _balls(real, synthetic, k, *nobody)
    covered = balls.nearest[:, -1] < balls.radii[:, -1]
    return dict(zip(NAMES, _four(balls.inside[-1], balls.reached[:, -1], covered, k), strict=True))


def prdc_interval(
    real: Floats, synthetic: Floats, k: int, real_groups: Ints, synthetic_groups: Ints
) -> dict[str, Estimate]:
    """The four metrics with intervals for their expectations at these N, M and k.

    Both sides are jackknifed over their groups of patients, the balls drawn anew without each group. Density
    has the jackknife's t interval, the shares have Wilson's interval at the jackknife's effective number of
    images. Without its largest group each side needs more than k images.
    """
    sizes = len(real), len(synthetic)
    found = jackknifed_prdc(real, synthetic, k, real_groups, synthetic_groups)
    return {name: interval_of(name, each, *sizes) for name, each in found.items()}


def interval_of(name: str, found: Jackknifed, n: int, m: int) -> Estimate:
    """The interval of one of the four by its name, at n real and m synthetic images."""
    if name == "density":
        return jackknife_interval(found.value, found.sides, minimum=0.0)
    # Whether a real image is covered rests on both sides alike: no more counts than a difference of two shares has.
    count = {"precision": m, "recall": n, "coverage": n * m / (n + m)}[name]
    return share_interval(found.value, found.sides, count)


def jackknifed_prdc(
    real: Floats, synthetic: Floats, k: int, real_groups: Ints, synthetic_groups: Ints
) -> dict[str, Jackknifed]:
    """The four metrics, and their values without each group of each side."""
    order = np.argsort(synthetic_groups, kind="stable")
    synthetic, synthetic_groups = synthetic[order], synthetic_groups[order]
    balls = _balls(real, synthetic, k, real_groups, synthetic_groups)
    gr, gs = int(real_groups.max()) + 1, int(synthetic_groups.max()) + 1

    def without(real_group: int, synthetic_group: int) -> tuple[float, float, float, float]:
        kept, drawn = real_groups != real_group, synthetic_groups != synthetic_group
        covered = balls.nearest[:, synthetic_group] < balls.radii[:, real_group]
        return _four(balls.inside[real_group, drawn], balls.reached[kept, synthetic_group], covered[kept], k)

    values = without(gr, gs)  # the last group is nobody's
    without_real = np.array([without(group, gs) for group in range(gr)])
    without_synthetic = np.array([without(gr, group) for group in range(gs)])
    sizes = np.bincount(real_groups), np.bincount(synthetic_groups)
    return {
        name: Jackknifed(value, (LeftOut(without_real[:, i], sizes[0]), LeftOut(without_synthetic[:, i], sizes[1])))
        for i, (name, value) in enumerate(zip(NAMES, values, strict=True))
    }
