"""Near-copies: which synthetic images lie nearer to a training image than unseen patients do, by the identity."""

import numpy as np

from synthcxr.evaluation.answer import Answer, Chart, Sheet
from synthcxr.evaluation.features import FeatureSet
from synthcxr.evaluation.measure import near_copies
from synthcxr.evaluation.neighbours import nearest
from synthcxr.imagefolder import Row
from synthcxr.store import Json

SHOWN = 8
"""Synthetic images shown beside their nearest neighbours."""


def answer_copies(
    real: FeatureSet, synthetic: FeatureSet, training: FeatureSet | None, *, no_training: str = ""
) -> Answer:
    """How many images are near-copies of the training, by a threshold learnt from the real patients outside it.

    Shown are the images that lie nearest to the training, or to the real ones where it is not known. `no_training` says
    why it is not.
    """
    found = near_copies(real, synthetic, training, no_training=no_training)
    distances = {"synthetic to real": found.nearest_real.distance.tolist()}
    if found.nearest_training:
        distances["synthetic to training"] = found.nearest_training.distance.tolist()
    if found.calibration:
        distances["unseen real to training"] = found.calibration.held_out.tolist()
    return Answer(
        "privacy",
        _verdict(found.metric),
        (found.metric,),
        charts=(_chart(distances, found.calibration.threshold if found.calibration else None),),
        sheets=(_sheet(real, synthetic, training),),
    )


def _verdict(metric: Json) -> str:
    """How many there are, and whether that is more than chance gives."""
    if metric["value"] is None:
        return f"Near-copies could not be counted: {metric['reason']}"
    count, share = round(metric["value"] * metric["n_synthetic"]), 100 * metric["value"]
    more = metric["ci_low"] > metric["expected"]
    start = "There are more near-copies than chance gives" if more else "No sign of copying by this measure"
    return (
        f"{start}: {count} of "
        f"{metric['n_synthetic']} images ({share:.1f} %, 95 % interval {100 * metric['ci_low']:.1f} to "
        f"{100 * metric['ci_high']:.1f} %) lie nearer to one of {metric['n_training']:,} training images than 99 % of "
        f"unseen patients do; of unseen patients' own images {100 * metric['expected']:.1f} % would."
    )


def _chart(distances: dict[str, list[float]], threshold: float | None) -> Chart:
    from synthcxr.report.charts import histograms

    return Chart(
        "Distance to the nearest image",
        str(histograms(distances, threshold, "distance to the nearest image")),
        "Between identities, which see through blur, contrast and small shifts; from 0 to 2."
        + ("" if threshold is None else " Left of the dashed line an image counts as a near-copy."),
    )


def _sheet(real: FeatureSet, synthetic: FeatureSet, training: FeatureSet | None) -> Sheet:
    near = nearest(synthetic.identity, real.identity)
    far = nearest(synthetic.identity, training.identity) if training else None
    groups: list[list[tuple[Row | None, str]]] = []
    for i in np.argsort((far or near).distance, kind="stable")[:SHOWN].tolist():
        j = int(near.index[i])
        group = [
            (synthetic.rows[i], synthetic.labels[i]),
            (real.rows[j] if real.is_dataset else None, f"real {real.labels[j]}: {near.distance[i]:.3g}"),
        ]
        if training and far:
            t = int(far.index[i])
            row = training.rows[t] if training.is_dataset else None
            group.append((row, f"training {training.labels[t]}: {far.distance[i]:.3g}"))
        groups.append(group)
    if not any(row for group in groups for row, _ in group[1:]):  # nothing to lay beside them
        groups = [[(group[0][0], "; ".join(words for _, words in group))] for group in groups]
    return Sheet(
        "Nearest to what the model has seen" if training else "Nearest to real images",
        tuple(each for group in groups for each in group),
        per_line=len(groups[0]),
        note="Each synthetic image with its nearest real and training images and the distance to them. These are shown "
        "only where they come from a dataset, with its terms.",
    )
