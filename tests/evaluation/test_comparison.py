"""Several sets against the same real patients: what pairing gains, Holm's correction, and what is told apart."""

from dataclasses import replace

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from synthcxr.errors import UsageError
from synthcxr.evaluation.comparison import answer_comparison, name_sets
from synthcxr.evaluation.features import FeatureSet
from synthcxr.evaluation.frechet import frechet_distance, moments
from synthcxr.evaluation.intervals import (
    Floats,
    Jackknifed,
    LeftOut,
    assign_groups,
    jackknife_variance,
    paired_difference,
)


def side_of(features: Floats, name: str) -> FeatureSet:
    keys = tuple(f"{name}/{i}" for i in range(len(features)))
    patients, rows = np.arange(len(features)), (None,) * len(features)
    return FeatureSet(name, features, features, patients, keys, keys, rows, "encoder", "0", "none")


def sides() -> tuple[FeatureSet, FeatureSet, FeatureSet, FeatureSet]:
    rng = np.random.default_rng(0)
    real, near, alike, far = (side_of(rng.standard_normal((100, 6)), name) for name in ("real", "near", "alike", "far"))
    return real, near, alike, replace(far, features=far.features + 1.5)


def test_the_nearer_set_is_named_and_equal_ones_are_not_told_apart() -> None:
    real, near, alike, far = sides()
    answer = answer_comparison(real, [near, alike, far], k=5, seed=0)
    found = {(each["name"], tuple(each["sets"])): each for each in answer.metrics if "sets" in each}
    assert len(found) == 18
    worse = found["frechet_distance_difference", ("near", "far")]
    assert worse["ci_high"] < 0 and worse["p_holm"] < 0.001 and "near is better" in worse["meaning"]
    assert "near is better" in found["coverage_difference", ("near", "far")]["meaning"]
    equal = found["frechet_distance_difference", ("near", "alike")]
    assert equal["ci_low"] < 0 < equal["ci_high"] and "not told apart" in equal["meaning"]
    assert "Nearest" in answer.verdict and "nearer than far" in answer.verdict
    holm = multipletests([each["p"] for each in found.values()], method="holm")[1]
    np.testing.assert_allclose([each["p_holm"] for each in found.values()], holm)


def test_a_set_against_itself_is_zero_however_the_real_patients_fall() -> None:
    real, near, _, _ = sides()
    answer = answer_comparison(real, [near, near], k=5, seed=0)
    for each in answer.metrics:
        if "sets" in each:
            assert each["value"] == 0 and each["sets"] == ["near (1)", "near (2)"] and each["p_holm"] == 1


def test_the_paired_variance_is_that_of_the_brute_force_differences() -> None:
    rng = np.random.default_rng(1)
    real, one, other = (rng.standard_normal((60, 4)) for _ in range(3))
    groups = [assign_groups(np.arange(60), 10, rng) for _ in range(3)]
    parts = [range(10)] * 3

    def fd(x: Floats, y: Floats) -> float:
        return frechet_distance(moments(x), moments(y))

    def sized(values: list[float], number: int) -> LeftOut:
        return LeftOut(np.array(values), np.bincount(groups[number]))

    def both(y: Floats, number: int) -> Jackknifed:
        without = [fd(real[groups[0] != g], y) for g in parts[0]]
        drawn = [fd(real, y[groups[number] != g]) for g in parts[number]]
        return Jackknifed(fd(real, y), (sized(without, 0), sized(drawn, number)))

    estimate, _ = paired_difference(both(one, 1), both(other, 2))
    value = fd(real, one) - fd(real, other)
    anew = [
        sized([fd(real[groups[0] != g], one) - fd(real[groups[0] != g], other) for g in parts[0]], 0),
        sized([fd(real, one[groups[1] != g]) - fd(real, other) for g in parts[1]], 1),
        sized([fd(real, one) - fd(real, other[groups[2] != g]) for g in parts[2]], 2),
    ]
    reach = 2.2621571628 * sum(jackknife_variance(value, each) for each in anew) ** 0.5  # t with 9 degrees of freedom
    assert (estimate.low, estimate.high) == pytest.approx((value - reach, value + reach))


def test_sets_of_different_sizes_are_compared_at_the_smaller_number() -> None:
    real, near, alike, _ = sides()
    small = replace(alike, features=alike.features[:60])
    answer = answer_comparison(real, [near, small], k=5, seed=0)
    assert {each["n_synthetic"] for each in answer.metrics} == {60}
    assert any("60 of each" in warning for warning in answer.warnings)


def test_what_cannot_be_compared_says_why() -> None:
    real, near, alike, _ = sides()
    with pytest.raises(UsageError, match="two sets"):
        answer_comparison(real, [near], k=5, seed=0)
    with pytest.raises(UsageError, match="has 6"):
        answer_comparison(real, [near, replace(alike, features=alike.features[:6])], k=5, seed=0)
    assert name_sets([near, alike, near]) == ["near (1)", "alike", "near (2)"]
