"""The whole stage on made-up folders, with a stand-in for the encoder and for the page."""

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import numpy.typing as npt
import pytest
import torch

from synthcxr.config import EvaluateConfig
from synthcxr.errors import SynthCXRError, UsageError
from synthcxr.evaluation import features, training
from synthcxr.evaluation.answer import Answer
from synthcxr.evaluation.content import Content
from synthcxr.evaluation.encoder import IDENTITY, LABELS, Encoder
from synthcxr.evaluation.evaluate import evaluate
from synthcxr.evaluation.features import FeatureSet
from synthcxr.evaluation.measure import KINDS
from synthcxr.evaluation.training import find_model, find_training, given_training
from synthcxr.evaluation.usefulness import Lineage
from synthcxr.imagefolder import Row, read_rows, write_rows
from synthcxr.images import Grey, write_png
from synthcxr.store import Json, describe_input, open_output, read_json, read_jsonl, sha256_file, verify, write_json

BUNDLED: Json = {"model": {"name": "bundled", "kind": "model"}}


class Pixels(torch.nn.Module):
    """Features are the grey levels of sixteen pixels of an image of 8 × 8, the identity is eight of those, twice."""

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features = x[:, 0, 16:128:32, 16:128:32].flatten(1)
        return features, torch.nn.functional.pad(2 * features[:, :8], (0, IDENTITY - 8))


class FakeEncoder(Encoder):
    """Its classifiers see the first pixels."""

    def label(self, features: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        seen: npt.NDArray[np.float32] = features[:, : len(LABELS)] / np.float32(2) + np.float32(0.5)
        return seen


ENCODER = FakeEncoder("fake", "f" * 64, 16, "sixteen pixels", Pixels(), None)


@dataclass
class Page:
    """Keeps what the page was to be written from."""

    contents: list[Content] = field(default_factory=list)

    def write_report(self, folder: Path, content: Content) -> None:
        (folder / "index.html").write_text("<!doctype html>")
        self.contents.append(content)


@pytest.fixture(autouse=True)
def page(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Page:
    page = Page()
    monkeypatch.setitem(sys.modules, "synthcxr.report.html", SimpleNamespace(write_report=page.write_report))
    monkeypatch.setattr("synthcxr.evaluation.evaluate.load_encoder", lambda: ENCODER)
    monkeypatch.setattr("synthcxr.evaluation.diversity.PAIRS", 3)  # MS-SSIM of one takes 12 ms
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for module in (features, training):
        monkeypatch.setattr(module, "REFERENCES", tmp_path / "reference")
    return page


def noise(seed: int, side: int = 8) -> Grey:
    return np.random.default_rng(seed).integers(0, 256, (side, side), dtype=np.uint8)


def make_folder(folder: Path, kind: str, splits: dict[str, list[Grey]], inputs: Json | None = None) -> Path:
    """A finished dataset (two images a patient) or set."""
    with open_output(folder, kind, {"crop": "center"}) as output:
        for split, images in splits.items():
            rows: list[Json] = []
            for i, image in enumerate(images):
                write_png(folder / split / f"{i:03d}.png", image)
                patient = {"patient_id": f"{split}-{i // 2}"} if kind == "dataset" else {}
                rows.append({"file_name": f"{i:03d}.png", "text": "", **patient})
            write_rows(folder, split, rows)
        output.finish(inputs=inputs or {}, counts={}, environment={})
    return folder


def make_run(folder: Path, inputs: dict[str, Path | Json]) -> Path:
    with open_output(folder, "run", {}) as output:
        described = {k: describe_input(v, folder) if isinstance(v, Path) else v for k, v in inputs.items()}
        output.finish(inputs=described, counts={}, environment={})
    return folder


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    splits = {"train": [noise(i) for i in range(60)], "test": [noise(100 + i) for i in range(60)]}
    return make_folder(tmp_path / "dataset", "dataset", splits)


@pytest.fixture
def synthetic(tmp_path: Path, dataset: Path) -> Path:
    """A set of a model trained on the dataset: 48 images of its own, and 12 copied from the training."""
    run = make_run(tmp_path / "run", {"dataset": dataset})
    images = [noise(200 + i) for i in range(48)] + [noise(i) for i in range(12)]
    return make_folder(tmp_path / "set", "set", {"train": images}, {"model": describe_input(run, tmp_path / "set")})


def make_reference(folder: Path, name: str, n: int = 60, **changes: object) -> None:
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(5)
    features = 2 * rng.random((n, 16), np.float32) - 1
    np.savez(
        folder / f"{name}.npz",
        features=features,
        identity=np.pad(2 * features[:, :8], ((0, 0), (0, IDENTITY - 8))),
        patients=np.arange(n) // 2,
    )
    about = {"source": "made up", "licence": "CC0", "encoder": "fake", "encoder_sha256": ENCODER.sha256}
    about["sha256"] = sha256_file(folder / f"{name}.npz")
    about |= {"preprocessing": ENCODER.preprocessing, "split": "test"}
    write_json(folder / f"{name}.json", {**about, "n": n, **changes})


def call(real: Path | str, synthetic: Path, out: Path, **more: object) -> EvaluateConfig:
    asked = {"questions": ["realism", "privacy"], **more}
    return EvaluateConfig.model_validate({"real": str(real), "synthetic": synthetic, "out": out, **asked})


def shown(page: Page) -> tuple[tuple[Row | None, str], ...]:
    """What the privacy answer shows: each image beside its nearest real one, and of the training where it is known."""
    (privacy,) = (answer for answer in page.contents[0].answers if answer.question == "privacy")
    return privacy.sheets[0].images


def metrics_of(report: Path) -> dict[str, Json]:
    return {metric["name"]: metric for metric in read_json(report / "report.json")["metrics"]}


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


# --- lineage ------------------------------------------------------------------------------------------------


def test_lineage_goes_through_a_run_that_started_from_the_bundled_model(dataset: Path, tmp_path: Path) -> None:
    make_reference(tmp_path / "reference", "bundled-training")
    first = make_run(tmp_path / "first", {"dataset": dataset, "base": BUNDLED["model"]})
    second = make_run(tmp_path / "second", {"dataset": dataset, "base": first})
    folder = tmp_path / "set"
    make_folder(folder, "set", {"train": [noise(1)]}, {"model": describe_input(second, folder)})
    cleaned = tmp_path / "cleaned"
    make_folder(cleaned, "set", {"train": [noise(1)]}, {"source": describe_input(folder, cleaned)})
    found = find_training(cleaned)
    assert set(found.sources) == {dataset, "reference:bundled-training"}
    assert found.gaps == ()


def test_a_run_keeps_what_near_copies_are_found_by_when_the_data_is_gone(
    dataset: Path, synthetic: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "encoder_sha256", lambda: ENCODER.sha256)
    run, real = tmp_path / "run", tmp_path / "real"
    shutil.copytree(dataset / "test", real)
    about = {"source": "made up", "licence": "none", "split": "train"}
    features.write_features(run / training.TRAINING_FEATURES, read_rows(dataset, "train"), ENCODER, about, "cpu")
    with_images = metrics_of(evaluate(call(real, synthetic, tmp_path / "with")))["near_copy_rate"]
    shutil.rmtree(dataset)
    report = evaluate(call(real, synthetic, tmp_path / "without"))
    without = metrics_of(report)["near_copy_rate"]
    assert without["n_training"] == 60
    assert without["value"] == with_images["value"] == pytest.approx(12 / 60, abs=3 / 60)
    assert read_jsonl(report / "nearest.jsonl")[48]["nearest_training"] == "run#0"
    assert read_json(report / "report.json")["inputs"]["training"]["kind"] == "run"


def test_features_that_a_run_keeps_of_another_encoder_are_a_gap(dataset: Path, synthetic: Path, tmp_path: Path) -> None:
    about = {"source": "made up", "licence": "none", "split": "train"}
    file = tmp_path / "run" / training.TRAINING_FEATURES
    features.write_features(file, read_rows(dataset, "train"), ENCODER, about, "cpu")
    shutil.rmtree(dataset)
    assert "keeps are of another encoder" in find_training(synthetic).reason


def test_a_model_with_two_sources_is_compared_with_both(dataset: Path, tmp_path: Path) -> None:
    make_reference(tmp_path / "reference", "bundled-training")
    run = make_run(tmp_path / "run", {"dataset": dataset, "base": BUNDLED["model"]})
    images = [noise(600 + i) for i in range(10)]
    inputs = {"model": describe_input(run, tmp_path / "set")}
    folder = make_folder(tmp_path / "set", "set", {"train": images}, inputs)
    report = evaluate(call(dataset, folder, tmp_path / "report"))
    assert metrics_of(report)["near_copy_rate"]["n_training"] == 120
    assert read_json(report / "report.json")["inputs"].keys() == {
        "real",
        "synthetic",
        "training_1",
        "training_2",
    }
    names = {row["nearest_training"].split("/")[0].split("#")[0] for row in read_jsonl(report / "nearest.jsonl")}
    assert names <= {"dataset", "reference:bundled-training"}


def test_a_dataset_changed_since_the_training_is_told(
    dataset: Path, synthetic: Path, tmp_path: Path, page: Page
) -> None:
    manifest = json.loads((dataset / "dataset.json").read_text())
    write_json(dataset / "dataset.json", {**manifest, "notes": ["touched"]})
    evaluate(call(dataset, synthetic, tmp_path / "report"))
    assert any("has changed since the training" in warning for warning in page.contents[0].warnings)


def test_the_model_of_a_set_is_found_also_of_a_cleaned_one_and_else_the_reason(
    synthetic: Path, tiny_model: Path, tmp_path: Path
) -> None:
    drawn = make_folder(tmp_path / "drawn", "set", {"train": [noise(1)]}, BUNDLED)
    cleaned = tmp_path / "cleaned"
    make_folder(cleaned, "set", {"train": [noise(1)]}, {"source": describe_input(drawn, cleaned)})
    for folder in (drawn, cleaned):
        model, reason = find_model(folder)
        assert model is not None and model.name == "bundled" and reason == ""
    assert "holds neither a model nor an adapter" in find_model(synthetic)[1]
    shutil.rmtree(tmp_path / "run")
    assert find_model(synthetic)[1] == "The model run is gone, or has changed since. Give --model."
    assert "manifests name none" in find_model(make_folder(tmp_path / "mute", "set", {"train": [noise(1)]}))[1]
    assert "has no manifest" in find_model(tiny_model)[1]


def test_what_the_manifests_know_beside_the_training_that_is_given_is_a_gap(
    dataset: Path, synthetic: Path, tmp_path: Path
) -> None:
    assert given_training(dataset, find_training(synthetic)).gaps == ()
    other = given_training(tmp_path / "other", find_training(synthetic))
    assert other.sources == (tmp_path / "other",) and other.gaps == ("The manifests name dataset.",)


def test_usefulness_is_given_the_real_training_and_what_is_known_of_the_generator(
    dataset: Path, synthetic: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[FeatureSet | None, FeatureSet, Lineage]] = []

    def answer(train: FeatureSet | None, test: FeatureSet, _: FeatureSet, *, lineage: Lineage, **__: object) -> Answer:
        seen.append((train, test, lineage))
        return Answer("usefulness", "said")

    monkeypatch.setattr("synthcxr.evaluation.usefulness.answer_usefulness", answer)
    other = make_folder(tmp_path / "other", "dataset", {"train": [noise(900 + i) for i in range(4)]})
    evaluate(call(dataset, synthetic, tmp_path / "one", questions=["usefulness"]))
    evaluate(call(dataset, synthetic, tmp_path / "two", questions=["usefulness"], split="train"))
    evaluate(call(dataset, synthetic, tmp_path / "three", questions=["usefulness"], training=other))
    (train, test, lineage), (none, _, _), (_, _, told) = seen
    assert train is not None and (train.split, len(train), test.split, none) == ("train", 60, "test", None)
    assert lineage == Lineage(frozenset(key for key in train.keys if key), 30, True)
    assert (told.patients, told.complete) == (2, False), "the manifests name another dataset"
