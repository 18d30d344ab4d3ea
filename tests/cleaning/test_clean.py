"""The stage: what it writes, what it keeps, and how it goes on after a crash."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from synthcxr.cleaning import clean as stage
from synthcxr.cleaning.clean import clean
from synthcxr.cleaning.layout import png_names
from synthcxr.cleaning.marks import Mark
from synthcxr.cleaning.remove import remove_text
from synthcxr.config import CleanConfig
from synthcxr.errors import SynthCXRError, UsageError
from synthcxr.imagefolder import read_rows
from synthcxr.images import Grey, read_grey, read_png_text, write_png
from synthcxr.store import lineage, list_files, read_jsonl, read_manifest, sha256_file, verify

from .xrays import CORNERS, drawn_xray

pytestmark = pytest.mark.usefixtures("quick_reader")
Make = Callable[[str], Path]


def config(folder: Path, **values: Any) -> CleanConfig:
    return CleanConfig(folder=folder, out=folder.parent / f"{folder.name}-clean", **{"workers": 1, **values})


def content(folder: Path) -> dict[str, str]:
    return {path.as_posix(): sha256_file(folder / path) for path in list_files(folder)}


@pytest.mark.parametrize("kind", ["dataset", "set"])
def test_a_dataset_stays_a_dataset_and_a_set_a_set(make_folder: Make, kind: str) -> None:
    folder = make_folder(kind)
    before = content(folder)
    result = clean(config(folder))
    manifest = read_manifest(result.folder, kind)
    assert manifest["notes"][0] == "Drawn by a formula."
    assert manifest["sources"] == [{"name": "drawn", "licence": "CC0"}]
    assert manifest["counts"]["patients"] == 4
    assert (result.counts["images"], result.counts["removed"], result.residual) == (4, 2, 0)
    assert verify(result.folder) == []
    assert lineage(result.folder)["inputs"]["images"]["state"] == "intact"
    given, cleaned = read_rows(folder), read_rows(result.folder)
    assert [(row.split, row.path.name, row.text) for row in cleaned] == [
        (row.split, row.path.name, row.text) for row in given
    ]
    assert all(row.fields.items() <= new.fields.items() for row, new in zip(given, cleaned, strict=True))
    assert [row.fields["text_removed"] for row in cleaned] == [False, True, False, True]
    assert cleaned[1].fields["texts_found"] == 1
    assert 0 < cleaned[1].fields["text_area"] < 0.1
    assert content(folder) == before


def test_masks_and_proof_say_what_changed(make_folder: Make) -> None:
    folder = make_folder("dataset")
    out = clean(config(folder)).folder
    assert sorted(path.name for path in (out / "masks").iterdir()) == ["1.png", "3.png"]
    proofs = {row["file_name"]: row for row in read_jsonl(out / "proof.jsonl")}
    for row in read_rows(folder):
        before, after = read_grey(row.path), read_grey(out / row.split / row.path.name)
        proof = proofs[row.path.name]
        if proof["mask"] is None:
            assert np.array_equal(before, after)
            assert proof["status"] == "clean"
            continue
        mask = read_grey(out / proof["mask"])
        assert set(np.unique(mask)) == {0, 255}
        assert np.array_equal(before[mask == 0], after[mask == 0])
        assert (before != after).any()
        assert proof["mask_pixels"] == np.count_nonzero(mask)
        assert proof["changed_outside_mask"] == 0
        assert (proof["text_before"], proof["text_after"], proof["status"]) == (["R"], [], "removed")
        assert len(proof["boxes"][0]["polygon"]) == 4


def test_provenance_in_the_png_is_kept(make_folder: Make) -> None:
    out = clean(config(make_folder("set"))).folder
    assert read_png_text(out / "train" / "1.png") == {"prompt": "prompt 1", "synthcxr": "{}"}


def test_text_fields_of_others_may_name_a_patient_and_go(make_folder: Make) -> None:
    folder = make_folder("set")
    write_png(folder / "train" / "0.png", read_grey(folder / "train" / "0.png"), {"PatientName": "DOE^JOHN"})
    assert read_png_text(clean(config(folder)).folder / "train" / "0.png") == {}


def test_a_plain_folder_becomes_one_split(make_folder: Make) -> None:
    folder = make_folder("folder")
    Image.fromarray(read_grey(folder / "ward" / "1.png")).convert("RGB").save(folder / "1.jpg", quality=95)
    out = clean(config(folder)).folder
    assert read_manifest(out)["kind"] == "clean"
    names = ["1.png", "ward__0.png", "ward__1.png", "ward__2.png", "ward__3.png"]
    assert [row.path.name for row in read_rows(out)] == names
    assert {row.split for row in read_rows(out)} == {"train"}
    again = clean(CleanConfig(folder=out, out=out.parent / "again", workers=1))
    assert again.counts["clean"] == 5


def test_huggingface_datasets_reads_it_without_the_masks(make_folder: Make, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    out = clean(config(make_folder("dataset"))).folder
    loaded = datasets.load_dataset("imagefolder", data_dir=str(out), cache_dir=str(tmp_path / "cache"))
    assert {split: len(rows) for split, rows in loaded.items()} == {"train": 3, "test": 1}
    assert sorted(loaded["train"]["text"]) == ["prompt 0", "prompt 1", "prompt 2"]


def test_splits_that_share_a_name_have_a_mask_each(make_folder: Make, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    folder = make_folder("dataset")
    (folder / "test" / "3.png").rename(folder / "test" / "1.png")
    row = (folder / "test" / "metadata.jsonl").read_text().replace("3.png", "1.png")
    (folder / "test" / "metadata.jsonl").write_text(row)
    out = clean(config(folder)).folder
    assert sorted(path.name for path in (out / "masks").iterdir()) == ["test__1.png", "train__1.png"]
    loaded = datasets.load_dataset("imagefolder", data_dir=str(out), cache_dir=str(tmp_path / "cache"))
    assert {split: len(rows) for split, rows in loaded.items()} == {"train": 3, "test": 1}


def test_an_unreadable_image_is_rejected_and_the_rest_goes_on(make_folder: Make) -> None:
    folder = make_folder("dataset")
    image = folder / "train" / "1.png"
    image.write_bytes(image.read_bytes()[:900])
    (folder / "train" / "2.png").unlink()
    result = clean(config(folder))
    rejected = read_jsonl(result.folder / "rejected.jsonl")
    assert [row["file"] for row in rejected] == ["train/1.png", "train/2.png"]
    assert all(row["reason"] for row in rejected)
    assert (result.counts["images"], result.counts["rejected"]) == (2, 2)
    assert "patients" not in result.counts
    assert [row.path.name for row in read_rows(result.folder)] == ["0.png", "3.png"]


def test_a_folder_of_nothing_readable_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(b"not an image")
    with pytest.raises(SynthCXRError, match="could be read"):
        clean(CleanConfig(folder=tmp_path / "in", out=tmp_path / "out", workers=1))


def test_a_killed_run_goes_on_and_ends_in_the_same_bytes(
    make_folder: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_folder("dataset")
    whole = clean(CleanConfig(folder=folder, out=tmp_path / "whole", workers=1)).folder
    calls: list[str] = []

    def dies_at_the_third(*arguments: Any) -> Any:
        calls.append("called")
        if len(calls) == 3:
            raise KeyboardInterrupt
        return remove_text(*arguments)

    monkeypatch.setattr(stage, "remove_text", dies_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        clean(CleanConfig(folder=folder, out=tmp_path / "killed", workers=1))
    resumed = clean(CleanConfig(folder=folder, out=tmp_path / "killed", workers=1)).folder
    assert len(calls) == 3 + 2
    assert content(resumed) == content(whole)
    clean(CleanConfig(folder=folder, out=tmp_path / "killed", workers=1))
    assert len(calls) == 5


def test_a_changed_source_is_done_again_on_resume(make_folder: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_folder("folder")
    monkeypatch.setattr(stage, "_finish", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        clean(config(folder))
    monkeypatch.undo()
    monkeypatch.setattr(stage, "_reader", lambda *_: lambda image: [])
    Image.fromarray(read_grey(folder / "ward" / "0.png")).save(folder / "ward" / "1.png")
    out = clean(config(folder)).folder
    proofs = read_jsonl(out / "proof.jsonl")
    assert [proof["status"] for proof in proofs] == ["clean", "clean", "clean", "removed"]
    assert [path.name for path in (out / "masks").iterdir()] == ["ward__3.png"]


def test_text_that_is_left_is_counted_and_named(make_folder: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_folder("folder")
    monkeypatch.setattr("synthcxr.cleaning.remove.ROUNDS", 0)
    result = clean(config(folder))
    assert result.residual == 2
    proofs = read_jsonl(result.folder / "proof.jsonl")
    assert [proof["file_name"] for proof in proofs if proof["status"] == "residual"] == ["ward__1.png", "ward__3.png"]
    assert read_rows(result.folder)[1].fields["texts_left"] == 1
    assert clean(config(folder)).residual == 2


@pytest.mark.parametrize(("source", "out"), [("a", "a"), ("a", "a/b"), ("a/b", "a")])
def test_a_folder_inside_a_folder_is_refused(tmp_path: Path, source: str, out: str) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    with pytest.raises(UsageError, match="lie in each other"):
        clean(CleanConfig(folder=tmp_path / source, out=tmp_path / out))


def test_a_row_that_leads_out_of_its_folder_is_refused(make_folder: Make) -> None:
    folder = make_folder("dataset")
    rows = folder / "train" / "metadata.jsonl"
    rows.write_text(rows.read_text().replace("0.png", "../../0.png"))
    with pytest.raises(UsageError, match="leads out"):
        clean(config(folder))


def test_names_become_png_and_stay_apart() -> None:
    assert png_names(["a.jpg", "b/c.jpeg", "d.png"]) == ["a.png", "b/c.png", "d.png"]
    assert png_names(["a.jpg", "a.png", "a.jpeg"]) == ["a.jpg.png", "a.png", "a.jpeg.png"]


def test_limit_takes_the_first_images(make_folder: Make) -> None:
    result = clean(config(make_folder("dataset"), limit=2))
    assert [row.path.name for row in read_rows(result.folder)] == ["0.png", "1.png"]


@pytest.mark.parametrize(
    ("kind", "keep", "left"),
    [("dataset", None, ["R"]), ("folder", None, ["R"]), ("set", None, []), ("dataset", ["nothing"], []),
     ("set", ["laterality"], ["R"]), ("set", ["position"], [])],
)  # fmt: skip
def test_sides_stay_in_real_xrays(
    make_folder: Make, monkeypatch: pytest.MonkeyPatch, kind: str, keep: Any, left: list[str]
) -> None:
    class Reader:
        def read(self, image: Grey, minimum_score: float) -> list[Mark]:
            place = ((0.0, 0.0), (20.0, 0.0), (20.0, 10.0), (0.0, 10.0))
            return [Mark(place, "R", 0.9, "laterality"), Mark(place, "JOHN DOE", 0.9, "identifier")]

    monkeypatch.undo()  # the fixture's reader
    monkeypatch.setattr(stage, "shared_reader", Reader)
    monkeypatch.setattr(stage, "find_solid", lambda image, marks: [])
    wanted = CleanConfig(folder=make_folder(kind), out=Path("out"), keep=keep)
    found = stage._reader(wanted.minimum_score, stage.kept_kinds(wanted))(drawn_xray())
    assert [mark.text for mark in found] == [text for text in ("R", "JOHN DOE") if text not in left]


def test_a_text_that_is_to_be_left_is_left(make_folder: Make) -> None:
    folder = make_folder("folder")
    x, y = np.array(CORNERS).mean(0)
    done = clean(config(folder, leave=[f"ward__1.png={x},{y}"]))
    proofs = {row["file_name"]: row for row in read_jsonl(done.folder / "proof.jsonl")}
    assert proofs["ward__1.png"]["mask_pixels"] == 0 and proofs["ward__3.png"]["mask_pixels"] > 0
    with pytest.raises(UsageError, match=r"FILE=X,Y"):
        CleanConfig.load({"folder": folder, "out": "out", "leave": ["1.png"]})
