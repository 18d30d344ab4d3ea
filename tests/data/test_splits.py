"""Splits: by patient, the publisher's where there is one, strata that are mixed alike, and no leak unnoticed."""

import csv
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthcxr import prepare
from synthcxr.config import PrepareConfig
from synthcxr.data.records import Record, Source
from synthcxr.data.splits import Member, check_leaks, publishers, split_of, stratified
from synthcxr.errors import SynthCXRError, UsageError
from synthcxr.imagefolder import SPLITS, read_rows
from synthcxr.images import resize, write_png
from synthcxr.store import Json
from tests.conftest import plain_config, write_source

PERCENT = (60, 10, 30)
FINDINGS = ["Effusion", "Pneumonia", "Nodule", "Hernia"]


def test_splits_are_what_they_have_always_been() -> None:
    """Golden values: a change of the hash would move patients of datasets that exist."""
    homes = {name: split_of(name, PERCENT) for name in ("193", "211", "P7", "N0117", "p0", "")}
    assert homes == {
        "193": "train", "211": "train", "P7": "test", "N0117": "test", "p0": "train", "": "test",
    }  # fmt: skip


# --- the publisher's --------------------------------------------------------------------------------------


def test_an_image_without_an_official_split_goes_with_its_patient() -> None:
    members = [
        Member("a", "1", "train", "test"),
        Member("b", "1", "train"),
        Member("c", "2", "validation"),
        Member("d", "3", "test", "train"),
    ]
    assert publishers(members) == ["test", "test", "validation", "train"]


@pytest.fixture
def official(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A source whose publisher puts p0 and p1 into test, p2 into validation, and says nothing of p5."""
    source = write_source(tmp_path / "in", 12)

    def read(config: PrepareConfig) -> Source:
        homes = defaultdict(lambda: "train", {"p0": "test", "p1": "test", "p2": "validation"})
        with (source / "metadata.csv").open() as file:
            rows = list(csv.DictReader(file))
        records = [
            Record(
                row["file_name"],
                row["patient_id"],
                split=homes[row["patient_id"]] if row["patient_id"] != "p5" else None,
            )
            for row in rows
        ]
        return Source(source, records, kind="csv")

    monkeypatch.setattr("synthcxr.data.prepare.read_source", read)
    return source


def test_auto_takes_the_publishers_split_and_percentages_set_it_aside(official: Path, tmp_path: Path) -> None:
    rows = read_rows(prepare(plain_config(official, tmp_path / "auto")))
    homes = {row.patient: row.split for row in rows}
    wanted = {"p0": "test", "p1": "test", "p2": "validation", "p3": "train", "p4": "train"}
    assert homes == wanted | {"p5": split_of("p5", PERCENT)}
    assert rows[0].fields["official_split"] == "train"
    rows = read_rows(prepare(plain_config(official, tmp_path / "own", split="60/10/30")))
    assert all(row.split == split_of(row.patient, PERCENT) for row in rows)


def test_official_insists(official: Path, source: Path, tmp_path: Path) -> None:
    out = prepare(plain_config(official, tmp_path / "out", split="official"))
    assert {row.patient for row in read_rows(out)} == {"p0", "p1", "p2", "p3", "p4"}
    assert (out / "rejected.jsonl").read_text().count("no-official-split") == 2


def test_official_needs_one(source: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="states no split"):
        prepare(plain_config(source, tmp_path / "out", split="official"))


def test_strata_and_the_publishers_split_do_not_mix(official: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="states its own split"):
        prepare(plain_config(official, tmp_path / "out", stratify="sex"))
    with pytest.raises(ValueError, match="--stratify takes"):
        plain_config(official, tmp_path / "out", stratify="sex,height")


# --- strata -----------------------------------------------------------------------------------------------


def made_up_rows(count: int, seed: int) -> list[Json]:
    rng = np.random.default_rng(seed)
    return [
        {
            "patient_id": f"p{rng.integers(0, count)}",
            "age": int(rng.integers(0, 95)) if rng.random() < 0.9 else None,
            "age_range": None,
            "sex": ["M", "F", None][rng.choice(3, p=[0.6, 0.3, 0.1])],
            "view": ["AP", "PA"][int(rng.random() < 0.2)],
            "findings": [FINDINGS[i] for i in range(4) if rng.random() < (0.5, 0.3, 0.1, 0.02)[i]],
        }
        for _ in range(count)
    ]


@given(
    st.integers(0, 2**32), st.integers(1, 400), st.sampled_from([(60, 10, 30), (100, 0, 0), (0, 50, 50), (34, 33, 33)])
)
@settings(max_examples=30)
def test_every_patient_has_one_split_and_the_sizes_are_right(
    seed: int, count: int, percent: tuple[int, int, int]
) -> None:
    rows = made_up_rows(count, seed)
    homes = stratified(rows, ["sex", "view", "age", "findings"], percent)
    assert homes.keys() == {row["patient_id"] for row in rows}
    sizes = Counter(homes.values())
    for split, part in zip(SPLITS, percent, strict=True):
        assert abs(sizes[split] - len(homes) * part / 100) <= 2
        assert part or not sizes[split]
    assert stratified(rows[::-1], ["findings"], percent) == stratified(rows, ["findings"], percent)


def test_strata_are_mixed_alike_where_a_hash_leaves_it_to_chance() -> None:
    rows: list[Json] = [
        {"patient_id": f"p{i}", "age": None, "age_range": None, "sex": None, "view": None,
         "findings": ["Hernia"] if i % 20 == 0 else []}
        for i in range(200)
    ]  # fmt: skip
    homes = stratified(rows, ["findings"], PERCENT)
    rare = Counter(homes[row["patient_id"]] for row in rows if row["findings"])
    assert rare == {"train": 6, "validation": 1, "test": 3}
    by_hash = Counter(split_of(row["patient_id"], PERCENT) for row in rows if row["findings"])
    assert by_hash != rare


def test_prepare_stratifies(source: Path, tmp_path: Path) -> None:
    rows = read_rows(prepare(plain_config(source, tmp_path / "out", stratify="sex,findings", split="50/25/25")))
    patients = {row.patient: row.split for row in rows}
    assert all(patients[row.patient] == row.split for row in rows)
    assert Counter(patients.values()) == {"train": 6, "validation": 3, "test": 3}


# --- leaks ------------------------------------------------------------------------------------------------


def test_a_patient_in_two_official_splits_is_an_error_that_names_the_rows() -> None:
    members = [Member("a.png", "7", "train", "train"), Member("b.png", "7", "train", "test")]
    with pytest.raises(SynthCXRError, match=r"7 \(a.png in train, b.png in test\).*--split 60/10/30"):
        check_leaks(members, publishers(members))


def test_one_picture_in_two_splits_is_an_error() -> None:
    members = [Member("a.png", "1", "train"), Member("b.png", "2", "test"), Member("c.png", "3", "train")]
    check_leaks(members, ["train", "test", "train"], twins=[(0, 2)])
    with pytest.raises(SynthCXRError, match=r"1 picture is in two splits: a.png \(train, patient 1\) and b.png"):
        check_leaks(members, ["train", "test", "train"], twins=[(0, 1)])
    check_leaks(members, ["train", None, "train"], twins=[(0, 1)])


def test_a_copy_under_another_patient_never_gets_into_a_second_split(tmp_path: Path) -> None:
    """By the gate's rule it is left out; where that rule is skipped it is an error; nobody looks if both are."""
    source = write_source(tmp_path / "in", 24)
    for index in range(24):  # pictures that are truly different
        coarse = np.random.default_rng(index).integers(0, 256, (12, 12), np.uint8)
        write_png(source / f"images/{index:03d}.png", resize(coarse, 160, 160))
    names = {split_of(f"p{i}", PERCENT): i for i in range(12)}
    first, second = f"images/{2 * names['train']:03d}.png", f"images/{2 * names['test']:03d}.png"
    (source / second).write_bytes((source / first).read_bytes())
    encoder = ["not-frontal", "inverted", "rotated", "wrong-label", "blank", "saturated", "text-only"]
    out = prepare(plain_config(source, tmp_path / "out", skip_checks=encoder))
    assert (out / "rejected.jsonl").read_text().count("duplicate-other-patient") == 1
    skipped = [*encoder, "duplicate-other-patient"]
    with pytest.raises(SynthCXRError, match="picture is in two splits"):
        prepare(plain_config(source, tmp_path / "kept", skip_checks=skipped))
    prepare(plain_config(source, tmp_path / "blind", skip_checks=["all"]))
