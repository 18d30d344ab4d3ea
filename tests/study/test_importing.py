from pathlib import Path

import pytest

from synthcxr.config import StudyImportConfig
from synthcxr.errors import SynthCXRError, UsageError
from synthcxr.store import read_manifest, sha256_bytes, verify
from synthcxr.study.folder import SHEET, TRUTH, load
from synthcxr.study.importing import Imported, import_answers

from .piles import Cells, fill, make_study, original_reading, truth_of, write_csv


def right(image: str, truth: str) -> Cells:
    return {"answer": truth, "confidence": "4"}


def add(study: Path, answers: Path) -> Imported:
    return import_answers(StudyImportConfig(answers=answers, study=study))


def found(out: Path, answers: Path, overwrite: bool = False) -> Imported:
    return import_answers(StudyImportConfig(answers=answers, out=out, overwrite=overwrite))


def refused(study: Path, answers: Path, message: str) -> None:
    """The import fails with this message and leaves the study as it was."""
    before = (study / "study.json").read_bytes()
    with pytest.raises(UsageError, match=message):
        add(study, answers)
    assert (study / "study.json").read_bytes() == before
    assert verify(study) == []


def test_answers_are_added_and_the_plan_stays(tmp_path: Path) -> None:
    study = make_study(tmp_path)
    plan = read_manifest(study)
    sheet = fill(study, tmp_path / "a.csv", "R1", right)
    result = add(study, sheet)
    assert result.to_json() == {
        "folder": str(study),
        "file": f"answers/001-{sha256_bytes(sheet.read_bytes())[:8]}.csv",
        "readers": ["R1"],
        "answers": 6,
        "unanswered": 0,
    }
    assert (study / result.file).read_bytes() == sheet.read_bytes()
    manifest = read_manifest(study)
    assert verify(study) == []
    assert {name: entry for name, entry in manifest["files"].items() if name != result.file} == plan["files"]
    assert manifest["counts"] == plan["counts"] | {"readers": 1, "answers": 6}
    changing = ("files", "counts", "seal")
    assert all(manifest[name] == plan[name] for name in plan if name not in changing)


def test_unanswered_rows_are_counted_and_can_follow_later(tmp_path: Path) -> None:
    study = make_study(tmp_path)
    first, *rest = sorted(truth_of(study))
    early = fill(study, tmp_path / "a.csv", "R1", lambda i, t: {"answer": t if i == first else ""})
    late = fill(study, tmp_path / "b.csv", "R1", lambda i, t: {"answer": "" if i == first else t})
    assert (add(study, early).answers, add(study, late).unanswered) == (1, 1)
    assert len([a for a in load(study).answers if a.answer]) == 1 + len(rest)


def test_the_same_answers_are_refused(tmp_path: Path) -> None:
    study = make_study(tmp_path)
    sheet = fill(study, tmp_path / "a.csv", "R1", right)
    add(study, sheet)
    refused(study, sheet, "already there, as")
    (tmp_path / "again.csv").write_bytes(sheet.read_bytes() + b"\n")  # other bytes, the same answers
    refused(study, tmp_path / "again.csv", "the answer of R1 to case-001.png is already there")
    add(study, fill(study, tmp_path / "b.csv", "R2", right))
    assert read_manifest(study)["counts"]["readers"] == 2


def test_wrong_answers_change_nothing(tmp_path: Path) -> None:
    study = make_study(tmp_path)
    truth = truth_of(study)
    rows = [{"reader": "R1", "image": image, "truth": truth[image], "answer": "real"} for image in truth]
    unknown = [*rows, {**rows[0], "image": "case-999.png"}]
    lie = {"real": "synthetic", "synthetic": "real"}[rows[0]["truth"]]
    refused(study, write_csv(tmp_path / "a.csv", unknown), "row 8: case-999.png is no image of this study")
    refused(study, write_csv(tmp_path / "b.csv", [{**rows[0], "truth": lie}]), "row 2: case-001.png is")
    refused(study, write_csv(tmp_path / "c.csv", [{"image": "x"}]), "lacks the columns reader, answer")
    refused(study, write_csv(tmp_path / "d.csv", [{**rows[0], "answer": "?"}]), "row 2: the answer")
    refused(study, study / SHEET, "holds no answer")
    refused(study, tmp_path / "none.csv", "cannot be read")
    add(study, write_csv(tmp_path / "e.csv", rows))


def test_the_studys_own_sheet_can_be_filled_in_and_is_blank_afterwards(tmp_path: Path) -> None:
    study = make_study(tmp_path)
    blank = (study / SHEET).read_bytes()
    filled = fill(study, study / SHEET, "R1", right).read_bytes()
    with pytest.raises(SynthCXRError, match=r"changed: answer-sheet\.csv"):
        load(study)
    result = add(study, study / SHEET)
    assert (study / SHEET).read_bytes() == blank
    assert (study / result.file).read_bytes() == filled
    assert verify(study) == []


def test_a_stopped_import_goes_on(tmp_path: Path) -> None:
    study = make_study(tmp_path)
    sheet = fill(study, tmp_path / "a.csv", "R1", right)
    left = study / "answers" / f"001-{sha256_bytes(sheet.read_bytes())[:8]}.csv"
    left.parent.mkdir()
    left.write_bytes(sheet.read_bytes())  # written, but the manifest was not
    add(study, sheet)
    assert verify(study) == []


def test_a_changed_study_takes_no_answers(tmp_path: Path) -> None:
    study = make_study(tmp_path)
    sheet = fill(study, tmp_path / "a.csv", "R1", right)
    (study / TRUTH).write_text((study / TRUTH).read_text().replace("real", "synthetic", 1))
    with pytest.raises(SynthCXRError, match=r"changed: key/truth\.jsonl"):
        add(study, sheet)
    assert not (study / "answers").exists()


def test_answers_from_elsewhere_become_a_study(tmp_path: Path) -> None:
    sheet, out = tmp_path / "a.csv", tmp_path / "study"
    sheet.write_bytes(original_reading())
    assert found(out, sheet).answers == 100
    assert verify(out) == []
    assert read_manifest(out, "study")["counts"] == {
        "readers": 1,
        "answers": 100,
        "real": 50,
        "synthetic": 50,
    }
    with pytest.raises(UsageError, match="already there"):
        found(out, sheet)
    second = tmp_path / "b.csv"
    second.write_bytes(original_reading().replace(b"R1", b"R2"))
    with pytest.raises(UsageError, match="holds a study already"):
        found(out, second)
    add(out, second)
    assert read_manifest(out)["counts"] == {"readers": 2, "answers": 200, "real": 50, "synthetic": 50}
    contradicting = tmp_path / "c.csv"
    contradicting.write_text("reader,image,truth,answer\nR3,real-0.png,synthetic,real\n")
    refused(out, contradicting, r"row 2: real-0\.png is real, not synthetic")
    assert found(out, second, overwrite=True).readers == ("R2",)
    assert verify(out) == []


def test_a_plan_is_not_replaced_by_answers(tmp_path: Path) -> None:
    study, sheet = make_study(tmp_path), tmp_path / "a.csv"
    sheet.write_bytes(original_reading())
    with pytest.raises(UsageError, match="planned study"):
        found(study, sheet, overwrite=True)


def test_wrong_places_are_refused(tmp_path: Path) -> None:
    sheet = tmp_path / "a.csv"
    sheet.write_bytes(original_reading())
    with pytest.raises(UsageError, match="does not exist"):
        add(tmp_path / "nowhere", sheet)
    assert not (tmp_path / "nowhere").exists()
    with pytest.raises(UsageError, match="was not written by synthcxr"):
        found(tmp_path, sheet)
    for values in ({}, {"study": "a", "out": "b"}, {"study": "a", "overwrite": True}):
        with pytest.raises(UsageError, match=r"--study DIR|with --study"):
            StudyImportConfig.load({"answers": sheet, **values})
