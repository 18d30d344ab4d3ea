"""A rehearsal: made-up readers of a given skill, through the real server, on a copy that says what it is."""

import shutil
from pathlib import Path
from random import Random

import pytest

from synthcxr.config import StudySimulateConfig
from synthcxr.errors import UsageError
from synthcxr.study.amending import read_amendments
from synthcxr.study.folder import load
from synthcxr.study.protocol import Question
from synthcxr.study.serving.database import SERVED, read_answers, read_simulated
from synthcxr.study.serving.server import open_reading
from synthcxr.study.simulate import respond, simulate
from tests.study.readings import ITEMS, make_reading_study, mixed_questions


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_reading_study(tmp_path_factory.mktemp("rehearsed") / "study", mixed_questions())


def test_readers_answer_everything_on_a_copy(study: Path, tmp_path: Path) -> None:
    before = sorted((path, path.stat().st_mtime_ns) for path in study.rglob("*"))
    copy = simulate(StudySimulateConfig(study=study, out=tmp_path / "copy", readers=3, accuracy=0.9, seed=4))
    again = simulate(StudySimulateConfig(study=study, out=tmp_path / "again", readers=3, accuracy=0.9, seed=4))
    assert sorted((path, path.stat().st_mtime_ns) for path in study.rglob("*")) == before
    answers = load(copy).answers
    assert sorted((a.reader, a.question) for a in answers) == sorted(
        (reader, question.id)
        for reader in ("R1", "R2", "simulated-1")
        for question in mixed_questions()
        if not question.training
    )
    drawn = [
        {(a.reader, a.question, a.answer, a.confidence, a.seconds) for a in read_answers(folder / SERVED)}
        for folder in (copy, again)
    ]
    assert drawn[0] == drawn[1]
    assert read_simulated(copy / SERVED) == {"readers": 3, "accuracy": 0.9, "seed": 4}
    assert [entry["what"] for entry in read_amendments(copy)] == ["simulated"]


def test_simulated_answers_never_mix_with_real_ones(study: Path, tmp_path: Path) -> None:
    copy = simulate(StudySimulateConfig(study=study, out=tmp_path / "copy", readers=1))
    with pytest.raises(UsageError, match="simulated answers"):
        open_reading(copy)
    with pytest.raises(UsageError, match="holds answers"):
        simulate(StudySimulateConfig(study=copy, out=tmp_path / "more"))
    with pytest.raises(UsageError, match="exists"):
        simulate(StudySimulateConfig(study=study, out=copy))
    served = Path(shutil.copytree(study, tmp_path / "served"))
    open_reading(served).database.close()
    with pytest.raises(UsageError, match="real answers"):
        open_reading(served, simulated={"seed": 1})


@pytest.mark.parametrize("accuracy", [0.5, 0.81, 0.966])
@pytest.mark.parametrize("kind", ["real-or-synthetic", "pairwise"])
def test_the_share_of_right_answers_is_the_one_asked_for(accuracy: float, kind: str) -> None:
    """Within four standard errors of a share of 20,000 answers, for each truth; surer answers are right more often."""
    random = Random(0)
    count = 10_000
    right: list[bool] = []
    for first, second in (("real", "synthetic"), ("synthetic", "real")):
        truth = {"a.png": first, "b.png": second}
        images = ("a.png",) if kind == "real-or-synthetic" else ("a.png", "b.png")
        wanted = first if kind == "real-or-synthetic" else ("left" if first == "synthetic" else "right")
        question = Question("q", kind, images)  # type: ignore[arg-type]
        given = [respond(question, truth, (), accuracy, random) for _ in range(count)]  # type: ignore[arg-type]
        hits = [answer["answer"] == wanted for answer in given]
        assert abs(sum(hits) / count - accuracy) < 4 * (accuracy * (1 - accuracy) / count) ** 0.5
        right += hits
        if accuracy > 0.5:
            sure = [hit for hit, answer in zip(hits, given, strict=True) if answer["confidence"] == 5]
            guess = [hit for hit, answer in zip(hits, given, strict=True) if answer["confidence"] == 1]
            assert sum(sure) / len(sure) > sum(guess) / len(guess) + 0.1
        assert {answer["confidence"] for answer in given} == {1, 2, 3, 4, 5}


def test_what_looks_synthetic_is_rated_lower() -> None:
    question = Question("q", "quality", ("a.png",))
    random = Random(0)
    means = [
        sum(respond(question, {"a.png": truth}, ITEMS, 0.9, random)["ratings"]["anatomy"] for _ in range(500)) / 500
        for truth in ("real", "synthetic")
    ]
    assert 1 <= means[1] < means[0] <= 3
