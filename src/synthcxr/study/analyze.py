"""``study analyze``: how well readers tell synthetic from real, each figure with its N and interval."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from synthcxr.config import StudyAnalyzeConfig
from synthcxr.errors import UsageError
from synthcxr.store import Json
from synthcxr.study.answers import Answer
from synthcxr.study.folder import Study, load
from synthcxr.study.plan import Truth

POSITIVE: Truth = "synthetic"
"""Sensitivity is the share of synthetic images called synthetic, specificity of real ones called real."""

COLUMNS = ("reader", "N", "accuracy", "sensitivity", "specificity", "AUC", "unanswered")
"""The headings of `Analysis.rows`."""


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
    """Area under the ROC curve over the `n` answers with a confidence; None, and the reason, if undefined."""

    n: int
    value: float | None = None
    reason: str | None = None

    def __str__(self) -> str:
        """The area and its N."""
        return "–" if self.value is None else f"{self.value:.3f}, N {self.n}"


@dataclass(frozen=True)
class Reading:
    """The figures of one reader, or of all together. `unanswered` images are in none of the others."""

    reader: str
    unanswered: int
    accuracy: Proportion
    sensitivity: Proportion
    specificity: Proportion
    auc: Auc

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
        }

    def row(self) -> tuple[str, ...]:
        """The figures as cells under `COLUMNS`."""
        figures = (self.accuracy, self.sensitivity, self.specificity, self.auc)
        return (self.reader, str(self.accuracy.n), *map(str, figures), str(self.unanswered))


@dataclass(frozen=True)
class Analysis:
    """Every reader's figures, those of all answers pooled, and what has to be said with them."""

    readers: tuple[Reading, ...]
    pooled: Reading
    notes: tuple[str, ...]

    def to_json(self) -> Json:
        """All of it as JSON."""
        return {
            "positive": POSITIVE,
            "interval": "95 %, Wilson",
            "readers": [reading.to_json() for reading in self.readers],
            "pooled": self.pooled.to_json(),
            "notes": list(self.notes),
        }

    def rows(self) -> list[tuple[str, ...]]:
        """The table under `COLUMNS`: a row a reader, and the pooled one where there are several."""
        readings = [*self.readers, self.pooled] if len(self.readers) > 1 else self.readers
        return [reading.row() for reading in readings]


def analyze(config: StudyAnalyzeConfig) -> Analysis:
    """Analyze a study's answers, after the proof that nothing in its folder changed.

    Raises UsageError where there is no study or no answer yet, SynthCXRError where a file was changed.
    """
    return analyze_study(load(config.study))


def analyze_study(study: Study) -> Analysis:
    """The figures of a study that was read."""
    answered = [answer for answer in study.answers if answer.answer]
    if not answered:
        raise UsageError(f"{study.folder} holds no answers yet. Add some with `synthcxr study import`.")
    readers = []
    for name in sorted({answer.reader for answer in answered}):
        given = [answer for answer in answered if answer.reader == name]
        readers.append(read(name, given, study.truth, _unanswered(study, name, given)))
    pooled = read("pooled", answered, study.truth, sum(reading.unanswered for reading in readers))
    return Analysis(tuple(readers), pooled, _notes(readers))


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
    )


def wilson(right: int, n: int, reason: str) -> Proportion:
    """A share with its 95 % interval (Wilson 1927, no continuity correction); `reason` says why `n` is 0."""
    from statsmodels.stats.proportion import proportion_confint

    if n == 0:
        return Proportion(right, n, reason=reason)
    low, high = proportion_confint(right, n, alpha=0.05, method="wilson")
    return Proportion(right, n, right / n, max(0.0, float(low)), min(1.0, float(high)))


def auc(given: Sequence[Answer], truth: dict[str, Truth]) -> Auc:
    """How well answer and confidence together rank synthetic above real images.

    The score goes from a sure "real" (lowest) over guesses to a sure "synthetic" (highest); ties count half.
    """
    from sklearn.metrics import roc_auc_score

    rated = [
        (truth[a.image] == POSITIVE, a.confidence if a.answer == POSITIVE else -a.confidence)
        for a in given
        if a.confidence is not None
    ]
    if not rated:
        return Auc(0, reason="no answer has a confidence")
    positive, scores = zip(*rated, strict=True)
    if len(set(positive)) < 2:
        return Auc(len(rated), reason="only one kind of image was answered with a confidence")
    return Auc(len(rated), float(roc_auc_score(positive, scores)))


def _unanswered(study: Study, reader: str, given: Sequence[Answer]) -> int:
    """Images that a reader was to answer and did not: all of the plan, or the rows that were left empty."""
    listed = study.truth if study.planned else {a.image for a in study.answers if a.reader == reader}
    return len(listed) - len(given)


def _notes(readers: Sequence[Reading]) -> tuple[str, ...]:
    notes = [
        "Positive is synthetic: sensitivity is the share of synthetic images called synthetic, specificity "
        "the share of real images called real.",
        "Intervals are 95 % Wilson intervals over the images that were answered.",
    ]
    missing = [f"{reading.reader} {reading.unanswered}" for reading in readers if reading.unanswered]
    if missing:
        notes.append(f"Images left unanswered are in no figure: {', '.join(missing)}.")
    if len(readers) > 1:
        notes.append(
            f"Pooled over {len(readers)} readers as if all answers were independent and all confidences on "
            "one scale. Answers of one reader, and answers to one image, are correlated, which this ignores: "
            "the pooled intervals are too narrow."
        )
    return tuple(notes)
