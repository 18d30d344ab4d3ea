"""The floor: what each metric says of two halves of the same real patients, so of a perfect model."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from synthcxr.evaluation.intervals import Floats, Ints, assign_groups

HALVINGS = 20


@dataclass(frozen=True)
class Floor:
    """Median and range of a metric over halvings, with about `n_half` images a half."""

    median: float
    low: float
    high: float
    halvings: int
    n_half: int


def floors(
    features: Floats,
    patients: Ints,
    metrics: Callable[[Floats, Floats], Mapping[str, float]],
    seed: int,
    halvings: int = HALVINGS,
) -> dict[str, Floor]:
    """Every metric between random halves of real features (N, D), no patient, codes (N,), in both halves.

    `metrics` gives named values for two samples. A distance that falls with the number of images stands
    higher here than it would for halves as large as the sets that are judged: compare with `n_half` in mind.
    Fewer than two patients have no halves, and no floor.
    """
    if len(np.unique(patients)) < 2:
        return {}
    values: dict[str, list[float]] = {}
    for i in range(halvings):
        half = assign_groups(patients, 2, np.random.default_rng([seed, i])) == 0
        for name, value in metrics(features[half], features[~half]).items():
            values.setdefault(name, []).append(value)
    n_half = len(features) // 2
    return {name: Floor(float(np.median(v)), min(v), max(v), len(v), n_half) for name, v in values.items()}
