"""How often do the evaluation's 95 % intervals hold the truth? A simulation with known Gaussians.

Run ``python benchmarks/interval_coverage.py [--trials 400]``: it prints a table. Real patients have one to
three images with a shared part; synthetic images are independent. The truth is the mean of the metric over
many fresh draws of the same N, as the intervals are for the expectation at this N.
"""

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from synthcxr.evaluation.frechet import frechet_distance, frechet_interval, moments
from synthcxr.evaluation.intervals import GROUPS, Estimate, Floats, Ints, assign_groups
from synthcxr.evaluation.kid import kid, kid_interval
from synthcxr.evaluation.prdc import prdc, prdc_interval

NEIGHBOURS = 5


@dataclass(frozen=True)
class Case:
    """Images a side, feature dimension, distance of the two means, images a real patient (at most)."""

    images: int
    dimension: int
    shift: float
    per_patient: int


@dataclass(frozen=True)
class Line:
    metric: str
    images: int
    dimension: int
    shift: float
    per_patient: int
    truth: float
    coverage: float
    width: float


def draw(case: Case, rng: np.random.Generator) -> tuple[Floats, Floats, Ints]:
    """Real features, synthetic features, and the real images' patients."""
    scales = 1.0 / np.sqrt(1.0 + np.arange(case.dimension))
    sizes = rng.integers(1, case.per_patient + 1, case.images)
    patients = np.repeat(np.arange(case.images), sizes)[: case.images]
    shared = rng.standard_normal((case.images, case.dimension))[patients]
    own = rng.standard_normal((case.images, case.dimension))
    real = (np.sqrt(0.5) * (shared + own)) * scales
    synthetic = rng.standard_normal((case.images, case.dimension)) * scales * 0.9
    synthetic[:, 0] += case.shift
    return real, synthetic, patients


def values(real: Floats, synthetic: Floats) -> dict[str, float]:
    return {
        "frechet_distance": frechet_distance(moments(real), moments(synthetic)),
        "kid": kid(real, synthetic),
        **prdc(real, synthetic, NEIGHBOURS),
    }


def estimates(real: Floats, synthetic: Floats, patients: Ints, rng: np.random.Generator) -> dict[str, Estimate]:
    groups = assign_groups(patients, GROUPS, rng), assign_groups(np.arange(len(synthetic)), GROUPS, rng)
    return {
        "frechet_distance": frechet_interval(real, synthetic, *groups),
        "kid": kid_interval(real, synthetic, *groups),
        **prdc_interval(real, synthetic, NEIGHBOURS, *groups),
    }


def measure(case: Case, trials: int, truths: int, rng: np.random.Generator) -> list[Line]:
    """Coverage of every metric's interval in one case."""
    draws = [values(*draw(case, rng)[:2]) for _ in range(truths)]
    truth = {name: float(np.mean([d[name] for d in draws])) for name in draws[0]}
    found = [estimates(*draw(case, rng), rng) for _ in range(trials)]

    lines = []
    for name, true in truth.items():
        bounds = np.array([(trial[name].low, trial[name].high) for trial in found], np.float64)
        coverage = float(np.mean((bounds[:, 0] <= true) & (true <= bounds[:, 1])))
        width = float(np.mean(bounds[:, 1] - bounds[:, 0]))
        lines.append(Line(name, **asdict(case), truth=true, coverage=coverage, width=width))
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=400)
    parser.add_argument("--truths", type=int, default=2000, help="draws that the truth is the mean of")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="also write the figures as JSON")
    arguments = parser.parse_args()
    rng = np.random.default_rng(arguments.seed)
    cases = [
        Case(images, dimension, shift, per_patient)
        for images in (50, 200)
        for dimension, shift, per_patient in (
            (16, 1.0, 1),
            (64, 1.0, 1),
            (64, 0.0, 1),
            (16, 1.0, 3),
            (64, 1.0, 3),
        )
    ]
    print(f"{'metric':18}{'N':>5}{'D':>4}{'shift':>7}{'a patient':>11}{'truth':>10}{'width':>9}{'coverage':>10}")
    lines = []
    for case in cases:
        for x in measure(case, arguments.trials, arguments.truths, rng):
            lines.append(asdict(x))
            print(
                f"{x.metric:18}{x.images:5}{x.dimension:4}{x.shift:7.1f}{x.per_patient:11}"
                f"{x.truth:10.4f}{x.width:9.4f}{x.coverage:10.1%}",
                flush=True,
            )
    if arguments.out:
        summary = {
            "trials": arguments.trials,
            "truths": arguments.truths,
            "seed": arguments.seed,
            "lines": lines,
        }
        arguments.out.write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
