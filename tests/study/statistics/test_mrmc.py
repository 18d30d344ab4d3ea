"""Against published output and two R packages on the Van Dyke data (van_dyke.json says which is whose)."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthcxr.study.panel import difference
from synthcxr.study.statistics import roc
from synthcxr.study.statistics.mrmc import (
    Floats,
    area_interval,
    compare_means,
    covariance_of_means,
    one_shot,
    pool,
    pool_areas,
    pool_means,
    share_interval,
    success,
)

KEPT: dict[str, Any] = json.loads((Path(__file__).parent / "van_dyke.json").read_text())
TRUTH = np.array([digit == "1" for digit in KEPT["truth"]])
RATINGS: Floats = np.array([[[float(d) for d in reader] for reader in m] for m in KEPT["ratings"]])
POSITIVE, NEGATIVE = RATINGS[:, :, TRUTH], RATINGS[:, :, ~TRUTH]
RIGHT = np.where(TRUTH, RATINGS >= 3, RATINGS < 3).astype(np.float64)


def with_gaps(scores: Floats) -> Floats:
    """Every seventh row of the data is gone; rows go by case, then reader, then modality."""
    flat = scores.transpose(2, 1, 0).copy().reshape(-1)
    flat[::7] = np.nan
    return flat.reshape(scores.shape[::-1]).transpose(2, 1, 0)


def jackknife(ratings: Floats) -> tuple[Floats, Floats]:
    """Areas (R,) of readers and their jackknife covariance (R, R), one case left out after the other."""
    areas = roc.place(ratings[:, TRUTH], ratings[:, ~TRUTH]).area
    cases = len(TRUTH)
    without = np.empty((cases, len(ratings)))
    for case in range(cases):
        kept = np.arange(cases) != case
        without[case] = roc.place(ratings[:, kept & TRUTH], ratings[:, kept & ~TRUTH]).area
    centred = without - without.mean(axis=0)
    return areas, centred.T @ centred * (cases - 1) / cases


@pytest.mark.parametrize("modality", [0, 1])
def test_the_published_output_of_or_dbm_mrmc(modality: int) -> None:
    told = KEPT["or_dbm_mrmc"]
    areas, covariance = jackknife(RATINGS[modality])
    assert areas == pytest.approx(told["areas"][modality], abs=5.1e-9)
    found = pool(areas, covariance)
    assert float(found.value) == pytest.approx(told["means"][modality], abs=5.1e-9)
    assert float(found.cases) == pytest.approx(told["cov2"][modality], abs=5.1e-9)
    assert float(np.sqrt(found.variance)) == pytest.approx(told["standard_errors"][modality], abs=5.1e-9)
    assert float(found.freedom) == pytest.approx(told["freedom"][modality], abs=5.1e-3)
    assert np.array(found.interval()) == pytest.approx(told["intervals"][modality], abs=5.1e-9)


def test_the_published_difference_of_two_modalities() -> None:
    told = KEPT["or_dbm_mrmc"]["difference"]
    (first, _), (second, _) = jackknife(RATINGS[0]), jackknife(RATINGS[1])
    both = jackknife(np.concatenate([RATINGS[0], RATINGS[1]]))[1]
    covariance = both[:5, :5] + both[5:, 5:] - both[:5, 5:] - both[5:, :5]
    found = pool(first - second, covariance)
    assert float(found.value) == pytest.approx(told["value"], abs=5.1e-6)
    assert float(np.sqrt(found.variance)) == pytest.approx(told["standard_error"], abs=5.1e-6)
    assert float(found.freedom) == pytest.approx(told["freedom"], abs=5.1e-3)
    assert np.array(found.interval()) == pytest.approx(told["interval"], abs=5.1e-6)


def test_delong_and_obuchowski_rockette_as_mrmcaov() -> None:
    told = KEPT["mrmcaov"]
    places = roc.place(POSITIVE, NEGATIVE)
    covariance = covariance_of_means(places.positive) + covariance_of_means(places.negative)
    assert covariance[0] == pytest.approx(np.array(told["covariance_1"]), rel=1e-9)
    assert roc.variance(places)[0] == pytest.approx(np.diag(told["covariance_1"]), rel=1e-9)
    found = pool(places.area, covariance)
    assert found.value == pytest.approx(told["means"], rel=1e-10)
    assert found.cases == pytest.approx(told["cov2"], rel=1e-9)
    assert np.sqrt(found.variance) == pytest.approx(told["standard_errors"], rel=1e-9)
    assert found.freedom == pytest.approx(told["freedom"], rel=1e-9)
    assert pytest.approx(np.array(told["intervals"]), rel=1e-9) == np.array(found.interval()).T
    apart = pool(
        places.area[0] - places.area[1],
        covariance_of_means(places.positive[0] - places.positive[1])
        + covariance_of_means(places.negative[0] - places.negative[1]),
    )
    assert float(np.sqrt(apart.variance)) == pytest.approx(told["difference"]["standard_error"], rel=1e-9)
    assert float(apart.freedom) == pytest.approx(told["difference"]["freedom"], rel=1e-9)
    assert np.array(apart.interval()) == pytest.approx(told["difference"]["interval"], rel=1e-9)


def test_one_shot_areas_as_imrmc() -> None:
    told = KEPT["imrmc"]
    pairs = success(POSITIVE, NEGATIVE)
    found = one_shot(pairs, 3)
    assert found.variance == pytest.approx(told["area_variance"], rel=1e-9)
    assert float(one_shot(pairs[0] - pairs[1], 3).variance) == pytest.approx(told["difference_variance"], rel=1e-9)
    assert one_shot(pairs[0], 2).variance == pytest.approx(told["reader_variances_1"], rel=1e-9)
    # iMRMC's M1 to M8: all shared, then (reader, positive), (reader, negative), reader; the same without the reader
    order = [(0, 1, 2), (0, 1), (0, 2), (0,), (1, 2), (1,), (2,), ()]
    assert [float(found.moments[shared][0]) for shared in order] == pytest.approx(told["moments_1"], rel=1e-9)
    gaps = with_gaps(RATINGS)
    holed = one_shot(success(gaps[:, :, TRUTH], gaps[:, :, ~TRUTH]), 3)
    assert holed.value == pytest.approx(told["gaps_area"], rel=1e-9)
    assert holed.variance == pytest.approx(told["gaps_area_variance"], rel=1e-9)


def test_one_shot_shares_as_imrmc() -> None:
    told = KEPT["imrmc"]
    found, holed = one_shot(RIGHT, 2), one_shot(with_gaps(RIGHT), 2)
    assert found.value == pytest.approx(told["right_mean"], rel=1e-9)
    assert found.variance == pytest.approx(told["right_variance"], rel=1e-9)
    assert float(one_shot(RIGHT[0] - RIGHT[1], 2).variance) == pytest.approx(
        told["right_difference_variance"], rel=1e-9
    )
    assert holed.value == pytest.approx(told["gaps_right_mean"], rel=1e-9)
    assert holed.variance == pytest.approx(told["gaps_right_variance"], rel=1e-9)


def test_both_methods_are_one_where_every_answer_is_there() -> None:
    """With unbiased covariances, Obuchowski and Rockette's variance is Gallas's (Hillis, Stat. Med. 33 (2014))."""
    assert pool_means([RIGHT[0]]).variance == pytest.approx(one_shot(RIGHT[0], 2).variance, rel=1e-12)


def test_strata_weigh_by_their_images_and_a_gap_costs_only_itself() -> None:
    strata = [RIGHT[0][:, TRUTH], RIGHT[0][:, ~TRUTH]]
    assert float(pool_means(strata).value) == pytest.approx(RIGHT[0].mean())
    holed = [strata[0].copy(), strata[1]]
    holed[0][2, :4] = np.nan
    found = pool_means(holed)
    assert np.isfinite(found.variance)
    assert abs(float(found.value) - RIGHT[0].mean()) < 0.02


def test_areas_with_gaps_are_each_readers_own() -> None:
    gaps = with_gaps(RATINGS)[0]
    places = roc.place(gaps[:, TRUTH], gaps[:, ~TRUTH])
    for reader in range(5):
        mine, others = gaps[reader, TRUTH], gaps[reader, ~TRUTH]
        alone = roc.place(mine[~np.isnan(mine)], others[~np.isnan(others)])
        assert places.area[reader] == pytest.approx(float(alone.area), rel=1e-12)
        assert roc.variance(places)[reader] == pytest.approx(float(roc.variance(alone)), rel=1e-12)
    assert np.isfinite(pool_areas(gaps[:, TRUTH], gaps[:, ~TRUTH]).variance)


def test_a_thousand_studies_are_one_call() -> None:
    rng = np.random.default_rng(0)
    right = (rng.random((7, 3, 20)) < 0.8).astype(np.float64)
    together = pool_means([right[..., :10], right[..., 10:]])
    for index in range(7):
        alone = pool_means([right[index, :, :10], right[index, :, 10:]])
        assert together.variance[index] == pytest.approx(float(alone.variance))
        assert together.freedom[index] == pytest.approx(float(alone.freedom))
    low, high = share_interval(together, 20)
    assert low.shape == high.shape == (7,)


def test_groups_of_images_are_compared_within_readers() -> None:
    found = compare_means([RIGHT[0][:, TRUTH]], [RIGHT[0][:, ~TRUTH]])
    some, others = pool_means([RIGHT[0][:, TRUTH]]), pool_means([RIGHT[0][:, ~TRUTH]])
    assert float(found.value) == pytest.approx(float(some.value - others.value))
    assert float(found.cases) == pytest.approx(float(some.cases + others.cases), rel=1e-9)


def test_readers_who_agree_closer_than_their_errors_allow_have_the_error_of_their_images() -> None:
    """MS(R) is 0, Var(Error) 0.004, Cov2 0.001: variance 0.001 + (0.004 - 0.001) / 3, all of it from images."""
    found = pool([0.8, 0.8, 0.8], np.full((3, 3), 0.001) + 0.003 * np.eye(3), 30.0)
    assert float(found.variance) == pytest.approx(0.002)
    assert float(found.freedom) == pytest.approx(30.0)
    # MS(R) 0.0003 lies below that floor: its 2 degrees of freedom bear on its own part alone.
    near = 0.8 + np.array([-1, 0, 1]) * 0.0003**0.5
    found = pool(near, np.full((3, 3), 0.001) + 0.003 * np.eye(3), 30.0)
    assert float(found.variance) == pytest.approx(0.002)
    assert float(found.freedom) == pytest.approx(0.002**2 / (0.0001**2 / 2 + 0.0019**2 / 30))


def test_a_difference_of_shares_stays_within_one() -> None:
    rng = np.random.default_rng(0)
    some, others = (rng.random((2, 3)) < 0.5).astype(float), (rng.random((2, 3)) < 0.5).astype(float)
    low, high = compare_means([some], [others]).interval()
    assert low < -1 or high > 1  # value ± t·error
    found = difference("", [some], [others])
    assert found is not None
    assert -1 <= found.ci_low <= found.value <= found.ci_high <= 1


def test_readers_without_a_mistake_have_an_interval_all_the_same() -> None:
    perfect = np.ones((3, 40))
    pooled = pool_means([perfect, perfect])
    low, high = share_interval(pooled, 80)
    assert float(high) == pytest.approx(1.0)
    assert float(low) == pytest.approx(80 / (80 + 1.959964**2), rel=1e-6)  # Wilson's of 80 of 80
    areas = pool_areas(perfect, np.zeros((3, 40)))
    low, high = area_interval(areas, (40, 40))
    assert 0.9 < float(low) < 0.99
    assert float(high) == 1.0


scores = st.lists(st.lists(st.integers(1, 5), min_size=12, max_size=12), min_size=2, max_size=4)


@settings(deadline=None, max_examples=60)
@given(scores)
def test_intervals_hold_their_value_and_stay_within_bounds(rows: list[list[int]]) -> None:
    ratings = np.array(rows, np.float64)
    positive, negative = ratings[:, :6], ratings[:, 6:]
    pooled = pool_areas(positive, negative)
    low, high = area_interval(pooled, (6, 6))
    assert 0 <= low <= pooled.value + 1e-9
    assert pooled.value - 1e-9 <= high <= 1
    mirrored = pool_areas(-positive, -negative)
    assert float(mirrored.value) == pytest.approx(1 - float(pooled.value))
    assert float(mirrored.variance) == pytest.approx(float(pooled.variance), abs=1e-12)
    share = pool_means([(ratings > 2).astype(np.float64)])
    low, high = share_interval(share, 12)
    assert 0 <= low <= share.value + 1e-9
    assert share.value - 1e-9 <= high <= 1
