"""Areas under weighted ROC curves, and the interval of a difference between networks that saw the same patients."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from synthcxr.evaluation.areas import area_change, draw_patients, mean_areas, weighted_areas
from synthcxr.evaluation.intervals import Floats


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 4), st.integers(0, 3)), min_size=2, max_size=40))
def test_weighted_areas_are_scikit_learns(rows: list[tuple[bool, int, int]]) -> None:
    truth, scores, weights = (np.array(each) for each in zip(*rows, strict=True))
    found = weighted_areas(truth, scores.astype(float), np.stack([weights, np.ones(len(rows))]).astype(float))
    for area, weight in zip(found, (weights, np.ones(len(rows))), strict=True):
        kept = weight > 0
        if len(np.unique(truth[kept])) < 2:
            assert np.isnan(area)
        else:
            assert area == pytest.approx(roc_auc_score(truth, scores, sample_weight=weight))


def test_a_patient_is_drawn_with_all_images() -> None:
    patients = np.array([7, 3, 7, 9, 3, 7])
    drawn = np.concatenate(list(draw_patients(patients, 50, np.random.default_rng(0))))
    assert drawn.shape == (50, 6) and (drawn[:, 0] == drawn[:, 2]).all() and (drawn[:, 1] == drawn[:, 4]).all()
    assert (drawn[:, [0, 1, 3]].sum(axis=1) == 3).all() and drawn[:, 0].std() > 0


def made_scores(rng: np.random.Generator, truth: Floats, strength: float, seeds: int = 4) -> Floats:
    """Scores (S, N, L) that tell a class by `strength` deviations: half of the noise is shared by the seeds."""
    shared = rng.normal(size=truth.shape)
    return np.stack([strength * np.nan_to_num(truth) + shared + rng.normal(0, 0.3, truth.shape) for _ in range(seeds)])


def test_a_mean_over_labels_counts_what_is_stated() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, (80, 2)).astype(float)
    truth[:20, 1] = np.nan
    scores = made_scores(rng, truth, 1.0, 1)
    areas = [roc_auc_score(truth[k, j], scores[0, k, j]) for j, k in enumerate((slice(None), slice(20, None)))]
    assert mean_areas(truth, scores, np.ones((1, 80)))[0, 0] == pytest.approx(np.mean(areas))


def test_a_difference_is_found_and_no_difference_is_not() -> None:
    rng = np.random.default_rng(1)
    truth = rng.integers(0, 2, (200, 1)).astype(float)
    good, weak = made_scores(rng, truth, 2.0), made_scores(rng, truth, 0.5)
    better = area_change(truth, good, weak, np.arange(200), rng)
    assert better.low is not None and better.high is not None and 0 < better.low < better.value < better.high
    same = area_change(truth, good, good, np.arange(200), rng)
    assert same.value == 0 and same.low is None, "nothing varies"
    assert area_change(truth, good[:1], weak[:1], np.arange(200), rng).low is None, "one seed has no chance of its own"


def test_images_of_one_patient_are_not_independent() -> None:
    rng = np.random.default_rng(2)
    truth = rng.integers(0, 2, (150, 1)).astype(float)
    good, weak = made_scores(rng, truth, 1.5), made_scores(rng, truth, 0.5)

    def width(copies: int, patients: Floats) -> float:
        many = [np.repeat(each, copies, axis=axis) for each, axis in ((truth, 0), (good, 1), (weak, 1))]
        found = area_change(*many, patients.astype(np.int64), np.random.default_rng(0))  # type: ignore[call-arg, arg-type]
        assert found.low is not None and found.high is not None
        return found.high - found.low

    one = width(1, np.arange(150.0))
    assert width(4, np.repeat(np.arange(150.0), 4)) == pytest.approx(one, rel=0.05)
    assert width(4, np.arange(600.0)) < 0.8 * one
