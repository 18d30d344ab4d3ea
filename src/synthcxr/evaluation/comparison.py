"""Comparison: several sets against the same real patients, pair by pair, corrected for the number of pairs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from synthcxr.errors import UsageError
from synthcxr.evaluation.answer import Answer, Table
from synthcxr.evaluation.features import FeatureSet
from synthcxr.evaluation.frechet import distances_without, frechet_distance, moments
from synthcxr.evaluation.intervals import (
    GROUPS,
    LEVEL,
    Estimate,
    Floats,
    Ints,
    Jackknifed,
    LeftOut,
    assign_groups,
    difference,
    paired_difference,
    root_interval,
)
from synthcxr.evaluation.kid import jackknifed_kid
from synthcxr.evaluation.measure import DISTANCES, FEW, KINDS, metric
from synthcxr.evaluation.prdc import interval_of, jackknifed_prdc
from synthcxr.store import Json

SQUARED = ("frechet_distance", "kid")
_PAIRED = f"95 % jackknife over {GROUPS} groups of patients a side, the real ones left out of both sets at once"


@dataclass(frozen=True)
class Difference:
    """One set's figure less another's: `estimate`, the `p` value of no difference, and after Holm's correction."""

    name: str
    one: str
    other: str
    estimate: Estimate
    p: float
    p_holm: float


def answer_comparison(real: FeatureSet, sets: Sequence[FeatureSet], *, k: int, seed: int) -> Answer:
    """The six distances and shares of every set at equal numbers of images, and every pair's differences.

    The sets are of the same extractor as the real side. Raises UsageError for fewer than two sets or too few images.
    """
    if len(sets) < 2:
        raise UsageError("A comparison needs two sets or more; name them behind --compare.")
    names, n = name_sets(sets), min(len(each) for each in sets)
    real_groups = assign_groups(real.patients, GROUPS, np.random.default_rng([seed, 0]))
    if min(n - -(-n // GROUPS), len(real) - int(np.bincount(real_groups).max())) <= k:
        raise UsageError(
            f"Too few images to compare: the smallest set has {n}, the real side {len(real)}; "
            f"without a group of patients each needs more than {k} (--neighbours)."
        )
    found = {
        name: jackknifed(real.features, _draw(each, n, seed, number), real_groups, k, seed)
        for number, (name, each) in enumerate(zip(names, sets, strict=True))
    }
    estimates = {name: {m: estimate_of(m, f[m], len(real), n) for m in DISTANCES} for name, f in found.items()}
    differences = compare(found, estimates)
    metrics = [_figure(name, m, each[m], real, sets[0], n, k) for name, each in estimates.items() for m in DISTANCES]
    metrics += [_difference(each, real, sets[0], n, len(differences)) for each in differences]
    warnings = []
    if len({len(each) for each in sets}) > 1:
        warnings.append(f"The sets have different numbers of images: {n} of each, drawn at random, are compared.")
    if len({frozenset(map(min, each.sizes)) for each in sets}) > 1:  # of the central squares
        warnings.append("The sets differ in resolution: a difference in sharpness counts as a difference between them.")
    unread = [f"{len(each.rejected)} of {name}" for name, each in zip(names, sets, strict=True) if each.rejected]
    if unread:
        warnings.append(f"Images that could not be read, see rejected.jsonl: {', '.join(unread)}.")
    if n < FEW or len(real) < FEW:
        warnings.append(f"Fewer than {FEW} images on a side: only large differences can be told.")
    tables = _sets_table(estimates), _pairs_table(differences)
    return Answer("comparison", _verdict(differences, estimates), tuple(metrics), tuple(warnings), tables)


def name_sets(sets: Sequence[FeatureSet]) -> list[str]:
    """The sets' names, with a number behind those that occur twice."""
    names = [each.name for each in sets]
    return [
        name if names.count(name) == 1 else f"{name} ({names[: i + 1].count(name)})" for i, name in enumerate(names)
    ]


def _draw(side: FeatureSet, n: int, seed: int, number: int) -> Floats:
    chosen = np.random.default_rng([seed, 5, number]).permutation(len(side))[:n] if len(side) > n else np.arange(n)
    return side.features[chosen]


def jackknifed(real: Floats, synthetic: Floats, real_groups: Ints, k: int, seed: int) -> dict[str, Jackknifed]:
    """The six figures of features (N, D) and (M, D), and their values without each group of each side."""
    groups = assign_groups(np.arange(len(synthetic)), GROUPS, np.random.default_rng([seed, 1]))
    one, two = moments(real), moments(synthetic)
    frechet = Jackknifed(
        frechet_distance(one, two),
        (
            LeftOut(distances_without(real, real_groups, two), np.bincount(real_groups)),
            LeftOut(distances_without(synthetic, groups, one), np.bincount(groups)),
        ),
    )
    kid = jackknifed_kid(real, synthetic, real_groups, groups)
    return {"frechet_distance": frechet, "kid": kid, **jackknifed_prdc(real, synthetic, k, real_groups, groups)}


def estimate_of(name: str, found: Jackknifed, n: int, m: int) -> Estimate:
    """A figure with the interval that the question of realism gives it, at n real and m synthetic images."""
    if name in SQUARED:
        return root_interval(found.value, found.sides, found.offset)
    return interval_of(name, found, n, m)


def compare(
    found: Mapping[str, Mapping[str, Jackknifed]], estimates: Mapping[str, Mapping[str, Estimate]]
) -> list[Difference]:
    """Every pair of sets by every figure; Holm's correction is over all of them.

    Where no group of patients moves either figure, the interval of their difference is from their own.
    """
    from statsmodels.stats.multitest import multipletests

    pairs = [(name, one, other) for one, other in combinations(found, 2) for name in DISTANCES]
    raw = [paired_difference(found[one][name], found[other][name]) for name, one, other in pairs]
    corrected = multipletests([p for _, p in raw], method="holm")[1]
    return [
        Difference(
            name,
            one,
            other,
            estimate if estimate.low is not None else difference(estimates[one][name], estimates[other][name]),
            p,
            float(holm),
        )
        for (name, one, other), (estimate, p), holm in zip(pairs, raw, corrected, strict=True)
    ]


# --- figures, words and tables -------------------------------------------------------------------------------


def _figure(name: str, kind: str, estimate: Estimate, real: FeatureSet, side: FeatureSet, n: int, k: int) -> Json:
    about = KINDS[kind]
    return metric(
        kind,
        estimate,
        n_real=len(real),
        n_synthetic=n,
        title=f"{about.title}: {name}",
        meaning=about.meaning,
        unit=about.unit,
        better=about.better,
        interval=about.interval,
        estimand=about.estimand,
        extractor=side,
        set=name,
        k=None if kind in SQUARED else k,
    )


def _difference(each: Difference, real: FeatureSet, side: FeatureSet, n: int, family: int) -> Json:
    about = KINDS[each.name]
    return metric(
        f"{each.name}_difference",
        each.estimate,
        n_real=len(real),
        n_synthetic=n,
        title=f"{about.title}: {each.one} less {each.other}",
        meaning=f"{_who(each)} ({_p(each.p_holm)} after Holm's correction)",
        unit=about.unit,
        better="zero",
        interval=_PAIRED,
        estimand="The difference of the two expectations at these numbers of images.",
        extractor=side,
        sets=[each.one, each.other],
        p=each.p,
        p_holm=each.p_holm,
        comparisons=family,
    )


def _told(each: Difference) -> bool:
    return each.p_holm < 1 - LEVEL


def _who(each: Difference) -> str:
    """Who is better, in half a sentence."""
    if not _told(each):
        return "not told apart"
    lower = KINDS[each.name].better == "lower"
    winner = each.one if (each.estimate.value < 0) == lower else each.other
    return f"{winner} is better"


def _verdict(differences: Sequence[Difference], estimates: dict[str, dict[str, Estimate]]) -> str:
    """Whose distance is the smallest, and from which sets that is told apart."""
    best = min(estimates, key=lambda name: estimates[name]["frechet_distance"].value)
    text = f"Nearest to real X-rays by the Fréchet distance is {best}, at {_words(estimates[best]['frechet_distance'])}"
    told = []
    for each in differences:
        if each.name == "frechet_distance" and best in (each.one, each.other):
            other = each.other if each.one == best else each.one
            how = f"{_p(each.p_holm)} after Holm's correction for {len(differences)} comparisons"
            told.append(f"nearer than {other} ({how})" if _told(each) else f"not told apart from {other} ({how})")
    return f"{text}: {'; '.join(told)}."


def _p(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.2g}"


def _words(estimate: Estimate, kind: str = "frechet_distance") -> str:
    def number(value: float) -> str:
        return f"{100 * value:.3g} %" if KINDS[kind].unit == "share" else f"{value:.3g}"

    if estimate.low is None or estimate.high is None:
        return number(estimate.value)
    return f"{number(estimate.value)} ({number(estimate.low)} to {number(estimate.high)})"


def _sets_table(estimates: dict[str, dict[str, Estimate]]) -> Table:
    columns = ("Set", *(KINDS[name].title for name in DISTANCES))
    rows = tuple((name, *(_words(each[m], m) for m in DISTANCES)) for name, each in estimates.items())
    return Table("The sets side by side", columns, rows, "Each with its 95 % interval, at equal numbers of images.")


def _pairs_table(differences: Sequence[Difference]) -> Table:
    rows = tuple(
        (f"{x.one} less {x.other}", KINDS[x.name].title, _words(x.estimate, x.name), _p(x.p), _p(x.p_holm), _who(x))
        for x in differences
    )
    return Table(
        "Pair by pair",
        ("Sets", "Figure", "Difference (95 % interval)", "Alone", "After Holm", ""),
        rows,
        f"Both sets are compared with the same real patients, so what their choice does to both drops out. {_PAIRED}. "
        f"Holm's correction is over all {len(differences)} lines; the intervals are not corrected. "
        "Those of shares are wide, they held the truth in 98 to 100 of 100 simulated sets: small differences may be "
        "missed.",
    )
