"""Further chapters of an analysis: signal detection, agreement, learning, times, subgroups."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import combinations

import numpy as np

from synthcxr.store import Json
from synthcxr.study.answers import Answer
from synthcxr.study.material import Material, Section, readers_of, spanned
from synthcxr.study.panel import by_truth, difference, is_right, share
from synthcxr.study.quality import FEWEST, agreed_text, agreements
from synthcxr.study.readings import Reading
from synthcxr.study.statistics.agreement import Agreement, fleiss, kappa
from synthcxr.study.statistics.learning import learning
from synthcxr.study.statistics.mrmc import Floats

SMALL = 10
"""Images below which a subgroup says nearly nothing."""
MOST_READERS = 8
"""Readers up to which each pair of them is listed."""


def detection_section(readings: Sequence[Reading]) -> Section:
    """d′ and criterion of each reader."""
    rows, values = [], {}
    for reading in readings:
        found = reading.detection
        if found:
            values[reading.reader] = asdict(found)
            rows.append(
                (
                    reading.reader,
                    spanned(found.d_prime, found.d_prime_low, found.d_prime_high, 2),
                    spanned(found.criterion, found.criterion_low, found.criterion_high, 2),
                )
            )
    note = "A d′ of 0 is guessing. A criterion above 0 leans to calling images real, below 0 to calling them synthetic."
    return Section("detection", "Signal detection", ("reader", "d′ (95 % interval)", "criterion"), rows, values, [note])


def agreement_section(material: Material) -> Section:
    """Real or synthetic: kappa of each pair of readers, Fleiss's of all, and of each reader with themselves."""
    readers = readers_of(material.calls)
    by_reader = {r: {a.image: a.answer for a in material.calls if a.reader == r} for r in readers}
    rows: list[tuple[str, ...]] = []
    values: Json = {"between": {}, "fleiss": None, "within": {}}

    def add(who: str, what: str, found: Agreement, same: str = "") -> None:
        rows.append((who, what, agreed_text(found), same, str(found.n)))

    if len(readers) > 2:
        whole = sorted(set.intersection(*(set(given) for given in by_reader.values())))
        if len(whole) > 1:
            found = fleiss([[int(by_reader[r][image] == "real") for r in readers] for image in whole])
            values["fleiss"] = asdict(found)
            add("all readers", "Fleiss’s kappa", found)
    for one, other in combinations(readers, 2) if len(readers) <= MOST_READERS else ():
        shared = sorted(set(by_reader[one]) & set(by_reader[other]))
        if shared:
            pair = [str(by_reader[one][image]) for image in shared], [str(by_reader[other][image]) for image in shared]
            found = kappa(*pair)
            values["between"][f"{one} – {other}"] = asdict(found)
            add(f"{one} – {other}", "Cohen’s kappa", found, _same(*pair))
    for reader in readers:
        again = {
            material.same_as(a.image): a.answer
            for a in material.repeats
            if a.reader == reader and a.kind == "real-or-synthetic"
        }
        shared = sorted(set(again) & set(by_reader[reader]))
        if shared:
            pair = [str(by_reader[reader][image]) for image in shared], [str(again[image]) for image in shared]
            found = kappa(*pair) if len(shared) >= FEWEST else Agreement(len(shared))
            values["within"][reader] = asdict(found) | {"same": _same(*pair)}
            add(reader, "with themselves", found, _same(*pair))
    for item, found in _item_repeats(material).items():
        values["within"][item] = asdict(found)
        add("all readers", f"{item}, with themselves, ICC(2,1)", found)
    columns = ("readers", "figure", "value (95 % interval)", "same answer", "images")
    return Section("agreement", "Agreement", columns, rows, values, ["Repeats are in no other figure than this."])


def _same(first: Sequence[object], second: Sequence[object]) -> str:
    return f"{sum(a == b for a, b in zip(first, second, strict=True))} of {len(first)}"


def _item_repeats(material: Material) -> dict[str, Agreement]:
    """For each item, both ratings of every image that one reader rated twice."""
    first = {(a.reader, a.image): a.ratings for a in material.ratings}
    found = {}
    for item in material.items:
        pairs = [
            (first[key][item.name], a.ratings[item.name])
            for a in material.repeats
            if a.kind == "quality" and item.name in a.ratings
            for key in [(a.reader, material.same_as(a.image))]
            if key in first and item.name in first[key]
        ]
        agreed = agreements(np.array(pairs, np.float64).T) if pairs else {}
        if agreed:
            found[item.name] = agreed["icc_2_1"]
    return found


def learning_section(material: Material) -> Section:
    """Whether readers get better as they go on, and the shares right by thirds of the places of these questions."""
    placed = [answer for answer in material.calls if answer.position is not None]
    right = is_right(material)
    if not placed:
        return Section("learning", "Learning", (), [], {"reason": "no order is known"}, [])
    found = learning(
        [right(a) for a in placed],
        [a.position or 1 for a in placed],
        [a.reader for a in placed],
        [a.image for a in placed],
    )
    first, last = (end(a.position or 1 for a in placed) for end in (min, max))
    thirds: dict[int, list[float]] = defaultdict(list)
    for answer in placed:
        thirds[3 * ((answer.position or 1) - first) // (last - first + 1)].append(right(answer))
    rows = [
        (name, f"{np.mean(thirds[index]):.3f}", f"{int(sum(thirds[index]))} of {len(thirds[index])}")
        for index, name in enumerate(("first third", "second third", "last third"))
        if thirds[index]
    ]
    if found.odds_ratio is None:
        note = f"No trend could be estimated: {found.reason}."
    else:
        note = (
            f"From the first image to the last, the odds of being right change by a factor of {found.odds_ratio:.2f} "
            f"({found.low:.2f}–{found.high:.2f}; p = {found.p:.3f}): logistic regression with a level for each reader, "
            "errors clustered by image."
        )
    values = asdict(found) | {"thirds": [[int(sum(thirds[i])), len(thirds[i])] for i in range(3)]}
    return Section("learning", "Learning", ("part of the reading", "accuracy", "counts"), rows, values, [note])


def time_section(material: Material) -> Section:
    """Seconds an image: median and quartiles, by reader, truth, and right or wrong."""
    timed = [a for a in (*material.calls, *material.ratings, *material.pairs) if a.seconds is not None]
    right = is_right(material)
    calls = [a for a in timed if a.kind == "real-or-synthetic"]
    groups: dict[str, list[Answer]] = {"all": timed}
    for reader in readers_of(timed):
        groups[reader] = [a for a in timed if a.reader == reader]
    for kind in ("synthetic", "real"):
        groups[f"{kind} images"] = [a for a in calls if material.truth[a.image] == kind]
    groups |= {"right calls": [a for a in calls if right(a)], "wrong calls": [a for a in calls if not right(a)]}
    rows, values = [], {}
    for name, given in groups.items():
        if given:
            low, median, high = np.quantile([a.seconds or 0.0 for a in given], (0.25, 0.5, 0.75))
            values[name] = {"n": len(given), "median": median, "quartiles": [low, high]}
            rows.append((name, str(len(given)), f"{median:.1f}", f"{low:.1f}–{high:.1f}"))
    return Section("times", "Seconds an image", ("answers", "N", "median", "quartiles"), rows, values)


def subgroup_section(material: Material) -> Section:
    """Accuracy in images of a view, sex, age group or finding, and its difference from all other images."""
    rows: list[tuple[str, ...]] = []
    values: Json = {}
    for trait, levels in subgroups(material.study.rows).items():
        for level, inside in levels.items():
            some, others = _right(material, inside, True), _right(material, inside, False)
            found = share(level, some)
            if found is None or found.images == len({a.image for a in material.calls}):
                continue
            apart = difference(level, some, others)
            small = found.images < SMALL
            values.setdefault(trait, {})[level] = {
                **asdict(found),
                "small": small,
                "difference": asdict(apart) if apart else None,
            }
            rows.append((trait, level, str(found.images), str(found), str(apart or "–"), "few images" if small else ""))
    columns = ("trait", "group", "images", "accuracy (95 % interval)", "difference from the rest", "")
    note = "Subgroups were not the question: with many of them, some differ by chance."
    return Section("subgroups", "Subgroups", columns, rows, values, [note])


def _right(material: Material, group: set[str], inside: bool) -> list[Floats]:
    strata = by_truth(material, is_right(material), lambda image: (image in group) == inside)
    return [scores for scores in strata if scores.shape[1]]


def subgroups(rows: Mapping[str, Json]) -> dict[str, dict[str, set[str]]]:
    """Images by trait and level, from the key's rows."""
    found: dict[str, dict[str, set[str]]] = {}
    for image, row in rows.items():
        levels = [("view", row.get("view")), ("sex", row.get("sex")), ("age group", row.get("age_group"))]
        levels += [("finding", finding) for finding in row.get("findings") or ()]
        for trait, level in levels:
            if level:
                found.setdefault(trait, {}).setdefault(str(level), set()).add(image)
    return {trait: dict(sorted(levels.items())) for trait, levels in found.items()}
