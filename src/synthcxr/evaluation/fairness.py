"""Fairness: whether a set is as real, as faithful, as private and as useful for every group of patients."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from synthcxr.evaluation.answer import Answer, Table
from synthcxr.evaluation.faithfulness import AGES, auc_interval, groups_of
from synthcxr.evaluation.features import FeatureSet
from synthcxr.evaluation.intervals import (
    GROUPS,
    Bools,
    Estimate,
    Floats,
    Ints,
    LeftOut,
    assign_groups,
    difference,
    share_interval,
    wilson,
)
from synthcxr.evaluation.kid import kid_interval
from synthcxr.evaluation.labelling import Labeller, stated
from synthcxr.evaluation.measure import FEW, metric, near_copies
from synthcxr.store import Json

FEWEST = 20
"""Images of a group below which a figure says nothing; with fewer than `FEW` it is flagged."""
PROBES = ("abnormal", "opacity", "pneumonia")
"""What usefulness is asked of: the first that both sides state with both answers."""


@dataclass(frozen=True)
class Group:
    """Images that share `value` in `attribute`: which of the `real` ones (N,) and of the `synthetic` ones (M,)."""

    attribute: str
    value: str
    real: Bools
    synthetic: Bools

    @property
    def title(self) -> str:
        """As it is named on the page."""
        if self.attribute == "sex":
            return {"F": "female", "M": "male"}.get(self.value, self.value)
        return self.value if self.attribute == "age" else f"{self.attribute} {self.value}"

    @property
    def size(self) -> int:
        """Images on the side that has fewer."""
        return int(min(self.real.sum(), self.synthetic.sum()))


@dataclass(frozen=True)
class Found:
    """A figure of one group, and the same on real images where that is known; or the reason why there is none."""

    estimate: Estimate | None
    real: Estimate | None = None
    reason: str = ""


@dataclass(frozen=True)
class Figure:
    """What is compared between groups: how it is worked out, and what its differences are called and mean.

    `words` say of a group what a larger and what a smaller figure than the other's means.
    """

    name: str
    title: str
    unit: str
    words: tuple[str, str]
    interval: str
    of: Callable[[Group], Found]
    less_real: bool = False  # whether a group's own figure on real images is taken off first


def answer_fairness(
    real: FeatureSet,
    synthetic: FeatureSet,
    training: FeatureSet | None,
    labeller: Labeller,
    *,
    seed: int,
    no_training: str,
) -> Answer:
    """Realism, faithfulness, near-copies and usefulness by sex, age group, view and source, as differences.

    A group is compared with the largest one of its attribute. Groups are those that the prompts' rows and the real
    rows state.
    """
    groups = find_groups(real, synthetic)
    figures = (
        _realism(real, synthetic, seed),
        _faithfulness(real, synthetic, labeller, seed),
        _near_copies(real, synthetic, training, no_training),
        _usefulness(real, synthetic),
    )
    pairs = [(each, reference) for each, reference in _against_largest(groups)]
    found = {figure.name: {group.title: figure.of(group) for group in groups} for figure in figures}
    metrics = [
        _difference(figure, group, reference, found[figure.name], (real, synthetic))
        for figure in figures
        for group, reference in pairs
    ]
    if not metrics:
        sizes = len(real), len(synthetic)
        metrics = [metric("fairness", None, n_real=sizes[0], n_synthetic=sizes[1], reason=_NOTHING)]
    few = [
        f"{each.title} ({each.real.sum()} real, {each.synthetic.sum()} synthetic)" for each in groups if each.size < FEW
    ]
    warnings = [f"Fewer than {FEW} images on a side, so little can be told: {'; '.join(few)}."] if few else []
    missing = {"sex", "age", "view", "source"} - {each.attribute for each, _ in pairs}
    if pairs and missing:
        warnings.append(f"Not compared, as the prompts state it of one group or none: {', '.join(sorted(missing))}.")
    tables = (_table(groups, figures, found),) if groups else ()
    return Answer("fairness", _verdict(metrics), tuple(metrics), tuple(warnings), tables)


_NOTHING = "The prompts' rows do not state two groups of any of sex, age, view and source."


# --- groups --------------------------------------------------------------------------------------------------


def find_groups(real: FeatureSet, synthetic: FeatureSet) -> list[Group]:
    """The groups that the set's rows state, by attribute and value."""
    one, other = ([_groups_of(row.fields if row else {}) for row in side.rows] for side in (real, synthetic))
    return [
        Group(name, value, *(np.array([each.get(name) == value for each in rows], np.bool_) for rows in (one, other)))
        for name, value in sorted({pair for each in other for pair in each.items()})
    ]


def _groups_of(fields: dict[str, Any]) -> dict[str, str]:
    """As faithfulness groups them; an age range counts where all of it lies in one group."""
    ages = fields.get("age_range")
    if fields.get("age") is None and ages and len({sum(age >= start for start in AGES) for age in ages}) == 1:
        fields = {**fields, "age": ages[0]}
    return groups_of(fields)


def _against_largest(groups: Sequence[Group]) -> list[tuple[Group, Group]]:
    """Every group with the largest of its attribute, but that one."""
    found = []
    for attribute in dict.fromkeys(each.attribute for each in groups):
        members = [each for each in groups if each.attribute == attribute]
        largest = max(members, key=lambda each: (each.size, each.synthetic.sum()))
        found += [(each, largest) for each in members if each is not largest]
    return found


def _too_few(group: Group, *, real: bool = True, synthetic: bool = True) -> str:
    counts = {"real": int(group.real.sum()), "synthetic": int(group.synthetic.sum())}
    short = [f"{counts[side]} {side}" for side, asked in (("real", real), ("synthetic", synthetic)) if asked]
    if all(counts[side] >= FEWEST for side, asked in (("real", real), ("synthetic", synthetic)) if asked):
        return ""
    return f"Too few images of {group.title}: {FEWEST} are needed, here are {' and '.join(short)}."


# --- figures -------------------------------------------------------------------------------------------------


def _realism(real: FeatureSet, synthetic: FeatureSet, seed: int) -> Figure:
    """The kernel distance of a group's images to the same group's real ones: unbiased, so that sizes do not matter."""

    def of(group: Group) -> Found:
        if reason := _too_few(group):
            return Found(None, reason=reason)
        groups = (
            assign_groups(real.patients[group.real], GROUPS, np.random.default_rng([seed, 0])),
            assign_groups(synthetic.patients[group.synthetic], GROUPS, np.random.default_rng([seed, 1])),
        )
        return Found(kid_interval(real.features[group.real], synthetic.features[group.synthetic], *groups))

    interval = f"95 % from both groups' jackknife intervals ({GROUPS} groups of patients) by MOVER"
    words = "less real", "more real"
    return Figure("kid", "Realism (kernel distance)", "squared kernel units", words, interval, of)


def _faithfulness(real: FeatureSet, synthetic: FeatureSet, labeller: Labeller, seed: int) -> Figure:
    """The share of what the prompts ask for that the classifier sees; the same on real images is taken off."""
    on_real, on_drawn = (seen_as_stated(side, labeller) for side in (real, synthetic))

    def share(counts: tuple[Ints, Ints], patients: Ints, inside: Bools) -> Estimate | None:
        right, asked = counts[0][inside], counts[1][inside]
        if np.count_nonzero(asked) < FEWEST:
            return None
        return pooled_share(right, asked, patients[inside], np.random.default_rng([seed, 6]))

    def of(group: Group) -> Found:
        estimate = share(on_drawn, synthetic.patients, group.synthetic)
        reason = "" if estimate else _too_few(group, real=False) or f"Nothing is asked of {group.title} that is seen."
        return Found(estimate, share(on_real, real.patients, group.real), reason)

    interval = "95 % from the groups' intervals (Wilson at the jackknife's effective number) by MOVER"
    words = "seen as asked more often", "seen as asked less often"
    return Figure("faithfulness", "Faithfulness (seen as asked)", "share", words, interval, of, less_real=True)


def seen_as_stated(side: FeatureSet, labeller: Labeller) -> tuple[Ints, Ints]:
    """Of each image (N,), how many of its stated labels the classifier sees so, and how many are stated."""
    wanted = np.array([[stated(label, row.fields if row else {}) for label in labeller.labels] for row in side.rows])
    known = ~np.isnan(wanted)
    right = ((labeller.see(side) > 0.5) == (wanted > 0.5)) & known
    return right.sum(axis=1), known.sum(axis=1)


def pooled_share(right: Ints, asked: Ints, patients: Ints, rng: np.random.Generator) -> Estimate:
    """The share of `right` (N,) among `asked` (N,), with Wilson's interval at the jackknife's effective number."""
    groups = assign_groups(patients, GROUPS, rng)
    sizes, hits, all_asked = (np.bincount(groups, weights=each) for each in (np.ones(len(asked)), right, asked))
    value = float(right.sum() / asked.sum())
    if len(sizes) < 2:
        return Estimate(value)
    without = (right.sum() - hits) / np.maximum(1, asked.sum() - all_asked)
    return share_interval(value, [LeftOut(without, sizes.astype(np.int64))], float(asked.sum()))


def _near_copies(real: FeatureSet, synthetic: FeatureSet, training: FeatureSet | None, no_training: str) -> Figure:
    """The share of near-copies by the threshold of all unseen real patients; beside it that of the group's own."""
    copies = near_copies(real, synthetic, training, no_training=no_training)
    near, calibration = copies.nearest_training, copies.calibration
    trained = {key for key in training.keys if key} if training else set[str]()
    fresh = np.array([key not in trained for key in real.keys])

    def of(group: Group) -> Found:
        if calibration is None or near is None:
            return Found(None, reason=copies.metric["reason"])
        if reason := _too_few(group, real=False):
            return Found(None, reason=reason)
        unseen = calibration.held_out[group.real[fresh]]
        return Found(
            _share(near.distance[group.synthetic] < calibration.threshold),
            _share(unseen < calibration.threshold) if len(unseen) >= FEWEST else None,
        )

    interval = "95 % Newcombe interval (MOVER of two Wilson intervals), the threshold held fixed"
    words = "copied more often", "copied less often"
    return Figure("near_copy_rate", "Near-copies", "share", words, interval, of)


def _share(which: Bools) -> Estimate:
    count = int(np.count_nonzero(which))
    return Estimate(count / len(which), *wilson(count, len(which)))


def _usefulness(real: FeatureSet, synthetic: FeatureSet) -> Figure:
    """How well a logistic regression that the set's features taught tells real patients of a group apart."""
    on_real, on_drawn = (
        {label: np.array([stated(label, row.fields if row else {}) for row in side.rows]) for label in PROBES}
        for side in (real, synthetic)
    )
    probe = next((each for each in PROBES if _both(on_real[each]) and _both(on_drawn[each])), None)
    scores = _taught(synthetic.features, on_drawn[probe], real.features) if probe else None

    def of(group: Group) -> Found:
        if scores is None or probe is None:
            return Found(
                None,
                reason=f"No answer to {', '.join(PROBES)} is stated of {FEWEST} images of either kind on both sides.",
            )
        truth = on_real[probe]
        inside = group.real & ~np.isnan(truth)
        if not _both(truth[inside]):
            counts = f"{int(np.nansum(truth[inside]))} of {int(inside.sum())}"
            return Found(
                None,
                reason=f"Too few real images of {group.title}: {FEWEST} of either kind are needed, "
                f"here {counts} are {probe}.",
            )
        return Found(auc_interval(truth[inside] > 0.5, scores[inside], real.patients[inside]))

    title = f"Usefulness ({probe or 'AUC'}, taught by the set, tested on real)"
    interval = "95 % from both groups' intervals (DeLong's variance, within patients Obuchowski's) by MOVER"
    words = "taught better", "taught less well"
    return Figure("usefulness_auc", title, "area under the ROC curve", words, interval, of)


def _both(truth: Floats) -> bool:
    """Whether both answers are there often enough."""
    return min(int((truth == 0).sum()), int((truth == 1).sum())) >= FEWEST


def _taught(features: Floats, truth: Floats, asked: Floats) -> Floats:
    from sklearn.linear_model import LogisticRegression

    known = ~np.isnan(truth)
    fitted = LogisticRegression(C=0.1, max_iter=2000).fit(features[known], truth[known] > 0.5)
    scores: Floats = fitted.decision_function(asked)
    return scores


# --- differences, words and tables ---------------------------------------------------------------------------


def _net(found: Found, less_real: bool) -> Estimate | None:
    if not found.estimate or not less_real or not found.real:
        return found.estimate
    return difference(found.estimate, found.real)


def _difference(
    figure: Figure, group: Group, reference: Group, found: dict[str, Found], sides: tuple[FeatureSet, FeatureSet]
) -> Json:
    here, there = found[group.title], found[reference.title]
    less_real = figure.less_real and bool(here.real and there.real)
    one, other = _net(here, less_real), _net(there, less_real)
    estimate = difference(one, other) if one and other else None
    counts = group.size, reference.size
    small = f"Only {min(counts)} images on a side." if estimate and min(counts) < FEW else ""
    return metric(
        f"fairness_{figure.name}_{group.attribute}_{group.value}".replace(" ", "_"),
        estimate,
        n_real=int(group.real.sum()),
        n_synthetic=int(group.synthetic.sum()),
        title=f"{figure.title}: {group.title} less {reference.title}",
        meaning="each less the same on real images" if less_real else "0 is no difference between the groups",
        unit=figure.unit,
        better="zero",
        interval=figure.interval,
        estimand="The difference between the two groups over endless images and patients.",
        extractor=sides[1],
        reason="" if estimate else here.reason or there.reason,
        warning=small,
        group=group.title,
        reference=reference.title,
        words=figure.words[estimate.value < 0] if estimate else "",
        of_group=_plain(here),
        of_reference=_plain(there),
    )


def _plain(found: Found) -> Json:
    return {
        "synthetic": asdict(found.estimate) if found.estimate else None,
        "real": asdict(found.real) if found.real else None,
        "reason": found.reason or None,
    }


def _apart(each: Json) -> bool:
    return each["ci_low"] is not None and not each["ci_low"] <= 0 <= each["ci_high"]


def _verdict(metrics: Sequence[Json]) -> str:
    known = [each for each in metrics if each["ci_low"] is not None]
    if not known:
        return f"Nothing can be said about groups: {metrics[0]['reason']}"
    apart = [
        f"{each['group']} is {each['words']} than {each['reference']} "
        f"({each['value']:+.2g}, {each['ci_low']:.2g} to {each['ci_high']:.2g})"
        for each in known
        if _apart(each)
    ]
    chance = f"about {max(1, round(0.05 * len(known)))} would be by chance"
    count = f"{len(known)} differences between groups"
    if not apart:
        return f"None of {count} is told from zero ({chance})."
    return (
        f"{len(apart)} of {count} {'is' if len(apart) == 1 else 'are'} told from zero ({chance}): {'; '.join(apart)}."
    )


def _table(groups: Sequence[Group], figures: Sequence[Figure], found: dict[str, dict[str, Found]]) -> Table:
    rows = tuple(
        (
            group.title,
            f"{group.synthetic.sum()} and {group.real.sum()}",
            *(_words(found[figure.name][group.title], figure.unit == "share") for figure in figures),
            "few" if group.size < FEW else "",
        )
        for group in groups
    )
    return Table(
        "Figures by group",
        ("Group", "Synthetic and real images", *(figure.title for figure in figures), ""),
        rows,
        "Each with its 95 % interval; behind it the same on real images. Sex, age and view are those of the prompts. "
        f"Few: fewer than {FEW} images on a side; below {FEWEST} no figure is given.",
    )


def _words(found: Found, percent: bool) -> str | None:
    if not found.estimate:
        return None

    def number(value: float | None) -> str:
        return "–" if value is None else f"{100 * value:.0f} %" if percent else f"{value:.3g}"

    text = number(found.estimate.value)
    if found.estimate.low is not None:
        text += f" ({number(found.estimate.low)} to {number(found.estimate.high)})"
    return f"{text}; real {number(found.real.value)}" if found.real else text
