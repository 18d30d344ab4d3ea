"""VinDr-CXR (Nguyen et al., Scientific Data 2022): 18,000 PA images; VinBigData, its training part on Kaggle.

VinDr-CXR 1.0.0:                                       VinBigData Chest X-ray Abnormalities Detection:
    annotations/image_labels_train.csv, …_test.csv         train.csv (a row a box)
    train/0005e8e3701dfb1dd93d53e2ff537b6e.dicom           train/….dicom (or .png and .jpg of the same name)
    test/….dicom                                           test/….dicom (without labels: rejected)

Three radiologists read each training image, five agreed on each test image. Patients are not told: every image counts
as its own. Read against the real train.csv of VinBigData; VinDr-CXR as its users' code and documentation describe it.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from synthcxr.config import PrepareConfig
from synthcxr.data.records import Record, Source, told
from synthcxr.data.sources.files import DICOM_SUFFIXES, list_files, read_any, reject_the_rest
from synthcxr.data.sources.tables import (
    Cells,
    TableRow,
    collect,
    find_tables,
    licence_of,
    read_columns,
    read_table,
    root_of,
    write_doubts,
)
from synthcxr.data.sources.votes import Votes
from synthcxr.errors import UsageError
from synthcxr.images import SUFFIXES
from synthcxr.prompts import Subject

LICENCE = (
    "VinDr-CXR, PhysioNet Credentialed Health Data License 1.5.0 and Data Use Agreement: for the credentialed person "
    "alone, who must not share access to the data with anyone (https://physionet.org/content/vindr-cxr/)."
)
KAGGLE_LICENCE = (
    "VinBigData Chest X-ray Abnormalities Detection: the rules of the Kaggle competition; non-commercial use, and the "
    "data must not be passed on (https://www.kaggle.com/c/vinbigdata-chest-xray-abnormalities-detection)."
)
LABELS = "image_labels_*.csv"
PUBLISHED = ("image_labels_train.csv", "image_labels_test.csv")
BOXES = ("image_id", "class_name", "rad_id", "x_min", "y_min", "x_max", "y_max")
ALL_READERS = "consensus"
NAMES = {"Other disease": "Other diseases"}
"""The test table's names of findings where they differ from the training table's."""
IMAGE_ID = re.compile(r"[0-9A-Za-z_-]{1,64}")


def recognise(path: Path) -> str:
    """A folder with the tables of labels, or with the boxes of VinBigData."""
    root = path if path.is_dir() else path.parent
    if found := _label_tables(root):
        return f"{found[0].name if found[0].name in PUBLISHED else LABELS} lies there"
    return "train.csv has VinBigData's columns" if _has_boxes(root) else ""


def _label_tables(root: Path) -> list[Path]:
    return find_tables(root / "annotations", LABELS) or find_tables(root, LABELS)


def _has_boxes(root: Path) -> bool:
    try:
        return bool(tables := find_tables(root, "train.csv", "train.csv.gz")) and bool(
            next(read_table(tables[0], BOXES), None)
        )
    except UsageError:
        return False


def read(config: PrepareConfig) -> Source:
    """The images that the tables have labels of; a finding needs more than half of an image's radiologists."""
    root = root_of(config)
    tables = _label_tables(root)
    if not tables and not _has_boxes(root):
        raise UsageError(f"There is neither annotations/image_labels_train.csv nor VinBigData's train.csv in {root}.")
    licence = licence_of(config, LICENCE if tables else KAGGLE_LICENCE)
    source = Source(root, licence=licence, restricted=True, public_ids=True, read=read_any)
    source.notes.append("The publisher does not tell patients: every image counts as its own patient.")
    files = list_files(root, SUFFIXES + DICOM_SUFFIXES)
    doubts: Counter[str] = Counter()
    votes = Votes()
    for table in tables or find_tables(root, "train.csv", "train.csv.gz"):
        _count(source, votes, table, _label_rows(table) if tables else read_table(table, BOXES))

    def read_row(name: str, cells: Cells) -> Record:
        subject = Subject(view="PA", findings=votes.findings(cells["image_id"], doubts))
        split = next((part for part in ("train", "test") if part in Path(name).parts[:-1]), None)
        return Record(name, cells["image_id"], cells["image_id"], subject, split=split if tables else None)

    images = (TableRow("labels", {"image_id": image}) for image in votes.readers)
    collect(source, config, images, lambda cells: files.find_by_stem(cells["image_id"]), read_row, "image_id")
    reject_the_rest(source, files)
    write_doubts(source, doubts)
    return source


def _label_rows(table: Path) -> Iterator[TableRow]:
    """The rows of a table with a column a finding, 0 or 1, as rows with one `class_name` of all that are 1."""
    columns = [name for name in read_columns(table) if name not in ("image_id", "rad_id", "")]
    for row in read_table(table, ("image_id", *columns), ("rad_id",)):
        values = {column: row.cells.get(column, "") for column in columns}
        odd = [column for column, value in values.items() if not re.fullmatch(r"([01](\.0*)?)?", value)]
        unread = next((column for column in columns if row.problem.startswith(f"{column} ")), "")
        unreadable = told(unread) + row.problem.removeprefix(unread) if unread else row.problem
        problem = unreadable or (f"{told(odd[0])} is {told(repr(values[odd[0]]))}, not 0 or 1" if odd else "")
        present = "|".join(NAMES.get(column, column) for column, value in values.items() if value.startswith("1"))
        yield TableRow(row.where, {**row.cells, "class_name": present}, problem)


def _count(source: Source, votes: Votes, table: Path, rows: Iterable[TableRow]) -> None:
    for row in rows:
        image = row.cells.get("image_id", "")
        problem = row.problem or ("" if IMAGE_ID.fullmatch(image) else "image_id is no id of an image")
        if problem:
            source.reject(row.where, problem)
        else:
            findings = [name for name in row.cells["class_name"].split("|") if name]
            votes.add(image, row.cells.get("rad_id") or ALL_READERS, findings)
