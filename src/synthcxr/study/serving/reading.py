"""What a reader may see and answer now, and what the owner may know; nothing here speaks HTTP."""

from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from threading import Lock

from synthcxr.store import Json, sha256_bytes
from synthcxr.study.amending import UNBLINDED, log_amendment, read_amendments
from synthcxr.study.folder import TRUTH, Study
from synthcxr.study.plan import TRUTHS
from synthcxr.study.protocol import SIDES, Protocol, Question, order
from synthcxr.study.serving.database import ContradictionError, Database, Given, read_answers
from synthcxr.study.serving.pictures import Pictures


class RefusedError(Exception):
    """What was asked is not to be had: a word for the page, a sentence for the person."""

    def __init__(self, word: str, sentence: str) -> None:
        super().__init__(sentence)
        self.word = word
        self.sentence = sentence


@dataclass(frozen=True)
class Reading:
    """A frozen study being read by `readers`. All that changes lies in the database."""

    study: Study
    protocol: Protocol
    pictures: Pictures
    database: Database
    readers: tuple[str, ...]
    _answering: Lock = field(default_factory=Lock, repr=False, compare=False)
    """Held from the look at what is stored to the storing: the same answer twice at once is the same answer."""

    @cached_property
    def _orders(self) -> dict[str, list[Question]]:
        return {reader: order(self.protocol, reader) for reader in self.readers}

    # --- the reader ---

    def open(self, reader: str, session: str) -> Json:
        """Give the pen to a session, and say where the reader is."""
        self.database.take_pen(reader, session)
        questions = self._orders[reader]
        position = self._next(reader)
        fingerprint = self.study.manifest["files"][TRUTH]["sha256"]
        return {
            "session": session,
            "memory": sha256_bytes(f"{fingerprint}/{reader}".encode())[:16],  # where the browser keeps what is unsent
            "title": self.protocol.title,
            "reader": reader,
            "width": self.pictures.width,
            "height": self.pictures.height,
            "training": sum(question.training for question in questions),
            "total": len(questions),
            "items": [
                {"name": item.name, "text": item.text, "steps": list(item.steps)} for item in self.protocol.items
            ],
            "question": self._show(reader, position),
        }

    def holds_pen(self, reader: str, session: str) -> bool:
        """Whether this session may answer."""
        return self.database.holds_pen(reader, session)

    def image(self, reader: str, position: int, place: int) -> bytes:
        """Grey levels of an image of the reader's next question, or of the one after it (to load it beforehand)."""
        upcoming = self._next(reader)
        if upcoming <= position <= min(upcoming + 1, len(self._orders[reader])):
            images = self._orders[reader][position - 1].images
            if 0 <= place < len(images):
                return self.pictures.levels[images[place]]
        raise RefusedError("no-image", "This image is not to be seen now.")

    def answer(self, reader: str, session: str, position: int, given: Given) -> Json:
        """Store an answer to the reader's next question; what comes back is the same however often it is sent."""
        questions = self._orders[reader]
        if not 1 <= position <= len(questions):
            raise RefusedError("invalid", f"There is no question {position}.")
        question = questions[position - 1]
        with self._answering:
            stored = self.database.stored(reader, question.id)
            if stored is None:
                self._check_turn(reader, session, position)
                self._check(question, given)
            try:
                if stored not in (None, given):
                    raise ContradictionError
                if stored is None:
                    self.database.record(reader, question, position, given)
            except ContradictionError:
                raise RefusedError(
                    "answered", f"Question {position} has another answer already, which stays as it is."
                ) from None
        feedback = self._feedback(question, given.answer) if question.training else None
        return {"stored": position, "feedback": feedback, "question": self._show(reader, position + 1)}

    def _check_turn(self, reader: str, session: str, position: int) -> None:
        if not self.holds_pen(reader, session):
            raise RefusedError(
                "elsewhere", "This reading was opened elsewhere since; go on there, or take it back here."
            )
        upcoming = self._next(reader)
        if position != upcoming:
            raise RefusedError("not-yet", f"Question {upcoming} comes first.")

    def _check(self, question: Question, given: Given) -> None:
        """Refuse an answer that does not fit its question."""
        allowed = {"real-or-synthetic": tuple(TRUTHS), "pairwise": SIDES, "quality": ("rated",)}[question.kind]
        if given.answer not in allowed:
            raise RefusedError("invalid", f"The answer must be one of: {', '.join(allowed)}.")
        if (given.confidence is None) != (question.kind == "quality"):
            raise RefusedError("invalid", "Say how sure you are, from 1 to 5.")
        steps = {item.name: len(item.steps) for item in self.protocol.items if item.steps}
        wanted = steps if question.kind == "quality" else {}
        fits = given.ratings.keys() == wanted.keys() and all(1 <= given.ratings[n] <= wanted[n] for n in wanted)
        if not fits:
            raise RefusedError("invalid", "Rate every item on its own steps.")

    def _next(self, reader: str) -> int:
        """The place of the first question without an answer, from 1; one beyond the last where all have one."""
        answered = self.database.answered(reader)
        questions = self._orders[reader]
        return next((n for n, question in enumerate(questions, 1) if question.id not in answered), len(questions) + 1)

    def _show(self, reader: str, position: int) -> Json | None:
        """A question as the page needs it, without names; None after the last."""
        questions = self._orders[reader]
        if position > len(questions):
            return None
        question = questions[position - 1]
        following = len(questions[position].images) if position < len(questions) else 0
        return {
            "position": position,
            "kind": question.kind,
            "training": question.training,
            "images": len(question.images),
            "following": following,
        }

    def _feedback(self, question: Question, answer: str) -> Json | None:
        """The truth of a training question. A rating of quality is neither right nor wrong."""
        if question.kind == "quality":
            return None
        right = self._right(question)
        return {"right": answer == right, "truth": right}

    def _right(self, question: Question) -> str:
        truths = [self.study.truth[image] for image in question.images]
        return SIDES[truths.index("synthetic")] if question.kind == "pairwise" else truths[0]

    # --- the owner ---

    def progress(self) -> Json:
        """Who is how far; who was right how often only once all are done, or after unblinding."""
        readers: list[Json] = []
        for reader in self.readers:
            answered, total = len(self.database.answered(reader)), len(self._orders[reader])
            readers.append({"reader": reader, "answered": answered, "total": total, "last": self.database.last(reader)})
        done = all(row["answered"] == row["total"] for row in readers)
        unblinded = self.unblinded()
        if done or unblinded:
            right, asked = self._scores()
            for row in readers:
                row |= {"right": right[row["reader"]], "asked": asked[row["reader"]]}
        return {"title": self.protocol.title, "done": done, "unblinded": unblinded, "readers": readers}

    def unblind(self, why: str) -> None:
        """Open the results before the end, for a reason that the study's log keeps."""
        if not why.strip():
            raise RefusedError("invalid", "Say why: the reason goes into the study's log.")
        log_amendment(self.study.folder, UNBLINDED, why.strip())

    def unblinded(self) -> Json | None:
        """When and why the results were opened before the end, or None."""
        return next((row for row in read_amendments(self.study.folder) if row["what"] == UNBLINDED), None)

    def _scores(self) -> tuple[Counter[str], Counter[str]]:
        """Right answers, and answers that can be right or wrong, of each reader."""
        right: Counter[str] = Counter()
        asked: Counter[str] = Counter()
        for answer in read_answers(self.database.path):
            if answer.kind != "quality" and answer.question is not None:
                asked[answer.reader] += 1
                right[answer.reader] += answer.answer == self._right(self.protocol.question(answer.question))
        return right, asked
