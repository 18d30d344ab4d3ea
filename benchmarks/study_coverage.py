"""How often do the reader study's 95 % intervals hold the truth? Simulated readings, with a truth that is known.

Run ``python benchmarks/study_coverage.py [--trials 1000]``: it prints a table. Readers and images are both drawn anew
for every study, as in the model of C. A. Roe and C. E. Metz (Academic Radiology 4 (1997) 298–303): what a reader feels
at an image is a shift by its truth, plus how the image looks to everybody, plus the reader's skill with that kind, the
reader's habit and a noise of the moment.
"""

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from synthcxr.study.statistics import roc
from synthcxr.study.statistics.equivalence import equivalence
from synthcxr.study.statistics.mrmc import (
    area_interval,
    covariance_of_means,
    means,
    pool_areas,
    pool_means,
    share_interval,
)
from synthcxr.study.statistics.proportion import wilson

Floats = npt.NDArray[np.float64]
LOOKS, SKILL, HABIT = 0.3, 0.05, 0.05
"""Shares of the variance: from the image, the reader's skill with its kind, and where the reader draws the line."""
CUTS = (0.25, 0.6, 1.0, 1.5)
"""Distances from the line at which a reader is surer by a step."""
ALPHA = 0.05
TRUTHS = 4_000_000


@dataclass(frozen=True)
class Line:
    """Coverage of one interval at one true value."""

    interval: str
    readers: int
    images: int
    truth: float
    coverage: float
    width: float
    expected: float


def feel(
    accuracy: float, shape: tuple[int, int, int], correlated: bool, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """Feelings (trials, readers, images) towards synthetic of synthetic and of real images; the line lies at 0."""
    from scipy.stats import norm

    trials, readers, images = shape
    shift = norm.ppf(accuracy)
    habit = rng.standard_normal((trials, readers, 1)) * np.sqrt(HABIT)

    def one(centre: float) -> Floats:
        own = rng.standard_normal(shape)
        if not correlated:
            return centre + own
        looks = rng.standard_normal((trials, 1, images)) * np.sqrt(LOOKS)
        skill = rng.standard_normal((trials, readers, 1)) * np.sqrt(SKILL)
        return np.asarray(centre + looks + skill + habit + own * np.sqrt(1 - LOOKS - SKILL - HABIT))

    return one(shift), one(-shift)


def rate(feeling: Floats) -> Floats:
    """The answer with its confidence, -5 (surely real) to 5 (surely synthetic) without 0."""
    return np.sign(feeling) * (1 + np.searchsorted(CUTS, np.abs(feeling)))


def true_area(accuracy: float, correlated: bool, rng: np.random.Generator) -> float:
    """The mean area over all readers: each of many readers sees one image of each kind."""
    synthetic, real = (rate(x)[:, 0, 0] for x in feel(accuracy, (TRUTHS, 1, 1), correlated, rng))
    return float(np.mean((np.sign(synthetic - real) + 1) / 2))


def binomial_coverage(accuracy: float, n: int) -> float:
    """What Wilson's interval covers of a binomial share: the sum over all counts."""
    from scipy.stats import binom

    low, high = wilson(np.arange(n + 1), np.full(n + 1, n))
    holds = (low <= accuracy) & (accuracy <= high)
    return float(binom.pmf(np.arange(n + 1), n, accuracy)[holds].sum())


def line(
    name: str, readers: int, images: int, truth: float, ends: tuple[Floats, Floats], expected: float = 0.95
) -> Line:
    low, high = ends
    holds = float(np.mean((low <= truth) & (truth <= high)))
    return Line(name, readers, images, truth, holds, float(np.mean(high - low)), expected)


def one_reader(accuracy: float, images: int, trials: int, rng: np.random.Generator) -> list[Line]:
    """Wilson and DeLong for a single reader, whose answers are independent."""
    synthetic, real = feel(accuracy, (trials, 1, images), False, rng)
    right = (synthetic > 0).sum(axis=(1, 2)) + (real < 0).sum(axis=(1, 2))
    exact = binomial_coverage(accuracy, 2 * images)
    places = roc.place(rate(synthetic), rate(real))
    area = true_area(accuracy, False, rng)
    ends = roc.interval(places, ALPHA)
    return [
        line("accuracy, Wilson", 1, images, accuracy, wilson(right, 2 * images), exact),
        line("AUC, DeLong", 1, images, area, (ends[0][:, 0], ends[1][:, 0])),
    ]


def as_published(values: Floats, covariance: Floats) -> tuple[Floats, Floats]:
    """Obuchowski and Rockette's mean over readers (..., R) with Hillis's degrees of freedom: value ± t·error."""
    from scipy.stats import t

    readers = values.shape[-1]
    error = np.trace(covariance, axis1=-2, axis2=-1)
    cases = np.maximum((covariance.sum(axis=(-2, -1)) - error) / (readers * (readers - 1)), 0.0)
    own = np.maximum(values.var(axis=-1, ddof=1), 1e-12) / readers
    half = t.ppf(1 - ALPHA / 2, (own + cases) ** 2 * (readers - 1) / own**2) * np.sqrt(own + cases)
    return values.mean(axis=-1) - half, values.mean(axis=-1) + half


def several_readers(accuracy: float, readers: int, images: int, trials: int, rng: np.random.Generator) -> list[Line]:
    """Intervals over readers and images that are both random, and the pooled one that takes answers for independent."""
    synthetic, real = feel(accuracy, (trials, readers, images), True, rng)
    right = [(synthetic > 0).astype(np.float64), (real < 0).astype(np.float64)]
    total = 2 * readers * images
    count = right[0].sum(axis=(1, 2)) + right[1].sum(axis=(1, 2))
    pooled = pool_means(right)
    areas = pool_areas(rate(synthetic), rate(real))
    places = roc.place(rate(synthetic), rate(real))
    covariance = covariance_of_means(places.positive) + covariance_of_means(places.negative)
    area = true_area(accuracy, True, rng)
    return [
        line("accuracy, MRMC", readers, images, accuracy, share_interval(pooled, 2 * images, ALPHA)),
        line("accuracy, MRMC as published", readers, images, accuracy, as_published(*means(right))),
        line("accuracy, pooled Wilson", readers, images, accuracy, wilson(count, np.full(trials, total))),
        line("AUC, MRMC", readers, images, area, area_interval(areas, (images, images), ALPHA)),
        line("AUC, MRMC as published", readers, images, area, as_published(places.area, covariance)),
    ]


def equivalence_rates(readers: int, images: int, trials: int, rng: np.random.Generator) -> list[dict[str, float]]:
    """How often readings are called equivalent to guessing, margin 0.1: at the margin, beyond it, and at 0.5."""
    found = []
    for accuracy in (0.5, 0.55, 0.6, 0.65):
        synthetic, real = feel(accuracy, (trials, readers, images), True, rng)
        pooled = pool_means([(synthetic > 0).astype(np.float64), (real < 0).astype(np.float64)])
        said = float(np.mean(equivalence(*share_interval(pooled, 2 * images, 2 * ALPHA), 0.5, 0.1).equivalent))
        found.append({"readers": readers, "images": images, "accuracy": accuracy, "called_equivalent": said})
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="also write the figures as JSON")
    arguments = parser.parse_args()
    rng = np.random.default_rng(arguments.seed)
    lines: list[Line] = []
    for accuracy in (0.5, 0.81, 0.966):
        for images in (50, 100):
            lines += one_reader(accuracy, images, arguments.trials, rng)
        for readers, images in ((3, 50), (5, 50), (5, 100), (16, 50)):
            lines += several_readers(accuracy, readers, images, arguments.trials, rng)
    print(f"{'interval':34}{'readers':>8}{'a kind':>8}{'truth':>8}{'width':>8}{'coverage':>10}{'expected':>10}")
    for x in lines:
        print(
            f"{x.interval:34}{x.readers:8}{x.images:8}{x.truth:8.3f}{x.width:8.3f}{x.coverage:10.1%}{x.expected:10.1%}"
        )
    rates = [
        rate for design in ((5, 100), (16, 100), (3, 100)) for rate in equivalence_rates(*design, arguments.trials, rng)
    ]
    for one in rates:
        print(
            "{readers} readers, {images} a kind, accuracy {accuracy}: called equivalent {called_equivalent:.1%}".format(
                **one
            )
        )
    if arguments.out:
        summary = {
            "trials": arguments.trials,
            "seed": arguments.seed,
            "variance_shares": {"looks": LOOKS, "skill": SKILL, "habit": HABIT},
            "lines": [asdict(x) for x in lines],
            "equivalence": rates,
        }
        arguments.out.write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
