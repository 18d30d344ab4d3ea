"""Whether an image shows what was asked for, by thresholds from real patients; and how many were turned away, by rule.

Pure functions. A classifier's rule has a threshold of its own for each thing that can be asked for, in adults and in
children, and judges only where it has been seen to tell real patients apart.
"""

import difflib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from synthcxr.data.gate.looks import stated_child
from synthcxr.errors import UsageError
from synthcxr.evaluation.intervals import Floats, wilson
from synthcxr.prompts import NO_FINDING, Subject, name_finding
from synthcxr.store import Json

RULES = {
    "view": "PA or AP as asked for",
    "sex": "woman or man as asked for",
    "age": "a child (up to 10 years) or an adult (from 18) as asked for",
    "finding": "with a finding or without one as asked for; not which",
    "blank": "neither almost uniform nor mostly pure black or white",
    "text": "no text that `clean` would remove",
    "copy": "no near-copy of a training image",
}
"""The rules by name, each with what passes."""
LABELS_OF = {"view": "pa_view", "sex": "female", "age": "child", "finding": "abnormal"}
"""The encoder's label by which a rule judges."""
WORDS = {
    "pa_view": ("AP", "PA"),
    "female": ("a man", "a woman"),
    "child": ("an adult", "a child"),
    "abnormal": ("no finding", "a finding"),
}
"""What a label that is 0, and one that is 1, stands for."""
CHILDREN, ADULTS, ALL = "children", "adults", "all"
FALSE_RATE = 0.05
"""Share of real patients, as asked for, that a rule may turn away: the price of every rule, as good images cost time
and what looks unusual goes first."""
CAUGHT = 0.5
"""Share of real patients, not as asked for, that a rule must turn away to judge at all."""
FEWEST = 20
"""Real images of each kind that a threshold rests on at least: with 19 one can say what 5 % are."""


def parse_rules(names: Iterable[str]) -> tuple[str, ...]:
    """The rules that `--accept` names, ``all`` for every one, in their own order. UsageError for an unknown name."""
    wanted = {part.strip() for name in names for part in name.split(",")}
    for name in sorted(wanted - RULES.keys() - {"all"}):
        near = difflib.get_close_matches(name, [*RULES, "all"], n=3, cutoff=0.4)
        hint = f"Did you mean {' or '.join(near)}? " if near else ""
        raise UsageError(f"--accept {name}: there is no such rule. {hint}The rules: {', '.join(RULES)}, all.")
    return tuple(rule for rule in RULES if rule in wanted or "all" in wanted)


# --- what is asked for, and what is seen ------------------------------------------------------------------


@dataclass(frozen=True)
class Threshold:
    """From which probability of what is asked for an image passes, and what that does to real patients.

    `asked` is whether `label` is asked for or its opposite, `of` the kind of patient. Images pass from `least` on.
    `false_rate` is the share of `n` real images as asked for that lie below, `caught` that of `n_other` others.
    """

    label: str
    asked: bool
    of: str
    least: float
    false_rate: float
    n: int
    caught: float
    n_other: int

    @property
    def judges(self) -> bool:
        """Whether it tells real patients apart well enough."""
        return self.caught >= CAUGHT

    @property
    def words(self) -> str:
        """What is asked for, as in “PA in adults”."""
        return WORDS[self.label][self.asked] + ("" if self.of == ALL else f" in {self.of}")


def asked_for(fields: Mapping[str, Any]) -> dict[str, tuple[bool, str]]:
    """What a row's fields ask for, as classifiers can judge it: of each label whether, and in which patients."""
    subject = subject_of(fields)
    child = stated_child(subject)
    of = CHILDREN if child else ADULTS
    findings = {name_finding(finding) for finding in subject.findings}
    asked: dict[str, tuple[bool | None, str]] = {
        "pa_view": ({"PA": True, "AP": False}.get(subject.view or ""), of),
        "female": ({"F": True, "M": False}.get(subject.sex or ""), of),
        "child": (child, ALL),
        "abnormal": (findings != {name_finding(NO_FINDING)} if findings else None, of),
    }
    return {label: (value, of) for label, (value, of) in asked.items() if value is not None}


def subject_of(fields: Mapping[str, Any]) -> Subject:
    """The subject that a row asks for. A file of prompts may write anything: what makes no sense is not said."""
    age, span, findings = str(fields.get("age", "")).strip(), fields.get("age_range"), fields.get("findings") or ()
    whole = isinstance(span, (list, tuple)) and len(span) == 2 and all(str(year).isdecimal() for year in span)
    return Subject(
        age=int(age) if age.isdecimal() else None,
        age_range=(int(span[0]), int(span[1])) if whole and span else None,
        sex=str(fields.get("sex") or "").strip().upper()[:1],
        view=str(fields.get("view") or "").strip().upper(),
        findings=tuple(findings.split("|")) if isinstance(findings, str) else tuple(map(str, findings)),
    )


def calibrate(probabilities: Floats, labels: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> list[Threshold]:
    """Thresholds from real patients: their `probabilities` (n, labels), and what their rows state.

    The threshold is an order statistic: a further patient, as asked for, lies below it with a probability of
    r / (n + 1), at most `FALSE_RATE`. Where there are fewer than `FEWEST` of either kind there is none.
    """
    stated = [asked_for(row) for row in rows]
    found = []
    for column, label in enumerate(labels):
        for of in (ADULTS, CHILDREN, ALL):
            sides = {
                asked: np.array(
                    [p for p, s in zip(probabilities[:, column], stated, strict=True) if s.get(label) == (asked, of)]
                )
                for asked in (True, False)
            }
            if min(map(len, sides.values())) < FEWEST:
                continue
            for asked, own in sides.items():
                other = sides[not asked]
                scores, others = (own, other) if asked else (1 - own, 1 - other)
                rank = max(1, int(FALSE_RATE * (len(own) + 1)))
                least = float(np.floor(np.sort(scores)[rank - 1] * 1e4) / 1e4)
                rate = round(rank / (len(own) + 1), 4)
                caught = round(float(np.mean(others < least)), 4)
                found.append(Threshold(label, asked, of, least, rate, len(own), caught, len(other)))
    return found


def measure(
    thresholds: Iterable[Threshold], probabilities: Floats, labels: Sequence[str], rows: Sequence[Mapping[str, Any]]
) -> list[Json]:
    """What thresholds do to other real patients: the share turned away of those as asked for, and of the others.

    Each share is ``[value, low, high, n]`` with Wilson's 95 % interval; None where there is none of the kind.
    """
    stated = [asked_for(row) for row in rows]
    found = []
    for each in thresholds:
        scores = probabilities[:, labels.index(each.label)]
        scores = scores if each.asked else 1 - scores
        entry: Json = {"label": each.label, "asked": each.asked, "of": each.of}
        for name, value in (("false_rate", each.asked), ("caught", not each.asked)):
            kept = np.array([s.get(each.label) == (value, each.of) for s in stated])
            below, n = int(np.sum(scores[kept] < each.least)), int(kept.sum())
            entry[name] = [round(x, 4) for x in (below / n, *wilson(below, n))] + [n] if n else None
        found.append(entry)
    return found


def not_as_asked(
    rules: Iterable[str],
    fields: Mapping[str, Any],
    probabilities: Mapping[str, float],
    thresholds: Iterable[Threshold],
) -> dict[str, str]:
    """The rules of classifiers that an image breaks, each with the reason; `probabilities` by the encoder's labels."""
    asked = asked_for(fields)
    rule_of = {LABELS_OF[rule]: rule for rule in rules if rule in LABELS_OF}
    broken = {}
    for each in thresholds:
        if each.label in rule_of and each.judges and asked.get(each.label) == (each.asked, each.of):
            seen = probabilities[each.label] if each.asked else 1 - probabilities[each.label]
            if seen < each.least:
                broken[rule_of[each.label]] = (
                    f"asked for {each.words}, to which the classifier gives {seen:.3f}, below {each.least:.3f}"
                )
    return broken


def cannot_judge(rules: Iterable[str], rows: Iterable[Mapping[str, Any]], thresholds: Sequence[Threshold]) -> Json:
    """Of the rules of classifiers, what in these rows they cannot judge: by rule, sentences that say why."""
    wanted = {(label, *what) for fields in rows for label, what in asked_for(fields).items()}
    known = {(each.label, each.asked, each.of): each for each in thresholds}
    silent: Json = {}
    for rule in rules:
        if rule not in LABELS_OF:
            continue
        mine = sorted(key for key in wanted if key[0] == LABELS_OF[rule])
        if not mine:
            silent[rule] = ["No row asks for it in its fields."]
        for key in mine:
            each = known.get(key)
            if each is None:
                words = Threshold(*key, 0, 0, 0, 0, 0).words
                silent.setdefault(rule, []).append(f"Not judged for {words}: too few real patients to learn it from.")
            elif not each.judges:
                silent.setdefault(rule, []).append(
                    f"Not judged for {each.words}: the classifier is too weak. Of {each.n_other} real patients who are "
                    f"the opposite it would find {each.caught:.0%}, and reject {each.false_rate:.0%} of the right ones."
                )
    return silent


def to_json(thresholds: Iterable[Threshold]) -> list[Json]:
    """As a file or a manifest keeps them."""
    return [asdict(each) | {"judges": each.judges} for each in thresholds]


def from_json(entries: Iterable[Json]) -> list[Threshold]:
    """The same back."""
    return [Threshold(**{name: value for name, value in entry.items() if name != "judges"}) for entry in entries]


# --- how it went ------------------------------------------------------------------------------------------


def count_attempt(attempt: int, drawn: int, rejected: Sequence[Json]) -> Json:
    """An attempt in numbers: images drawn, images rejected, and by rule; one image may break several."""
    by_rule = Counter(rule for row in rejected for rule in row["rules"])
    return {"attempt": attempt, "drawn": drawn, "rejected": len(rejected), "by_rule": dict(by_rule.most_common())}


def tell(asked: int, accepted: int, attempts: Sequence[Json]) -> str:
    """What became of a set, in lines."""
    drawn = sum(each["drawn"] for each in attempts)
    lines = [f"{accepted:,} of {asked:,} images were accepted; {drawn:,} were drawn."]
    for each in attempts:
        rules = ", ".join(f"{rule} {n}" for rule, n in each["by_rule"].items())
        share = each["rejected"] / each["drawn"]
        lines.append(
            f"  attempt {each['attempt']}: {each['rejected']:,} of {each['drawn']:,} rejected ({share:.1%})"
            + (f": {rules}" if rules else "")
        )
    return "\n".join(lines)
