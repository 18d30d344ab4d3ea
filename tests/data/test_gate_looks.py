"""The rules that compare with the training images: numbers that belong to the encoder, and what they catch."""

import csv
import json
import re
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthcxr.data.gate.atlas import decode_atlas, directions_of, encode_atlas, fit_atlas, strangeness
from synthcxr.data.gate.calibration import calibrate, measure, scores_unseen, upper
from synthcxr.data.gate.looks import (
    CALIBRATION,
    RULES,
    UNDONE_BY,
    WAYS,
    Calibration,
    Verdict,
    change,
    concerns,
    content,
    judge,
    load_calibration,
    stated_child,
    wrong_label,
)
from synthcxr.data.splits import split_of
from synthcxr.errors import SynthCXRError
from synthcxr.evaluation.encoder import FOLDER, Encoder, load_encoder
from synthcxr.images import Grey, read_grey, to_square
from synthcxr.prompts import Subject
from synthcxr.store import read_json
from tests.conftest import made_up_xray


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return load_encoder()


@pytest.fixture(scope="module")
def calibration(encoder: Encoder) -> Calibration:
    return load_calibration(encoder)


@pytest.fixture(scope="module")
def real(shared_data_module: Path) -> list[Grey]:
    """Every 25th image of both collections, squared, without the patients that are kept for tests of the whole."""
    images = []
    for source in ("nih", "kermany"):
        with (shared_data_module / source / "metadata.csv").open(newline="") as file:
            for row in islice(csv.DictReader(file), 0, None, 25):
                patient = re.sub(r"^(P\d+)[bv]$", r"\1", row["patient_id"])
                if split_of(patient, (60, 10, 30)) != "test":
                    images.append(to_square(read_grey(shared_data_module / source / row["file_name"]), 256))
    return images


@pytest.fixture(scope="module")
def shared_data_module() -> Path:
    from tests.conftest import SHARED

    if not SHARED.is_dir():
        pytest.skip("the real X-rays of ../shared/data are not here")
    return SHARED


def test_every_way_is_undone_by_its_partner() -> None:
    image = made_up_xray(0, 33)
    for way in range(len(WAYS)):
        np.testing.assert_array_equal(change(change(image, way), UNDONE_BY[way]), image)
    assert not np.array_equal(change(image, 1), image)
    np.testing.assert_array_equal(change(image, 3), image[::-1, ::-1])  # turned, never mirrored


def test_bars_of_a_padded_image_are_not_looked_at() -> None:
    wide = np.asarray(made_up_xray(0, 150)[:100])
    padded = to_square(wide, 150, "pad")
    np.testing.assert_array_equal(content(padded), to_square(wide, 100))
    np.testing.assert_array_equal(content(wide[:, :100]), wide[:, :100])
    for image in (np.zeros((80, 80), np.uint8), np.eye(80, dtype=np.uint8)):
        np.testing.assert_array_equal(content(image), image)


def test_an_atlas_knows_its_mixtures_and_nothing_else() -> None:
    images = [made_up_xray(seed, 128) for seed in range(40)]
    atlas = fit_atlas(directions_of(images))
    np.testing.assert_allclose(atlas @ atlas.T, np.eye(len(atlas)), atol=1e-9)
    again = decode_atlas(encode_atlas(atlas))  # rows may turn their signs, the subspace may not
    np.testing.assert_allclose(again.T @ again, atlas.T @ atlas, atol=0.03)
    fresh = strangeness([made_up_xray(seed, 128) for seed in range(100, 110)], atlas)
    noise = strangeness([np.random.default_rng(k).integers(0, 256, (128, 128), np.uint8) for k in range(10)], atlas)
    assert fresh.max() < noise.min()
    assert strangeness([np.full((64, 64), 7, np.uint8)], atlas).tolist() == [1.0]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=300), st.floats(0.001, 0.5))
def test_a_threshold_lets_no_more_through_than_it_says(scores: list[float], rate: float) -> None:
    threshold, stated = upper(np.array(scores), rate)
    above = sum(score > threshold for score in scores)
    assert above <= max(0, int(rate * (len(scores) + 1)) - 1)
    assert stated <= max(rate, 1 / (len(scores) + 1)) + 1e-5


def test_an_image_is_scored_without_its_own_patient() -> None:
    directions = directions_of([made_up_xray(seed, 128) for seed in range(60)])
    lonely = directions_of([np.random.default_rng(0).integers(0, 256, (128, 128), np.uint8)] * 2)
    scores = scores_unseen(np.concatenate([directions, lonely]), [*map(str, range(60)), "twin", "twin"])
    assert scores[60:].min() > scores[:60].max()


def test_the_shipped_numbers_belong_to_the_shipped_encoder(encoder: Encoder, tmp_path: Path) -> None:
    held = read_json(FOLDER / CALIBRATION)
    assert held["encoder_sha256"] == encoder.sha256
    assert 0 < held["not_frontal"]["far"] < 1 and held["not_frontal"]["images"] >= 200
    with pytest.raises(SynthCXRError, match="does not belong"):
        load_calibration(replace(encoder, sha256="0" * 64))
    with pytest.raises(SynthCXRError, match="skip-checks"):
        load_calibration(encoder, tmp_path)


def test_nothing_is_read_where_nothing_is_asked() -> None:
    def images() -> Grey:
        raise AssertionError("an image was read")

    verdicts = judge((images() for _ in range(3)), [Subject()] * 3, frozenset(RULES))
    assert list(verdicts) == [Verdict()] * 3


def test_verdicts_come_in_order_across_batches() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (128, 128), np.uint8)
    images = [noise, made_up_xray(0, 128), noise, noise, made_up_xray(1, 128)]
    alone = [next(iter(judge([image], [Subject()]))).rule for image in images]
    assert [verdict.rule for verdict in judge(images, [Subject()] * 5, batch_size=2)] == alone
    assert alone[0] == alone[2] == alone[3] == "not-frontal"
    skipped = judge([noise], [Subject()], frozenset({"not-frontal"}))
    assert [verdict.rule for verdict in skipped] != ["not-frontal"]


@pytest.mark.real
def test_real_xrays_pass_and_changed_ones_do_not(real: list[Grey]) -> None:
    """Among them are training images; the figures on patients that the encoder has not seen are in the docs."""
    count = len(real)
    assert count > 50

    def rules(images: list[Grey]) -> list[str]:
        return [verdict.rule for verdict in judge(images, [Subject()] * count)]

    assert sum(bool(rule) for rule in rules(real)) <= 2
    for way, rule in ((1, "inverted"), (2, "rotated"), (3, "rotated"), (4, "rotated")):
        found = rules([change(image, way) for image in real])
        assert found.count(rule) >= 0.9 * count and sum(map(bool, found)) >= 0.95 * count


@pytest.mark.real
def test_a_padded_image_is_judged_by_what_is_in_it(shared_data: Path) -> None:
    images = []
    with (shared_data / "kermany" / "metadata.csv").open(newline="") as file:
        for row in islice(csv.DictReader(file), 0, None, 3):
            patient = re.sub(r"^(P\d+)[bv]$", r"\1", row["patient_id"])
            if int(row["width"]) > 1.6 * int(row["height"]) and split_of(patient, (60, 10, 30)) != "test":
                images.append(read_grey(shared_data / "kermany" / row["file_name"]))
    images = images[:16]
    padded = judge([to_square(image, 512, "pad") for image in images], [Subject()] * len(images))
    assert len(images) == 16 and sum(bool(verdict.rule) for verdict in padded) <= 2


@pytest.mark.real
def test_calibration_from_scratch_gives_what_it_promises(real: list[Grey], encoder: Encoder) -> None:
    train, held_out = real[::2], real[1::4]
    subjects = [Subject(age=50) if k < len(held_out) // 3 else Subject(age=3) for k in range(len(held_out))]
    held = json.loads(json.dumps(calibrate(encoder, train, [str(k) for k in range(len(train))], held_out, subjects)))
    noise = [np.random.default_rng(k).integers(0, 256, (256, 256), np.uint8) for k in range(5)]
    measured = measure(held, encoder, {"held out": (held_out, subjects)}, {"noise": noise})
    assert measured["held out, as it is"]["rules"] == {}  # the thresholds are no smaller than these very scores
    assert measured["held out, as it is"]["warnings"] == 0
    assert measured["object: noise"]["rules"]["not-frontal"]["share"] == 1.0
    assert measured["held out, inverted"]["rules"]["inverted"]["share"] > 0.8


@pytest.mark.parametrize(
    ("subject", "child"),
    [
        (Subject(age=4), True),
        (Subject(age=0), True),
        (Subject(age=10), True),
        (Subject(age=14), None),
        (Subject(age=18), False),
        (Subject(age_range=(1, 5)), True),
        (Subject(age_range=(20, 30)), False),
        (Subject(age_range=(5, 40)), None),
        (Subject(), None),
    ],
)
def test_who_is_called_a_child(subject: Subject, child: bool | None) -> None:
    assert stated_child(subject) is child


def test_a_wrong_label_is_a_warning_in_words(calibration: Calibration) -> None:
    sure = replace(calibration, child_above=0.9, adult_below=0.1)
    assert "sees a child" in wrong_label(Subject(age=60), 0.95, sure)
    assert "sees an adult" in wrong_label(Subject(age=3), 0.05, sure)
    for subject, child in ((Subject(age=60), 0.5), (Subject(age=3), 0.5), (Subject(), 0.99), (Subject(age=14), 0.01)):
        assert wrong_label(subject, child, sure) == ""


def test_a_rule_that_leaves_out_much_is_doubted() -> None:
    assert concerns({"not-frontal": 5, "blank": 900}, 1000) == []
    (note,) = concerns({"not-frontal": 100}, 1000)
    assert "100 of 1000" in note and "--skip-checks not-frontal" in note
