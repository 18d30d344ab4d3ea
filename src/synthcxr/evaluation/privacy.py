"""Privacy: near-copies by identity and by pixels, membership inference, and whether a set may leave the house by them.

Copies are counted against a yardstick: how near unseen real patients come to the training images by chance.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from synthcxr.evaluation.answer import Answer, Chart, Sheet
from synthcxr.evaluation.copies import answer_copies
from synthcxr.evaluation.distances import distance_blocks
from synthcxr.evaluation.features import FeatureSet
from synthcxr.evaluation.intervals import Floats
from synthcxr.evaluation.measure import metric
from synthcxr.evaluation.membership import distance_attack, loss_attack
from synthcxr.evaluation.neighbours import MINIMUM_HELD_OUT, Calibration, calibrate, near_copy_rate
from synthcxr.evaluation.registration import Detail, Registration, detail, register
from synthcxr.imagefolder import Row
from synthcxr.progress import say, track
from synthcxr.store import Json

if TYPE_CHECKING:
    from synthcxr.models.registry import Reference

CANDIDATES = 5
"""Nearest training images by identity that an image is laid over."""
SHOWN = 8
"""Images shown beside what they lie nearest to."""
COPY_METRICS = ("near_copy_rate", "pixel_copy_rate")
SET_ATTACK = "membership_auc_distance"
NOTICEABLE = 0.6
"""Area of the attack on the set above which, by the lower end of its interval, it is held back.

At 0.5 the attacker guesses. Slight differences between how training and test patients were chosen move an attack a
little, too, so that what blocks is more than one.
"""


def answer_privacy(
    real: FeatureSet,
    synthetic: FeatureSet,
    training: FeatureSet | None,
    *,
    no_training: str = "",
    model: "Reference | None",
    no_model: str = "",
    seed: int,
    device: str,
) -> Answer:
    """Whether the set, or the model, gives its training patients away.

    `no_training` and `no_model` say why these are not known.

    The metrics are near-copies by identity (`answer_copies`) and by pixels, and two attacks of membership inference;
    that on the loss needs the `model`. Those that need pixels of the training have the reason where there are none.
    """
    copies = answer_copies(real, synthetic, training, no_training=no_training)
    pixels = compare_pixels(real, synthetic, training, no_training)
    attacks = (
        distance_attack(real, synthetic, training, no_training),
        loss_attack(model, real, synthetic, training, no_training, no_model, seed=seed, device=device),
    )
    metrics = (*copies.metrics, pixels.metric, *attacks)
    return replace(
        copies,
        verdict=_verdict(copies.verdict, metrics),
        metrics=metrics,
        charts=(*copies.charts, *pixels.charts),
        sheets=(*copies.sheets, *pixels.sheets),
        files={**copies.files, **({"privacy.jsonl": pixels.rows} if pixels.rows else {})},
    )


# --- whether it may leave ----------------------------------------------------------------------------------


def objections(metrics: Sequence[Json]) -> list[str]:
    """Why a set should not be given away, by the figures of a report; empty where nothing speaks against it.

    More near-copies than unseen patients would have by chance, or an attack that tells training patients by the set.
    What could not be counted objects, too, unless another count of copies could: nobody has looked.
    """
    by_name = {each["name"]: each for each in metrics}
    counted = [by_name[name] for name in COPY_METRICS if name in by_name and by_name[name]["value"] is not None]
    found = []
    if not counted:
        reasons = [str(by_name[name]["reason"]) for name in COPY_METRICS if name in by_name]
        found.append(f"Near-copies were not counted. {' '.join(dict.fromkeys(reasons))}".strip())
    for each in counted:
        if each["ci_low"] > each["expected"]:
            kind = "identity" if each["name"] == COPY_METRICS[0] else "pixels"
            found.append(
                f"By {kind}, {100 * each['value']:.1f} % of the images are near-copies of training images (at least "
                f"{100 * each['ci_low']:.1f} %), where {100 * each['expected']:.1f} % would be by chance."
            )
    attack = by_name.get(SET_ATTACK)
    if attack and attack["ci_low"] is not None and attack["ci_low"] > NOTICEABLE:
        found.append(
            f"By the set alone, an attacker tells training patients from others with an AUC of {attack['value']:.2f} "
            f"(at least {attack['ci_low']:.2f}; 0.5 is guessing)."
        )
    return found


def _verdict(copies: str, metrics: Sequence[Json]) -> str:
    parts = [copies]
    by_name = {each["name"]: each for each in metrics}
    pixels = by_name["pixel_copy_rate"]
    if pixels["value"] is not None:
        count = round(pixels["value"] * pixels["n_synthetic"])
        parts.append(
            f"Laid over each other, {count} of {pixels['n_synthetic']} images fit a training image better than 99 % of "
            f"unseen patients' do ({100 * pixels['ci_low']:.1f} to {100 * pixels['ci_high']:.1f} %)."
        )
    for name, by_what in ((SET_ATTACK, "the set alone"), ("membership_auc_loss", "the model's loss")):
        each = by_name[name]
        if each["value"] is not None:
            interval = "" if each["ci_low"] is None else f"{each['ci_low']:.2f} to {each['ci_high']:.2f}; "
            area = f"{each['value']:.2f} ({interval}0.5 is guessing)"
            parts.append(f"By {by_what}, an attacker tells training patients from others with an AUC of {area}.")
    parts.append("A privacy gate would hold it back." if objections(metrics) else "A privacy gate would let it pass.")
    return " ".join(parts)


# --- by pixels ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Pixels:
    """Near-copies by pixels: the metric, a row an image (for ``privacy.jsonl``), and what to look at."""

    metric: Json
    rows: tuple[Json, ...] = ()
    charts: tuple[Chart, ...] = ()
    sheets: tuple[Sheet, ...] = ()


@dataclass(frozen=True)
class Laid:
    """Where each of N images fits a training image best: that one's `place` (N,), and how it lies."""

    place: tuple[int, ...]
    how: tuple[Registration, ...]

    @property
    def distance(self) -> Floats:
        """1 - correlation (N,): 0 is the same picture."""
        return np.array([1 - each.correlation for each in self.how])


def compare_pixels(real: FeatureSet, synthetic: FeatureSet, training: FeatureSet | None, no_training: str) -> Pixels:
    """The share of synthetic images that fit a training image better, laid over it, than 99 % of unseen patients do."""
    trained = {key for key in training.keys if key} if training else set()
    fresh = [place for place, key in enumerate(real.keys) if key not in trained]
    reason = ""
    if training is None:
        reason = no_training
    elif not all(training.rows):
        reason = f"{training.name} has features alone; pixels need the images: give --training DATASET."
    elif not all(real.rows) or len(fresh) < MINIMUM_HELD_OUT:
        there = len(fresh) if all(real.rows) else 0
        reason = (
            f"Too few real images of patients outside the training: {MINIMUM_HELD_OUT} are needed to learn how well "
            f"unrelated patients fit, here are {there}."
        )
    elif not all(synthetic.rows):
        reason = f"{synthetic.name} has features alone."
    if reason or training is None:
        return Pixels(_metric(real, synthetic, training, None, None, reason))
    say("Laying images over the training images nearest to them.")
    held: dict[int, Detail] = {}
    unseen = _lay(real, fresh, training, held)
    drawn = _lay(synthetic, range(len(synthetic)), training, held)
    calibration = calibrate(unseen.distance)
    rows = tuple(
        {
            "file_name": synthetic.labels[i],
            "training": training.labels[place],
            "correlation": round(how.correlation, 4),
            "scale": how.scale,
            "shift_right": round(how.right, 4),
            "shift_down": round(how.down, 4),
            "near_copy": bool(1 - how.correlation < calibration.threshold),
        }
        for i, (place, how) in enumerate(zip(drawn.place, drawn.how, strict=True))
    )
    return Pixels(
        _metric(real, synthetic, training, drawn, calibration, ""),
        rows,
        (_chart(drawn, calibration),),
        (
            _sheet("Fit a training image best", synthetic, range(len(synthetic)), training, drawn, shown=True),
            _sheet(
                "For comparison: unseen real patients who fit one best",
                real,
                fresh,
                training,
                unseen,
                shown=real.is_dataset,
            ),
        ),
    )


def _lay(side: FeatureSet, places: Sequence[int], training: FeatureSet, held: dict[int, Detail]) -> Laid:
    """Lay these images of a side over the training images nearest to them by identity; `held` keeps details."""
    count = min(CANDIDATES, len(training))
    queries = side.identity[list(places)]
    blocks = distance_blocks(queries, training.identity)
    candidates = np.concatenate([np.argsort(block, axis=1, kind="stable")[:, :count] for _, block in blocks])
    best_place, best = [], []
    for number, place in track(list(enumerate(places)), "images", len(places)):
        image = detail(_row(side, place).read())
        found = []
        for other in candidates[number].tolist():
            if other not in held:
                held[other] = detail(_row(training, other).read())
            found.append((other, register(image, held[other])))
        other, how = max(found, key=lambda each: each[1].correlation)
        best_place.append(other)
        best.append(how)
    return Laid(tuple(best_place), tuple(best))


def _row(side: FeatureSet, place: int) -> Row:
    row = side.rows[place]
    assert row is not None
    return row


def _metric(
    real: FeatureSet,
    synthetic: FeatureSet,
    training: FeatureSet | None,
    drawn: Laid | None,
    calibration: Calibration | None,
    reason: str,
) -> Json:
    more: Json = {"n_training": len(training) if training else None}
    if calibration:
        more |= calibration.as_fields("fit as well")
    made = metric(
        "pixel_copy_rate",
        near_copy_rate(drawn.distance, calibration) if drawn and calibration else None,
        n_real=len(real),
        n_synthetic=len(synthetic),
        title="Near-copies by pixels",
        meaning=f"share that fits one of its {CANDIDATES} nearest training images, at a small shift and scale, better "
        "than 99 % of unseen patients do",
        unit="share",
        better="lower",
        interval="95 % Wilson interval, the threshold held fixed",
        estimand="The share among endless images of this model, by this threshold.",
        reason=reason,
        **more,
    )
    return {**made, "preprocessing": "8-bit grey, central square, 96 px, slow changes taken out"}


def _chart(drawn: Laid, calibration: Calibration) -> Chart:
    from synthcxr.report.charts import histograms

    lists = {
        "synthetic to training": drawn.distance.tolist(),
        "unseen real to training": calibration.held_out.tolist(),
    }
    return Chart(
        "How well images fit a training image",
        str(histograms(lists, calibration.threshold, "1 - correlation after registration")),
        "0 is the same picture, 1 nothing in common. Left of the dashed line an image counts as a near-copy.",
    )


def _sheet(
    title: str, side: FeatureSet, places: Sequence[int], training: FeatureSet, laid: Laid, *, shown: bool
) -> Sheet:
    """The images of a side that fit best, each beside its training image; real ones only where of a dataset."""
    images: list[tuple[Row | None, str]] = []
    for number in np.argsort(laid.distance, kind="stable")[:SHOWN].tolist():
        place, other, how = places[number], laid.place[number], laid.how[number]
        shift = f"{100 * how.right:+.0f}, {100 * how.down:+.0f} %"
        fits = f"correlation {how.correlation:.2f}, scale {how.scale:g}, shift {shift}"
        images += [
            (side.rows[place] if shown else None, side.labels[place]),
            (training.rows[other] if training.is_dataset else None, f"training {training.labels[other]}: {fits}"),
        ]
    return Sheet(title, tuple(images), per_line=2, note="Correlation of fine detail after registration: 1 is the same.")
