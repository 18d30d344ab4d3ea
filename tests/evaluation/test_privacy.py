"""Near-copies by pixels: planted copies are found also where they were moved, unseen patients are not; what objects."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from synthcxr.evaluation.encoder import load_encoder
from synthcxr.evaluation.features import FeatureSet, read_folder
from synthcxr.evaluation.intervals import Floats
from synthcxr.evaluation.privacy import answer_privacy, compare_pixels, objections
from synthcxr.imagefolder import Row
from synthcxr.images import Grey, read_grey, to_square, write_png
from synthcxr.store import Json
from tests.evaluation.test_registration import moved, textured

COPIES = 10


def side(folder: Path, name: str, images: list[Grey], identity: Floats) -> FeatureSet:
    """A side of one image a patient, with identities of its own."""
    rows = []
    for i, image in enumerate(images):
        write_png(folder / name / f"{i}.png", image)
        rows.append(Row(folder / name / f"{i}.png", "train", "", {"source": "s", "patient_id": f"{name}{i}"}))
    keys = tuple(f"s/{name}{i}" for i in range(len(images)))
    zeros = np.zeros((len(images), 2))
    patients = np.arange(len(images))
    return FeatureSet(name, zeros, identity, patients, keys, keys, tuple(rows), "own", "0" * 64, "means")


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> tuple[FeatureSet, FeatureSet, FeatureSet]:
    """30 unseen patients, a set of 20 of which the first 10 were copied, moved and brightened, and 25 of the training.

    The identities see a copy as one of the nearer, not as the nearest.
    """
    folder, rng = tmp_path_factory.mktemp("privacy"), np.random.default_rng(0)
    training = [textured(seed, 96) for seed in range(25)]
    copies = [
        (0.8 * moved(image, rng.uniform(0.95, 1.05), *rng.uniform(-0.05, 0.05, 2)) + 30).astype(np.uint8)
        for image in training[:COPIES]
    ]
    own = [textured(seed, 96) for seed in range(100, 110)]
    real = [textured(seed, 96) for seed in range(200, 230)]
    seen = rng.normal(size=(25, 8))
    drawn = np.concatenate([seen[:COPIES] + rng.normal(0, 0.2, (COPIES, 8)), rng.normal(size=(10, 8))])
    return (
        side(folder, "real", real, rng.normal(size=(30, 8))),
        side(folder, "set", copies + own, drawn),
        side(folder, "training", training, seen),
    )


def test_copies_are_found_where_they_were_moved_to_and_no_others(
    sides: tuple[FeatureSet, FeatureSet, FeatureSet],
) -> None:
    real, synthetic, training = sides
    found = compare_pixels(real, synthetic, training, "")
    flagged = [row["near_copy"] for row in found.rows]
    assert all(flagged[:COPIES]) and sum(flagged[COPIES:]) <= 1, "1 of 31 is expected"
    assert [row["training"] for row in found.rows[:COPIES]] == list(training.labels[:COPIES])
    assert found.metric["value"] == sum(flagged) / 20 and found.metric["ci_low"] > found.metric["expected"]
    assert (found.metric["n_training"], found.metric["n_held_out"]) == (25, 30)
    best = found.sheets[0].images
    assert best[0][0] in synthetic.rows and best[1][0] is None, "no terms are known: the training is not shown"
    honest = compare_pixels(real, replace(real, name="set"), training, "")
    assert honest.metric["value"] <= 1 / 30


@pytest.mark.parametrize(("change", "said"), [("no training", "nobody"), ("features", "features alone"), ("few", "20")])
def test_without_what_it_needs_the_reason_is_said(
    sides: tuple[FeatureSet, FeatureSet, FeatureSet], change: str, said: str
) -> None:
    real, synthetic, training = sides
    known = {
        "no training": None,
        "features": replace(training, rows=(None,) * 25, keys=(None,) * 25),
        "few": replace(training, keys=(*real.keys[:15], *training.keys[15:])),
    }[change]
    answer = answer_privacy(
        real, synthetic, known, no_training="nobody knows", model=None, no_model="no model", seed=0, device="cpu"
    )
    by_name = {each["name"]: each for each in answer.metrics}
    for name in ("pixel_copy_rate", "membership_auc_loss"):
        assert by_name[name]["value"] is None and by_name[name]["reason"], name
    assert said in by_name["pixel_copy_rate"]["reason"]
    (objection,) = objections(answer.metrics)
    assert objection.startswith("By identity" if change == "features" else "Near-copies were not counted")
    assert answer.verdict.endswith("would hold it back.")


def figure(name: str, value: float | None, low: float | None, **more: object) -> Json:
    return {"name": name, "value": value, "ci_low": low, "expected": 0.01, "reason": "It is dark.", **more}


def test_what_objects() -> None:
    pixels = figure("pixel_copy_rate", 0.0, 0.0)
    assert objections([figure("near_copy_rate", 0.015, 0.004), pixels]) == []
    assert objections([figure("near_copy_rate", None, None), pixels]) == [], "one count is enough"
    assert objections([figure("near_copy_rate", None, None)]) == ["Near-copies were not counted. It is dark."]
    assert objections([]) == ["Near-copies were not counted."]
    (copied,) = objections([figure("near_copy_rate", 0.1, 0.06), pixels])
    assert "10.0 %" in copied and "1.0 % would be by chance" in copied
    assert objections([pixels, figure("membership_auc_distance", 0.58, 0.55)]) == []
    (told,) = objections([pixels, figure("membership_auc_distance", 0.7, 0.62)])
    assert "AUC of 0.70" in told
    assert objections([pixels, figure("membership_auc_distance", None, None)]) == []
    assert objections([pixels, figure("membership_auc_loss", 0.9, 0.85)]) == [], "the model does not leave with the set"


def test_copies_of_real_x_rays_are_found_and_unseen_patients_are_not(shared_data: Path, tmp_path: Path) -> None:
    by_patient = {path.name.split("_")[0]: path for path in sorted((shared_data / "nih" / "images").glob("*.jpg"))}
    images = [to_square(read_grey(path), 256) for path in list(by_patient.values())[:66]]
    parts = {
        "training": images[:24],
        "real": images[24:54],
        "set": [moved(image, 1.04, 0.03, -0.03) for image in images[:6]] + images[54:60],
    }
    found = {}
    for name, part in parts.items():
        for i, image in enumerate(part):
            write_png(tmp_path / name / f"{i:02d}.png", image)
        found[name] = read_folder(tmp_path / name, "all", load_encoder(), 32, "cpu")
    rows = compare_pixels(found["real"], found["set"], found["training"], "").rows
    assert [row["near_copy"] for row in rows[:6]] == [True] * 6
    assert sum(row["near_copy"] for row in rows[6:]) <= 1 and rows[0]["training"] == "00.png"
