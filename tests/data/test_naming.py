"""With hashed names nothing of a dataset tells a cell, a table's, a folder's or a file's name of the source."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from synthcxr import prepare
from synthcxr.data.naming import Naming
from synthcxr.data.records import Source, told, told_row
from synthcxr.data.sources import read_source
from synthcxr.data.sources.tables import FORMULA, read_columns
from synthcxr.store import read_jsonl
from tests.conftest import plain_config
from tests.data import layouts

SECRET = "Geheim"
SKIPPED = ["tiny", "blank", "saturated", "text-only", "duplicate-other-patient", "inverted", "rotated", "wrong-label"]
BOTH_QUOTES = f"""it's "{SECRET}" isn't"""
COLUMNS = ("file_name", "patient_id", "age", "sex", "view", "language", "split", "findings")
GOOD = {"patient_id": f"{SECRET}-1", "age": "40"}
BAD = [
    {"age": BOTH_QUOTES},
    {"age": f"{SECRET}‹›{SECRET}"},
    {"age": f"{SECRET} " * 200},
    {"sex": f"={SECRET}"},
    {"view": f"{SECRET}Name"},
    {"language": BOTH_QUOTES},
    {"split": BOTH_QUOTES},
    {"file_name": f"../{SECRET}.png"},
    {"file_name": f"{SECRET}/missing.png"},
]


def rows_of(root: Path, folder: str) -> list[dict[str, str]]:
    """One row that is good, and one for each of what is bad; every row has an image of its own."""
    rows = []
    for number, bad in enumerate([{}, *BAD]):
        name = f"{SECRET}_{number}/{number}.png"
        layouts.image(root / folder / name, number)
        rows.append({"file_name": name} | GOOD | bad)
    return rows


def as_table(root: Path) -> Path:
    rows = [[row.get(column, "") for column in COLUMNS] for row in rows_of(root, "")]
    return layouts.table(root / f"{SECRET}tabelle.csv", [COLUMNS, *rows])


def as_metadata(root: Path) -> Path:
    lines = [json.dumps(row) for row in rows_of(root, f"{SECRET}7")]
    (root / f"{SECRET}7/metadata.jsonl").write_text("\n".join([*lines, f"{{{SECRET}"]))
    (root / "metadata.jsonl").write_text("[]\n")
    return root


def as_class_folders(root: Path) -> Path:
    for name in ("Max", "Jane"):
        layouts.image(root / f"train/{SECRET}_{name}/x.jpg", len(name))
    (root / f"train/{SECRET}_Max/{SECRET}.png").write_bytes(SECRET.encode())
    return root


def as_labels(root: Path) -> Path:
    for folder in ("a", "b"):
        layouts.image(root / f"{SECRET}{folder}/1.png")
    layouts.image(root / "2.png", 2)
    rows = [("image_id", SECRET), ("1", 0), ("2", 1), ("3", BOTH_QUOTES), ("4", "\x01"), (f"{SECRET}!", 0)]
    layouts.table(root / f"image_labels_{SECRET}.csv", rows)
    return root


@pytest.mark.parametrize("write", [as_table, as_metadata, as_class_folders])
def test_no_secret_of_the_source_is_in_a_dataset(write: Callable[[Path], Path], tmp_path: Path) -> None:
    path = write(tmp_path / "in")
    out = prepare(plain_config(path, tmp_path / "out", ids="hash", key=tmp_path / "key", skip_checks=SKIPPED))
    found = [file for file in out.rglob("*") if SECRET.lower() in str(file.relative_to(out)).lower()]
    found += [
        file for file in out.rglob("*") if file.is_file() and SECRET.lower().encode() in file.read_bytes().lower()
    ]
    assert not found and list(out.rglob("*.png")) and read_jsonl(out / "rejected.jsonl")


def test_no_secret_of_a_publishers_table_is_in_a_reason(tmp_path: Path) -> None:
    config = plain_config(as_labels(tmp_path / "in"), tmp_path / "out")
    source = read_source(config)
    hashed = [Naming("x", b"key").reason(row["reason"], source.root, row["file"]) for row in source.rejected]
    assert len(hashed) == 6 and SECRET not in " ".join([*hashed, *source.notes]), hashed


def test_reasons_tell_the_cell_where_names_are_kept(tmp_path: Path) -> None:
    source = Source(tmp_path)
    source.reject("a.png", f"{told_row('t.csv, row 2')}: the view is {told('LL')}, not AP or PA")
    (row,) = source.rejected
    reasons = [Naming("x", key).reason(row["reason"], tmp_path, "a.png") for key in (None, b"key")]
    assert reasons == ["t.csv, row 2: the view is LL, not AP or PA", "…, row 2: the view is …, not AP or PA"]


@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_the_names_of_columns_are_split_by_their_own_mark(mark: str, tmp_path: Path) -> None:
    layouts.image(tmp_path / "1.png")
    table = tmp_path / "image_labels_train.csv"
    table.write_text(f"image_id{mark}Mass\n1{mark}1\n")
    assert read_columns(table) == ["image_id", "Mass"]
    (record,) = read_source(plain_config(tmp_path, tmp_path / "out")).records
    assert record.subject.findings == ("Mass",)


@pytest.mark.parametrize("cell", ["-1|Mass", "-1", "+1.5 | Mass (left)", "-1.0|Mass|Edema", "Mass", "- no effusion"])
def test_a_number_is_no_formula(cell: str) -> None:
    assert not FORMULA.match(cell)


@pytest.mark.parametrize(
    "cell", ["=1+1", "@SUM(A1)", "-2+3+cmd|' /C calc'!A0", "+cmd|'x'!A0", "+=A1", "-(1)", "-1+A(2)"]
)
def test_a_formula_is_one(cell: str) -> None:
    assert FORMULA.match(cell)
