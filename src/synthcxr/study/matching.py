"""Real images chosen to be like the synthetic ones in view, age group, sex and findings. Nothing here touches the disk.

Images are matched exactly on view, sex, age group and whether there is a finding, as far as both sides say them; the
strata get their images by largest remainder. Within a stratum each synthetic image gets the real one that is nearest in
age and findings: optimal assignment (P. R. Rosenbaum, "Optimal matching for observational studies", JASA 84 (1989)
1024–1032). Standardized differences: P. C. Austin, "Balance diagnostics for comparing the distribution of baseline
covariates between treatment groups in propensity-score matched samples", Statistics in Medicine 28 (2009) 3083–3107.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from synthcxr.errors import UsageError
from synthcxr.generation.mixture import NOT_STATED, largest_remainder
from synthcxr.prompts import NO_FINDING, name_finding
from synthcxr.study.plan import Candidate, Pair, draw, shuffled

AGE_GROUPS = ((0, 4), (5, 17), (18, 39), (40, 59), (60, 79))
"""Youngest and oldest in years of each group; who is older is in a group of their own."""
TRAITS = ("view", "sex", "age group", "finding")
SAME_PATIENT = 1000.0
"""What it costs to show one patient again: more than any difference in age and findings."""


@dataclass(frozen=True)
class Traits:
    """What is known of who is shown, and how; empty or None where it is not stated."""

    view: str
    sex: str
    age: float | None
    findings: frozenset[str] | None

    @property
    def age_group(self) -> str:
        """The age group, as ``40-59``."""
        if self.age is None:
            return ""
        return next((f"{low}-{high}" for low, high in AGE_GROUPS if self.age < high + 1), f"{AGE_GROUPS[-1][1] + 1}+")

    @property
    def finding(self) -> str:
        """Whether there is a finding."""
        if self.findings is None:
            return ""
        return "no finding" if self.findings <= {name_finding(NO_FINDING)} else "finding"

    def level(self, trait: str) -> str:
        """The value of one of `TRAITS`; empty where it is not stated."""
        return str(getattr(self, trait.replace(" ", "_")))


def traits_of(candidate: Candidate) -> Traits:
    """Read the traits from the fields of a row, as datasets and sets have them."""
    fields = candidate.row.fields
    findings = fields.get("findings")
    named = [findings] if isinstance(findings, str) else findings
    return Traits(
        view=str(fields.get("view") or "").upper(),
        sex=str(fields.get("sex") or "").upper(),
        age=_age(fields.get("age"), fields.get("age_range")),
        findings=frozenset(name_finding(str(name)) for name in named) if named else None,
    )


def _age(age: Any, age_range: Any) -> float | None:
    try:
        return float(age) if age not in (None, "") else (float(age_range[0]) + float(age_range[1])) / 2
    except (TypeError, ValueError, IndexError):
        return None


def matchable(real: Sequence[Candidate], synthetic: Sequence[Candidate]) -> tuple[str, ...]:
    """The traits that both sides state, of some images at least."""

    def stated(pile: Sequence[Candidate]) -> set[str]:
        return {trait for trait in TRAITS for candidate in pile if traits_of(candidate).level(trait)}

    both = stated(real) & stated(synthetic)
    return tuple(trait for trait in TRAITS if trait in both)


def match(real: Sequence[Candidate], synthetic: Sequence[Candidate], count: int, seed: int) -> list[Pair]:
    """`count` pairs alike in every trait that both sides state, in the proportions of the synthetic images.

    A patient comes twice only where a stratum's patients are used up. Raises UsageError, with what each stratum lacks,
    where there are not as many pairs.
    """
    traits = matchable(real, synthetic)
    ours, theirs = _strata(real, traits), _strata(synthetic, traits)
    strata = sorted(theirs)
    room = [min(len(ours[stratum]), len(theirs[stratum])) for stratum in strata]
    if sum(room) < count:
        raise UsageError(_lack(count, sum(room), traits, ours, theirs))
    pairs: list[Pair] = []
    used: Counter[str] = Counter()
    for stratum, size in zip(strata, allocate([len(theirs[s]) for s in strata], room, count), strict=True):
        drawn = draw(theirs[stratum], size, seed, "synthetic")
        found = _nearest(drawn, shuffled(ours[stratum], seed, "real"), used)
        used.update(pair.real.patient for pair in found)
        pairs += found
    return pairs


def allocate(weights: Sequence[int], room: Sequence[int], count: int) -> list[int]:
    """`count` shared out by `weights` (largest remainder), none above its `room`; the excess goes to the others."""
    got = [0] * len(weights)
    while left := count - sum(got):
        free = [index for index, size in enumerate(got) if size < room[index]]
        for index, more in zip(free, largest_remainder([weights[i] for i in free], left), strict=True):
            got[index] = min(room[index], got[index] + more)
    return got


def _strata(pile: Sequence[Candidate], traits: Sequence[str]) -> defaultdict[tuple[str, ...], list[Candidate]]:
    found: defaultdict[tuple[str, ...], list[Candidate]] = defaultdict(list)
    for candidate in pile:
        found[tuple(traits_of(candidate).level(trait) or NOT_STATED for trait in traits)].append(candidate)
    return found


def _lack(
    count: int,
    possible: int,
    traits: Sequence[str],
    ours: defaultdict[tuple[str, ...], list[Candidate]],
    theirs: defaultdict[tuple[str, ...], list[Candidate]],
) -> str:
    lines = [
        f"{', '.join(stratum)}: {len(theirs[stratum])} synthetic, {len(ours[stratum])} real, "
        f"{len(theirs[stratum]) - len(ours[stratum])} too few"
        for stratum in sorted(theirs, key=lambda s: len(ours[s]) - len(theirs[s]))
        if len(ours[stratum]) < len(theirs[stratum])
    ]
    return "\n  ".join(
        [
            f"{count} pairs alike in {', '.join(traits)} are needed, but {possible} can be made. Ask for a smaller "
            "--count, give more images, or take --no-match. Real images are lacking here:",
            *lines,
        ]
    )


def _nearest(drawn: Sequence[Candidate], pool: Sequence[Candidate], used: Counter[str]) -> list[Pair]:
    """A real image of the pool for each drawn one, so that differences add up to the least."""
    from scipy.optimize import linear_sum_assignment

    if not drawn:  # fewer pairs than strata
        return []
    seen = used.copy()
    again = []
    for candidate in pool:
        again.append(seen[candidate.patient] * SAME_PATIENT)
        seen[candidate.patient] += 1
    ours = [traits_of(candidate) for candidate in pool]
    apart = np.array([[distance(traits_of(made), one) for one in ours] for made in drawn])
    costs = apart.reshape(len(drawn), len(pool)) + np.array(again)
    return [Pair(pool[column], drawn[row]) for row, column in zip(*linear_sum_assignment(costs), strict=True)]


def distance(one: Traits, other: Traits) -> float:
    """Decades between two ages, plus the share of findings that only one of them has (Jaccard)."""
    years = abs(one.age - other.age) / 10 if one.age is not None and other.age is not None else 0.0
    some, others = one.findings or frozenset(), other.findings or frozenset()
    together = some | others
    return years + (1 - len(some & others) / len(together) if together else 0.0)


# --- did it work? ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Balance:
    """How common a level is among real and synthetic images, before and after drawing (age: its mean in years).

    `before` and `after` are standardized differences, synthetic minus real; None where a share is 0 on one side and 1
    on the other, or nothing is stated.
    """

    trait: str
    level: str
    real_before: float | None
    synthetic_before: float | None
    before: float | None
    real_after: float | None
    synthetic_after: float | None
    after: float | None


def balance(real: Sequence[Candidate], synthetic: Sequence[Candidate], pairs: Sequence[Pair]) -> list[Balance]:
    """The table of balance: all candidates before, the drawn ones after; empty where neither side states anything."""
    sides = [real, synthetic, [pair.real for pair in pairs], [pair.synthetic for pair in pairs]]
    groups = [[traits_of(candidate) for candidate in side] for side in sides]
    rows = []
    for trait in TRAITS[:3]:
        levels = sorted({traits.level(trait) for group in groups for traits in group}, key=_by_number)
        for level in levels if levels != [""] else []:
            shares = [_mean([float(traits.level(trait) == level) for traits in group]) for group in groups]
            rows.append(_row(trait, level or NOT_STATED, shares, [_binary(share) for share in shares]))
    ages = [[traits.age for traits in group if traits.age is not None] for group in groups]
    if all(ages):
        rows.append(
            _row("age", "mean", [_mean(a) for a in ages], [float(np.var(a, ddof=min(1, len(a) - 1))) for a in ages])
        )
    for finding in sorted({name for group in groups for traits in group for name in traits.findings or ()}):
        shares = [_mean([float(finding in (traits.findings or ())) for traits in group]) for group in groups]
        rows.append(_row("findings", finding, shares, [_binary(share) for share in shares]))
    return rows


def standardized(real: float, synthetic: float, real_variance: float, synthetic_variance: float) -> float | None:
    """The difference in units of the mean standard deviation of both sides; None where that is 0 and they differ."""
    if real == synthetic:
        return 0.0
    scale = ((real_variance + synthetic_variance) / 2) ** 0.5
    return (synthetic - real) / scale if scale else None


def _row(trait: str, level: str, values: Sequence[float], variances: Sequence[float]) -> Balance:
    before = standardized(values[0], values[1], variances[0], variances[1])
    after = standardized(values[2], values[3], variances[2], variances[3])
    return Balance(trait, level, values[0], values[1], before, values[2], values[3], after)


def _by_number(level: str) -> tuple[int, str]:
    """Age groups by their age, words by the alphabet."""
    first = level.rstrip("+").split("-")[0]
    return (int(first) if first.isdecimal() else -1, level)


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else 0.0


def _binary(share: float) -> float:
    return share * (1 - share)
