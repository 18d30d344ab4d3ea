"""Real images like the synthetic ones: alike in every stated trait, a patient once while there are more."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthcxr.config import StudyAmendConfig, StudyNewConfig
from synthcxr.errors import SynthCXRError, UsageError
from synthcxr.imagefolder import Row
from synthcxr.store import read_jsonl, read_manifest, verify, write_bytes
from synthcxr.study.amending import AMENDMENTS, amend, log_amendment, read_amendments
from synthcxr.study.folder import TRUTH, load
from synthcxr.study.matching import Traits, allocate, balance, match, standardized, traits_of
from synthcxr.study.new import new
from synthcxr.study.plan import Candidate
from synthcxr.study.protocol import order
from tests.study.piles import image_folder, rough, smooth

PEOPLE = st.lists(st.tuples(st.sampled_from("FM"), st.integers(18, 90), st.booleans()), min_size=1, max_size=40)


def people(described: list[tuple[str, int, bool]], side: str) -> list[Candidate]:
    return [
        Candidate(
            Row(Path(f"{side}{n}.png"), "", "test", {
                "patient_id": f"{side}{n // 2}", "sex": sex, "age": age, "view": "PA",
                "findings": ["Mass"] if ill else ["No Finding"],
            }),
            f"{side}{n}",
            (16, 16),
        )
        for n, (sex, age, ill) in enumerate(described)
    ]  # fmt: skip


def stratum(candidate: Candidate) -> tuple[str, ...]:
    traits = traits_of(candidate)
    return (traits.view, traits.sex, traits.age_group, traits.finding)


@given(PEOPLE, PEOPLE, st.integers(0, 5))
def test_pairs_are_alike_in_every_trait_and_nobody_is_shown_twice(
    ours: list[tuple[str, int, bool]], theirs: list[tuple[str, int, bool]], seed: int
) -> None:
    real, synthetic = people(ours, "r"), people(theirs, "s")
    have, want = Counter(map(stratum, real)), Counter(map(stratum, synthetic))
    possible = sum(min(have[key], want[key]) for key in want)
    if possible == 0:
        return
    for count in {1, possible}:
        pairs = match(real, synthetic, count, seed)
        assert len(pairs) == count
        assert all(stratum(pair.real) == stratum(pair.synthetic) for pair in pairs)
        for kind in ("real", "synthetic"):
            assert len({getattr(pair, kind).pixels for pair in pairs}) == count
        assert pairs == match(real, synthetic, count, seed)
    with pytest.raises(UsageError, match="can be made"):
        match(real, synthetic, possible + 1, seed)


def test_ages_and_findings_are_as_near_as_can_be() -> None:
    real = people([("F", age, True) for age in (41, 41, 58, 58, 45, 45)], "r")  # two images a patient
    synthetic = people([("F", 57, True), ("F", 46, True)], "s")
    pairs = {pair.synthetic.pixels: pair.real.row.fields["age"] for pair in match(real, synthetic, 2, 0)}
    assert pairs == {"s0": 58, "s1": 45}


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=1, max_size=8), st.data())
def test_room_is_never_overrun_and_all_is_given_out(pairs: list[tuple[int, int]], data: st.DataObject) -> None:
    weights, room = [w for w, _ in pairs], [min(w, r) for w, r in pairs]
    count = data.draw(st.integers(0, sum(room)))
    got = allocate(weights, room, count)
    assert sum(got) == count and all(0 <= g <= r for g, r in zip(got, room, strict=True))


def test_the_balance_is_that_of_the_textbook() -> None:
    # Austin 2011: (p1 - p2) / sqrt((p1 q1 + p2 q2) / 2)
    assert standardized(0.3, 0.5, 0.21, 0.25) == pytest.approx(0.2 / (0.46 / 2) ** 0.5)
    assert standardized(1.0, 1.0, 0.0, 0.0) == 0.0 and standardized(0.0, 1.0, 0.0, 0.0) is None
    real, synthetic = people([("F", 40, True)] * 3 + [("M", 40, True)], "r"), people([("F", 42, True)] * 2, "s")
    rows = {(row.trait, row.level): row for row in balance(real, synthetic, match(real, synthetic, 2, 0))}
    women = rows["sex", "F"]
    assert (women.real_before, women.synthetic_before, women.real_after, women.after) == (0.75, 1.0, 1.0, 0.0)


def test_years_at_the_edges_of_groups() -> None:
    groups = [Traits("", "", age, None).age_group for age in (4, 4.5, 5, 17, 18, 79.9, 80, None)]
    assert groups == ["0-4", "0-4", "5-17", "5-17", "18-39", "60-79", "80+", ""]


# --- whole studies -----------------------------------------------------------------------------------------


@pytest.fixture
def piles(tmp_path: Path) -> tuple[Path, Path]:
    def rows(images: Any, count: int) -> Any:
        return [
            (
                {"file_name": f"{n}.png", "patient_id": f"p{n}", "text": "x", "sex": "FM"[n % 2], "view": "PA"},
                images(n, 32),
            )
            for n in range(count)
        ]

    return (
        image_folder(tmp_path / "real", "dataset", "test", rows(rough, 60)),
        image_folder(tmp_path / "made", "set", "train", rows(smooth, 60)),
    )


@pytest.mark.parametrize("kinds", [["pairwise"], ["quality"], ["real-or-synthetic", "quality", "pairwise"]])
def test_every_kind_of_question(piles: tuple[Path, Path], tmp_path: Path, kinds: Any) -> None:
    real, synthetic = piles
    options: dict[str, Any] = {"training": 0 if kinds == ["quality"] else 2, "repeats": 3, "reader": ["A", "B"]}
    study = load(new(StudyNewConfig(
        real=real, synthetic=synthetic, kind=kinds, count=6, out=tmp_path / "study", **options
    )))  # fmt: skip
    assert study.protocol is not None and verify(study.folder) == []
    for kind in kinds:
        asked = [q for q in study.protocol.questions if q.kind == kind and not q.training and not q.repeat_of]
        truths = [tuple(study.truth[image] for image in question.images) for question in asked]
        if kind == "pairwise":
            assert len(asked) == 6 and Counter(truths) == {("real", "synthetic"): 3, ("synthetic", "real"): 3}
        else:
            assert Counter(truths) == {("real",): 6, ("synthetic",): 6}
        repeats = [q for q in study.protocol.questions if q.kind == kind and q.repeat_of]
        assert len(repeats) == 3
        for repeat in repeats:
            first = study.protocol.question(repeat.repeat_of or "")
            assert [study.rows[image]["same_as"] for image in repeat.images] == list(first.images)
    shown = [i for q in study.protocol.questions if not q.repeat_of for i in q.images]
    assert len(shown) == len(set(shown)), "a picture is in two questions"
    orders = [[question.id for question in order(study.protocol, reader)] for reader in ("A", "B")]
    assert orders[0] != orders[1] and sorted(orders[0]) == sorted(orders[1])
    places = {question: place for place, question in enumerate(orders[0])}
    for question in study.protocol.questions:
        if question.repeat_of:
            assert places[question.repeat_of] < places[question.id]
        if question.training:
            assert places[question.id] < options["training"] * len(kinds)


def test_a_stratum_that_lacks_real_images_is_named(piles: tuple[Path, Path], tmp_path: Path) -> None:
    rows = [({"file_name": f"{n}.png", "text": "x", "sex": "F", "view": "AP"}, smooth(n, 32)) for n in range(8)]
    synthetic = image_folder(tmp_path / "ap", "set", "train", rows)
    with pytest.raises(UsageError, match=r"AP, F: 8 synthetic, 0 real, 8 too few"):
        new(StudyNewConfig(real=piles[0], synthetic=synthetic, count=4, out=tmp_path / "study"))
    assert not (tmp_path / "study").exists()
    new(StudyNewConfig(real=piles[0], synthetic=synthetic, count=4, match=False, out=tmp_path / "study"))


def test_amendments_are_a_chain(piles: tuple[Path, Path], tmp_path: Path) -> None:
    study = new(StudyNewConfig(real=piles[0], synthetic=piles[1], count=4, out=tmp_path / "study"))
    before = (study / "study.json").read_bytes()
    amend(StudyAmendConfig(study=study, what="A third reader.", why="One fell ill."))
    log_amendment(study, "Ends in May.", "Holidays.", "The owner")
    entries = read_amendments(study)
    assert [entry["what"] for entry in entries] == ["A third reader.", "Ends in May."]
    assert (study / "study.json").read_bytes() == before and verify(study) == []
    path = study / AMENDMENTS
    lines = path.read_text().splitlines(keepends=True)
    for wrong in (lines[1:], [lines[0].replace("third", "fourth"), lines[1]], lines[::-1]):
        write_bytes(path, "".join(wrong).encode())
        with pytest.raises(SynthCXRError, match="does not follow"):
            load(study)
    with pytest.raises(UsageError, match="neither may be empty"):
        log_amendment(study, "Something", " ")


def test_the_key_says_what_subgroups_need(piles: tuple[Path, Path], tmp_path: Path) -> None:
    study = new(StudyNewConfig(real=piles[0], synthetic=piles[1], count=4, out=tmp_path / "study"))
    rows = read_jsonl(study / TRUTH)
    assert all({"view", "sex", "age", "age_group", "findings", "same_as", "image_sha256"} <= row.keys() for row in rows)
    assert read_manifest(study)["counts"]["real"] == 4
