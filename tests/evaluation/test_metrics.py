"""The metrics against reference implementations, high precision, and their own definitions."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthcxr.evaluation import distances
from synthcxr.evaluation.frechet import frechet_distance, frechet_interval, moments
from synthcxr.evaluation.intervals import Floats, Ints, LeftOut, assign_groups, root_interval
from synthcxr.evaluation.kid import kid, kid_interval
from synthcxr.evaluation.prdc import prdc, prdc_interval

GOLDEN: dict[str, Any] = json.loads((Path(__file__).parent / "fixtures" / "golden.json").read_text())
CASES = pytest.mark.parametrize("case", GOLDEN.values(), ids=GOLDEN.keys())
SEEDS = st.integers(0, 2**32 - 1)


def sides(case: dict[str, Any]) -> tuple[Floats, Floats]:
    return np.array(case["real"]), np.array(case["synthetic"])


def draw(seed: int, n: int = 30, m: int = 24, d: int = 5) -> tuple[Floats, Floats, Ints, Ints]:
    """Two samples and their groups; the real side has patients of one to three images."""
    rng = np.random.default_rng(seed)
    patients = np.repeat(np.arange(n), rng.integers(1, 4, n))[:n]
    groups = assign_groups(patients, 6, rng), assign_groups(np.arange(m), 5, rng)
    return rng.standard_normal((n, d)), rng.standard_normal((m, d)) * 0.8 + 0.2, *groups


def fd(x: Floats, y: Floats) -> float:
    return frechet_distance(moments(x), moments(y))


# --- parity -----------------------------------------------------------------------------------------------


@CASES
def test_frechet_distance_equals_its_high_precision_value(case: dict[str, Any]) -> None:
    assert fd(*sides(case)) == pytest.approx(float(case["frechet_in_high_precision"]), rel=1e-10)


def test_frechet_distance_equals_the_formula_with_sqrtm() -> None:
    case = GOLDEN["full_rank"]
    assert fd(*sides(case)) == pytest.approx(case["frechet_by_sqrtm"], rel=1e-9)


@CASES
def test_kid_equals_the_kernel_matrices(case: dict[str, Any]) -> None:
    assert kid(*sides(case)) == pytest.approx(case["kid"], rel=1e-10)


@CASES
@pytest.mark.parametrize("k", [1, 3])
def test_prdc_equals_the_package(case: dict[str, Any], k: int) -> None:
    assert prdc(*sides(case), k) == pytest.approx(case["prdc"][str(k)], rel=1e-14)


@settings(max_examples=25, deadline=None)
@given(SEEDS, st.integers(1, 6))
def test_prdc_equals_its_definition(seed: int, k: int) -> None:
    real, synthetic, _, _ = draw(seed)

    def radius(points: Floats, i: int) -> float:
        return float(np.sort([np.linalg.norm(points[i] - p) for j, p in enumerate(points) if j != i])[k - 1])

    gaps = np.array([[np.linalg.norm(r - s) for s in synthetic] for r in real])
    in_real = gaps < np.array([radius(real, i) for i in range(len(real))])[:, None]
    in_synthetic = gaps < np.array([radius(synthetic, j) for j in range(len(synthetic))])
    covered = [gaps[i].min() < radius(real, i) for i in range(len(real))]
    expected = {
        "precision": in_real.any(axis=0).mean(),
        "recall": in_synthetic.any(axis=1).mean(),
        "density": in_real.sum(axis=0).mean() / k,
        "coverage": np.mean(covered),
    }
    assert prdc(real, synthetic, k) == expected


# --- properties -------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(SEEDS)
def test_the_order_of_images_does_not_matter(seed: int) -> None:
    real, synthetic, _, _ = draw(seed)
    rng = np.random.default_rng(seed)
    shuffled = rng.permutation(real), rng.permutation(synthetic)
    assert fd(*shuffled) == pytest.approx(fd(real, synthetic), rel=1e-9, abs=1e-9)
    assert kid(*shuffled) == pytest.approx(kid(real, synthetic), rel=1e-9, abs=1e-9)
    assert prdc(*shuffled, 3) == prdc(real, synthetic, 3)


@settings(max_examples=25, deadline=None)
@given(SEEDS, st.integers(2, 12), st.integers(1, 20))
def test_frechet_distance_of_a_sample_to_itself_is_zero(seed: int, n: int, d: int) -> None:
    x = np.random.default_rng(seed).standard_normal((n, d))
    assert fd(x, x) == pytest.approx(0.0, abs=1e-12 * n * d)


@settings(max_examples=25, deadline=None)
@given(SEEDS)
def test_frechet_distance_is_symmetric(seed: int) -> None:
    real, synthetic, _, _ = draw(seed, n=6, m=9, d=20)
    assert fd(real, synthetic) == pytest.approx(fd(synthetic, real), rel=1e-10)


def test_distances_grow_and_precision_falls_with_noise() -> None:
    rng = np.random.default_rng(3)
    real, clean, noise = (rng.standard_normal((150, 8)) for _ in range(3))
    noisy = [clean + level * noise for level in (0.0, 1.0, 2.0, 4.0)]
    assert np.all(np.diff([fd(real, x) for x in noisy]) > 0)
    assert np.all(np.diff([kid(real, x) for x in noisy]) > 0)
    assert np.all(np.diff([prdc(real, x, 5)["precision"] for x in noisy]) < 0)


def test_frechet_distance_is_finite_where_all_images_are_the_same() -> None:
    x = np.ones((5, 4))
    assert fd(x, x) == 0.0
    assert fd(x, x + 1) == pytest.approx(4.0)


# --- the jackknife equals computing everything anew ---------------------------------------------------------


@pytest.mark.parametrize("d", [5, 60])
def test_the_frechet_interval_is_the_brute_force_jackknife(d: int) -> None:
    real, synthetic, gr, gs = draw(2, d=d)
    found = frechet_interval(real, synthetic, gr, gs)
    without_real = np.array([fd(real[gr != g], synthetic) for g in range(gr.max() + 1)])
    without_synthetic = np.array([fd(real, synthetic[gs != g]) for g in range(gs.max() + 1)])
    parts = [LeftOut(without_real, np.bincount(gr)), LeftOut(without_synthetic, np.bincount(gs))]
    expected = root_interval(fd(real, synthetic), parts)
    assert found.value == expected.value
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-8)


def test_the_kid_interval_is_the_brute_force_jackknife() -> None:
    real, synthetic, gr, gs = draw(4)
    found = kid_interval(real, synthetic, gr, gs)
    without_real = np.array([kid(real[gr != g], synthetic) for g in range(gr.max() + 1)])
    without_synthetic = np.array([kid(real, synthetic[gs != g]) for g in range(gs.max() + 1)])

    def excess(x: Floats) -> float:
        k = (x @ x.T / x.shape[1] + 1) ** 3
        off_diagonal = (k.sum() - np.trace(k)) / (len(x) * (len(x) - 1))
        return float(k.mean() - off_diagonal)

    parts = [LeftOut(without_real, np.bincount(gr)), LeftOut(without_synthetic, np.bincount(gs))]
    expected = root_interval(kid(real, synthetic), parts, offset=excess(real) + excess(synthetic))
    assert found.value == pytest.approx(expected.value, rel=1e-10)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-8)


def test_the_prdc_intervals_are_the_brute_force_jackknife(monkeypatch: pytest.MonkeyPatch) -> None:
    real, synthetic, gr, gs = draw(5)
    seen: list[list[LeftOut]] = []
    for name in ("jackknife_interval", "share_interval"):
        monkeypatch.setattr(f"synthcxr.evaluation.prdc.{name}", lambda _, parts, *__, **___: seen.append(parts))
    prdc_interval(real, synthetic, 3, gr, gs)
    for name, (real_part, synthetic_part) in zip(("precision", "recall", "density", "coverage"), seen, strict=True):
        anew = [prdc(real[gr != g], synthetic, 3)[name] for g in range(gr.max() + 1)]
        np.testing.assert_allclose(real_part.values, anew, rtol=1e-14)
        anew = [prdc(real, synthetic[gs != g], 3)[name] for g in range(gs.max() + 1)]
        np.testing.assert_allclose(synthetic_part.values, anew, rtol=1e-14)


def test_prdc_intervals_hold_their_values() -> None:
    real, synthetic, gr, gs = draw(6)
    values = prdc(real, synthetic, 3)
    for name, estimate in prdc_interval(real, synthetic, 3, gr, gs).items():
        assert estimate.value == values[name]
        assert estimate.low is not None and estimate.high is not None
        assert 0 <= estimate.low <= estimate.value <= estimate.high


def test_blocks_of_any_size_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    real, synthetic, gr, gs = draw(7)
    whole = prdc_interval(real, synthetic, 3, gr, gs), kid_interval(real, synthetic, gr, gs)
    monkeypatch.setattr(distances.row_blocks, "__defaults__", (50,))
    monkeypatch.setattr(distances.distance_blocks, "__defaults__", (50,))
    assert prdc_interval(real, synthetic, 3, gr, gs) == whole[0]
    assert kid_interval(real, synthetic, gr, gs).high == pytest.approx(whole[1].high, rel=1e-10)
