"""Teaching small classifiers with real images, synthetic ones and both, and testing all on the same real patients."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from synthcxr.evaluation.areas import area_change
from synthcxr.evaluation.classifier import STEPS, Taught, fit, scores, together
from synthcxr.evaluation.intervals import Bools, Estimate, Floats, Ints
from synthcxr.progress import track
from synthcxr.seeds import seed_for

SEEDS = 5
"""Trainings of every arm."""
FINDINGS = ("abnormal", "pneumonia", "opacity")
"""The labels that the figures are the mean of; where none of them can be taught and tested, any other."""


@dataclass(frozen=True)
class Arm:
    """What a classifier is taught with: a share of the real patients (0: none), and the synthetic images or not."""

    fraction: float
    synthetic: bool


@dataclass(frozen=True)
class Real:
    """Real images to teach with, their `patients` (N,), and whether the generator has `seen` these (N,)."""

    taught: Taught
    patients: Ints
    seen: Bools


@dataclass(frozen=True)
class Experiment:
    """What was taught and tested: `truth` (N, L) of the test's `patients` (N,), and every arm's scores (S, N, L).

    `labels` are the L that were taught, `judged` says of which the figures are the mean. `images` are the real images
    of every fraction, over the seeds on average.
    """

    labels: tuple[str, ...]
    judged: Bools
    truth: Floats
    patients: Ints
    scores: Mapping[Arm, Floats]
    images: Mapping[float, float]

    def change(self, after: Arm, before: Arm | None, seed: int, label: int | None = None) -> Estimate:
        """The area of an arm, or how far it lies above another's: of one label, or the mean of the judged ones."""
        chosen = self.judged if label is None else np.arange(len(self.labels)) == label
        one = self.scores[after][:, :, chosen]
        other = None if before is None else self.scores[before][:, :, chosen]
        rng = np.random.default_rng(seed_for(seed, "patients"))
        return area_change(self.truth[:, chosen], one, other, self.patients, rng)


def run_experiment(
    train: Real | None,
    test: Taught,
    test_patients: Ints,
    synthetic: Taught,
    labels: Sequence[str],
    *,
    fractions: Sequence[float],
    seed: int,
    seeds: int = SEEDS,
    steps: int = STEPS,
    device: str = "auto",
) -> Experiment:
    """Teach every arm with every seed, all for the same number of steps, and test each on the same real images.

    A seed takes the same real patients in an arm with synthetic images as in the one without.
    """
    arms = [Arm(0, True), *(Arm(fraction, both) for fraction in fractions for both in (False, True))]
    found: dict[Arm, list[Floats]] = {arm: [] for arm in arms}
    images: dict[float, list[int]] = {fraction: [] for fraction in fractions}
    work = [(number, arm) for number in range(seeds) for arm in arms]
    for number, arm in track(work, "classifiers", len(work)):
        taught = synthetic
        if arm.fraction:
            assert train is not None
            chosen = take_patients(train.patients, arm.fraction, seed_for(seed, "take", number), train.seen)
            taught = train.taught.take(chosen)
            if arm.synthetic:
                taught = together(taught, synthetic)
            else:
                images[arm.fraction].append(len(chosen))
        network = fit(taught, seed_for(seed, "fit", number), steps=steps, device=device)
        found[arm].append(scores(network, test.images))
    return Experiment(
        labels=tuple(labels),
        judged=_judged(labels),
        truth=test.labels,
        patients=test_patients,
        scores={arm: np.stack(each) for arm, each in found.items()},
        images={fraction: float(np.mean(counts)) for fraction, counts in images.items()},
    )


def take_patients(patients: Ints, fraction: float, seed: int, seen: Bools) -> Ints:
    """Places of the images of a share of the patients, those whom the generator has `seen` (N,) before any other.

    The patients of a smaller share are among those of a larger.
    """
    shuffled = np.random.default_rng(seed).permutation(np.unique(patients))
    order = shuffled[np.argsort(~np.isin(shuffled, patients[seen]), kind="stable")]
    return np.flatnonzero(np.isin(patients, order[: share_of(len(order), fraction)]))


def share_of(patients: int, fraction: float) -> int:
    """How many patients a fraction of them is, at least one."""
    return max(1, round(fraction * patients))


def _judged(labels: Sequence[str]) -> Bools:
    findings = np.array([label in FINDINGS for label in labels])
    return findings if findings.any() else ~findings
