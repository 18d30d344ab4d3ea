"""Prompts written from what is known of an image: view, age, sex, findings."""

import random
import re
from dataclasses import dataclass, replace
from typing import Any

NO_FINDING = "No Finding"


@dataclass(frozen=True)
class Subject:
    """What a prompt can say of an X-ray; None or empty where it is not known.

    `age` is in years; `age_range` (youngest, oldest) stands in where only a range is known. `sex` is ``M`` or ``F``,
    `view` ``AP``, ``PA`` or another standard abbreviation, `findings` are names as the source writes them.
    """

    age: int | None = None
    age_range: tuple[int, int] | None = None
    sex: str | None = None
    view: str | None = None
    findings: tuple[str, ...] = ()

    @classmethod
    def from_fields(cls, fields: dict[str, Any]) -> "Subject":
        """Read a subject from a row of a dataset's metadata."""
        age_range = fields.get("age_range")
        return cls(
            age=fields.get("age"),
            age_range=(int(age_range[0]), int(age_range[1])) if age_range else None,
            sex=fields.get("sex"),
            view=fields.get("view"),
            findings=tuple(fields.get("findings") or ()),
        )


def write_prompt(subject: Subject) -> str:
    """One sentence, e.g. ``PA chest X-ray of a 58-year-old man with effusion and atelectasis.``"""
    view = f"{subject.view} chest X-ray" if subject.view else "Chest X-ray"
    return f"{view}{_person(subject)}{_findings(subject.findings)}."


def _person(subject: Subject) -> str:
    oldest = subject.age if subject.age is not None else (subject.age_range or (None, None))[1]
    child = oldest is not None and oldest < 18
    noun = {"M": "boy" if child else "man", "F": "girl" if child else "woman"}.get(
        subject.sex or "", "child" if child else "person"
    )
    if subject.age is not None:
        article = "an" if str(subject.age).startswith("8") or subject.age in (11, 18) else "a"
        return f" of {article} {subject.age}-year-old {noun}"
    if subject.age_range:
        return f" of a {subject.age_range[0]} to {subject.age_range[1]}-year-old {noun}"
    return f" of a {noun}" if subject.sex else ""


def _findings(findings: tuple[str, ...]) -> str:
    if not findings:
        return ""
    if findings == (NO_FINDING,):
        return ", no finding"
    names = [name_finding(finding) for finding in findings]
    return " with " + (names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1])


def name_finding(finding: str) -> str:
    """A finding as prompts write it: ``Pleural_Thickening`` becomes ``pleural thickening``."""
    return re.sub(r"[_\s]+", " ", finding).strip().lower()


def drop_from_prompt(text: str, fields: dict[str, Any], share: float, rng: random.Random) -> str:
    """A row's prompt with known fields left out as `drop_fields` does.

    A row whose `prompt_style` says that its text is more than its fields (a report's sentences, say) keeps that text;
    only view, age and sex before it are dropped.
    """
    subject = Subject.from_fields(fields)
    if (fields.get("prompt_style") or "structured") == "structured":
        return write_prompt(drop_fields(subject, share, rng))
    head = write_prompt(replace(subject, findings=()))
    if not text.startswith(f"{head} "):
        return text
    return write_prompt(replace(drop_fields(subject, share, rng), findings=())) + text[len(head) :]


def drop_fields(subject: Subject, share: float, rng: random.Random) -> Subject:
    """Leave out each known field with the probability `share`, and every other time take one year out of an age range.

    So a model learns every field by itself, and years as well as ranges where the source only states a range.
    """
    if subject.age is None and subject.age_range and rng.random() < 0.5:
        subject = replace(subject, age=rng.randint(*subject.age_range))
    without_age = rng.random() < share
    return Subject(
        age=None if without_age else subject.age,
        age_range=None if without_age or subject.age is not None else subject.age_range,
        sex=None if rng.random() < share else subject.sex,
        view=None if rng.random() < share else subject.view,
        findings=() if rng.random() < share else subject.findings,
    )
