"""What a set was trained on and made by, told from manifests alone, and what the report makes of it."""

import json
import shutil
from pathlib import Path

import pytest

from synthcxr.evaluation import features, training
from synthcxr.evaluation.answer import Answer
from synthcxr.evaluation.evaluate import evaluate
from synthcxr.evaluation.features import FeatureSet
from synthcxr.evaluation.training import find_model, find_training, given_training
from synthcxr.evaluation.usefulness import Lineage
from synthcxr.imagefolder import read_rows
from synthcxr.store import describe_input, read_json, read_jsonl, write_json
from tests.evaluation.stage.made_up import (
    BUNDLED,
    ENCODER,
    Page,
    call,
    make_folder,
    make_reference,
    make_run,
    metrics_of,
    noise,
)


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
