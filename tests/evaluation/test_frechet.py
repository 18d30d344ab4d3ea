"""The Fréchet distance against reference implementations, high precision, and its own definition."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthcxr.evaluation import frechet
from synthcxr.evaluation.frechet import (
    distances_without,
    frechet_distance,
    frechet_interval,
    moments,
    moments_of,
)
from synthcxr.evaluation.intervals import Floats, Ints, LeftOut, assign_groups, root_interval
from tests.evaluation.fixtures.parity_inputs import ill_conditioned

FIXTURES = Path(__file__).parent / "fixtures"
GOLDEN: dict[str, Any] = json.loads((FIXTURES / "golden.json").read_text())
HIGH: dict[str, Any] = json.loads((FIXTURES / "parity.json").read_text())["frechet_in_high_precision"]
CASES = pytest.mark.parametrize("case", GOLDEN.values(), ids=GOLDEN.keys())
ILL = pytest.mark.parametrize("case", HIGH.values(), ids=HIGH.keys())
SEEDS = st.integers(0, 2**32 - 1)
SHAPES = pytest.mark.parametrize(
    ("n", "m", "d"),
    [(30, 24, 5), (30, 24, 60), (30, 90, 60), (90, 30, 60)],
    ids=["wide", "both thin", "thin against wide", "wide against thin"],
)


def draw(seed: int, n: int = 30, m: int = 24, d: int = 5) -> tuple[Floats, Floats, Ints, Ints]:
    """Two samples and their groups; the real side has patients of one to three images."""
    rng = np.random.default_rng(seed)
    patients = np.repeat(np.arange(n), rng.integers(1, 4, n))[:n]
    groups = assign_groups(patients, 6, rng), assign_groups(np.arange(m), 5, rng)
    return rng.standard_normal((n, d)), rng.standard_normal((m, d)) * 0.8 + 0.2, *groups


def fd(x: Floats, y: Floats) -> float:
    return frechet_distance(moments(x), moments(y))


def by_covariances(x: Floats, y: Floats) -> float:
    """As from two statistics files."""
    return frechet_distance(*(moments_of(a.mean(0), np.cov(a, rowvar=False)) for a in (x, y)))


@CASES
def test_it_equals_its_high_precision_value(case: dict[str, Any]) -> None:
    x, y = np.array(case["real"]), np.array(case["synthetic"])
    assert fd(x, y) == pytest.approx(float(case["frechet_in_high_precision"]), rel=1e-10)
    assert by_covariances(x, y) == pytest.approx(float(case["frechet_in_high_precision"]), rel=1e-6)


@ILL
def test_ill_conditioned_and_rank_deficient_covariances(case: dict[str, Any]) -> None:
    x, y = (ill_conditioned(*about) for about in case["inputs"])
    assert fd(x, y) == pytest.approx(float(case["value"]), rel=1e-10)
    assert by_covariances(x, y) == pytest.approx(float(case["value"]), rel=1e-6)


def test_it_equals_the_formula_with_sqrtm() -> None:
    case = GOLDEN["full_rank"]
    assert fd(np.array(case["real"]), np.array(case["synthetic"])) == pytest.approx(case["frechet_by_sqrtm"], rel=1e-9)


def test_known_gaussians() -> None:
    one = moments_of(np.zeros(2), np.diag([4.0, 1.0]))
    two = moments_of(np.array([3.0, 0.0]), np.diag([1.0, 9.0]))
    assert frechet_distance(one, two) == pytest.approx(9 + (2 - 1) ** 2 + (1 - 3) ** 2)


@settings(max_examples=25, deadline=None)
@given(SEEDS, st.integers(2, 12), st.integers(1, 20))
def test_a_sample_lies_at_no_distance_from_itself(seed: int, n: int, d: int) -> None:
    x = np.random.default_rng(seed).standard_normal((n, d))
    assert fd(x, x) == pytest.approx(0.0, abs=1e-12 * n * d)


@settings(max_examples=25, deadline=None)
@given(SEEDS)
def test_it_is_symmetric_and_the_order_of_images_does_not_matter(seed: int) -> None:
    real, synthetic, _, _ = draw(seed, n=6, m=9, d=20)
    assert fd(real, synthetic) == pytest.approx(fd(synthetic, real), rel=1e-10)
    shuffled = np.random.default_rng(seed).permutation(real)
    assert fd(shuffled, synthetic) == pytest.approx(fd(real, synthetic), rel=1e-10)


def test_it_is_finite_where_all_images_are_the_same() -> None:
    x = np.ones((5, 4))
    assert fd(x, x) == 0.0
    assert fd(x, x + 1) == pytest.approx(4.0)
    assert by_covariances(x, x + 1) == pytest.approx(4.0)
    assert distances_without(x, np.arange(5), moments(x + 1)) == pytest.approx(np.full(5, 4.0))


@SHAPES
def test_moments_are_mean_and_covariance(n: int, m: int, d: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frechet, "ROWS", 7)  # blocks of max(7, d) rows
    real = draw(1, n, m, d)[0]
    found = moments(real.astype(np.float32))
    np.testing.assert_allclose(found.mean, real.mean(0), atol=1e-6)
    np.testing.assert_allclose(found.covariance, np.cov(real, rowvar=False), atol=1e-6)
    assert len(found.root) == min(n, d) and found.count == n


@SHAPES
def test_leaving_groups_out_equals_computing_everything_anew(
    n: int, m: int, d: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frechet, "ROWS", 7)
    real, synthetic, groups, _ = draw(2, n, m, d)
    anew = [fd(real[groups != g], synthetic) for g in range(groups.max() + 1)]
    np.testing.assert_allclose(distances_without(real, groups, moments(synthetic)), anew, rtol=1e-9)


@pytest.mark.parametrize("d", [5, 60])
def test_the_interval_is_the_brute_force_jackknife(d: int) -> None:
    real, synthetic, gr, gs = draw(2, d=d)
    found = frechet_interval(real, synthetic, gr, gs)
    without_real = np.array([fd(real[gr != g], synthetic) for g in range(gr.max() + 1)])
    without_synthetic = np.array([fd(real, synthetic[gs != g]) for g in range(gs.max() + 1)])
    parts = [LeftOut(without_real, np.bincount(gr)), LeftOut(without_synthetic, np.bincount(gs))]
    expected = root_interval(fd(real, synthetic), parts)
    assert found.value == expected.value
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-8)
