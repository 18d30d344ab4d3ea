"""A folder tree of DICOM files, with a ``reports.csv`` at its root where there are reports.

Files are found by what they hold, whatever their names; their headers are read only when their pixels are. A row of
``reports.csv`` has the column ``report`` and one that says of what: ``file`` (a path inside the folder), ``study_uid``
or ``accession``. A row is of the first of these that it fills.
"""

from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

from synthcxr.config import PrepareConfig
from synthcxr.data.dicom.file import DIRECTORY, has_preamble, read_head
from synthcxr.data.dicom.file import recognise as is_dicom
from synthcxr.data.dicom.header import Header
from synthcxr.data.dicom.read import read_with_header
from synthcxr.data.records import Picture, Record, RejectedImageError, Source, printable
from synthcxr.data.sources.files import Files, clean_path, list_files
from synthcxr.data.sources.tables import TableRow, read_columns, read_table
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
ANY_SUFFIX = ("",)
LOOKED_AT = 200
"""Files that `recognise` opens at most."""


def recognise(path: Path) -> str:
    """A DICOM file, or a folder in which one of the first files is one."""
    names = list_files(path, ANY_SUFFIX).names if path.is_dir() else ()
    files = [path] if path.is_file() else [path / name for name in names]
    for file in files[:LOOKED_AT]:
        if has_preamble(_head(file)):
            return "files in it begin as a DICOM does"
    return ""


def read(config: PrepareConfig) -> Source:
    """All DICOM files; ids, subjects and what is to be rejected come to light when they are opened."""
    path = config.source_path
    root = path.parent if path.is_file() else path
    source = Source(root, licence=config.licence, read=read_picture, kind="dicom")
    files = Files(root, {path.name: None}) if path.is_file() else list_files(root, ANY_SUFFIX)
    others = 0
    for name in files.names:
        head = _head(root / name)
        if printable(name) != name:
            source.reject(name, "the file's name is not UTF-8; rename it", "path")
        elif is_dicom(head) and DIRECTORY not in head:
            source.records.append(Record(name))
        elif name.lower().endswith(SUFFIXES) and not is_dicom(head):
            source.reject(name, "the file is no DICOM", "not-dicom")
        else:
            others += 1
    for name, reason in sorted(files.left_out.items()):
        source.reject(name, reason, "path")
    if others:
        source.notes.append(f"{others} files are no DICOM images and were passed over.")
    if (root / REPORTS).is_file():
        read_reports.cache_clear()  # the table may have changed since an earlier call of this process
        _match_files(source, read_reports(root))
    return source


def read_picture(root: Path, record: Record, config: PrepareConfig) -> Picture:
    """Read a DICOM, and find its report by study or accession number. Raises as `read_dicom_picture` does."""
    picture, header = read_with_header(root, record, config)
    if record.report or not (root / REPORTS).is_file():
        return picture
    report = read_reports(root).of(header)
    return replace(picture, record=replace(picture.record, report=report))


def _head(file: Path) -> bytes:
    try:
        return read_head(file)
    except UnreadableImageError:
        return b""


# --- the reports ------------------------------------------------------------------------------------------


@dataclass
class Reports:
    """Free texts by file (path inside the folder), by Study Instance UID and by accession number.

    `rejected` has the rows that cannot be used: what they are of, the reason, the rule.
    """

    file: dict[str, str] = field(default_factory=dict)
    study: dict[str, str] = field(default_factory=dict)
    accession: dict[str, str] = field(default_factory=dict)
    rejected: list[tuple[str, str, str]] = field(default_factory=list)

    def of(self, header: Header) -> str:
        """The report of a study, empty where there is none."""
        return self.study.get(header.study_id, "") or self.accession.get(header.accession, "")


def _match_files(source: Source, reports: Reports) -> None:
    """Give records the reports that name their files; reject the rows of no use, or whose file is not there."""
    names = {record.name for record in source.records}
    source.records = [replace(record, report=reports.file.get(record.name, "")) for record in source.records]
    for name, reason, rule in reports.rejected:
        source.reject(name, reason, rule)
    for name in sorted(reports.file.keys() - names):
        source.reject(name, f"{REPORTS} has a row for it, but there is no such image")
    if by_header := len(reports.study) + len(reports.accession):
        source.notes.append(
            f"{REPORTS} has {by_header} rows by study or accession number, which are matched when a file is opened: "
            "one that no file matches is not among the rejected."
        )


@lru_cache(maxsize=1)
def read_reports(root: Path) -> Reports:
    """Read ``reports.csv`` once a process. Raises UsageError where it is no table of reports."""
    table = root / REPORTS
    columns = _find_columns(table)
    keys = [column for column in ("file", "study", "accession") if column in columns]
    if "report" not in columns or not keys:
        raise UsageError(f"{table} needs the column report, and one of file, study_uid and accession.")
    reports = Reports()
    for row in read_table(table, list(columns.values()), prose=[columns["report"]]):
        cells = {column: row.cells.get(name, "") for column, name in columns.items()}
        column = next((column for column in keys if cells[column]), "")
        try:
            _add(reports, row, column, cells.get(column, ""), cells["report"])
        except RejectedImageError as error:
            reports.rejected.append((cells.get(column) or row.where, f"{row.where}: {error}", error.rule))
    return reports


def _add(reports: Reports, row: TableRow, column: str, key: str, report: str) -> None:
    """Add a row's report. Raises RejectedImageError by ``row``, ``path`` and ``duplicate-row``."""
    if row.problem or not column:
        raise RejectedImageError("row", row.problem or "it does not say of which file or study the report is")
    texts: dict[str, str] = getattr(reports, column)
    key = clean_path(key) if column == "file" else key
    if key in texts:
        raise RejectedImageError("duplicate-row", f"a second row for the same {column}")
    texts[key] = report


def _find_columns(table: Path) -> dict[str, str]:
    """Which of `COLUMNS` a table has, and how it writes them."""
    found: dict[str, str] = {}
    for delimiter in ",;\t":
        written = {name.lower(): name for name in reversed(read_columns(table, delimiter))}
        here = {
            column: written[alias]
            for column, aliases in COLUMNS.items()
            for alias in reversed(aliases)
            if alias in written
        }
        found = max(found, here, key=len)
    return found
