"""What tables and folders of users hold: encodings, separators, formulas, paths, links; and `csv`, `folder`."""

import gzip
import os
import string
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthcxr import PrepareConfig
from synthcxr.data.records import RejectedImageError, Source
from synthcxr.data.sources import read_source, recognise
from synthcxr.data.sources.files import clean_path, list_files
from synthcxr.data.sources.tables import (
    MAXIMUM_CELL,
    MAXIMUM_LINE,
    TableRow,
    find_tables,
    read_age,
    read_table,
    tidy_findings,
)
from synthcxr.errors import UsageError
from tests.data import layouts


def rows_of(path: Path, data: bytes, **how: Any) -> list[TableRow]:
    path.write_bytes(data)
    return list(read_table(path, ("name", "age"), ("note",), **how))


def source_of(path: Path, **options: object) -> Source:
    return read_source(PrepareConfig.model_validate({"source_path": path, "out": path.parent / "out", **options}))


def reasons(source: Source) -> dict[str, tuple[str, str]]:
    return {row["file"]: (row["rule"], row["reason"]) for row in source.rejected}


# --- tables -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        "name,age,note\na,5,é\n".encode(),
        "\ufeffname,age,note\r\na,5,é\r\n".encode(),
        "name;age;note\na;5;é\n".encode(),
        "name\tage\tnote\na\t5\té".encode(),
        "\ufeffname,age,note\na,5,é\n".encode("utf-16-le"),
        "\ufeffname,age,note\na,5,é\n".encode("utf-16-be"),
        ' name , age,note,,\n"a",5 , é,,\n'.encode(),
    ],
)
@pytest.mark.parametrize("zipped", [False, True])
def test_one_table_in_the_forms_that_programs_write(data: bytes, zipped: bool, tmp_path: Path) -> None:
    path = tmp_path / ("t.csv.gz" if zipped else "t.csv")
    (row,) = rows_of(path, gzip.compress(data) if zipped else data)
    assert row == TableRow(f"{path.name}, row 2", {"name": "a", "age": "5", "note": "é"})


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"a,5", "2 cells where the first row has 3"),
        (b"a,5,b,c", "4 cells"),
        ("a,5,Ödem".encode("latin-1"), "note is not UTF-8"),
        (b"a\0b,5,c", "control character"),
        (b'"a\nb",5,c', "line break"),
        (b"=1+1,5,c", "name holds a spreadsheet formula"),
        (b"a,=40+2,c", "formula"),
        (b"a,5,@SUM(A1)", "formula"),
        (b"a,5,\"-2+3+cmd|' /C calc'!A0\"", "formula"),
        (b"a,5,+HYPERLINK(1)", "formula"),
        (b"a,5," + b"x" * (MAXIMUM_CELL + 1), "field larger than field limit"),
        (b'a,5,"open', ""),
    ],
)
def test_a_row_that_is_none_does_not_stop_the_others(line: bytes, problem: str, tmp_path: Path) -> None:
    rows = rows_of(tmp_path / "t.csv", b"name,age,note\nfirst,1,x\n" + line + b"\nlast,2,y\n")
    if not problem:  # an open quotation mark takes the rest of the file, and is told as too few cells or a line break
        assert len(rows) == 2 and "row 3 to" in rows[1].where and rows[1].problem
        return
    first, odd, last = rows
    assert not first.problem and not last.problem and last.cells["name"] == "last"
    assert problem in odd.problem and "row 3" in odd.where


def test_what_is_no_formula(tmp_path: Path) -> None:
    rows = rows_of(tmp_path / "t.csv", b"name,age,note\na,-1,- Heart: normal (mild)\nb,+5,-0.5\nc,5,a=b\n")
    assert not any(row.problem for row in rows)


def test_prose_may_have_lines(tmp_path: Path) -> None:
    (row,) = rows_of(tmp_path / "t.csv", b'name,age,note\na,5,"one\ntwo"\n', prose=("note",))
    assert not row.problem and row.cells["note"] == "one\ntwo"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "lacks the column name and age"),
        (b"name\na\n", "lacks the column age"),
        (b"name,age,age\na,1,2\n", "age more than once"),
        (b"x" * (MAXIMUM_LINE + 2), "more than 4,000,000 characters"),
        (b"\x89PNG\r\n\x1a\n\0\0", "lacks the column"),
    ],
)
def test_a_file_that_is_no_table_is_a_wrong_call(data: bytes, reason: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=reason):
        rows_of(tmp_path / "t.csv", data)


def test_a_torn_archive_is_a_wrong_call_that_says_where(tmp_path: Path) -> None:
    data = gzip.compress(b"name,age\n" + b"".join(b"%d,%d\n" % (n, n % 90) for n in range(50000)))
    with pytest.raises(UsageError, match=r"damaged after row \d{3,}"):
        rows_of(tmp_path / "t.csv.gz", data[: len(data) // 2])
    with pytest.raises(UsageError, match="damaged after row 1"):
        rows_of(tmp_path / "t.csv.gz", b"name,age\n")


def test_a_table_is_found_once_zipped_or_not(tmp_path: Path) -> None:
    for name in ("a.csv", "a.csv.gz", "b.csv.gz", ".a.csv"):
        (tmp_path / name).touch()
    assert [path.name for path in find_tables(tmp_path, "*.csv", "*.csv.gz")] == ["a.csv", "b.csv.gz"]


@pytest.mark.parametrize(
    ("text", "age"),
    [
        ("", None),
        ("nan", None),
        ("58", 58),
        ("58.0", 58),
        ("058Y", 58),
        ("018M", 1),
        ("400D", 1),
        ("003W", 0),
        ("0", 0),
    ],
)
def test_ages(text: str, age: int | None) -> None:
    assert read_age(text) == age


@pytest.mark.parametrize("text", ["five", "411", "-3", "1_0", "٣", "1e3", "9" * 5000, "1.5.2", "058Q"])
def test_ages_that_make_no_sense(text: str) -> None:
    with pytest.raises(ValueError, match="age"):
        read_age(text)


def test_normal_stands_alone() -> None:
    assert tidy_findings(["normal"]) == tidy_findings(["No finding", "NORMAL"]) == ("No Finding",)
    assert tidy_findings(["No Finding", "Hernia", "Hernia", " "]) == ("Hernia",)


# --- paths ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "name"),
    [("a.png", "a.png"), ("images\\a.png", "images/a.png"), ("./a//b.png", "a/b.png"), ("a/../b.png", "b.png")],
)
def test_paths(written: str, name: str) -> None:
    assert clean_path(written) == name


@pytest.mark.parametrize(
    "written",
    [
        "",
        " ",
        ".",
        "..",
        "../a.png",
        "a/../../b.png",
        "..\\a.png",
        "/etc/passwd",
        "C:\\a.png",
        "c:a.png",
        "\\\\host\\a.png",
        "a\x00.png",
        "a\n.png",
        "//host/a.png",
    ],
)
def test_paths_that_are_refused(written: str) -> None:
    with pytest.raises(RejectedImageError) as error:
        clean_path(written)
    assert error.value.rule == "path"


@given(st.lists(st.sampled_from(["..", ".", "a", "b", "", "\\", "/", "C:", "~", "\0"]), max_size=8).map("/".join))
def test_no_path_leads_out_of_the_folder(written: str) -> None:
    try:
        name = clean_path(written)
    except RejectedImageError:
        return
    assert os.path.normpath(Path("/root") / name).startswith("/root/")


@given(st.text(string.printable, max_size=30))
def test_a_clean_path_is_clean(written: str) -> None:
    try:
        name = clean_path(written)
    except RejectedImageError:
        return
    assert clean_path(name) == name


def test_links_pipes_and_odd_names_are_left_out_with_the_reason(tmp_path: Path) -> None:
    root = tmp_path / "in"
    for name in ("a.png", "deep/b.png", ".hidden/c.png", ".d.png", "__MACOSX/a.png"):
        layouts.image(root / name)
    layouts.image(tmp_path / "secret/e.png")
    (root / "out.png").symlink_to(tmp_path / "secret/e.png")
    (root / "folder").symlink_to(tmp_path / "secret")
    (root / "nowhere.png").symlink_to(root / "missing.png")
    (root / "inside.png").symlink_to(root / "a.png")
    (root / "again").symlink_to(root / "deep")
    (root / "loop").symlink_to(root)
    os.mkfifo(root / "pipe.png")
    (root / os.fsdecode(b"\xff.png")).write_bytes(b"")
    files = list_files(root)
    assert list(files.names) == ["a.png", "deep/b.png", "inside.png"]
    assert set(files.left_out) == {"out.png", "folder", "nowhere.png", "pipe.png", "\\udcff.png"}
    source = source_of(root)
    assert {name: rule for name, (rule, _) in reasons(source).items()} == dict.fromkeys(files.left_out, "path")


# --- csv --------------------------------------------------------------------------------------------------


def test_a_table_of_all_columns(tmp_path: Path) -> None:
    head = ("file_name", "patient_id", "age", "sex", "view", "findings", "text", "study_id", "report", "report_file")
    root = tmp_path / "in"
    layouts.table(
        root / "metadata.csv",
        [
            (*head, "language", "split"),
            ("a.png", "p1", "40", "female", "pa", "Edema|Mass", "A prompt.", "s1", "One.\nTwo.", "", "es", "val"),
            ("b.png", "p2", "", "", "", "", "", "", "", "reports\\b.txt", "", ""),
            ("c.dcm", "p3", "", "", "AP", "", "", "", "", "", "", ""),
            ("d.png", "p4", "", "", "lateral", "", "", "", "", "", "", ""),
            ("e.png", "p5", "", "", "", "", "", "", "", "../b.txt", "", ""),
            ("f.png", "p6", "", "", "", "", "", "", "", "", "fr", ""),
            ("g.png", "p7", "", "", "", "", "", "", "", "", "", "both"),
        ],
    )
    for letter in "abdefg":
        layouts.image(root / f"{letter}.png")
    layouts.dicom(root / "c.dcm", PatientID="other", PatientAge="040Y")
    (root / "reports").mkdir()
    (root / "reports/b.txt").write_text("Clear.")
    (tmp_path / "b.txt").write_text("Not yours.")
    source = source_of(root)
    first, second, third = source.records
    assert (first.subject.age, first.subject.sex, first.subject.view) == (40, "F", "PA")
    assert (first.report, first.language, first.split, first.study_id) == ("One.\nTwo.", "es", "validation", "s1")
    assert second.report_file == "reports/b.txt"
    picture = source.read(root, third, PrepareConfig(source_path=root, out=tmp_path / "out"))
    assert picture.record.patient_id == "p3" and picture.record.subject.age == 40
    assert {name: rule for name, (rule, _) in reasons(source).items()} == {
        "d.png": "not-frontal",
        "e.png": "path",
        "f.png": "row",
        "g.png": "row",
    }


def test_rows_and_images_that_do_not_fit(tmp_path: Path) -> None:
    root = tmp_path / "in"
    names = ["a.png", "a.png", "missing.png", "C:\\x\\a.png", "..\\secret.png", "=cmd()", "a/../a.png"]
    layouts.table(root / "metadata.csv", [("file_name", "patient_id"), *((name, "p") for name in names), ("b.png", "")])
    for name in ("a.png", "b.png", "unnamed.png"):
        layouts.image(root / name)
    found = [(row["file"], row["rule"]) for row in source_of(root).rejected]
    assert found == [
        ("a.png", "duplicate-row"),
        ("missing.png", "missing"),
        ("C:\\x\\a.png", "path"),
        ("..\\secret.png", "path"),
        ("=cmd()", "row"),
        ("a.png", "duplicate-row"),
        ("b.png", "row"),
        ("unnamed.png", "no-row"),
    ]


def test_a_table_of_another_name(tmp_path: Path) -> None:
    layouts.table(tmp_path / "mine.csv", [("file_name", "patient_id"), ("a.png", "p")])
    layouts.image(tmp_path / "a.png")
    assert recognise(tmp_path / "mine.csv")[0] == "table"
    assert [record.patient_id for record in source_of(tmp_path / "mine.csv").records] == ["p"]
