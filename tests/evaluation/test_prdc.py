"""Precision, recall, density and coverage against the `prdc` package, their definition, and brute force."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthcxr.evaluation.intervals import Floats, assign_groups
from synthcxr.evaluation.prdc import NAMES, jackknifed_prdc, prdc, prdc_interval
from tests.evaluation.fixtures.parity_inputs import made_features

PARITY: dict[str, Any] = json.loads((Path(__file__).parent / "fixtures" / "parity.json").read_text())["features"]


@pytest.mark.parametrize("k", PARITY["prdc"])
def test_prdc_equals_the_package_exactly(k: str) -> None:
    real, synthetic = (made_features(*PARITY["inputs"][side]) for side in ("real", "synthetic"))
    assert prdc(real, synthetic, int(k)) == pytest.approx(PARITY["prdc"][k], rel=1e-15)


def by_definition(real: Floats, synthetic: Floats, k: int) -> dict[str, float]:
    """Of differences, so that copies tie exactly."""

    def apart(x: Floats, y: Floats) -> Floats:
        return np.array([[np.linalg.norm(a - b) for b in y] for a in x])

    gaps = apart(real, synthetic)
    radii, reach = (np.sort(apart(side, side), axis=1)[:, k] for side in (real, synthetic))
    inside = gaps < radii[:, None]
    covered = gaps.min(axis=1) < radii
    shares = inside.any(axis=0).mean(), (gaps < reach).any(axis=1).mean(), inside.sum(axis=0).mean() / k, covered.mean()
    return dict(zip(NAMES, map(float, shares), strict=True))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 4))
def test_copies_lie_on_the_edge_of_balls_and_not_inside(seed: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    real, synthetic = rng.standard_normal((24, 5)) + 3, rng.standard_normal((20, 5)) + 3
    real[20:] = real[:4]
    synthetic[:8] = real[rng.integers(0, 24, 8)]
    assert prdc(real, synthetic, k) == by_definition(real, synthetic, k)


def test_without_a_group_is_anew_where_one_group_has_all_of_the_nearest() -> None:
    rng = np.random.default_rng(1)
    real, synthetic = rng.standard_normal((60, 3)), rng.standard_normal((50, 3))
    groups = np.repeat(np.arange(3), 20), assign_groups(np.arange(50), 4, rng)
    real[:20] *= 0.01  # a clump: 19 neighbours of the same group
    found = jackknifed_prdc(real, synthetic, 3, *groups)
    anew = [prdc(real[groups[0] != g], synthetic, 3) for g in range(3)]
    drawn = [prdc(real, synthetic[groups[1] != g], 3) for g in range(4)]
    for name in NAMES:
        np.testing.assert_allclose(found[name].sides[0].values, [each[name] for each in anew], rtol=1e-14)
        np.testing.assert_allclose(found[name].sides[1].values, [each[name] for each in drawn], rtol=1e-14)


def test_coverage_rests_on_both_sides() -> None:
    rng = np.random.default_rng(2)
    real = rng.standard_normal((50, 4))
    groups = assign_groups(np.arange(50), 20, rng)
    found = prdc_interval(real, real + 1e-3, 5, groups, groups)
    coverage, recall = found["coverage"], found["recall"]
    assert coverage.value == recall.value == 1.0
    assert coverage.low is not None and recall.low is not None
    assert coverage.low < recall.low - 0.05
