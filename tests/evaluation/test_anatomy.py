"""Anatomy: landmarks on real X-rays, measures of chests drawn by hand, and what is said of a set."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from synthcxr.errors import SynthCXRError
from synthcxr.evaluation.anatomy import MEASURES, answer_anatomy, measures
from synthcxr.evaluation.features import FeatureSet
from synthcxr.evaluation.intervals import Floats
from synthcxr.evaluation.landmarks import FOLDER, MIRRORED, POINTS, WEIGHTS, Landmarks, load_landmarks
from synthcxr.imagefolder import Row
from synthcxr.images import read_grey, to_square
from synthcxr.store import sha256_file
from tests.conftest import SHARED, made_up_xray

MARKS = Path(__file__).parents[2] / "recipes" / "anatomy" / "marks.json"
LUNG = np.array([[0.4, 0.1], [0.25, 0.3], [0.2, 0.6], [0.2, 0.9], [0.35, 0.7], [0.45, 0.7], [0.45, 0.4]])
CHEST = np.concatenate([LUNG, LUNG * [-1, 1] + [1, 0], [[0.35, 0.6], [0.65, 0.6]]])[None]
"""A symmetrical chest, its points in parts of the side."""


# --- measures ----------------------------------------------------------------------------------------------


def test_measures_of_a_chest_drawn_by_hand() -> None:
    found = {name: float(value[0]) for name, value in measures(CHEST).items()}
    assert found["heart_to_thorax"] == pytest.approx(0.3 / 0.6)
    assert found["lung_area"] == pytest.approx(2 * 0.125 / 0.36)  # shoelace by hand
    assert found["lung_balance"] == pytest.approx(0.5)
    assert found["lung_height"] == pytest.approx(0.8 / 0.6)
    assert found["taper"] == pytest.approx(0.5 / 0.6)  # at 0.3 of the side the walls are at 0.25 and 0.75
    assert found["costophrenic_angle"] == pytest.approx(np.degrees(np.arctan(0.15 / 0.2)))
    assert found["costophrenic_depth"] == pytest.approx(0.2 / 0.8)


def test_proportions_do_not_change_when_a_chest_is_moved_or_magnified() -> None:
    before, after = measures(CHEST), measures((CHEST - 0.5) * 0.7 + 0.55)
    assert all(np.allclose(before[name], after[name]) for name in MEASURES)


def test_a_mirrored_chest_has_its_larger_lung_on_the_other_side() -> None:
    lopsided = CHEST.copy()
    lopsided[0, 4, 1] = 0.6
    before, after = measures(lopsided), measures(lopsided[:, MIRRORED] * [-1, 1] + [1, 0])
    assert before["lung_balance"] < 0.49
    assert np.allclose(after["lung_balance"], 1 - before["lung_balance"])
    assert all(np.allclose(before[name], after[name]) for name in MEASURES if name != "lung_balance")


def test_a_chest_that_the_image_cuts_off_is_not_measured() -> None:
    cut = CHEST.copy()
    cut[0, 3, 0] = 0.0
    assert all(np.isnan(value[0]) for value in measures(cut).values())


# --- landmarks ---------------------------------------------------------------------------------------------


def test_the_network_is_small_and_says_what_it_was_learnt_from() -> None:
    landmarks = load_landmarks()
    marked = json.loads(MARKS.read_text())
    patients = {part: {e["patient"] for e in marked["images"] if e["part"] == part} for part in ("learn", "judge")}
    assert (FOLDER / WEIGHTS).stat().st_size <= 1_000_000
    assert tuple(landmarks.about["points"]) == tuple(marked["points"]) == POINTS
    assert landmarks.about["marks_sha256"] == sha256_file(MARKS)
    assert (len(patients["learn"]), len(patients["judge"])) == (150, 50)
    assert not patients["learn"] & patients["judge"]
    assert set(landmarks.about["measures"]) == set(MEASURES)


def test_a_mirror_image_has_mirrored_landmarks() -> None:
    images = [made_up_xray(seed, 128) for seed in range(2)]
    straight = load_landmarks().find(images)
    mirrored = load_landmarks().find(image[:, ::-1] for image in images)
    assert np.allclose(straight, mirrored[:, MIRRORED] * [-1, 1] + [1, 0], atol=1e-5)


def test_changed_weights_are_refused(tmp_path: Path) -> None:
    for path in FOLDER.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes() + (b"x" if path.name == WEIGHTS else b""))
    with pytest.raises(SynthCXRError, match="was changed"):
        load_landmarks(tmp_path)


@pytest.mark.skipif(not SHARED.is_dir(), reason="the real X-rays are not here")
def test_landmarks_of_real_patients_they_were_not_learnt_from() -> None:
    entries = [each for each in json.loads(MARKS.read_text())["images"] if each["part"] == "judge"][:12]
    found = load_landmarks().find(to_square(read_grey(SHARED / each["file"]), 256) for each in entries)
    far = np.linalg.norm(found - np.array([each["marks"] for each in entries]) / 100, axis=-1)
    assert np.median(far) < 0.03


# --- the answer --------------------------------------------------------------------------------------------


def side(name: str, count: int, tmp_path: Path) -> FeatureSet:
    """Images that are never looked at: their landmarks are given."""
    rows = tuple(Row(tmp_path / f"{name}{i}.png", "train") for i in range(count))
    return FeatureSet(
        name=name,
        features=np.zeros((count, 1)),
        identity=np.zeros((count, 1)),
        patients=np.arange(count),
        labels=tuple(row.path.name for row in rows),
        keys=(None,) * count,
        rows=rows,
        encoder="none",
        encoder_sha256="",
        preprocessing="",
    )


def chests(count: int, seed: int, heart: float = 0.0) -> Floats:
    rng = np.random.default_rng(seed)
    points = CHEST + 0.01 * rng.standard_normal((count, len(POINTS), 2))
    points[:, -1, 0] += heart
    return points


def given(landmarks: Floats, monkeypatch: pytest.MonkeyPatch, error: float = 0.0) -> Landmarks:
    """Landmarks that find these points, one call's after another's; every measure has this error and a spread of 1."""
    parts = iter(landmarks)
    monkeypatch.setattr(Landmarks, "find", lambda self, images: next(parts))
    return Landmarks(None, "", {"measures": {name: {"n": 50, "error": error, "spread": 1.0} for name in MEASURES}})


def test_a_set_of_larger_hearts_is_told_by_the_heart_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    landmarks = given([chests(60, 0), chests(80, 1, heart=0.06)], monkeypatch)  # type: ignore[arg-type]
    answer = answer_anatomy(side("real", 60, tmp_path), side("drawn", 80, tmp_path), landmarks=landmarks)
    figures = {each["name"]: each for each in answer.metrics}
    heart = figures["heart_to_thorax_difference"]
    assert heart["ci_low"] < 0.06 / 0.6 < heart["ci_high"] and heart["ci_low"] > 0.05
    assert figures["heart_to_thorax_odd"]["ci_low"] > 0.5
    assert figures["lung_area_difference"]["ci_low"] < 0 < figures["lung_area_difference"]["ci_high"]
    assert answer.verdict.startswith("Unlike real chests: heart-to-thorax ratio (")
    assert "Not told from real chests: lung area, lung symmetry," in answer.verdict
    landmarks = given([chests(60, 0), chests(80, 1, heart=0.06)], monkeypatch)  # type: ignore[arg-type]
    landmarks.about["measures"]["taper"]["error"] = 0.6
    unsure = answer_anatomy(side("real", 60, tmp_path), side("drawn", 80, tmp_path), landmarks=landmarks)
    assert "Nothing is said of taper: the landmarks are not found surely enough" in unsure.verdict
    assert len(answer.files["anatomy.jsonl"]) == 80 and len(answer.sheets[0].images) == 8


def test_a_measure_that_is_not_sure_enough_has_no_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    landmarks = given([chests(60, 0), chests(80, 1)], monkeypatch, error=0.51)  # type: ignore[arg-type]
    answer = answer_anatomy(side("real", 60, tmp_path), side("drawn", 80, tmp_path), landmarks=landmarks)
    assert all(each["value"] is None and "more than half of the spread" in each["reason"] for each in answer.metrics)
    assert answer.verdict == "Nothing can be said: no measure has images enough, or is sure enough."


def test_a_side_without_images_has_no_answer(tmp_path: Path) -> None:
    bare = replace(side("reference:nih", 3, tmp_path), rows=(None,) * 3)
    answer = answer_anatomy(bare, side("drawn", 3, tmp_path))
    assert answer.metrics[0]["value"] is None and "features alone" in answer.verdict
