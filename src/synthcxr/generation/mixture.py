"""How many of what: a dataset's own mix, the rare ones filled up, an even grid, in whole images that add up.

Pure functions on subjects and counts. Shares are whole numbers throughout, so that every machine draws the same mix.
"""

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from itertools import product
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthcxr.errors import UsageError
from synthcxr.prompts import Subject, name_finding
from synthcxr.seeds import seed_for

BALANCED = ("age", "sex", "view", "findings")
NOT_STATED = "not stated"

Ints = NDArray[np.int64]
Mix = dict[str, dict[str, int]]
"""How many images by view, sex, age group and finding."""


# --- whole numbers ----------------------------------------------------------------------------------------


def largest_remainder(weights: Sequence[int], count: int, traits: Ints | None = None) -> list[int]:
    """`count` shared out by `weights`: each gets its share rounded down, or up where its remainder is largest.

    The counts add up to `count`, and each is within one of its exact share; of equal remainders the first wins.
    With `traits` (weights, traits), 1 where a weight has a trait, the remainder of each of its traits counts like its
    own: else of many small shares only the commonest would ever be rounded up, and every rare trait be lost.
    """
    total = sum(weights)
    whole, owed = np.divmod(np.asarray(weights, np.int64) * count, total)  # owed: in parts of 1 / total
    held = np.zeros((len(whole), 0), np.int64) if traits is None else np.asfortranarray(traits)
    score = np.where(owed > 0, owed + held @ (owed @ held), np.iinfo(np.int64).min // 2)
    for _ in range(count - int(whole.sum())):
        best = int(score.argmax())
        whole[best] += 1
        score -= total * held[:, held[best] > 0].sum(axis=1)
        score[best] = np.iinfo(np.int64).min // 2
    return [int(number) for number in whole]


def spread(counts: Sequence[int], rng: Random) -> list[int]:
    """The index of each count as often as it says, evenly over the whole: every beginning of it is mixed.

    Among n equal counts, each comes within 2 of an n-th in any beginning.
    """
    places = []
    for index, count in enumerate(counts):
        start = rng.random()
        places += [((number + start) / count, index) for number in range(count)]
    return [index for _, index in sorted(places)]


# --- a dataset's mix --------------------------------------------------------------------------------------


def draw_mix(joint: Mapping[Subject, int], count: int, seed: int, balance: Sequence[str] = ()) -> list[Subject]:
    """`count` subjects in the proportions of a joint distribution, or with the fields of `balance` made even.

    With `balance`, each combination of the named fields' values that occurs gets an equal count (within one), and
    inside each of them the proportions are those of `joint`. Subjects that do not state a named field are left out.
    Raises UsageError where none is left.
    """
    rng = Random(seed_for("mix", seed))
    subjects = sorted(joint, key=repr)
    rng.shuffle(subjects)  # so that equal remainders are not always the youngest's
    groups: dict[Hashable, list[Subject]] = defaultdict(list)
    for subject in subjects:
        values = tuple(value_of(subject, name) for name in balance)
        if all(values):
            groups[values].append(subject)
    if not groups:
        raise UsageError(f"--balance {','.join(balance)}: no training row states all of these.")
    members = list(groups.values())
    sizes = (
        largest_remainder([1] * len(members), count)
        if balance
        else largest_remainder([sum(joint[subject] for subject in group) for group in members], count)
    )
    counts: list[int] = []
    for group, size in zip(members, sizes, strict=True):
        counts += largest_remainder([joint[subject] for subject in group], size, _traits(group))
    drawn = [subject for group in members for subject in group]
    return [drawn[index] for index in spread(counts, rng)]


def value_of(subject: Subject, name: str) -> str:
    """A field's value as `balance` tells it apart: ages by decade, findings all together; empty if not stated."""
    match name:
        case "age":
            return age_group(subject.age, subject.age_range)
        case "findings":
            return ", ".join(sorted(map(name_finding, subject.findings)))
        case _:
            return str(getattr(subject, name) or "")


def age_group(age: int | None, age_range: Sequence[int] | None = None) -> str:
    """The decade of an age in years, or of the middle of a range: ``60-69``; empty where neither is known."""
    if age is None and age_range:
        age = (int(age_range[0]) + int(age_range[1])) // 2
    return "" if age is None else f"{int(age) // 10 * 10}-{int(age) // 10 * 10 + 9}"


def _traits(subjects: Sequence[Subject]) -> Ints:
    """View, sex, age group and each finding of subjects: (subjects, values), 1 where a subject has the value."""
    had = [
        [("view", s.view), ("sex", s.sex), ("age", age_group(s.age, s.age_range)), *(("f", f) for f in s.findings)]
        for s in subjects
    ]
    column = {value: number for number, value in enumerate(dict.fromkeys(value for one in had for value in one))}
    traits = np.zeros((len(subjects), len(column)), np.int64)
    for row, values in enumerate(had):
        traits[row, [column[value] for value in values]] = 1
    return traits


# --- a grid -----------------------------------------------------------------------------------------------


def draw_grid(
    axes: Mapping[str, Sequence[str | tuple[int, int]]], count: int | None, seed: int
) -> list[dict[str, str | int]]:
    """`count` cells of the cross product of `axes`, as even as whole numbers can be; by default each cell once.

    The axis ``age`` holds ranges in years, (youngest, oldest): each is one value of the grid, and inside it the years
    are spread evenly over the cell's images.
    """
    rng = Random(seed_for("grid", seed))
    cells = list(product(*axes.values()))
    rng.shuffle(cells)
    counts = largest_remainder([1] * len(cells), len(cells) if count is None else count)
    years = [
        _years(dict(zip(axes, cell, strict=True)).get("age"), n, rng) for cell, n in zip(cells, counts, strict=True)
    ]
    drawn = []
    for index in spread(counts, rng):
        cell: dict[str, Any] = dict(zip(axes, cells[index], strict=True))
        drawn.append(cell | ({"age": years[index].pop()} if "age" in cell else {}))
    return drawn


def _years(ages: Any, count: int, rng: Random) -> list[int]:
    """`count` years, evenly over a range, in any order."""
    if ages is None:
        return []
    choices = list(range(ages[0], ages[1] + 1))
    rng.shuffle(choices)
    each = largest_remainder([1] * len(choices), count)
    return [choices[index] for index in spread(each, rng)]


# --- what it comes to -------------------------------------------------------------------------------------


def count_mix(rows: Iterable[Mapping[str, Any]]) -> Mix:
    """Images by view, sex, age group and finding, from the fields they ask for; one may have several findings.

    Empty where no row asks for any in fields.
    """
    counters: dict[str, Counter[str]] = {name: Counter() for name in ("view", "sex", "age", "finding")}
    for row in rows:
        findings = row.get("findings") or []
        age = str(row.get("age", "")).strip()
        counters["view"][str(row.get("view") or NOT_STATED)] += 1
        counters["sex"][str(row.get("sex") or NOT_STATED)] += 1
        counters["age"][_age_told(age, row.get("age_range"))] += 1
        counters["finding"].update([findings] if isinstance(findings, str) else findings or [NOT_STATED])
    if all(set(counter) <= {NOT_STATED} for counter in counters.values()):
        return {}
    return {
        name: dict(sorted(counter.items(), key=_by_age if name == "age" else _by_count))
        for name, counter in counters.items()
    }


def _age_told(age: str, age_range: Any) -> str:
    if age.isdecimal():
        return age_group(int(age))
    if isinstance(age_range, (list, tuple)) and len(age_range) == 2:
        return age_group(None, age_range)
    return age or NOT_STATED  # as a file of prompts writes it


def _by_age(item: tuple[str, int]) -> tuple[int, str]:
    first = item[0].split("-")[0]
    return (int(first) if first.isdecimal() else 1000, item[0])


def _by_count(item: tuple[str, int]) -> tuple[int, str]:
    return (-item[1], item[0])


def tell_mix(mix: Mix, count: int) -> str:
    """The table of what will be drawn, in lines."""
    lines = [f"To draw: {count:,} images."]
    for name, counts in mix.items():
        values = [f"{value} {number:,}" for value, number in counts.items()]
        lines += [
            f"  {name if not start else '':<8}{', '.join(values[start : start + 8])}"
            for start in range(0, len(values), 8)
        ]
    return "\n".join(lines)
