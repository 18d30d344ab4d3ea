"""Figures: the one constructor of an entry of ``report.json``, and the distances and shares between two sides."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Literal

import numpy as np

from synthcxr.evaluation.features import FeatureSet
from synthcxr.evaluation.floor import Floor, floors
from synthcxr.evaluation.frechet import frechet_distance, frechet_interval, moments
from synthcxr.evaluation.intervals import GROUPS, Estimate, Floats, Ints, assign_groups, median_interval
from synthcxr.evaluation.kid import kid, kid_interval
from synthcxr.evaluation.neighbours import (
    MINIMUM_HELD_OUT,
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

Better = Literal["lower", "higher", "floor", "zero", "real", ""]
"""Which way a figure is better: towards its floor, towards zero (a difference), as real images are, or no way."""


def metric(
    name: str,
    estimate: Estimate | None,
    *,
    n_real: int,
    n_synthetic: int,
    unit: str = "",
    better: Better = "",
    interval: str = "",
    estimand: str = "",
    extractor: FeatureSet | None = None,
    reason: str = "",
    warning: str = "",
    floor: Floor | None = None,
    ceiling: float | None = None,
    useless: float | None = None,
    **more: object,
) -> Json:
    """An entry of ``report.json``'s `metrics`: every figure of a report is made here.

    Without an estimate its value is null and `reason` says why. `interval` is how the interval is made, `estimand` what
    it covers. `extractor` is a side whose features the figure is of; leave it out where it is of none. `floor` is what
    two halves of real patients give, `ceiling` the best that can be (the same figure on real images), `useless` what a
    set without any worth gives (noise, guessing). `more` are further fields: ``title`` and ``meaning`` for the page,
    ``group``, ``k``, ``n_training``, …
    """
    if not estimate and not reason:
        raise ValueError(f"The figure {name} has neither a value nor a reason.")
    if estimate and estimate.low is None and not reason:
        reason = "Too few images, or patients, for an interval."
    return {
        "name": name,
        "value": estimate.value if estimate else None,
        "ci_low": estimate.low if estimate else None,
        "ci_high": estimate.high if estimate else None,
        "n_real": n_real,
        "n_synthetic": n_synthetic,
        "extractor": extractor.encoder if extractor else None,
        "extractor_sha256": extractor.encoder_sha256 if extractor else None,
        "preprocessing": extractor.preprocessing if extractor else None,
        "floor": asdict(floor) if floor else None,
        "ceiling": ceiling,
        "useless": useless,
        "unit": unit,
        "better": better,
        "interval": interval,
        "estimand": estimand,
        "reason": reason or None,
        "warning": warning or None,
        **more,
    }


# --- the figures of two sides ------------------------------------------------------------------------------

_JACKKNIFE = f"95 % jackknife over {GROUPS} groups of patients a side, for the expectation at these N"
_WILSON = f"{_JACKKNIFE}; Wilson at the effective number of images"
_AT_N = "Its expectation at these numbers of images, which for a distance is above that of endless images."


@dataclass(frozen=True)
class Kind:
    """What a metric is called and means, its unit, which way is better, how its interval is made and what it covers."""

    title: str
    meaning: str
    unit: str
    better: Better
    interval: str
    estimand: str = _AT_N


KINDS = {
    "frechet_distance": Kind(
        "Fréchet distance",
        "how far the set lies from real X-rays as a whole; 0 is the same",
        "squared feature units",
        "lower",
        f"{_JACKKNIFE}; made for its root",
    ),
    "kid": Kind(
        "Kernel distance (KID)",
        "the same question, without bias at small numbers",
        "squared kernel units",
        "lower",
        f"{_JACKKNIFE} (the value is unbiased); made for its root",
        "The distance between the populations: the value is unbiased at any N.",
    ),
    "precision": Kind(
        "Precision", "share of synthetic images that lie among the real ones", "share", "higher", _WILSON
    ),
    "recall": Kind("Recall", "share of real images that the synthetic ones reach", "share", "higher", _WILSON),
    "density": Kind(
        "Density",
        "how many real neighbourhoods a synthetic image lies in, about 1 as real ones do",
        "ratio",
        "higher",
        _JACKKNIFE,
    ),
    "coverage": Kind("Coverage", "share of real images with a synthetic one nearby", "share", "higher", _WILSON),
    "near_copy_rate": Kind(
        "Near-copies",
        "share nearer to a training image than 99 % of unseen patients are",
        "share",
        "lower",
        "95 % Wilson interval, the threshold held fixed",
        "The share among endless images of this model, by this threshold.",
    ),
    "nearest_real_distance": Kind(
        "Distance to the nearest real image",
        "median; far below the floor means copies, far above it images unlike any real one",
        "feature units",
        "floor",
        "95 % by order statistics, these real images held fixed",
        "The median over endless images of this model, to these real images.",
    ),
}
"""Every metric of `measure` by name. `better` is "floor" where a value near the floor is good, and any other worse."""
DISTANCES = ("frechet_distance", "kid", "precision", "recall", "density", "coverage")


def measure(
    real: FeatureSet,
    synthetic: FeatureSet,
    training: FeatureSet | None,
    *,
    no_training: str,
    k: int,
    seed: int,
) -> list[Json]:
    """All of `KINDS` for synthetic features by real ones and the training's; `no_training` says why there is none."""
    *shares, nearest_real = distances(real, synthetic, k=k, seed=seed)
    return [*shares, near_copies(real, synthetic, training, no_training=no_training).metric, nearest_real]


def distances(real: FeatureSet, synthetic: FeatureSet, *, k: int, seed: int, noise: Floats | None = None) -> list[Json]:
    """The six metrics of realism and variety and the distance to the nearest real image, with intervals and floors.

    Metrics that too few images allow no interval have none, those that they do not allow at all the reason.
    `noise` (M, D) are features of images without any worth: what they give is each metric's `useless`.
    """
    groups = (
        assign_groups(real.patients, GROUPS, np.random.default_rng([seed, 0])),
        assign_groups(np.arange(len(synthetic)), GROUPS, np.random.default_rng([seed, 1])),
    )
    floor = floors(real.features, real.patients, partial(point_values, k=k), seed)
    useless = {} if noise is None else point_values(real.features, noise, k)
    about = _About(real, synthetic, floor, useless)
    nearest_real = median_interval(nearest(synthetic.features, real.features).distance)
    return [
        *_realism(real.features, synthetic.features, groups, k, about),
        about.metric("nearest_real_distance", nearest_real),
    ]


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
    """What every metric of two sides has in common."""

    real: FeatureSet
    synthetic: FeatureSet
    floor: Mapping[str, Floor]
    useless: Mapping[str, float] | None = None

    def metric(self, name: str, estimate: Estimate | None, reason: str = "", **more: object) -> Json:
        """One entry of `metrics`; without an estimate its value is null and `reason` says why."""
        few = bool(estimate) and min(len(self.real), len(self.synthetic)) < FEW
        warning = f"Fewer than {FEW} images on a side: the value depends strongly on their number." if few else ""
        kind = KINDS[name]
        return metric(
            name,
            estimate,
            n_real=len(self.real),
            n_synthetic=len(self.synthetic),
            title=kind.title,
            meaning=kind.meaning,
            unit=kind.unit,
            better=kind.better,
            interval=kind.interval,
            estimand=kind.estimand,
            extractor=self.synthetic,
            reason=reason,
            floor=self.floor.get(name),
            useless=(self.useless or {}).get(name),
            **{"warning": warning, **more},  # type: ignore[arg-type]
        )


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
    for name in DISTANCES:
        needed = 2 if name in ("frechet_distance", "kid") else k + 1
        here = f"here are {len(real)} real and {len(synthetic)} synthetic"
        too_few = "" if name in estimates else f"Too few images: {needed} are needed a side, {here}."
        entries.append(about.metric(name, estimates.get(name), too_few, **({} if needed == 2 else {"k": k})))
    return entries


# --- near-copies -------------------------------------------------------------------------------------------


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


@dataclass(frozen=True)
class NearCopies:
    """The near-copy rate, and what it rests on: nearest neighbours by identity and the threshold's calibration."""

    metric: Json
    nearest_real: Nearest
    nearest_training: Nearest | None
    calibration: Calibration | None


def near_copies(
    real: FeatureSet, synthetic: FeatureSet, training: FeatureSet | None, *, no_training: str
) -> NearCopies:
    """The share of images nearer to the training than unseen patients are; `no_training` says why there is none."""
    near_real = nearest(synthetic.identity, real.identity)
    about = _About(real, synthetic, {})
    if training is None:
        return NearCopies(about.metric("near_copy_rate", None, no_training, n_training=None), near_real, None, None)
    near = nearest(synthetic.identity, training.identity)
    calibration, reason = _calibration(real, training)
    more: Json = {"n_training": len(training)}
    if calibration is None:
        return NearCopies(about.metric("near_copy_rate", None, reason, **more), near_real, near, None)
    more |= calibration.as_fields("lie below it")
    rate = about.metric("near_copy_rate", near_copy_rate(near.distance, calibration), **more)
    return NearCopies(rate, near_real, near, calibration)
