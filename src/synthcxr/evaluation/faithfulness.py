"""Faithfulness: whether what a prompt asks for is what a classifier sees, beside what it sees in real images."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from synthcxr.evaluation.intervals import Estimate, Floats, Ints, wilson

Fields = dict[str, Any]
"""View, sex, age and findings of a row: of an image drawn, what was asked for."""

DRAWS = 1000


@dataclass(frozen=True)
class Agreement:
    """How well one label is seen as it was asked for.

    `auc`: whether an image asked to have it scores higher than one asked not to. `accuracy`: the share of images
    on the asked side of the `threshold`. `positives` of `n` images ask for it.
    """

    label: str
    n: int
    positives: int
    auc: Estimate
    accuracy: Estimate
    threshold: float


def agreement(label: str, wanted: Floats, scores: Floats, groups: Ints, threshold: float = 0.5) -> Agreement | None:
    """Agreement of `scores` (N,), from 0 to 1, with `wanted` (N,): 1, 0, or NaN where nothing is asked.

    `groups` (N,) are patients of real images, or a number an image. None where only one class is asked for.
    """
    from sklearn.metrics import roc_auc_score

    stated = ~np.isnan(wanted)
    truth, seen, owners = wanted[stated] > 0.5, scores[stated], groups[stated]
    if truth.all() or not truth.any():
        return None
    right = int(np.sum((seen > threshold) == truth))
    low, high = bootstrap_interval(truth, seen, owners, lambda t, s: float(roc_auc_score(t, s)))
    return Agreement(
        label,
        len(truth),
        int(truth.sum()),
        Estimate(float(roc_auc_score(truth, seen)), low, high),
        Estimate(right / len(truth), *wilson(right, len(truth))),
        threshold,
    )


def bootstrap_interval(
    truth: "np.typing.NDArray[np.bool_]",
    scores: Floats,
    groups: Ints,
    statistic: Callable[["np.typing.NDArray[np.bool_]", Floats], float],
    seed: int = 0,
) -> tuple[float, float]:
    """The 95 % percentile bootstrap interval of a statistic, whole groups drawn with replacement."""
    rng = np.random.default_rng(seed)
    members = [np.flatnonzero(groups == group) for group in np.unique(groups)]
    values = []
    for _ in range(DRAWS):
        chosen = np.concatenate([members[i] for i in rng.integers(0, len(members), len(members))])
        if 0 < truth[chosen].sum() < len(chosen):
            values.append(statistic(truth[chosen], scores[chosen]))
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


def faithfulness(
    rows: Sequence[Fields],
    probabilities: Floats,
    labels: Sequence[str],
    targets: Callable[[Fields], Floats],
    groups: Ints | None = None,
) -> list[Agreement]:
    """Every label's agreement over rows, from a classifier's `probabilities` (N, labels) of their images.

    `targets` says of a row's fields what they ask for: 1, 0 or NaN for each label.
    """
    wanted = np.stack([targets(fields) for fields in rows]).astype(np.float64)
    owners = np.arange(len(rows)) if groups is None else groups
    found = (
        agreement(label, wanted[:, column], probabilities[:, column].astype(np.float64), owners)
        for column, label in enumerate(labels)
    )
    return [each for each in found if each is not None]
