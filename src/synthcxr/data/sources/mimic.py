"""MIMIC-CXR (DICOM, reports) and MIMIC-CXR-JPG (tables, labels, split), Johnson et al., PhysioNet: 377,110 images.

    mimic-cxr-2.0.0-metadata.csv.gz, -split.csv.gz, -chexpert.csv.gz, -negbio.csv.gz    (of MIMIC-CXR-JPG)
    cxr-record-list.csv.gz                                                              (of MIMIC-CXR)
    files/p10/p10000032/s50414267/02aa804e-….jpg or .dcm
    files/p10/p10000032/s50414267.txt            (reports; as well below mimic-cxr-reports/, as that archive unpacks)

Without the tables of MIMIC-CXR-JPG the view comes from the DICOM, and there are neither labels nor a split.
Written from the publisher's documentation (versions 2.0.0 and 2.1.0 have the same names); no real table was at hand.
"""

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from synthcxr.config import PrepareConfig
from synthcxr.data.records import Record, Source, told
from synthcxr.data.sources.chexpert import LABELS
from synthcxr.data.sources.files import DICOM_SUFFIXES, Files, list_files, read_any, reject_the_rest
from synthcxr.data.sources.tables import (
    EMPTY,
    Cells,
    collect,
    find_tables,
    licence_of,
    read_labels,
    read_table,
    read_view,
    root_of,
    write_doubts,
)
from synthcxr.errors import UsageError
from synthcxr.images import SUFFIXES
from synthcxr.prompts import Subject

LICENCE = (
    "MIMIC-CXR, PhysioNet Credentialed Health Data License 1.5.0 and Data Use Agreement: for the credentialed person "
    "alone, who must not share access to the data with anyone (https://physionet.org/content/mimic-cxr/)."
)
T = TypeVar("T")
SPLITS = {"train": "train", "validate": "validation", "test": "test"}
NEEDED = ("dicom_id", "subject_id", "study_id")
VIEW = "ViewPosition"
CODED_VIEW = "ViewCodeSequence_CodeMeaning"
CODED_VIEWS = {"antero-posterior": "AP", "postero-anterior": "PA", "lateral": "LATERAL", "left lateral": "LL"}
IDS = {
    "dicom_id": re.compile(r"[0-9A-Za-z._-]{1,64}"),
    "subject_id": re.compile(r"\d{3,10}", re.ASCII),
    "study_id": re.compile(r"\d{3,10}", re.ASCII),
}


def recognise(path: Path) -> str:
    """A folder with a table of the publisher's."""
    found = find_tables(path if path.is_dir() else path.parent, *_patterns("metadata"), "cxr-record-list.csv*")
    return f"{found[0].name} lies there" if found else ""


def _patterns(table: str) -> tuple[str, str]:
    return f"mimic-cxr-2*-{table}.csv", f"mimic-cxr-2*-{table}.csv.gz"


def read(config: PrepareConfig) -> Source:
    """The rows of the metadata, or of the record list. Reports are named, and read one by one when they are needed."""
    root = root_of(config)
    tables = find_tables(root, *_patterns("metadata")) or find_tables(root, "cxr-record-list.csv*")
    if not tables:
        raise UsageError(
            f"There is neither mimic-cxr-2.0.0-metadata.csv.gz nor cxr-record-list.csv.gz in {root}. "
            "Give the folder that holds them and files/."
        )
    source = Source(root, licence=licence_of(config, LICENCE), restricted=True, public_ids=True, read=read_any)
    files, reports = (list_files(root, suffixes) for suffixes in (SUFFIXES + DICOM_SUFFIXES, (".txt",)))
    doubts: Counter[str] = Counter()
    labels = _read_labels(root, source, doubts)
    splits = _read_splits(root, source)

    def locate(cells: Cells) -> str:
        check_ids(cells)
        return _find(files, cells)

    def read_row(name: str, cells: Cells) -> Record:
        subject = Subject(view=_read_view(cells, config), findings=labels.get(cells["study_id"], ()))
        report = find_report(reports, cells["subject_id"], cells["study_id"])
        doubts["the report is not there"] += not report
        split = splits.get(cells["dicom_id"])
        return Record(name, cells["subject_id"], cells["study_id"], subject, report_file=report, split=split)

    collect(source, config, read_table(tables[0], NEEDED, (VIEW, CODED_VIEW)), locate, read_row, "dicom_id")
    reject_the_rest(source, files)
    write_doubts(source, doubts)
    return source


def check_ids(cells: Cells) -> None:
    """Raise ValueError where an id is none, so that no path is made of it."""
    for name, pattern in IDS.items():
        if name in cells and not pattern.fullmatch(cells[name]):
            raise ValueError(f"{name} is {told(repr(cells[name]))}, which is no id of MIMIC-CXR")


def _find(files: Files, cells: Cells) -> str:
    """The image of a row: a JPEG before its DICOM."""
    folder = f"files/p{cells['subject_id'][:2]}/p{cells['subject_id']}/s{cells['study_id']}/{cells['dicom_id']}"
    names = (folder + suffix for suffix in (".jpg", ".png", ".dcm"))
    return next((name for name in names if name in files.names), None) or files.find(folder + ".jpg")


def find_report(reports: Files, subject: str, study: str) -> str:
    """The path of a study's report; empty where there is none."""
    path = f"files/p{subject[:2]}/p{subject}/s{study}.txt"
    return next((name for name in (path, f"mimic-cxr-reports/{path}") if name in reports.names), "")


def _read_view(cells: Cells, config: PrepareConfig) -> str | None:
    view = cells.get(VIEW, "")
    if view.lower() in EMPTY:
        coded = cells.get(CODED_VIEW, "")
        view = CODED_VIEWS.get(coded.lower(), coded)
    return read_view(view, config)


def _read_labels(root: Path, source: Source, doubts: Counter[str]) -> dict[str, tuple[str, ...]]:
    """The findings of each study by CheXpert's labeller, or where its table is missing by NegBio's."""
    tables = find_tables(root, *_patterns("chexpert")) or find_tables(root, *_patterns("negbio"))
    if not tables:
        source.notes.append("There is no table of labels: findings are not known.")
        return {}
    known: dict[tuple[str, ...], tuple[str, ...]] = {}

    def read_row(cells: Cells) -> tuple[str, ...]:
        findings = read_labels(cells, LABELS, doubts)
        return known.setdefault(findings, findings)  # 227,827 studies share some thousand combinations

    source.notes.append(f"Findings are the positive labels of {tables[0].name}.")
    return _by_id(source, tables[0], ("subject_id", "study_id"), LABELS, "study_id", read_row)


def _read_splits(root: Path, source: Source) -> dict[str, str]:
    """The publisher's split of each image."""
    if not (tables := find_tables(root, *_patterns("split"))):
        source.notes.append("There is no table of the publisher's split.")
        return {}

    def read_row(cells: Cells) -> str:
        if cells["split"] not in SPLITS:
            raise ValueError(f"split is {told(repr(cells['split']))}, not train, validate or test")
        return SPLITS[cells["split"]]

    return _by_id(source, tables[0], ("dicom_id", "split"), (), "dicom_id", read_row)


def _by_id(
    source: Source,
    table: Path,
    needed: tuple[str, ...],
    optional: tuple[str, ...],
    key: str,
    read_row: Callable[[Cells], T],
) -> dict[str, T]:
    """What the rows of a second table say, by an id; rows that cannot be used are rejected."""
    found: dict[str, T] = {}
    for row in read_table(table, needed, optional):
        try:
            if row.problem:
                raise ValueError(row.problem)
            check_ids(row.cells)
            if row.cells[key] in found:
                raise ValueError(f"a second row for the same {key}")
            found[row.cells[key]] = read_row(row.cells)
        except ValueError as error:
            source.reject(row.where, str(error))
    return found
