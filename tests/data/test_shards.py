"""Sharded datasets: the same rows and pixels as the image folder, for us, for `datasets` and for WebDataset."""

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from synthcxr import ExportConfig, TrainConfig, export, prepare, train
from synthcxr.data import shards
from synthcxr.errors import SynthCXRError, UsageError
from synthcxr.imagefolder import read_rows
from synthcxr.images import encode_png
from synthcxr.store import Json, read_json, read_manifest, seal, verify
from tests.conftest import plain_config

FORMS = ("imagefolder", "webdataset", "parquet")
ROWS: list[Json] = [
    {
        "file_name": f"{number}.png",
        "text": f"prompt {number} ä",
        "age": number if number > 7 else None,
        "age_range": [1, 5] if number == 9 else None,
        "findings": ["Effusion"] if number > 8 else [],
        "weight": number / 3,
        "seed": 2**62 + number,
        "flag": number % 2 == 0,
        "note": None,
    }
    for number in range(40)
]


@pytest.fixture(scope="session", params=FORMS)
def form(request: pytest.FixtureRequest, source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp(request.param) / "dataset"
    return Path(prepare(plain_config(source, out, resolution=64, format=request.param)))


def png_of(split: str, row: Json) -> bytes:
    return encode_png(np.full((8, 8), int(row["file_name"].split(".")[0]), np.uint8))


def test_rows_and_pixels_are_those_of_the_image_folder(form: Path, dataset: Path) -> None:
    ours, theirs = read_rows(form), read_rows(dataset)
    assert verify(form) == []
    assert [(row.path.relative_to(form), row.split, row.text, row.fields) for row in ours] == [
        (row.path.relative_to(dataset), row.split, row.text, row.fields) for row in theirs
    ]
    for a, b in zip(ours, theirs, strict=True):
        assert a.read_bytes() == b.read_bytes() and (a.read() == b.read()).all()
    assert len(read_rows(form, "test")) == read_manifest(form)["counts"]["splits"]["test"]


def test_datasets_loads_every_form(form: Path, dataset: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    kind = read_manifest(form)["config"]["format"]
    loaded = datasets.load_dataset(kind, data_dir=str(form), cache_dir=str(tmp_path))
    for split in ("train", "validation", "test"):
        ours = {row.fields["source_file"]: row for row in read_rows(dataset, split)}
        assert len(loaded[split]) == len(ours)
        for sample in loaded[split]:
            fields = sample["json"] if kind == "webdataset" else sample
            image = sample["png" if kind == "webdataset" else "image"]
            row = ours[fields["source_file"]]
            assert (np.asarray(image) == row.read()).all() and fields["text"] == row.text
            assert fields["findings"] == row.fields["findings"]


def test_training_steps_from_each_form_are_the_same(
    form: Path, tiny_model: Path, dataset: Path, tmp_path: Path
) -> None:
    shared: dict[str, Any] = {"base": str(tiny_model), "steps": 1, "batch_size": 2, "sample_steps": 1, "device": "cpu"}
    for folder in (form, dataset):
        train(TrainConfig(datasets=[folder], out=tmp_path / folder.parent.name, **shared))
    ours, theirs = (read_manifest(tmp_path / folder.parent.name)["files"] for folder in (form, dataset))
    assert [ours[name]["sha256"] for name in ours if name.startswith("adapter")] == [
        theirs[name]["sha256"] for name in theirs if name.startswith("adapter")
    ]


# --- the files --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["webdataset", "parquet"])
def test_shards_are_bounded_equal_every_time_and_read_back_exactly(kind: str, tmp_path: Path) -> None:
    writer = {"webdataset": shards.write_webdataset, "parquet": shards.write_parquet}[kind]
    splits = {"train": ROWS, "validation": [], "test": ROWS[:3]}
    for folder in ("a", "b"):
        writer(tmp_path / folder, splits, png_of, 1000)
    names = [path.relative_to(tmp_path / "a") for path in sorted((tmp_path / "a").rglob("*.*"))]
    assert len(names) >= 3 and not (tmp_path / "a" / "validation").exists()
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    rows = read_rows(tmp_path / "a", "train")
    assert [row.fields for row in rows] == ROWS
    assert [int(row.read()[0, 0]) for row in rows] == list(range(40))


@pytest.mark.parametrize("kind", ["webdataset", "parquet"])
def test_fields_that_are_empty_at_first_have_their_type_for_datasets(kind: str, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    shards.WRITERS[kind](tmp_path / "d", {"train": ROWS, "test": ROWS[5:12]}, png_of)
    loaded = datasets.load_dataset(kind, data_dir=str(tmp_path / "d"), cache_dir=str(tmp_path / "cache"))
    samples = [sample.get("json", sample) for sample in loaded["train"]]
    assert sorted(sample["age"] or 0 for sample in samples) == sorted(row["age"] or 0 for row in ROWS)
    assert [sample["age_range"] for sample in samples if sample["age_range"]] == [[1, 5]]


def test_a_tar_is_a_plain_webdataset(tmp_path: Path) -> None:
    """By its description: consecutive files of one sample share the name up to the first dot; no times, no owners."""
    shards.write_webdataset(tmp_path, {"train": ROWS}, png_of)
    with tarfile.open(tmp_path / "train" / "train-00000.tar") as tar:
        members = tar.getmembers()
        assert all(member.mtime == 0 and member.uid == 0 and member.uname == "" for member in members)
        keys = [member.name.split(".", 1) for member in members]
        assert [suffix for _, suffix in keys] == ["png", "json", "txt"] * 40
        assert all(len({key for key, _ in keys[i : i + 3]}) == 1 for i in range(0, 120, 3))
        for i in range(0, 120, 3):
            image, row, text = (tar.extractfile(member) for member in members[i : i + 3])
            assert image and row and text
            fields = json.loads(row.read())
            assert text.read().decode() == fields["text"] and fields in ROWS
            assert Image.open(io.BytesIO(image.read())).getpixel((0, 0)) == int(fields["file_name"].split(".")[0])


def test_the_webdataset_library_reads_it(tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset", reason="the webdataset library is not installed")
    shards.write_webdataset(tmp_path, {"train": ROWS}, png_of)
    url = f"file:{tmp_path / 'train' / 'train-00000.tar'}"
    samples = list(webdataset.WebDataset(url, shardshuffle=False).decode("pil"))
    assert sorted(sample["txt"] for sample in samples) == sorted(row["text"] for row in ROWS)


@pytest.mark.parametrize("kind", ["webdataset", "parquet"])
def test_a_damaged_shard_is_named(kind: str, tmp_path: Path) -> None:
    shards.WRITERS[kind](tmp_path, {"train": ROWS}, png_of)
    (shard,) = shards.find_shards(tmp_path / "train")
    shard.write_bytes(shard.read_bytes()[: shard.stat().st_size // 2])
    with pytest.raises(SynthCXRError, match=shard.name):
        read_rows(tmp_path)


def test_shards_of_an_earlier_call_go(tmp_path: Path) -> None:
    shards.write_webdataset(tmp_path, {"train": ROWS}, png_of, 500)
    assert len(shards.find_shards(tmp_path / "train")) > 1
    shards.write_webdataset(tmp_path, {"train": ROWS}, png_of)
    assert len(shards.find_shards(tmp_path / "train")) == 1 and len(read_rows(tmp_path)) == 40


# --- export -----------------------------------------------------------------------------------------------


def test_export_goes_from_form_to_form_and_back(dataset: Path, tmp_path: Path) -> None:
    folder = dataset
    for number, kind in enumerate(("webdataset", "parquet", "imagefolder")):
        folder = export(ExportConfig(folder=folder, to=kind, out=tmp_path / str(number)))
        assert read_manifest(folder, "dataset")["sources"] == read_manifest(dataset)["sources"]
    names = [name for name in read_manifest(dataset)["files"] if name.startswith(("train", "validation", "test"))]
    ours, theirs = (read_manifest(place)["files"] for place in (folder, dataset))
    assert ours == {name: theirs[name] for name in names}


def restrict(folder: Path) -> None:
    manifest = read_json(folder / "dataset.json")
    manifest["sources"][0] |= {"name": "MIMIC-CXR", "licence": "PhysioNet 1.5.0", "restricted": True}
    (folder / "dataset.json").write_bytes(seal(manifest))


def test_export_asks_where_sharing_is_restricted(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = prepare(plain_config(source, tmp_path / "in"))
    restrict(folder)
    with pytest.raises(UsageError, match=r"MIMIC-CXR restrict.*--accept-terms"):
        export(ExportConfig(folder=folder, to="parquet", out=tmp_path / "out"))
    assert "PhysioNet 1.5.0" in capsys.readouterr().err and not (tmp_path / "out").exists()
    export(ExportConfig(folder=folder, to="parquet", out=tmp_path / "out", accept_terms=True))
    assert read_manifest(tmp_path / "out")["sources"][0]["restricted"]


def test_every_manifest_after_it_tells_the_terms(source: Path, tiny_model: Path, tmp_path: Path) -> None:
    folder = prepare(plain_config(source, tmp_path / "in", resolution=64))
    restrict(folder)
    shared: dict[str, Any] = {"steps": 1, "batch_size": 2, "sample_steps": 1, "device": "cpu"}
    run = train(TrainConfig(datasets=[folder], base=str(tiny_model), out=tmp_path / "run", **shared))
    assert [source["name"] for source in read_manifest(run)["sources"]] == ["MIMIC-CXR"]
    from synthcxr import GenerateConfig, generate

    drawn = generate(
        GenerateConfig(model=str(run), prompt="x", steps=1, batch_size=1, out=tmp_path / "set", device="cpu")
    )
    assert read_manifest(drawn)["sources"] == read_manifest(run)["sources"]
    with pytest.raises(UsageError, match="--accept-terms"):
        export(ExportConfig(folder=drawn, to="webdataset", out=tmp_path / "out"))


def test_export_vouches_for_no_file_that_was_changed(source: Path, tmp_path: Path) -> None:
    folder = prepare(plain_config(source, tmp_path / "in", resolution=64))
    image = next((folder / "train").glob("*.png"))
    image.write_bytes(image.read_bytes()[:-30])
    with pytest.raises(SynthCXRError, match=f"changed: train/{image.name}"):
        export(ExportConfig(folder=folder, to="parquet", out=tmp_path / "out"))
    assert not (tmp_path / "out" / "dataset.json").exists()


def test_export_takes_images_only(tiny_model: Path, dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no manifest"):
        export(ExportConfig(folder=tiny_model, to="parquet", out=tmp_path / "out"))
