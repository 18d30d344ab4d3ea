"""Hugging Face image datasets in their forms, and datasets of this tool, whose splits and terms go with them."""

import json
from pathlib import Path
from typing import Any

import pytest

from synthcxr import PrepareConfig, prepare
from synthcxr.data.records import RejectedImageError, Source
from synthcxr.data.sources import read_source, recognise
from synthcxr.data.sources.parquet import describe_shard
from synthcxr.errors import UsageError
from synthcxr.imagefolder import read_rows
from synthcxr.images import encode_png, read_grey
from synthcxr.store import read_manifest
from tests.conftest import made_up_xray
from tests.data import layouts


def config_of(path: Path, **options: object) -> PrepareConfig:
    return PrepareConfig.model_validate({"source_path": path, "out": path.parent / "out", **options})


def source_of(path: Path, **options: object) -> Source:
    return read_source(config_of(path, **options))


def write_parquet(path: Path, columns: dict[str, list[Any]], features: dict[str, object] | None = None) -> Path:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow.parquet import write_table

    table = pyarrow.table(columns)
    if features:
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    path.parent.mkdir(parents=True, exist_ok=True)
    write_table(table, path, row_group_size=3)
    return path


def test_metadata_in_folders_of_splits(tmp_path: Path) -> None:
    root = tmp_path / "in"
    rows: dict[str, list[Any]] = {
        "train": [{"file_name": "a.png", "text": "One.", "patient_id": 7, "age": 40.0, "findings": ["Edema", "Mass"]}],
        "val": [{"file_name": "deep\\b.png", "caption": "Two.", "label": "NORMAL"}, {"file_name": "../train/a.png"}],
        "test": [["no object"], {"file_name": "c.png", "text": "=1+1"}, {"text": "no name"}],
    }
    for split, found in rows.items():
        (root / split).mkdir(parents=True)
        (root / split / "metadata.jsonl").write_text("\n".join(map(json.dumps, found)) + "\n{torn\n")
    for name in ("train/a.png", "val/deep/b.png", "test/c.png", "test/d.png"):
        layouts.image(root / name)
    assert recognise(root)[0] == "imagefolder"
    source = source_of(root)
    first, second = source.records
    assert (first.text, first.patient_id, first.subject.age, first.split) == ("One.", "7", 40, "train")
    assert first.subject.findings == ("Edema", "Mass")
    assert (second.text, second.split, second.subject.findings) == ("Two.", "validation", ("No Finding",))
    rejected = sorted((row["file"], row["rule"]) for row in source.rejected)
    assert rejected == [
        ("../train/a.png", "path"),
        ("test/c.png", "row"),
        ("test/d.png", "no-row"),
        ("test/metadata.jsonl, row 1", "row"),
        ("test/metadata.jsonl, row 3", "path"),
        ("test/metadata.jsonl, row 4", "row"),
        ("train/metadata.jsonl, row 2", "row"),
        ("val/metadata.jsonl, row 3", "row"),
    ]


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_metadata_of_texts_without_patients(form: str, tmp_path: Path) -> None:
    root = tmp_path / "in"
    layouts.image(root / "a.png")
    if form == "csv":
        layouts.table(root / "metadata.csv", [("file_name", "text"), ("a.png", 'Clear, "no" finding.')])
    else:
        write_parquet(root / "metadata.parquet", {"file_name": ["a.png"], "text": ['Clear, "no" finding.']})
    assert recognise(root)[0] == "imagefolder"
    source = source_of(root)
    assert [(record.text, record.patient_id) for record in source.records] == [('Clear, "no" finding.', "a.png")]
    assert any("own patient" in note for note in source.notes)


def test_folders_of_classes(tmp_path: Path) -> None:
    root = tmp_path / "in"
    for name in ("train/Tuberculosis/a.png", "train/normal/b.png", "test/normal/c.png"):
        layouts.image(root / name)
    source = source_of(root, source="imagefolder")
    found = {record.name: (record.subject.findings, record.split) for record in source.records}
    assert found == {
        "train/Tuberculosis/a.png": (("Tuberculosis",), "train"),
        "train/normal/b.png": (("No Finding",), "train"),
        "test/normal/c.png": (("No Finding",), "test"),
    }


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["train/TB/a", "train/normal/b", "test/normal/c", "test/TB/d"], "imagefolder"),
        (["train/Mustermann_Max/x", "train/Doe_Jane/x"], "folder"),
        (["train/Mustermann_Max/x", "train/Mustermann_Max/y", "train/Doe_Jane/x", "train/Doe_Jane/y"], "folder"),
        (["train/A/x", "train/A/y", "train/B/x", "train/B/y", "valid/C/x", "valid/D/x"], "folder"),
        (["train/A/study1/x", "train/B/study1/x", "valid/A/study1/x", "valid/B/study1/x"], "folder"),
        (["train/A/x", "train/B/x", "valid/A/x", "valid/B/x", "Mustermann/x"], "folder"),
        ([f"{split}/{name}/x" for split in ("train", "test") for name in range(21)], "folder"),
        (["TB/a", "TB/b", "normal/a", "normal/b"], "folder"),
    ],
)
def test_folders_that_may_be_patients_are_no_classes(names: list[str], expected: str, tmp_path: Path) -> None:
    for name in names:
        layouts.image(tmp_path / "in" / f"{name}.png")
    assert recognise(tmp_path / "in")[0] == expected
    source = source_of(tmp_path / "in")
    assert any(record.subject.findings for record in source.records) == (expected == "imagefolder")


def test_parquet_of_images_is_read_row_by_row(tmp_path: Path) -> None:
    root = tmp_path / "in"
    images: list[object] = [{"bytes": encode_png(made_up_xray(n)), "path": f"{n}.png"} for n in range(8)]
    images[5], images[6] = {"bytes": None, "path": "beside/b.png"}, {"bytes": None, "path": "../../secret.png"}
    images[7] = {"bytes": b"no image", "path": "x.png"}
    layouts.image(root / "data/beside/b.png", 5)
    layouts.image(tmp_path / "secret.png", 6)
    features = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": ["NORMAL", "PNEUMONIA"]}}
    columns: dict[str, list[Any]] = {
        "image": images,
        "text": [f"Text {n}." for n in range(8)],
        "label": [0, 1] * 3 + [-1, 7],
    }
    shard = write_parquet(root / "data/train-00000-of-00001.parquet", columns, features)
    assert describe_shard(shard).row_groups == (3, 3, 2)
    source = source_of(root)
    assert len(source.records) == 8 and source.records[4].split == "train"
    assert [record.text for record in source.records] == columns["text"]
    assert [record.subject.findings for record in source.records[:3]] == [
        ("No Finding",),
        ("PNEUMONIA",),
        ("No Finding",),
    ]
    assert source.records[6].subject.findings == source.records[7].subject.findings == ()
    config = config_of(root)
    for number in (4, 0, 1, 5, 3, 2):  # forward, back, and over the borders of row groups
        assert (source.read(root, source.records[number], config).image == made_up_xray(number)).all()
    with pytest.raises(RejectedImageError, match="out of the folder"):
        source.read(root, source.records[6], config)
    rows = read_rows(prepare(config_of(root, skip_checks=["all"], resolution=64, ids="keep")))
    assert len(rows) == 6


def test_reports_in_parquet(tmp_path: Path) -> None:
    image = {"bytes": encode_png(made_up_xray(1)), "path": "1.png"}
    columns: dict[str, list[Any]] = {"picture": [image], "findings": ["Clear lungs."], "impression": ["Normal."]}
    write_parquet(tmp_path / "in/test-00000-of-00001.parquet", columns)
    (record,) = source_of(tmp_path / "in").records
    assert record.report == "FINDINGS: Clear lungs.\nIMPRESSION: Normal." and record.subject.findings == ()


def test_parquet_that_is_none(tmp_path: Path) -> None:
    root = tmp_path / "in"
    write_parquet(root / "train.parquet", {"text": ["no images here"]})
    assert source_of(root).rejected[0]["rule"] == "no-images"
    (root / "train.parquet").write_bytes(b"PAR1 and nothing more")
    with pytest.raises(UsageError, match="cannot be read as Parquet"):
        source_of(root)


@pytest.mark.parametrize("form", ["imagefolder", "webdataset", "parquet"])
def test_a_dataset_of_this_tool_keeps_its_splits_texts_and_terms(form: str, tmp_path: Path) -> None:
    options = {"skip_checks": ["all"], "resolution": 32, "format": form}
    first = prepare(config_of(layouts.chexpert(tmp_path / "in"), out=tmp_path / "first", **options))
    assert recognise(first)[0] == "imagefolder"
    second = prepare(config_of(first, out=tmp_path / "second", **options))
    before, after = ({row.patient: row for row in read_rows(folder)} for folder in (first, second))
    assert before.keys() == after.keys() and len(before) == 3
    for patient, row in before.items():
        assert (row.split, row.text) == (after[patient].split, after[patient].text)
        assert row.fields["findings"] == after[patient].fields["findings"]
        assert (row.read() == after[patient].read()).all()
    entries = [read_manifest(folder, "dataset")["sources"][0] for folder in (first, second)]
    assert entries[0]["licence"] == entries[1]["licence"] and entries[1]["restricted"] is True


def test_an_image_beside_its_metadata_is_the_file_itself(tmp_path: Path) -> None:
    layouts.image(tmp_path / "in/a.png", 3)
    (tmp_path / "in/metadata.jsonl").write_text('{"file_name": "a.png", "text": "One."}\n')
    source = source_of(tmp_path / "in")
    picture = source.read(source.root, source.records[0], config_of(tmp_path / "in"))
    assert (picture.image == read_grey(tmp_path / "in/a.png")).all()
