"""What a report's page is written from."""

from dataclasses import dataclass

import numpy as np

from synthcxr.evaluation.features import FeatureSet
from synthcxr.evaluation.measure import Measured
from synthcxr.imagefolder import Row
from synthcxr.store import Json

PAIRS = 16
"""Synthetic images shown beside their nearest neighbours: those that lie nearest to the training images."""


@dataclass(frozen=True)
class Pair:
    """A synthetic image and its nearest neighbours; a row is None where pixels are not to be shown."""

    synthetic: Row
    synthetic_label: str
    real: Row | None
    real_label: str
    real_distance: float
    training: Row | None
    training_label: str | None
    training_distance: float | None


@dataclass(frozen=True)
class Content:
    """What the report's page is written from.

    `metrics`: as in ``report.json``. `warnings`: plain sentences. `sides`: for "real", "synthetic" and
    "training" (or None) a dict of ``name, n, patients, split, notes, sizes, rejected``. `encoder`: ``name,
    sha256, dimension, preprocessing``. `pairs`: nearest to the training images first (to the real ones where
    there is no training), by identity. `distances`: named lists to draw side by side, ``synthetic_to_real``,
    and where the training is known ``synthetic_to_training`` and ``held_out_to_training``. `threshold`: the near-copy
    distance, or None. `config`: of the call.
    """

    metrics: list[Json]
    warnings: list[str]
    sides: dict[str, Json | None]
    encoder: Json
    pairs: list[Pair]
    distances: dict[str, list[float]]
    threshold: float | None
    config: Json


def describe_features(side: FeatureSet) -> Json:
    """A side in numbers and words, without features."""
    return {
        "name": side.name,
        "n": len(side),
        "patients": len(np.unique(side.patients)),
        "split": side.split,
        "notes": side.notes,
        "sizes": [list(size) for size in sorted(side.sizes)],
        "rejected": len(side.rejected),
    }


def nearest_pairs(
    real: FeatureSet, synthetic: FeatureSet, training: FeatureSet | None, measured: Measured
) -> list[Pair]:
    """Every synthetic image with its neighbours; rows of real ones only from a dataset, with its terms."""
    pairs = []
    near, far = measured.nearest_real, measured.nearest_training
    for i, row in enumerate(synthetic.rows):
        assert row is not None  # a set is a folder
        j = int(near.index[i])
        t = int(far.index[i]) if far else None
        pairs.append(
            Pair(
                synthetic=row,
                synthetic_label=synthetic.labels[i],
                real=real.rows[j] if real.is_dataset else None,
                real_label=real.labels[j],
                real_distance=float(near.distance[i]),
                training=training.rows[t] if training and training.is_dataset and t is not None else None,
                training_label=training.labels[t] if training and t is not None else None,
                training_distance=float(far.distance[i]) if far else None,
            )
        )
    return pairs


def pair_row(pair: Pair) -> Json:
    """A line of ``nearest.jsonl``."""
    return {
        "file_name": pair.synthetic_label,
        "nearest_real": pair.real_label,
        "real_distance": pair.real_distance,
        "nearest_training": pair.training_label,
        "training_distance": pair.training_distance,
    }


def most_alike(pairs: list[Pair]) -> list[Pair]:
    """The pairs that the page shows."""
    return sorted(pairs, key=_nearness)[:PAIRS]


def _nearness(pair: Pair) -> float:
    return pair.real_distance if pair.training_distance is None else pair.training_distance


def distances(measured: Measured) -> dict[str, list[float]]:
    """The lists of nearest distances to draw side by side."""
    found = {"synthetic_to_real": measured.nearest_real.distance}
    if measured.nearest_training is not None:
        found["synthetic_to_training"] = measured.nearest_training.distance
    if measured.calibration is not None:
        found["held_out_to_training"] = measured.calibration.held_out
    return {name: values.tolist() for name, values in found.items()}
