"""Readers' answers as CSV: ``reader,image[,truth],answer[,confidence][,seconds]``, checked row by row."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from synthcxr.errors import UsageError
from synthcxr.study.plan import TRUTHS, Truth

SHEET_COLUMNS = ("reader", "image", "answer", "confidence", "seconds")
NEEDED_COLUMNS = ("reader", "image", "answer")
MENTIONED_PROBLEMS = 5


@dataclass(frozen=True)
class Answer:
    """One row: what a reader said of an image. `answer` is None where the row was left empty.

    `confidence` is how sure the reader was of that answer (more is surer), `seconds` how long it took.
    """

    row: int
    reader: str
    image: str
    answer: Truth | None
    truth: Truth | None = None
    confidence: float | None = None
    seconds: float | None = None


def blank_sheet(images: Sequence[str]) -> bytes:
    """The sheet that a reader fills in: one row an image, nothing answered."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(SHEET_COLUMNS)
    writer.writerows(["", image, "", "", ""] for image in images)
    return buffer.getvalue().encode()


def parse(data: bytes, name: str, planned: bool) -> list[Answer]:
    """Read a CSV's bytes; `name` is what an error calls it.

    Answers to a `planned` study have confidences from 1 to 5; others need the column truth and may have any
    scale from 0 up. A byte-order mark, Windows line ends, semicolons for commas and capitals in the words are
    fine. An empty reader means the one reader that the rest of the file names. Raises UsageError with the
    rows that are wrong.
    """
    confidence = (1.0, 5.0) if planned else (0.0, math.inf)
    rows = _read_cells(data, name, NEEDED_COLUMNS if planned else (*NEEDED_COLUMNS, "truth"))
    if not any(cells["answer"] for _, cells in rows):
        raise UsageError(f"{name} holds no answer: write real or synthetic in the column answer.")
    named = {cells["reader"] for _, cells in rows} - {""}
    only_reader = named.pop() if len(named) == 1 else ""
    answers: list[Answer] = []
    problems: list[str] = []
    for number, cells in rows:
        try:
            answers.append(_read_row(number, cells, only_reader, confidence))
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
        elif not planned and answer.truth is None:
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


def _read_cells(data: bytes, name: str, needed: Sequence[str]) -> list[tuple[int, dict[str, str]]]:
    """The rows that hold anything, as trimmed cells by column, each with its line in the file."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError(f"{name} is not UTF-8 text. Save it as CSV UTF-8.") from None
    header = text.partition("\n")[0]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=";" if header.count(";") > header.count(",") else ",")
    try:
        columns = [column.strip().lower() for column in next(reader, [])]
        _check_columns(columns, needed, name)
        rows = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader]
    except csv.Error as error:
        raise UsageError(f"{name}, line {reader.line_num}, is not CSV: {error}.") from None
    refuse([f"row {n}: it has more cells than columns" for n, c in rows if any(c[len(columns) :])], name)
    blank = dict.fromkeys(columns, "")
    return [(n, blank | dict(zip(columns, c, strict=False))) for n, c in rows if any(c)]


def _check_columns(columns: Sequence[str], needed: Sequence[str], name: str) -> None:
    missing = [column for column in needed if column not in columns]
    if missing:
        found = ", ".join(filter(None, columns)) or "nothing"
        raise UsageError(f"{name} lacks the columns {', '.join(missing)}; its first line holds: {found}.")
    twice = sorted({column for column in columns if column and columns.count(column) > 1})
    if twice:
        raise UsageError(f"{name} has more than one column {', '.join(twice)}. Keep one of each.")


def _read_row(number: int, cells: dict[str, str], only_reader: str, confidence: tuple[float, float]) -> Answer:
    """One row from its cells. Raises ValueError with what is wrong."""
    reader = cells["reader"] or only_reader
    if not reader:
        raise ValueError("the reader's name is missing")
    if not cells["image"]:
        raise ValueError("the image is missing")
    return Answer(
        number,
        reader,
        cells["image"],
        _word(cells, "answer"),
        _word(cells, "truth"),
        _number(cells, "confidence", *confidence),
        _number(cells, "seconds", 0.0, math.inf),
    )


def _word(cells: dict[str, str], column: str) -> Truth | None:
    text = cells.get(column, "")
    if text and text.lower() not in TRUTHS:
        raise ValueError(f"the {column} {text!r} is neither real nor synthetic")
    return TRUTHS.get(text.lower())


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
    first: dict[tuple[str, str], int] = {}
    problems = []
    for answer in answers:
        earlier = first.setdefault((answer.reader, answer.image), answer.row)
        if earlier != answer.row:
            problems.append(f"row {answer.row}: {answer.reader} has {answer.image} in row {earlier} already")
    return problems
