"""MS-SSIM within a set, Vendi score and authenticity: reference numbers, definitions, and what they must notice."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from synthcxr.evaluation.diversity import authentic, diversity_metrics, draw_pairs, ms_ssim, surround, vendi
from synthcxr.evaluation.features import FeatureSet
from synthcxr.evaluation.intervals import Floats, pairs_interval
from synthcxr.imagefolder import Row
from synthcxr.images import write_png
from tests.conftest import made_up_xray
from tests.evaluation.fixtures.parity_inputs import made_features

PARITY: dict[str, Any] = json.loads((Path(__file__).parent / "fixtures" / "parity.json").read_text())["features"]


def side_of(features: Floats, name: str = "side", rows: tuple[Row | None, ...] = ()) -> FeatureSet:
    n = len(features)
    keys = tuple(f"{name}/{i}" for i in range(n))
    patients = np.arange(n)
    return FeatureSet(name, features, features, patients, keys, keys, rows or (None,) * n, "encoder", "0", "none")


def by_name(metrics: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in metrics}


def test_vendi_equals_its_package_both_ways() -> None:
    features = made_features(*PARITY["inputs"]["synthetic"])
    assert vendi(features) == pytest.approx(PARITY["vendi"]["cosine"], rel=1e-10)
    wide = np.pad(features, ((0, 0), (0, 60)))  # more features than images: by the other product
    assert vendi(wide) == pytest.approx(PARITY["vendi"]["cosine_dual"], rel=1e-10)


def test_vendi_counts_what_is_different() -> None:
    assert vendi(np.tile(np.eye(7), (3, 1))) == pytest.approx(7.0)
    assert vendi(np.ones((5, 3))) == pytest.approx(1.0)


def test_copies_are_not_authentic_and_strangers_are() -> None:
    rng = np.random.default_rng(0)
    training = rng.standard_normal((200, 6))
    patients = np.arange(200)
    copies = training[:50] + 1e-3 * rng.standard_normal((50, 6))
    around = surround(training, patients)
    assert not authentic(around, copies).any()
    assert authentic(around, training[:50] + 100).all()
    # Alaa et al.: about half of fresh draws lie nearer than the next, in few dimensions
    assert 0.3 < authentic(around, rng.standard_normal((1000, 6))).mean() < 0.9


def test_another_image_of_the_patient_hides_no_copy() -> None:
    rng = np.random.default_rng(1)
    first = rng.standard_normal((50, 4))
    training = np.concatenate([first, first + 1e-4])  # each patient twice
    copies = first + 1e-2
    assert not authentic(surround(training, np.tile(np.arange(50), 2)), copies).any()
    assert authentic(surround(training, np.arange(100)), copies).all()


def test_pairs_are_of_different_patients_and_never_twice() -> None:
    patients = np.array([0, 0, 0, 1, 1, 2])
    pairs = draw_pairs(patients, 50, np.random.default_rng(0))
    assert len(pairs) == 11  # of 15 pairs 3 + 1 are of one patient
    assert len({tuple(pair) for pair in pairs.tolist()}) == 11
    assert (patients[pairs[:, 0]] != patients[pairs[:, 1]]).all()


def test_the_dyadic_variance_of_all_pairs_is_the_mean_products() -> None:
    rng = np.random.default_rng(2)
    first, second = np.triu_indices(40, 1)
    widths = []
    means = []
    for _ in range(300):
        x = rng.standard_normal(40)
        found = pairs_interval(x[first] + x[second], np.stack([first, second], 1))
        assert found.low is not None and found.high is not None
        widths.append(found.high - found.low)
        means.append(found.value)
    # the mean over pairs of x_i + x_j is twice the mean of x
    assert np.mean(widths) == pytest.approx(2 * 2.02 * 2 / 40**0.5, rel=0.05)
    assert np.std(means) == pytest.approx(2 / 40**0.5, rel=0.1)


def test_a_set_that_repeats_itself_is_seen(tmp_path: Path) -> None:
    rows = []
    for i in range(12):
        write_png(tmp_path / f"{i}.png", made_up_xray(i, 96))
        rows.append(Row(tmp_path / f"{i}.png", "test"))
    features = np.random.default_rng(3).standard_normal((12, 5))
    varied = side_of(features, rows=tuple(rows))
    same = replace(varied, features=np.tile(features[:2], (6, 1)), rows=tuple(rows[:2] * 6))
    one, other = ms_ssim(varied, 0), ms_ssim(same, 0)
    assert one and other and other[0].value > one[0].value + 0.05
    found = by_name(diversity_metrics(varied, same, None, seed=0, no_training="Give --training."))
    assert found["ms_ssim"]["value"] > found["ms_ssim"]["real"]["ci_high"]
    assert found["vendi_score"]["value"] <= 2 + 1e-9 < found["vendi_score"]["ceiling"]
    assert found["authenticity"]["value"] is None and "--training" in found["authenticity"]["reason"]


def test_features_alone_give_no_ms_ssim_and_say_why() -> None:
    rng = np.random.default_rng(4)
    real, synthetic, training = (side_of(rng.standard_normal((40, 5)), name) for name in ("real", "drawn", "train"))
    found = by_name(diversity_metrics(real, synthetic, training, seed=0, no_training=""))
    assert found["ms_ssim"]["value"] is None and "images" in found["ms_ssim"]["reason"]
    authenticity = found["authenticity"]
    assert authenticity["ci_low"] <= authenticity["value"] <= authenticity["ci_high"]
    assert authenticity["n_held_out"] == 40 and 0 < authenticity["ceiling"] <= 1
