"""OpenI, the Indiana University chest X-rays (Demner-Fushman et al., JAMIA 2016): 7,470 images, 3,955 reports.

As the publisher gives it:                                   As it lies on Kaggle:
    ecgen-radiology/1.xml … 3999.xml                             indiana_reports.csv, indiana_projections.csv
    NLMCXR_png/CXR1_1_IM-0001-3001.png                           images/images_normalized/1_IM-0001-4001.dcm.png
    (or NLMCXR_dcm/1/1_IM-0001-3001.dcm)
    nlmcxr_dicom_metadata.csv.gz     (optional: the views and ages of the PNGs, from the headers of the DICOMs)

Read against all 3,955 real reports and the real table of headers; the Kaggle form as its users' code describes it.
"""

import re
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from synthcxr.config import PrepareConfig
from synthcxr.data.records import Record, RejectedImageError, Source, told
from synthcxr.data.sources.files import DICOM_SUFFIXES, Files, list_files, read_any, reject_the_rest
from synthcxr.data.sources.tables import (
    EMPTY,
    Cells,
    TableRow,
    collect,
    doubtful_age,
    find_tables,
    licence_of,
    read_table,
    read_view,
    root_of,
    tidy_findings,
    write_doubts,
)
from synthcxr.errors import UsageError
from synthcxr.images import SUFFIXES
from synthcxr.prompts import Subject

LICENCE = (
    "OpenI, Indiana University chest X-ray collection: CC BY-NC-ND 4.0; credit it, no commercial use, no changed copy "
    "may be passed on (https://openi.nlm.nih.gov)."
)
MAXIMUM_BYTES = 1_000_000
"""The largest report has 8,967 bytes."""
PROJECTIONS = ("indiana_projections.csv", "indiana_reports.csv")
HEADERS = ("nlmcxr_dicom_metadata.csv", "nlmcxr_dicom_metadata.csv.gz")
HEADERS_NEEDED = ("imageid", "View Position", "Patient Orientation", "Patient's Birth Date", "Study Date")
LATERALS = ("LL", "RL", "LATERAL", "LARGE LATERAL")
NOT_INDEXED = ("no indexing", "technical quality of image unsatisfactory")
"""What the publisher's indexing says of the study, not of the chest."""
PLACES = {
    *("lung", "pleura", "thorax", "trachea", "trachea, carina", "diaphragm", "costophrenic angle", "sulcus"),
    *("heart", "heart atria", "heart ventricles", "cardiac shadow", "mediastinum", "epicardial fat", "lymph nodes"),
    *("aorta", "aorta, thoracic", "pulmonary artery", "blood vessels", "adipose tissue", "abdomen"),
    *("spine", "thoracic vertebrae", "lumbar vertebrae", "cervical vertebrae"),
    *("bone and bones", "ribs", "shoulder", "humerus"),
}
"""Headings that name a place, and a finding only with a word of `QUALITIES`: ``Aorta/tortuous``."""
QUALITIES = {
    *("degenerative", "hypoinflation", "hyperdistention", "tortuous", "enlarged", "elevated", "prominent", "blunted"),
    *("flattened", "obscured", "abnormal", "irregular"),
}


@dataclass(frozen=True)
class Report:
    """What one XML says: its id, the ids of its images, its text by sections, the findings of its MeSH terms."""

    study: str
    images: tuple[str, ...]
    text: str
    findings: tuple[str, ...]


def recognise(path: Path) -> str:
    """A folder with ecgen-radiology, or with the tables of the Kaggle form."""
    if (path / PROJECTIONS[0]).is_file():
        return f"{PROJECTIONS[0]} lies there"
    return "ecgen-radiology lies there" if (path / "ecgen-radiology").is_dir() or path.name == "ecgen-radiology" else ""


def read(config: PrepareConfig) -> Source:
    """The images that the reports name. A study is a patient: the collection has one a patient."""
    root = root_of(config)
    source = Source(root, licence=licence_of(config, LICENCE), restricted=True, public_ids=True, read=read_any)
    files = list_files(root, SUFFIXES + DICOM_SUFFIXES)
    doubts: Counter[str] = Counter()
    if (root / PROJECTIONS[0]).is_file():
        _read_kaggle(source, config, files)
    elif reports := list_files(root, (".xml",)).names:
        _read_xml(source, config, files, reports, doubts)
    else:
        raise UsageError(f"There is neither a report (*.xml) nor {PROJECTIONS[0]} in {root}.")
    reject_the_rest(source, files)
    write_doubts(source, doubts)
    return source


# --- as the publisher gives it ----------------------------------------------------------------------------


def _read_xml(
    source: Source, config: PrepareConfig, files: Files, names: dict[str, None], doubts: Counter[str]
) -> None:
    reports: dict[str, Report] = {}
    headers = _read_headers(source, files.root)

    def rows() -> Iterator[TableRow]:
        for name in names:
            try:
                report = read_report((files.root / name).read_bytes()[: MAXIMUM_BYTES + 1])
            except (ValueError, OSError) as error:
                source.reject(name, str(error), "report")
                continue
            if report.study in reports:
                source.reject(name, "a second report of the same id", "report")
            elif not report.images:
                source.reject(name, "the report names no image", "report")
            else:
                reports[report.study] = report
                yield from (TableRow(name, {"image": image, "study": report.study}) for image in report.images)

    def read_row(name: str, cells: Cells) -> Record:
        report = reports[cells["study"]]
        known = (headers[name] for name in _spellings(cells["image"]) if name in headers)
        view, age = next(known, ("", ""))
        subject = Subject(
            age=doubtful_age(age, doubts),
            view=None if view == "frontal" else read_view(view, config),
            findings=report.findings,
        )
        doubts["no header tells the view"] += not view
        return Record(name, report.study, report.study, subject, report=report.text)

    collect(source, config, rows(), lambda cells: _find(files, cells["image"]), read_row, "image")


def _find(files: Files, image: str) -> str:
    """The PNG of an image's id, or its DICOM."""
    error: RejectedImageError | None = None
    for stem in _spellings(image):
        try:
            return files.find_by_stem(stem)
        except RejectedImageError as problem:
            error = error or problem
    raise error or RejectedImageError("missing", "it does not exist")


def _spellings(image: str) -> list[str]:
    """What an image is called: reports say CXR1_1_IM-… where headers say CXR1_IM-…; DICOMs have no ``CXR``."""
    short = re.sub(r"^(CXR\d+)_\d+_(?=IM)", r"\1_", image)
    return list(dict.fromkeys((image, short, image.removeprefix("CXR"), short.removeprefix("CXR"))))


class _NoDeclarations(ET.TreeBuilder):
    """A report has no DOCTYPE; who writes one wants entities, which swell or read other files."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise ValueError("it has a DOCTYPE, which no report has")


def read_report(data: bytes) -> Report:
    """Parse one report. Raises ValueError where it is none, too large, or has a DOCTYPE."""
    if len(data) > MAXIMUM_BYTES:
        raise ValueError(f"it has more than {MAXIMUM_BYTES:,} bytes")
    try:
        root = ET.fromstring(data, parser=ET.XMLParser(target=_NoDeclarations()))
    except (ET.ParseError, LookupError) as error:
        raise ValueError(f"it is not well-formed XML: {told(error)}") from None
    identity = root.find("uId")
    study = (identity.get("id") or "").strip() if identity is not None else ""
    if not re.fullmatch(r"[\w.-]{1,64}", study):
        raise ValueError("it has no id")
    sections = ((part.get("Label") or "", (part.text or "").strip()) for part in root.iter("AbstractText"))
    return Report(
        study,
        tuple(dict.fromkeys(image.get("id") or "" for image in root.iter("parentImage"))),
        "\n".join(f"{label}: {text}" for label, text in sections if text),
        read_terms(term.text or "" for term in root.iterfind("MeSH/major")),
    )


def read_terms(terms: Iterable[str]) -> tuple[str, ...]:
    """Findings by the publisher's terms, such as ``Opacity/lung/left``: the heading, of a place with its quality."""
    names = []
    for term in terms:
        heading, *others = (part.strip() for part in term.split("/"))
        quality = next((word for word in others if word.lower() in QUALITIES), "")
        if heading.lower() in PLACES:
            names += [f"{heading} {quality}"] if quality else []
        elif heading.lower() not in NOT_INDEXED:
            names.append(heading)
    return tidy_findings(names)


def _read_headers(source: Source, root: Path) -> dict[str, tuple[str, str]]:
    """View (``frontal`` where only that is known, ``lateral``) and age of each image, by the table of headers."""
    headers: dict[str, tuple[str, str]] = {}
    tables = find_tables(root, *HEADERS)
    if not tables:
        source.notes.append(f"{HEADERS[1]} is not there: PNGs have no view and no age.")
    for row in read_table(tables[0], HEADERS_NEEDED) if tables else ():
        if row.problem:
            source.reject(row.where, row.problem)
            continue
        cells = row.cells
        view = cells["View Position"].upper()
        view = "lateral" if view in LATERALS else view or _view_by_orientation(cells["Patient Orientation"])
        headers[cells["imageid"]] = (view, _age(cells["Patient's Birth Date"], cells["Study Date"]))
    return headers


def _view_by_orientation(written: str) -> str:
    """From the directions of rows and columns (PS3.3 section C.7.6.1.1.1), written as ``['L', 'F']``."""
    directions = re.findall(r"[A-Z]+", written)
    if len(directions) != 2 or directions[1] != "F":
        return ""
    return {"L": "frontal", "R": "frontal", "A": "lateral", "P": "lateral"}.get(directions[0], "")


def _age(birth: str, study: str) -> str:
    """Whole years between two dates as YYYYMMDD."""
    if not all(re.fullmatch(r"\d{8}", date, re.ASCII) for date in (birth, study)):
        return ""
    return str(int(study[:4]) - int(birth[:4]) - (study[4:] < birth[4:]))


# --- as it lies on Kaggle ---------------------------------------------------------------------------------


def _read_kaggle(source: Source, config: PrepareConfig, files: Files) -> None:
    reports: dict[str, Cells] = {}
    sections = ("comparison", "indication", "findings", "impression")
    for row in read_table(
        files.root / PROJECTIONS[1], ("uid", "MeSH", "findings", "impression"), sections[:2], prose=sections
    ):
        if row.problem or row.cells["uid"] in reports:
            source.reject(row.where, row.problem or "a second report of the same uid", "report")
        else:
            reports[row.cells["uid"]] = row.cells

    def read_row(name: str, cells: Cells) -> Record:
        if cells["uid"] not in reports:
            raise ValueError(f"{PROJECTIONS[1]} has no report of this uid")
        report = reports[cells["uid"]]
        view = "" if cells["projection"].lower() == "frontal" else cells["projection"].lower()
        terms = report["MeSH"] if report["MeSH"].lower() not in EMPTY else ""
        subject = Subject(view=read_view(view, config), findings=read_terms(terms.split(";")))
        text = "\n".join(
            f"{part.upper()}: {report[part]}" for part in sections if report.get(part, "").lower() not in EMPTY
        )
        return Record(name, f"CXR{cells['uid']}", f"CXR{cells['uid']}", subject, report=text)

    rows = read_table(files.root / PROJECTIONS[0], ("uid", "filename", "projection"))
    collect(source, config, rows, lambda cells: files.find_by_name(cells["filename"]), read_row, "filename")
