"""NIH ChestX-ray14 (Wang et al., CVPR 2017): 112,120 frontal PNGs of 30,805 patients, findings mined from reports.

    Data_Entry_2017.csv or Data_Entry_2017_v2020.csv
    images_001/images/00000001_000.png … images_012/images/…     (or all in one folder)
    train_val_list.txt, test_list.txt                            (the publisher's split by patient)

Read against the real Data_Entry_2017_v2020.csv; the lists as the publisher's README describes them.
"""

from collections import Counter
from pathlib import Path

from synthcxr.config import PrepareConfig
from synthcxr.data.records import Record, Source
from synthcxr.data.sources.files import list_files, reject_the_rest
from synthcxr.data.sources.tables import (
    Cells,
    collect,
    doubtful_age,
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
from synthcxr.prompts import Subject

LICENCE = (
    "NIH ChestX-ray14: free to use and share; name the NIH Clinical Center as the provider, link to "
    "https://nihcc.app.box.com/v/ChestXray-NIHCC, and cite Wang et al., CVPR 2017."
)
TABLES = ("Data_Entry_2017*.csv", "Data_Entry_2017*.csv.gz")
NEEDED = ("Image Index", "Finding Labels", "Patient ID", "Patient Age", "Patient Gender", "View Position")
LISTS = {"train_val_list.txt": "train", "test_list.txt": "test"}


def recognise(path: Path) -> str:
    """A folder with the publisher's table, or the table."""
    folder = path if path.is_dir() else path.parent
    found = find_tables(folder, *TABLES)
    return f"{found[0].name} lies there" if found and (path.is_dir() or path in found) else ""


def read(config: PrepareConfig) -> Source:
    """The rows of the table. Ages that make no sense (the first edition has 411) count as unknown."""
    root = root_of(config)
    if not (tables := find_tables(root, *TABLES)):
        raise UsageError(f"There is no Data_Entry_2017.csv in {root}. Give the folder that holds it.")
    source = Source(root, licence=licence_of(config, LICENCE), public_ids=True)
    files = list_files(root)
    splits = _read_lists(root, source)
    doubts: Counter[str] = Counter()

    def read_row(name: str, cells: Cells) -> Record:
        if not cells["Patient ID"]:
            raise ValueError("Patient ID is empty")
        subject = Subject(
            age=doubtful_age(cells["Patient Age"], doubts),
            sex=read_sex(cells["Patient Gender"]),
            view=read_view(cells["View Position"], config),
            findings=tidy_findings(cells["Finding Labels"].split("|")),
        )
        return Record(name, cells["Patient ID"], subject=subject, split=splits.get(cells["Image Index"]))

    table = read_table(tables[0], NEEDED)
    collect(source, config, table, lambda cells: files.find_by_name(cells["Image Index"]), read_row, "Image Index")
    reject_the_rest(source, files)
    write_doubts(source, doubts)
    return source


def _read_lists(root: Path, source: Source) -> dict[str, str]:
    """The split of each image by the publisher's lists: training and validation are one there."""
    splits: dict[str, str] = {}
    for name, split in LISTS.items():
        if (root / name).is_file():
            text = (root / name).read_text(encoding="utf-8-sig", errors="replace")
            splits.update((Path(line.strip()).name, split) for line in text.splitlines() if line.strip())
    if not splits:
        source.notes.append("train_val_list.txt and test_list.txt are not there: the publisher's split is not known.")
    return splits
