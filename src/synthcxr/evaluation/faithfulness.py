"""Faithfulness: whether what a prompt asks for is what a classifier sees, beside what it sees in real images."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from synthcxr.evaluation.answer import Answer, Table
from synthcxr.evaluation.features import FeatureSet
from synthcxr.evaluation.intervals import Bools, Estimate, Floats, Ints, wilson
from synthcxr.evaluation.labelling import Labeller, plain, stated
from synthcxr.evaluation.measure import metric
from synthcxr.store import Json

Fields = dict[str, Any]
"""View, sex, age and findings of a row: of an image drawn, what was asked for."""

FEW_A_CLASS = 20
"""Images a class below which a figure is flagged."""
TITLES = {
    "pa_view": "View (PA or AP)",
    "child": "Age (child or adult)",
    "female": "Sex (female or male)",
    "abnormal": "Abnormal or not",
    "pneumonia": "Pneumonia",
    "opacity": "Opacity (infiltration, consolidation, edema, effusion or atelectasis)",
}
AGES = (18, 40, 65)
"""Years at which the next age group begins."""


@dataclass(frozen=True)
class Agreement:
    """How well one label is seen as it was asked for.

    `auc`: whether an image asked to have it scores higher than one asked not to. `accuracy`: the share of images
    on the asked side of the `threshold`. `positives` of `n` images ask for it.
    """

    label: str
    n: int
    positives: int
    auc: Estimate
    accuracy: Estimate
    threshold: float

    @property
    def few(self) -> str:
        """A warning where one class has few images."""
        fewest = min(self.positives, self.n - self.positives)
        return f"Only {fewest} images ask for one of the two." if fewest < FEW_A_CLASS else ""


def agreement(label: str, wanted: Floats, scores: Floats, groups: Ints, threshold: float = 0.5) -> Agreement | None:
    """Agreement of `scores` (N,), from 0 to 1, with `wanted` (N,): 1, 0, or NaN where nothing is asked.

    `groups` (N,) are patients of real images, or a number an image. None where only one class is asked for.
    """
    known = ~np.isnan(wanted)
    truth, seen, owners = wanted[known] > 0.5, scores[known], groups[known]
    if truth.all() or not truth.any():
        return None
    right = int(np.sum((seen > threshold) == truth))
    return Agreement(
        label,
        len(truth),
        int(truth.sum()),
        auc_interval(truth, seen, owners),
        Estimate(right / len(truth), *wilson(right, len(truth))),
        threshold,
    )


def auc_interval(truth: Bools, scores: Floats, groups: Ints) -> Estimate:
    """The area under the ROC curve of scores (N,) with its 95 % interval, both classes occurring; groups are patients.

    DeLong's variance, with the covariances within a patient (Obuchowski, "Nonparametric analysis of clustered ROC curve
    data", Biometrics 1997), on the logit's scale; an area of 0 or 1 has Newcombe's interval for so many patients.
    """
    from scipy.stats import t

    from synthcxr.study.statistics.roc import freedom, logit_interval, place

    places = place(scores[truth], scores[~truth])
    area, owner = float(places.area), np.unique(groups, return_inverse=True)[1]
    sums = [
        np.bincount(owner[kind], weights=added - area, minlength=int(owner.max()) + 1) / len(added)
        for kind, added in ((truth, places.positive), (~truth, places.negative))
    ]
    counts = [len(np.unique(owner[kind])) for kind in (truth, ~truth)]
    both = int(owner.max()) + 1
    correct = [count / (count - 1) if count > 1 else np.nan for count in (*counts, both)]
    variance = sum(c * float(np.sum(each**2)) for c, each in zip(correct, sums, strict=False))
    variance += 2 * correct[2] * float(np.sum(sums[0] * sums[1]))
    quantile = t.ppf(0.975, max(1.0, float(freedom(places.positive, places.negative))))
    low, high = (float(end) for end in logit_interval(area, max(variance, 0.0), quantile, (counts[0], counts[1])))
    return Estimate(area) if np.isnan(low) else Estimate(area, low, high)


def faithfulness(
    rows: Sequence[Fields],
    probabilities: Floats,
    labels: Sequence[str],
    targets: Callable[[Fields], Floats],
    groups: Ints | None = None,
) -> list[Agreement]:
    """Every label's agreement over rows, from a classifier's `probabilities` (N, labels) of their images.

    `targets` says of a row's fields what they ask for: 1, 0 or NaN for each label.
    """
    wanted = np.stack([targets(fields) for fields in rows]).astype(np.float64)
    owners = np.arange(len(rows)) if groups is None else groups
    found = (
        agreement(label, wanted[:, column], probabilities[:, column].astype(np.float64), owners)
        for column, label in enumerate(labels)
    )
    return [each for each in found if each is not None]


# --- the answer --------------------------------------------------------------------------------------------


def answer_faithfulness(real: FeatureSet, synthetic: FeatureSet, labeller: Labeller) -> Answer:
    """Whether view, age, sex and findings are seen as the prompts ask, beside the same classifier on real images."""
    asked = [row.fields if row else {} for row in synthetic.rows]
    on_drawn = _see(synthetic, labeller)
    on_real = {each.label: each for each in _see(real, labeller)} if any(real.rows) else {}
    metrics = [each for found in on_drawn for each in _metrics(found, on_real.get(found.label), labeller)]
    missing = _without_class(asked, labeller)
    metrics += [
        metric(
            f"faithfulness_auc_{plain(finding).replace(' ', '_')}",
            None,
            n_real=len(real),
            n_synthetic=len(synthetic),
            title=f"{plain(finding).capitalize()}, as asked",
            reason=f"{labeller.name} has no class for it; {count} prompts ask for it. Give --classifier FILE.",
        )
        for finding, count in missing.items()
    ]
    if not on_drawn:
        sizes = len(real), len(synthetic)
        metrics.append(metric("faithfulness", None, n_real=sizes[0], n_synthetic=sizes[1], reason=_NOTHING))
    warnings = []
    if on_drawn and not on_real:
        warnings.append("What the classifier sees in real images is not known here: the real side has no images.")
    if labeller.name == synthetic.encoder:
        warnings.append(
            "The classifiers that judge are the bundled encoder's. A model that was trained or chosen by them would "
            "look better than it is; --classifier takes another."
        )
    table = _subgroups(asked, synthetic, labeller)
    return Answer(
        "faithfulness", _verdict(on_drawn, on_real), tuple(metrics), tuple(warnings), (table,) if table.rows else ()
    )


_AUC_INTERVAL = "95 % by DeLong's variance on the logit's scale, Newcombe's where the area is 0 or 1"
_NOTHING = "No label of the classifier is both asked for and asked against in the prompts."


def _see(side: FeatureSet, labeller: Labeller) -> list[Agreement]:
    rows = [row.fields if row else {} for row in side.rows]

    def targets(fields: Fields) -> Floats:
        return np.array([stated(label, fields) for label in labeller.labels])

    return faithfulness(rows, labeller.see(side), labeller.labels, targets, side.patients)


def _metrics(drawn: Agreement, real: Agreement | None, labeller: Labeller) -> list[Json]:
    title = TITLES.get(drawn.label, plain(drawn.label).capitalize())
    majority = max(drawn.positives, drawn.n - drawn.positives) / drawn.n
    shared: Json = {
        "n_real": real.n if real else 0,
        "n_synthetic": drawn.n,
        "better": "higher",
        "positives": drawn.positives,
        "classifier": labeller.name,
        "classifier_sha256": labeller.sha256,
        "warning": drawn.few,
        "real": {"n": real.n, "positives": real.positives, "auc": asdict(real.auc), "agreement": asdict(real.accuracy)}
        if real
        else None,
    }
    asked = f"{drawn.positives} of {drawn.n} ask for it"
    pairs = f"AUC: how often an image asked to have it looks more like it than one asked not to ({asked})"
    kinds = (
        ("auc", drawn.auc, real and real.auc, 0.5, _AUC_INTERVAL, "area under the ROC curve", pairs),
        ("agreement", drawn.accuracy, real and real.accuracy, majority, "95 % Wilson interval", "share", ""),
    )
    return [
        {
            **metric(
                f"faithfulness_{kind}_{plain(drawn.label).replace(' ', '_')}",
                estimate,
                ceiling=ceiling.value if ceiling else None,
                useless=useless,
                unit=unit,
                interval=interval,
                estimand="The figure over endless images of these prompts, by this classifier.",
                title=title if kind == "auc" else f"{title.partition(' (')[0]}: seen as asked",
                meaning=meaning,
                **shared,
            ),
            "preprocessing": labeller.preprocessing,
        }
        for kind, estimate, ceiling, useless, interval, unit, meaning in kinds
    ]


def _without_class(asked: Sequence[Fields], labeller: Labeller) -> dict[str, int]:
    known = {plain(label) for label in labeller.labels} | {"no finding"}
    return {
        finding: count
        for finding, count in Counter(each for fields in asked for each in fields.get("findings") or ()).most_common()
        if plain(finding) not in known
    }


def _verdict(drawn: Sequence[Agreement], real: dict[str, Agreement]) -> str:
    """Which labels are seen as they are in real images, which less surely, and which no better than by guessing."""
    if not drawn:
        return f"Nothing can be said: {_NOTHING}"
    kinds: dict[str, list[str]] = {"seen as asked": [], "seen, but less surely": [], "not told from guessing": []}
    for each in drawn:
        low, high = (0.0, 1.0) if each.auc.low is None or each.auc.high is None else (each.auc.low, each.auc.high)
        beside = real.get(each.label)
        short = beside is not None and high < beside.auc.value
        kind = "not told from guessing" if low <= 0.5 else "seen, but less surely" if short else "seen as asked"
        on_real = f"; real images {beside.auc.value:.2f}" if beside else ""
        title = TITLES.get(each.label, plain(each.label)).partition(" (")[0].lower()
        kinds[kind].append(f"{title} (AUC {each.auc.value:.2f}, {low:.2f} to {high:.2f}{on_real})")
    text = "; ".join(f"{kind}: {', '.join(found)}" for kind, found in kinds.items() if found)
    return f"{text[0].upper()}{text[1:]}."


# --- subgroups ---------------------------------------------------------------------------------------------


def groups_of(fields: Fields) -> dict[str, str]:
    """The groups that a row belongs to: sex, age, view and source, each where it is stated."""
    age = fields.get("age")
    starts = (0, *AGES)
    found = {"sex": fields.get("sex"), "view": fields.get("view"), "source": fields.get("source")}
    if age is not None:
        start = max(each for each in starts if age >= each)
        end = starts[starts.index(start) + 1] - 1 if start != starts[-1] else None
        found["age"] = f"{start} to {end} years" if end else f"{start} years and more"
    return {name: str(value) for name, value in found.items() if value}


def _subgroups(asked: Sequence[Fields], synthetic: FeatureSet, labeller: Labeller) -> Table:
    """Agreement and AUC of every label in every group that has both classes; few images are flagged."""
    seen = labeller.see(synthetic)
    groups = sorted({pair for fields in asked for pair in groups_of(fields).items()})
    rows = []
    for name, value in groups:
        inside = np.array([groups_of(fields).get(name) == value for fields in asked])
        for column, label in enumerate(labeller.labels):
            wanted = np.array([stated(label, fields) for fields in asked])[inside]
            found = agreement(label, wanted, seen[inside, column], np.flatnonzero(inside))
            if found is None:
                continue
            title = TITLES.get(label, plain(label).capitalize()).partition(" (")[0]
            rows.append(
                (
                    f"{name} {value}",
                    title,
                    f"{found.positives} of {found.n}",
                    *map(_words, (found.auc, found.accuracy)),
                    "few" if found.few else "",
                )
            )
    return Table(
        "By group",
        ("Group", "Asked for", "Images that ask for it", "AUC", "Seen as asked", ""),
        tuple(rows),
        f"Few: fewer than {FEW_A_CLASS} images ask for one of the two.",
    )


def _words(estimate: Estimate) -> str:
    if estimate.low is None:
        return f"{estimate.value:.2f}"
    return f"{estimate.value:.2f} ({estimate.low:.2f} to {estimate.high:.2f})"
