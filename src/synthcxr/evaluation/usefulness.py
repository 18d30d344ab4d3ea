"""Usefulness: what a small classifier learns from synthetic images, alone and beside real ones, tested on real ones.

Only where the generator, with its base, has seen no other patients than the real images that it is to add to, does a
figure say what it adds to limited data: it is called augmentation there. Anywhere else the generator brings what it
learnt from further patients, and the figure is called transfer.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from synthcxr.errors import SynthCXRError
from synthcxr.evaluation.answer import Answer, Chart, Table
from synthcxr.evaluation.areas import DRAWS
from synthcxr.evaluation.classifier import METHOD, PREPROCESSING, STEPS, Taught, prepare
from synthcxr.evaluation.encoder import LABELS
from synthcxr.evaluation.experiment import SEEDS, Arm, Experiment, Real, run_experiment, share_of
from synthcxr.evaluation.faithfulness import TITLES
from synthcxr.evaluation.features import FeatureSet
from synthcxr.evaluation.intervals import Estimate, Floats
from synthcxr.evaluation.labelling import stated
from synthcxr.evaluation.measure import metric
from synthcxr.progress import say
from synthcxr.store import Json

FRACTIONS = (0.1, 0.25, 1.0)
"""Shares of the real training patients."""
FEWEST = 10
"""Images of each class below which a label is neither taught nor tested."""
FEW = 20
"""Images of a class in the test below which a figure is flagged."""


@dataclass(frozen=True)
class Lineage:
    """Whom the generator of a set, with its base, was trained on.

    `keys` are its patients as `FeatureSet.keys` names them, None where they are not known one by one. `patients` is
    their number. `complete` is False where some of its training images are not known at all.
    """

    keys: frozenset[str] | None = None
    patients: int = 0
    complete: bool = False

    @classmethod
    def of(cls, training: FeatureSet | None, gaps: Sequence[str] = ()) -> "Lineage":
        """What is known from the training images and the gaps in their lineage."""
        if training is None:
            return cls()
        keys = frozenset(key for key in training.keys if key) if all(training.keys) else None
        return cls(keys, len(np.unique(training.patients)), not gaps)

    def is_augmentation(self, real: frozenset[str], taken: int) -> bool:
        """Whether, of these real patients, any `taken` that begin with the generator's are all that it has seen."""
        return self.complete and self.keys is not None and self.keys <= real and len(self.keys) <= taken

    def in_words(self, real: frozenset[str], taken: int) -> str:
        """What a figure beside so many of these real patients is called."""
        if self.is_augmentation(real, taken):
            return "augmentation"
        if not self.patients:
            return "transfer from a generator whose training patients are not known"
        least = "" if self.complete else "at least "
        return f"transfer from a generator that saw {least}{self.patients:,} patients"


# --- the answer --------------------------------------------------------------------------------------------


def answer_usefulness(
    real_train: FeatureSet | None,
    real_test: FeatureSet,
    synthetic: FeatureSet,
    *,
    lineage: Lineage,
    seed: int,
    device: str,
    seeds: int = SEEDS,
    steps: int = STEPS,
    fractions: Sequence[float] = FRACTIONS,
) -> Answer:
    """How well a small classifier does on real patients, taught with synthetic images, with real ones, and with both.

    Patients of the test are taken out of the training. Without `real_train` synthetic images are taught alone. Raises
    SynthCXRError where the images or their labels do not allow it, with the reason.
    """
    if not all(real_test.rows) or not all(synthetic.rows):
        name = (synthetic if all(real_test.rows) else real_test).name
        raise SynthCXRError(
            f"{name} has features alone; a classifier is taught and tested with images: give a dataset."
        )
    train, shared = _unshared(real_train, real_test)
    labels = usable_labels([side for side in (train, real_test, synthetic) if side])
    if not labels:
        raise SynthCXRError(
            f"There is no label with {FEWEST} images of either class in the real images, "
            "in those to test with, and in the prompts of the set."
        )
    if train is not None:
        few = [fraction for fraction in fractions if fraction * len(train) < FEW]
        fractions = [fraction for fraction in fractions if fraction not in few]
    else:
        fractions, few = (), []
    say(f"Training {seeds * (1 + 2 * len(fractions))} small classifiers.")
    experiment = run_experiment(
        _real(train, labels, lineage) if train else None,
        _taught(real_test, labels),
        real_test.patients,
        _taught(synthetic, labels),
        labels,
        fractions=fractions,
        seed=seed,
        seeds=seeds,
        steps=steps,
        device=device,
    )
    told = _Telling(experiment, real_test, synthetic, train, lineage, seed, seeds)
    warnings = told.warnings() + _warnings(real_train, shared, few)
    if leaked := len((lineage.keys or frozenset()) & set(real_test.keys)):
        warnings.append(f"The generator was trained on {leaked} patients of the test: these figures are too good.")
    return Answer(
        "usefulness",
        told.verdict(),
        tuple(told.metrics()),
        tuple(warnings),
        tables=(told.table(),),
        charts=told.charts(),
    )


def _warnings(real_train: FeatureSet | None, shared: int, few: Sequence[float]) -> list[str]:
    """What was left out of the real images that teach."""
    found = [f"{100 * each:g} % of the real training images are fewer than {FEW}: not tried." for each in few]
    if real_train is None:
        found.append("The real side has no training split: nothing is said of synthetic images beside real ones.")
    elif real_train.rejected:
        found.append(f"{len(real_train.rejected)} real training images could not be read; they teach nothing here.")
    if shared:
        found.append(f"{shared} real training images are of patients of the test; they were left out.")
    return found


def _unshared(train: FeatureSet | None, test: FeatureSet) -> tuple[FeatureSet | None, int]:
    """The real training images without those of patients of the test, and how many these were."""
    if train is None or not all(train.rows):
        return None, 0
    tested = set(test.keys)
    kept = np.array([key not in tested for key in train.keys])
    if not kept.any():
        return None, len(train)
    index = np.flatnonzero(kept).tolist()
    side = replace(
        train,
        features=train.features[index],
        identity=train.identity[index],
        patients=train.patients[index],
        labels=tuple(train.labels[i] for i in index),
        keys=tuple(train.keys[i] for i in index),
        rows=tuple(train.rows[i] for i in index),
    )
    return side, len(train) - len(side)


def _labels(side: FeatureSet, labels: Sequence[str]) -> Floats:
    return np.array([[stated(label, row.fields if row else {}) for label in labels] for row in side.rows])


def usable_labels(sides: Sequence[FeatureSet]) -> tuple[str, ...]:
    """The labels of which every side states enough images of either class."""
    counts = [
        np.stack([np.nansum(each == value, axis=0) for value in (0, 1)]) for each in (_labels(s, LABELS) for s in sides)
    ]
    enough = np.min(counts, axis=(0, 1)) >= FEWEST
    return tuple(label for label, there in zip(LABELS, enough, strict=True) if there)


def _taught(side: FeatureSet, labels: Sequence[str]) -> Taught:
    return Taught(prepare([row for row in side.rows if row]), _labels(side, labels))


def _real(train: FeatureSet, labels: Sequence[str], lineage: Lineage) -> Real:
    seen = np.array([key in (lineage.keys or ()) for key in train.keys])
    return Real(_taught(train, labels), train.patients, seen)


_INTERVAL = (
    f"95 % t interval: variance over {DRAWS:,} paired bootstrap draws of test patients, and between seeds "
    "(Satterthwaite's degrees of freedom)"
)


@dataclass(frozen=True)
class _Telling:
    """What an experiment comes to, in figures and words."""

    experiment: Experiment
    test: FeatureSet
    synthetic: FeatureSet
    train: FeatureSet | None
    lineage: Lineage
    seed: int
    seeds: int

    def _real_patients(self) -> frozenset[str]:
        return frozenset(key for key in self.train.keys if key) if self.train else frozenset()

    def _called(self, fraction: float) -> str:
        real = self._real_patients()
        return self.lineage.in_words(real, share_of(len(real), fraction))

    def _area(self, arm: Arm) -> Estimate:
        return self.experiment.change(arm, None, self.seed)

    def _change(self, fraction: float) -> Estimate:
        return self.experiment.change(Arm(fraction, True), Arm(fraction, False), self.seed)

    def metrics(self) -> list[Json]:
        """The area of synthetic images alone, of the real ones, and what the synthetic ones add to these."""
        best = self._area(Arm(1.0, False)).value if 1.0 in self.experiment.images else None
        found = [
            self._metric(
                "usefulness_auc_synthetic",
                self._area(Arm(0, True)),
                title="Taught with synthetic images alone",
                meaning="AUC on real patients",
                better="higher",
                ceiling=best,
                useless=0.5,
            )
        ]
        for fraction in self.experiment.images:
            percent = f"{100 * fraction:g}"
            found.append(
                self._metric(
                    f"usefulness_auc_real_{percent}",
                    self._area(Arm(fraction, False)),
                    fraction,
                    title=f"Taught with {percent} % of the real images",
                    meaning=f"AUC on real patients; {self._many(fraction)} images",
                    better="higher",
                    useless=0.5,
                )
            )
            called = self._called(fraction)
            found.append(
                self._metric(
                    f"usefulness_{called.split()[0]}_{percent}",
                    self._change(fraction),
                    fraction,
                    title=f"Change of AUC by the synthetic images, beside {percent} % of the real ones",
                    meaning=called,
                    better="higher",
                    useless=0.0,
                    called=called,
                )
            )
        return found

    def _metric(self, name: str, estimate: Estimate, fraction: float | None = None, **more: object) -> Json:
        made = metric(
            name,
            estimate,
            n_real=len(self.test),
            n_synthetic=len(self.synthetic),
            unit="area under the ROC curve",
            interval=_INTERVAL,
            estimand="The mean over trainings, on endless patients like those of the test, of these synthetic images"
            + (" and real ones." if fraction == 1 else "." if fraction is None else " and takes of the real ones."),
            warning=self._few(),
            reason="" if estimate.low is not None else "One seed alone, or no variance: no interval.",
            fraction=fraction,
            n_training=self.experiment.images.get(fraction) if fraction else None,
            labels=[
                label for label, there in zip(self.experiment.labels, self.experiment.judged, strict=True) if there
            ],
            seeds=self.seeds,
            method=METHOD,
            **more,  # type: ignore[arg-type]
        )
        return {**made, "preprocessing": PREPROCESSING}

    def _few(self) -> str:
        truth = self.experiment.truth[:, self.experiment.judged]
        fewest = min(int(np.min(np.nansum(truth == value, axis=0))) for value in (0, 1))
        return f"Only {fewest} test images are of one class of a label." if fewest < FEW else ""

    def _many(self, fraction: float) -> str:
        return f"{'' if fraction == 1 else 'about '}{self.experiment.images[fraction]:,.0f}"

    def verdict(self) -> str:
        """What adding the set changes, per fraction, and what it is worth alone."""
        alone = _words(self._area(Arm(0, True)))
        if not self.experiment.images:
            return f"Taught with the {len(self.synthetic):,} synthetic images alone: AUC {alone} on real patients."
        parts = [
            f"by {_signed(self._change(fraction))} beside {self._many(fraction)} real ones ({100 * fraction:g} %)"
            for fraction in sorted(self.experiment.images, reverse=True)
        ]
        names = {self._called(fraction) for fraction in self.experiment.images}
        largest = max(self.experiment.images)
        return (
            f"Adding {len(self.synthetic):,} synthetic images changes the AUC of a small classifier "
            f"{'; '.join(parts)}. Taught with them alone: {alone}; with {self._many(largest)} real images alone: "
            f"{_words(self._area(Arm(largest, False)))}. This is {', and '.join(sorted(names))}."
        )

    def warnings(self) -> list[str]:
        """What the figures do not say."""
        found = [
            f"The classifier is small ({METHOD}), and what helps it may not help a larger or pretrained one.",
        ]
        if any(self._called(fraction) != "augmentation" for fraction in self.experiment.images):
            found.append(
                "Where a change is called transfer, the generator has learnt from patients beside the real images "
                "that it is added to, or that is not known. It brings what they taught it, and nothing is said of "
                "what could be had from those real images alone."
            )
        return found

    def table(self) -> Table:
        """Every label's area, taught with each kind of images."""
        largest = max(self.experiment.images, default=None)
        arms = {"synthetic alone": Arm(0, True)}
        if largest:
            arms |= {"real alone": Arm(largest, False), "real and synthetic": Arm(largest, True)}
        rows = []
        for number, label in enumerate(self.experiment.labels):
            truth = self.experiment.truth[:, number]
            rows.append(
                (
                    TITLES[label],
                    f"{int(np.nansum(truth))} of {int(np.sum(~np.isnan(truth)))}",
                    *(_words(self.experiment.change(arm, None, self.seed, number)) for arm in arms.values()),
                    "" if self.experiment.judged[number] else "not in the mean",
                )
            )
        return Table(
            "By label",
            ("Label", "Test images with it", *(f"AUC, {name}" for name in arms), ""),
            tuple(rows),
            f"Means over {self.seeds} trainings. All labels are taught at once.",
        )

    def charts(self) -> tuple[Chart, ...]:
        """The area over the number of real images, with and without the synthetic ones."""
        from synthcxr.report.charts import curves

        images = self.experiment.images
        if len(images) < 2:
            return ()
        lines = {
            name: [(images[fraction], self._area(Arm(fraction, both)).value - 0.5) for fraction in sorted(images)]
            for name, both in (("real", False), ("real and synthetic", True))
        }
        alone = self._area(Arm(0, True)).value - 0.5
        lines["synthetic alone"] = [(min(images.values()), alone), (max(images.values()), alone)]
        svg = str(curves(lines, "real images", "Area under the ROC curve by the number of real images"))
        caption = "How far the AUC on real patients lies above guessing (0.5), the mean over labels and trainings."
        return (Chart("What the classifier learns", svg, caption),)


def _words(estimate: Estimate) -> str:
    if estimate.low is None:
        return f"{estimate.value:.2f}"
    return f"{estimate.value:.2f} ({estimate.low:.2f} to {estimate.high:.2f})"


def _signed(estimate: Estimate) -> str:
    def sign(value: float | None) -> str:
        return f"{value or 0.0:+.3f}".replace("-", "\N{MINUS SIGN}")

    if estimate.low is None:
        return sign(estimate.value)
    return f"{sign(estimate.value)} ({sign(estimate.low)} to {sign(estimate.high)})"
