"""Thresholds of the encoder's rules, from real patients that the encoder was not trained on, and how well they do."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from synthcxr.data.gate.atlas import decode_atlas, directions_of, encode_atlas, fit_atlas, outside, strangeness
from synthcxr.data.gate.looks import (
    WAYS,
    Calibration,
    Floats,
    change,
    classify_child,
    content,
    from_json,
    judge_block,
    orientation,
    stated_child,
)
from synthcxr.evaluation.encoder import Encoder
from synthcxr.evaluation.intervals import wilson
from synthcxr.images import Grey
from synthcxr.prompts import Subject
from synthcxr.seeds import seed_for
from synthcxr.store import Json

FALSE_RATE = 0.01
"""Share of real frontal X-rays that the atlas may take for something else."""
PARTS = 10
MARGIN = 0.05
"""The child's and the adult's threshold may not lie beyond the probability of 1/2 less this."""


def calibrate(
    encoder: Encoder,
    training: Sequence[Grey],
    patients: Sequence[str],
    held_out: Sequence[Grey],
    subjects: Sequence[Subject],
) -> Json:
    """The JSON of a calibration, but for its hashes.

    The atlas and the classifier of turns and inversion are fitted on the `training` images of some `patients`. The
    threshold of the atlas is the highest percent of the scores of the `held_out` images and, by an atlas without
    their patients, of the training images. The other thresholds are the largest scores of the `held_out` images
    (N), whose labels are `subjects`: a further image of the same kind lies above with a probability of 1 / (N + 1).
    """
    training, held_out = [content(image) for image in training], [content(image) for image in held_out]
    weights, bias = (np.round(values, 6) for values in fit_ways(encoder, training))
    directions = directions_of(training)
    rows = encode_atlas(fit_atlas(directions))
    atlas = decode_atlas(rows)  # as it will be read: thresholds are of the rounded numbers
    unseen = np.concatenate([scores_unseen(directions, patients), strangeness(held_out, atlas)])
    far, far_rate = upper(unseen, FALSE_RATE)
    features = encoder.extract(held_out, 64, "cpu").features
    evidence = _evidence(Calibration(atlas, far, weights, bias, 0.0, 1.0, 0.0), encoder, held_out, features)
    child = classify_child(encoder, features).tolist()
    stated = [stated_child(subject) for subject in subjects]
    adults = [p for p, known in zip(child, stated, strict=True) if known is False]
    children = [p for p, known in zip(child, stated, strict=True) if known is True]
    count = len(held_out)
    return {
        "not_frontal": {
            "atlas": rows,
            "far": far,
            "false_rate": far_rate,
            "images": len(unseen),
        },
        "orientation": {
            "weights": weights.tolist(),
            "bias": bias.tolist(),
            "evidence": _round_up(evidence),
            "false_rate": round(1 / (count + 1), 5),
            "images": count,
        },
        "wrong_label": {
            "child_above": _round_up(max([*adults, 0.5 + MARGIN])),
            "adult_below": -_round_up(-min([*children, 0.5 - MARGIN])),
            "adults": len(adults),
            "children": len(children),
        },
    }


def scores_unseen(directions: Floats, patients: Sequence[str]) -> Floats:
    """Scores (n,) of images by atlases that were fitted without their patients, in ten parts."""
    part = np.array([seed_for("part", patient) % PARTS for patient in patients])
    scores = np.zeros(len(directions))
    for number in set(part.tolist()):
        scores[part == number] = outside(directions[part == number], fit_atlas(directions[part != number]))
    return scores


def upper(scores: Floats, rate: float) -> tuple[float, float]:
    """The score above which a further image lies with a probability of `rate` at most, and that probability.

    It is an order statistic: a further score is above the r-th largest of N with a probability of r / (N + 1).
    """
    rank = max(1, int(rate * (len(scores) + 1)))
    return _round_up(float(np.sort(scores)[-rank])), round(rank / (len(scores) + 1), 5)


def fit_ways(encoder: Encoder, images: Sequence[Grey]) -> tuple[Floats, Floats]:
    """Weights (5, D) and bias (5,) of a logistic regression that tells by features what was done to an image."""
    from sklearn.linear_model import LogisticRegression

    ways = range(len(WAYS))
    features = np.concatenate([encoder.extract((change(i, way) for i in images), 64, "cpu").features for way in ways])
    values = features.astype(np.float64)
    mean, scale = values.mean(axis=0), values.std(axis=0)
    fitted = LogisticRegression(C=1.0, max_iter=1000).fit((values - mean) / scale, np.repeat(ways, len(images)))
    weights = fitted.coef_ / scale
    return weights, fitted.intercept_ - weights @ mean


def _evidence(
    calibration: Calibration, encoder: Encoder, images: Sequence[Grey], features: npt.NDArray[np.float32]
) -> float:
    """The largest evidence that an upright image gives of having been changed; 0 where none gives any."""
    return max([evidence for _, evidence in orientation(images, features, encoder, calibration, "cpu")], default=0.0)


def _round_up(value: float) -> float:
    return float(np.ceil(value * 1e4) / 1e4)


def measure(
    held: Json,
    encoder: Encoder,
    real: Mapping[str, tuple[Sequence[Grey], Sequence[Subject]]],
    objects: Mapping[str, Sequence[Grey]],
) -> Json:
    """What the calibrated rules say of real images by source, of the same ones changed, and of other objects.

    Each entry has the share of images by rule, the number of images and the 95 % interval (Wilson) of all the shares.
    """
    calibration = from_json(held)
    found: Json = {}
    for source, (images, subjects) in real.items():
        for way, name in enumerate(WAYS):
            changed = [change(image, way) for image in images]
            verdicts = _verdicts(changed, subjects, encoder, calibration)
            found[f"{source}, {name}"] = _shares([verdict for verdict, _ in verdicts])
            if way == 0:
                found[f"{source}, {name}"]["warnings"] = sum(bool(warning) for _, warning in verdicts)
        swapped = [_swap(subject) for subject in subjects]
        known = [k for k, subject in enumerate(swapped) if subject is not None]
        labels = [swapped[k] or Subject() for k in known]
        verdicts = _verdicts([images[k] for k in known], labels, encoder, calibration)
        passed = [warning for rule, warning in verdicts if not rule]
        found[f"{source}, child and adult exchanged"] = _shares(["wrong-label" if w else "" for w in passed])
    for kind, images in objects.items():
        verdicts = _verdicts(images, [Subject()] * len(images), encoder, calibration)
        found[f"object: {kind}"] = _shares([rule for rule, _ in verdicts])
    return found


def _verdicts(
    images: Sequence[Grey], subjects: Sequence[Subject], encoder: Encoder, calibration: Calibration
) -> list[tuple[str, str]]:
    verdicts: list[tuple[str, str]] = []
    for start in range(0, len(images), 64):
        block = slice(start, start + 64)
        judged = judge_block(images[block], subjects[block], encoder, calibration, device="cpu")
        verdicts += [(verdict.rule, verdict.warning) for verdict in judged]
    return verdicts


def _swap(subject: Subject) -> Subject | None:
    """The subject with a label that is wrong on purpose; None where it states neither child nor adult."""
    child = stated_child(subject)
    return None if child is None else Subject(age=40 if child else 4)


def _shares(rules: Sequence[str]) -> Json:
    count = len(rules)
    shares = {}
    for rule in sorted(set(rules) - {""}):
        low, high = wilson(rules.count(rule), count)
        shares[rule] = {"share": round(rules.count(rule) / count, 4), "low": round(low, 4), "high": round(high, 4)}
    return {"images": count, "rules": shares}
