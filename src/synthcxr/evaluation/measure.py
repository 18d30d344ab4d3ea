"""All metrics of one comparison, each with its interval and floor, or the reason why there is no value."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial

import numpy as np

from synthcxr.evaluation.features import FeatureSet
from synthcxr.evaluation.floor import Floor, floors
from synthcxr.evaluation.frechet import frechet_distance, frechet_interval, moments
from synthcxr.evaluation.intervals import GROUPS, Estimate, Floats, Ints, assign_groups, median_interval
from synthcxr.evaluation.kid import kid, kid_interval
from synthcxr.evaluation.neighbours import (
    MINIMUM_HELD_OUT,
    QUANTILE,
    Calibration,
    Nearest,
    calibrate,
    near_copy_rate,
    nearest,
)
from synthcxr.evaluation.prdc import prdc, prdc_interval
from synthcxr.store import Json

FEW = 50
"""Images a side below which a value says more of the number than of the images."""

_JACKKNIFE = f"95 % jackknife over {GROUPS} groups of patients a side, for the expectation at these N"


@dataclass(frozen=True)
class Kind:
    """What a metric is: its unit, which way is better, how its interval is made and what it is for."""

    unit: str
    better: str
    interval: str


KINDS = {
    "frechet_distance": Kind("squared feature units", "lower", f"{_JACKKNIFE}; made for its root"),
    "kid": Kind("squared kernel units", "lower", f"{_JACKKNIFE} (the value is unbiased); made for its root"),
    "precision": Kind("share", "higher", f"{_JACKKNIFE}; Wilson at the effective number of images"),
    "recall": Kind("share", "higher", f"{_JACKKNIFE}; Wilson at the effective number of images"),
    "density": Kind("ratio", "higher", _JACKKNIFE),
    "coverage": Kind("share", "higher", f"{_JACKKNIFE}; Wilson at the effective number of images"),
    "near_copy_rate": Kind("share", "lower", "95 % Wilson interval, the threshold held fixed"),
    "nearest_real_distance": Kind("feature units", "floor", "95 % by order statistics, these real images held fixed"),
}
"""Every metric by name. `better` is "floor" where a value near the floor is good, and any other is worse."""


@dataclass(frozen=True)
class Measured:
    """The metrics of a report, and what they rest on: nearest neighbours by identity and near-copy calibration."""

    metrics: list[Json]
    nearest_real: Nearest
    nearest_training: Nearest | None
    calibration: Calibration | None


def measure(
    real: FeatureSet,
    synthetic: FeatureSet,
    training: FeatureSet | None,
    *,
    no_training: str,
    k: int,
    seed: int,
) -> Measured:
    """Judge synthetic features by real ones and the training's; `no_training` says why those are missing."""
    real_groups = assign_groups(real.patients, GROUPS, np.random.default_rng([seed, 0]))
    synthetic_groups = assign_groups(np.arange(len(synthetic)), GROUPS, np.random.default_rng([seed, 1]))
    near_real = nearest(synthetic.identity, real.identity)
    near_training = nearest(synthetic.identity, training.identity) if training else None
    calibration, no_copies = _calibration(real, training) if training else (None, no_training)
    floor = floors(real.features, real.patients, partial(point_values, k=k), seed)
    about = _About(real, synthetic, floor)
    metrics = [
        *_realism(real.features, synthetic.features, (real_groups, synthetic_groups), k, about),
        _near_copies(near_training, calibration, no_copies, training, about),
        about.metric("nearest_real_distance", median_interval(nearest(synthetic.features, real.features).distance)),
    ]
    return Measured(metrics, near_real, near_training, calibration)


def point_values(real: Floats, synthetic: Floats, k: int) -> dict[str, float]:
    """The value of every metric that these numbers of images allow, without intervals."""
    fewest = min(len(real), len(synthetic))
    values = {"nearest_real_distance": float(np.median(nearest(synthetic, real).distance))}
    if fewest >= 2:
        values["frechet_distance"] = frechet_distance(moments(real), moments(synthetic))
        values["kid"] = kid(real, synthetic)
    if fewest > k:
        values |= prdc(real, synthetic, k)
    return values


@dataclass(frozen=True)
class _About:
    """What every metric of a report has in common."""

    real: FeatureSet
    synthetic: FeatureSet
    floor: Mapping[str, Floor]

    def metric(self, name: str, estimate: Estimate | None, reason: str = "", **more: object) -> Json:
        """One entry of `metrics`; without an estimate its value is null and `reason` says why."""
        floor = self.floor.get(name)
        entry: Json = {
            "name": name,
            "value": estimate.value if estimate else None,
            "ci_low": estimate.low if estimate else None,
            "ci_high": estimate.high if estimate else None,
            "n_real": len(self.real),
            "n_synthetic": len(self.synthetic),
            "extractor": self.synthetic.encoder,
            "extractor_sha256": self.synthetic.encoder_sha256,
            "preprocessing": self.synthetic.preprocessing,
            "floor": asdict(floor) if floor else None,
            **asdict(KINDS[name]),
            "reason": reason or None,
            "warning": None,
            **more,
        }
        if estimate and estimate.low is None:
            entry["reason"] = "Too few images, or patients, for an interval."
        if estimate and min(len(self.real), len(self.synthetic)) < FEW:
            entry["warning"] = f"Fewer than {FEW} images on a side: the value depends strongly on their number."
        return entry


def _realism(real: Floats, synthetic: Floats, groups: tuple[Ints, Ints], k: int, about: _About) -> list[Json]:
    """The six metrics of realism and variety: with intervals, or if too few images without, or the reason."""
    values = point_values(real, synthetic, k)
    # What is left of each side without its largest group must do for the metric, too.
    left = min(len(side) - int(np.bincount(g).max()) for side, g in zip((real, synthetic), groups, strict=True))
    estimates: dict[str, Estimate] = {name: Estimate(value) for name, value in values.items()}
    with_intervals: list[tuple[int, Callable[[], dict[str, Estimate]]]] = [
        (2, lambda: {"frechet_distance": frechet_interval(real, synthetic, *groups)}),
        (2, lambda: {"kid": kid_interval(real, synthetic, *groups)}),
        (k + 1, lambda: prdc_interval(real, synthetic, k, *groups)),
    ]
    for needed, compute in with_intervals:
        if left >= needed:
            estimates |= compute()
    entries = []
    for name in ("frechet_distance", "kid", "precision", "recall", "density", "coverage"):
        needed = 2 if name in ("frechet_distance", "kid") else k + 1
        here = f"here are {len(real)} real and {len(synthetic)} synthetic"
        too_few = "" if name in estimates else f"Too few images: {needed} are needed a side, {here}."
        entries.append(about.metric(name, estimates.get(name), too_few, **({} if needed == 2 else {"k": k})))
    return entries


def _calibration(real: FeatureSet, training: FeatureSet) -> tuple[Calibration | None, str]:
    """The near-copy threshold from the real patients that are not in the training, or the reason for none."""
    trained = {key for key in training.keys if key}
    fresh = np.array([key not in trained for key in real.keys])
    if fresh.sum() < MINIMUM_HELD_OUT:
        return None, (
            f"Too few real images of patients outside the training: {MINIMUM_HELD_OUT} are needed to learn "
            f"how near unrelated patients come, here are {int(fresh.sum())}."
        )
    return calibrate(nearest(real.identity[fresh], training.identity).distance), ""


def _near_copies(
    near: Nearest | None,
    calibration: Calibration | None,
    reason: str,
    training: FeatureSet | None,
    about: _About,
) -> Json:
    n_training = len(training) if training else None
    if near is None or calibration is None:
        return about.metric("near_copy_rate", None, reason, n_training=n_training)
    more: Json = {
        "n_training": n_training,
        "n_held_out": len(calibration.held_out),
        "threshold": calibration.threshold,
        "expected": calibration.expected,
    }
    entry = about.metric("near_copy_rate", near_copy_rate(near.distance, calibration), **more)
    if len(calibration.held_out) * QUANTILE < 1:
        entry["warning"] = (
            f"The threshold rests on {len(calibration.held_out)} held-out images: "
            f"{calibration.expected:.1%} of fresh real images would lie below it, not 1 %."
        )
    return entry
