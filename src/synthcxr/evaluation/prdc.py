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
    LeftOut,
    jackknife_interval,
    share_interval,
)

NAMES = ("precision", "recall", "density", "coverage")
NOBODY = -1
"""The label of an image in no group: with it alone, nothing is left out."""


def _radii(features: Floats, k: int, groups: Ints, count: int) -> Floats:
    """Distance to the k-th neighbour without each of `count` groups, and last without none: (N, count + 1).

    An image of the group that is left out has the radius -1: an empty ball.
    """
    radii = np.full((len(features), count + 1), -1.0)
    for rows, block in distance_blocks(features, features):
        here = np.arange(rows.start, rows.stop)
        block[here - rows.start, here] = np.inf
        for group in range(count + 1):
            kept = groups[rows] != group
            others = block[np.ix_(kept, groups != group)]
            radii[here[kept], group] = np.partition(others, k - 1, axis=1)[:, k - 1]
    return radii


@dataclass(frozen=True)
class _Balls:
    """What the four metrics count, without each group and (last) without none; N real, M synthetic images."""

    radii: Floats  # (N, Gr + 1), of the real images, without a real group
    inside: Ints  # (Gr + 1, M), real balls that hold a synthetic image, without a real group
    reached: Bools  # (N, Gs + 1), whether some synthetic ball holds a real image, without a synthetic group
    nearest: Floats  # (N, Gs + 1), distance of the nearest synthetic image, without a synthetic group


def _balls(real: Floats, synthetic: Floats, k: int, real_groups: Ints, synthetic_groups: Ints) -> _Balls:
    gr, gs = int(real_groups.max()) + 1, int(synthetic_groups.max()) + 1
    radii, synthetic_radii = _radii(real, k, real_groups, gr), _radii(synthetic, k, synthetic_groups, gs)
    inside = np.zeros((gr + 1, len(synthetic)), np.int64)
    reached = np.zeros((len(real), gs + 1), np.bool_)
    nearest = np.zeros((len(real), gs + 1))
    for rows, block in distance_blocks(real, synthetic):
        for group in range(gr + 1):
            inside[group] += np.count_nonzero(block < radii[rows, group, None], axis=0)
        for group in range(gs + 1):
            reached[rows, group] = (block < synthetic_radii[:, group]).any(axis=1)
            nearest[rows, group] = block[:, synthetic_groups != group].min(axis=1)
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
    estimates = {}
    for i, (name, value) in enumerate(zip(NAMES, values, strict=True)):
        sides = [LeftOut(without_real[:, i], sizes[0]), LeftOut(without_synthetic[:, i], sizes[1])]
        if name == "density":
            estimates[name] = jackknife_interval(value, sides, minimum=0.0)
        else:
            estimates[name] = share_interval(value, sides, len(synthetic if name == "precision" else real))
    return estimates
