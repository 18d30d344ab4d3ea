"""The protocol of a reading: what is asked of whom, in which order, and what it is to show; frozen before any answer.

It lies in ``key/protocol.json``. Its SHA-256 is what an amendment or a report names it by.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from synthcxr.store import Json, canonical_json, sha256_bytes

Kind = Literal["real-or-synthetic", "quality", "pairwise"]
PROTOCOL = "key/protocol.json"
SIDES = ("left", "right")
"""The two answers to a pairwise question: which of its two images is the synthetic one."""


@dataclass(frozen=True)
class Item:
    """One thing to rate in a quality question: on a scale of named steps (lowest first), or in free words."""

    name: str
    text: str
    steps: tuple[str, ...] = ()
    """Labels of the steps, which count from 1; none: free words."""


@dataclass(frozen=True)
class Question:
    """One screen of the reading. `images` is one image, or two (left, right) for a pairwise question.

    A `training` question is answered with feedback before the others and is in no figure. `repeat_of` names the
    question that this one asks again, under another image name.
    """

    id: str
    kind: Kind
    images: tuple[str, ...]
    training: bool = False
    repeat_of: str | None = None


@dataclass(frozen=True)
class Analysis:
    """What the reading is to show, decided before it: hypotheses, endpoints, alpha, margin, when it ends."""

    primary: Literal["difference", "equivalence"] = "difference"
    alpha: float = 0.05
    margin: float = 0.1
    """Equivalence: accuracy (or AUC) within 0.5 ± margin."""
    hypotheses: tuple[str, ...] = ()
    endpoints: tuple[str, ...] = ()
    stopping: str = "When every reader has answered every question."


@dataclass(frozen=True)
class Protocol:
    """All that is fixed before the first answer."""

    title: str
    seed: int
    readers: tuple[str, ...]
    questions: tuple[Question, ...]
    items: tuple[Item, ...]
    analysis: Analysis

    @property
    def sha256(self) -> str:
        """Hash of the canonical JSON."""
        return sha256_bytes(canonical_json(asdict(self)))

    def question(self, identifier: str) -> Question:
        """The question of that id. Raises KeyError."""
        return {question.id: question for question in self.questions}[identifier]

    def to_json(self) -> Json:
        """As plain JSON."""
        parsed: Json = json.loads(canonical_json(asdict(self)))
        return parsed

    @classmethod
    def from_json(cls, values: Json) -> "Protocol":
        """The inverse of `to_json`."""
        analysis: Json = {
            key: tuple(value) if isinstance(value, list) else value for key, value in values["analysis"].items()
        }
        return cls(
            title=values["title"],
            seed=values["seed"],
            readers=tuple(values["readers"]),
            questions=tuple(Question(**{**q, "images": tuple(q["images"])}) for q in values["questions"]),
            items=tuple(Item(**{**item, "steps": tuple(item["steps"])}) for item in values["items"]),
            analysis=Analysis(**analysis),
        )


def order(protocol: Protocol, reader: str) -> list[Question]:
    """A reader's questions in their order: practice first, then kind by kind, each as chance orders it for the reader.

    The order knows the seed, the readers and the questions' ids, not the truth. A repeat comes half a kind's questions
    after its original. Readers go in twos, as the protocol lists them: the second of two reads in the first one's order
    turned round, so that over both no question comes earlier than another, and learning and fatigue fall on all alike.
    """
    place = protocol.readers.index(reader) if reader in protocol.readers else 0
    leader = protocol.readers[place - 1] if place % 2 else reader

    def chance(questions: Sequence[Question]) -> list[Question]:
        return sorted(questions, key=lambda q: sha256_bytes(f"{protocol.seed}/{leader}/{q.id}".encode()))

    practice, asked = [], []
    for kind in dict.fromkeys(question.kind for question in protocol.questions):
        mine = [question for question in protocol.questions if question.kind == kind]
        practice += chance([question for question in mine if question.training])
        line, swapped = _line(chance([question for question in mine if not question.training]))
        asked += [swapped.get(question, question) for question in reversed(line)] if place % 2 else line
    return practice + asked


def _line(shuffled: Sequence[Question]) -> tuple[list[Question], dict[Question, Question]]:
    """Questions with each repeat half a line after its original, and what changes place when it is turned round."""
    originals = {question.id: question for question in shuffled}
    again: dict[Question, Question] = {}
    for question in shuffled:
        if question.repeat_of in originals:
            again.setdefault(originals[question.repeat_of], question)
    half = len(shuffled) // 2
    paired = {*again, *again.values()}
    others = [question for question in shuffled if question not in paired]
    early = {*again, *others[: half - len(again)]}
    first = [question for question in shuffled if question in early]
    rest = iter(others[half - len(again) :])
    second = [again.get(question) or next(rest) for question in first]
    return [*first, *second, *rest], again | {repeat: original for original, repeat in again.items()}
