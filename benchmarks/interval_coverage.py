"""How often do the evaluation's 95 % intervals hold the truth? A simulation where the truth is known.

Run ``python benchmarks/interval_coverage.py --out FILE.json``: it prints a line a case, writes the file after each, and
ends with the table of the docs. Real patients have one to three images with a shared part; synthetic images are
independent. The truth of a figure at N images is its mean over fresh draws of the same N, that of FD∞ the distance
between the two Gaussians, that of a share, an area or a median its formula's.
"""

import argparse
import gc
import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path

import numpy as np

from synthcxr.evaluation.areas import area_change
from synthcxr.evaluation.comparison import compare, estimate_of, jackknifed
from synthcxr.evaluation.distributions import Compared
from synthcxr.evaluation.distributions import Kind as Measure
from synthcxr.evaluation.diversity import draw_pairs, vendi, vendi_interval
from synthcxr.evaluation.fairness import pooled_share
from synthcxr.evaluation.faithfulness import auc_interval
from synthcxr.evaluation.frechet import frechet_distance, moments, moments_of
from synthcxr.evaluation.infinity import limit_curve
from synthcxr.evaluation.intervals import (
    GROUPS,
    Estimate,
    Floats,
    Ints,
    assign_groups,
    difference,
    median_interval,
    pairs_interval,
    wilson,
)
from synthcxr.evaluation.kid import kid, kid_interval
from synthcxr.evaluation.prdc import prdc

NEIGHBOURS = 5
PAIRS = 300
TRAININGS = 5
CASES = ((16, 1.0, 1), (64, 0.0, 1), (16, 1.0, 3), (64, 1.0, 3))
"""Dimension, shift and images a patient; at 64 without a shift the sides differ in their spread alone."""


@dataclass(frozen=True)
class Case:
    """Images a side, feature dimension, distance of the two means, images a real patient (at most)."""

    images: int
    dimension: int
    shift: float
    per_patient: int


@dataclass(frozen=True)
class Line:
    kind: str
    images: int
    dimension: int
    shift: float
    per_patient: int
    trials: int
    truth: float
    coverage: float
    width: float


@dataclass(frozen=True)
class Sample:
    """Real features with their patients, those of one set, and those of another that lies a little farther away."""

    real: Floats
    patients: Ints
    one: Floats
    other: Floats


def scales(case: Case) -> Floats:
    spread: Floats = 1.0 / np.sqrt(1.0 + np.arange(case.dimension))
    return spread


def shared(case: Case, rng: np.random.Generator) -> tuple[Floats, Ints]:
    """Standard normal vectors of the images of patients who have something in common; and the patients."""
    sizes = rng.integers(1, case.per_patient + 1, case.images)
    patients = np.repeat(np.arange(case.images), sizes)[: case.images]
    common = rng.standard_normal((case.images, case.dimension))[patients]
    return np.sqrt(0.5) * (common + rng.standard_normal((case.images, case.dimension))), patients


def draw(case: Case, rng: np.random.Generator) -> Sample:
    vectors, patients = shared(case, rng)
    one, other = (rng.standard_normal((case.images, case.dimension)) * scales(case) * 0.9 for _ in range(2))
    one[:, 0] += case.shift
    other[:, 0] += case.shift
    other[:, 1] += 0.3 * case.shift
    return Sample(vectors * scales(case), patients, one, other)


# --- what is estimated ----------------------------------------------------------------------------------------


def values(sample: Sample) -> dict[str, float]:
    """The figures of one set, and by how much the other's are less."""
    found = [
        {
            "frechet_distance": frechet_distance(moments(sample.real), moments(drawn)),
            "kid": kid(sample.real, drawn),
            **prdc(sample.real, drawn, NEIGHBOURS),
        }
        for drawn in (sample.one, sample.other)
    ]
    paired = {f"paired {name}": found[0][name] - found[1][name] for name in found[0]}
    return {**found[0], "vendi_score": vendi(sample.one), **paired}


def estimates(sample: Sample, rng: np.random.Generator) -> dict[str, Estimate]:
    real, one, patients = sample.real, sample.one, sample.patients
    groups = assign_groups(patients, GROUPS, rng), assign_groups(np.arange(len(one)), GROUPS, rng)
    curve = limit_curve(real, one, *groups)
    assert curve is not None
    found = {
        name: jackknifed(real, drawn, groups[0], NEIGHBOURS, seed=number)
        for number, (name, drawn) in enumerate((("one", one), ("other", sample.other)))
    }
    each = {name: {m: estimate_of(m, f[m], len(real), len(one)) for m in f} for name, f in found.items()}
    return {
        **each["one"],
        "frechet_limit": curve.limit,
        "vendi_score": vendi_interval(one, groups[1]),
        **{f"paired {x.name}": x.estimate for x in compare(found, each)},
    }


def population_distance(case: Case) -> float:
    """The Fréchet distance between the Gaussians that are drawn from."""
    mean = np.zeros(case.dimension)
    mean[0] = case.shift
    one = moments_of(np.zeros(case.dimension), np.diag(scales(case) ** 2))
    return frechet_distance(one, moments_of(mean, np.diag((0.9 * scales(case)) ** 2)))


def distances(case: Case, trials: int, truths: int, rng: np.random.Generator) -> Iterable[Line]:
    """Coverage of the figures of two sets of features in one case."""
    draws = [values(draw(case, rng)) for _ in range(truths)]
    truth = {name: float(np.mean([each[name] for each in draws])) for name in draws[0]}
    truth["frechet_limit"] = population_distance(case)
    found = [estimates(draw(case, rng), rng) for _ in range(trials)]
    return [line(case, name, [trial[name] for trial in found], truth[name]) for name in found[0]]


def line(case: Case, kind: str, found: list[Estimate], truth: float) -> Line:
    bounds = np.array([(each.low, each.high) for each in found], np.float64)
    coverage = float(np.mean((bounds[:, 0] <= truth) & (truth <= bounds[:, 1])))
    return Line(
        kind, **asdict(case), trials=len(found), truth=truth, coverage=coverage, width=float(np.diff(bounds).mean())
    )


# --- intervals of images' own values ----------------------------------------------------------------------------


def likeness(case: Case, rng: np.random.Generator) -> Estimate:
    """As MS-SSIM is taken: a likeness of random pairs of images of different patients."""
    vectors, patients = shared(case, rng)
    pairs = draw_pairs(patients, PAIRS, rng)
    apart = ((vectors[pairs[:, 0]] - vectors[pairs[:, 1]]) ** 2).mean(axis=1)
    return pairs_interval(np.exp(-apart), patients[pairs])


def area(case: Case, rng: np.random.Generator) -> Estimate:
    """An area under the curve: three in ten images are positive, a patient's images alike."""
    vectors, patients = shared(case, rng)
    truth = np.zeros(case.images, np.bool_)
    while not 2 <= len(np.unique(patients[truth])) <= len(np.unique(patients)) - 2:
        truth = rng.random(case.images)[patients] < 0.3
    return auc_interval(truth, vectors[:, 0] + 1.2 * truth, patients)


def share(chance: float) -> Callable[[Case, np.random.Generator], Estimate]:
    def found(case: Case, rng: np.random.Generator) -> Estimate:
        count = int(rng.binomial(case.images, chance))
        return Estimate(count / case.images, *wilson(count, case.images))

    return found


def share_of_patients(case: Case, rng: np.random.Generator) -> Estimate:
    """Three labels an image, seen as asked 70 times in a hundred; those of a patient go together."""
    vectors, patients = shared(case, rng)
    right = (vectors[:, :3] < 0.5244005).sum(axis=1)  # the normal's 70 % point
    return pooled_share(right, np.full(case.images, 3), patients, rng)


def mean(case: Case, rng: np.random.Generator) -> Estimate:
    """The difference of means of a skewed measure, as artifacts and anatomy take it."""
    vectors, patients = shared(case, rng)
    real, synthetic = np.exp(0.5 * vectors[:, 0]), np.exp(0.4 * rng.standard_normal(case.images))
    return Compared("measure", Measure("", "", ""), real, synthetic, patients).difference()


def change_of_area(case: Case, rng: np.random.Generator) -> Estimate:
    """What a change of the training adds to an area, over five trainings, as usefulness takes it."""
    vectors, patients = shared(case, rng)
    truth = rng.random(case.images)[patients] < 0.3
    truth[0], truth[-1] = True, False

    def scored(strength: float) -> Floats:
        noise = 0.5 * rng.standard_normal((TRAININGS, case.images))
        return (rng.normal(strength, 0.2, (TRAININGS, 1)) * truth + vectors[:, 0] + noise)[:, :, None]

    return area_change(truth[:, None].astype(np.float64), scored(1.5), scored(1.2), patients, rng)


def median(case: Case, rng: np.random.Generator) -> Estimate:
    return median_interval(rng.exponential(size=case.images))


def kid_of_groups(case: Case, rng: np.random.Generator) -> Estimate:
    """The kernel distances of two groups of patients, as fairness compares them; the second has 60 % of the images."""
    smaller = Case(round(0.6 * case.images), case.dimension, case.shift, case.per_patient)
    found = []
    for each in (case, smaller):
        sample = draw(each, rng)
        groups = assign_groups(sample.patients, GROUPS, rng), assign_groups(np.arange(each.images), GROUPS, rng)
        found.append(kid_interval(sample.real, sample.one, *groups))
    return difference(*found)


def kinds(case: Case) -> dict[str, tuple[Callable[[Case, np.random.Generator], Estimate], float]]:
    """Every kind with its truth."""
    from scipy.stats import norm

    def less(one: Callable[..., Estimate], other: Callable[..., Estimate]) -> Callable[..., Estimate]:
        return lambda case, rng: difference(one(case, rng), other(case, rng))

    # E exp(-|x - y|² / D) of x - y normal with variance 2
    alike = (1 + 4 / case.dimension) ** (-case.dimension / 2)
    scatter = (2 * (1 + 0.5**2) + 0.2**2) ** 0.5
    return {
        "likeness of pairs": (likeness, alike),
        "area": (area, float(norm.cdf(1.2 / 2**0.5))),
        "share 0.02": (share(0.02), 0.02),
        "share 0.3": (share(0.3), 0.3),
        "share 0.7, within patients": (share_of_patients, 0.7),
        "mean difference": (mean, float(np.exp(0.4**2 / 2) - np.exp(0.5**2 / 2))),
        "median": (median, float(np.log(2))),
        "change of area": (change_of_area, float(norm.cdf(1.5 / scatter) - norm.cdf(1.2 / scatter))),
        "difference of areas": (less(area, area), 0.0),
        "difference of shares": (less(share(0.3), share(0.02)), 0.28),
        "difference of kid": (kid_of_groups, 0.0),
    }


def own_values(case: Case, trials: int, rng: np.random.Generator, names: Sequence[str]) -> Iterable[Line]:
    """Coverage of the kinds of these names, or of all."""
    for name, (found, truth) in kinds(case).items():
        if not names or name in names:
            yield line(case, name, [found(case, rng) for _ in range(trials)], truth)


def table(lines: Sequence[Line]) -> str:
    """The docs' table: coverage of each kind by N over all cases, the lowest case in brackets."""
    sizes = sorted({each.images for each in lines})
    rows = ["| kind | " + " | ".join(f"N = {n:,}" for n in sizes) + " |", "| - |" + " - |" * len(sizes)]
    for kind in dict.fromkeys(each.kind for each in lines):
        found = [[each.coverage for each in lines if (each.kind, each.images) == (kind, n)] for n in sizes]
        cells = [f"{100 * np.mean(each):.1f} ({100 * min(each):.1f})" if each else "" for each in found]
        rows.append(f"| {kind} | {' | '.join(cells)} |")
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=400, help="trials a case; half as many at 1,000 images")
    parser.add_argument("--truths", type=int, default=1500, help="draws that a truth is the mean of; half at 1,000")
    parser.add_argument("--images", type=int, nargs="+", default=[50, 200, 1000])
    parser.add_argument("--kinds", nargs="+", default=[], help="these alone, of those that take no features")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="also write the figures as JSON")
    arguments = parser.parse_args()
    gc.freeze()  # statsmodels collects garbage with every correction, which took as long as a trial
    begun = time.process_time()
    lines: list[Line] = []
    heads = (("N", 6), ("D", 4), ("shift", 7), ("a patient", 11), ("trials", 8), ("truth", 10), ("width", 9))
    print(f"{'kind':28}" + "".join(f"{name:>{width}}" for name, width in heads) + f"{'coverage':>10}")
    for images, (dimension, shift, per_patient) in product(arguments.images, CASES):
        part = 2 if images >= 1000 else 1
        case = Case(images, dimension, shift, per_patient)
        rng = np.random.default_rng([arguments.seed, images, dimension, int(shift), per_patient])
        found: list[Line] = []
        if not arguments.kinds:
            found += distances(case, arguments.trials // part, arguments.truths // part, rng)
        if dimension == 16:
            found += own_values(case, arguments.trials // part, rng, arguments.kinds)
        for each in found:
            print(
                f"{each.kind:28}{images:6}{dimension:4}{shift:7.1f}{per_patient:11}{each.trials:8}"
                f"{each.truth:10.4f}{each.width:9.4f}{each.coverage:10.1%}",
                flush=True,
            )
        lines += found
        if arguments.out:
            summary = {
                "truths": arguments.truths,
                "seed": arguments.seed,
                "processor_seconds": round(time.process_time() - begun),
                "lines": [asdict(each) for each in lines],
            }
            arguments.out.write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    print(table(lines))


if __name__ == "__main__":
    main()
