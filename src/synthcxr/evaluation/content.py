"""What a report's page is written from."""

from dataclasses import dataclass

import numpy as np

from synthcxr.evaluation.answer import Answer
from synthcxr.evaluation.features import FeatureSet
from synthcxr.evaluation.neighbours import nearest
from synthcxr.store import Json


@dataclass(frozen=True)
class Content:
    """What the report's page is written from.

    `answers` are in the report's order, `unasked` the questions that were left out. `warnings`: plain sentences.
    `sides`: for "real", "synthetic" and "training" (or None) a dict of ``name, n, patients, split, notes, sizes,
    rejected``. `encoder`: ``name, sha256, dimension, preprocessing``. `config`: of the call.
    """

    answers: list[Answer]
    unasked: list[str]
    warnings: list[str]
    sides: dict[str, Json | None]
    encoder: Json
    config: Json

    @property
    def metrics(self) -> list[Json]:
        """The figures of all answers, as in ``report.json``."""
        return [metric for answer in self.answers for metric in answer.metrics]

    def figure(self, name: str) -> Json | None:
        """The first figure of a name, where there is one."""
        return next((each for each in self.metrics if each["name"] == name), None)


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


def nearest_rows(real: FeatureSet, synthetic: FeatureSet, training: FeatureSet | None) -> list[Json]:
    """The lines of ``nearest.jsonl``: of every synthetic image its nearest real and training image, by identity."""
    near = nearest(synthetic.identity, real.identity)
    far = nearest(synthetic.identity, training.identity) if training else None
    return [
        {
            "file_name": synthetic.labels[i],
            "nearest_real": real.labels[near.index[i]],
            "real_distance": float(near.distance[i]),
            "nearest_training": training.labels[far.index[i]] if training and far else None,
            "training_distance": float(far.distance[i]) if far else None,
        }
        for i in range(len(synthetic))
    ]
