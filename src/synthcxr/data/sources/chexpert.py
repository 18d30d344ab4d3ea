"""CheXpert (Irvin et al., AAAI 2019) and CheXpert Plus (Chambon et al., 2024): Stanford, 224,316 images.

CheXpert, full size or -small:                    CheXpert Plus:
    train.csv, valid.csv (and test.csv)               df_chexpert_plus_240401.csv
    train/patient00001/study1/view1_frontal.jpg       PNG/train/patient00001/study1/view1_frontal.png
    valid/…                                           (the folder may have any name above train/ and valid/)
    "CheXpert-v1.0 batch 2 (train 1)"/patient00001/…  (the full size as downloaded: instead of train/ and valid/)

Read against the real train.csv of CheXpert-v1.0-small; CheXpert Plus as its paper and its users' code describe it.
"""

import re
from collections import Counter
from pathlib import Path

from synthcxr.config import PrepareConfig
from synthcxr.data.records import Record, RejectedImageError, Source
from synthcxr.data.sources.files import DICOM_SUFFIXES, Files, clean_path, list_files, read_any, reject_the_rest
from synthcxr.data.sources.tables import (
    Cells,
    collect,
    doubtful_age,
    find_tables,
    licence_of,
    read_labels,
    read_sex,
    read_table,
    read_view,
    root_of,
    takes_any_view,
    write_doubts,
)
from synthcxr.errors import UsageError
from synthcxr.images import SUFFIXES
from synthcxr.prompts import NO_FINDING, Subject

LICENCE = (
    "CheXpert, Stanford University Dataset Research Use Agreement: non-commercial research only; copies must not be "
    "distributed or published (https://stanfordaimi.azurewebsites.net)."
)
LABELS = (
    *(NO_FINDING, "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema"),
    *("Consolidation", "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion", "Pleural Other"),
    *("Fracture", "Support Devices"),
)
SPLITS = {"train": "train", "valid": "validation", "test": "test"}
TABLES = tuple(f"{name}.csv{end}" for name in SPLITS for end in ("", ".gz"))
PLUS_TABLES = ("df_chexpert_plus_*.csv", "df_chexpert_plus_*.csv.gz")
NEEDED = ("Path", "Sex", "Age", "Frontal/Lateral", "AP/PA")
PLUS_NEEDED = ("path_to_image", "frontal_lateral", "ap_pa", "deid_patient_id")
PLUS_OPTIONAL = ("age", "sex", "split", "section_findings", "section_impression", "path_to_dcm")
PLACE = re.compile(r"(?:(train|valid|test)/)?(patient[^/]+)/(study[^/]+)/([^/]+)$")


def recognise(path: Path) -> str:
    """A folder with the publisher's tables."""
    if find_tables(root := path if path.is_dir() else path.parent, *PLUS_TABLES):
        return "df_chexpert_plus lies there"
    tables = find_tables(root, *TABLES)
    return f"{tables[0].name} has CheXpert's columns" if tables and _is_chexpert(tables[0]) else ""


def _is_chexpert(table: Path) -> bool:
    try:
        next(read_table(table, NEEDED), None)
    except UsageError:
        return False
    return True


def read(config: PrepareConfig) -> Source:
    """The rows of all tables; frontal views only, positive labels only."""
    root = root_of(config)
    source = Source(root, licence=licence_of(config, LICENCE), restricted=True, public_ids=True, read=read_any)
    files = list_files(root, SUFFIXES + DICOM_SUFFIXES)
    doubts: Counter[str] = Counter()
    if tables := find_tables(root, *PLUS_TABLES):
        _read_plus(source, config, tables[0], files, doubts)
    elif tables := find_tables(root, *TABLES):
        for table in tables:
            _read_first(source, config, table, files, doubts)
    else:
        raise UsageError(f"There is neither train.csv nor valid.csv in {root}. Give the folder that holds them.")
    reject_the_rest(source, files)
    write_doubts(source, doubts)
    return source


def _read_first(source: Source, config: PrepareConfig, table: Path, files: Files, doubts: Counter[str]) -> None:
    places = Places(files)

    def read_row(name: str, cells: Cells) -> Record:
        split, patient, study = _ids(cells["Path"])
        subject = Subject(
            age=_read_age(cells["Age"], doubts),
            sex=read_sex(cells["Sex"]),
            view=_read_view(cells["Frontal/Lateral"], cells["AP/PA"], config),
            findings=read_labels(cells, LABELS, doubts),
        )
        return Record(name, patient, study, subject, split=SPLITS.get(split or table.name.split(".")[0]))

    collect(
        source, config, read_table(table, NEEDED, LABELS), lambda cells: places.find(cells["Path"]), read_row, "Path"
    )


def _read_plus(source: Source, config: PrepareConfig, table: Path, files: Files, doubts: Counter[str]) -> None:
    places = Places(files)
    source.notes.append("CheXpert Plus: prompts come from its reports; its labels lie in files that are not read.")

    def read_row(name: str, cells: Cells) -> Record:
        split, _, study = _ids(cells["path_to_image"])
        subject = Subject(
            age=_read_age(cells.get("age", ""), doubts),
            sex=read_sex(cells.get("sex", "")),
            view=_read_view(cells["frontal_lateral"], cells["ap_pa"], config),
        )
        sections = {"FINDINGS": cells.get("section_findings", ""), "IMPRESSION": cells.get("section_impression", "")}
        report = "\n".join(f"{name}: {text}" for name, text in sections.items() if text and text.lower() != "nan")
        where = SPLITS.get(split or cells.get("split", ""))
        return Record(name, cells["deid_patient_id"], study, subject, report=report, split=where)

    rows = read_table(table, PLUS_NEEDED, PLUS_OPTIONAL, prose=("section_findings", "section_impression"))
    collect(source, config, rows, lambda cells: places.find(cells["path_to_image"]), read_row, "path_to_image")


class Places:
    """Where the images lie: tables write paths below a folder that has another name here, or none."""

    def __init__(self, files: Files) -> None:
        self.files = files
        self.by_place: dict[tuple[str, ...], str] = {}
        for name in sorted(files.names, key=lambda name: name.lower().endswith(DICOM_SUFFIXES)):
            if match := PLACE.search(name):
                self.by_place.setdefault(_key(match), name)  # a PNG before its DICOM

    def find(self, written: str) -> str:
        """The image at a path of a table. Raises RejectedImageError."""
        match = PLACE.search(clean_path(written))
        if match is None:
            raise RejectedImageError("path", "the path is not …/patient…/study…/view…")
        if found := self.by_place.get(_key(match)):
            return found
        return self.files.find(written)


def _key(match: re.Match[str]) -> tuple[str, ...]:
    """Patient, study and view; the view without its suffix, as CheXpert Plus writes .jpg and holds .png."""
    return match[2], match[3], match[4].rsplit(".", 1)[0]


def _ids(written: str) -> tuple[str, str, str]:
    """The split (or an empty string), the patient and the study of a path, which `Places.find` has let pass."""
    match = PLACE.search(clean_path(written))
    assert match is not None
    return match[1] or "", match[2], f"{match[2]}/{match[3]}"


def _read_age(written: str, doubts: Counter[str]) -> int | None:
    """Age in years; 0 stands in the table of adults for an age that is not known."""
    age = doubtful_age(written, doubts)
    doubts["the age is 0, among adults, and counts as unknown"] += age == 0
    return age or None


def _read_view(side: str, view: str, config: PrepareConfig) -> str | None:
    if side.lower() == "lateral" and not takes_any_view(config):
        raise RejectedImageError("not-frontal", "the view is lateral")
    return read_view(view, config)
