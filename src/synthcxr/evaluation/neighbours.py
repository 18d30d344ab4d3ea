"""Nearest neighbours, and how near is too near: the rate of near-copies.

Near-copies are searched by the encoder's identity, which sees through blur, contrast and small shifts; the features
that distances are taken in move with them.
"""

from dataclasses import dataclass

import numpy as np

from synthcxr.evaluation.distances import distance_blocks
from synthcxr.evaluation.intervals import Estimate, Floats, Ints, wilson
from synthcxr.store import Json

QUANTILE = 0.01
MINIMUM_HELD_OUT = 20
"""Held-out images below which the smallest distances say nothing."""


@dataclass(frozen=True)
class Nearest:
    """For each image the `index` (N,) of the nearest one of others, and its Euclidean `distance` (N,)."""

    index: Ints
    distance: Floats


def nearest(queries: Floats, others: Floats) -> Nearest:
    """The nearest of `others` (M, D) to each of `queries` (N, D); an exact copy has distance 0."""
    index = np.concatenate([block.argmin(axis=1) for _, block in distance_blocks(queries, others)])
    distance = np.empty(len(queries))
    for i, j in enumerate(index):  # anew from the difference: the blocks' distances round near zero
        distance[i] = np.linalg.norm(queries[i] - others[j])
    return Nearest(index, distance)


@dataclass(frozen=True)
class Calibration:
    """What distance to the training images is a near-copy's, learnt from real patients outside the training.

    `threshold`: the 1 % quantile of `held_out` (H,), their distances to the nearest training image.
    `expected`: the share of fresh real images of the same kind that would lie below it.
    """

    threshold: float
    expected: float
    held_out: Floats

    def as_fields(self, happens: str) -> Json:
        """What a metric says of it, with a warning where it rests on few; `happens` is what expected images do."""
        fields: Json = {
            "n_held_out": len(self.held_out),
            "threshold": self.threshold,
            "expected": self.expected,
            "ceiling": self.expected,
        }
        if len(self.held_out) * QUANTILE < 1:
            fields["warning"] = (
                f"The threshold rests on {len(self.held_out)} held-out images: "
                f"{self.expected:.1%} of fresh real images would {happens}, not 1 %."
            )
        return fields


def calibrate(held_out: Floats) -> Calibration:
    """The threshold from distances (H,) of held-out images, at least 20 of them.

    The quantile is an order statistic, the r-th smallest of H: a further image of the same kind lies below it
    with probability r / (H + 1), about 1 % from some hundred images on.
    """
    rank = int(QUANTILE * (len(held_out) - 1))
    return Calibration(float(np.sort(held_out)[rank]), (rank + 1) / (len(held_out) + 1), held_out)


def near_copy_rate(distances: Floats, calibration: Calibration) -> Estimate:
    """Share of synthetic images nearer to the training images than the threshold, with Wilson's interval.

    Takes distances (N,). The interval holds the threshold fixed.
    """
    copies = int(np.count_nonzero(distances < calibration.threshold))
    return Estimate(copies / len(distances), *wilson(copies, len(distances)))
