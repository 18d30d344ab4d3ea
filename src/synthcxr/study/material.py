"""What a study's figures are made of: the answers that count, sorted by what was asked."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from synthcxr.store import Json
from synthcxr.study.answers import Answer
from synthcxr.study.folder import Study
from synthcxr.study.plan import Truth
from synthcxr.study.protocol import Item, Question
from synthcxr.study.statistics.mrmc import Floats


@dataclass(frozen=True)
class Section:
    """A chapter of an analysis: a table to read, the same figures as JSON, and what has to be said with them."""

    name: str
    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    values: Json
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Material:
    """Answers without those to training questions; answers to repeats are apart, so that no image counts twice."""

    study: Study
    calls: tuple[Answer, ...]
    """Real or synthetic."""
    ratings: tuple[Answer, ...]
    pairs: tuple[Answer, ...]
    repeats: tuple[Answer, ...]
    """Answers of any kind to an image that repeats another one."""
    items: tuple[Item, ...]

    @property
    def truth(self) -> dict[str, Truth]:
        """Of every image."""
        return self.study.truth

    def same_as(self, image: str) -> str:
        """The image that an image repeats, or itself."""
        return str(self.study.rows.get(image, {}).get("same_as") or image)

    def question(self, answer: Answer) -> Question:
        """The question of an answer to a pair. Raises KeyError."""
        assert self.study.protocol is not None
        return self.study.protocol.question(answer.question or "")


def gather(study: Study, items: tuple[Item, ...]) -> Material:
    """Sort a study's answers; empty rows are left out."""
    trained = training_images(study)
    training = {q.id for q in study.protocol.questions if q.training} if study.protocol else set()
    counted = [a for a in study.answers if a.answer and a.image not in trained and a.question not in training]
    repeated = {image for image, row in study.rows.items() if row.get("same_as")}
    asked_again = {q.id for q in study.protocol.questions if q.repeat_of} if study.protocol else set()
    first = [a for a in counted if a.image not in repeated and a.question not in asked_again]
    return Material(
        study,
        tuple(a for a in first if a.kind == "real-or-synthetic"),
        tuple(a for a in first if a.kind == "quality"),
        tuple(a for a in first if a.kind == "pairwise"),
        tuple(a for a in counted if a.image in repeated or a.question in asked_again),
        items,
    )


def training_images(study: Study) -> set[str]:
    """Images that are shown in training questions only."""
    if study.protocol is None:
        return set()
    shown = {training: set[str]() for training in (True, False)}
    for question in study.protocol.questions:
        shown[question.training] |= set(question.images)
    return shown[True] - shown[False]


def readers_of(answers: Iterable[Answer]) -> list[str]:
    """The readers' names in order."""
    return sorted({answer.reader for answer in answers})


def matrix(
    answers: Sequence[Answer], readers: Sequence[str], keys: Sequence[str], value: Callable[[Answer], float | None]
) -> Floats:
    """Values (R, C) of readers by images (for pairs: by questions); NaN where there is none."""
    rows, columns = {r: i for i, r in enumerate(readers)}, {k: i for i, k in enumerate(keys)}
    found = np.full((len(readers), len(keys)), np.nan)
    for answer in answers:
        key = answer.question if answer.kind == "pairwise" else answer.image
        number = value(answer)
        if answer.reader in rows and key in columns and number is not None:
            found[rows[answer.reader], columns[key]] = number
    return found


def spanned(value: float, low: float | None, high: float | None, digits: int) -> str:
    """A figure and its interval in words that stay clear where numbers are below 0."""

    def number(x: float) -> str:
        return f"{round(x, digits) + 0.0:.{digits}f}".replace("-", "−")

    if low is None or high is None:
        return number(value)
    return f"{number(value)} ({number(low)}{' to ' if low < 0 else '–'}{number(high)})"
