"""A ``metadata.csv`` beside images, a row an image: the form into which anything can be brought."""

import csv
import re
from pathlib import Path
from typing import Any

from synthcxr.config import PrepareConfig
from synthcxr.data.records import Record, Source
from synthcxr.errors import UsageError
from synthcxr.images import list_images
from synthcxr.prompts import Subject

NEEDED_COLUMNS = ("file_name", "patient_id")
OPTIONAL_COLUMNS = ("age", "sex", "view", "findings", "text")


def recognise(path: Path) -> str:
    """A ``metadata.csv``, or a folder with one."""
    return "a metadata.csv lies there" if (path if path.is_file() else path / "metadata.csv").is_file() else ""


def read(config: PrepareConfig) -> Source:
    """The rows of the table, each an image."""
    path = config.source_path
    return _read_table(path if path.is_file() else path / "metadata.csv", config)


def _read_table(table: Path, config: PrepareConfig) -> Source:
    if not table.is_file():
        raise UsageError(f"There is no {table}. Give the folder that holds it, or --source folder.")
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            columns = [name.strip() for name in reader.fieldnames or ()]
            reader.fieldnames = columns
            rows = list(reader)
    except (UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{table} cannot be read as a UTF-8 CSV: {error}.") from error
    if missing := [name for name in NEEDED_COLUMNS if name not in columns]:
        raise UsageError(
            f"{table} lacks the column {' and '.join(missing)}. Needed: {', '.join(NEEDED_COLUMNS)}; "
            f"used where present: {', '.join(OPTIONAL_COLUMNS)}."
        )
    source = Source(table.parent, licence=config.licence)
    seen: set[str] = set()
    for number, row in enumerate(rows, 2):
        name = (row.get("file_name") or "").strip().replace("\\", "/")
        try:
            record = _read_row(name, row, config)
            if name in seen:
                raise ValueError("a second row for the same image")
            if not (source.root / name).resolve().is_relative_to(source.root.resolve()):
                raise ValueError("the path leads out of the folder")
        except ValueError as error:
            source.reject(name or f"row {number}", f"{table.name}, row {number}: {error}")
        else:
            source.records.append(record)
        seen.add(name)
    without_row = [p.relative_to(source.root).as_posix() for p in list_images(source.root)]
    for name in without_row:
        if name not in seen:
            source.reject(name, f"{table.name} has no row for this image")
    return source


def _read_row(name: str, row: dict[str, Any], config: PrepareConfig) -> Record:
    if not name:
        raise ValueError("file_name is empty")
    cell = {key: (value or "").strip() for key, value in row.items() if not isinstance(value, list)}
    patient = cell["patient_id"]
    if not patient:
        raise ValueError("patient_id is empty")
    if config.patient_pattern and (match := re.search(config.patient_pattern, patient)):
        patient = match.group(1) or patient
    age = read_age(cell.get("age", ""))
    age_range = config.missing_age_range() if age is None else None
    subject = Subject(
        age=age,
        age_range=age_range,
        sex=read_sex(cell.get("sex", "")),
        view=cell.get("view", "").upper() or None,
        findings=tuple(part.strip() for part in cell.get("findings", "").split("|") if part.strip()),
    )
    return Record(name, patient, subject=subject, text=cell.get("text", ""))


def read_age(text: str) -> int | None:
    """Age in whole years; empty gives None. ValueError where it makes no sense."""
    if not text:
        return None
    try:
        age = int(float(text))
    except (ValueError, OverflowError):
        raise ValueError(f"age {text!r} is not a number of years") from None
    if not 0 <= age <= 120:
        raise ValueError(f"age {text!r} is not between 0 and 120 years")
    return age


def read_sex(text: str) -> str | None:
    """``M`` or ``F`` from the usual spellings; anything else gives None."""
    return {"m": "M", "male": "M", "f": "F", "female": "F"}.get(text.lower())
