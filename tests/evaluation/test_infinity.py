"""FD∞: free of the bias that a distance at N has, and honest where it is not."""

import numpy as np
import pytest

from synthcxr.evaluation.frechet import frechet_distance, moments
from synthcxr.evaluation.infinity import DEALS, Curve, _deal, limit_curve
from synthcxr.evaluation.intervals import Bools, Floats, LeftOut, assign_groups, root_interval


def curve(seed: int, n: int = 200, d: int = 16, shift: float = 0.0) -> tuple[Curve, Floats, Floats]:
    rng = np.random.default_rng(seed)
    real, synthetic = rng.standard_normal((n, d)), rng.standard_normal((n, d)) + shift
    groups = assign_groups(np.arange(n), 20, rng), assign_groups(np.arange(n), 20, rng)
    found = limit_curve(real, synthetic, *groups, seed)
    assert found is not None
    return found, real, synthetic


@pytest.mark.parametrize(("shift", "truth"), [(0.0, 0.0), (0.3, 16 * 0.09)])
def test_the_limit_is_the_truth_and_the_distance_lies_above_it(shift: float, truth: float) -> None:
    found = [curve(seed, shift=shift)[0] for seed in range(20)]
    limits = np.array([each.limit.value for each in found])
    assert abs(limits.mean() - truth) < 3 * limits.std() / len(limits) ** 0.5
    assert np.mean([each.values[-1] for each in found]) > truth + 0.5
    inside = [(each.limit.low or 0.0) <= truth <= (each.limit.high or 0.0) for each in found]
    assert sum(inside) >= 18


def test_the_curve_falls_to_the_distance_itself() -> None:
    found, real, synthetic = curve(3, shift=0.3)
    assert found.values[-1] == frechet_distance(moments(real), moments(synthetic))
    assert found.sizes == (50, 100, 200) and not found.warning
    assert np.all(np.diff(found.values) < 0)
    assert found.bias == pytest.approx(found.values[-1] - found.limit.value)


@pytest.mark.parametrize("d", [3, 40], ids=["wide", "thin"])
def test_the_interval_is_the_jackknife_of_the_whole_extrapolation(d: int) -> None:
    rng = np.random.default_rng(1)
    real, synthetic = rng.standard_normal((32, d)), rng.standard_normal((40, d)) + 1
    groups = np.arange(32) % 8, np.arange(40) % 5
    deals = np.random.default_rng(6)
    dealt = [(_deal(groups[0], deals) % 2, _deal(groups[1], deals) % 2) for _ in range(DEALS)]

    def limit(keep_real: Bools, keep_synthetic: Bools) -> float:
        def distance(x: Bools, y: Bools) -> float:
            return frechet_distance(moments(real[x & keep_real]), moments(synthetic[y & keep_synthetic]))

        halves = [distance(x == part, y == part) for x, y in dealt for part in (0, 1)]
        return 2 * distance(np.ones(32, bool), np.ones(40, bool)) - float(np.mean(halves))

    all_real, all_synthetic = np.ones(32, bool), np.ones(40, bool)
    parts = [
        LeftOut(np.array([limit(groups[0] != g, all_synthetic) for g in range(8)]), np.bincount(groups[0])),
        LeftOut(np.array([limit(all_real, groups[1] != g) for g in range(5)]), np.bincount(groups[1])),
    ]
    found = limit_curve(real, synthetic, *groups, seed=6)
    assert found is not None
    assert found.limit.value == pytest.approx(limit(all_real, all_synthetic), rel=1e-9)
    expected = root_interval(found.limit.value, parts, offset=max(0.0, found.bias))
    assert (found.limit.low, found.limit.high) == pytest.approx((expected.low, expected.high), rel=1e-7)


def test_how_many_images_are_needed() -> None:
    found = [curve(seed, shift=0.5)[0].needed for seed in range(6)]
    needed = int(np.mean([number for number in found if number is not None]))
    rng = np.random.default_rng(7)
    fresh = [rng.standard_normal((2, needed, 16)) for _ in range(40)]
    distances = [frechet_distance(moments(one), moments(two + 0.5)) for one, two in fresh]
    assert np.mean(distances) / (16 * 0.25) - 1 == pytest.approx(0.1, abs=0.04)
    assert None not in found
    assert curve(1, shift=0.0)[0].needed is None  # nothing to be a tenth of


def test_below_twice_as_many_images_as_features_it_warns_and_is_too_high() -> None:
    found = [curve(seed, n=60, d=64)[0] for seed in range(5)]
    assert all("too high" in each.warning and "128" in each.warning for each in found)
    assert min(each.limit.value for each in found) > 0  # the truth is 0


def test_too_few_images_or_patients_give_none() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((30, 3))
    few, many = np.arange(30) % 3, np.arange(30) % 10
    assert limit_curve(x, x, few, many) is None
    assert limit_curve(x[:7], x, np.arange(7), many) is None


def test_the_same_seed_gives_the_same() -> None:
    assert curve(5)[0] == curve(5)[0]
