"""A folder tree of DICOM files, with a ``reports.csv`` at its root where there are reports.

Files are found by what they hold, whatever their names; their headers are read only when their pixels are. A row of
``reports.csv`` has the column ``report`` and one that says of what: ``file`` (a path inside the folder), ``study_uid``
or ``accession``.
"""

import csv
import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

from synthcxr.config import PrepareConfig
from synthcxr.data.dicom.file import DIRECTORY, has_preamble, read_head
from synthcxr.data.dicom.file import recognise as is_dicom
from synthcxr.data.dicom.header import Header
from synthcxr.data.dicom.read import read_with_header
from synthcxr.data.records import Picture, Record, Source
from synthcxr.errors import UsageError
from synthcxr.images import UnreadableImageError

REPORTS = "reports.csv"
COLUMNS = {
    "file": ("file", "file_name", "filename", "path"),
    "study": ("study_uid", "studyinstanceuid", "study_instance_uid"),
    "accession": ("accession", "accession_number", "accessionnumber"),
    "report": ("report", "text", "report_text"),
}
"""Columns of a ``reports.csv``, and the names that they go by, in small letters."""
SUFFIXES = (".dcm", ".dicom", ".dic")
LOOKED_AT = 200
"""Files that `recognise` opens at most."""


def recognise(path: Path) -> str:
    """A DICOM file, or a folder in which one of the first files is one."""
    files = (
        [path] if path.is_file() else [found for found, outside in _files(path) if not outside] if path.is_dir() else []
    )
    for file in files[:LOOKED_AT]:
        if has_preamble(_head(file)):
            return "files in it begin as a DICOM does"
    return ""


def read(config: PrepareConfig) -> Source:
    """All DICOM files; ids, subjects and what is to be rejected come to light when they are opened."""
    path = config.source_path
    root = path.parent if path.is_file() else path
    source = Source(root, licence=config.licence, read=read_picture, kind="dicom")
    others = 0
    for file, outside in [(path, False)] if path.is_file() else _files(root):
        name = file.relative_to(root).as_posix()
        head = b"" if outside else _head(file)
        if outside:
            source.reject(name, "the link leads out of the folder", "path")
        elif not _is_utf_8(name):
            source.reject(name, "the file's name is not UTF-8; rename it", "path")
        elif is_dicom(head) and DIRECTORY not in head:
            source.records.append(Record(name))
        elif file.suffix.lower() in SUFFIXES and not is_dicom(head):
            source.reject(name, "the file is no DICOM", "not-dicom")
        else:
            others += 1
    if others:
        source.notes.append(f"{others} files are no DICOM images and were passed over.")
    if (root / REPORTS).is_file():
        _match_files(source, read_reports(root))
    return source


def read_picture(root: Path, record: Record, config: PrepareConfig) -> Picture:
    """Read a DICOM, and find its report by study or accession number. Raises as `read_dicom_picture` does."""
    picture, header = read_with_header(root, record, config)
    if record.report or not (root / REPORTS).is_file():
        return picture
    report = read_reports(root).of(header)
    return replace(picture, record=replace(picture.record, report=report))


# --- the files --------------------------------------------------------------------------------------------


def _files(folder: Path) -> Iterator[tuple[Path, bool]]:
    """Every regular file under a folder, sorted, hidden ones left out, and whether it is a link that leads out."""
    root = folder.resolve()
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            file = Path(place, name)
            if name.startswith(".") or not file.is_file():
                continue
            yield file, file.is_symlink() and not file.resolve().is_relative_to(root)


def _is_utf_8(name: str) -> bool:
    try:
        return bool(name.encode())
    except UnicodeEncodeError:
        return False


def _head(file: Path) -> bytes:
    try:
        return read_head(file)
    except UnreadableImageError:
        return b""


# --- the reports ------------------------------------------------------------------------------------------


@dataclass
class Reports:
    """Free texts by file (path inside the folder), by Study Instance UID and by accession number."""

    file: dict[str, str] = field(default_factory=dict)
    study: dict[str, str] = field(default_factory=dict)
    accession: dict[str, str] = field(default_factory=dict)

    def of(self, header: Header) -> str:
        """The report of a study, empty where there is none."""
        return self.study.get(header.study_id, "") or self.accession.get(header.accession, "")


def _match_files(source: Source, reports: Reports) -> None:
    """Give records the reports that name their files; reject the rows whose file is not there."""
    names = {record.name for record in source.records}
    source.records = [replace(record, report=reports.file.get(record.name, "")) for record in source.records]
    for name in reports.file.keys() - names:
        source.reject(name, f"{REPORTS} has a row for it, but there is no such image")


@lru_cache(maxsize=1)
def read_reports(root: Path) -> Reports:
    """Read ``reports.csv`` once a process. Raises UsageError where it is no table of reports."""
    table = root / REPORTS
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{table} cannot be read as a UTF-8 CSV: {error}.") from error
    known = {alias: column for column, aliases in COLUMNS.items() for alias in aliases}
    found = {known[name.strip().lower()]: name for name in (rows[0] if rows else ()) if _alias(name) in known}
    if rows and ("report" not in found or len(found) < 2):
        raise UsageError(f"{table} needs the column report, and one of file, study_uid and accession.")
    reports = Reports()
    for row in rows:
        report = (row[found["report"]] or "").strip()
        for column, texts in (("file", reports.file), ("study", reports.study), ("accession", reports.accession)):
            if column in found and (key := (row[found[column]] or "").strip()):
                texts[key.replace("\\", "/") if column == "file" else key] = report
    return reports


def _alias(name: str | None) -> str:
    return (name or "").strip().lower()
