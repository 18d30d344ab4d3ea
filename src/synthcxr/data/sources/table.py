"""A ``metadata.csv`` beside images, a row an image: the form into which anything can be brought."""

from pathlib import Path

from synthcxr.config import PrepareConfig
from synthcxr.data.records import Record, Source, told
from synthcxr.data.sources.files import DICOM_SUFFIXES, Files, list_files, read_any, reject_the_rest
from synthcxr.data.sources.tables import (
    SPLITS,
    Cells,
    collect,
    read_age,
    read_sex,
    read_table,
    read_view,
    tidy_findings,
)
from synthcxr.errors import UsageError
from synthcxr.images import SUFFIXES
from synthcxr.prompts import Subject

NEEDED_COLUMNS = ("file_name", "patient_id")
OPTIONAL_COLUMNS = (
    *("age", "sex", "view", "findings", "text"),
    *("study_id", "report", "report_file", "language", "split"),
)
LANGUAGES = ("en", "es")


def recognise(path: Path) -> str:
    """A ``metadata.csv``, or a folder with one."""
    if path.is_file():
        return "it is a table" if path.name.lower().endswith((".csv", ".csv.gz")) else ""
    return "a metadata.csv lies there" if (path / "metadata.csv").is_file() else ""


def read(config: PrepareConfig) -> Source:
    """The rows of the table, each an image: PNG, JPEG or DICOM."""
    path = config.source_path
    table = path if path.is_file() else path / "metadata.csv"
    if not table.is_file():
        raise UsageError(f"There is no {table}. Give the folder that holds it, or --source folder.")
    source = Source(table.parent, licence=config.licence)
    files = list_files(source.root, SUFFIXES + DICOM_SUFFIXES)
    reports = list_files(source.root, (".txt",))

    def read_row(name: str, cells: Cells) -> Record:
        return _read_row(name, cells, reports, config)

    rows = read_table(table, NEEDED_COLUMNS, OPTIONAL_COLUMNS, prose=("text", "report"))
    collect(source, config, rows, lambda cells: files.find(cells["file_name"]), read_row, "file_name")
    if any(record.name.lower().endswith(DICOM_SUFFIXES) for record in source.records):
        source.read = read_any
    reject_the_rest(source, files, reason=f"{told(table.name)} has no row for this image")
    return source


def _read_row(name: str, cells: Cells, reports: Files, config: PrepareConfig) -> Record:
    if not cells["patient_id"]:
        raise ValueError("patient_id is empty")
    subject = Subject(
        age=read_age(cells.get("age", "")),
        sex=read_sex(cells.get("sex", "")),
        view=read_view(cells.get("view", ""), config),
        findings=tidy_findings(cells.get("findings", "").split("|")),
    )
    language, split = cells.get("language") or "en", cells.get("split", "").lower()
    if language not in LANGUAGES:
        raise ValueError(f"language is {told(repr(language))}, not {' or '.join(LANGUAGES)}")
    if split and split not in SPLITS:
        raise ValueError(f"split is {told(repr(split))}, not train, validation or test")
    return Record(
        name,
        cells["patient_id"],
        cells.get("study_id", ""),
        subject,
        text=cells.get("text", ""),
        report=cells.get("report", ""),
        report_file=reports.find(cells["report_file"]) if cells.get("report_file") else "",
        language=language,
        split=SPLITS.get(split),
    )
