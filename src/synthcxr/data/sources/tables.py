"""Tables of the publishers and of users, read row by row: no row stops the others, and no cell is more than text."""

import csv
import gzip
import io
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

from synthcxr.config import PrepareConfig
from synthcxr.data.records import Record, RejectedImageError, Source, told, told_row
from synthcxr.errors import UsageError
from synthcxr.prompts import NO_FINDING

MAXIMUM_LINE = 4_000_000
MAXIMUM_CELL = 1_000_000
"""Characters of a line and a cell; the longest cell of the publishers' tables has some thousands."""
FORMULA = re.compile(r"\s*(?:[=@]|[+-]=|[+-](?!\d+(?:\.\d*)?\s*(?:\||$))\S*[(|!])")
"""What a spreadsheet would run: ``=1+1``, ``@SUM(A1)``, ``-2+3+cmd|' /C calc'!A0``. ``-1`` and ``-1|Mass`` are none."""
NOTHING_FOUND = ("no finding", "no findings", "no_finding", "normal")
EMPTY = ("", "nan", "none", "null", "n/a")
"""What tables write for a cell that says nothing (pandas writes ``nan``)."""

SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev"), "validation"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "test"),
}
"""Names of splits as `datasets` knows them."""
Cells = dict[str, str]


@dataclass(frozen=True, slots=True)
class TableRow:
    """The cells of a row that are of use, stripped; `where` names it for a person; `problem` says why it is of none."""

    where: str
    cells: Cells
    problem: str = ""


# --- from a file to rows ----------------------------------------------------------------------------------


def find_tables(root: Path, *patterns: str) -> list[Path]:
    """The files in a folder that match, each once; of ``a.csv`` and ``a.csv.gz`` the first."""
    found: dict[str, Path] = {}
    for pattern in patterns:
        for path in sorted(root.glob(pattern)) if root.is_dir() else ():
            if path.is_file() and not path.name.startswith("."):
                found.setdefault(path.name.removesuffix(".gz"), path)
    return list(found.values())


def root_of(config: PrepareConfig) -> Path:
    """The folder of a source that is given as its folder or as a table in it."""
    return config.source_path if config.source_path.is_dir() else config.source_path.parent


def read_table(
    path: Path, needed: Sequence[str], optional: Sequence[str] = (), *, prose: Sequence[str] = ()
) -> Iterator[TableRow]:
    """The rows of a CSV, gzipped or not; columns may be split by commas, semicolons or tabs.

    UTF-8 with or without a BOM, or UTF-16 with one. A row that cannot be used has a `problem`: a wrong number of
    cells, bytes of another encoding, control characters, a formula. A column named in `prose` may hold line breaks.
    Raises UsageError where the file is no such table: it lacks a column, has one twice, or is damaged.
    """
    number = 1
    try:
        with _open_text(path) as file, ExitStack() as undo:
            lines = _lines(path, file)
            head = next(lines, "")
            delimiter = _delimiter(head, needed)
            columns = _split(head, delimiter)
            places = _places(path, columns, needed, optional)
            limit = csv.field_size_limit(MAXIMUM_CELL)
            undo.callback(csv.field_size_limit, limit)  # it is the whole process's
            reader = csv.reader(lines, delimiter=delimiter)
            while True:
                first = reader.line_num + 2
                try:
                    cells = next(reader)
                except StopIteration:
                    return
                except csv.Error as error:
                    cells, problem = [], f"it cannot be read: {error}; is a quotation mark left open?"
                else:
                    if not cells:
                        continue
                    problem = ""
                number = reader.line_num + 1
                where = f"{path.name}, row {first}" + (f" to {number}" if number > first else "")
                yield _row(where, cells, problem, len(columns), places, prose)
    except (OSError, EOFError, zlib.error, UnicodeError) as error:
        raise UsageError(f"{path} is damaged after row {number}: {error}. Get it again.") from error


def read_columns(path: Path, delimiter: str = "") -> list[str]:
    """The names in the first row, split by the mark that gives most of them where no `delimiter` is named.

    Raises UsageError where the file cannot be read.
    """
    try:
        with _open_text(path) as file:
            head = next(_lines(path, file), "")
            return _split(head, delimiter or _delimiter(head))
    except (OSError, EOFError, zlib.error, UnicodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}.") from error


def _open_text(path: Path) -> IO[str]:
    opened: Any = gzip.GzipFile(path) if path.suffix == ".gz" else path.open("rb")
    start = opened.read(2)
    opened.seek(0)
    if start in (b"\xff\xfe", b"\xfe\xff"):
        return io.TextIOWrapper(opened, "utf-16", errors="replace", newline="")
    return io.TextIOWrapper(opened, "utf-8-sig", errors="surrogateescape", newline="")


def _lines(path: Path, file: IO[str]) -> Iterator[str]:
    """Lines one by one; a file without line ends is not read as a whole."""
    while line := file.readline(MAXIMUM_LINE + 1):
        if len(line) > MAXIMUM_LINE:
            raise UsageError(f"{path} has a line of more than {MAXIMUM_LINE:,} characters: it is no such table.")
        yield line


def _delimiter(head: str, needed: Sequence[str] = ()) -> str:
    """The mark between columns that gives most of the `needed` names, or most names at all."""

    def names(mark: str) -> int:
        found = set(_split(head, mark))
        return len(found & set(needed) if needed else found)

    return max(",;\t", key=names)


def _split(head: str, delimiter: str) -> list[str]:
    try:
        return [name.strip() for name in next(csv.reader([head], delimiter=delimiter), [])]
    except csv.Error:
        return []


def _places(path: Path, columns: list[str], needed: Sequence[str], optional: Sequence[str]) -> dict[str, int]:
    """Where each column of use stands."""
    counts = Counter(columns)
    if missing := [name for name in needed if not counts[name]]:
        used = f"; used where present: {', '.join(optional)}" if optional else ""
        raise UsageError(
            f"{path} lacks the column {' and '.join(missing)}. Needed: {', '.join(needed)}{used}. "
            "Is it a CSV in UTF-8, and its first row the names of the columns?"
        )
    wanted = [name for name in (*needed, *optional) if counts[name]]
    if twice := [name for name in wanted if counts[name] > 1]:
        raise UsageError(f"{path} has the column {' and '.join(twice)} more than once. Rename or remove one.")
    return {name: columns.index(name) for name in wanted}


def _row(
    where: str, cells: list[str], problem: str, width: int, places: dict[str, int], prose: Sequence[str]
) -> TableRow:
    if not problem and (len(cells) < width or any(cells[width:])):
        problem = f"it has {len(cells)} cells where the first row has {width}"
    used = {name: cells[place].strip() for name, place in places.items() if place < len(cells)}
    for name, cell in used.items():
        problem = problem or _problem(name, cell, name in prose)
    return TableRow(where, used, problem)


def _problem(column: str, cell: str, prose: bool) -> str:
    """Why a cell must not be used; empty where it may be."""
    plain = cell.replace("\n", " ").replace("\r", " ").replace("\t", " ") if prose else cell
    if not plain or (plain.isascii() and plain.isprintable() and plain[0] not in "=@+-"):
        return ""
    if any("\ud800" <= letter <= "\udfff" or letter == "\ufffd" for letter in plain):
        return f"{column} is not UTF-8; save the table as UTF-8"
    if any(ord(letter) < 32 or ord(letter) == 127 for letter in plain):
        return f"{column} holds a control character or a line break; is a quotation mark left open?"
    if FORMULA.match(plain):
        return f"{column} holds a spreadsheet formula, not a value"
    return ""


# --- from rows to records ---------------------------------------------------------------------------------


def collect(
    source: Source,
    config: PrepareConfig,
    rows: Iterable[TableRow],
    locate: Callable[[Cells], str],
    read_row: Callable[[str, Cells], Record],
    key: str,
) -> None:
    """Add the record of each row to a source, or reject the row by its rule and with its reason.

    `locate` gives the path inside the source of the row's image, `read_row` its record. Both raise RejectedImageError,
    or ValueError with the reason. `key` is the column that names a row whose image is not found.
    """
    taken = {record.name for record in source.records}
    for row in rows:
        name = row.cells.get(key) or row.where
        try:
            if row.problem:
                raise RejectedImageError("row", row.problem)
            name = locate(row.cells)
            if name in taken:
                raise RejectedImageError("duplicate-row", "a second row for the same image")
            record = read_row(name, row.cells)
        except RejectedImageError as error:
            source.reject(name, f"{told_row(row.where)}: {error}", error.rule)
        except ValueError as error:
            source.reject(name, f"{told_row(row.where)}: {error}")
        else:
            taken.add(name)
            source.records.append(with_options(record, config))


def with_options(record: Record, config: PrepareConfig) -> Record:
    """A record as `--patient-pattern` and `--missing-age` ask for it."""
    patient, subject = record.patient_id, record.subject
    if config.patient_pattern and (match := re.search(config.patient_pattern, patient)):
        patient = match.group(1) or patient
    if subject.age is None and subject.age_range is None:
        subject = replace(subject, age_range=config.missing_age_range())
    return replace(record, patient_id=patient, subject=subject)


def licence_of(config: PrepareConfig, publishers: str) -> str:
    """The licence that the user states, else the publisher's."""
    return publishers if config.licence == "unknown" else config.licence


# --- cells ------------------------------------------------------------------------------------------------


def read_age(text: str) -> int | None:
    """Age in whole years from ``58``, ``58.0``, ``058Y``, ``018M``; empty gives None. ValueError if it is none."""
    if text.lower() in EMPTY:
        return None
    match = re.fullmatch(r"(\d{1,9})(?:\.\d*)?\s*([YMWD]?)", text.upper(), re.ASCII)
    if not match:
        raise ValueError(f"age {told(repr(text))} is not a number of years")
    age = int(match[1]) // {"M": 12, "W": 52, "D": 365}.get(match[2], 1)
    if not 0 <= age <= 120:
        raise ValueError(f"age {told(repr(text))} is not between 0 and 120 years")
    return age


def doubtful_age(text: str, doubts: Counter[str]) -> int | None:
    """Age in whole years; a slip of the publisher's, such as 411, counts as unknown and among the `doubts`."""
    try:
        return read_age(text)
    except ValueError:
        doubts["the age makes no sense and counts as unknown"] += 1
        return None


def read_sex(text: str) -> str | None:
    """``M`` or ``F`` from the usual spellings; anything else gives None."""
    return {"m": "M", "male": "M", "f": "F", "female": "F"}.get(text.lower())


def read_view(text: str, config: PrepareConfig) -> str | None:
    """``AP`` or ``PA``; None where the source does not say. Raises RejectedImageError for any other view.

    With ``--skip-checks not-frontal`` other views are taken under the name that the source gives them.
    """
    view = text.upper()
    if text.lower() in EMPTY or view in ("UNK", "UNKNOWN"):
        return None
    if view not in ("AP", "PA") and not takes_any_view(config):
        raise RejectedImageError("not-frontal", f"the view is {told(text)}, not AP or PA")
    return view


def takes_any_view(config: PrepareConfig) -> bool:
    """Whether ``--skip-checks`` lets in views that are not frontal."""
    return bool({"not-frontal", "all"} & set(config.skip_checks))


def tidy_findings(names: Iterable[str]) -> tuple[str, ...]:
    """Findings as the source names them, each once; “normal” is ``No Finding``, and only where nothing else is."""
    kept = dict.fromkeys(
        NO_FINDING if name.lower() in NOTHING_FOUND else name for name in (name.strip() for name in names) if name
    )
    return tuple(name for name in kept if name != NO_FINDING or len(kept) == 1)


def read_labels(cells: Cells, columns: Iterable[str], doubts: Counter[str]) -> tuple[str, ...]:
    """The findings of columns with 1 present, 0 absent, -1 uncertain, empty not mentioned (CheXpert's labels)."""
    present = []
    uncertain = False
    for column in columns:
        cell = cells.get(column, "")
        if cell.lower() in EMPTY:
            continue
        if not re.fullmatch(r"-?[01](\.0*)?", cell, re.ASCII):
            raise ValueError(f"{column} is {told(repr(cell))}, not 1, 0, -1 or empty")
        present += [column] if cell.startswith("1") else []
        uncertain = uncertain or cell.startswith("-1")
    doubts["a label is uncertain (-1) and is left out"] += uncertain
    return tidy_findings(present)


def write_doubts(source: Source, doubts: Counter[str]) -> None:
    """Say in a source's notes how often something was in doubt."""
    source.notes += [f"In {count} of the rows {doubt}." for doubt, count in sorted(doubts.items()) if count]
