"""Readers' answers as CSV: ``reader,image[,truth],answer[,confidence][,seconds]``, checked row by row.

Further columns are ``comment``, ``position`` (place in the reader's order), ``question`` and one an item of quality.
"""

import csv
import io
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from synthcxr.errors import UsageError
from synthcxr.store import Json, read_json
from synthcxr.study.plan import TRUTHS, Truth
from synthcxr.study.protocol import SIDES, Item, Kind, Protocol, Question

T = TypeVar("T", bound=str)
SHEET_COLUMNS = ("reader", "image", "answer", "confidence", "seconds")
COLUMNS = (*SHEET_COLUMNS, "truth", "comment", "position", "question")
"""All columns with a meaning of their own; the items of quality come on top."""
MENTIONED_PROBLEMS = 5


@dataclass(frozen=True)
class Answer:
    """What one reader said of one image. `answer` is None where a row was left empty.

    A pairwise answer is "left" or "right", the image called synthetic, and `image` is the left one; a quality answer is
    "rated". A repeat is an answer to another image name, whose row of the key has `same_as`.
    """

    row: int
    """Line of the file, or number in the server's database."""
    reader: str
    image: str
    answer: str | None
    truth: Truth | None = None
    """What the file says of it; what the study's key says counts more."""
    confidence: float | None = None
    """How sure the reader was of that answer; more is surer."""
    seconds: float | None = None
    question: str | None = None
    """Id in the protocol; None where an imported file has none."""
    kind: Kind = "real-or-synthetic"
    ratings: Mapping[str, int] = field(default_factory=dict)
    """Quality: step of each item, 1 the lowest."""
    comment: str = ""
    at: str | None = None
    """When it was stored (UTC, ISO)."""
    position: int | None = None
    """Place in the reader's order, from 1."""


def blank_sheet(images: Sequence[str]) -> bytes:
    """The sheet that a reader fills in: one row an image, nothing answered."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(SHEET_COLUMNS)
    writer.writerows(["", image, "", "", ""] for image in images)
    return buffer.getvalue().encode()


@dataclass(frozen=True)
class Layout:
    """How a file says what the columns here mean: own names for columns and words, and the items that it rates."""

    columns: Mapping[str, str] = field(default_factory=dict)
    """Name here to name in the file."""
    values: Mapping[str, str] = field(default_factory=dict)
    """Word in the file, in small letters, to word here."""
    items: tuple[Item, ...] = ()
    questions: Mapping[str, Question] = field(default_factory=dict)
    """By id: a pairwise answer names its question."""

    def to_json(self) -> Json:
        """All but the questions, which the protocol holds, as plain JSON."""
        return {"columns": dict(self.columns), "values": dict(self.values), "items": [asdict(i) for i in self.items]}

    @classmethod
    def from_json(cls, kept: Json) -> "Layout":
        """The inverse of `to_json`."""
        items = tuple(Item(**{**item, "steps": tuple(item["steps"])}) for item in kept["items"])
        return cls(kept["columns"], kept["values"], items)


def layout_of(path: Path, protocol: Protocol | None) -> Layout:
    """The layout of an imported file: what lies beside it as JSON, with the protocol's items and questions."""
    beside = path.with_suffix(".json")
    layout = Layout.from_json(read_json(beside)) if beside.is_file() else Layout()
    if protocol is None:
        return layout
    return replace(layout, items=protocol.items, questions={question.id: question for question in protocol.questions})


def parse(data: bytes, name: str, planned: bool, layout: Layout | None = None) -> list[Answer]:
    """Read a CSV's bytes; `name` is what an error calls it.

    Answers to a `planned` study have confidences from 1 to 5; others need the column truth and may have any
    scale from 0 up. A byte-order mark, Windows line ends, semicolons for commas and capitals in the words are
    fine. An empty reader means the one reader that the rest of the file names. Columns named after the layout's
    items hold ratings, as the step's label or its number from 1; a row with an answer and ratings is two answers.
    Raises UsageError with the rows that are wrong.
    """
    layout = layout or Layout()
    rows = _read_cells(data, name, planned, layout)
    rated = [item.name.lower() for item in layout.items]
    if not any(cells.get(column) for _, cells in rows for column in ("answer", *rated)):
        raise UsageError(f"{name} holds no answer: write real or synthetic in the column answer.")
    named = {cells["reader"] for _, cells in rows} - {""}
    only_reader = named.pop() if len(named) == 1 else ""
    answers: list[Answer] = []
    problems: list[str] = []
    for number, cells in rows:
        try:
            answers += _read_row(number, cells, only_reader, planned, layout)
        except ValueError as error:
            problems.append(f"row {number}: {error}")
    refuse(problems or _repeated(answers), name)
    return answers


def check_truth(answers: Sequence[Answer], key: Mapping[str, Truth], planned: bool, name: str) -> None:
    """Hold answers to what is known of the images: all of them in a planned study, else those seen so far.

    Raises UsageError for an image that the plan lacks, a truth that is missing, and one that contradicts.
    """
    known = dict(key)
    problems = []
    for answer in answers:
        where = f"row {answer.row}: {answer.image}"
        if planned and answer.image not in known:
            problems.append(f"{where} is no image of this study")
        elif not planned and answer.truth is None and answer.kind != "quality":
            problems.append(f"{where} has no truth (real or synthetic), and there is no key to take it from")
        elif answer.truth and known.setdefault(answer.image, answer.truth) != answer.truth:
            problems.append(f"{where} is {known[answer.image]}, not {answer.truth}")
    refuse(problems, name)


def refuse(problems: Sequence[str], name: str) -> None:
    """Raise UsageError with the first few problems, where there are any."""
    if problems:
        shown = list(problems[:MENTIONED_PROBLEMS])
        if len(problems) > len(shown):
            shown.append(f"and {len(problems) - len(shown)} more")
        raise UsageError("\n  ".join([f"Nothing was imported from {name}. Correct it and import it again:", *shown]))


def _read_cells(data: bytes, name: str, planned: bool, layout: Layout) -> list[tuple[int, dict[str, str]]]:
    """The rows that hold anything, as trimmed cells by column, each with its line in the file."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError(f"{name} is not UTF-8 text. Save it as CSV UTF-8.") from None
    header = text.partition("\n")[0]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=";" if header.count(";") > header.count(",") else ",")
    try:
        columns = _rename([column.strip().lower() for column in next(reader, [])], name, layout)
        _check_columns(columns, _needed(columns, planned, layout), name)
        rows = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader]
    except csv.Error as error:
        raise UsageError(f"{name}, line {reader.line_num}, is not CSV: {error}.") from None
    refuse([f"row {n}: it has more cells than columns" for n, c in rows if any(c[len(columns) :])], name)
    blank = dict.fromkeys(columns, "")
    return [(n, blank | dict(zip(columns, c, strict=False))) for n, c in rows if any(c)]


def _rename(found: list[str], name: str, layout: Layout) -> list[str]:
    """The file's columns under the names here; a column that is taken for another is no longer under its own."""
    wanted = {theirs.lower(): ours for ours, theirs in layout.columns.items()}
    missing = [theirs for theirs in layout.columns.values() if theirs.lower() not in found]
    if missing:
        raise UsageError(f"{name} lacks the columns {', '.join(missing)}; its first line holds: {', '.join(found)}.")
    taken = set(wanted.values())
    return [wanted.get(column, "" if column in taken else column) for column in found]


def _needed(columns: Sequence[str], planned: bool, layout: Layout) -> list[str]:
    """The columns that must be there: an answer, or at least one rating; for answers without a plan also the truth."""
    image = "question" if "question" in columns and layout.questions else "image"
    if "answer" not in columns and any(item.name.lower() in columns for item in layout.items):
        return ["reader", image]
    return ["reader", image, "answer", *([] if planned else ["truth"])]


def _check_columns(columns: Sequence[str], needed: Sequence[str], name: str) -> None:
    missing = [column for column in needed if column not in columns]
    if missing:
        found = ", ".join(filter(None, columns)) or "nothing"
        raise UsageError(f"{name} lacks the columns {', '.join(missing)}; its first line holds: {found}.")
    twice = sorted({column for column in columns if column and columns.count(column) > 1})
    if twice:
        raise UsageError(f"{name} has more than one column {', '.join(twice)}. Keep one of each.")


def _read_row(number: int, cells: dict[str, str], only_reader: str, planned: bool, layout: Layout) -> list[Answer]:
    """The answers of one row, from its cells. Raises ValueError with what is wrong."""
    reader = cells["reader"] or only_reader
    if not reader:
        raise ValueError("the reader's name is missing")
    question = layout.questions.get(cells.get("question", ""))
    if cells.get("question") and layout.questions and question is None:
        raise ValueError(f"{cells['question']} is no question of this study")
    image = cells.get("image") or (question.images[0] if question else "")
    if not image:
        raise ValueError("the image is missing")
    confidence = (1.0, 5.0) if planned else (0.0, math.inf)
    position = _number(cells, "position", 1, math.inf)
    common = Answer(
        number,
        reader,
        image,
        None,
        _word(cells, "truth", layout, tuple(TRUTHS.values())),
        seconds=_number(cells, "seconds", 0.0, math.inf),
        question=question.id if question else None,
        comment=cells.get("comment", ""),
        position=None if position is None else int(position),
    )
    ratings = {item.name: step for item in layout.items if (step := _step(cells, item, layout)) is not None}
    rated = [replace(common, answer="rated", kind="quality", ratings=ratings)] if ratings else []
    if ratings and not cells.get("answer"):
        return rated
    if question and question.kind == "pairwise":
        return [replace(common, answer=_word(cells, "answer", layout, SIDES), kind="pairwise")]
    answer = _word(cells, "answer", layout, tuple(TRUTHS.values()))
    rated = [replace(rating, seconds=None, comment="") for rating in rated]  # both belong to the call now
    return [replace(common, answer=answer, confidence=_number(cells, "confidence", *confidence)), *rated]


def _word(cells: dict[str, str], column: str, layout: Layout, allowed: Collection[T]) -> T | None:
    """The cell's word, in small letters and as the layout translates it; None for an empty cell."""
    text = cells.get(column, "").lower()
    word = layout.values.get(text, text)
    if not word:
        return None
    for one in allowed:
        if one == word:
            return one
    raise ValueError(f"the {column} {cells[column]!r} is neither {' nor '.join(allowed)}")


def _step(cells: dict[str, str], item: Item, layout: Layout) -> int | None:
    """The step that a cell names by its label or number from 1; None for an empty cell or an item in free words."""
    text = cells.get(item.name.lower(), "").lower()
    text = layout.values.get(text, text)
    if not text or not item.steps:
        return None
    labels = [label.lower() for label in item.steps]
    if text in labels:
        return labels.index(text) + 1
    if text.isdigit() and 1 <= int(text) <= len(labels):
        return int(text)
    raise ValueError(
        f"the {item.name} {text!r} is none of {', '.join(item.steps)}, nor a number from 1 to {len(labels)}"
    )


def _number(cells: dict[str, str], column: str, low: float, high: float) -> float | None:
    text = cells.get(column, "")
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"the {column} {text!r} is not a number") from None
    if not (math.isfinite(value) and low <= value <= high):
        allowed = f"from {low:g} to {high:g}" if math.isfinite(high) else f"of {low:g} or more"
        raise ValueError(f"the {column} {text!r} is not a number {allowed}")
    return value


def _repeated(answers: Sequence[Answer]) -> list[str]:
    first: dict[tuple[str, ...], int] = {}
    problems = []
    for answer in answers:
        earlier = first.setdefault(asked(answer), answer.row)
        if earlier != answer.row:
            problems.append(f"row {answer.row}: {answer.reader} has {answer.image} in row {earlier} already")
    return problems


def asked(answer: Answer) -> tuple[str, ...]:
    """What makes two answers answers to the same: reader, kind, image, and for a pair its question."""
    pair = answer.question or "" if answer.kind == "pairwise" else ""
    return answer.reader, answer.kind, answer.image, pair
