"""`study new` for every kind of question: what is asked, what the key says, what is refused."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from synthcxr.config import StudyAnalyzeConfig, StudyImportConfig, StudyNewConfig, StudySimulateConfig
from synthcxr.errors import SynthCXRError, UsageError
from synthcxr.images import read_grey, write_png
from synthcxr.store import Json, read_json, read_jsonl, read_manifest, sha256_file
from synthcxr.study.analyze import analyze
from synthcxr.study.folder import BALANCE, IMAGES, README, SHEET, Study, load
from synthcxr.study.importing import import_answers
from synthcxr.study.methods import methods
from synthcxr.study.new import new
from synthcxr.study.protocol import PROTOCOL, Question
from synthcxr.study.serving.server import open_reading
from synthcxr.study.simulate import simulate

from .piles import image_folder, plain_folder, rough, smooth, write_csv

KINDS = ["real-or-synthetic", "pairwise", "quality"]


def fields(index: int) -> Json:
    return {
        "file_name": f"{index}.png",
        "patient_id": f"P{index}",
        "sex": "MF"[index % 2],
        "view": ["AP", "PA"][index // 2 % 2],
        "age": 40 + index % 20,
        "findings": ["Mass"] if index % 3 == 0 else ["No Finding"],
    }


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    made = [{**fields(i), "text": f"prompt {i}", "seed": i} for i in range(24)]
    return (
        image_folder(tmp_path / "real", "dataset", "test", [(fields(i), rough(i)) for i in range(40)]),
        image_folder(tmp_path / "made", "set", "train", [(row, smooth(i)) for i, row in enumerate(made)]),
    )


def make(folders: tuple[Path, Path], name: str = "study", **given: object) -> Study:
    real, made = folders
    values = {"real": real, "synthetic": made, "out": made.parent / name, "count": 4, **given}
    return load(new(StudyNewConfig.load(values)))


def asked(study: Study) -> tuple[Question, ...]:
    assert study.protocol is not None
    return study.protocol.questions


def test_a_mixture_asks_of_pictures_of_their_own_and_repeats_under_other_names(folders: tuple[Path, Path]) -> None:
    study = make(folders, kind=KINDS, repeats=3, training=3, reader=["R1", "R2"], seed=4)
    kinds = Counter((q.kind, q.training, q.repeat_of is not None) for q in asked(study))
    assert kinds == {
        ("real-or-synthetic", True, False): 3,
        ("real-or-synthetic", False, False): 8,
        ("real-or-synthetic", False, True): 3,
        ("pairwise", True, False): 3,
        ("pairwise", False, False): 4,
        ("pairwise", False, True): 3,
        ("quality", False, False): 8,
        ("quality", False, True): 3,
    }
    shown = [image for question in asked(study) for image in question.images]
    assert len(set(shown)) == len(shown) == len(study.rows) == len(list((study.folder / IMAGES).iterdir()))
    sources = Counter((row["truth"], row["source"]) for row in study.rows.values() if not row["same_as"])
    assert set(sources.values()) == {1}
    originals = {question.id: question for question in asked(study)}
    for question in asked(study):
        if question.repeat_of:
            first = originals[question.repeat_of]
            assert not first.training
            assert tuple(study.rows[image]["same_as"] for image in question.images) == first.images
            for image, before in zip(question.images, first.images, strict=True):
                again, shown_first = (read_grey(study.folder / IMAGES / name) for name in (image, before))
                assert np.array_equal(again, shown_first)
    assert not (study.folder / SHEET).exists()
    assert not (study.folder / README).exists()
    assert open_reading(study.folder).readers == ("R1", "R2")


def test_pairs_are_matched_and_each_side_is_as_often_synthetic(folders: tuple[Path, Path]) -> None:
    study = make(folders, kind=["pairwise"], count=12)
    sides = [[study.truth[image] for image in question.images] for question in asked(study)]
    assert all(sorted(side) == ["real", "synthetic"] for side in sides)
    assert sum(side[0] == "synthetic" for side in sides) == 6
    for question in asked(study):
        one, other = (study.rows[image] for image in question.images)
        for trait in ("sex", "view", "age_group", "findings"):
            assert one[trait] == other[trait]
    table = read_json(study.folder / BALANCE)
    assert all(row["after"] == 0 for row in table["balance"] if row["trait"] != "age")
    assert {row["trait"] for row in table["balance"]} == {"view", "sex", "age group", "age", "findings"}
    assert any("exactly by view, sex, age group, finding" in note for note in study.manifest["notes"])


def test_the_key_says_what_the_analysis_groups_by(folders: tuple[Path, Path]) -> None:
    study = make(folders)
    for row in study.rows.values():
        index = int(Path(row["source"]).stem)
        assert (row["sex"], row["view"], row["age"]) == ("MF"[index % 2], ["AP", "PA"][index // 2 % 2], 40 + index % 20)
        assert (row["age_group"], row["same_as"]) == ("40-59", None)
        assert row["findings"] == (["mass"] if index % 3 == 0 else ["no finding"])


def test_the_protocol_is_frozen_with_what_it_is_to_show(folders: tuple[Path, Path]) -> None:
    plain = make(folders, "plain").protocol
    own = make(
        folders,
        "own",
        primary="equivalence",
        margin=0.15,
        hypothesis=["H"],
        endpoint=["AUC"],
        stopping="S",
        title=" T ",
    )
    assert plain is not None
    assert plain.analysis.endpoints[0] == "accuracy over all readers"
    assert "differs from 0.5" in plain.analysis.hypotheses[0]
    assert own.protocol is not None
    analysis = own.protocol.analysis
    assert (analysis.primary, analysis.margin, analysis.hypotheses, analysis.endpoints) == (
        "equivalence", 0.15, ("H",), ("AUC",),
    )  # fmt: skip
    assert (analysis.stopping, own.protocol.title) == ("S", "T")
    assert own.protocol.sha256 == sha256_file(own.folder / PROTOCOL) == own.manifest["files"][PROTOCOL]["sha256"]
    assert plain.sha256 != own.protocol.sha256


def test_quality_alone_needs_no_real_images_and_takes_items_of_ones_own(folders: tuple[Path, Path]) -> None:
    items = folders[0].parent / "items.yaml"
    items.write_text("- {name: ribs, text: The ribs, steps: [wrong, odd, right]}\n- {name: comment}\n")
    study = make(folders, "own", real=None, kind=["quality"], items=items, repeats=1)
    assert study.protocol is not None
    assert [(item.name, item.steps) for item in study.protocol.items] == [
        ("ribs", ("wrong", "odd", "right")),
        ("comment", ()),
    ]
    assert set(study.truth.values()) == {"synthetic"}
    assert [question.kind for question in asked(study)] == ["quality"] * 5
    preset = make(folders, "preset", kind=["quality"]).protocol
    assert preset is not None
    assert [item.name for item in preset.items] == ["anatomy", "style", "artifacts", "overall", "comment"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: ribs", "must be a list"),
        ("- {name: ribs, steps: [a, a]}", "2 to 9 different steps"),
        ("- {name: ribs, steps: [a, b]}\n- {name: Ribs, steps: [a, b]}", "two items of one name"),
        ("- {name: seconds, steps: [a, b]}", "name of a column"),
        ("- {name: ribs}", "no steps"),
        ("- {name: comment}", "nothing to rate"),
        ("- {name: ribs, steps: [a, b], colour: red}", "nothing else"),
        ("- [", "cannot be read"),
    ],
)
def test_wrong_items_are_refused(folders: tuple[Path, Path], text: str, message: str) -> None:
    items = folders[0].parent / "items.yaml"
    items.write_text(text)
    with pytest.raises(UsageError, match=message):
        make(folders, kind=["quality"], items=items)
    assert not (folders[0].parent / "study").exists()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"count": 30}, "30 synthetic images are needed, but there are 24"),
        ({"kind": KINDS, "count": 9}, "27 synthetic"),
        ({"real": None}, "--real is needed"),
        ({"kind": ["quality", "quality"]}, "each kind once"),
        ({"reader": ["A", " a "]}, "no two the same"),
        ({"repeats": 9}, "--repeats 9 is more"),
        ({"kind": KINDS, "repeats": 5}, "--repeats 5 is more"),
        ({"kind": ["quality"], "training": 2}, "neither right nor wrong"),
        ({"items": "x.yaml"}, "add --kind quality"),
        ({"side": 17}, "blow up the smallest picture, of 16"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_written(folders: tuple[Path, Path], given: Json, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make(folders, **given)
    assert not (folders[0].parent / "study").exists()


def test_real_images_that_do_not_match_are_counted_by_stratum(folders: tuple[Path, Path]) -> None:
    rows = [({**fields(i), "sex": "M"}, rough(i)) for i in range(40)]
    men = image_folder(folders[0].parent / "men", "dataset", "test", rows)
    with pytest.raises(UsageError, match=r"20 pairs alike .* but 12 can be made(.|\n)*F, 40-59, .* 0 real"):
        make((men, folders[1]), count=20)
    assert not (folders[0].parent / "study").exists()
    assert any("were not matched" in note for note in make((men, folders[1]), count=20, match=False).manifest["notes"])


def test_all_pictures_take_one_road(folders: tuple[Path, Path]) -> None:
    """Larger real ones and smaller synthetic ones are all resampled, and all go through JPEG."""
    real = plain_folder(folders[0].parent / "large", (rough(i, 64) for i in range(8)))
    made = plain_folder(folders[0].parent / "small", (smooth(i, 40) for i in range(8)))
    study = make((real, made), side=32, jpeg=80)
    assert {read_grey(path).shape for path in (study.folder / IMAGES).iterdir()} == {(32, 32)}
    assert any("All were larger" in note for note in study.manifest["notes"])
    assert any("JPEG of quality 80" in note for note in study.manifest["notes"])
    assert "no field that both state" in " ".join(study.manifest["notes"])
    told = {row["name"]: row for row in read_json(study.folder / BALANCE)["telltales"]}
    assert told["fine detail"]["tells"]
    assert any("A machine could tell" in note and "fine detail" in note for note in study.manifest["notes"])


def test_the_methods_say_what_was_planned(folders: tuple[Path, Path]) -> None:
    study = make(folders, kind=KINDS, repeats=3, training=3, reader=["R1", "R2"], primary="equivalence", margin=0.15)
    copy = simulate(StudySimulateConfig(study=study.folder, out=study.folder.parent / "read", readers=2))
    text = methods(analyze(StudyAnalyzeConfig(study=copy)))
    for words in (
        "2 readers judged 8 chest X-rays (4 synthetic, 4 real)",
        "2 readers chose the synthetic image of 4 pairs",
        "2 readers rated 8 images for anatomy, style, artifacts, overall",
        "matched to synthetic ones exactly by view, sex, age group, finding,",
        "each reader’s own random order on a web page",
        "first answered 6 practice questions",
        "9 questions were asked again",
        "The primary endpoint was the accuracy; equivalence to guessing, within 0.5 ± 0.15, was judged",
    ):
        assert words in text
    plain = make(folders, "plain", match=False, reader=["R1"])
    copy = simulate(StudySimulateConfig(study=plain.folder, out=plain.folder.parent / "again", readers=1))
    text = methods(analyze(StudyAnalyzeConfig(study=copy)))
    assert "the accuracy, tested against 0.5 (two-sided, α = 0.05)" in text
    assert not any(word in text for word in ("matched", "practice", "asked again"))


def test_a_sheet_of_the_presets_items_comes_in_and_the_planned_endpoint_waits(folders: tuple[Path, Path]) -> None:
    study = make(folders, kind=KINDS)
    rated = [q.images[0] for q in asked(study) if q.kind == "quality"]
    steps = {"anatomy": "good", "style": "2", "artifacts": "none", "overall": "fair", "comment": "box-y ribs"}
    sheet = write_csv(study.folder.parent / "a.csv", [{"reader": "R1", "image": name, **steps} for name in rated])
    assert import_answers(StudyImportConfig(answers=sheet, study=study.folder)).answers == 8
    found = analyze(StudyAnalyzeConfig(study=study.folder))
    assert {answer.comment for answer in found.material.ratings} == {"box-y ribs"}
    assert (found.primary.endpoint, found.primary.estimate) == ("accuracy", None)
    text = {row[2]: row[3] for row in next(s for s in found.sections if s.name == "quality").rows if row[0] == "style"}
    assert (text["2 fair"], text["mean step"]) == ("1.000 (0.510–1.000)", "2.00")  # no spread is no interval


def test_a_changed_image_is_found_before_it_is_read(folders: tuple[Path, Path]) -> None:
    study = make(folders)
    write_png(study.folder / IMAGES / "case-002.png", rough(77))
    with pytest.raises(SynthCXRError, match=r"changed: images/case-002\.png"):
        load(study.folder)


def test_a_key_that_was_taken_away_is_found(folders: tuple[Path, Path]) -> None:
    study = make(folders)
    assert read_jsonl(study.folder / "key/truth.jsonl")
    (study.folder / PROTOCOL).unlink()
    with pytest.raises(SynthCXRError, match="missing: key/protocol"):
        load(study.folder)
    assert read_manifest(study.folder)["counts"]["real"] == 4
