"""What to draw: counts that add up, a dataset's training mix, even ones, grids, and what is refused."""

from collections import Counter
from importlib import import_module
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthcxr import GenerateConfig, generate
from synthcxr.errors import UsageError
from synthcxr.evaluation.training import find_training
from synthcxr.generation.mixture import count_mix, draw_grid, draw_mix, largest_remainder, spread, value_of
from synthcxr.generation.prompts import Wish, read_wishes
from synthcxr.imagefolder import read_rows
from synthcxr.prompts import Subject, write_prompt
from synthcxr.store import read_jsonl, read_manifest, seal, write_bytes, write_jsonl

SUBJECTS = st.builds(
    Subject,
    age=st.none() | st.integers(0, 100),
    sex=st.sampled_from([None, "F", "M"]),
    view=st.sampled_from([None, "AP", "PA"]),
    findings=st.lists(st.sampled_from(["Effusion", "Mass", "Hernia"]), max_size=2, unique=True).map(tuple),
)
JOINTS = st.dictionaries(SUBJECTS, st.integers(1, 40), min_size=1, max_size=30)
TEMPLATE = "{view} chest X-ray of a {age}-year-old {sex}, {finding}"


def wishes(**options: Any) -> list[Wish]:
    return read_wishes(GenerateConfig(out=Path("out"), **options))


# --- whole numbers ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("weights", "count", "counts"),
    [
        # en.wikipedia.org/wiki/Quota_method, Hare quota, 100,000 votes and 10 seats
        ([47_000, 16_000, 15_800, 12_000, 6_100, 3_100], 10, [5, 2, 1, 1, 1, 0]),
        ([5, 3, 2], 7, [4, 2, 1]),
        ([1, 1, 1], 2, [1, 1, 0]),
        ([3], 0, [0]),
    ],
)
def test_the_largest_remainder_by_hand(weights: list[int], count: int, counts: list[int]) -> None:
    assert largest_remainder(weights, count) == counts


@given(
    weights=st.lists(st.integers(1, 1000), min_size=1, max_size=30), count=st.integers(0, 500), seed=st.integers(0, 9)
)
def test_counts_add_up_and_are_within_one_of_their_share(weights: list[int], count: int, seed: int) -> None:
    traits = np.random.default_rng(seed).integers(0, 2, (len(weights), 4))
    for counts in (largest_remainder(weights, count), largest_remainder(weights, count, traits)):
        assert sum(counts) == count
        assert all(abs(n - w * count / sum(weights)) < 1 for n, w in zip(counts, weights, strict=True))


@given(groups=st.integers(1, 6), each=st.integers(1, 20), seed=st.integers(0, 99))
def test_every_beginning_is_mixed(groups: int, each: int, seed: int) -> None:
    order = spread([each] * groups, Random(seed))
    for length in range(len(order) + 1):
        seen = Counter(order[:length])
        assert all(abs(seen[group] - length / groups) <= 2 for group in range(groups))


# --- a dataset's mix --------------------------------------------------------------------------------------


@settings(max_examples=50)
@given(joint=JOINTS, count=st.integers(1, 200), seed=st.integers(0, 99))
def test_a_mix_is_that_of_the_joint_distribution(joint: dict[Subject, int], count: int, seed: int) -> None:
    drawn = draw_mix(joint, count, seed)
    counts, total = Counter(drawn), sum(joint.values())
    assert len(drawn) == count and counts.keys() <= joint.keys()
    assert all(abs(counts[s] - weight * count / total) < 1 for s, weight in joint.items())
    assert drawn == draw_mix(dict(reversed(joint.items())), count, seed), "the order of rows changed the mix"


@settings(max_examples=50)
@given(joint=JOINTS, count=st.integers(1, 200), balance=st.sampled_from([("sex",), ("findings", "sex"), ("age",)]))
def test_a_balanced_mix_is_even(joint: dict[Subject, int], count: int, balance: tuple[str, ...]) -> None:
    def key(subject: Subject) -> tuple[str, ...]:
        return tuple(value_of(subject, name) for name in balance)

    occurring = {key(subject) for subject in joint if all(key(subject))}
    if not occurring:
        with pytest.raises(UsageError, match="no training row states"):
            draw_mix(joint, count, 0, balance)
        return
    counts = Counter(map(key, draw_mix(joint, count, 0, balance)))
    assert counts.keys() <= occurring and counts.total() == count
    numbers = [counts[value] for value in occurring]
    assert max(numbers) - min(numbers) <= 1


def test_few_images_of_many_combinations_keep_the_rare() -> None:
    rng = Random(1)
    rows = [
        Subject(
            age=rng.randint(20, 90),
            sex=rng.choices("FM", (44, 56))[0],
            view=rng.choices(("PA", "AP"), (60, 40))[0],
            findings=(rng.choices(("No Finding", "Effusion", "Hernia"), (80, 15, 5))[0],),
        )
        for _ in range(2000)
    ]
    joint, count = Counter(rows), 100
    drawn = draw_mix(joint, count, 0)
    assert len(joint) > 3 * count
    for name in ("sex", "view", "findings", "age"):
        shares = Counter(value_of(subject, name) for subject in rows)
        counts = Counter(value_of(subject, name) for subject in drawn)
        assert all(abs(counts[value] - n * count / len(rows)) <= 2 for value, n in shares.items()), name


@pytest.fixture
def marked(tmp_path: Path) -> Path:
    """A dataset of rows alone, as its reading needs no image: test and validation have ages that training has not."""
    folder = tmp_path / "dataset"
    for split, first in (("train", 30), ("validation", 70), ("test", 80)):
        rows = [
            {"file_name": f"{split}{i}.png", "text": f"SECRET {split}", "patient_id": f"{split}{i}",
             "age": first + i % 8, "age_range": None, "sex": "MF"[i % 2], "view": ("PA", "PA", "AP")[i % 3],
             "findings": ["Effusion"] if i % 6 == 0 else ["No Finding"], "prompt_style": "findings"}
            for i in range(24)
        ]  # fmt: skip
        write_jsonl(folder / split / "metadata.jsonl", rows)
    source = {"name": "made-up", "licence": "CC0", "restricted": False}
    manifest = {"kind": "dataset", "tool": {"synthcxr": "0"}, "config": {}, "inputs": {}, "counts": {}}
    write_bytes(folder / "dataset.json", seal(manifest | {"files": {}, "sources": [source]}))
    return folder


@pytest.mark.parametrize("options", [{}, {"count": 500}, {"count": 7}, {"count": 60, "balance": "findings,sex"}])
def test_never_a_prompt_of_a_held_out_patient(marked: Path, options: dict[str, Any]) -> None:
    drawn = wishes(like=marked, **options)
    assert len(drawn) == options.get("count", 24)
    assert all(30 <= wish.fields["age"] < 38 for wish in drawn)
    assert all(wish.text == write_prompt(Subject.from_fields(wish.fields)) for wish in drawn), "a report was quoted"


def test_a_set_too_small_to_be_even_says_so(marked: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wishes(like=marked, balance="age,sex", count=1)
    assert "1 images cannot be even over" in " ".join(capsys.readouterr().err.split())
    wishes(like=marked, balance="sex", count=2)
    assert "cannot be even" not in capsys.readouterr().err


def test_a_mix_can_be_narrowed(marked: Path) -> None:
    drawn = wishes(like=marked, count=50, sex=["m"], age=["30-33", "36"], finding=["effusion"], view=["pa"])
    assert {(w.fields["sex"], w.fields["view"], *w.fields["findings"]) for w in drawn} == {("M", "PA", "Effusion")}
    assert {w.fields["age"] for w in drawn} <= {30, 31, 32, 33, 36} and len(drawn) == 50
    with pytest.raises(UsageError, match="No training row"):
        wishes(like=marked, age=["70-90"])


def test_a_dataset_of_texts_alone(marked: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"file_name": f"{i}.png", "text": ("one", "two", "two")[i % 3]} for i in range(6)]
    write_jsonl(marked / "train" / "metadata.jsonl", rows)
    assert Counter(wish.text for wish in wishes(like=marked, count=30)) == {"one": 10, "two": 20}
    assert "quote a report" in " ".join(capsys.readouterr().err.split())
    with pytest.raises(UsageError, match="--balance needs"):
        wishes(like=marked, balance="sex")


# --- templates --------------------------------------------------------------------------------------------


def test_a_template_is_an_even_grid() -> None:
    lists = {"view": ["pa", "AP"], "age": ["30-39", "80"], "sex": ["F"], "finding": ["Pleural_Thickening"]}
    drawn = wishes(prompt=TEMPLATE, count=40, **lists)
    assert Counter(wish.fields["view"] for wish in drawn) == {"PA": 20, "AP": 20}
    ages = Counter(wish.fields["age"] for wish in drawn)
    assert ages == {80: 20, **dict.fromkeys(range(30, 40), 2)}
    texts = {wish.text for wish in drawn}
    assert "PA chest X-ray of an 80-year-old woman, pleural thickening" in texts
    assert "AP chest X-ray of a 31-year-old woman, pleural thickening" in texts
    assert all(wish.fields["findings"] == ["Pleural_Thickening"] and wish.fields["sex"] == "F" for wish in drawn)
    assert len(wishes(prompt=TEMPLATE, **lists)) == 4


def test_500_women_over_60_with_left_effusion() -> None:
    prompt = "PA chest X-ray of a {age}-year-old {sex} with left {finding}."
    drawn = wishes(prompt=prompt, count=500, age=["61-90"], sex=["F"], finding=["Effusion"])
    mix = count_mix(wish.fields for wish in drawn)
    assert mix["sex"] == {"F": 500} and mix["finding"] == {"Effusion": 500}
    assert min(wish.fields["age"] for wish in drawn) == 61 and all("woman with left effusion." in w.text for w in drawn)
    assert set(Counter(w.fields["age"] for w in drawn).values()) == {16, 17}


def test_a_child_is_a_boy_or_a_girl() -> None:
    drawn = wishes(prompt="X-ray of a {age}-year-old {sex}", age=["4"], sex=["M", "F"])
    assert {wish.text for wish in drawn} == {"X-ray of a 4-year-old boy", "X-ray of a 4-year-old girl"}


@given(sizes=st.lists(st.integers(1, 4), min_size=1, max_size=3), count=st.integers(1, 99), seed=st.integers(0, 9))
def test_cells_of_a_grid_differ_by_one_at_most(sizes: list[int], count: int, seed: int) -> None:
    drawn = draw_grid({str(i): [f"{i}/{j}" for j in range(size)] for i, size in enumerate(sizes)}, count, seed)
    counts = Counter(tuple(cell.values()) for cell in drawn)
    numbers = [*counts.values()] + [0] * (int(np.prod(sizes)) - len(counts))
    assert sum(numbers) == count and max(numbers) - min(numbers) <= 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"prompt": "{colour} X-ray"}, r"\{colour\}"),
        ({"prompt": "{} X-ray"}, r"\{\}"),
        ({"prompt": "{view!r} X-ray", "view": ["PA"]}, r"\{view\}"),
        ({"prompt": "{view X-ray"}, "do not pair"),
        ({"prompt": "{view} {age}", "view": ["PA"]}, "no --age is given"),
        ({"prompt": "X-ray", "finding": ["Mass"]}, r"no \{finding\}"),
        ({"prompt": "{age}", "age": ["39-30"]}, "--age 39-30"),
        ({"prompt": "{age}", "age": ["old"]}, "--age old"),
        ({"prompt": "{sex}", "sex": ["X"]}, "--sex X"),
        ({"prompts": Path("p.txt"), "view": ["PA"]}, "--view fills a template"),
        ({"like": Path("nowhere")}, "does not exist"),
        ({"like": Path()}, "has no manifest|not written by"),
    ],
)
def test_wrong_calls(options: dict[str, Any], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=words):
        wishes(**options)


@pytest.mark.parametrize("given", [{"prompt": "x", "like": "d"}, {"prompts": "x", "like": "d"}, {}])
def test_one_source_of_prompts(given: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="one of the three"):
        GenerateConfig.load({"out": "o", **given})


def test_balance_names_fields_of_a_dataset(marked: Path) -> None:
    with pytest.raises(UsageError, match="give that too"):
        GenerateConfig.load({"out": "o", "prompt": "x", "balance": "sex"})
    with pytest.raises(UsageError, match="--balance height"):
        wishes(like=marked, balance="sex,height")


# --- the stage --------------------------------------------------------------------------------------------


def test_a_set_like_a_dataset(
    tiny_model: Path, marked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from synthcxr import cli

    out = tmp_path / "set"
    call = ["synthcxr", "generate", "--model", str(tiny_model), "--like", str(marked), "--count", "6", "--steps", "1"]
    call += ["--balance", "sex", "--view", "PA", "--view", "AP", "--out", str(out)]
    monkeypatch.setattr("sys.argv", call)
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 0
    assert "To draw: 6 images." in (said := capsys.readouterr().err) and "F 3, M 3" in said
    manifest = read_manifest(out)
    assert manifest["mix"]["sex"] == {"F": 3, "M": 3} and manifest["mix"]["age"] == {"30-39": 6}
    assert manifest["inputs"]["like"]["kind"] == "dataset" and manifest["config"]["like_sha256"]
    assert "made-up" in {source["name"] for source in manifest["sources"]}
    rows = read_rows(out)
    assert len(rows) == 6 and all(row.text == write_prompt(Subject.from_fields(row.fields)) for row in rows)
    assert not any("dataset" in gap for gap in find_training(out).gaps), "the mix was taken for training images"


def test_a_set_does_not_go_on_with_another_mix(
    tiny_model: Path, marked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage: Any = import_module("synthcxr.generation.drawing")
    write = stage.write_png

    def stop_after_one(path: Path, *rest: Any) -> None:
        write(path, *rest)
        raise KeyboardInterrupt

    def make(**options: Any) -> Path:
        given = {"model": str(tiny_model), "like": marked, "count": 2, "steps": 1, "batch_size": 2, **options}
        return Path(generate(GenerateConfig(out=tmp_path / "set", **given)))

    monkeypatch.setattr(stage, "write_png", stop_after_one)
    with pytest.raises(KeyboardInterrupt):
        make()
    monkeypatch.setattr(stage, "write_png", write)
    with pytest.raises(UsageError, match="balance differ"):
        make(balance="sex")
    with pytest.raises(UsageError, match="sex differ"):
        make(sex=["F"])
    held = read_manifest(marked)
    write_bytes(marked / "dataset.json", seal(held | {"counts": {"images": 1}, "seal": ""}))
    with pytest.raises(UsageError, match="like_sha256 differ"):
        make()
    write_bytes(marked / "dataset.json", seal({key: value for key, value in held.items() if key != "seal"}))
    make()
    assert len(read_jsonl(tmp_path / "set" / "train" / "metadata.jsonl")) == 2
