"""One reader's figures: how many of which images were called right, each share and area with its N and interval."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from synthcxr.store import Json
from synthcxr.study.answers import Answer
from synthcxr.study.plan import Truth
from synthcxr.study.statistics import proportion, roc
from synthcxr.study.statistics.detection import Detection, detection

POSITIVE: Truth = "synthetic"
"""Sensitivity is the share of synthetic images called synthetic, specificity of real ones called real."""

COLUMNS = ("reader", "N", "accuracy", "sensitivity", "specificity", "AUC", "unanswered")
"""The headings of `Reading.row`."""


@dataclass(frozen=True)
class Proportion:
    """`right` of `n` answers, as a share with its 95 % Wilson interval; None, and the reason, if `n` is 0."""

    right: int
    n: int
    value: float | None = None
    ci_low: float | None = None
    ci_high: float | None = None
    reason: str | None = None

    def __str__(self) -> str:
        """The share, its interval and its counts."""
        if self.value is None:
            return f"– ({self.reason})"
        return f"{self.value:.3f} ({self.ci_low:.3f}–{self.ci_high:.3f}), {self.right} of {self.n}"


@dataclass(frozen=True)
class Auc:
    """Area under the ROC curve over the `n` answers with a confidence, with DeLong's interval; None if undefined."""

    n: int
    value: float | None = None
    ci_low: float | None = None
    ci_high: float | None = None
    reason: str | None = None

    def __str__(self) -> str:
        """The area, its interval and its N."""
        if self.value is None:
            return "–"
        ends = "" if self.ci_low is None else f" ({self.ci_low:.3f}–{self.ci_high:.3f})"
        return f"{self.value:.3f}{ends}, N {self.n}"


@dataclass(frozen=True)
class Reading:
    """The figures of one reader, or of all together. `unanswered` images are in none of the others."""

    reader: str
    unanswered: int
    accuracy: Proportion
    sensitivity: Proportion
    specificity: Proportion
    auc: Auc
    detection: Detection | None = None

    def to_json(self) -> Json:
        """The figures as JSON, with the four counts that they come from."""
        return {
            "reader": self.reader,
            "n": self.accuracy.n,
            "unanswered": self.unanswered,
            "counts": {
                "synthetic_called_synthetic": self.sensitivity.right,
                "synthetic_called_real": self.sensitivity.n - self.sensitivity.right,
                "real_called_real": self.specificity.right,
                "real_called_synthetic": self.specificity.n - self.specificity.right,
            },
            "accuracy": asdict(self.accuracy),
            "sensitivity": asdict(self.sensitivity),
            "specificity": asdict(self.specificity),
            "auc": asdict(self.auc),
            "detection": asdict(self.detection) if self.detection else None,
        }

    def row(self) -> tuple[str, ...]:
        """The figures as cells under `COLUMNS`."""
        figures = (self.accuracy, self.sensitivity, self.specificity, self.auc)
        return (self.reader, str(self.accuracy.n), *map(str, figures), str(self.unanswered))


def read(name: str, given: Sequence[Answer], truth: dict[str, Truth], unanswered: int) -> Reading:
    """The figures of some answers, all of them given, to images whose truth is known."""
    right = {kind: [a.answer == kind for a in given if truth[a.image] == kind] for kind in ("real", "synthetic")}
    synthetic, real = right["synthetic"], right["real"]
    return Reading(
        reader=name,
        unanswered=unanswered,
        accuracy=wilson(sum(synthetic) + sum(real), len(given), "no answer"),
        sensitivity=wilson(sum(synthetic), len(synthetic), "no synthetic image was answered"),
        specificity=wilson(sum(real), len(real), "no real image was answered"),
        auc=auc(given, truth),
        detection=detection(sum(synthetic), len(synthetic), len(real) - sum(real), len(real))
        if synthetic and real
        else None,
    )


def wilson(right: int, n: int, reason: str = "no answer") -> Proportion:
    """A share with its 95 % interval (Wilson 1927, no continuity correction); `reason` says why `n` is 0."""
    if n == 0:
        return Proportion(right, n, reason=reason)
    low, high = proportion.wilson(right, n)
    return Proportion(right, n, right / n, float(low), float(high))


def score(answer: Answer) -> float:
    """From a sure "real" (lowest) over guesses to a sure "synthetic" (highest); NaN without a confidence.

    A confidence of 0 is a guess whatever the answer.
    """
    if answer.confidence is None:
        return float("nan")
    return answer.confidence if answer.answer == POSITIVE else -answer.confidence


def auc(given: Sequence[Answer], truth: dict[str, Truth]) -> Auc:
    """How well answer and confidence together rank synthetic above real images; ties count half."""
    rated = [(truth[a.image] == POSITIVE, score(a)) for a in given if a.confidence is not None]
    if not rated:
        return Auc(0, reason="no answer has a confidence")
    positive = np.array([value for made, value in rated if made])
    negative = np.array([value for made, value in rated if not made])
    if not (positive.size and negative.size):
        return Auc(len(rated), reason="only one kind of image was answered with a confidence")
    places = roc.place(positive, negative)
    if min(positive.size, negative.size) < 2:
        return Auc(len(rated), float(places.area))
    low, high = roc.interval(places)
    return Auc(len(rated), float(places.area), float(low), float(high))
