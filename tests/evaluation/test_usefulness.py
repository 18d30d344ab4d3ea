"""Usefulness: images that teach what is tested help, false labels harm; what a gain is called follows the lineage."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from synthcxr.errors import SynthCXRError
from synthcxr.evaluation.answer import Answer
from synthcxr.evaluation.classifier import Taught, fit, prepare, scores
from synthcxr.evaluation.experiment import take_patients
from synthcxr.evaluation.features import FeatureSet
from synthcxr.evaluation.usefulness import Lineage, answer_usefulness, usable_labels
from synthcxr.imagefolder import Row
from synthcxr.images import write_png
from tests.conftest import made_up_xray


def side(folder: Path, name: str, count: int, seed: int, *, false: bool = False, shade: int = 40) -> FeatureSet:
    """Made-up X-rays, every second with pneumonia: a shade in one lung. Labels may be `false`."""
    rng, rows = np.random.default_rng(seed), []
    for i in range(count):
        ill = i % 2 == 0
        image = made_up_xray(seed * 1000 + i).astype(int)
        if ill:
            y, x = rng.integers(24, 36), rng.choice([14, 40])
            image[y : y + 12, x : x + 10] += shade
        path = folder / name / f"{i}.png"
        write_png(path, image.clip(0, 255).astype(np.uint8))
        findings = ["Pneumonia"] if ill is not false else ["No Finding"]
        rows.append(Row(path, "train", "", {"findings": findings, "patient_id": f"{name}{i}", "source": "s"}))
    keys = tuple(f"s/{name}{i}" for i in range(count))
    none = np.zeros((count, 2))
    return FeatureSet(name, none, none, np.arange(count), keys, keys, tuple(rows), "own", "0" * 64, "means")


UNKNOWN = Lineage()


def answer(train: FeatureSet | None, test: FeatureSet, synthetic: FeatureSet, lineage: Lineage = UNKNOWN) -> Answer:
    return answer_usefulness(
        train, test, synthetic, lineage=lineage, seed=0, device="cpu", seeds=2, steps=40, fractions=(0.1, 1.0)
    )


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> tuple[FeatureSet, FeatureSet, FeatureSet]:
    folder = tmp_path_factory.mktemp("sides")
    return side(folder, "train", 40, 1, shade=12), side(folder, "test", 60, 2), side(folder, "set", 100, 3)


def test_images_that_teach_help_and_false_labels_harm(
    sides: tuple[FeatureSet, FeatureSet, FeatureSet], tmp_path: Path
) -> None:
    train, test, good = sides
    found = answer(train, test, good, Lineage(frozenset(), 0, True))
    by_name = {each["name"]: each for each in found.metrics}
    assert by_name["usefulness_auc_synthetic"]["value"] > 0.8
    assert by_name["usefulness_augmentation_100"]["value"] > 0.03
    assert by_name["usefulness_augmentation_100"]["n_training"] == 40
    assert "usefulness_auc_real_10" not in by_name and any("10 %" in each for each in found.warnings), "4 images"
    assert found.verdict.startswith("Adding 100 synthetic images changes the AUC") and "augmentation" in found.verdict
    bad = answer(None, test, side(tmp_path, "bad", 100, 3, false=True))
    assert bad.metrics[0]["value"] < 0.3 and len(bad.metrics) == 1
    assert any("no training split" in each for each in bad.warnings)


def test_patients_of_the_test_do_not_teach(sides: tuple[FeatureSet, FeatureSet, FeatureSet]) -> None:
    train, test, synthetic = sides
    mixed = replace(train, keys=(*test.keys[:10], *train.keys[10:]))
    found = answer(mixed, test, synthetic)
    assert not any("too good" in each for each in found.warnings)
    leaked = answer(None, test, synthetic, Lineage(frozenset(test.keys[:3]), 3, True))  # type: ignore[arg-type]
    assert any("trained on 3 patients of the test" in each for each in leaked.warnings)
    assert any(each.startswith("10 real training images") for each in found.warnings)
    assert found.metrics[-1]["n_training"] == 30
    assert "whose training patients are not known" in found.metrics[-1]["called"]
    assert found.metrics[-1]["name"] == "usefulness_transfer_100"


def test_what_cannot_be_taught_or_tested_says_why(sides: tuple[FeatureSet, FeatureSet, FeatureSet]) -> None:
    train, test, synthetic = sides
    with pytest.raises(SynthCXRError, match="features alone"):
        answer(train, replace(test, rows=(None,) * len(test)), synthetic)
    healthy = replace(synthetic, rows=tuple(Row(row.path, "train") for row in synthetic.rows if row))
    with pytest.raises(SynthCXRError, match="no label with 10 images"):
        answer(train, test, healthy)
    assert usable_labels(sides) == ("abnormal", "pneumonia")


def test_a_training_is_the_same_again_and_the_order_of_images_counts(
    sides: tuple[FeatureSet, FeatureSet, FeatureSet],
) -> None:
    rows = [row for row in sides[0].rows if row]
    taught = Taught(prepare(rows), np.array([[i % 2] for i in range(len(rows))], float))
    assert abs(taught.images.mean(axis=(1, 2))).max() < 1e-4
    one, again, other = (scores(fit(taught, seed, steps=3, device="cpu"), taught.images) for seed in (0, 0, 1))
    assert np.array_equal(one, again) and not np.allclose(one, other)


def test_takes_are_nested_and_begin_with_whom_the_generator_saw() -> None:
    patients = np.repeat(np.arange(20), 2)
    seen = np.isin(patients, [3, 17])
    takes = [set(patients[take_patients(patients, f, seed=5, seen=seen)].tolist()) for f in (0.1, 0.25, 1.0)]
    assert takes[0] == {3, 17} and len(takes[1]) == 5 and takes[0] < takes[1] < takes[2]
    nobody = np.zeros(40, bool)
    assert not np.array_equal(take_patients(patients, 0.25, 1, nobody), take_patients(patients, 0.25, 2, nobody))


def test_a_gain_is_augmentation_only_where_the_generator_saw_no_other_patient() -> None:
    real = frozenset(f"s/{i}" for i in range(10))
    few = Lineage(frozenset(["s/1", "s/2"]), 2, True)
    assert few.in_words(real, 2) == "augmentation"
    assert few.in_words(real, 1) == "transfer from a generator that saw 2 patients"
    others = Lineage(frozenset(["s/1", "t/1"]), 2, True)
    assert others.in_words(real, 10) == "transfer from a generator that saw 2 patients"
    assert Lineage(few.keys, 2, False).in_words(real, 10) == "transfer from a generator that saw at least 2 patients"
    assert Lineage(None, 984, True).in_words(real, 10) == "transfer from a generator that saw 984 patients"
    assert "not known" in Lineage().in_words(real, 10)


def test_the_lineage_of_features_alone_has_numbers_and_no_names(
    sides: tuple[FeatureSet, FeatureSet, FeatureSet],
) -> None:
    train = sides[0]
    assert Lineage.of(train) == Lineage(frozenset(key for key in train.keys if key), 40, True)
    assert Lineage.of(replace(train, keys=(None,) * 40), ["gap"]) == Lineage(None, 40, False)
    assert Lineage.of(None) == Lineage()
