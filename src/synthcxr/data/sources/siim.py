"""SIIM-ACR Pneumothorax Segmentation (Kaggle 2019): 12,047 training DICOMs, with the outline of a pneumothorax or none.

    train-rle.csv                                               (stage_2_train.csv too)
    dicom-images-train/STUDY-UID/SERIES-UID/IMAGE-UID.dcm       (or .png of the same name, in any folder)
    dicom-images-test/…                                         (without labels: rejected)

Read against the real train-rle.csv. Patient, age, sex and view come from the DICOM. The images are of NIH ChestX-ray14:
do not put one collection into training and the other into the test.
"""

import re
from collections import Counter
from pathlib import Path

from synthcxr.config import PrepareConfig
from synthcxr.data.records import Record, Source
from synthcxr.data.sources.files import DICOM_SUFFIXES, list_files, read_published, reject_the_rest
from synthcxr.data.sources.tables import (
    Cells,
    TableRow,
    collect,
    find_tables,
    licence_of,
    read_table,
    root_of,
    write_doubts,
)
from synthcxr.errors import UsageError
from synthcxr.images import SUFFIXES
from synthcxr.prompts import Subject

LICENCE = (
    "SIIM-ACR Pneumothorax Segmentation: the rules of the Kaggle competition; the data must not be passed on "
    "(https://www.kaggle.com/c/siim-acr-pneumothorax-segmentation). The images are of NIH ChestX-ray14."
)
TABLES = ("train-rle.csv", "train-rle.csv.gz", "*train-rle*.csv", "*train-rle*.csv.gz", "stage_2_train.csv")
NEEDED = ("ImageId", "EncodedPixels")
NO_MASK = "-1"


def recognise(path: Path) -> str:
    """A folder with the publisher's table, or the table."""
    found = find_tables(path if path.is_dir() else path.parent, *TABLES)
    return f"{found[0].name} lies there" if found and (path.is_dir() or path in found) else ""


def read(config: PrepareConfig) -> Source:
    """The images of the table. Without a pneumothorax an image may show anything else: it has no finding stated."""
    root = root_of(config)
    if not (tables := find_tables(root, *TABLES)):
        raise UsageError(f"There is no train-rle.csv in {root}. Give the folder that holds it.")
    source = Source(root, licence=licence_of(config, LICENCE), restricted=True, public_ids=True, read=read_published)
    files = list_files(root, SUFFIXES + DICOM_SUFFIXES)
    masks: dict[str, bool] = {}
    doubts: Counter[str] = Counter()
    for row in read_table(tables[0], NEEDED):
        problem = row.problem or _problem(row.cells)
        if problem:
            source.reject(row.where, problem)
            continue
        image, mask = row.cells["ImageId"], row.cells["EncodedPixels"] != NO_MASK
        if masks.setdefault(image, mask) != mask:
            source.reject(row.where, "another row of the same image says the opposite")
            masks[image] = True

    def read_row(name: str, cells: Cells) -> Record:
        present = masks[cells["ImageId"]]
        doubts["no pneumothorax is marked; other findings are not known"] += not present
        return Record(name, subject=Subject(findings=("Pneumothorax",) if present else ()))

    rows = (TableRow(tables[0].name, {"ImageId": image}) for image in masks)
    collect(source, config, rows, lambda cells: files.find_by_stem(cells["ImageId"]), read_row, "ImageId")
    reject_the_rest(source, files)
    write_doubts(source, doubts)
    return source


def _problem(cells: Cells) -> str:
    """Why a row is none of the table's; empty where it is. A mask is pairs of a start and a length."""
    if not re.fullmatch(r"[\w.-]{1,64}", cells["ImageId"], re.ASCII):
        return "ImageId is no id of an image"
    if not re.fullmatch(r"-1|\d+ \d+( \d+ \d+)*", cells["EncodedPixels"], re.ASCII):
        return "EncodedPixels is neither -1 nor pairs of numbers"
    return ""
