"""What an analysis says beyond each reader's shares: over readers, agreement, quality, pairs, blinding, exports."""

import csv
import io
import json
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from synthcxr.config import StudyAnalyzeConfig, StudyImportConfig
from synthcxr.errors import UsageError
from synthcxr.images import encode_png
from synthcxr.store import Json, open_output, read_json, sha256_bytes, verify, write_bytes, write_json, write_jsonl
from synthcxr.study.analyze import Analysis, analyze
from synthcxr.study.folder import IMAGES, KIND, LIVING, TRUTH
from synthcxr.study.importing import Imported, import_answers
from synthcxr.study.protocol import PROTOCOL, Item, Protocol, Question
from synthcxr.study.protocol import Analysis as Plan
from synthcxr.study.serving.database import SERVED, Database, Given

from .piles import Cells, rough, write_csv

ITEMS = (Item("overall", "Overall", ("bad", "good")), Item("words", "In your words"))


def make_study(folder: Path, plan: Plan | None = None, readers: tuple[str, ...] = ()) -> Path:
    """Images a to j, real and synthetic in turns; `t` only to train, `again` repeats `a`; a pair; two to be rated."""
    names = "abcdefghij"
    questions = [Question(f"q-{n}", "real-or-synthetic", (f"{n}.png",)) for n in names]
    questions.append(Question("q-t", "real-or-synthetic", ("t.png",), training=True))
    questions.append(Question("q-again", "real-or-synthetic", ("again.png",), repeat_of="q-a"))
    questions.append(Question("pair", "pairwise", ("b.png", "a.png")))
    questions += [Question(f"rate-{n}", "quality", (f"{n}.png",)) for n in "bd"]
    with open_output(folder, KIND, {}) as output:
        key = []
        for index, name in enumerate([*names, "t", "again"]):
            data = encode_png(rough(index, 24), compress_level=0)
            write_bytes(folder / IMAGES / f"{name}.png", data)
            truth = "real" if name in ("t", "again") or index % 2 == 0 else "synthetic"
            row: Json = {
                "image": f"{name}.png",
                "truth": truth,
                "source": f"{name}-source",
                "view": "PA" if index < 6 else "AP",
            }
            row["image_sha256"] = sha256_bytes(data)
            key.append(row | {"same_as": "a.png" if name == "again" else None, "findings": ["effusion"] * (index < 3)})
        write_jsonl(folder / TRUTH, key)
        write_json(
            folder / PROTOCOL, Protocol("A reading", 1, readers, tuple(questions), ITEMS, plan or Plan()).to_json()
        )
        output.finish(inputs={}, counts={"readers": 0, "answers": 0}, environment={}, living=LIVING)
    return folder


def add(study: Path, path: Path, rows: list[Cells], **options: Any) -> Imported:
    return import_answers(StudyImportConfig(answers=write_csv(path, rows), study=study, **options))


def calls(reader: str, wrong: str = "", unsure: str = "") -> list[Cells]:
    """All images are called right but those in `wrong`; training is called wrong, the repeat as `a` is not."""
    rows = []
    for index, name in enumerate("abcdefghij"):
        right, other = ("real", "synthetic") if index % 2 == 0 else ("synthetic", "real")
        answer = other if name in wrong else right
        rows.append({"image": f"{name}.png", "answer": answer, "confidence": "1" if name in unsure else "4"})
    rows.append({"image": "t.png", "answer": "synthetic", "confidence": "5"})
    rows.append({"image": "again.png", "answer": "synthetic", "confidence": "2"})
    return [{"reader": reader, "seconds": str(5 + i), "position": str(i + 1), **row} for i, row in enumerate(rows)]


def analysed(study: Path, **options: Any) -> tuple[Analysis, dict[str, Any]]:
    analysis = analyze(StudyAnalyzeConfig(study=study, **options))
    said = json.loads(json.dumps(analysis.to_json(), allow_nan=False))
    return analysis, said


def test_training_and_repeats_are_in_no_figure_but_their_own(tmp_path: Path) -> None:
    study = make_study(tmp_path / "study")
    add(study, tmp_path / "a.csv", calls("R1", wrong="b"))
    add(study, tmp_path / "b.csv", calls("R2", wrong="bdc"))
    analysis, said = analysed(study)
    assert [reading.accuracy.n for reading in analysis.readers] == [10, 10]
    assert [reading.accuracy.right for reading in analysis.readers] == [9, 7]
    assert [reading.unanswered for reading in analysis.readers] == [0, 0]
    assert said["mrmc"]["accuracy"]["value"] == pytest.approx(0.8)
    assert said["mrmc"]["accuracy"]["ci_low"] < said["pooled"]["accuracy"]["ci_low"]
    assert said["agreement"]["within"]["R1"]["same"] == "0 of 1"
    assert said["images"]["b.png"]["what"] == "fooled everybody"
    assert said["images"]["c.png"] == {
        "truth": "real",
        "what": "called synthetic",
        "called_synthetic": 1,
        "of": 2,
        "source": "c-source",
    }
    assert "t.png" not in said["images"]
    assert said["times"]["all"]["n"] == 20
    assert (
        said["subgroups"]["view"]["AP"] | {"small": True, "images": 4, "value": 1.0} == said["subgroups"]["view"]["AP"]
    )
    assert said["subgroups"]["finding"]["effusion"]["images"] == 3
    assert said["learning"]["thirds"] == [[4, 8], [6, 6], [6, 6]]
    assert "SIMULATED" not in " ".join(said["notes"])


def test_thirds_are_those_of_these_questions_though_practice_came_before_and_ratings_after(tmp_path: Path) -> None:
    study = make_study(tmp_path / "study")
    add(study, tmp_path / "a.csv", [{**row, "position": str(n + 9)} for n, row in enumerate(calls("R1", wrong="bij"))])
    assert analysed(study)[1]["learning"]["thirds"] == [[3, 4], [3, 3], [1, 3]]


def test_agreement_is_that_of_the_answers(tmp_path: Path) -> None:
    from sklearn.metrics import cohen_kappa_score

    study = make_study(tmp_path / "study")
    one, other = calls("R1", wrong="b"), calls("R2", wrong="bdc")
    add(study, tmp_path / "a.csv", one)
    add(study, tmp_path / "b.csv", other)
    _, said = analysed(study)
    expected = cohen_kappa_score([r["answer"] for r in one[:10]], [r["answer"] for r in other[:10]])
    assert said["agreement"]["between"]["R1 – R2"]["value"] == pytest.approx(expected)


def test_equivalence_is_judged_by_the_plan(tmp_path: Path) -> None:
    plan = Plan(primary="equivalence", margin=0.45)
    study = make_study(tmp_path / "study", plan)
    for reader, wrong in (("R1", "acegb"), ("R2", "bdfha")):
        add(study, tmp_path / f"{reader}.csv", calls(reader, wrong))
    analysis, said = analysed(study)
    assert analysis.primary.shown is True
    assert "90 % interval" in analysis.primary.sentence
    assert said["primary"]["estimate"]["alpha"] == 0.1
    narrow = make_study(tmp_path / "narrow", Plan(primary="equivalence", margin=0.05))
    add(narrow, tmp_path / "c.csv", calls("R1", "acegb"))
    assert "is not shown" in analysed(narrow)[0].primary.sentence


def test_the_area_is_primary_where_the_first_endpoint_names_it(tmp_path: Path) -> None:
    study = make_study(tmp_path / "study", Plan(endpoints=("AUC over all readers", "accuracy")))
    add(study, tmp_path / "a.csv", calls("R1", wrong="b", unsure="b"))
    analysis, _ = analysed(study)
    assert analysis.primary.endpoint == "auc"


def test_pairs_and_ratings_come_in_by_csv(tmp_path: Path) -> None:
    study = make_study(tmp_path / "study")
    add(study, tmp_path / "p.csv", [{"reader": "R1", "question": "pair", "answer": "left"}])
    add(study, tmp_path / "q.csv", [{"reader": "R2", "question": "pair", "answer": "right"}])
    rows = [{"reader": "R1", "image": "b.png", "Overall": "good", "comment": "odd ribs"}]
    add(study, tmp_path / "r.csv", [*rows, {"reader": "R1", "image": "d.png", "Overall": "1", "comment": ""}])
    _, said = analysed(study)
    assert said["pairwise"]["readers"]["R1"]["value"] == 1.0
    assert said["pairwise"]["readers"]["R2"]["value"] == 0.0
    assert said["quality"]["overall"]["synthetic"]["steps"]["good"]["count"] == 1
    assert said["comments"]["comments"] == [
        {"image": "b.png", "truth": "synthetic", "reader": "R1", "answer": "overall 2", "comment": "odd ribs"}
    ]
    for rows, message in (
        ([{"reader": "R3", "question": "pair", "answer": "both"}], "neither left nor right"),
        ([{"reader": "R3", "question": "nope", "answer": "left"}], "nope is no question of this study"),
        ([{"reader": "R3", "image": "b.png", "overall": "great"}], "none of bad, good"),
        ([{"reader": "R1", "image": "b.png", "overall": "good"}], "already there"),
    ):
        with pytest.raises(UsageError, match=message):
            add(study, tmp_path / "x.csv", rows)
    with pytest.raises(UsageError, match="leave --item out"):
        add(study, tmp_path / "x.csv", [{"reader": "R3", "image": "b.png", "overall": "good"}], item=["overall=a|b"])
    assert verify(study) == []


def test_thirty_six_of_a_hundred(tmp_path: Path) -> None:
    rows = [{"Rater": "R1", "file": f"{i}.png", "grade": "fine" if i < 36 else "poor"} for i in range(100)]
    options = {"column": ["reader=Rater", "image=file", "overall=grade"], "item": ["overall=poor|good"]}
    sheet = write_csv(tmp_path / "a.csv", rows)
    out = tmp_path / "study"
    result = import_answers(StudyImportConfig(answers=sheet, out=out, value=["fine=good"], **options))
    assert (out / result.file).read_bytes() == sheet.read_bytes()
    analysis, said = analysed(out)
    good = said["quality"]["overall"]["unknown"]["steps"]["good"]
    assert (good["count"], round(good["ci_low"], 3), round(good["ci_high"], 3)) == (36, 0.273, 0.458)
    assert "0.360 (0.273 to 0.458), 36 of 100 images" in analysis.primary.sentence
    assert verify(out) == []


def test_other_columns_and_words_are_kept_with_the_file(tmp_path: Path) -> None:
    rows = [
        {"Radiologist": "R1", "pic": f"{i}.png", "truth": "Fake" if i < 5 else "real", "Verdict": "FAKE", "answer": "?"}
        for i in range(10)
    ]
    columns = ["reader=Radiologist", "image=pic", "answer=Verdict"]
    sheet = write_csv(tmp_path / "a.csv", rows)
    options = {"answers": sheet, "out": tmp_path / "study", "column": columns}
    import_answers(StudyImportConfig(**options, value=["fake=synthetic"]))
    analysis, _ = analysed(tmp_path / "study")
    assert (analysis.readers[0].sensitivity.value, analysis.readers[0].specificity.value) == (1.0, 0.0)
    for wrong, message in (
        ({"column": ["reader=Nobody"]}, "lacks the columns Nobody"),
        ({"column": ["reader"]}, "not of the form name=meaning"),
        ({"item": ["overall=good"]}, "at least two different steps"),
        ({"item": ["answer=a|b"]}, "has the name of a column"),
        ({"column": columns}, "'FAKE' is neither real nor synthetic|'Fake' is neither"),
    ):
        with pytest.raises(UsageError, match=message):
            import_answers(StudyImportConfig(**{**options, "out": tmp_path / "other", **wrong}))
    assert not (tmp_path / "other").exists()


def serve(study: Path, reader: str, questions: str, simulated: Json | None = None) -> None:
    """Answers of a reader as the server stores them: q-x for every letter."""
    from synthcxr.study.folder import load

    protocol = load(study).protocol
    assert protocol is not None
    database = Database(study / SERVED, "study", simulated)
    for number, letter in enumerate(questions):
        database.record(reader, protocol.question(f"q-{letter}"), number + 1, Given(str(number), "real", 3, 2.0))
    database.close()


def test_a_running_study_is_not_looked_at_without_a_reason(tmp_path: Path) -> None:
    study = make_study(tmp_path / "study", readers=("R1", "R2"))
    serve(study, "R1", "abc")
    with pytest.raises(UsageError, match=r"still at work \(questions left: R1 11, R2 14\)"):
        analysed(study)
    analysis, _ = analysed(study, unblind="the ethics board asked")
    assert any("the ethics board asked" in note for note in analysis.notes)
    assert any("questions left" in note for note in analysed(study)[0].notes)  # once opened, it stays open
    assert analysis.readers[0].accuracy.n == 3


def test_sheets_are_not_looked_at_before_the_last_reader_of_the_plan_sent_theirs(tmp_path: Path) -> None:
    """A row that is left empty is done with; so is a reader whose whole sheet came in."""
    study = make_study(tmp_path / "study", readers=("R1", "R2"))

    def sheet(reader: str) -> list[Cells]:
        rows = [{**row, "question": "", "overall": "good"} for row in calls(reader)]
        rows[3]["answer"] = ""
        return [*rows, {**rows[0], "image": "", "question": "pair", "answer": "left", "overall": ""}]

    add(study, tmp_path / "a.csv", sheet("R1"))
    with pytest.raises(UsageError, match=r"still at work \(questions left: R2 14\)"):
        analysed(study)
    add(study, tmp_path / "c.csv", sheet("r2"))
    with pytest.raises(UsageError, match="r2 is no reader of the protocol"):
        analysed(study)
    add(study, tmp_path / "b.csv", sheet("R2"))
    assert [reading.accuracy.n for reading in analysed(study)[0].readers] == [9, 9, 9]


def test_simulated_answers_are_called_so_everywhere(tmp_path: Path) -> None:
    study, out = make_study(tmp_path / "study", readers=("R1", "R2")), tmp_path / "report"
    serve(study, "R1", "abcdefghij", {"readers": 1})
    analysis, said = analysed(study, unblind="a rehearsal", out=out)
    assert analysis.primary.sentence.startswith("Simulated answers, no finding.")
    assert "SIMULATED" in said["notes"][2]
    page = (out / "index.html").read_text()
    assert "Simulated answers: a rehearsal" in page
    assert "SIMULATED ANSWERS, NOT FOR PUBLICATION." in page


def test_a_finished_served_study_needs_no_reason(tmp_path: Path) -> None:
    study = make_study(tmp_path / "study", readers=("R1",))
    serve(study, "R1", "abcdefghij")
    database = sqlite3.connect(study / SERVED)
    columns = "reader, question, position, nonce, kind, training, image, answer, ratings, comment, seconds, at"
    for question, kind, image in (("q-again", "real-or-synthetic", "again.png"), ("pair", "pairwise", "b.png")):
        database.execute(
            f"INSERT INTO answers ({columns}) VALUES ('R1', ?, 11, ?, ?, 0, ?, ?, '{{}}', '', 1, '2026')",
            (question, question, kind, image, "left" if kind == "pairwise" else "real"),
        )
    for image in ("b.png", "d.png"):
        database.execute(
            f"INSERT INTO answers ({columns}) "
            "VALUES ('R1', ?, 12, ?, 'quality', 0, ?, 'rated', '{\"overall\": 2}', 'fine', 1, '2026')",
            (f"rate-{image[0]}", image, image),
        )
    database.commit()
    database.close()
    analysis, said = analysed(study)
    assert analysis.readers[0].accuracy.n == 10
    assert said["agreement"]["within"]["R1"]["same"] == "1 of 1"
    assert said["quality"]["overall"]["synthetic"]["steps"]["good"]["count"] == 2


def test_the_report_and_the_tables_for_others(tmp_path: Path) -> None:
    study, out = make_study(tmp_path / "study"), tmp_path / "report"
    add(study, tmp_path / "a.csv", calls("R1", wrong="b"))
    rows = [
        {**row, "comment": "<script>ribs</script>" if row["image"] == "b.png" else ""} for row in calls("R2, Dr", "bc")
    ]
    add(study, tmp_path / "b.csv", rows)
    analysed(study, out=out)
    assert verify(out) == []
    page = (out / "index.html").read_text()
    assert "&lt;script&gt;ribs" in page
    assert "<script" not in page
    assert "http" not in page.replace("http://www.w3.org", "")
    assert page.count("data:image/png;base64,") >= 3
    assert "DeLong" in page
    assert read_json(out / "analysis.json")["mrmc"]["accuracy"]["readers"] == 2
    long = list(csv.DictReader(io.StringIO((out / "answers.csv").read_text())))
    assert len(long) == 22
    assert sum(row["repeat_of"] == "a.png" for row in long) == 2
    assert {row["score"] for row in long if row["answer"] == "real"} == {"-4"}
    lines = (out / "answers.imrmc").read_text().splitlines()
    data = [line.split(",") for line in lines[lines.index("BEGIN DATA:") + 1 :]]
    assert all(len(cells) == 4 for cells in data)
    assert [cells[3] for cells in data if cells[0] == "truth"] == ["0", "1"] * 5
    assert sum(cells[0] == "R2; Dr" for cells in data) == 10
    add(study, tmp_path / "c.csv", calls("R3"))
    with pytest.raises(UsageError, match="--overwrite"):
        analysed(study, out=out)
    analysed(study, out=out, overwrite=True)
    assert read_json(out / "analysis.json")["mrmc"]["accuracy"]["readers"] == 3


def test_ratings_of_several_readers_have_intervals_over_both(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    rows = [
        {"reader": f"R{r}", "image": f"{i}.png", "overall": str(1 + min(2, int(rng.integers(0, 2)) + i % 2))}
        for r in range(3)
        for i in range(40)
    ]
    import_answers(
        StudyImportConfig(answers=write_csv(tmp_path / "a.csv", rows), out=tmp_path / "s", item=["overall=a|b|c"])
    )
    _, said = analysed(tmp_path / "s")
    entry = said["quality"]["overall"]["unknown"]
    assert entry["mean"]["readers"] == 3
    assert entry["mean"]["value"] == pytest.approx(np.mean([int(row["overall"]) for row in rows]))
    assert sum(step["count"] for step in entry["steps"].values()) == 120
    assert said["rating_agreement"]["overall"]["unknown"]["icc_2_1"]["n"] == 40
