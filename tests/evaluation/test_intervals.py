"""Groups of patients, the jackknife, the near-copy calibration and the floor."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import t

from synthcxr.evaluation.floor import floors
from synthcxr.evaluation.intervals import (
    Floats,
    Ints,
    LeftOut,
    assign_groups,
    jackknife_interval,
    jackknife_variance,
    median_interval,
    share_interval,
    wilson,
)
from synthcxr.evaluation.neighbours import calibrate, near_copy_rate, nearest

PATIENTS = st.lists(st.integers(0, 9), min_size=1, max_size=60).map(lambda codes: np.array(codes, np.int64))


@settings(max_examples=50, deadline=None)
@given(PATIENTS, st.integers(1, 8), st.integers(0, 100))
def test_groups_never_divide_a_patient_and_none_is_empty(patients: Ints, count: int, seed: int) -> None:
    groups = assign_groups(patients, count, np.random.default_rng(seed))
    for patient in np.unique(patients):
        assert len(np.unique(groups[patients == patient])) == 1
    assert set(groups) == set(range(min(count, len(np.unique(patients)))))


def test_groups_are_of_nearly_equal_size() -> None:
    sizes = np.bincount(assign_groups(np.arange(50), 20, np.random.default_rng(0)))
    assert set(sizes) == {2, 3}


def test_the_jackknife_of_a_mean_is_the_standard_error() -> None:
    x = np.random.default_rng(1).standard_normal(12)
    left_out = LeftOut(np.array([np.delete(x, i).mean() for i in range(12)]), np.ones(12, np.int64))
    assert jackknife_variance(float(x.mean()), left_out) == pytest.approx(x.var(ddof=1) / 12)
    found = jackknife_interval(float(x.mean()), [left_out])
    reach = t.ppf(0.975, 11) * x.std(ddof=1) / 12**0.5
    assert (found.low, found.high) == pytest.approx((x.mean() - reach, x.mean() + reach))


def test_a_bias_in_one_over_n_adds_no_variance_where_groups_are_unequal() -> None:
    sizes = np.array([2, 3, 2, 5])
    left_out = LeftOut(7.0 / (sizes.sum() - sizes), sizes)
    assert jackknife_variance(7.0 / sizes.sum(), left_out) == pytest.approx(0.0, abs=1e-20)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_share_of_none_or_all_keeps_an_interval(value: float) -> None:
    found = share_interval(value, [LeftOut(np.full(20, value), np.full(20, 3))], 60)
    assert found.low is not None and found.high is not None
    assert found.low <= value <= found.high
    assert 0.05 < found.high - found.low < 0.1


def test_wilson_of_the_hackathon_reader() -> None:
    assert wilson(43, 50) == pytest.approx((0.738, 0.930), abs=5e-4)


def test_the_median_interval_holds_95_percent_or_is_absent() -> None:
    found = median_interval(np.arange(1.0, 21.0))
    assert (found.low, found.value, found.high) == (6.0, 10.5, 15.0)  # binomial: ranks 6 and 15 of 20
    assert median_interval(np.arange(5.0)).low is None
    assert median_interval(np.arange(6.0)).low == 0.0


def test_nearest_finds_an_exact_copy_at_distance_zero() -> None:
    rng = np.random.default_rng(2)
    others = 1000 + rng.standard_normal((40, 16))
    found = nearest(others[[7, 3]], others)
    assert found.index.tolist() == [7, 3]
    assert found.distance.tolist() == [0.0, 0.0]


def test_the_near_copy_rate_counts_what_is_nearer_than_the_threshold() -> None:
    held_out = np.arange(1.0, 301.0)
    calibration = calibrate(held_out)
    assert calibration.threshold == 3.0
    assert calibration.expected == pytest.approx(3 / 301)
    rate = near_copy_rate(np.array([0.5, 2.9, 3.0, 50.0]), calibration)
    assert rate.value == 0.5
    assert (rate.low, rate.high) == pytest.approx(wilson(2, 4))


def test_the_expected_rate_is_what_fresh_images_show() -> None:
    rng = np.random.default_rng(3)
    drawn = [(calibrate(rng.exponential(size=150)), rng.exponential(size=150)) for _ in range(400)]
    shares = [near_copy_rate(fresh, calibration).value for calibration, fresh in drawn]
    assert np.mean(shares) == pytest.approx(drawn[0][0].expected, rel=0.15)


def test_the_floor_divides_by_patient_and_gives_the_range() -> None:
    patients = np.repeat(np.arange(10), 3)
    features = patients[:, None].astype(np.float64)
    halves: list[int] = []

    def metrics(one: Floats, two: Floats) -> dict[str, float]:
        assert not set(one.ravel()) & set(two.ravel())
        halves.append(len(one))
        return {"gap": abs(float(one.mean() - two.mean()))}

    floor = floors(features, patients, metrics, seed=0)["gap"]
    assert halves == [15] * 20
    assert floor.halvings == 20 and floor.n_half == 15
    assert floor.low <= floor.median <= floor.high
    assert floors(features, patients, metrics, seed=0)["gap"] == floor
    assert floors(features[:3], patients[:3], metrics, seed=0) == {}
