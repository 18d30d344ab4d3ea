"""Faithfulness: agreement of what is seen with what was asked, and its interval."""

import numpy as np
import pytest

from synthcxr.evaluation.faithfulness import agreement, faithfulness
from synthcxr.evaluation.frechet import frechet_distance, frechet_limit, moments


def test_agreement_counts_what_is_stated_alone() -> None:
    wanted = np.array([1, 1, 0, 0, np.nan, 1])
    scores = np.array([0.9, 0.4, 0.6, 0.1, 0.99, 0.8])
    found = agreement("pa_view", wanted, scores, np.arange(6))
    assert found is not None and (found.n, found.positives) == (5, 3)
    assert found.accuracy.value == pytest.approx(3 / 5)
    assert found.auc.value == pytest.approx(5 / 6)  # of 3 × 2 pairs one is the wrong way round
    assert agreement("child", np.ones(4), scores[:4], np.arange(4)) is None


def test_intervals_shrink_with_patients_not_with_their_images() -> None:
    rng = np.random.default_rng(0)
    truth = np.tile([0.0, 1.0], 40)
    scores = truth * 0.3 + rng.uniform(0, 1, 80)

    def width(copies: int) -> float:
        found = agreement("x", np.repeat(truth, copies), np.repeat(scores, copies), np.repeat(np.arange(80), copies))
        assert found is not None and found.auc.low is not None and found.auc.high is not None
        assert found.auc.low < found.auc.value < found.auc.high
        return found.auc.high - found.auc.low

    assert width(5) == pytest.approx(width(1), rel=0.05)


def test_every_label_that_was_asked_for() -> None:
    rows = [{"view": view} for view in ("PA", "AP", "PA", "AP")]
    seen = np.array([[0.8, 0.5], [0.2, 0.5], [0.9, 0.5], [0.4, 0.5]])
    found = faithfulness(rows, seen, ("pa", "child"), lambda fields: np.array([float(fields["view"] == "PA"), np.nan]))
    assert [each.label for each in found] == ["pa"] and found[0].auc.value == 1


def test_the_limit_is_free_of_what_few_images_add() -> None:
    rng = np.random.default_rng(1)
    one, other = rng.normal(size=(400, 16)), rng.normal(size=(400, 16))
    assert frechet_distance(moments(one), moments(other)) > 0.3  # the truth is 0
    limits = [frechet_limit(one, other, seed) for seed in range(8)]
    assert abs(np.mean(limits)) < 0.12
    shifted = [frechet_limit(one, other + 0.5, seed) for seed in range(8)]
    assert np.mean(shifted) == pytest.approx(16 * 0.25, rel=0.15)
