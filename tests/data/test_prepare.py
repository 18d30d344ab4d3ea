"""Prepare: images in, a checked dataset out, nothing lost."""

import csv
import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from synthcxr import PrepareConfig, prepare
from synthcxr.buckets import bucket_for, spell
from synthcxr.data.assemble import told_by_shape
from synthcxr.data.naming import output_name
from synthcxr.data.splits import split_of
from synthcxr.errors import SynthCXRError, UsageError
from synthcxr.imagefolder import read_rows
from synthcxr.images import cover, read_grey, to_square, write_png
from synthcxr.store import read_jsonl, read_manifest, verify
from tests.conftest import made_up_xray, plain_config, write_source
from tests.data.dicom_files import make, pattern, save


def test_a_dataset_of_a_table(source: Path, dataset: Path) -> None:
    rows = read_rows(dataset)
    assert len(rows) == 24 and verify(dataset) == []
    for row in rows:
        original = read_grey(source / row.fields["source_file"])
        assert (read_grey(row.path) == to_square(original, 64)).all()
    by_file = {row.fields["source_file"]: row for row in rows}
    assert by_file["images/001.png"].text == "AP chest X-ray of a 31-year-old woman with effusion and pneumonia."
    manifest = read_manifest(dataset, "dataset")
    assert manifest["counts"]["images"] == 24 and manifest["counts"]["patients"] == 12
    assert manifest["inputs"]["source"]["kind"] == "folder"


def test_no_patient_is_in_two_splits(dataset: Path) -> None:
    homes: dict[str, set[str]] = {}
    for row in read_rows(dataset):
        homes.setdefault(row.patient, set()).add(row.split)
    assert all(len(splits) == 1 for splits in homes.values())


def test_hugging_face_reads_it_with_its_text(dataset: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    loaded = datasets.load_dataset("imagefolder", data_dir=str(dataset), cache_dir=str(tmp_path))
    ours = read_rows(dataset, "train")
    assert sorted(loaded["train"]["text"]) == sorted(row.text for row in ours)


@given(st.text(min_size=1), st.integers(0, 100), st.integers(0, 100))
def test_a_patients_split_depends_on_the_id_alone(patient: str, a: int, b: int) -> None:
    low, high = sorted((a, b))
    percent = (low, high - low, 100 - high)
    assert split_of(patient, percent) == split_of(patient, percent)
    assert split_of(patient, (100, 0, 0)) == "train"
    assert split_of(patient, (0, 0, 100)) == "test"


def test_splits_have_the_sizes_asked_for() -> None:
    homes = [split_of(f"patient {number}", (60, 10, 30)) for number in range(5000)]
    shares = [homes.count(split) / 5000 for split in ("train", "validation", "test")]
    assert np.allclose(shares, (0.6, 0.1, 0.3), atol=0.03)


def test_adding_images_moves_nobody(tmp_path: Path) -> None:
    small = prepare(plain_config(write_source(tmp_path / "a", 10), tmp_path / "small"))
    large = prepare(plain_config(write_source(tmp_path / "b", 30), tmp_path / "large"))
    before = {row.patient: row.split for row in read_rows(small)}
    after = {row.patient: row.split for row in read_rows(large)}
    assert before.items() <= after.items()


def test_a_bare_folder(tmp_path: Path) -> None:
    for index in range(4):
        write_png(tmp_path / "in" / f"{index}.png", made_up_xray(index))
    out = prepare(plain_config(tmp_path / "in", tmp_path / "out", split="100/0/0"))
    assert [row.text for row in read_rows(out)] == ["Chest X-ray."] * 4
    assert "its own patient" in read_manifest(out)["notes"][0]


def test_what_cannot_be_used_is_rejected_with_its_reason(tmp_path: Path) -> None:
    source = write_source(tmp_path / "in", 6)
    (source / "images/000.png").write_bytes(b"not an image")
    (source / "images/001.png").unlink()
    write_png(source / "images/stray.png", made_up_xray(99))
    write_png(tmp_path / "secret.png", made_up_xray(98))
    for index, name in enumerate(("late", "old", "nobody")):
        write_png(source / f"images/{name}.png", made_up_xray(90 + index))
    with (source / "metadata.csv").open("a") as file:
        file.write("images/002.png,p1,40,M,AP,\n")
        file.write("../secret.png,p9,40,M,AP,\n")
        file.write("images/late.png,p9,five,M,AP,\n")
        file.write("images/old.png,p9,300,M,AP,\n")
        file.write("images/nobody.png,,30,M,AP,\n")
    out = prepare(plain_config(source, tmp_path / "out"))
    reasons = {row["file"]: row["reason"] for row in read_jsonl(out / "rejected.jsonl")}
    assert "not an image" in reasons["images/000.png"]
    assert "does not exist" in reasons["images/001.png"]
    assert "second row" in reasons["images/002.png"]
    assert "out of the folder" in reasons["../secret.png"]
    assert "'five' is not a number" in reasons["images/late.png"]
    assert "not between" in reasons["images/old.png"]
    assert "patient_id is empty" in reasons["images/nobody.png"]
    assert "no row" in reasons["images/stray.png"]
    assert len(read_rows(out)) == 4


def test_wrong_calls(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        prepare(plain_config(tmp_path / "none", tmp_path / "out"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="no image"):
        prepare(plain_config(tmp_path / "empty", tmp_path / "out"))
    source = write_source(tmp_path / "in", 4)
    (source / "metadata.csv").write_text("file_name,age\nimages/000.png,3\n")
    with pytest.raises(UsageError, match="lacks the column patient_id"):
        prepare(plain_config(source, tmp_path / "out"))
    with pytest.raises(UsageError, match="inside the source"):
        prepare(plain_config(source, source / "out"))
    assert not (tmp_path / "out").exists()
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.png").write_text("x")
    with pytest.raises(SynthCXRError, match="None of the 1 images"):
        prepare(plain_config(tmp_path / "bad", tmp_path / "out"))


def test_windows_tables(tmp_path: Path) -> None:
    source = write_source(tmp_path / "in", 2)
    text = "﻿file_name,patient_id\r\nimages\\000.png,a\r\nimages\\001.png,b\r\n"
    (source / "metadata.csv").write_bytes(text.encode())
    out = prepare(plain_config(source, tmp_path / "out", split="100/0/0"))
    assert len(read_rows(out)) == 2


def test_patients_of_a_pattern_and_ages_of_a_range(tmp_path: Path) -> None:
    source = write_source(tmp_path / "in", 2)
    with (source / "metadata.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("file_name", "patient_id"), ("images/000.png", "P7b"), ("images/001.png", "P7v")])
    config = plain_config(source, tmp_path / "out", patient_pattern=r"^(P\d+)", missing_age="1-5")
    rows = read_rows(prepare(config))
    assert {row.patient for row in rows} == {"P7"} and len({row.split for row in rows}) == 1
    assert rows[0].text == "Chest X-ray of a 1 to 5-year-old child."


def test_two_images_never_share_a_name(tmp_path: Path) -> None:
    for index, name in enumerate(("a.png", "images/a.png", "b/a.png")):
        write_png(tmp_path / "in" / name, made_up_xray(index))
    out = prepare(plain_config(tmp_path / "in", tmp_path / "out"))
    assert {output_name(name) for name in ("b/a.png", "a.png")} == {"b__a.png", "a.png"}
    assert len(read_rows(out)) == 2
    assert "rename one" in read_jsonl(out / "rejected.jsonl")[0]["reason"]


def test_a_stopped_prepare_goes_on(source: Path, dataset: Path, tmp_path: Path) -> None:
    config = plain_config(source, tmp_path / "dataset", resolution=64)
    (tmp_path / "dataset").mkdir()
    (tmp_path / "dataset" / "dataset.partial.json").write_text(
        json.dumps({"kind": "dataset", "config": config.identity(), "tool": {"synthcxr": "0"}})
    )
    prepare(config)
    ours, theirs = (read_manifest(folder)["files"] for folder in (tmp_path / "dataset", dataset))
    assert ours == theirs


# --- names ------------------------------------------------------------------------------------------------


def test_hashed_names_leave_nothing_of_the_source(tmp_path: Path) -> None:
    source = write_source(tmp_path / "Mueller-Anna", 8)
    (source / "images/006.png").rename(source / "images/Mueller_Anna.png")
    (source / "images/007.png").write_bytes(b"Mueller no image")
    write_png(source / "images/Mueller_gone.png", made_up_xray(9))
    rows = (source / "metadata.csv").read_text().replace("p3,", "MUELLER-3,").replace("006.png", "Mueller_Anna.png")
    (source / "metadata.csv").write_text(rows + "images/Mueller_gone.png,MUELLER-3,forty-Mueller,M,AP,\n")
    config = plain_config(source, tmp_path / "out", ids="auto", key=tmp_path / "keys" / "key")
    out = prepare(config)
    for path in out.rglob("*"):
        assert "mueller" not in path.name.lower()
        assert not path.is_file() or b"mueller" not in path.read_bytes().lower(), path
    assert str(tmp_path) not in (out / "dataset.json").read_text()
    rows_out = read_rows(out)
    assert len(rows_out) == 7 and len({row.patient for row in rows_out}) == 4
    assert all(row.path.name == f"{row.fields['source_file']}.png" for row in rows_out)
    (links,) = (tmp_path / "keys").glob("links-*.jsonl")
    back = {link["pseudonym"]: link["original"] for link in read_jsonl(links)}
    assert {back[row.patient] for row in rows_out} == {"p0", "p1", "p2", "MUELLER-3"}
    assert "images/Mueller_Anna.png" in {back[row.fields["source_file"]] for row in rows_out}
    assert {back[row["file"]] for row in read_jsonl(out / "rejected.jsonl")} >= {"images/007.png"}
    assert links.stat().st_mode & 0o077 == 0 and not list((tmp_path / "keys").glob("*.partial"))


def test_hashed_names_keep_the_splits_and_need_the_same_key(source: Path, tmp_path: Path) -> None:
    def homes(out: Path) -> list[str]:
        return [row.split for row in read_rows(out)]

    kept = prepare(plain_config(source, tmp_path / "kept"))
    hashed = prepare(plain_config(source, tmp_path / "hashed", ids="hash", key=tmp_path / "key"))
    assert homes(kept) == homes(hashed)
    again = prepare(plain_config(source, tmp_path / "again", ids="hash", key=tmp_path / "key"))
    assert [row.patient for row in read_rows(again)] == [row.patient for row in read_rows(hashed)]
    with pytest.raises(UsageError, match="key"):
        prepare(plain_config(source, tmp_path / "hashed", ids="hash", key=tmp_path / "another"))


def test_hashed_ages_above_89_are_told_as_90(tmp_path: Path) -> None:
    source = write_source(tmp_path / "in", 2)
    table = source / "metadata.csv"
    table.write_text(table.read_text().replace(",30,", ",101,"))
    rows = read_rows(prepare(plain_config(source, tmp_path / "out", ids="hash", split="100/0/0")))
    assert [row.fields["age"] for row in rows] == [90, 31] and "90-year-old" in rows[0].text


def test_a_uid_is_no_suffix() -> None:
    assert output_name("1.2.840.10008.5") == "1.2.840.10008.5.png"
    assert output_name("a/b.DCM") == "a__b.png"


# --- terms ------------------------------------------------------------------------------------------------


def test_the_manifest_tells_numbers_and_terms(dataset: Path) -> None:
    manifest = read_manifest(dataset)
    assert manifest["sources"][0].keys() == {"name", "kind", "licence", "restricted", "images"}
    assert manifest["sources"][0]["kind"] == "csv"
    counts = manifest["counts"]
    assert sum(counts["patients_by_split"].values()) == counts["patients"] == 12
    assert counts["sex"] == {"M": 12, "F": 12} and counts["prompt_tokens"]["most"] <= 77


@pytest.mark.real
def test_real_xrays(shared_data: Path, tmp_path: Path) -> None:
    config = plain_config(shared_data / "kermany", tmp_path / "out", resolution=256, missing_age="1-5", limit=40)
    rows = read_rows(prepare(config))
    assert len(rows) == 40 and all(read_grey(row.path).shape == (256, 256) for row in rows)
    assert all("1 to 5-year-old child" in row.text for row in rows)


@pytest.mark.real
def test_real_xrays_keep_their_shapes_in_buckets(shared_data: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"resolution": 256, "crop": "bucket", "limit": 24}
    out = prepare(plain_config(shared_data / "kermany", tmp_path / "out", **options))
    sizes = Counter[str]()
    for row in read_rows(out):
        original = read_grey(shared_data / "kermany" / row.fields["source_file"])
        size = bucket_for((row.fields["source_height"], row.fields["source_width"]), 256)
        assert row.size == size == row.read().shape and (row.read() == cover(original, size)).all()
        sizes[spell(size)] += 1
    assert len(sizes) > 2 and read_manifest(out)["counts"]["sizes"] == dict(sizes)
    assert "×" in (out / "index.html").read_text() and "bucket" in read_manifest(out)["preprocessing"]


@pytest.mark.real
def test_the_gate_and_shards_take_buckets(shared_data: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"crop": "bucket", "limit": 6, "skip_checks": []}
    out = prepare(plain_config(shared_data / "kermany", tmp_path / "out", resolution=256, format="parquet", **options))
    rows = read_rows(out)
    assert rows and all(row.read().shape == row.size for row in rows) and len({row.size for row in rows}) > 1


def test_a_bucket_goes_by_the_shape_that_a_viewer_shows(tmp_path: Path) -> None:
    save(make(pattern(shape=(96, 160)), PixelSpacing=[0.4, 0.2]), tmp_path / "in" / "a.dcm")  # 38.4 by 32 mm
    config = plain_config(tmp_path / "in", tmp_path / "out", resolution=128, crop="bucket")
    (row,) = read_rows(prepare(config))
    assert (row.fields["source_height"], row.fields["source_width"]) == (192, 160) and row.size == (128, 128)
    assert row.fields["pixel_spacing_mm"] == [0.25, 0.25]  # 160 pixels of 0.2 mm in 128
    config = plain_config(tmp_path / "in", tmp_path / "wide", resolution=1024, crop="bucket")
    (row,) = read_rows(prepare(config))
    assert row.size == (1088, 960) and row.fields["pixel_spacing_mm"] == [round(0.2 / 6, 6)] * 2


def test_prompts_fit_the_tokenizer_of_the_model_they_are_for(tmp_path: Path, tiny_model: Path) -> None:
    short = tmp_path / "short"
    shutil.copytree(tiny_model / "tokenizer", short / "tokenizer")
    shutil.copy(tiny_model / "model_index.json", short)
    settings = json.loads((short / "tokenizer" / "tokenizer_config.json").read_text())
    (short / "tokenizer" / "tokenizer_config.json").write_text(json.dumps(settings | {"model_max_length": 16}))
    report = (
        "FINDINGS: There is a large left pleural effusion. There is a small right pneumothorax. The heart is large."
    )
    write_png(tmp_path / "in" / "a.png", made_up_xray(1, 128))
    (tmp_path / "in" / "metadata.csv").write_text(f'file_name,patient_id,report\na.png,p1,"{report}"\n')

    def row(name: str, **options: Any) -> dict[str, Any]:
        config = PrepareConfig(
            source_path=tmp_path / "in", out=tmp_path / name, resolution=64, prompt_style="findings",
            skip_checks=["all"], **options,
        )  # fmt: skip
        return read_rows(prepare(config))[0].fields

    whole, cut = row("whole"), row("cut", tokenizer=str(short))
    assert whole["findings_unsaid"] == 0 and "heart" in whole["text"]
    assert cut["findings_unsaid"] > 0 and len(cut["text"]) < len(whole["text"])
    assert cut["text"].endswith(".") and "effusion" in cut["text"]


def test_a_finding_that_the_shape_tells_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tall, wide = (160, 96), (96, 160)
    shapes = {"": Counter({tall: 50, wide: 50}), "Effusion": Counter({tall: 10, wide: 40}), "Mass": Counter({tall: 3})}
    scores = [width / height for height, width in [tall] * 10 + [wide] * 40 + [tall] * 40 + [wide] * 10]
    assert told_by_shape(shapes) == {"Effusion": pytest.approx(roc_auc_score([1] * 50 + [0] * 50, scores))}
    assert told_by_shape({"": Counter({tall: 90}), "Effusion": Counter({tall: 45})}) == {}
    folder = write_source(tmp_path / "in", 48, 96)
    for index in range(0, 48, 2):
        write_png(folder / f"images/{index:03d}.png", made_up_xray(index, 96)[:, 20:80])
    out = prepare(plain_config(folder, tmp_path / "out", resolution=128, crop="bucket"))
    told = "The shape of the image alone tells Effusion from the rest in 100% of pairs."
    assert any(told in note for note in read_manifest(out)["notes"]) and told in capsys.readouterr().err
    assert told in (out / "index.html").read_text()
