"""One measure of every image, of synthetic images beside real ones: how its mean differs, and how many are odd."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from synthcxr.evaluation.floor import Floor, floors
from synthcxr.evaluation.intervals import (
    GROUPS,
    Bools,
    Estimate,
    Floats,
    Ints,
    LeftOut,
    assign_groups,
    jackknife_interval,
    wilson,
)
from synthcxr.evaluation.measure import FEW, metric
from synthcxr.store import Json

INSIDE = 0.95
"""The central part of real images that counts as usual."""
FEWEST = 39
"""Real images below which their extremes lie inside the usual range's ends."""
FEWEST_GROUPS = 5
"""Patients, or images, a side below which there is no interval."""


@dataclass(frozen=True)
class Kind:
    """What a measure is called and means, and its unit."""

    title: str
    meaning: str
    unit: str


@dataclass(frozen=True)
class Compared:
    """Values of a measure on both sides, (N,) and (M,); NaN where an image does not allow it.

    `patients` (N,) are codes of the real images' patients. Each synthetic image is its own.
    """

    name: str
    kind: Kind
    real: Floats
    synthetic: Floats
    patients: Ints
    seed: int = 0

    @cached_property
    def _known(self) -> tuple[Floats, Floats, Ints]:
        real, synthetic = np.isfinite(self.real), np.isfinite(self.synthetic)
        return self.real[real], self.synthetic[synthetic], self.patients[real]

    def usual(self) -> tuple[float, float]:
        """The range that holds the central 95 % of real patients' images."""
        return usual_range(self._known[0])

    def odd(self) -> Bools:
        """Which synthetic images (M,) lie outside the usual range."""
        low, high = self.usual()
        return np.asarray((self.synthetic < low) | (self.synthetic > high))

    def oddness(self) -> Floats:
        """How far each synthetic image (M,) lies from the real mean, in real deviations; 0 where not known."""
        real = self._known[0]
        return np.asarray(np.nan_to_num(np.abs(self.synthetic - real.mean()) / max(float(real.std()), 1e-12)))

    def metrics(self) -> list[Json]:
        """The difference of means, and the share of odd images, as entries of ``report.json``."""
        real, synthetic, _ = self._known
        sizes: Json = {"n_real": len(real), "n_synthetic": len(synthetic)}
        titles = (f"{self.kind.title}: difference", f"{self.kind.title}: odd images")
        if min(sizes.values()) < 2:
            reason = f"Too few images show it: {len(real)} real, {len(synthetic)} synthetic."
            names = (f"{self.name}_difference", f"{self.name}_odd")
            return [metric(n, None, title=t, reason=reason, **sizes) for n, t in zip(names, titles, strict=True)]
        few = f"Fewer than {FEW} images on a side." if min(sizes.values()) < FEW else ""
        sides: Json = {
            side: {"mean": float(values.mean()), "deviation": float(values.std(ddof=1))}
            for side, values in (("real", real), ("synthetic", synthetic))
        }
        floor = self._floors()
        difference = metric(
            f"{self.name}_difference",
            self.difference(),
            unit=self.kind.unit,
            better="zero",
            interval=f"95 % jackknife over {GROUPS} groups of patients a side",
            estimand="The difference of the two means over endless images, synthetic less real.",
            title=titles[0],
            meaning=f"synthetic less real, of {self.kind.meaning}",
            floor=floor.get("difference"),
            warning=few,
            **sizes,
            **sides,
        )
        few_real = len(real) < FEWEST
        reason = f"At least {FEWEST} real images are needed to say what is usual, here are {len(real)}."
        low, high = self.usual()
        odd = metric(
            f"{self.name}_odd",
            None if few_real else self.odd_share(),
            unit="share",
            better="real",
            interval="95 % Wilson interval, the range held fixed",
            estimand="The share of endless synthetic images outside the range of these real ones.",
            title=titles[1],
            meaning=f"share outside the range of 95 % of real images, {low:.3g} to {high:.3g}",
            floor=floor.get("odd"),
            reason=reason if few_real else "",
            warning=few,
            usual=[low, high],
            expected=1 - INSIDE,
            **sizes,
        )
        return [difference, odd]

    def difference(self) -> Estimate:
        """The difference of means with its interval, none where there are too few patients or images."""
        real, synthetic, patients = self._known
        value = mean_difference(real, synthetic)
        owners = (patients, np.arange(len(synthetic)))
        if min(len(np.unique(each)) for each in owners) < FEWEST_GROUPS:
            return Estimate(value)
        ours, theirs = (assign_groups(o, GROUPS, np.random.default_rng([self.seed, i])) for i, o in enumerate(owners))
        without = (
            [mean_difference(real[ours != group], synthetic) for group in range(ours.max() + 1)],
            [mean_difference(real, synthetic[theirs != group]) for group in range(theirs.max() + 1)],
        )
        sizes = (np.bincount(ours).astype(np.int64), np.bincount(theirs).astype(np.int64))
        return jackknife_interval(value, [LeftOut(np.array(v), n) for v, n in zip(without, sizes, strict=True)])

    def odd_share(self) -> Estimate:
        """The share of odd images with its interval, the usual range held fixed."""
        real, synthetic, _ = self._known
        share = share_outside(real, synthetic)
        return Estimate(share, *wilson(share * len(synthetic), len(synthetic)))

    def _floors(self) -> dict[str, Floor]:
        real, _, patients = self._known

        def both(first: Floats, second: Floats) -> dict[str, float]:
            found = {"difference": mean_difference(first[:, 0], second[:, 0])}
            if len(first) >= FEWEST:
                found["odd"] = share_outside(first[:, 0], second[:, 0])
            return found

        return floors(real[:, None], patients, both, self.seed)

    def row(self) -> tuple[str, str, str, str, str]:
        """A line of a table: its title, both means with deviations, the difference and the share of odd ones."""
        real, synthetic, _ = self._known
        if min(len(real), len(synthetic)) < 2:
            return (self.kind.title, "", "", "", "")
        unit = f" {self.kind.unit}" if self.kind.unit not in ("", "ratio", "share") else ""
        difference = _words(self.difference(), "+.3g") + unit
        odd = _words(self.odd_share(), ".1%") if len(real) >= FEWEST else ""
        of_real, of_synthetic = (f"{each.mean():.3g} ({each.std(ddof=1):.2g}){unit}" for each in (real, synthetic))
        return (self.kind.title, of_real, of_synthetic, difference, odd)


COLUMNS = ("Measure", "Real: mean (deviation)", "Synthetic: mean (deviation)", "Difference (95 %)", "Odd images (95 %)")
"""The heads of `Compared.row`."""


def oddest(compared: Sequence[Compared], count: int) -> list[tuple[int, Compared]]:
    """Which synthetic images to show, by which measure: the oddest of each measure in turn, no image twice."""
    orders = [np.argsort(-each.oddness(), kind="stable").tolist() for each in compared]
    chosen: dict[int, Compared] = {}
    for rank in range(max(map(len, orders), default=0)):
        for each, order in zip(compared, orders, strict=True):
            if len(chosen) < count:
                chosen.setdefault(order[rank], each)
    return list(chosen.items())


def mean_difference(real: Floats, synthetic: Floats) -> float:
    """The synthetic mean less the real one."""
    return float(synthetic.mean() - real.mean())


def usual_range(real: Floats) -> tuple[float, float]:
    """The central 95 % of real values; another real value lies outside with a chance of 5 % at any N from 39."""
    low, high = np.quantile(real, [(1 - INSIDE) / 2, (1 + INSIDE) / 2], method="weibull")
    return float(low), float(high)


def share_outside(real: Floats, synthetic: Floats) -> float:
    """The share of synthetic values outside the usual range of the real ones."""
    low, high = usual_range(real)
    return float(np.mean((synthetic < low) | (synthetic > high)))


def differs(metric: Json) -> bool:
    """Whether a difference's interval leaves out 0, or an odd share's lies above that of two real halves."""
    if metric["ci_low"] is None:
        return False
    if metric["better"] == "zero":
        return bool(metric["ci_low"] > 0 or metric["ci_high"] < 0)
    return bool(metric["ci_low"] > max(metric["expected"], metric["floor"]["high"] if metric["floor"] else 0))


def _words(estimate: Estimate, how: str) -> str:
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:{how}}"
    return f"{estimate.value:{how}} ({estimate.low:{how}} to {estimate.high:{how}})"
