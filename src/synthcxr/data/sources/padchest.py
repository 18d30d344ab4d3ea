"""PadChest (Bustos et al., Medical Image Analysis 2020): 160,861 16-bit PNGs of 67,625 patients, Spanish reports.

    PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv      (.csv.gz too)
    0/216840111366964012558082906712009327122220177_00-102-064.png … 54/…   (or all in one folder)

Read against the real table. Its reports are stemmed words without accents, as the publisher gives them. A label is by
physicians in a quarter of the rows, by a network trained on those in the others.
"""

import ast
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np

from synthcxr.config import PrepareConfig
from synthcxr.data.records import Picture, Record, RejectedImageError, Source, read_picture
from synthcxr.data.sources.files import list_files, reject_the_rest
from synthcxr.data.sources.tables import (
    EMPTY,
    Cells,
    collect,
    find_tables,
    licence_of,
    read_sex,
    read_table,
    read_view,
    root_of,
    tidy_findings,
    write_doubts,
)
from synthcxr.errors import UsageError
from synthcxr.images import FORMATS
from synthcxr.prompts import Subject

LICENCE = (
    "PadChest Dataset Research Use Agreement (BIMCV): non-commercial research only; copies must not be passed on "
    "(https://bimcv.cipf.es/bimcv-projects/padchest/)."
)
TABLES = ("PADCHEST_chest_x_ray_images_labels*.csv", "PADCHEST_chest_x_ray_images_labels*.csv.gz")
NEEDED = (
    "ImageID",
    "PatientID",
    "StudyID",
    "PatientBirth",
    "StudyDate_DICOM",
    "PatientSex_DICOM",
    "Projection",
    "Labels",
)
VIEWS = {"AP_HORIZONTAL": "AP", "L": "lateral", "COSTAL": "costal", "UNK": ""}
"""The publisher's projections other than PA and AP; AP_horizontal is AP of a patient who lies."""
EXCLUDED = "exclude"
NO_FINDINGS = ("unchanged", "suboptimal study")
"""Labels that say something of the study, not of the chest."""
LONGEST_LIST = 10_000


def recognise(path: Path) -> str:
    """A folder with the publisher's table, or the table."""
    found = find_tables(path if path.is_dir() else path.parent, *TABLES)
    return f"{found[0].name} lies there" if found and (path.is_dir() or path in found) else ""


def read(config: PrepareConfig) -> Source:
    """The rows of the table; frontal projections only, nothing that the publisher excludes."""
    root = root_of(config)
    if not (tables := find_tables(root, *TABLES)):
        raise UsageError(f"There is no {TABLES[0]} in {root}. Give the folder that holds it.")
    source = Source(root, licence=licence_of(config, LICENCE), restricted=True, public_ids=True, read=read_padchest)
    source.notes.append("Ages are the year of the study less the year of birth: up to a year too high.")
    files = list_files(root)
    doubts: Counter[str] = Counter()

    def read_row(name: str, cells: Cells) -> Record:
        if not cells["PatientID"]:
            raise ValueError("PatientID is empty")
        view = VIEWS.get(cells["Projection"].upper(), cells["Projection"])
        if view.upper() == "EXCLUDE":
            raise RejectedImageError("excluded", "the publisher marks it to be excluded")
        subject = Subject(
            age=_age(cells["PatientBirth"], cells["StudyDate_DICOM"], doubts),
            sex=read_sex(cells["PatientSex_DICOM"]),
            view=read_view(view, config),
            findings=read_list(cells["Labels"], doubts),
        )
        report = cells.get("Report", "")
        report = "" if report.lower() in EMPTY else report
        return Record(name, cells["PatientID"], cells["StudyID"], subject, report=report, language="es")

    rows = read_table(tables[0], NEEDED, ("Report",), prose=("Report",))
    collect(source, config, rows, lambda cells: files.find_by_name(cells["ImageID"]), read_row, "ImageID")
    reject_the_rest(source, files)
    write_doubts(source, doubts)
    return source


def _age(birth: str, study: str, doubts: Counter[str]) -> int | None:
    """Years from a year of birth (``1930.0``) to a date of study (``20140915``)."""
    if birth.lower() in EMPTY or study.lower() in EMPTY:
        return None
    born, year = birth.split(".", 1)[0], study[:4]
    age = (
        int(year) - int(born)
        if all(len(part) == 4 and part.isascii() and part.isdigit() for part in (born, year))
        else -1
    )
    if 0 <= age <= 120:
        return age
    doubts["the age makes no sense and counts as unknown"] += 1
    return None


def read_list(written: str, doubts: Counter[str]) -> tuple[str, ...]:
    """Findings from a Python list as text. Raises RejectedImageError where the publisher excludes the image."""
    if written.lower() in EMPTY:
        doubts["there are no labels"] += 1
        return ()
    try:
        value = ast.literal_eval(written) if len(written) <= LONGEST_LIST else None
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        value = None
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise ValueError("Labels is not a list of names")
    names = [name.strip() for name in value]
    if EXCLUDED in names:
        raise RejectedImageError("excluded", "the publisher marks it to be excluded")
    return tidy_findings(name for name in names if name not in NO_FINDINGS)


def read_padchest(root: Path, record: Record, config: PrepareConfig) -> Picture:
    """Open a PNG of 16 bits whose pixels may fill the range of 16 bits, or only that of the 10 or 12 bits of the DICOM.

    The range is the smallest of 8 to 16 bits that holds the brightest pixel.
    """
    from PIL import Image

    picture = read_picture(root, record, config)
    if picture.image.max() >= 128:  # it fills the range of 16 bits, or of 8
        return picture
    with Image.open(root / record.name, formats=FORMATS) as image:
        if not image.mode.startswith("I"):
            return picture
        values = np.asarray(image).astype(np.float64)
    bits = max(8, int(values.max()).bit_length())
    grey = np.clip(np.rint(values / (2**bits - 1) * 255), 0, 255).astype(np.uint8)
    return replace(picture, image=grey, notes=(*picture.notes, f"grey levels of {bits} bits in a PNG of 16"))
