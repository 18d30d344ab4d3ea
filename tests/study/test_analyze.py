import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthcxr.config import StudyAnalyzeConfig, StudyImportConfig
from synthcxr.errors import SynthCXRError, UsageError
from synthcxr.store import read_json
from synthcxr.study.analyze import COLUMNS, analyze
from synthcxr.study.answers import Answer
from synthcxr.study.importing import import_answers
from synthcxr.study.plan import Truth
from synthcxr.study.readings import Proportion, auc, read, wilson

from .piles import Cells, fill, make_study, original_reading, truth_of


def rounded(p: Proportion) -> tuple[float, float, float]:
    assert p.value is not None
    assert p.ci_low is not None
    assert p.ci_high is not None
    return round(p.value, 2), round(p.ci_low, 3), round(p.ci_high, 3)


def test_the_original_reading(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(original_reading())
    import_answers(StudyImportConfig(answers=tmp_path / "a.csv", out=tmp_path / "study"))
    analysis = analyze(StudyAnalyzeConfig(study=tmp_path / "study"))
    (reading,) = analysis.readers
    assert rounded(reading.accuracy) == (0.81, 0.722, 0.875)
    assert rounded(reading.sensitivity) == (0.86, 0.738, 0.930)
    assert rounded(reading.specificity) == (0.76, 0.626, 0.857)
    said = analysis.to_json()
    assert said["positive"] == "synthetic"
    assert said["readers"][0]["counts"] == {
        "synthetic_called_synthetic": 43,
        "synthetic_called_real": 7,
        "real_called_real": 38,
        "real_called_synthetic": 12,
    }
    area = said["readers"][0]["auc"]
    assert (area["n"], area["value"], area["reason"]) == (0, None, "no answer has a confidence")
    assert analysis.primary.sentence.startswith(
        "Over one reader and 100 images, the accuracy is 0.810 (95 % interval 0.722 to 0.875): readers tell"
    )
    assert analysis.rows() == [
        (
            "R1",
            "100",
            "0.810 (0.722–0.875), 81 of 100",
            "0.860 (0.738–0.930), 43 of 50",
            "0.760 (0.626–0.857), 38 of 50",
            "–",
            "0",
        )
    ]


def test_from_the_plan_to_the_figures(tmp_path: Path) -> None:
    study = make_study(tmp_path)
    first = min(truth_of(study))

    def hesitant(image: str, truth: str) -> Cells:
        return {"answer": "" if image == first else "real", "confidence": "3"}

    for name, answer in (("R1", lambda i, t: {"answer": t, "confidence": "5"}), ("R2", hesitant)):
        sheet = fill(study, tmp_path / f"{name}.csv", name, answer)
        import_answers(StudyImportConfig(answers=sheet, study=study))
    analysis = analyze(StudyAnalyzeConfig(study=study))
    sure, lazy = analysis.readers
    assert (sure.accuracy.value, sure.auc.value, sure.auc.n, sure.unanswered) == (1.0, 1.0, 6, 0)
    assert (lazy.accuracy.n, lazy.sensitivity.right, lazy.auc.value, lazy.unanswered) == (5, 0, 0.5, 1)
    assert analysis.pooled is not None
    assert analysis.pooled.accuracy.n == 11
    assert [row[0] for row in analysis.rows()] == ["R1", "R2", "pooled"]
    assert {len(row) for row in analysis.rows()} == {len(COLUMNS)}
    assert any("R2 1" in note for note in analysis.notes)
    assert any("too narrow" in note for note in analysis.notes)
    json.dumps(analysis.to_json(), allow_nan=False)


def test_a_study_without_answers_or_with_changed_ones_is_refused(tmp_path: Path) -> None:
    study = make_study(tmp_path)
    with pytest.raises(UsageError, match="holds no answers yet"):
        analyze(StudyAnalyzeConfig(study=study))
    sheet = fill(study, tmp_path / "a.csv", "R1", lambda i, t: {"answer": "real"})
    file = study / import_answers(StudyImportConfig(answers=sheet, study=study)).file
    file.write_text(file.read_text().replace("real", "synthetic"))
    with pytest.raises(SynthCXRError, match="changed: answers/001"):
        analyze(StudyAnalyzeConfig(study=study))
    assert read_json(study / "study.json")["kind"] == "study"
    with pytest.raises(UsageError, match="where a study is needed"):
        analyze(StudyAnalyzeConfig(study=tmp_path / "synthetic"))


def answers_of(right: int, wrong: int, kind: Truth, other: Truth) -> list[Answer]:
    return [Answer(i, "R1", f"{kind}{i}", kind if i < right else other) for i in range(right + wrong)]


few = st.integers(0, 60)


@settings(deadline=None)
@given(few, few, few, few)
def test_figures_are_their_counts(tp: int, fn: int, tn: int, fp: int) -> None:
    answers = answers_of(tp, fn, "synthetic", "real") + answers_of(tn, fp, "real", "synthetic")
    truth: dict[str, Truth] = {a.image: "real" if a.image.startswith("real") else "synthetic" for a in answers}
    reading = read("R1", answers, truth, 0)
    assert (reading.sensitivity.right, reading.sensitivity.n) == (tp, tp + fn)
    assert (reading.specificity.right, reading.specificity.n) == (tn, tn + fp)
    assert (reading.accuracy.right, reading.accuracy.n) == (tp + tn, tp + fn + tn + fp)
    assert sum(reading.to_json()["counts"].values()) == len(answers)
    for figure in (reading.accuracy, reading.sensitivity, reading.specificity):
        if figure.value is None or figure.ci_low is None or figure.ci_high is None:
            assert figure.n == 0
            assert figure.reason
        else:
            assert figure.value == figure.right / figure.n
            assert 0 <= figure.ci_low <= figure.value + 1e-12
            assert figure.value - 1e-12 <= figure.ci_high <= 1


def test_wilson_narrows_with_n() -> None:
    widths = [p.ci_high - p.ci_low for n in (10, 100, 1000) if (p := wilson(n // 2, n, "")).ci_high and p.ci_low]
    assert widths == sorted(widths, reverse=True)
    assert str(wilson(0, 0, "nothing")) == "– (nothing)"


def test_auc_ranks_by_answer_and_confidence() -> None:
    truth: dict[str, Truth] = {"a": "synthetic", "b": "synthetic", "c": "real", "d": "real"}

    def given(*said: tuple[Truth, float | None]) -> list[Answer]:
        return [Answer(2, "R1", i, w, confidence=c) for i, (w, c) in zip("abcd", said, strict=True)]

    # "b" was called real, but less surely than the real ones: still ranked above them
    best = auc(given(("synthetic", 1), ("real", 2), ("real", 3), ("real", 4)), truth)
    assert (best.value, best.n) == (1.0, 4)
    assert auc(given(("real", 5), ("real", 5), ("synthetic", 5), ("synthetic", 5)), truth).value == 0.0
    assert auc(given(("real", 5), ("real", None), ("real", 5), ("real", None)), truth).n == 2
    one = auc(given(("real", 5), ("real", 5), ("real", None), ("real", None)), truth)
    assert (one.value, one.n) == (None, 2)
    assert one.reason
