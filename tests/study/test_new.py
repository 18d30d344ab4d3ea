import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from synthcxr.config import StudyImportConfig, StudyNewConfig
from synthcxr.errors import UsageError
from synthcxr.images import read_grey, write_png
from synthcxr.store import list_files, read_jsonl, read_manifest, sha256_file, verify
from synthcxr.study.folder import IMAGES, README, REJECTED, SHEET, TRUTH
from synthcxr.study.importing import import_answers
from synthcxr.study.new import new

from .piles import (
    fill,
    image_folder,
    make_piles,
    make_study,
    plain_folder,
    rough,
    sheet_rows,
    smooth,
    truth_of,
)


def chunks(png: bytes) -> list[bytes]:
    """The types of a PNG's chunks."""
    found, place = [], 8
    while place < len(png):
        (length,) = struct.unpack(">I", png[place : place + 4])
        found.append(png[place + 4 : place + 8])
        place += 12 + length
    return found


def test_a_study_is_frozen_and_whole(tmp_path: Path) -> None:
    study = make_study(tmp_path)
    assert verify(study) == []
    manifest = read_manifest(study, "study")
    assert manifest["counts"] == {
        "real": 3, "synthetic": 3, "patients": 3, "rejected": 0, "readers": 0, "answers": 0
    }  # fmt: skip
    assert manifest["inputs"]["synthetic"]["kind"] == "set"
    assert sorted(truth_of(study).values()) == ["real"] * 3 + ["synthetic"] * 3


def test_nothing_but_the_picture_tells(tmp_path: Path) -> None:
    study = make_study(tmp_path)
    files = sorted((study / IMAGES).iterdir())
    assert [file.name for file in files] == [f"case-{i:03}.png" for i in range(1, 7)]
    assert len({file.stat().st_size for file in files}) == 1
    assert {tuple(sorted(set(chunks(file.read_bytes())))) for file in files} == {(b"IDAT", b"IEND", b"IHDR")}
    for file in files:
        with Image.open(file) as image:
            image.load()
            assert (image.mode, image.size, image.info) == ("L", (16, 16), {})


def test_files_are_equally_long_at_any_shape(tmp_path: Path) -> None:
    tall = [np.ascontiguousarray(rough(i, 301)[:, :203]) for i in range(2)]
    flat = [np.ascontiguousarray(smooth(i, 301)[:, :203]) for i in range(2)]
    study = new(
        StudyNewConfig(
            real=plain_folder(tmp_path / "a", tall),
            synthetic=plain_folder(tmp_path / "b", flat),
            count=2,
            out=tmp_path / "study",
        )
    )
    assert len({file.stat().st_size for file in (study / IMAGES).iterdir()}) == 1
    assert {read_grey(file).shape for file in (study / IMAGES).iterdir()} == {(301, 203)}


def test_what_is_handed_out_does_not_hold_the_truth(tmp_path: Path) -> None:
    study = make_study(tmp_path)
    assert [row["image"] for row in sheet_rows(study)] == sorted(truth_of(study))
    assert {value for row in sheet_rows(study) for name, value in row.items() if name != "image"} == {""}
    assert (study / SHEET).read_text().splitlines()[0] == "reader,image,answer,confidence,seconds"
    assert all(word in (study / README).read_text() for word in ("real", "synthetic", "1 (a guess)", "5 (certain)"))
    assert {path.parts[0] for path in list_files(study)} == {IMAGES, "key", SHEET, README, "study.json"}


def test_the_key_leads_back_to_the_sources(tmp_path: Path) -> None:
    study = make_study(tmp_path)
    for row in read_jsonl(study / TRUTH):
        source = tmp_path / row["truth"] / row["source"]
        assert row["source_sha256"] == sha256_file(source)
        assert row["image_sha256"] == sha256_file(study / IMAGES / row["image"])
        assert np.array_equal(read_grey(source), read_grey(study / IMAGES / row["image"]))
        assert ("seed" in row) == ("prompt" in row) == (row["truth"] == "synthetic")
        if row["truth"] == "synthetic":
            assert row["prompt"] == f"prompt {row['seed'] - 100}"


def test_a_seed_is_a_study(tmp_path: Path) -> None:
    real, synthetic = make_piles(tmp_path)

    def key(name: str, seed: int) -> bytes:
        out = tmp_path / name
        return (new(StudyNewConfig(real=real, synthetic=synthetic, count=3, seed=seed, out=out)) / TRUTH).read_bytes()

    assert key("one", 7) == key("two", 7) != key("three", 8)


def test_a_finished_study_is_left_alone(tmp_path: Path) -> None:
    before = (make_study(tmp_path) / "study.json").read_bytes()
    assert (make_study(tmp_path) / "study.json").read_bytes() == before
    with pytest.raises(UsageError, match="seed differ"):
        make_study(tmp_path, seed=8)


def test_different_sizes_become_the_smaller_square_and_it_is_said(tmp_path: Path) -> None:
    real = plain_folder(tmp_path / "real", [np.ascontiguousarray(rough(i, 40)[:, :30]) for i in range(3)])
    synthetic = plain_folder(tmp_path / "synthetic", [smooth(i, 16) for i in range(3)])
    study = new(StudyNewConfig(real=real, synthetic=synthetic, count=3, out=tmp_path / "study"))
    assert {read_grey(file).shape for file in (study / IMAGES).iterdir()} == {(16, 16)}
    assert any("16 by 16 pixels" in note for note in read_manifest(study)["notes"])


def test_of_a_dataset_the_test_split_is_read_one_image_a_patient(tmp_path: Path) -> None:
    owners = ["A", "A", "A", "B", "C"]
    rows = [({"file_name": f"{i}.png", "patient_id": owner}, rough(i)) for i, owner in enumerate(owners)]
    real = image_folder(tmp_path / "dataset", "dataset", "test", rows)
    plain_folder(real / "train", [rough(50)])
    synthetic = plain_folder(tmp_path / "synthetic", [smooth(i) for i in range(5)])

    def patients(count: int) -> set[str]:
        study = new(StudyNewConfig(real=real, synthetic=synthetic, count=count, out=tmp_path / f"study{count}"))
        sources = [row["source"] for row in read_jsonl(study / TRUTH) if row["truth"] == "real"]
        assert all(source.startswith("test/") for source in sources)
        return {owners[int(Path(source).stem)] for source in sources}

    assert patients(3) == patients(4) == {"A", "B", "C"}
    assert any("come from 3 patients" in note for note in read_manifest(tmp_path / "study4")["notes"])
    assert not any("come from" in note for note in read_manifest(tmp_path / "study3")["notes"])


def test_broken_and_repeated_images_are_left_out(tmp_path: Path) -> None:
    real, synthetic = make_piles(tmp_path, real=3, synthetic=3)
    (real / "broken.png").write_bytes(b"no image")
    write_png(real / "twin.png", rough(0))
    study = new(StudyNewConfig(real=real, synthetic=synthetic, count=3, out=tmp_path / "study"))
    assert {row["source"] for row in read_jsonl(study / REJECTED)} == {"broken.png", "twin.png"}
    assert read_manifest(study)["counts"]["rejected"] == 2


def test_too_few_images_are_counted(tmp_path: Path) -> None:
    real, synthetic = make_piles(tmp_path)
    with pytest.raises(UsageError, match="6 synthetic images are needed, but there are 5 in"):
        new(StudyNewConfig(real=real, synthetic=synthetic, count=6, out=tmp_path / "study"))
    with pytest.raises(UsageError, match="7 real images are needed, but there are 6 in"):
        new(StudyNewConfig(real=real, synthetic=synthetic, count=7, out=tmp_path / "study"))
    assert not (tmp_path / "study").exists()


def test_a_picture_in_both_piles_is_found_though_it_was_not_drawn(tmp_path: Path) -> None:
    real, _ = make_piles(tmp_path, real=20)
    plain = plain_folder(tmp_path / "plain", [smooth(1), smooth(2)])
    with Image.fromarray(rough(9)) as copy:
        copy.convert("RGB").save(plain / "copy.png")  # other bytes, the same picture
    with pytest.raises(UsageError, match=r"img9\.png and .*copy\.png are the same picture"):
        new(StudyNewConfig(real=real, synthetic=plain, count=1, out=tmp_path / "study"))


def test_wrong_folders_are_refused(tmp_path: Path) -> None:
    real, synthetic = make_piles(tmp_path)
    cases = [
        (real, real / ".." / "real", tmp_path / "study", "the same folder"),
        (tmp_path, synthetic, tmp_path / "study", "one lies in the other"),
        (real, synthetic, real / "study", "lies in a folder of images"),
        (synthetic, real, tmp_path / "study", "is a set"),
        (tmp_path / "nowhere", synthetic, tmp_path / "study", "does not exist"),
    ]
    for ours, theirs, out, message in cases:
        with pytest.raises(UsageError, match=message):
            new(StudyNewConfig(real=ours, synthetic=theirs, count=1, out=out))


def test_overwriting_replaces_a_plan_but_never_answers(tmp_path: Path) -> None:
    study = make_study(tmp_path)
    config = StudyNewConfig(
        real=tmp_path / "real", synthetic=tmp_path / "synthetic", count=2, out=study, overwrite=True
    )
    assert len(truth_of(new(config))) == 4
    import_answers(
        StudyImportConfig(
            answers=fill(study, tmp_path / "a.csv", "R1", lambda image, truth: {"answer": truth}), study=study
        )
    )
    with pytest.raises(UsageError, match="1 file of readers' answers"):
        new(config)
