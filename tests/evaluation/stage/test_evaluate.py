"""The whole stage on made-up folders, with a stand-in for the encoder and for the page."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from synthcxr.errors import SynthCXRError, UsageError
from synthcxr.evaluation.evaluate import evaluate
from synthcxr.evaluation.measure import KINDS
from synthcxr.imagefolder import Row, read_rows
from synthcxr.images import write_png
from synthcxr.store import Json, describe_input, open_output, read_json, read_jsonl, verify, write_json
from tests.evaluation.stage.made_up import BUNDLED, Page, Pixels, call, make_folder, make_reference, metrics_of, noise


def shown(page: Page) -> tuple[tuple[Row | None, str], ...]:
    """What the privacy answer shows: each image beside its nearest real one, and of the training where it is known."""
    (privacy,) = (answer for answer in page.contents[0].answers if answer.question == "privacy")
    return privacy.sheets[0].images


# --- a whole report ---------------------------------------------------------------------------------------


def test_a_report_has_every_metric_with_its_interval_and_floor(
    dataset: Path, synthetic: Path, tmp_path: Path, page: Page
) -> None:
    report = evaluate(call(dataset, synthetic, tmp_path / "report"))
    assert verify(report) == []
    metrics = metrics_of(report)
    assert metrics.keys() >= {*KINDS, "frechet_limit"}
    for metric in (metrics[name] for name in (*KINDS, "frechet_limit")):
        assert metric["ci_low"] <= metric["value"] <= metric["ci_high"]
        assert (metric["n_real"], metric["n_synthetic"]) == (60, 60)
        assert (metric["extractor"], metric["preprocessing"]) == ("fake", "sixteen pixels")
        assert metric["reason"] is None
    assert all(metrics[name]["floor"]["halvings"] == 20 for name in KINDS if name != "near_copy_rate")
    assert page.contents[0].metrics == read_json(report / "report.json")["metrics"]
    assert page.contents[0].warnings == []


def test_copies_of_the_training_are_found_by_lineage(
    dataset: Path, synthetic: Path, tmp_path: Path, page: Page
) -> None:
    report = evaluate(call(dataset, synthetic, tmp_path / "report"))
    metric = metrics_of(report)["near_copy_rate"]
    assert metric["value"] == pytest.approx(12 / 60, abs=3 / 60)
    assert metric["n_training"] == 60
    rows = read_jsonl(report / "nearest.jsonl")
    assert len(rows) == 60
    assert rows[48]["file_name"] == "train/048.png"
    assert (rows[48]["nearest_training"], rows[48]["training_distance"]) == ("train/000.png", 0.0)
    assert rows[48]["nearest_real"].startswith("test/")
    (own, _), (near, _), (training, words) = shown(page)[:3]
    assert own is not None and near is not None and training is not None
    assert read_rows(synthetic)[48].path == own.path and near.split == "test"
    assert training.path == dataset / "train" / "000.png" and words == "training train/000.png: 0"


def test_the_same_call_again_gives_the_same_bytes(dataset: Path, synthetic: Path, tmp_path: Path, page: Page) -> None:
    one = evaluate(call(dataset, synthetic, tmp_path / "one"))
    two = evaluate(call(dataset, synthetic, tmp_path / "two"))
    assert (one / "report.json").read_bytes() == (two / "report.json").read_bytes()
    evaluate(call(dataset, synthetic, tmp_path / "one"))
    assert len(page.contents) == 2, "a finished report is not made again"


def test_a_finished_report_of_changed_inputs_is_refused(dataset: Path, synthetic: Path, tmp_path: Path) -> None:
    evaluate(call(dataset, synthetic, tmp_path / "report"))
    manifest = read_json(synthetic / "set.json")
    write_json(synthetic / "set.json", {**manifest, "counts": {"images": 1}})
    with pytest.raises(UsageError, match="synthetic changed since"):
        evaluate(call(dataset, synthetic, tmp_path / "report"))


def test_reference_features_stand_for_the_real_side(synthetic: Path, tmp_path: Path, page: Page) -> None:
    make_reference(tmp_path / "reference", "nih-adults")
    report = evaluate(call("reference:nih-adults", synthetic, tmp_path / "report"))
    assert metrics_of(report)["frechet_distance"]["value"] > 0
    assert read_json(report / "report.json")["inputs"]["real"]["name"] == "reference:nih-adults"
    assert read_jsonl(report / "nearest.jsonl")[0]["nearest_real"].startswith("reference:nih-adults#")
    assert all(row is None for row, _ in shown(page)[1::3])


def test_pixels_of_a_folder_without_terms_are_not_shown(synthetic: Path, tmp_path: Path, page: Page) -> None:
    for i in range(30):
        write_png(tmp_path / "plain" / f"{i}.png", noise(300 + i))
    evaluate(call(tmp_path / "plain", synthetic, tmp_path / "report"))
    assert all(row is None for row, _ in shown(page)[1::3]) and all(row for row, _ in shown(page)[2::3])


def test_the_questions_that_are_asked_are_answered_in_order(
    dataset: Path, synthetic: Path, tmp_path: Path, page: Page
) -> None:
    report = evaluate(call(dataset, synthetic, tmp_path / "report", questions=["privacy", "faithfulness"]))
    answers = read_json(report / "report.json")["questions"]
    assert [answer["question"] for answer in answers] == ["faithfulness", "privacy"]
    assert "near-copies than chance" in answers[1]["verdict"] and "12 of 60" in answers[1]["verdict"]
    assert "Nothing can be said" in answers[0]["verdict"], "the prompts ask for nothing"
    assert "realism" in page.contents[0].unasked


def test_further_sets_are_compared_by_the_same_real_images(
    dataset: Path, synthetic: Path, tmp_path: Path, page: Page
) -> None:
    other = make_folder(tmp_path / "other", "set", {"train": [noise(700 + i) for i in range(40)]}, BUNDLED)
    asked = call(dataset, synthetic, tmp_path / "report", questions=["faithfulness"], compare=[other])
    report = evaluate(asked)
    told = read_json(report / "report.json")
    assert [answer["question"] for answer in told["questions"]] == ["faithfulness", "comparison"]
    pairs = [each for each in told["metrics"] if each.get("sets")]
    assert len(pairs) == 6 and all(each["sets"] == [synthetic.name, "other"] and each["p_holm"] for each in pairs)
    assert told["inputs"]["compare_1"]["kind"] == "set" and not verify(report)
    shutil.rmtree(other)
    make_folder(other, "set", {"train": [noise(800 + i) for i in range(40)]}, BUNDLED)
    with pytest.raises(UsageError, match="compare_1"):
        evaluate(asked)
    with pytest.raises(UsageError, match="--compare and --synthetic are the same"):
        evaluate(call(dataset, synthetic, tmp_path / "again", compare=[synthetic]))


def test_a_second_report_on_the_same_images_works_nothing_out(
    dataset: Path, synthetic: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = evaluate(call(dataset, synthetic, tmp_path / "one"))

    def fail(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr("synthcxr.evaluation.realism.answer_realism", fail)
    monkeypatch.setattr(Pixels, "forward", fail)
    second = evaluate(call(dataset, synthetic, tmp_path / "two"))
    assert metrics_of(first) == metrics_of(second)


def test_a_question_that_fails_says_why_and_the_others_are_answered(
    dataset: Path, synthetic: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise SynthCXRError("the disk is full of cats")

    monkeypatch.setattr("synthcxr.evaluation.privacy.answer_copies", fail)
    report = evaluate(call(dataset, synthetic, tmp_path / "report"))
    metrics = metrics_of(report)
    assert metrics["privacy"]["value"] is None and metrics["privacy"]["reason"] == "the disk is full of cats"
    assert metrics["frechet_distance"]["value"] is not None


def test_text_that_was_removed_on_one_side_alone_is_told(
    dataset: Path, synthetic: Path, tmp_path: Path, page: Page
) -> None:
    cleaned = tmp_path / "cleaned"
    with open_output(cleaned, "set", {"inpainter": "telea"}) as output:
        shutil.copytree(synthetic / "train", cleaned / "train")
        output.finish(inputs={"images": describe_input(synthetic, cleaned)}, counts={}, environment={})
    evaluate(call(dataset, cleaned, tmp_path / "report", training=dataset))
    assert any("removed on one side alone (cleaned)" in warning for warning in page.contents[0].warnings)


# --- what cannot be computed --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "without_value", "without_interval"),
    [
        (
            1,
            {"frechet_distance", "kid", "precision", "recall", "density", "coverage"},
            {"nearest_real_distance"},
        ),
        (
            2,
            {"precision", "recall", "density", "coverage"},
            {"frechet_distance", "kid", "nearest_real_distance"},
        ),
        (6, set(), {"precision", "recall", "density", "coverage"}),
        (8, set(), set()),
    ],
)
def test_too_few_images_give_a_reason_not_a_number(
    dataset: Path, tmp_path: Path, count: int, without_value: set[str], without_interval: set[str]
) -> None:
    few = make_folder(tmp_path / "few", "set", {"train": [noise(400 + i) for i in range(count)]})
    found = metrics_of(evaluate(call(dataset, few, tmp_path / "report", training=dataset)))
    assert (found["frechet_limit"]["value"] is None) == (count < 8)
    metrics = {name: found[name] for name in KINDS}
    assert {name for name, m in metrics.items() if m["value"] is None} == without_value
    valued = {name: m for name, m in metrics.items() if m["value"] is not None}
    assert {name for name, m in valued.items() if m["ci_low"] is None} == without_interval
    assert all("Too few" in metrics[name]["reason"] for name in without_value | without_interval)
    assert all(f"here are 60 real and {count} synthetic" in metrics[name]["reason"] for name in without_value)
    assert all("Fewer than 50" in m["warning"] for name, m in valued.items() if name != "near_copy_rate")


@pytest.mark.parametrize(
    ("make_inputs", "reason"),
    [
        (lambda _: {}, "no model run"),
        (lambda _: BUNDLED, "do not ship"),
        (lambda _: {"model": {"name": "sd21-base", "kind": "model"}}, "sd21-base is not at hand"),
        (lambda t: {"model": {"path": "../gone", "kind": "run", "manifest_sha256": "0"}}, "is gone"),
    ],
)
def test_unknown_training_images_give_a_reason(
    dataset: Path, tmp_path: Path, make_inputs: Callable[[Path], Json], reason: str
) -> None:
    images = [noise(500 + i) for i in range(10)]
    folder = make_folder(tmp_path / "set", "set", {"train": images}, make_inputs(tmp_path))
    metric = metrics_of(evaluate(call(dataset, folder, tmp_path / "report")))["near_copy_rate"]
    assert metric["value"] is None
    assert reason in metric["reason"] and "--training DATASET" in metric["reason"]


def test_unreadable_images_are_listed_and_the_rest_is_judged(
    dataset: Path, synthetic: Path, tmp_path: Path, page: Page
) -> None:
    (synthetic / "train" / "003.png").write_bytes(b"not an image")
    report = evaluate(call(dataset, synthetic, tmp_path / "report"))
    assert metrics_of(report)["kid"]["n_synthetic"] == 59
    (row,) = read_jsonl(report / "rejected.jsonl")
    assert (row["side"], row["file_name"]) == ("synthetic", "train/003.png")
    assert any("1 synthetic images could not be read" in w for w in page.contents[0].warnings)


# --- wrong calls and warnings -------------------------------------------------------------------------------


def test_comparing_a_folder_with_itself_is_refused(synthetic: Path, dataset: Path, tmp_path: Path) -> None:
    for real, more in ((synthetic, {}), (dataset, {"training": synthetic})):
        with pytest.raises(UsageError, match="the same folder"):
            evaluate(call(real, synthetic, tmp_path / "report", split="all", **more))
    assert not (tmp_path / "report").exists()


def test_a_set_is_not_the_real_side(synthetic: Path, tmp_path: Path) -> None:
    other = make_folder(tmp_path / "other", "set", {"train": [noise(1)]})
    with pytest.raises(UsageError, match="is a set of synthetic images"):
        evaluate(call(other, synthetic, tmp_path / "report", split="all"))


def test_an_unknown_reference_names_near_ones(synthetic: Path, tmp_path: Path) -> None:
    make_reference(tmp_path / "reference", "nih-adults")
    with pytest.raises(UsageError, match="Did you mean nih-adults"):
        evaluate(call("reference:nih-adult", synthetic, tmp_path / "report"))


def test_features_of_another_encoder_are_refused(synthetic: Path, tmp_path: Path) -> None:
    make_reference(tmp_path / "reference", "old", encoder_sha256="0" * 64)
    with pytest.raises(SynthCXRError, match="do not compare"):
        evaluate(call("reference:old", synthetic, tmp_path / "report"))


def test_damaged_reference_features_are_refused(synthetic: Path, tmp_path: Path) -> None:
    make_reference(tmp_path / "reference", "torn")
    file = tmp_path / "reference" / "torn.npz"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(SynthCXRError, match="damaged"):
        evaluate(call("reference:torn", synthetic, tmp_path / "report"))


def test_warnings_of_training_split_overlap_and_resolution(dataset: Path, tmp_path: Path, page: Page) -> None:
    small = make_folder(tmp_path / "small", "set", {"train": [noise(i, side=6) for i in range(8)]})
    evaluate(call(dataset, small, tmp_path / "report", split="train", training=dataset))
    text = " ".join(page.contents[0].warnings)
    assert "only 8 synthetic images" in text
    assert "is a training split" in text
    assert "real 8×8, synthetic 6×6" in text
    assert "30 patients of the real side are in the training images" in text
    metric = metrics_of(tmp_path / "report")["near_copy_rate"]
    assert metric["value"] is None and "outside the training" in metric["reason"]


def test_images_that_are_not_square_lose_their_ends_and_are_told(dataset: Path, tmp_path: Path, page: Page) -> None:
    wide = make_folder(tmp_path / "wide", "set", {"train": [np.hstack([noise(i)] * 2) for i in range(8)]})
    evaluate(call(dataset, wide, tmp_path / "report"))
    assert any("not square" in warning for warning in page.contents[0].warnings)
