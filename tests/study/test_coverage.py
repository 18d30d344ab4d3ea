"""A short run of benchmarks/study_coverage.py: intervals hold their truth, the pooled one does not."""

import sys
from pathlib import Path

import numpy as np
import pytest

from synthcxr.study.statistics.mrmc import pool_means, share_interval

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import study_coverage as simulation

sys.path.pop(0)


@pytest.mark.parametrize("accuracy", [0.5, 0.81])
def test_intervals_over_readers_hold_where_the_pooled_one_fails(
    accuracy: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(simulation, "TRUTHS", 400_000)
    lines = simulation.several_readers(accuracy, 5, 50, 600, np.random.default_rng(8))
    found = {line.interval: line.coverage for line in lines}
    assert 0.92 <= found["accuracy, MRMC"] <= 0.98
    assert 0.92 <= found["AUC, MRMC"] <= 0.98
    assert found["accuracy, pooled Wilson"] < 0.85


def test_three_readers_who_are_nearly_always_right_have_no_wider_interval_than_they_need() -> None:
    synthetic, real = simulation.feel(0.966, (1500, 3, 50), True, np.random.default_rng(8))
    pooled = pool_means([(synthetic > 0).astype(float), (real < 0).astype(float)])
    found = simulation.line("accuracy", 3, 50, 0.966, share_interval(pooled, 100))
    assert 0.94 <= found.coverage <= 0.983


def test_one_readers_intervals_hold() -> None:
    lines = simulation.one_reader(0.81, 50, 600, np.random.default_rng(8))
    for line in lines:
        assert abs(line.coverage - line.expected) < 0.025


def test_equivalence_is_claimed_at_the_margin_no_oftener_than_alpha() -> None:
    found = simulation.equivalence_rates(16, 50, 600, np.random.default_rng(3))
    rates = {rate["accuracy"]: rate["called_equivalent"] for rate in found}
    assert rates[0.6] <= 0.05 + 3 * (0.05 * 0.95 / 600) ** 0.5
    assert rates[0.5] > 0.8
